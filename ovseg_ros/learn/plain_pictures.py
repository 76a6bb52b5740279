"""What a *plain* CLIP is shown: pictures with all of their surroundings, and the words of what they show.

Never a blanked background. Three kinds of sources: the training scenes of the tabletop benchmark (boxes
around things, boxes with nothing in them, whole scenes), rendered crops with the surroundings they were
rendered in (`learn.crops`), and named cut-outs pasted onto pieces of scenes (`learn.cutouts`). The last two
stand for the breadth of words that a CLIP from the web has met before anybody thinks of masks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.augment import reglaze
from ovseg_ros.learn.household import OBJECTS
from ovseg_ros.learn.mini import TEAPOT, CropStream, Recipe
from ovseg_ros.learn.tabletop_words import noun_of

BACKGROUND_WORDS = ("background", "empty table top", "wall")
MIN_PIXELS = 200
NOUN_WEIGHT = 0.6  # of a rendered thing's target, on its plain noun; its fuller names share the rest
Words = Mapping[str, float]  # word -> share of the target, summing to 1


@dataclass(frozen=True)
class Scenes:
    """One split in memory: images (M, H, W, 3) uint8, instances (M, H, W) uint16, nouns per instance."""

    images: np.ndarray
    instances: np.ndarray
    things: tuple[dict[int, str], ...]

    @classmethod
    def load(cls, folder: Path, split: str) -> Scenes:
        """Reads a split of the benchmark.

        Raises:
            ConfigError: there is no such benchmark, or a file of it cannot be read.
        """
        file = folder / f"things_{split}.json"
        if not file.is_file():
            raise ConfigError(
                f"want the tabletop benchmark in {folder}, {file.name} is not there; run: "
                "python -m ovseg_ros.learn.tabletop_benchmark"
            )
        records = json.loads(file.read_text(encoding="utf-8"))
        images, instances, things = [], [], []
        for name in sorted(records):
            bgr = cv2.imread(str(folder / "images" / split / f"{name}.jpg"))
            ids = cv2.imread(str(folder / "instances" / split / f"{name}.png"), cv2.IMREAD_UNCHANGED)
            if bgr is None or ids is None:
                raise ConfigError(f"{folder}: image or instances of {name} cannot be read; render it again")
            areas = np.bincount(ids.ravel(), minlength=1)
            shown = {int(i): noun for i, noun in records[name].items() if int(i) < len(areas)}
            images.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            instances.append(ids)
            things.append({i: noun for i, noun in shown.items() if areas[i] >= MIN_PIXELS})
        return cls(np.stack(images), np.stack(instances), tuple(things))

    @property
    def nouns(self) -> tuple[str, ...]:
        """All nouns, sorted."""
        return tuple(sorted({noun for scene in self.things for noun in scene.values()}))


class ScenePictures:
    """Pieces of scenes; things are drawn as often as they are shown."""

    def __init__(self, scenes: Scenes) -> None:
        self.scenes = scenes
        self.words = scenes.nouns
        self._things = [(m, i, noun) for m, scene in enumerate(scenes.things) for i, noun in scene.items()]
        self._boxes = [_box(scenes.instances[m] == i) for m, i, _ in self._things]

    def thing(self, rng: np.random.Generator) -> tuple[np.ndarray, Words]:
        """The box around a thing, grown by up to 35 % on each side."""
        at = int(rng.integers(len(self._things)))
        m, _, noun = self._things[at]
        left, top, right, bottom = self._boxes[at]
        grow = rng.uniform(0.0, 0.35, 4)
        h, w = bottom - top, right - left
        y0, y1 = int(top - grow[0] * h), int(bottom + grow[1] * h)
        x0, x1 = int(left - grow[2] * w), int(right + grow[3] * w)
        return self.scenes.images[m][max(y0, 0) : y1, max(x0, 0) : x1], {noun: 1.0}

    def whole(self, rng: np.random.Generator) -> tuple[np.ndarray, Words]:
        """A whole scene with all it shows."""
        m = int(rng.integers(len(self.scenes.images)))
        words = sorted(set(self.scenes.things[m].values())) or [BACKGROUND_WORDS[0]]
        return self.scenes.images[m], dict.fromkeys(words, 1 / len(words))

    def empty(self, rng: np.random.Generator) -> tuple[np.ndarray, Words]:
        """A box of at most 3 % things; a whole scene where 20 tries find none."""
        for _ in range(20):
            m, box = self._window(rng)
            if (self.scenes.instances[m][box] > 0).mean() < 0.03:
                return self.scenes.images[m][box], dict.fromkeys(BACKGROUND_WORDS, 1 / len(BACKGROUND_WORDS))
        return self.whole(rng)

    def anywhere(self, rng: np.random.Generator) -> np.ndarray:
        """A box of anything, as surroundings."""
        m, box = self._window(rng)
        return self.scenes.images[m][box]

    def _window(self, rng: np.random.Generator) -> tuple[int, tuple[slice, slice]]:
        height, width = self.scenes.instances.shape[1:]
        m = int(rng.integers(len(self.scenes.images)))
        h, w = (int(rng.uniform(0.1, 0.45) * side) for side in (height, width))
        y, x = int(rng.integers(height - h)), int(rng.integers(width - w))
        return m, (slice(y, y + h), slice(x, x + w))


class WebPictures:
    """Rendered crops in their own surroundings and cut-outs on pieces of scenes.

    Args:
        crops: folder of `learn.crops`; the shards of `test_seed` are not used.
        cutouts: folder of `learn.cutouts`.
        scenes: what cut-outs are pasted onto.
        test_seed: render seed that is only measured on.
    """

    def __init__(self, crops: Path, cutouts: Path, scenes: ScenePictures, test_seed: int = 99) -> None:
        seeds = sorted({int(f.stem.split("_")[1]) for f in crops.glob("crops_*.npy")} - {test_seed})
        self._crops = CropStream(crops, cutouts, Recipe(), seeds)
        self._scenes = scenes
        self._cut_names = [names[0] for names in self._crops.names[len(OBJECTS) + 1 :]]
        self._targets = [_thing_words(label) for label in range(len(OBJECTS))]
        words = {word for target in self._targets for word in target}
        self.words = tuple(sorted(words | set(self._cut_names)))

    def rendered(self, rng: np.random.Generator) -> tuple[np.ndarray, Words]:
        """A rendered thing where it lay; the box jitters, teapots come in more glazes."""
        at = min(int(np.searchsorted(self._crops.cumulative, rng.random())), len(self._crops.labels) - 1)
        label, crop = int(self._crops.labels[at]), self._crops.rendered(at)
        if label == len(OBJECTS):
            return crop[..., :3], dict.fromkeys(BACKGROUND_WORDS, 1 / len(BACKGROUND_WORDS))
        if label == TEAPOT and rng.random() < 0.5:
            crop = reglaze(crop, rng)
        side = crop.shape[0]
        cut = (rng.uniform(0.0, 0.1, 4) * side).astype(int)
        return crop[cut[0] : side - cut[1], cut[2] : side - cut[3], :3], self._targets[label]

    def pasted(self, rng: np.random.Generator) -> tuple[np.ndarray, Words]:
        """A cut-out, turned by up to 25 degrees, before a piece of a scene."""
        k = int(rng.integers(len(self._crops.cutouts)))
        crop = self._crops.cutouts[k]
        side = crop.shape[0]
        matrix = cv2.getRotationMatrix2D(
            (side / 2, side / 2), rng.uniform(-25, 25), float(rng.uniform(0.7, 1.05))
        )
        matrix[:, 2] += rng.uniform(-0.08, 0.08, 2) * side
        turned = cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR)
        back = cv2.resize(self._scenes.anywhere(rng), (side, side), interpolation=cv2.INTER_AREA)
        share = cv2.GaussianBlur(turned[..., 3:], (0, 0), 0.8)[..., None].astype(np.float32) / 255
        mixed = back + (turned[..., :3].astype(np.float32) - back) * share
        return mixed.astype(np.uint8), {self._cut_names[k]: 1.0}


def _thing_words(label: int) -> Words:
    thing = OBJECTS[label]
    noun = noun_of(thing)
    fuller = [name for name in thing.names if name != noun]
    if not fuller:
        return {noun: 1.0}
    return {noun: NOUN_WEIGHT, **dict.fromkeys(fuller, (1 - NOUN_WEIGHT) / len(fuller))}


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a mask that is not empty, end exclusive."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1
