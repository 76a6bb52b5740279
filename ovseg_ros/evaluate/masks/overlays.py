"""Pictures of which true objects were found and which were missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco_mask

from ovseg_ros.evaluate.masks.recall import MaskScores, ObjectResult
from ovseg_ros.files.coco import RunLengths
from ovseg_ros.files.instances import InstanceDataset

FOUND_COLOUR, MISSED_COLOUR = (0, 200, 255), (255, 96, 0)
"""RGB; told apart without red and green."""

_FILL_OPACITY = 0.35
_NUMBER_WH = (28, 14)  # what the number covers, in pixels


def write_overlays(
    out: Path,
    dataset: InstanceDataset,
    scores: MaskScores,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Draws every scored picture that has true objects; see `draw_objects`.

    Args:
        out: folder of the JPEGs, made where needed; folders in a picture's name become "_".
        dataset: what was scored.
        scores: of it.
        progress: told (pictures done, pictures in all).

    Returns:
        How many were written.

    Raises:
        InvalidInputError: a picture is no longer what it was when it was scored.
    """
    out.mkdir(parents=True, exist_ok=True)
    pictures = {picture.name: picture for picture in dataset.pictures}
    shown = [(name, list(objects)) for name, objects in groupby(scores.objects, lambda one: one.picture)]
    for done, (name, objects) in enumerate(shown, 1):
        file = "_".join(PurePosixPath(name).with_suffix(".jpg").parts).lstrip("/")
        Image.fromarray(draw_objects(pictures[name].read(), objects)).save(out / file, quality=90)
        progress(done, len(shown))
    return len(shown)


def draw_objects(image_rgb: npt.NDArray[np.uint8], objects: Sequence[ObjectResult]) -> npt.NDArray[np.uint8]:
    """True objects over their picture: found ones in one colour, missed ones in the other.

    The outline is the truth. The fill of a found object is the mask with the best IoU, so that what it has
    too much or too little can be seen; that of a missed one is the object itself. The number is the best IoU;
    an object that it would hide has none.

    Args:
        image_rgb: (H, W, 3) uint8; not changed.
        objects: of this picture.

    Returns:
        (H, W, 3) uint8.
    """
    canvas = image_rgb.copy()
    largest_first = sorted(objects, key=lambda one: one.area, reverse=True)
    for one in largest_first:
        colour = FOUND_COLOUR if one.found else MISSED_COLOUR
        fill = _mask(one.best_rle if one.found and one.best_rle is not None else one.rle)
        mixed = (1.0 - _FILL_OPACITY) * canvas[fill] + _FILL_OPACITY * np.asarray(colour)
        canvas[fill] = mixed.round().astype(np.uint8)
    for one in largest_first:
        colour = FOUND_COLOUR if one.found else MISSED_COLOUR
        edges = cv2.findContours(_mask(one.rle).view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
        cv2.drawContours(canvas, edges, -1, colour, 2)
    for one in largest_first:
        _write_number(canvas, one)
    return canvas


def _mask(rle: RunLengths) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = np.ascontiguousarray(coco_mask.decode(dict(rle))).view(np.bool_)
    return mask


def _write_number(canvas: npt.NDArray[np.uint8], one: ObjectResult) -> None:
    """The best IoU at the left top corner of the object's box."""
    x, y, width, height = coco_mask.toBbox(dict(one.rle)).tolist()
    if width < _NUMBER_WH[0] or height < _NUMBER_WH[1]:
        return
    at = round(x) + 2, max(round(y) + 12, 12)
    font, text = cv2.FONT_HERSHEY_SIMPLEX, f"{one.best_iou:.2f}"
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(canvas, text, at, font, 0.4, colour, thickness, cv2.LINE_AA)
