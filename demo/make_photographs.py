"""Makes `demo/photographs`: real photographs without depth, and masks drawn by hand.

    python demo/make_photographs.py [--output demo/photographs]

The photographs are those that come inside scikit-image (`skimage.data`, 0.26) and show everyday things; each
is public domain or CC0, see `demo/photographs/README.md`. The truth comes from
`demo/photographs/ground_truth.json`, outlines drawn by eye on the enlarged photographs. The result is a data
set in the layout `folder` of docs/datasets.md, with the classes of `demo/photographs/classes.txt`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from ovseg_ros.evaluate.datasets.class_names import read_class_file

HERE = Path(__file__).parent / "photographs"
SPLIT = "validation"
JPEG_QUALITY = 90


def draw(picture: dict, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """One picture of `ground_truth.json` -> (H, W) uint8 classes and (H, W) uint8 things, both 0 for none.

    Things count from 1 in the order they are listed; what is listed first is in front.
    """
    labels = np.zeros(picture["size_hw"], dtype=np.uint8)
    things = np.zeros(picture["size_hw"], dtype=np.uint8)
    for number, thing in enumerate(picture["objects"], start=1):
        mask = np.zeros(picture["size_hw"], dtype=np.uint8)
        for outline in thing["outline"]:
            cv2.fillPoly(mask, [np.array(outline, dtype=np.int32)], 1)
        free = (mask > 0) & (things == 0)
        things[free] = number
        labels[free] = classes.index(thing["name"]) + 1
    return labels, things


def photograph(name: str) -> Image.Image:
    """scikit-image's photograph of that name; a grey one stays grey."""
    return Image.fromarray(getattr(data, name)())


def main() -> None:
    """Writes pictures, classes and things beside the outlines."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=HERE)
    output: Path = parser.parse_args().output
    truth = json.loads((HERE / "ground_truth.json").read_text(encoding="utf-8"))
    classes = list(read_class_file(HERE / "classes.txt").names)
    for kind in ("images", "annotations", "instances"):
        (output / kind / SPLIT).mkdir(parents=True, exist_ok=True)
    for picture in truth["pictures"]:
        name = picture["name"]
        photograph(name).save(output / "images" / SPLIT / f"{name}.jpg", quality=JPEG_QUALITY, optimize=True)
        for kind, image in zip(("annotations", "instances"), draw(picture, classes), strict=True):
            Image.fromarray(image).save(output / kind / SPLIT / f"{name}.png", optimize=True)
    if output != HERE:
        (output / "classes.txt").write_bytes((HERE / "classes.txt").read_bytes())


if __name__ == "__main__":
    main()
