"""Frames from any rosbag2 recording: a folder with metadata.yaml, a lone .mcap or a lone .db3.

Colour may be raw or compressed; depth is the image nearest in time within a tolerance; camera_info is the
newest one before the image (or the first of the recording). What is read stays small: messages wait only
until their partner has come, and images are decoded when they are asked for.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from ovseg_ros.core.camera import camera_info_intrinsics, decode_colour, decode_depth
from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.bag_topics import COMPRESSED, IMAGE, INFO, Chosen, Topic, choose_topics

DEPTH_TOLERANCE_S = 0.02
"""Default: more than the jitter between the streams of one camera, less than a frame at 30 Hz."""

_WAIT_NS = 1_000_000_000  # of recording time; depth later than this does not come any more
_MAX_WAITING = 60  # images; bounds memory where the recording's times make no sense

_TYPESTORE = get_typestore(Stores.ROS2_JAZZY)  # these messages are the same in every ROS 2 distribution


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
    _depth: _Message | None
    _intrinsics: CameraIntrinsics | None

    def load(self) -> Frame:
        """Decodes it.

        Raises:
            InvalidInputError: an image cannot be decoded, or depth and colour differ in size.
        """
        image = self._image.content()
        return Frame(
            image_rgb=decode_colour(image),
            depth_m=None if self._depth is None else decode_depth(self._depth.content()),
            intrinsics=self._intrinsics,
            stamp_ns=self.stamp_ns,
            frame_id=str(image.header.frame_id),
        )


@dataclass
class _Message:
    """A message as recorded; `stamp_ns` is the header's."""

    kind: str
    data: bytes
    logged_ns: int
    stamp_ns: int = field(init=False)

    def __post_init__(self) -> None:
        # Both numbers stand right behind the four bytes with the byte order: no need to unpack pixels.
        order = "little" if self.data[1:2] == b"\x01" else "big"
        seconds = int.from_bytes(self.data[4:8], order, signed=True)
        nanoseconds = int.from_bytes(self.data[8:12], order)
        self.stamp_ns = seconds * 1_000_000_000 + nanoseconds or self.logged_ns

    def content(self) -> Any:
        try:
            return _TYPESTORE.deserialize_cdr(self.data, self.kind)
        except Exception as error:  # cut-off data makes rosbags raise whatever comes first
            raise InvalidInputError(f"a damaged message of type {self.kind}: {error!r}") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Reader]:
    try:
        with Reader(path) as reader:
            yield reader
    except InvalidInputError:
        raise
    except Exception as error:  # ReaderError, and on damaged files whatever struct, sqlite3 or zstd raise
        raise InvalidInputError(f"{path} is not a readable rosbag2 recording: {error}") from error


def find_topics(
    path: Path, *, image: str | None = None, depth: str | None = None, info: str | None = None
) -> tuple[Chosen, int]:
    """The topics of a recording that will be read, and how many colour images there are.

    Args:
        path: the recording.
        image: see `bag_topics.choose_topics`, as the rest.
        depth: a topic, or "none".
        info: a topic, or "none".

    Raises:
        InvalidInputError: not a recording, or no choice can be made.
    """
    with _opened(path) as reader:
        topics = [
            Topic(c.topic, c.msgtype, _first_encoding(reader, c))
            for c in reader.connections
            if c.msgtype in (IMAGE, COMPRESSED, INFO) and c.msgcount
        ]
        chosen = choose_topics(topics, image=image, depth=depth, info=info)
        counts = {c.topic: c.msgcount for c in reader.connections}
    return chosen, counts[chosen.image.name]


def _first_encoding(reader: Reader, connection: Connection) -> str:
    if connection.msgtype == INFO:
        return ""
    _, logged_ns, data = next(reader.messages(connections=[connection]))
    try:
        message = _Message(connection.msgtype, bytes(data), logged_ns).content()
    except InvalidInputError:
        return ""  # its frames will say what is wrong with them
    return str(message.encoding if connection.msgtype == IMAGE else message.format)


def read_bag_frames(
    path: Path, chosen: Chosen, *, every: int = 1, tolerance_s: float = DEPTH_TOLERANCE_S
) -> Iterator[BagFrame]:
    """The images of a recording in the order they were recorded.

    Args:
        path: the recording.
        chosen: by `find_topics`.
        every: take each n-th image, the first included.
        tolerance_s: depth farther than this in time is no partner; the image then comes without depth.

    Raises:
        InvalidInputError: the recording breaks off.
    """
    intrinsics = _first_intrinsics(path, chosen)
    waiting: deque[tuple[int, _Message, CameraIntrinsics | None]] = deque()
    depths: deque[_Message] = deque()
    tolerance_ns = round(tolerance_s * 1e9)
    count = 0
    with _opened(path) as reader:
        wanted = {t.name for t in (chosen.image, chosen.depth, chosen.info) if t is not None}
        connections = [c for c in reader.connections if c.topic in wanted]
        for connection, logged_ns, data in reader.messages(connections=connections):
            message = _Message(connection.msgtype, bytes(data), logged_ns)
            if connection.topic == chosen.image.name:
                if count % every == 0:
                    waiting.append((count, message, intrinsics))
                count += 1
            elif connection.msgtype == INFO:
                intrinsics = _intrinsics_of(message) or intrinsics
            else:
                depths.append(message)
            while waiting and (chosen.depth is None or _partner_is_known(waiting, depths, logged_ns)):
                yield _paired(*waiting.popleft(), depths, tolerance_ns)
            _forget(depths, waiting)
        while waiting:
            yield _paired(*waiting.popleft(), depths, tolerance_ns)


def _first_intrinsics(path: Path, chosen: Chosen) -> CameraIntrinsics | None:
    """camera_info may come after the first image, or be latched somewhere else: so it is looked for first."""
    if chosen.info is None:
        return None
    with _opened(path) as reader:
        connections = [c for c in reader.connections if c.topic == chosen.info.name]
        for connection, logged_ns, data in reader.messages(connections=connections):
            if intrinsics := _intrinsics_of(_Message(connection.msgtype, bytes(data), logged_ns)):
                return intrinsics
    return None


def _intrinsics_of(message: _Message) -> CameraIntrinsics | None:
    try:
        return camera_info_intrinsics(message.content())
    except InvalidInputError:
        return None  # damaged, or never calibrated


def _partner_is_known(waiting: deque[Any], depths: deque[_Message], now_ns: int) -> bool:
    """Whether no better partner for the oldest waiting image can come."""
    _, image, _ = waiting[0]
    newest = depths[-1].stamp_ns if depths else None
    late = now_ns - image.logged_ns > _WAIT_NS or len(waiting) > _MAX_WAITING
    return late or (newest is not None and newest >= image.stamp_ns)


def _paired(
    index: int,
    image: _Message,
    intrinsics: CameraIntrinsics | None,
    depths: deque[_Message],
    tolerance_ns: int,
) -> BagFrame:
    nearest = min(depths, key=lambda depth: abs(depth.stamp_ns - image.stamp_ns), default=None)
    if nearest is not None and abs(nearest.stamp_ns - image.stamp_ns) > tolerance_ns:
        nearest = None
    return BagFrame(index, image.stamp_ns, image, nearest, intrinsics)


def _forget(depths: deque[_Message], waiting: deque[Any]) -> None:
    """Drops depth older than the last second before what may still come; at most `_MAX_WAITING` stay."""
    oldest = waiting[0][1].stamp_ns if waiting else (depths[-1].stamp_ns if depths else 0)
    while depths and (depths[0].stamp_ns < oldest - _WAIT_NS or len(depths) > _MAX_WAITING):
        depths.popleft()
