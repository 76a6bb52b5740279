"""Jumps of the fixed frame: localisation corrected itself, and what was told before is off by as much."""

from __future__ import annotations

import numpy as np

from ovseg_ros.core.space import Rigid
from ovseg_ros.memory.entry import Floats

JUMP_M = 0.05


class Jumps:
    """Watches how the odometry's frame, in which the robot moves without jumps, lies in the fixed one."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._before: Rigid | None = None

    def correction(self, odometry: Rigid, camera: Floats) -> Rigid | None:
        """What the fixed frame was corrected by since the last image, None where that is no jump.

        Args:
            odometry: from the odometry's frame to the fixed one, at the time of an image.
            camera: (3,) where the camera is then, in the fixed frame.

        Returns:
            From places as they were told before to what they would be told as now, where it moves the
            camera's by more than 5 cm.
        """
        before, self._before = self._before, odometry
        if before is None:
            return None
        correction = odometry.after(before.inverse())
        told_before = before.of_points(odometry.inverse().of_points(camera[None]))[0]
        return correction if float(np.linalg.norm(camera - told_before)) > JUMP_M else None
