"""What came of a camera's topics while somebody listened, as the node would take it; without ROS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ovseg_ros.core.camera.missing import InputState


@dataclass(frozen=True)
class Heard:
    """What came of one input.

    Attributes:
        state: as the node tells of it, with its problem and what helps.
        rate_hz: messages a second; None where fewer than two came.
        about: what they are, in words: size, encoding, frame.
    """

    state: InputState
    rate_hz: float | None = None
    about: str = ""


@dataclass(frozen=True)
class CameraLook:
    """What came of a camera.

    Attributes:
        inputs: by name: image, depth, camera_info.
        tolerance_s: how far apart stamps of one moment may be.
        oldest_s: the age up to which the node searches an image.
        image_stamp_ns: of the image that was looked at; None where none came.
        age_s: seconds from its stamp to its arrival; None where none came.
        doubt: why its stamp cannot be the time it was taken at, "" where it can.
        remark: on the unit of depth, "" where nothing is odd.
        known: the part of depth's pixels that hold a distance, 0 to 1; None without depth.
    """

    inputs: Mapping[str, Heard]
    tolerance_s: float
    oldest_s: float
    image_stamp_ns: int | None = None
    age_s: float | None = None
    doubt: str = ""
    remark: str = ""
    known: float | None = None
