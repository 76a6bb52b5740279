"""In which frame 3D is told: the transform of an image's own time from TF, where tf2 is installed."""

from __future__ import annotations

import importlib
import math
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rclpy.time import Time
from scipy.spatial.transform import Rotation

from ovseg_ros.core.space import Rigid
from ovseg_ros.ros.io.frame_source import stamp_ns
from ovseg_ros.ros.parameters.table import Settings

NO_TF2 = "tf2 is not installed (apt install ros-$ROS_DISTRO-tf2-ros-py)"
UPRIGHT_FRAMES = ("base_footprint", "base_link", "odom", "map")  # their z axis points up: REP 103 and 105
START_S = 1.0  # so long after listening began a frame may be unknown because nothing was heard yet
UNIT_TOLERANCE = 0.01  # of a quaternion's length, as tf2 has it


def tf2_ros() -> types.ModuleType | None:
    """The module tf2_ros, or None on a machine without it."""
    try:
        return importlib.import_module("tf2_ros")
    except ImportError:
        return None


@dataclass(frozen=True)
class Missing:
    """Why there is no transform, and whether there may be one a moment later."""

    reason: str
    may_come: bool = False


@dataclass(frozen=True)
class Placement:
    """In which frame the 3D of one image is told.

    Attributes:
        frame_id: Of the 3D fields; "": the camera's.
        rigid: From the camera's optical frame to it; None: it is the camera's.
        up: (3,) float64 unit vector against gravity in the camera's optical frame; None: TF does not say.
        remark: Why the frame is not the one wanted, or gravity is not known; "": all is as wanted.
        may_improve: Whether a transform that is on its way may change that.
        wanted: The frame that was asked for; "": the camera's.
    """

    frame_id: str = ""
    rigid: Rigid | None = None
    up: npt.NDArray[np.float64] | None = None
    remark: str = ""
    may_improve: bool = False
    wanted: str = ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether 3D is in another frame than was asked for."""
        return self.wanted != "" and self.frame_id != self.wanted


class Transforms:
    """Hears TF from when a frame is first asked for; without tf2 every transform is missing, with the cure.

    Transforms are of the image's own stamp: what TF says of another time is never taken. One from
    /tf_static holds at any time. Nothing here waits; transforms come later than images, so whoever can wait
    asks again (`transform_wait`) while `may_improve`.
    """

    def __init__(self, node: Any, settings: Callable[[], Settings]) -> None:
        """Hears nothing yet.

        Args:
            node: Subscribes to TF.
            settings: Returns the settings of the moment.
        """
        self._node, self._settings = node, settings
        self._tf2 = tf2_ros()
        self._buffer: Any = None
        self._listener: Any = None
        self._since = 0.0

    def listen(self, *frames: str) -> None:
        """Begins to hear TF, where a frame is named. Executor's thread only."""
        if self._buffer is None and self._tf2 is not None and any(frames):
            buffer = self._tf2.Buffer()  # not given the node: it would offer a service there
            self._since = time.monotonic()
            self._listener = self._tf2.TransformListener(buffer, self._node, spin_thread=False)
            self._buffer = buffer

    def stop(self) -> None:
        """Hears TF no more, and forgets what it said. Executor's thread only."""
        if self._listener is not None:
            self._listener.unregister()
        self._buffer = self._listener = None

    def clear(self) -> None:
        """Forgets what moved, for time was set back; tf2 keeps what is static."""
        buffer = self._buffer
        if buffer is not None:
            buffer.clear()

    def lookup(self, target: str, source: str, stamp: int) -> Rigid | Missing:
        """The transform that takes points of `source` to `target` at a time.

        Args:
            target: Frame of the result.
            source: Frame of the points.
            stamp: Nanoseconds. 0, a time that is not known, has what is static alone.
        """
        buffer, tf2 = self._buffer, self._tf2
        if target == source:
            return Rigid(np.eye(3), np.zeros(3))
        if not source:
            return Missing("the image's header names no frame")
        if tf2 is None:
            return Missing(NO_TF2)
        if buffer is None:
            return Missing("TF is not heard: the node is not active")
        try:
            # To tf2 time 0 means "the latest"; a nanosecond later it is a time like any other.
            found = buffer.lookup_transform(target, source, Time(nanoseconds=stamp or 1))
        except tf2.ExtrapolationException as error:
            return Missing(str(error).strip(), may_come=True)
        except tf2.TransformException as error:
            return Missing(str(error).strip(), may_come=time.monotonic() - self._since < START_S)
        return _rigid_of(found.transform, source, target)

    def place(self, header: Any, target: str = "") -> Placement:
        """In which frame the 3D of an image is told now.

        Gravity is that of the parameter `gravity_frame`, whose z axis points up; where it is empty, of the
        target frame where its name is one of `UPRIGHT_FRAMES`.

        Args:
            header: Of the image: the camera's optical frame, and the time.
            target: The frame wanted; "": the parameter `target_frame`.
        """
        settings = self._settings()
        target = target or settings.target_frame
        if not (target or settings.gravity_frame):
            return Placement()
        camera, stamp = header.frame_id, stamp_ns(header)
        said: list[str] = []
        missing: list[Missing] = []
        to_target = self.lookup(target, camera, stamp) if target else None
        if isinstance(to_target, Missing):
            said.append(f"3D is in the camera's frame {camera!r}, not in {target!r}: {to_target.reason}")
            missing.append(to_target)
            to_target = None
        gravity, to_gravity = settings.gravity_frame, None
        if gravity and gravity != target:
            found = self.lookup(gravity, camera, stamp)
            if isinstance(found, Missing):
                said.append(f"gravity is not known, boxes stand on what is seen; {gravity!r}: {found.reason}")
                missing.append(found)
            else:
                to_gravity = found
        elif gravity or is_upright(target):
            to_gravity = to_target
        is_moved = to_target is not None and target != camera
        return Placement(
            target if to_target is not None else "",
            to_target if is_moved else None,
            None if to_gravity is None else to_gravity.rotation[2],  # its z axis, as the camera sees it
            "; ".join(said),
            any(one.may_come for one in missing),
            target,
        )


def is_upright(frame_id: str) -> bool:
    """Whether a frame's z axis points up by its name, with or without a robot's prefix."""
    return frame_id.rpartition("/")[2] in UPRIGHT_FRAMES


def _rigid_of(transform: Any, source: str, target: str) -> Rigid | Missing:
    """A geometry_msgs/Transform as numbers."""
    turn, shift = transform.rotation, transform.translation
    quaternion, translation = (turn.x, turn.y, turn.z, turn.w), (shift.x, shift.y, shift.z)
    length = math.hypot(*quaternion)
    if not (abs(length - 1.0) <= UNIT_TOLERANCE and all(map(math.isfinite, translation))):
        return Missing(
            f"TF's transform from {source!r} to {target!r} cannot be used: expected a unit quaternion and "
            f"finite metres, got {quaternion} and {translation}; look at who publishes it"
        )
    return Rigid(Rotation.from_quat(quaternion).as_matrix(), np.array(translation, np.float64))
