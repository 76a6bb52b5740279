"""Frames from any rosbag2 recording.

Colour may be raw or compressed; depth is the image nearest in time within a tolerance; camera_info is the
newest one before the image (or the first usable one of the recording). What is read stays small: messages wait
only until their partner has come, and images are decoded when they are asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovseg_ros.core.camera import decode_camera_info, decode_colour, decode_depth
from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.cameras import as_intrinsics
from ovseg_ros.files.recordings.bag import Bag, deserialized
from ovseg_ros.files.recordings.look import as_bag
from ovseg_ros.files.recordings.parts import Recorded
from ovseg_ros.files.recordings.topics import INFO, Chosen

DEPTH_TOLERANCE_S = 0.02
"""Default: more than the jitter between the streams of one camera, less than a frame at 30 Hz."""

_WAIT_NS = 1_000_000_000  # of recording time; depth later than this does not come any more
_MAX_WAITING = 60  # images; bounds memory where the recording's times make no sense


@dataclass(frozen=True)
class _How:
    """How the messages of a recording become frames."""

    chosen: Chosen
    tolerance_ns: int
    depth_scale: float | None
    intrinsics: Any


@dataclass(frozen=True)
class BagFrame:
    """One colour image of a recording, with what belongs to it, still as messages.

    Attributes:
        index: number of the image on its topic, from 0.
        stamp_ns: of its header; the time of recording where the header has none.
        gap_ns: how far away in time the nearest depth is; None where there is none.
    """

    index: int
    stamp_ns: int
    gap_ns: int | None
    _image: _Message
    _depth: _Message | None
    _info: _Message | None
    _how: _How

    def load(self) -> Frame:
        """Decodes it.

        Raises:
            InvalidInputError: an image cannot be decoded, or depth and colour differ in size.
        """
        image = deserialized(self._image.recorded)
        image_rgb = decode_colour(image)
        height, width = image_rgb.shape[:2]
        return Frame(
            image_rgb=image_rgb,
            depth_m=None if self._depth is None else decode_depth(deserialized(self._depth.recorded)),
            intrinsics=self._intrinsics((height, width)),
            stamp_ns=self.stamp_ns,
            frame_id=str(image.header.frame_id),
        )

    def _intrinsics(self, size_hw: tuple[int, int]) -> CameraIntrinsics | None:
        if self._how.intrinsics is not None:
            return as_intrinsics(self._how.intrinsics, size_hw)
        return None if self._info is None else decode_camera_info(deserialized(self._info.recorded))


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
    how = _How(chosen, round(tolerance_s * 1e9), depth_scale, intrinsics)
    info = _first_info(bag, chosen) if intrinsics is None else None
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
            info = message if _is_calibrated(message) else info
        else:
            depths.append(message)
        while waiting and (chosen.depth is None or _partner_is_known(waiting, depths, recorded.logged_ns)):
            yield _paired(*waiting.popleft(), depths, how)
        _forget(depths, waiting)
    while waiting:
        yield _paired(*waiting.popleft(), depths, how)


def _first_info(bag: Bag, chosen: Chosen) -> _Message | None:
    """camera_info may come after the first image, or be latched somewhere else: so it is looked for first."""
    if chosen.info is None:
        return None
    messages = (_Message(recorded) for recorded in bag.messages([chosen.info.name]))
    return next((message for message in messages if _is_calibrated(message)), None)


def _is_calibrated(message: _Message) -> bool:
    try:
        return decode_camera_info(deserialized(message.recorded)) is not None
    except InvalidInputError:
        return False  # one damaged message; the others say the same


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
    gap_ns = None if nearest is None else abs(nearest.stamp_ns - image.stamp_ns)
    if gap_ns is not None and gap_ns > how.tolerance_ns:
        nearest = None
    return BagFrame(index, image.stamp_ns, gap_ns, image, nearest, info, how)


def _forget(depths: deque[_Message], waiting: deque[Any]) -> None:
    """Drops depth older than the last second before what may still come; one to
    `_MAX_WAITING` stay."""
    oldest = waiting[0][1].stamp_ns if waiting else (depths[-1].stamp_ns if depths else 0)
    while len(depths) > 1 and (depths[0].stamp_ns < oldest - _WAIT_NS or len(depths) > _MAX_WAITING):
        depths.popleft()
