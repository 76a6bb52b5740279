"""Boxes and points as they come from callers, checked and brought to one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.errors import InvalidInputError

ArrayLike: TypeAlias = "npt.ArrayLike | torch.Tensor | Sequence[object]"


@dataclass(frozen=True)
class Prompts:
    """N regions of interest, in pixels of the image.

    Attributes:
        boxes_xyxy: (N, 4) float64, or None.
        points_xy: (N, P, 2) float64, or None.
        labels: (N, P) int64, 1 on the thing, 0 off it, -1 padding; None without points.
    """

    boxes_xyxy: npt.NDArray[np.float64] | None
    points_xy: npt.NDArray[np.float64] | None
    labels: npt.NDArray[np.int64] | None

    def __len__(self) -> int:
        given = self.points_xy if self.boxes_xyxy is None else self.boxes_xyxy
        return 0 if given is None else len(given)

    def part(self, start: int, count: int) -> Prompts:
        """At most `count` of them from `start` on."""
        values = (self.boxes_xyxy, self.points_xy, self.labels)
        return Prompts(*(None if v is None else v[start : start + count] for v in values))


def read_prompts(
    size_hw: tuple[int, int],
    boxes_xyxy: ArrayLike | None,
    points_xy: ArrayLike | None,
    point_labels: ArrayLike | None,
) -> Prompts:
    """Checks prompts against the image they are for.

    Args:
        size_hw: of the image.
        boxes_xyxy: (N, 4) left, top, right, bottom in pixels, or None.
        points_xy: (N, 2), one point per prompt, or (N, P, 2), or None.
        point_labels: (N,) or (N, P) of 1, 0 and -1, shaped as the points; None means 1 for all.

    Raises:
        InvalidInputError: neither boxes nor points, labels without points, wrong shapes, numbers that are not
            finite, other labels, or boxes and points that do not lie on the image; says which.
    """
    if boxes_xyxy is None and points_xy is None:
        raise InvalidInputError("expected boxes_xyxy, points_xy or both, got neither")
    boxes = None if boxes_xyxy is None else _boxes(_numbers(boxes_xyxy, "boxes_xyxy"), size_hw)
    if points_xy is None:
        if point_labels is not None:
            raise InvalidInputError("expected point_labels beside points_xy, got them alone")
        return Prompts(boxes, None, None)
    points, labels = _points(_numbers(points_xy, "points_xy"), point_labels, size_hw)
    if boxes is not None and len(boxes) != len(points):
        raise InvalidInputError(
            f"expected as many boxes as prompts of points (box i and points i are one prompt), got "
            f"{len(boxes)} "
            f"and {len(points)}"
        )
    return Prompts(boxes, points, labels)


def _numbers(values: ArrayLike, name: str) -> npt.NDArray[np.float64]:
    try:
        if isinstance(values, torch.Tensor):
            values = values.detach().cpu().double().numpy()
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"expected {name} as an array of numbers, got {error}") from error
    if not np.isfinite(array).all():
        raise InvalidInputError(f"expected finite {name}, got NaN or infinity")
    return array


def _boxes(boxes: npt.NDArray[np.float64], size_hw: tuple[int, int]) -> npt.NDArray[np.float64]:
    """(N, 4), every box at least partly a box and wholly on the image."""
    if boxes.size == 0 and boxes.ndim <= 2:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InvalidInputError(
            f"expected boxes_xyxy (N,4), got {boxes.shape}; one box is [[x0, y0, x1, y1]]"
        )
    height, width = size_hw
    left, top, right, bottom = boxes.T
    bad = (left < 0) | (top < 0) | (right > width) | (bottom > height) | (left >= right) | (top >= bottom)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise InvalidInputError(
            f"expected boxes with 0 <= x0 < x1 <= {width} and 0 <= y0 < y1 <= {height}, got box {first}: "
            f"{boxes[first].tolist()}{_more(bad)}; clip boxes to the image and drop what is empty then"
        )
    return boxes


def _points(
    points: npt.NDArray[np.float64], labels: ArrayLike | None, size_hw: tuple[int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """(N, P, 2) and (N, P)."""
    if points.size == 0 and points.ndim <= 2:
        points = points.reshape(0, 2)
    if points.ndim not in (2, 3) or points.shape[-1] != 2 or (points.ndim == 3 and 0 in points.shape[1:]):
        raise InvalidInputError(
            f"expected points_xy (N,2) or (N,P,2), got {points.shape}; one point is [[x, y]]"
        )
    given = np.ones(points.shape[:-1]) if labels is None else _numbers(labels, "point_labels")
    if given.size == 0 and points.size == 0:
        given = given.reshape(points.shape[:-1])
    if given.shape != points.shape[:-1]:
        raise InvalidInputError(
            f"expected point_labels {points.shape[:-1]}, one per point, got {given.shape}"
        )
    if not np.isin(given, (-1, 0, 1)).all():
        raise InvalidInputError("expected point_labels of 1 (on the thing), 0 (off it) and -1 (padding)")
    if points.ndim == 2:
        points, given = points[:, None], given[:, None]
    height, width = size_hw
    off = (points < 0).any(axis=2) | (points[..., 0] >= width) | (points[..., 1] >= height)  # (N,P)
    bad = (off & (given != -1)).any(axis=1)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise InvalidInputError(
            f"expected points with 0 <= x < {width} and 0 <= y < {height}, got prompt {first}: "
            f"{points[first].tolist()}{_more(bad)}"
        )
    return points, given.astype(np.int64)


def _more(bad: npt.NDArray[np.bool_]) -> str:
    return f" and {int(bad.sum()) - 1} more" if bad.sum() > 1 else ""
