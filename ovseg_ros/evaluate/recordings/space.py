"""How well things are placed in space, beside the renderer's truth: centroids, boxes, and what the rest adds.

The things' true masks tell what space costs by itself, the preset's own masks what a robot gets.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ovseg_ros.core.maps import box_slices, boxed_masks
from ovseg_ros.core.space import Object3d, Rigid, objects_3d
from ovseg_ros.evaluate.recordings.objects import TrueObjects, TrueThing
from ovseg_ros.evaluate.recordings.recording import RecordedFrame

CENTROID_M = 0.015
"""A centroid that is no further from the true one is right."""

FULLY = 0.02
"""A thing counts as fully visible where others hide no more of it, and the image cuts no more off."""

_ROUND = 1.12  # as in core/space: around such a footprint no direction is the true one
_GRID = 24  # points along each side of a box that count the overlap

Box = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class SpaceTrial:
    """One thing in one frame.

    Attributes:
        name: what it is called.
        fully: whether it is fully visible.
        centroid_m: from the centroid found to the true middle of the visible surface.
        centre_m: from the box's centre to the true box's.
        iou: of the two boxes.
        deviations: the centroid's error in standard deviations of its own covariance (Mahalanobis).
    """

    name: str
    fully: bool
    centroid_m: float
    centre_m: float
    iou: float
    deviations: float


@dataclass
class SpaceCounts:
    """Trials of one recording.

    Attributes:
        true_masks: with the things' true masks.
        own_masks: with the masks proposed, where one fits.
        tried: things of enough pixels whose truth in space is known, of which own masks are a part.
    """

    true_masks: list[SpaceTrial] = field(default_factory=list)
    own_masks: list[SpaceTrial] = field(default_factory=list)
    tried: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON; lengths in metres, None where there was no trial."""
        return {
            "tried": self.tried,
            "true_masks": _summary(self.true_masks),
            "own_masks": _summary(self.own_masks),
        }


def count_space(
    one: RecordedFrame,
    truth: TrueObjects,
    shown: Sequence[int],
    own: Sequence[np.ndarray | None],
    counts: SpaceCounts,
) -> None:
    """Adds one frame's trials.

    Args:
        one: with depth and intrinsics, else nothing is tried.
        truth: in space; a frame that it does not know is left out.
        shown: ids of the things that are tried.
        own: per thing the mask (H, W) that was proposed for it, None where none fits.
        counts: written.
    """
    view = truth.views.get(one.frame.stamp_ns)
    if view is None or one.frame.depth_m is None or one.frame.intrinsics is None:
        return
    counts.tried += len(shown)
    for masks, trials in (
        ([one.mask(i) for i in shown], counts.true_masks),
        (own, counts.own_masks),
    ):
        there = [(i, mask) for i, mask in zip(shown, masks, strict=True) if mask is not None]
        if not there:
            continue
        stack = np.stack([mask for _, mask in there])
        parts = box_slices([boxed.box_xyxy for boxed in boxed_masks(stack)])
        found = objects_3d(one.frame.depth_m, one.frame.intrinsics, stack, parts)
        for (i, _), thing in zip(there, found, strict=True):
            if thing is not None:
                trial = _trial(thing, truth.things[i], view.to_camera, view.centroids_m[i], view.hidden[i])
                trials.append(trial)


def _trial(
    found: Object3d, thing: TrueThing, to_camera: Rigid, centroid: np.ndarray, hidden: float
) -> SpaceTrial:
    off = found.centroid_m - centroid
    box = true_box(thing, to_camera, found)
    return SpaceTrial(
        thing.name,
        hidden <= FULLY,
        float(np.linalg.norm(off)),
        float(np.linalg.norm(found.centre_m - box[0])),
        box_iou((found.centre_m, found.rotation, found.size_m), box),
        float(np.sqrt(off @ np.linalg.solve(found.covariance_m2, off))),
    )


def true_box(thing: TrueThing, to_camera: Rigid, found: Object3d) -> Box:
    """Centre, rotation and size of the upright box around a thing, in the camera's frame.

    The smallest rectangle around its footprint; where every rectangle is about as small, as around a bowl,
    the one that is turned as the box found.
    """
    hull = thing.footprint_m.astype(np.float64)
    edges = np.roll(hull, -1, axis=0) - hull
    angles = np.arctan2(edges[:, 1], edges[:, 0])
    areas = [np.ptp(hull @ _turn(angle), axis=0).prod() for angle in angles]
    angle = angles[int(np.argmin(areas))]
    if max(areas) <= _ROUND * min(areas):
        along = to_camera.rotation.T @ found.rotation[:, 0]
        angle = np.arctan2(along[1], along[0])
    turn = _turn(angle)
    low, high = (hull @ turn).min(axis=0), (hull @ turn).max(axis=0)
    flat = turn @ (low + high) / 2
    centre = np.array([*flat, (thing.bottom_m + thing.top_m) / 2])
    size = np.array([*(high - low), thing.top_m - thing.bottom_m])
    rotation = np.eye(3)
    rotation[:2, :2] = turn
    return to_camera.of_points(centre[None])[0], to_camera.rotation @ rotation, size


def _turn(angle: float) -> np.ndarray:
    """(2, 2), its columns are the axes turned by an angle."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def box_iou(one: Box, other: Box) -> float:
    """IoU of two boxes of any pose, counted on 24³ points in the first: to about 0.01."""
    (centre, rotation, size), (other_centre, other_rotation, other_size) = one, other
    steps = (np.arange(_GRID) + 0.5) / _GRID - 0.5
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3) * size
    there = (grid @ rotation.T + centre - other_centre) @ other_rotation
    inside = (np.abs(there) <= other_size / 2).all(axis=1)
    volume, other_volume = float(np.prod(size)), float(np.prod(other_size))
    shared = float(inside.mean()) * volume
    together = volume + other_volume - shared
    return min(shared / together, 1.0) if together > 0 else 0.0


def _summary(trials: Sequence[SpaceTrial]) -> dict[str, Any]:
    fully = [trial for trial in trials if trial.fully]
    names = sorted({trial.name for trial in fully})
    return {
        "all": _figures(trials),
        "fully_visible": _figures(fully),
        "per_word": {name: _figures([one for one in fully if one.name == name]) for name in names},
    }


def _figures(trials: Sequence[SpaceTrial]) -> dict[str, Any]:
    if not trials:
        return dict.fromkeys(("trials", "centroid_m", "within", "centre_m", "iou", "good", "deviations"))
    return {
        "trials": len(trials),
        "centroid_m": statistics.median(t.centroid_m for t in trials),
        "within": sum(t.centroid_m <= CENTROID_M for t in trials) / len(trials),
        "centre_m": statistics.median(t.centre_m for t in trials),
        "iou": statistics.median(t.iou for t in trials),
        "good": sum(t.iou >= 0.5 for t in trials) / len(trials),
        "deviations": statistics.median(t.deviations for t in trials),
    }
