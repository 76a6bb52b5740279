"""Where, how far away and how large what is asked for may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovseg_ros.core.choice.items import Item
from ovseg_ros.errors import InvalidInputError

if TYPE_CHECKING:
    from ovseg_ros.core.space import Object3d

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Limits:
    """What an answer has to keep to; what has no depth keeps to no limit in metres.

    Attributes:
        region: x, y, width and height in pixels of the image, which the middle of a mask's box has to lie in;
            width or height 0: all of it.
        distance_m: least and most from the camera; most 0: no limit.
        size_m: least and most of the longest side; most 0: no limit.
        box_m: two opposite corners, along the axes of the frame that the things are in; both zero: anywhere.

    Raises:
        InvalidInputError: numbers that are not finite or below 0, a least above the most, a box without room.
    """

    region: tuple[int, int, int, int] = (0, 0, 0, 0)
    distance_m: tuple[float, float] = (0.0, 0.0)
    size_m: tuple[float, float] = (0.0, 0.0)
    box_m: tuple[Point, Point] = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))

    def __post_init__(self) -> None:
        for name, (least, most) in (("distance", self.distance_m), ("size", self.size_m)):
            if not (math.isfinite(least) and math.isfinite(most) and least >= 0 and most >= 0):
                raise InvalidInputError(
                    f"expected the limits of {name} finite and at least 0, got {least:g}, {most:g}"
                )
            if most and least > most:
                raise InvalidInputError(
                    f"expected the least {name} not above the most, got {least:g} and {most:g} m; 0 is no "
                    f"limit"
                )
        if min(self.region) < 0:
            raise InvalidInputError(f"expected a region of numbers from 0 up, got {self.region}")
        if not all(math.isfinite(value) for corner in self.box_m for value in corner):
            raise InvalidInputError(f"expected finite corners of the box, got {self.box_m}")
        flat = [axis for axis, a, b in zip("xyz", *self.box_m, strict=True) if a == b]
        if flat and self._has_box:
            raise InvalidInputError(
                f"expected two opposite corners of a box with room in it, got {self.box_m}: flat along "
                f"{flat[0]}"
            )

    @property
    def are_none(self) -> bool:
        """Whether nothing is left out."""
        return not (self.needs_depth or self._has_region)

    @property
    def needs_depth(self) -> bool:
        """Whether a limit in metres is set, which leaves out all that has no depth."""
        return any(self.distance_m) or any(self.size_m) or self._has_box

    def keeps(self, item: Item, solid: Object3d | None = None) -> bool:
        """Whether an item keeps to the limits.

        Args:
            item: its `solid` is in the camera's optical frame.
            solid: the same in the frame that the box is in; None: the camera's.
        """
        if self._has_region:
            left, top, width, height = self.region
            x, y = (item.box_xyxy[0] + item.box_xyxy[2]) / 2, (item.box_xyxy[1] + item.box_xyxy[3]) / 2
            if not (left <= x < left + width and top <= y < top + height):
                return False
        if not self.needs_depth:
            return True
        solid = item.solid if solid is None else solid
        if solid is None:
            return False
        corners = zip(*self.box_m, solid.centroid_m, strict=True)
        return (
            _within(solid.distance_m, self.distance_m)
            and _within(max(solid.size_m), self.size_m)
            and (not self._has_box or all(min(a, b) <= value <= max(a, b) for a, b, value in corners))
        )

    @property
    def _has_region(self) -> bool:
        return self.region[2] > 0 and self.region[3] > 0

    @property
    def _has_box(self) -> bool:
        return any(any(corner) for corner in self.box_m)


def _within(value: float, limits: Sequence[float]) -> bool:
    least, most = limits
    return bool(least <= value and (not most or value <= most))
