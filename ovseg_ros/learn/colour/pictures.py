"""Photographs with masks, packed in memory: what the network is trained on."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as runs

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.pictures import as_image

LONGEST = 640
"""Pixels; larger pictures are made smaller once, when they are read."""


@dataclass(frozen=True)
class Sample:
    """A picture and the things in it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        masks: (N, H, W) bool, of things; they may overlap.
        unknown: (H, W) bool: where an unlabelled thing may be, so that finding one is no mistake.
    """

    image: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.bool_]
    unknown: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Shape:
    """A mask as its box holds it.

    Attributes:
        x: of the box's left edge in the picture, pixels.
        y: of its upper edge.
        mask: (h, w) uint8, 255 inside and 0 outside.
    """

    x: int
    y: int
    mask: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """One photograph, packed: with ten things it takes about 0.3 MB.

    Attributes:
        encoded: the picture as JPEG.
        things: in it.
        groups: crowds of things that are not labelled one by one.
        complete: whether no thing is left unlabelled.
    """

    encoded: bytes
    things: Sequence[Shape]
    groups: Sequence[Shape]
    complete: bool

    def image(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        decoded = cv2.imdecode(np.frombuffer(self.encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
        return decoded  # type: ignore[return-value]


def read_pictures(path: Path) -> list[Picture]:
    """All pictures of a COCO instance file, those without things too.

    Args:
        path: JSON; `file_name` is relative to it. `complete` of a picture is false where things may be
            unlabelled; without it the labels count as complete.

    Raises:
        InvalidInputError: not such a file, or a picture cannot be read or has another size than it says.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        by_image = defaultdict(list)
        for annotation in content["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        return [_packed(path, image, by_image[image["id"]]) for image in content["images"]]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InvalidInputError(f"want a COCO instance file, {path} is none: {error!r}") from error


def _packed(path: Path, entry: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]]) -> Picture:
    image = as_image(path.parent / entry["file_name"])
    height, width = image.shape[:2]
    if (height, width) != (entry["height"], entry["width"]):
        raise InvalidInputError(
            f"{path}: want {entry['file_name']} as {entry['width']}x{entry['height']}, got {width}x{height}"
        )
    scale = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    things, groups = [], []
    for annotation in annotations:
        mask = runs.decode(_runs(annotation["segmentation"], height, width)) * 255
        if scale < 1:
            mask = np.where(cv2.resize(mask, size, interpolation=cv2.INTER_AREA) >= 128, 255, 0)
        if mask.any():
            (groups if annotation.get("iscrowd") else things).append(_shape(mask))
    if scale < 1:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    return Picture(encoded, things, groups, bool(entry.get("complete", True)))


def _runs(segmentation: Any, height: int, width: int) -> Mapping[str, Any]:
    """Run lengths of polygons, of lists of counts, or as they are."""
    if isinstance(segmentation, list):
        packed: Mapping[str, Any] = runs.merge(runs.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        packed = runs.frPyObjects(segmentation, height, width)
    else:
        packed = segmentation
    return packed


def _shape(mask: npt.NDArray[np.uint8]) -> Shape:
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = mask[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    return Shape(int(xs[0]), int(ys[0]), np.ascontiguousarray(box, np.uint8))
