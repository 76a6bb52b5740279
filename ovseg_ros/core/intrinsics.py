"""The pinhole camera; importing it imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ovseg_ros.errors import InvalidInputError


@dataclass(frozen=True)
class CameraIntrinsics:
    """Pinhole intrinsics in pixels, finite, for an image of `width` x `height`."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        if not (self.fx > 0 and self.fy > 0):
            raise InvalidInputError(f"expected focal lengths > 0, got fx={self.fx}, fy={self.fy}")
        numbers = (self.fx, self.fy, self.cx, self.cy)
        if not all(map(math.isfinite, numbers)):  # also of a huge one that was resized
            raise InvalidInputError(
                "expected finite intrinsics, got fx={}, fy={}, cx={}, cy={}".format(*numbers)
            )

    def resized(self, width: int, height: int) -> CameraIntrinsics:
        """Those of the image resized to `width` x `height`; a pixel's centre has whole coordinates."""
        x, y = width / self.width, height / self.height
        cx, cy = (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5
        return CameraIntrinsics(self.fx * x, self.fy * y, cx, cy, width, height)
