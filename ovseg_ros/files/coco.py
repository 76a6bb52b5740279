"""Masks as COCO writes them: run lengths and polygons, with the box and the area that belong to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.pictures import refuse_what_is_no_file
from ovseg_ros.files.texts import decoded, parse_json, read_bytes

RunLengths = Mapping[str, Any]
"""A mask as pycocotools computes with it: "size" [H, W] and "counts", compressed, as bytes."""


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


def read_json(path: Path, kind: str) -> tuple[bytes, Any]:
    """A JSON file as it is and as it is meant.

    Args:
        path: text as `texts` reads it.
        kind: what it is, for messages.

    Raises:
        InvalidInputError: no such file, or no JSON.
    """
    refuse_what_is_no_file(path, kind)

    def refuse(problem: str) -> InvalidInputError:
        return InvalidInputError(f"expected a {kind}: {problem}")

    data = read_bytes(path, refuse=refuse)
    return data, parse_json(decoded(data, path, refuse=refuse), path, refuse=refuse)


def rows_of(path: Path, content: object, name: str, needed: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """One of the lists of a COCO file, each row of it with what is needed.

    Raises:
        InvalidInputError: no such list, a row that lacks something, or a number that is none.
    """
    rows = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(rows, list):
        raise InvalidInputError(f"expected a list of {name} in {path}, as COCO's instance files have")
    for row in rows:
        if not isinstance(row, Mapping) or any(key not in row for key in needed):
            raise InvalidInputError(f"expected {', '.join(needed)} in each of the {name} in {path}")
        for key in ("id", "image_id", "category_id"):
            if isinstance(row.get(key), list | Mapping):
                raise InvalidInputError(
                    f"expected {key} as a number in the {name} in {path}, got {row[key]!r:.60}"
                )
    return rows


def run_lengths(segmentation: object, size_hw: tuple[int, int], where: str) -> RunLengths:
    """One mask in any of COCO's three forms.

    pycocotools trusts what it is given: counts that do not fill the picture show memory that nobody wrote,
    and a corner far outside takes as much of it as there is. So both are checked here.

    Args:
        segmentation: polygons, or run lengths, compressed or not.
        size_hw: (H, W) of the picture.
        where: for messages.

    Raises:
        InvalidInputError: none of these, of another size, or numbers that cannot be.
    """
    if isinstance(segmentation, Mapping):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if counts is None or not isinstance(size, list | tuple) or tuple(size) != size_hw:
            raise InvalidInputError(
                f"expected the run lengths of {where} with counts and a size of {list(size_hw)}, got the "
                f"size {size!r:.60}"
            )
        runs = _unpacked(counts) if isinstance(counts, str | bytes) else counts
        whole = isinstance(runs, list) and all(type(run) is int and run >= 0 for run in runs)
        if not whole or sum(runs) != size_hw[0] * size_hw[1]:
            raise InvalidInputError(
                f"expected run lengths of {where} that fill {size_hw[1]}x{size_hw[0]} pixels, got "
                f"{counts!r:.60}"
            )
        rle: RunLengths = coco_mask.frPyObjects({"size": list(size_hw), "counts": runs}, *size_hw)
        return rle
    if not isinstance(segmentation, list) or not segmentation:
        raise InvalidInputError(
            f"expected a mask for {where}, got none; boxes alone cannot be scored, leave such annotations out"
        )
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise InvalidInputError(f"expected polygons x,y,x,y,… of three corners or more in {where}")
        _check_corners(polygon, size_hw, where)
    merged: RunLengths = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size_hw))
    return merged


def _check_corners(polygon: Sequence[Any], size_hw: tuple[int, int], where: str) -> None:
    """Refuses corners further outside than the picture is large, and what is no number."""
    for i, value in enumerate(polygon):
        side = size_hw[1 - i % 2]
        if not isinstance(value, int | float) or not math.isfinite(value) or not -side <= value <= 2 * side:
            raise InvalidInputError(
                f"expected corners in the picture of {size_hw[1]}x{size_hw[0]} in {where}, got {value!r:.40}"
            )


def _unpacked(counts: str | bytes) -> list[int] | None:
    """COCO's packed run lengths as numbers; None where they are none.

    Each is written in groups of five bits, the lowest first, as characters from "0" on, whose sixth bit says
    that more follows; from the fourth run on it is the difference to the run before the last.
    """
    runs: list[int] = []
    value, bits = 0, 0
    for code in counts.encode("utf-8") if isinstance(counts, str) else counts:
        group = code - 48
        if not 0 <= group < 64:
            return None
        value |= (group & 31) << bits
        bits += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << bits
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, bits = 0, 0
    return None if bits else runs
