"""What a preset sees on the walk, frame by frame and without any memory: masks, names, and places in the map.

    scripts/env.sh python demo/make_walk.py
    scripts/env.sh python benchmark/walk.py --preset mini

Per thing and round: in how many frames of the looks it shows (400 pixels, less than half of it hidden), for
how many of these a mask of the preset fits it (IoU >= 0.5), for how many of those its word is the most
probable of all words of the walk, for how many it passes the threshold, and how far its middle is from the
true one in the map, by TF: the mean over all frames together, and the worst frame.

Below that, after each look, the score of memory (`ovseg_ros.memory` with tracks, SQLite and TF, as a node)
and of a list that memory must beat: each mask that has a label is put on it, or taken for what has that label
within 10 cm; nothing is ever gone, and nobody minds that TF jumps.

`--every 2` takes every second frame. Writes out/benchmark/walk_PRESET.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ovseg_ros.core.maps import box_slices, boxed_masks, mask_iou
from ovseg_ros.core.space import Rigid, objects_3d
from ovseg_ros.core.tracking import VideoSegmenter
from ovseg_ros.evaluate.naming.trials import MATCH_IOU, vocabulary_of
from ovseg_ros.evaluate.recordings.demo import machine, write_json
from ovseg_ros.evaluate.recordings.measures import top_label
from ovseg_ros.evaluate.recordings.recording import RecordedFrame, read_recording
from ovseg_ros.evaluate.recordings.tables import markdown_table
from ovseg_ros.evaluate.scores.match import best_matches, instance_masks
from ovseg_ros.evaluate.walk import Walk, read_walk, score
from ovseg_ros.evaluate.walk.score import MAX_HIDDEN, MIN_PIXELS
from ovseg_ros.files.recordings import TransformTree, read_transforms
from ovseg_ros.memory import Name, Where, Writer, open_store
from ovseg_ros.memory.frames import sightings_of, space_of, tracked_masks, view_of
from ovseg_ros.memory.jumps import Jumps
from ovseg_ros.memory.objects import ObjectMemory
from ovseg_ros.models.presets import load_preset

ROOT = Path(__file__).resolve().parents[1]
SAME_M = 0.1


@dataclass
class Seen:
    """One thing in one round."""

    shows: int = 0
    masks: int = 0
    most_probable: int = 0
    named: int = 0
    off_m: list[np.ndarray] = field(default_factory=list)
    called: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        together = float(np.linalg.norm(np.mean(self.off_m, axis=0))) if self.off_m else None
        worst = max((float(np.linalg.norm(off)) for off in self.off_m), default=None)
        off = [one.tolist() for one in self.off_m]
        return {**vars(self), "off_m": off, "together_m": together, "worst_m": worst}


@dataclass
class Listed:
    """One line of the list, with what `score` reads of an entry."""

    word: str
    position: np.ndarray
    times: int = 1
    frame_id: str = "map"
    gone_since: float | None = None

    @property
    def words(self) -> dict[str, Name]:
        """The only word."""
        return {self.word: Name(1.0, self.times)}


def put(entries: list[Listed], word: str, at: np.ndarray) -> None:
    """The mean of what has this word within `SAME_M`, or a new line."""
    near = [one for one in entries if one.word == word and np.linalg.norm(one.position - at) <= SAME_M]
    if not near:
        entries.append(Listed(word, at))
        return
    one = min(near, key=lambda entry: float(np.linalg.norm(entry.position - at)))
    one.times += 1
    one.position = one.position + (at - one.position) / one.times


def places(one: RecordedFrame, masks: torch.Tensor, to_map: Rigid) -> list[np.ndarray | None]:
    """(3,) the middle of what each mask shows, in the map; None where no depth is known."""
    arrays = list(masks.numpy())
    parts = box_slices([boxed.box_xyxy for boxed in boxed_masks(masks.numpy())]) if arrays else []
    found = objects_3d(one.frame.depth_m, one.frame.intrinsics, arrays, parts, up=to_map.rotation[2])
    return [None if thing is None else to_map.of_points(thing.centroid_m[None])[0] for thing in found]


def walk_through(
    segmenter: Any, frames: Iterable[RecordedFrame], walk: Walk, tf: TransformTree
) -> tuple[dict[tuple[int, int], Seen], list[list[str]]]:
    """(Thing, round) -> what was seen of it during the looks; and the list's score after each look."""
    found: dict[tuple[int, int], Seen] = defaultdict(Seen)
    entries: list[Listed] = []
    scores: list[list[str]] = []
    views = {view.stamp_ns: view for view in walk.views}
    words = vocabulary_of(*dict.fromkeys(walk.names.values()))
    for one in frames:
        stamp = one.frame.stamp_ns
        scene = segmenter.label(segmenter.embed(one.frame), words)
        at = places(one, scene.masks, tf.lookup("map", one.frame.frame_id, stamp))
        for position, label in zip(at, scene.label_index.tolist(), strict=True):
            if label >= 0 and position is not None:
                put(entries, words.names[label], position)
        during = next((k for k in walk.looks if k.from_ns <= stamp <= k.until_ns), None)
        if during is not None:
            count(one, scene, at, walk, views[stamp].sights, during.round, found)
        ended = [k for k in walk.looks if k.until_ns <= stamp]
        if len(ended) > len(scores):
            title = f"after {ended[-1].at}, round {ended[-1].round}: {len(entries)} lines"
            scores.append([title, *score(entries, walk, stamp).lines(walk.names)])
    return found, scores


def remember(
    segmenter: Any, frames: Iterable[RecordedFrame], walk: Walk, tf: TransformTree, folder: Path
) -> tuple[list[list[str]], list[float]]:
    """The score of memory after each look, and the processor seconds that each frame took it."""
    words = vocabulary_of(*dict.fromkeys(walk.names.values()))
    video, jumps, scores, seconds = VideoSegmenter(segmenter), Jumps(), [], []
    with open_store(folder / "memory.db") as store:
        writer, memory = Writer(store), None
        for one in frames:
            stamp = one.frame.stamp_ns
            named = video.segment(one.frame, words)
            if memory is None:
                key = named.embedded.embedding_key
                memory = ObjectMemory(store, writer, space_of(segmenter.name, key))
            to_map = tf.lookup("map", one.frame.frame_id, stamp)
            correction = jumps.correction(tf.lookup("map", "odom", stamp), to_map.translation_m)
            if correction is not None:
                memory.correct(stamp * 1e-9, correction)
            view, masks = view_of(named, "map", to_map), named.masks.numpy()
            chosen = tracked_masks(named, lambda track, known=memory: known.knows(("", track)))
            parts = box_slices(named.boxes_xyxy[chosen].tolist())
            arrays = [masks[i] for i in chosen]
            things = objects_3d(one.frame.depth_m, one.frame.intrinsics, arrays, parts, up=to_map.rotation[2])
            seen = sightings_of(named, chosen, things, view)
            placed = time.process_time()
            memory.note(view, seen)
            seconds.append(time.process_time() - placed)
            ended = [k for k in walk.looks if k.until_ns <= stamp]
            if len(ended) > len(scores):
                entries = memory.find(Where())
                title = f"memory after {ended[-1].at}, round {ended[-1].round}: {len(entries)} entries"
                scores.append([title, *score(entries, walk, stamp).lines(walk.names)])
        writer.close()
    return scores, seconds


def count(
    one: RecordedFrame,
    scene: Any,
    at: Sequence[np.ndarray | None],
    walk: Walk,
    sights: Any,
    turn: int,
    found: dict[tuple[int, int], Seen],
) -> None:
    """Adds one frame of a look."""
    ids = [i for i, s in sights.items() if s.pixels >= MIN_PIXELS and s.hidden <= MAX_HIDDEN]
    names = scene.vocabulary.names
    for i, match in zip(
        ids, best_matches(mask_iou(scene.masks, instance_masks(one.instances, ids))), strict=True
    ):
        seen = found[i, turn]
        seen.shows += 1
        if match.iou < MATCH_IOU:
            continue
        seen.masks += 1
        right = (walk.names[i], *walk.synonyms[i])
        seen.called.append(names[top_label(scene, match.proposal)])
        seen.most_probable += seen.called[-1] in right
        label = int(scene.label_index[match.proposal])
        seen.named += label >= 0 and names[label] in right
        position = at[match.proposal]
        if position is not None:
            true = sights[i].centroid_m[None]
            true = walk.before_jump.of_points(true) if one.frame.stamp_ns < walk.jump_ns else true
            seen.off_m.append(position - true[0])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recording", type=Path, default=ROOT / "out" / "walk")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--every", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    walk, tf = read_walk(arguments.recording), read_transforms(arguments.recording)
    frames = (f for n, f in enumerate(read_recording(arguments.recording)) if n % arguments.every == 0)
    segmenter = load_preset(arguments.preset)
    found, scores = walk_through(segmenter, frames, walk, tf)
    frames = (f for n, f in enumerate(read_recording(arguments.recording)) if n % arguments.every == 0)
    with tempfile.TemporaryDirectory() as folder:
        remembered, seconds = remember(segmenter, frames, walk, tf, Path(folder))
    rows = []
    for (i, turn), seen in sorted(found.items()):
        figures = seen.to_dict()
        off = [
            f"{1000 * figures[k]:.0f}" if figures[k] is not None else "-" for k in ("together_m", "worst_m")
        ]
        wrong = sorted({word for word in seen.called if word not in (walk.names[i], *walk.synonyms[i])})
        counts = (seen.shows, seen.masks, seen.most_probable, seen.named)
        rows.append((f"{walk.names[i]} ({i})", str(turn), *map(str, counts), *off, ", ".join(wrong)))
    head = ("thing", "round", "shows", "mask", "top-1", "labelled", "together mm", "worst mm", "else called")
    print(markdown_table(head, rows))
    total = [sum(getattr(s, k) for s in found.values()) for k in ("shows", "masks", "most_probable", "named")]
    print("\nall: {} shown, {} with a mask, {} top-1, {} labelled".format(*total))
    median, most = 1e3 * np.median(seconds), 1e3 * max(seconds)
    print(f"\nmemory: {median:.1f} ms a frame (median, processor), most {most:.1f}")
    for lines in (*remembered, *scores):
        print("\n" + "\n  ".join(lines))
    result = {f"{i}, round {turn}": seen.to_dict() for (i, turn), seen in sorted(found.items())}
    content = {
        "machine": machine(),
        "things": result,
        "memory": remembered,
        "memory_s": seconds,
        "list": scores,
    }
    write_json(content, ROOT / f"out/benchmark/walk_{arguments.preset}.json")


if __name__ == "__main__":
    main()
