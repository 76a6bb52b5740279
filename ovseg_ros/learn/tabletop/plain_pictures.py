"""What a *plain* CLIP is shown: pictures with all of their surroundings, and a word of what they show.

    python -m ovseg_ros.learn.tabletop.plain_pictures BENCH OUT --pictures 20000 [--crops DIR] [--cutouts DIR]

Never a blanked background: the mask of each pair is the whole picture, and `ovseg learn finetune` is run on
what is written with `--set 'augment.fills={none: 1.0}'`. Three kinds of sources: the training scenes of the
tabletop benchmark (boxes around things, boxes with nothing in them, whole scenes), rendered crops with the
surroundings they were rendered in (`learn.tabletop.crops`), and named cut-outs pasted onto pieces of scenes
(`learn.tabletop.cutouts`). The last two stand for the breadth of words that a CLIP from the web has met
before anybody thinks of masks; without them held-out words are new to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ovseg_ros.learn.pairs.crop import mask_box
from ovseg_ros.learn.pairs.index import open_pairs
from ovseg_ros.learn.pairs.shards import Pair
from ovseg_ros.learn.tabletop.benchmark import Scenes
from ovseg_ros.learn.tabletop.cutouts import load_pictures, paste
from ovseg_ros.learn.tabletop.household import OBJECTS
from ovseg_ros.learn.tabletop.made_pairs import MakePairs, made_pair, write_pairs
from ovseg_ros.learn.tabletop.words import BACKGROUND_WORDS

PICTURES_PER_IMAGE = 100
Draw = Callable[[np.random.Generator], tuple[np.ndarray, str]]  # a picture (h, w, 3) uint8 and its word


class ScenePictures:
    """Pieces of scenes; things are drawn as often as they are shown."""

    def __init__(self, scenes: Scenes) -> None:
        self.scenes = scenes
        self._things = [(m, i, noun) for m, scene in enumerate(scenes.things) for i, noun in scene.items()]
        self._boxes = [mask_box(scenes.instances[m] == i) for m, i, _ in self._things]

    def thing(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """The box around a thing, grown by up to 35 % on each side."""
        at = int(rng.integers(len(self._things)))
        m, _, noun = self._things[at]
        left, top, right, bottom = self._boxes[at]
        grow = rng.uniform(0.0, 0.35, 4)
        h, w = bottom - top, right - left
        y0, y1 = int(top - grow[0] * h), int(bottom + grow[1] * h)
        x0, x1 = int(left - grow[2] * w), int(right + grow[3] * w)
        return self.scenes.images[m][max(y0, 0) : y1, max(x0, 0) : x1], noun

    def whole(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """A whole scene and one of the things it shows."""
        m = int(rng.integers(len(self.scenes.images)))
        words = sorted(set(self.scenes.things[m].values())) or [BACKGROUND_WORDS[0]]
        return self.scenes.images[m], str(rng.choice(words))

    def empty(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """A box of at most 3 % things; a whole scene where 20 tries find none."""
        for _ in range(20):
            m, box = self._window(rng)
            if (self.scenes.instances[m][box] > 0).mean() < 0.03:
                return self.scenes.images[m][box], str(rng.choice(BACKGROUND_WORDS))
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
        crops: data set of `learn.tabletop.crops`.
        cutouts: folder of emoji.
        scenes: what cut-outs are pasted onto.
    """

    def __init__(self, crops: Path, cutouts: Path, scenes: ScenePictures) -> None:
        self._crops = open_pairs(crops)
        rendered = [not image.startswith("cutout") for image in self._crops.images()]
        self._rendered = np.flatnonzero(rendered)
        self._pictures = load_pictures(cutouts, banned={word for t in OBJECTS for word in t.synonyms})
        self._scenes = scenes

    def rendered(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """A rendered thing where it lay: its box grown by what is stored, less a random part."""
        pair = self._crops.read(int(rng.choice(self._rendered)))
        height, width = pair.mask.shape
        x0, y0, x1, y1 = mask_box(pair.mask)
        keep = rng.uniform(0.0, 1.0, 4)
        top, left = int(y0 * keep[0]), int(x0 * keep[1])
        bottom, right = y1 + int((height - y1) * keep[2]), x1 + int((width - x1) * keep[3])
        return pair.image_rgb[top:bottom, left:right], pair.noun

    def pasted(self, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """A cut-out, turned a little, before a piece of a scene."""
        picture = self._pictures[int(rng.integers(len(self._pictures)))]
        return paste(picture, self._scenes.anywhere(rng), rng)[0], picture.noun


def draw_pictures(draws: dict[Draw, float], image: str, rng: np.random.Generator) -> Iterator[Pair]:
    """`PICTURES_PER_IMAGE` pairs whose mask is the whole picture; `draws` says how often each is called."""
    kinds, shares = list(draws), np.array(list(draws.values()))
    for kind in rng.choice(len(kinds), PICTURES_PER_IMAGE, p=shares / shares.sum()):
        picture, noun = kinds[kind](rng)
        yield made_pair(np.ascontiguousarray(picture), np.ones(picture.shape[:2], bool), noun, image)


def write_plain(
    benchmark: Path, out: Path, pictures: int, seed: int, web: tuple[Path, Path] | None = None
) -> None:
    """Writes a data set of about so many pictures; what an earlier run left is kept.

    Args:
        benchmark: folder of `learn.tabletop.benchmark`.
        out: of the data set.
        pictures: how many.
        seed: of all randomness.
        web: data set of `learn.tabletop.crops` and folder of cut-outs; None for the benchmark's scenes alone.

    Raises:
        ConfigError: a folder holds nothing to learn from, or `out` something else.
    """
    scenes = ScenePictures(Scenes.load(benchmark, "training"))
    draws: dict[Draw, float] = {scenes.whole: 0.12, scenes.empty: 0.08, scenes.thing: 0.80}
    if web is not None:
        other = WebPictures(*web, scenes)
        draws |= {scenes.thing: 0.10, other.rendered: 0.45, other.pasted: 0.25}
    blocks = max(1, round(pictures / PICTURES_PER_IMAGE))
    made: dict[str, MakePairs] = {f"plain_{n:05d}": partial(draw_pictures, draws) for n in range(blocks)}
    write_pairs(out, made, seed, source="scenes" if web is None else "scenes, crops and cut-outs")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--crops", type=Path, help="of learn.tabletop.crops; goes with --cutouts")
    parser.add_argument("--cutouts", type=Path, help="emoji, see ovseg_ros/learn/tabletop/cutouts.py")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if (args.crops is None) != (args.cutouts is None):
        parser.error("--crops and --cutouts go together")
    web = None if args.crops is None else (args.crops, args.cutouts)
    write_plain(args.benchmark, args.out, args.pictures, args.seed, web)


if __name__ == "__main__":
    main()
