"""Showing the node a thing, so that it has a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sensor_msgs.msg import RegionOfInterest

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.client.connection import Connection
from ovseg_ros.ros.client.requests import (
    camera_info,
    depth_message,
    image_message,
    mask_message,
    text,
    whole,
)
from ovseg_ros.ros.requests.answers import name_of
from ovseg_ros.srv import Teach

PATIENCE_S = 20.0


@dataclass(frozen=True)
class TaughtReply:
    """What became of a request about taught names.

    Attributes:
        code: a number of ResultCode; `code_name` is its name.
        message: the sentence beside it.
        names: all names there are now, and how many examples each has; empty where it was refused.
    """

    code: int
    message: str
    names: dict[str, int]

    @property
    def code_name(self) -> str:
        """The name of the code, for example NOT_FOUND."""
        return name_of(self.code)

    @property
    def done(self) -> bool:
        """Whether it was stored, forgotten or listed."""
        return self.code == ResultCode.REMEMBERED


class Teaching:
    """The part of `NodeClient` that teaches names."""

    def __init__(self, connection: Connection) -> None:
        self._teaches, self._teach = connection, connection.service(Teach, "teach")

    def teach(
        self,
        name: str,
        image_rgb: np.ndarray | None = None,
        *,
        box_xywh: Sequence[int] = (),
        mask: np.ndarray | None = None,
        track_id: int = 0,
        camera: str = "",
        depth: np.ndarray | None = None,
        intrinsics: CameraIntrinsics | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> TaughtReply:
        """Gives the thing that is shown one more example of a name.

        Args:
            name: "my mug".
            image_rgb: (H, W, 3) uint8 RGB that shows it; None: the camera's newest.
            box_xywh: left, top, width and height in pixels around it; (): another way says which thing.
            mask: (H, W) bool on `image_rgb`, the thing itself.
            track_id: of a `FoundSegment`, in the newest image; 0: another way says which thing.
            camera: of a node with several the one whose newest image it is; "": the first.
            depth: (H, W) of `image_rgb`: floats are metres, uint16 millimetres; 0 and NaN are unknown.
            intrinsics: of `image_rgb`.
            timeout_s: for the node to be there, and then to answer.

        Raises:
            NoAnswer: no answer in time; NodeGone: the node has died.
            InvalidInputError: an image, mask or number that no request can carry.
        """
        request = Teach.Request(
            name=text(name, "name"),
            camera=text(camera, "camera"),
            image=image_message(image_rgb),
            depth=depth_message(depth),
            camera_info=camera_info(intrinsics),
            mask=mask_message(mask),
            track_id=whole(track_id, "track_id"),
        )
        if len(box_xywh):
            x, y, width, height = (whole(number, "each number of a box") for number in box_xywh)
            request.box = RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)
        return self._told(request, timeout_s)

    def forget_name(self, name: str, *, timeout_s: float = PATIENCE_S) -> TaughtReply:
        """Has all examples of a name forgotten; errors as for `teach`."""
        return self._told(Teach.Request(name=text(name, "name"), forget=True), timeout_s)

    def taught_names(self, *, timeout_s: float = PATIENCE_S) -> TaughtReply:
        """The names that there are; errors as for `teach`."""
        return self._told(Teach.Request(list=True), timeout_s)

    def _told(self, request: Any, timeout_s: float) -> TaughtReply:
        reply = self._teaches.call(self._teach, request, "~/teach", timeout_s)
        return TaughtReply(reply.code, reply.message, dict(zip(reply.names, reply.counts)))
