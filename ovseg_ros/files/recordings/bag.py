"""The one opener of recordings: a folder, or a file of one, as topics and messages in order of time."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_typestore

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.recordings.folder import is_recording_folder, read_folder
from ovseg_ros.files.recordings.mcap_part import McapPart
from ovseg_ros.files.recordings.parts import Channel, Part, Recorded, merged
from ovseg_ros.files.recordings.sqlite_part import SqlitePart
from ovseg_ros.files.recordings.stored import (
    CANNOT_UNPACK,
    MCAP,
    SQLITE,
    StoredFile,
    content_of,
    is_storage_name,
    packing_of,
    refusal,
)

_TYPESTORE = get_typestore(Stores.ROS2_JAZZY)  # these messages are the same in every ROS 2 distribution
_CDR = b"\0"  # the first byte of a message that is not packed
_MAX_MESSAGE_BYTES = 1 << 30


def is_recording(path: str | Path) -> bool:
    """Whether a file or folder is to be read as a recording, whole or damaged; by content, then by name."""
    path = Path(path)
    try:
        if path.is_dir():
            return is_recording_folder(path)
        return path.is_file() and (
            content_of(path) in (MCAP, SQLITE) or is_storage_name(path.name) or bool(refusal(path))
        )
    except OSError:  # whoever opens it will say why
        return False


def open_recording(path: str | Path) -> Bag:
    """A rosbag2 recording in any state in which recorders and copying leave them.

    The files are believed: metadata.yaml only tells which files belong together. Of a damaged recording all
    that is whole is read, and `Bag.remarks` says what is lost.

    Args:
        path: a folder, with metadata.yaml or without; or one file, MCAP or SQLite by its first bytes, which
            may be packed (zstd, lz4, gzip, bzip2, xz).

    Raises:
        InvalidInputError: nothing in it can be read.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise InvalidInputError(f"expected a recording, {path} is not there")
    if not (path.is_dir() or path.is_file()):
        raise InvalidInputError(f"expected a recording, {path} is neither a file nor a folder")
    try:
        return Bag(path)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}") from error


class Bag:
    """See `open_recording`.

    Attributes:
        path: as given.
        files: the user's files, those that cannot be read included.
        channels: the topics, each with its type and the number of its messages in all files.
        remarks: what is lost or was decided, in sentences; more may come while messages are read.
    """

    def __init__(self, path: Path) -> None:
        """See `open_recording`."""
        self.path = path
        self.files, self._compression, self._own_remarks = [path], "", list[str]()
        if path.is_dir():
            folder = read_folder(path)
            self.files, self._compression = folder.files, folder.compression
            self._own_remarks = folder.remarks
        self._parts: list[Part] = []
        problems = []
        for number, file in enumerate(self.files):
            try:
                self._parts.append(_part(file, keep=number == 0))  # the one that is looked into
            except InvalidInputError as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(f"{file} cannot be read: {error.strerror or error}")
        if not self._parts:
            reasons = "; ".join([*problems, *self._own_remarks]) or "there is no .mcap or .db3 file in it"
            raise InvalidInputError(f"{path} is not a readable rosbag2 recording: {reasons}")
        self._own_remarks += [f"a part of {path} is left out: {problem}" for problem in problems]
        counts: Counter[tuple[str, str, str]] = Counter()
        for part in self._parts:
            for topic, kind, serialization, count in part.channels:
                counts[topic, kind, serialization] += count
        self.channels = [Channel(*topic, count) for topic, count in counts.items()]

    @property
    def remarks(self) -> list[str]:
        """What is lost or was decided."""
        return [*self._own_remarks, *(remark for part in self._parts for remark in part.remarks)]

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """The messages of some topics in order of time, unpacked; a damaged one has what is left of its data.

        Raises:
            InvalidInputError: they are packed in a way that is not known here.
        """
        held = [p for p in self._parts if any(c.topic in topics and c.count for c in p.channels)]
        for message in merged((part.start_ns, partial(part.messages, topics)) for part in held):
            if message.data[:1] == _CDR or not message.data:
                yield message
            else:
                yield message._replace(data=self._unpacked(message))

    def _unpacked(self, message: Recorded) -> bytes:
        packing = packing_of(message.data)
        if packing is None:
            if self._compression not in ("", "zstd"):
                raise InvalidInputError(
                    f"the messages of {self.path} are packed with {self._compression!r}, which is not read "
                    "here; `ros2 bag convert` writes them unpacked where that plugin is installed"
                )
            return message.data
        try:
            return bytes(packing.open(io.BytesIO(message.data)).read(_MAX_MESSAGE_BYTES))
        except CANNOT_UNPACK:
            return b""


def deserialized(message: Recorded) -> Any:
    """The fields of a message.

    Raises:
        InvalidInputError: damaged.
    """
    try:
        return _TYPESTORE.deserialize_cdr(message.data, message.kind)
    except Exception as error:  # cut-off data makes rosbags raise whatever comes first
        raise InvalidInputError(f"a damaged message of type {message.kind}: {error!r}") from error


def _part(file: Path, *, keep: bool) -> Part:
    stored = StoredFile(file, keep=keep)
    return McapPart(stored) if stored.kind == MCAP else SqlitePart(stored)
