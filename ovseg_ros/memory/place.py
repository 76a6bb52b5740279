"""Whether a place where a thing was is free now: depth sees through where its surface was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from ovseg_ros.core.space import axial_noise_m
from ovseg_ros.memory.entry import Entry
from ovseg_ros.memory.sighting import View

_NEAREST_M, _FARTHEST_M = 0.15, 5.0  # depth cameras say nothing nearer, and little that helps farther away
_LEAST_GAP_M = 0.012  # what is so little behind the surface is the surface
_NOISES = 4.0
_LEAST_POINTS = 8
_IN_VIEW = 0.5  # of the surface must be in view to tell anything
_FREE = 0.6  # of what is not hidden must be seen through


class Place(Enum):
    """What a view says about where a thing was."""

    NOT_SEEN = "not seen"
    TAKEN = "taken"
    FREE = "free"


@dataclass(frozen=True)
class Seen:
    """Points of a surface by what depth says of them.

    Attributes:
        through: depth goes on behind them.
        there: there is something where they were.
        hidden: something is before them.
        unknown: in the image, without a depth.
    """

    through: int
    there: int
    hidden: int
    unknown: int


def look_at(entry: Entry, view: View) -> Place:
    """What a view says about the place of a thing that was not recognised in it.

    Only what would be seen if the thing were there counts: points behind something nearer say nothing.
    """
    count = len(entry.surface)
    if count < _LEAST_POINTS or entry.frame_id != view.frame_id:
        return Place.NOT_SEEN
    seen = points_seen(entry, view)
    told = seen.through + seen.there
    if told < max(_LEAST_POINTS, _IN_VIEW * count):
        return Place.NOT_SEEN
    return Place.FREE if seen.through >= _FREE * told else Place.TAKEN


def points_seen(entry: Entry, view: View) -> Seen:
    """How many points of a thing's surface a view sees through, and how many not."""
    pixels, away = view.pixels_of(entry.position + entry.surface)
    height, width = view.depth_m.shape
    inside = (away > _NEAREST_M) & (away < _FARTHEST_M)
    inside &= (pixels > -0.5).all(axis=1) & (pixels[:, 0] < width - 0.5) & (pixels[:, 1] < height - 0.5)
    columns, rows = np.rint(pixels[inside]).astype(np.intp).T
    depth, away = view.depth_m[rows, columns], away[inside]
    known = np.isfinite(depth) & (depth > 0)
    behind = depth[known] - away[known]
    limit = np.maximum(_LEAST_GAP_M, _NOISES * axial_noise_m(away[known].astype(np.float32)))
    through, hidden = int((behind > limit).sum()), int((behind < -limit).sum())
    return Seen(through, int(known.sum()) - through - hidden, hidden, int((~known).sum()))
