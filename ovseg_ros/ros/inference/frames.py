"""The camera's messages read as a frame, and the frame once it is embedded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ovseg_ros.core.camera import depth_remark
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.tracking import VideoReport
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.inference.statistics import Statistics
from ovseg_ros.ros.io.conversions import frame_from_messages
from ovseg_ros.ros.io.frame_source import FrameSource, SyncedImages
from ovseg_ros.ros.parameters.table import Settings
from ovseg_ros.ros.requests.answers import RequestError

REMARK_PERIOD_S = 1.0


@dataclass(frozen=True)
class EmbeddedImage:
    """An image that is embedded and waits to be labelled.

    Attributes:
        header: of its message.
        embedded: its masks.
        arrival_s: of the camera's images.
        seq: of the camera's images; 0 for an image that came with a request.
        generation: of the camera's images.
        seconds: it took from its messages to here.
        report: what tracking did with it; None where it was not tracked.
    """

    header: Any
    embedded: EmbeddedFrame
    arrival_s: float = 0.0
    seq: int = 0
    generation: int = 0
    seconds: float = 0.0
    report: VideoReport | None = None


class FrameReader:
    """Reads messages of one camera, and remembers what is odd about them.

    Attributes:
        depth_remark: on the unit of the depth that came last, "" where nothing is odd.
    """

    def __init__(self, source: FrameSource, settings: Callable[[], Settings], statistics: Statistics) -> None:
        """See `Engine`."""
        self.depth_remark = ""
        self._source = source
        self._settings = settings
        self._statistics = statistics
        self._remarked_s = -float("inf")

    def read(self, images: SyncedImages) -> tuple[Frame, dict[str, str]]:
        """The frame, and by input why it has no 3D.

        Raises:
            RequestError: NO_IMAGE: the image cannot be read.
        """
        try:
            frame, problems = self.of_messages(images.image, images.depth, images.camera_info)
        except InvalidInputError as error:
            self._statistics.bad_image(str(error))
            raise RequestError(ResultCode.NO_IMAGE, f"the newest image cannot be used: {error}") from error
        self._statistics.without_3d(problems)
        if frame.depth_m is not None and time.monotonic() - self._remarked_s >= REMARK_PERIOD_S:
            self._remarked_s = time.monotonic()
            is_told = self._settings().depth_scale > 0  # then the unit is nobody's guess
            self.depth_remark = "" if is_told else depth_remark(frame.depth_m)
        return frame, problems

    def of_messages(self, image: Any, depth: Any, camera_info: Any) -> tuple[Frame, dict[str, str]]:
        """As `read`, of messages from anywhere.

        Raises:
            InvalidInputError: the image cannot be read.
        """
        scale = self._settings().depth_scale or None
        return frame_from_messages(
            image, depth, camera_info, depth_scale=scale, rectified=self._source.is_rectified
        )


def told(problems: Mapping[str, str]) -> str:
    """Problems by input, in one line."""
    return "; ".join(f"{name}: {problem}" for name, problem in problems.items())
