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

    def shift_m(self, odometry: Rigid, camera: Floats) -> float:
        """How far the fixed frame jumped where the camera is, metres; 0 where it did not.

        Args:
            odometry: from the odometry's frame to the fixed one, at the time of an image.
            camera: (3,) where the camera is then, in the fixed frame.
        """
        before, self._before = self._before, odometry
        if before is None:
            return 0.0
        in_odometry = odometry.rotation.T @ (camera - odometry.translation_m)
        moved = float(np.linalg.norm(camera - (before.rotation @ in_odometry + before.translation_m)))
        return moved if moved > JUMP_M else 0.0
