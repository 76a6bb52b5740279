"""Masks as COCO writes them: run lengths, with the box and the area that belong to them; labels read back."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from ovseg_ros.errors import InvalidInputError


@dataclass(frozen=True)
class LabelledPicture:
    """What one picture of a COCO file shows.

    Attributes:
        file_name: as the file gives it, a path below the pictures' folder.
        names: of its G things.
        masks: (G, H, W) bool; they may overlap.
        ignored: (H, W) bool, the union of what the file marks `iscrowd`.
    """

    file_name: str
    names: tuple[str, ...]
    masks: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]


def coco_mask_fields(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """The part of a COCO annotation that a mask decides.

    Args:
        mask: (H, W) bool.

    Returns:
        "segmentation" {"size": [H, W], "counts": text}, "bbox" [x, y, width, height] and "area", in pixels.
    """
    rle = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))
    return {
        "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
        "bbox": coco_mask.toBbox(rle).tolist(),
        "area": int(coco_mask.area(rle)),
    }


def read_labelled_pictures(path: Path) -> tuple[LabelledPicture, ...]:
    """The pictures of a COCO instance file, as CVAT, Label Studio and others export it, in the file's order.

    Args:
        path: JSON with "images", "annotations" (polygons or run lengths) and "categories".

    Raises:
        InvalidInputError: not there, no such JSON, or an annotation that marks no pixel; names it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        categories = {one["id"]: str(one["name"]) for one in content["categories"]}
        of_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            of_image[annotation["image_id"]].append(annotation)
        return tuple(_picture(image, of_image[image["id"]], categories) for image in content["images"])
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInputError(f"want COCO labels in {path}: {error}") from error
    except (KeyError, TypeError) as error:
        raise InvalidInputError(
            f"want COCO labels (images, annotations, categories) in {path}, got none of that form: {error!r}"
        ) from error


def _picture(
    image: dict[str, Any], annotations: list[dict[str, Any]], categories: dict[int, str]
) -> LabelledPicture:
    size_hw = int(image["height"]), int(image["width"])
    ignored = np.zeros(size_hw, bool)
    names, masks = [], []
    for annotation in annotations:
        mask = _mask(annotation["segmentation"], size_hw)
        name = categories[annotation["category_id"]]
        if not mask.any():
            raise InvalidInputError(
                f"want a mask of one pixel or more of {name!r} in {image['file_name']}, got none; draw it"
            )
        if annotation.get("iscrowd"):
            ignored |= mask
        else:
            names.append(name)
            masks.append(mask)
    stacked = np.stack(masks) if masks else np.zeros((0, *size_hw), bool)
    return LabelledPicture(str(image["file_name"]), tuple(names), stacked, ignored)


def _mask(segmentation: Any, size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """(H, W) of polygons [[x, y, x, y, ...], ...], or of run lengths, packed or not."""
    if isinstance(segmentation, list) or isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, *size_hw)
    runs = coco_mask.merge(segmentation) if isinstance(segmentation, list) else segmentation
    return coco_mask.decode(runs).astype(bool)
