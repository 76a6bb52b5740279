"""Frames from any rosbag2 recording.

Colour may be raw or compressed; depth is the image nearest in time within a tolerance; camera_info is the
newest one before the image (or the first usable one of the recording). What is read stays small: messages
wait only until their partner has come, and images are decoded when they are asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ovseg_ros.core.camera import (
    InputState,
    camera_info_intrinsics,
    decode_colour,
    decode_depth,
    is_rectified,
    missing_inputs,
)
from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.cameras import as_intrinsics
from ovseg_ros.files.recordings.bag import Bag, deserialized
from ovseg_ros.files.recordings.look import as_bag
from ovseg_ros.files.recordings.parts import Recorded
from ovseg_ros.files.recordings.topics import INFO, Chosen, Topic

DEPTH_TOLERANCE_S = 0.02
"""Default: more than the jitter between the streams of one camera, less than a frame at 30 Hz."""

_WAIT_NS = 1_000_000_000  # of recording time; depth later than this does not come any more
_MAX_WAITING = 60  # images; bounds memory where the recording's times make no sense


@dataclass(frozen=True)
class _How:
    """How the messages of a recording become frames, and what is known of its topics."""

    tolerance_ns: int
    depth_scale: float | None
    intrinsics: Any
    rectified: bool
    depth: InputState
    info: InputState


@dataclass(frozen=True)
class BagFrame:
    """One colour image of a recording, with what belongs to it, still as messages.

    Attributes:
        index: number of the image on its topic, from 0.
        stamp_ns: of its header; the time of recording where the header has none.
    """

    index: int
    stamp_ns: int
    _image: _Message
    _nearest: _Message | None  # depth, however far
    _info: _Message | None
    _how: _How

    @property
    def has_depth(self) -> bool:
        """Whether there is depth within the tolerance."""
        return self._nearest is not None and (
            abs(self._nearest.stamp_ns - self.stamp_ns) <= self._how.tolerance_ns
        )

    def load(self) -> Frame:
        """Decodes it. Intrinsics that are not of this image's shape are none; `missing` says so.

        Raises:
            InvalidInputError: an image cannot be decoded, or depth and colour differ in size.
        """
        image = deserialized(self._image.recorded)
        image_rgb = decode_colour(image)
        height, width = image_rgb.shape[:2]
        depth_m = None
        if self._nearest is not None and self.has_depth:
            depth_m = decode_depth(deserialized(self._nearest.recorded), depth_scale=self._how.depth_scale)
        return Frame(
            image_rgb=image_rgb,
            depth_m=depth_m,
            intrinsics=self._intrinsics((height, width))[0],
            stamp_ns=self.stamp_ns,
            frame_id=str(image.header.frame_id),
        )

    def missing(
        self,
        size_hw: tuple[int, int],
        *,
        tolerance_name: str = "--depth-tolerance",
        depth_cure: str = "name one with --depth-topic",
        info_cure: str = "name its topic with --camera-info-topic, or give them with --intrinsics",
    ) -> str:
        """Which of depth and camera_info this image lacks, and why; "" where it has both.

        Args:
            size_hw: of the image.
            tolerance_name: of what widens the tolerance.
            depth_cure: where no topic is depth.
            info_cure: where there is no camera_info, or none of use.
        """
        stamp_ns = None if self._nearest is None else self._nearest.stamp_ns
        late = "" if self._nearest else f"none came within {_WAIT_NS / 1e9:g} s of this image"
        states = [replace(self._how.depth, stamp_ns=stamp_ns, problem=late, cure=depth_cure)]
        if self._how.intrinsics is None:
            _, problem = self._intrinsics(size_hw)
            problem = f"{problem}; {info_cure}" if problem else ""
            states.append(replace(self._how.info, problem=problem, cure=info_cure))
        return missing_inputs(states, self.stamp_ns, self._how.tolerance_ns / 1e9, tolerance_name)

    def _intrinsics(self, size_hw: tuple[int, int]) -> tuple[CameraIntrinsics | None, str]:
        """Those of the image; or None and why."""
        if self._how.intrinsics is not None:
            return as_intrinsics(self._how.intrinsics, size_hw, rectified=self._how.rectified), ""
        if self._info is None:
            return None, self._how.info.problem
        try:
            message = deserialized(self._info.recorded)
            return camera_info_intrinsics(message, size_hw, rectified=self._how.rectified), ""
        except InvalidInputError as error:
            return None, str(error)


@dataclass
class _Message:
    """A message as recorded; `stamp_ns` is the header's."""

    recorded: Recorded
    stamp_ns: int = field(init=False)

    def __post_init__(self) -> None:
        # Both numbers stand right behind the four bytes with the byte order: no need to unpack pixels.
        data = self.recorded.data
        order = "little" if data[1:2] == b"\x01" else "big"
        seconds = int.from_bytes(data[4:8], order, signed=True)
        nanoseconds = int.from_bytes(data[8:12], order)
        self.stamp_ns = seconds * 1_000_000_000 + nanoseconds or self.recorded.logged_ns


def read_bag_frames(
    recording: Path | str | Bag,
    chosen: Chosen,
    *,
    every: int = 1,
    tolerance_s: float = DEPTH_TOLERANCE_S,
    depth_scale: float | None = None,
    intrinsics: Any = None,
) -> Iterator[BagFrame]:
    """The images of a recording in the order they were recorded.

    Args:
        recording: see `open_recording`; one that is open need not be unpacked again.
        chosen: by `find_topics`.
        every: take each n-th image, the first included.
        tolerance_s: depth farther than this in time is no partner; the image then comes without depth.
        depth_scale: metres per unit of depth; None: by the encoding, see `core.camera.decode_depth`.
        intrinsics: of all images, see `files.cameras.as_intrinsics`; None: camera_info's.

    Raises:
        InvalidInputError: the recording cannot be opened.
    """
    bag = as_bag(recording)
    info, problem = (None, "") if intrinsics is not None else _first_info(bag, chosen)
    how = _How(
        tolerance_ns=round(tolerance_s * 1e9),
        depth_scale=depth_scale,
        intrinsics=intrinsics,
        rectified=is_rectified(chosen.image.name),
        depth=_state("depth", chosen.depth),
        info=_state("camera_info", chosen.info, problem),
    )
    waiting: deque[tuple[int, _Message, _Message | None]] = deque()
    depths: deque[_Message] = deque()
    count = 0
    kinds = {topic.name: topic.kind for topic in (chosen.image, chosen.depth, chosen.info) if topic}
    for recorded in bag.messages(set(kinds)):
        if recorded.kind != kinds[recorded.topic]:
            continue  # another publisher's, of the same name
        message = _Message(recorded)
        if recorded.topic == chosen.image.name:
            if count % every == 0:
                waiting.append((count, message, info))
            count += 1
        elif recorded.kind == INFO:
            info = info if _problem_of(message) else message
        else:
            depths.append(message)
        while waiting and (chosen.depth is None or _partner_is_known(waiting, depths, recorded.logged_ns)):
            yield _paired(*waiting.popleft(), depths, how)
        _forget(depths, waiting)
    while waiting:
        yield _paired(*waiting.popleft(), depths, how)


def _state(name: str, topic: Topic | None, problem: str = "") -> InputState:
    if topic is None:
        return InputState(name, "", None, 0)
    return InputState(name, topic.name, None, topic.count, problem=problem)


def _first_info(bag: Bag, chosen: Chosen) -> tuple[_Message | None, str]:
    """The first of use, or None and why there is none.

    camera_info may come after the first image, or be latched somewhere else: so it is looked for first.
    """
    problem = ""
    if chosen.info is not None:
        for recorded in bag.messages([chosen.info.name]):
            message = _Message(recorded)
            problem = _problem_of(message)
            if not problem:
                return message, ""
    return None, problem


def _problem_of(info: _Message) -> str:
    """Why a camera_info is of no use; "" where it is."""
    try:
        camera_info_intrinsics(deserialized(info.recorded))
    except InvalidInputError as error:
        return str(error)
    return ""


def _partner_is_known(waiting: deque[Any], depths: deque[_Message], now_ns: int) -> bool:
    """Whether no better partner for the oldest waiting image can come."""
    _, image, _ = waiting[0]
    newest = depths[-1].stamp_ns if depths else None
    late = now_ns - image.recorded.logged_ns > _WAIT_NS or len(waiting) > _MAX_WAITING
    return late or (newest is not None and newest >= image.stamp_ns)


def _paired(
    index: int, image: _Message, info: _Message | None, depths: deque[_Message], how: _How
) -> BagFrame:
    nearest = min(depths, key=lambda depth: abs(depth.stamp_ns - image.stamp_ns), default=None)
    return BagFrame(index, image.stamp_ns, image, nearest, info, how)


def _forget(depths: deque[_Message], waiting: deque[Any]) -> None:
    """Drops depth older than the last second before what may still come; 1 to `_MAX_WAITING` stay."""
    oldest = waiting[0][1].stamp_ns if waiting else (depths[-1].stamp_ns if depths else 0)
    while len(depths) > 1 and (depths[0].stamp_ns < oldest - _WAIT_NS or len(depths) > _MAX_WAITING):
        depths.popleft()
