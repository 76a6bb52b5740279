"""The tabletop benchmark: rendered scenes with captions to learn from, annotated ones to measure on.

    python -m ovseg_ros.learn.tabletop.benchmark OUT --cutouts EMOJI_DIR --scenes 1200 --validation 160

In the layout of ADE20K: `images/`, `annotations/` (uint8 PNG, 0 = unlabelled, k = line k of `classes.txt`),
`instances/` and `depth/` (uint16 PNG, millimetres), each with `training/` and `validation/`, and beside them
`classes.txt`, `unseen.txt`, `captions_training.json` (COCO captions), `camera.json` and `things_<split>.json`
(image -> instance -> noun). Table, floor and wall are no classes: they are unlabelled, as what is measured is
which thing a mask is. Images are written in blocks of eight, each of its own seed; a run that was stopped
continues with the next block.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from ovseg_ros.core.encoders import MaskPromptedClip
from ovseg_ros.core.regions import crop_regions
from ovseg_ros.core.words import BARE_TEMPLATE
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.files.pictures import opened, read_image
from ovseg_ros.files.whole import write_whole
from ovseg_ros.learn.tabletop.cutouts import Picture, load_pictures
from ovseg_ros.learn.tabletop.words import caption, class_names, household_nouns, is_figure_name, unseen_names

if TYPE_CHECKING:
    from ovseg_ros.learn.tabletop.scenes import Scene

SPLITS = ("training", "validation")
BLOCK = 8
LEAST_PIXELS = 200  # of a thing that is read
JPEG_QUALITY = 95
_SPLIT_SEED = {"training": 1, "validation": 2}


def annotation(instances: np.ndarray, nouns: Mapping[int, str]) -> np.ndarray:
    """(H, W) uint8 class map of an instance map: 0 where no class is, k for the k-th of `class_names`."""
    index = {name: k for k, name in enumerate(class_names(), 1)}
    table = np.zeros(max([int(instances.max()), *nouns]) + 1 if nouns else 1 + int(instances.max()), np.uint8)
    for instance, noun in nouns.items():
        table[instance] = index.get(noun, 0)
    return table[instances]


def write_scene(
    folder: Path, split: str, name: str, scene: Scene, rng: np.random.Generator
) -> dict[str, Any]:
    """Writes one scene's files and returns its record for `things_<split>.json`."""
    for kind in ("images", "annotations", "instances", "depth"):
        (folder / kind / split).mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(scene.image_rgb, cv2.COLOR_RGB2BGR)
    _write(folder / "images" / split / f"{name}.jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    _write(folder / "annotations" / split / f"{name}.png", annotation(scene.instances, scene.nouns))
    _write(folder / "instances" / split / f"{name}.png", scene.instances)
    millimetres = np.round(scene.depth_m * 1000).clip(0, 65535).astype(np.uint16)
    _write(folder / "depth" / split / f"{name}.png", millimetres)
    record: dict[str, Any] = {"things": {str(i): noun for i, noun in scene.nouns.items()}}
    if split == "training":
        record["caption"] = caption(list(scene.spoken.values()), rng)
    return record


def pictures_of(cutouts: Path, split: str) -> list[Picture]:
    """The figures of a split: in training every seen noun, a third of them classes; else classes."""
    classes = set(class_names()) - set(household_nouns())
    if split == "validation":
        return load_pictures(cutouts, classes)
    every = [picture for picture in load_pictures(cutouts, None) if is_figure_name(picture.noun)]
    own = [picture for picture in every if picture.noun in classes]
    return every + own * round(len(every) / (2 * max(1, len(own))))


def render_benchmark(folder: Path, cutouts: Path, scenes: int, validation: int, seed: int) -> None:
    """Renders what is missing of both splits and writes the lists."""
    from ovseg_ros.learn.tabletop.scenes import training_scenes, validation_scenes

    makers = {"training": training_scenes, "validation": validation_scenes}
    camera: dict[str, float] = {}
    for split, count in zip(SPLITS, (scenes, validation), strict=True):
        pictures = pictures_of(cutouts, split)
        for block in tqdm(range(-(-count // BLOCK)), desc=split):
            done = folder / "blocks" / f"{split}_{block:04d}.json"
            if done.exists():
                continue
            rng = np.random.default_rng([seed, _SPLIT_SEED[split], block])
            records = {}
            for n, scene in enumerate(makers[split](pictures, rng)):
                name = f"{split[:3]}_{block:04d}_{n}"
                records[name] = write_scene(folder, split, name, scene, rng)
                camera = {
                    key: getattr(scene.intrinsics, key) for key in ("fx", "fy", "cx", "cy", "width", "height")
                }
            write_whole(done, json.dumps({"camera": camera, "scenes": records}))
    finish(folder)


def finish(folder: Path) -> None:
    """Gathers the blocks into the lists beside the images.

    Raises:
        ConfigError: nothing was rendered.
    """
    camera = {}
    for split in SPLITS:
        records: dict[str, Any] = {}
        for file in sorted((folder / "blocks").glob(f"{split}_*.json")):
            block = json.loads(file.read_text(encoding="utf-8"))
            records.update(block["scenes"])
            camera = block["camera"]
        things = {name: record["things"] for name, record in records.items()}
        write_whole(folder / f"things_{split}.json", json.dumps(things))
        if split == "training":
            texts = {f"{name}.jpg": r["caption"] for name, r in sorted(records.items()) if r["things"]}
            images = [{"id": i, "file_name": name} for i, name in enumerate(texts, 1)]
            notes = [{"id": i, "image_id": i, "caption": text} for i, text in enumerate(texts.values(), 1)]
            captions = json.dumps({"images": images, "annotations": notes})
            write_whole(folder / "captions_training.json", captions)
    if not camera:
        raise ConfigError(f"no scene in {folder}; expected --scenes or --validation above 0")
    write_whole(folder / "camera.json", json.dumps(camera))
    write_whole(folder / "classes.txt", "\n".join(class_names()) + "\n")
    write_whole(folder / "unseen.txt", "\n".join(unseen_names()) + "\n")


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
                f"expected the tabletop benchmark in {folder}, {file.name} is not there; run: "
                "python -m ovseg_ros.learn.tabletop.benchmark"
            )
        records = json.loads(file.read_text(encoding="utf-8"))
        images, instances, things = [], [], []
        for name in sorted(records):
            try:
                with opened(folder / "instances" / split / f"{name}.png", kind="instance image") as image:
                    ids = np.array(image).astype(np.uint16)
                rgb = read_image(folder / "images" / split / f"{name}.jpg", grid_hw=ids.shape)
            except InvalidInputError as error:
                raise ConfigError(f"{error}; render {folder} again") from error
            areas = np.bincount(ids.ravel(), minlength=1)
            shown = {int(i): noun for i, noun in records[name].items() if int(i) < len(areas)}
            images.append(rgb)
            instances.append(ids)
            things.append({i: noun for i, noun in shown.items() if areas[i] >= LEAST_PIXELS})
        return cls(np.stack(images), np.stack(instances), tuple(things))

    @property
    def nouns(self) -> tuple[str, ...]:
        """All nouns, sorted."""
        return tuple(sorted({noun for scene in self.things for noun in scene.values()}))


@torch.no_grad()
def top1(
    clip: MaskPromptedClip, scenes: Scenes, names: tuple[str, ...], unseen: set[str]
) -> dict[str, float]:
    """Share of true masks whose class is the nearest of `names`, with the surroundings kept and blanked.

    Returns:
        "context" and "masked", each with "_seen" and "_unseen" beside the whole, in [0, 1].
    """
    text = clip.encode_text(names, BARE_TEMPLATE)
    hits: dict[str, list[bool]] = {}
    for image, instances, things in zip(scenes.images, scenes.instances, scenes.things, strict=True):
        known = [(i, noun) for i, noun in things.items() if noun in names]
        if not known:
            continue
        masks = torch.from_numpy(np.stack([instances == i for i, _ in known]))
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        for view, fill in (("context", "none"), ("masked", "mean")):
            regions = crop_regions(pixels, masks, size=clip.size, fill=fill)  # type: ignore[arg-type]
            told = None if clip.mask_prompts is None or view == "context" else regions.masks
            best = (clip.encode_regions(regions.pixels, told) @ text.T).argmax(dim=1)
            for (_, noun), answer in zip(known, best.tolist(), strict=True):
                right = names[answer] == noun
                hits.setdefault(view, []).append(right)
                hits.setdefault(f"{view}_{'unseen' if noun in unseen else 'seen'}", []).append(right)
    return {key: sum(value) / len(value) for key, value in sorted(hits.items())}


def _write(path: Path, image: np.ndarray, options: Iterable[int] = ()) -> None:
    if not cv2.imwrite(str(path), image, list(options)):
        raise ConfigError(f"cannot write {path}; check the folder and the free space")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--cutouts", type=Path, required=True, help="emoji, see ovseg_ros/learn/tabletop/cutouts.py"
    )
    parser.add_argument("--scenes", type=int, default=1200, help="training images")
    parser.add_argument("--validation", type=int, default=160, help="validation images")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    render_benchmark(args.folder, args.cutouts, args.scenes, args.validation, args.seed)


if __name__ == "__main__":
    main()
