"""Frames whose regions are embedded, and trials of teaching and asking, for `taught.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmark")]

from rgbd_names import frames_of  # noqa: E402

from ovseg_ros.core.frame import Frame  # noqa: E402
from ovseg_ros.core.maps import mask_iou  # noqa: E402
from ovseg_ros.core.space import Rigid  # noqa: E402
from ovseg_ros.evaluate.naming.trials import MATCH_IOU  # noqa: E402
from ovseg_ros.evaluate.recordings.objects import read_objects  # noqa: E402
from ovseg_ros.evaluate.recordings.recording import read_recording  # noqa: E402
from ovseg_ros.learn.tabletop.household import BY_KEY  # noqa: E402
from ovseg_ros.memory import Example  # noqa: E402
from ovseg_ros.memory.teaching import Looks, looks_of  # noqa: E402

TABLETOP = ROOT / "demo" / "tabletop"
MIN_PIXELS = 400  # of a thing that is asked for in recordings, as elsewhere


@dataclass(frozen=True)
class Seen:
    """A frame whose regions are embedded, and its truth.

    Attributes:
        source: recording, or source of real frames.
        scene: frames that have table and things in common.
        looks: N regions.
        things: G identities, the same for the same thing in another frame.
        names: G.
        iou: (N, G) of regions and things.
        camera: where it stood, where that is known.
    """

    source: str
    scene: str
    looks: Looks
    things: tuple[str, ...]
    names: tuple[str, ...]
    iou: np.ndarray
    camera: Rigid | None = None

    def decent(self, thing: str) -> int:
        """The region that fits a thing, -1 where none does or it is not there."""
        if thing not in self.things or not len(self.looks):
            return -1
        column = self.iou[:, self.things.index(thing)]
        return int(column.argmax()) if column.max() >= MATCH_IOU else -1


@dataclass(frozen=True)
class Trial:
    """Examples, the frame that is asked, and "present", "alike" or "other"."""

    thing: str
    examples: tuple[Example, ...]
    frame: Seen
    kind: str
    degrees: float = np.nan

    def iou(self) -> np.ndarray:
        """(N,) of the regions with the thing, zeros where it is not there."""
        if self.kind != "present":
            return np.zeros(len(self.frame.looks))
        return self.frame.iou[:, self.frame.things.index(self.thing)]


def kind_of(name: str) -> str:
    """The last word: of "red mug" mug; of a model of the renders that of its first name."""
    return (BY_KEY[name].names[0] if name in BY_KEY else name).split()[-1]


def see(segmenter: Any, frame: Frame, masks: np.ndarray) -> tuple[Looks, np.ndarray]:
    """Looks of a frame's regions and their IoU with (G, H, W) true masks."""
    embedded = segmenter.embed(frame)
    iou = np.asarray(mask_iou(embedded.masks, masks), float).reshape(len(embedded), len(masks))
    return looks_of(embedded, segmenter.name), iou


def of_recording(segmenter: Any, folder: Path, scene_of: Callable[[int, Any], str]) -> Iterator[Seen]:
    """Frames of a recording; instances keep their numbers throughout."""
    truth = read_objects(folder)
    cameras = {} if truth is None else {stamp: view.to_camera for stamp, view in truth.views.items()}
    for number, one in enumerate(read_recording(folder)):
        shown = [i for i in one.names if one.mask(i).sum() >= MIN_PIXELS]
        masks = np.stack([one.mask(i) for i in shown]) if shown else np.zeros((0, *one.frame.size_hw), bool)
        looks, iou = see(segmenter, one.frame, masks)
        names = tuple(one.names[i] for i in shown)
        things = tuple(f"{folder.name}/{i}" for i in shown)
        camera = cameras.get(one.frame.stamp_ns)
        yield Seen(folder.name, scene_of(number, one), looks, things, names, iou, camera)
        print(f"\r{folder.name} {number + 1}", end="", file=sys.stderr, flush=True)


def of_rgbd(segmenter: Any, folder: Path, truth: Sequence[Path]) -> Iterator[Seen]:
    """Real frames; a name that stands twice in a frame means two things that are never the same."""
    for number, one in enumerate(frames_of(folder, truth)):
        looks, iou = see(segmenter, one.frame, one.masks)
        things = tuple(
            f"{one.source}/{name}" if one.names.count(name) == 1 else f"{one.source}/{one.name}/{name}/{g}"
            for g, name in enumerate(one.names)
        )
        yield Seen(one.source, one.name, looks, things, tuple(one.names), iou)
        print(f"\rreal {number + 1}", end="", file=sys.stderr, flush=True)


def trials(
    frames: Sequence[Seen], rng: np.random.Generator, examples: int, present: int, absent: int
) -> Iterator[Trial]:
    """For each frame `present` trials of each thing with a decent mask, and `absent` of things not there."""
    shown: dict[str, list[tuple[Seen, int]]] = {}
    names = {}
    for frame in frames:
        for thing, name in zip(frame.things, frame.names):
            if (region := frame.decent(thing)) >= 0:
                shown.setdefault(thing, []).append((frame, region))
                names[thing] = name
    for frame in frames:
        others = {
            thing: [one for one in where if _may_teach(one[0], frame)] for thing, where in shown.items()
        }
        for thing in frame.things:
            where = others.get(thing, [])
            if frame.decent(thing) < 0 or len(where) < examples:
                continue
            order = rng.permutation(len(where))
            for k in range(min(present, len(where) // examples)):
                chosen = [where[i] for i in order[k * examples : (k + 1) * examples]]
                yield Trial(thing, _taught(names[thing], chosen), frame, "present", _degrees(chosen, frame))
        gone = [t for t, where in others.items() if t not in frame.things and len(where) >= examples
                and not (frame.source != TABLETOP.name and names[t] in frame.names)]  # fmt: skip
        for thing in rng.permutation(gone)[:absent].tolist() if gone else []:
            where = others[thing]
            chosen = [where[i] for i in rng.permutation(len(where))[:examples]]
            kind = "alike" if kind_of(names[thing]) in map(kind_of, frame.names) else "other"
            yield Trial(thing, _taught(names[thing], chosen), frame, kind)


def _may_teach(one: Seen, frame: Seen) -> bool:
    """Whether examples may come from another frame: of the renders to fit on, of another scene alone."""
    return one is not frame and (one.scene != frame.scene or frame.camera is not None)


def _taught(name: str, chosen: Iterable[tuple[Seen, int]]) -> tuple[Example, ...]:
    return tuple(frame.looks.example(region, name, 0.0) for frame, region in chosen)


def _degrees(chosen: Sequence[tuple[Seen, int]], frame: Seen) -> float:
    """How far the camera was turned since the nearest example, NaN where that is not known."""
    if frame.camera is None:
        return np.nan
    turns = [frame.camera.rotation @ one.camera.rotation.T for one, _ in chosen if one.camera is not None]
    return min((float(np.degrees(np.arccos(np.clip((np.trace(t) - 1) / 2, -1, 1)))) for t in turns),
               default=np.nan)  # fmt: skip
