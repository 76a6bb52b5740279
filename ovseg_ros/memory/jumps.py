"""Jumps of the fixed frame: localisation corrected itself, and what was told before is off by as much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ovseg_ros.core.space import Rigid
from ovseg_ros.memory.entry import Entry, Floats
from ovseg_ros.memory.merging import corrected

JUMP_M = 0.05
_AROUND_M = 2.0  # of a thing that is seen again
_SETTLED_M = 0.1  # of one of its two places
_LEFT_M, _LEFT_PER_M = 0.02, 0.03  # of the doubt that is left, by the distance from it: the frame also turned


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


@dataclass(frozen=True)
class _Before:
    """Where an entry was told to be before its frame was corrected, and how certainly."""

    position: Floats
    covariance: Floats


class Doubts:
    """Entries whose places are in doubt since their frame was corrected, until one of them is seen again.

    Not stored: after a new start the larger covariance alone tells.
    """

    def __init__(self) -> None:
        """None is."""
        self._before: dict[str, _Before] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._before

    def begin(self, entry: Entry, correction: Rigid) -> Entry:
        """The entry moved along with its frame, and as uncertain as that is far."""
        self._before.setdefault(entry.key, _Before(entry.position, entry.covariance))
        return corrected(entry, correction)

    def settle(self, seen: Entry, place: Floats, entry_of: Callable[[str], Entry | None]) -> list[Entry]:
        """An entry in doubt is seen again: where it was moved to, or where it was told to be before.

        So are those around it then. One that is at neither place was moved by somebody, and settles nothing.

        Args:
            seen: the entry, not in doubt any more.
            place: (3,) where it is, metres.
            entry_of: the entry of a key, None where it is not at hand.

        Returns:
            Those around it, as they are now.
        """
        own = self._before.pop(seen.key)
        off = [float(np.linalg.norm(place - at)) for at in (seen.position, own.position)]
        if min(off) > _SETTLED_M:
            return []
        settled = []
        for key, before in list(self._before.items()):
            entry = entry_of(key)
            if entry is None:
                continue
            away = float(np.linalg.norm(entry.position - seen.position))
            if away <= _AROUND_M:
                del self._before[key]
                left = min(off) + _LEFT_M + _LEFT_PER_M * away
                position = entry.position if off[0] <= off[1] else before.position
                covariance = before.covariance + left**2 * np.eye(3)
                settled.append(replace(entry, position=position, covariance=covariance))
        return settled
