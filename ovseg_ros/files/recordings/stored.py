"""What a file holds, by its first bytes, and its content where it was packed or left with a journal."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import lzma
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import lz4.frame
import zstandard

from ovseg_ros.errors import InvalidInputError

MCAP, SQLITE, ROS1 = "MCAP", "SQLite", "ROS 1"
STORAGE_SUFFIXES = (".mcap", ".db3")
"""What recorders call them; anything else counts where its first bytes are those of a recording."""

_FIRST = {MCAP: b"\x89MCAP", SQLITE: b"SQLite format 3\0", ROS1: b"#ROSBAG"}
_ARCHIVES = {b"PK\x03\x04": "zip", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar"}
_TAR_AT = 257


class Packing(NamedTuple):
    """A way of compressing: its name, the suffix of such files, their first bytes, and what opens them."""

    name: str
    suffix: str
    magic: bytes
    open: Callable[[BinaryIO], Any]


PACKINGS = (
    Packing(
        "zstd",
        ".zstd",
        b"\x28\xb5\x2f\xfd",
        lambda file: zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True),
    ),
    Packing("lz4", ".lz4", b"\x04\x22\x4d\x18", lz4.frame.LZ4FrameFile),
    Packing("gzip", ".gz", b"\x1f\x8b\x08", lambda file: gzip.GzipFile(fileobj=file)),
    Packing("bzip2", ".bz2", b"BZh", bz2.BZ2File),
    Packing("xz", ".xz", b"\xfd7zXZ\0", lzma.LZMAFile),
)
"""rosbag2 itself packs with zstd, people with the others."""

PACKED_SUFFIXES = (*(packing.suffix for packing in PACKINGS), ".zst")

CANNOT_UNPACK = (zstandard.ZstdError, RuntimeError, OSError, EOFError, lzma.LZMAError, zlib.error, ValueError)
"""What the libraries raise on damaged data; lz4 says RuntimeError."""

_BLOCK = 1 << 20
_SPARE_BYTES = 512 << 20  # stay free for others where copies go, or a twentieth of a small disk
_PREFIX = "ovseg_recording_"


def packing_of(first: bytes) -> Packing | None:
    """How data with these first bytes is packed; None where it is not."""
    return next((packing for packing in PACKINGS if first.startswith(packing.magic)), None)


def content_of(path: Path) -> str:
    """`MCAP`, `SQLITE`, `ROS1`, the name of an archive's format, or ""; of a packed file what is inside."""
    try:
        with path.open("rb") as file:
            first = file.read(512)
            if packing := packing_of(first):
                file.seek(0)
                first = _begin(packing, file)
    except OSError:
        return ""
    for kind, magic in _FIRST.items():
        if first.startswith(magic):
            return kind
    if first[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return "tar"
    return next((kind for magic, kind in _ARCHIVES.items() if first.startswith(magic)), "")


def _begin(packing: Packing, file: BinaryIO) -> bytes:
    try:
        return bytes(packing.open(file).read(512))
    except CANNOT_UNPACK:
        return b""


def plain_name(name: str) -> str:
    """A file's name without the suffix of its packing: "bag_0.db3.zstd" -> "bag_0.db3"."""
    for suffix in PACKED_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_storage_name(name: str) -> bool:
    """Whether it is called as the files of recordings are."""
    return plain_name(name).lower().endswith(STORAGE_SUFFIXES)


def refusal(path: Path) -> str:
    """Why a file that holds what a recording holds is not read here, with the cure; "" where it may be."""
    content = content_of(path)
    if content == ROS1:
        return (
            f"{path} is a ROS 1 recording; turn it into a rosbag2 with `rosbags-convert --src {path} "
            "--dst DIR`"
        )
    if content in (*_ARCHIVES.values(), "tar"):
        return f"{path} is an archive ({content}); unpack it and give the recording in it"
    suffix = path.suffix.lower()
    if suffix == ".bag" and not content:
        return (
            f"{path} is called as ROS 1 recordings are, and is none; `rosbags-convert --src … --dst DIR` "
            "makes a rosbag2 of a whole one"
        )
    if suffix in (".svo", ".svo2"):
        return (
            f"{path} is a recording of a ZED camera; play it with the ZED wrapper (svo_path:={path}) and "
            "record its topics with `ros2 bag record`"
        )
    return ""


class StoredFile:
    """A file of a recording, to be read as it is, unpacked, or from a copy with its journal played.

    Nothing beside the user's file is written: SQLite would, to read what only the `-wal` holds.

    Attributes:
        path: the user's file.
        kind: `MCAP` or `SQLITE`.
        remarks: what was not whole, in sentences.
    """

    def __init__(self, path: Path, *, keep: bool) -> None:
        """`keep`: what was unpacked stays until the object goes; else each reading unpacks anew.

        Raises:
            InvalidInputError: neither MCAP nor SQLite.
        """
        self.path = path
        self.remarks: list[str] = []
        self._keep = keep
        self._kept: Path | None = None
        self.kind = content_of(path)
        if self.kind not in (MCAP, SQLITE):
            raise InvalidInputError(_no_storage(path))
        with path.open("rb") as file:
            self._packing = packing_of(file.read(8))
        self._journals = [] if self._packing or self.kind != SQLITE else _journals_of(path)

    @contextlib.contextmanager
    def content(self) -> Iterator[Path]:
        """A file with the plain content; it may be written to where it is a copy (see `is_copy`).

        Raises:
            InvalidInputError: there is no room for the copy.
        """
        if not self.is_copy:
            yield self.path
        elif self._keep:
            if self._kept is None:
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
                remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
                try:
                    self._fill(folder)
                except InvalidInputError:
                    remove()  # now: who hears of the error may hold on to this object
                    raise
                self._kept = folder
            yield self._place(self._kept)
        else:
            with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
                self._fill(Path(name))
                yield self._place(Path(name))

    @property
    def is_copy(self) -> bool:
        """Whether `content` gives a copy."""
        return bool(self._packing or self._journals)

    def _place(self, folder: Path) -> Path:
        return folder / plain_name(self.path.name)

    def _fill(self, folder: Path) -> None:
        target = self._place(folder)
        try:
            if self._packing is None:
                for path in (self.path, *self._journals):
                    _refuse_to_fill(folder, path.stat().st_size)
                    shutil.copyfile(path, folder / path.name)
                return
            with self.path.open("rb") as file, target.open("wb") as out:
                for block in _blocks(self._packing.open(cast(BinaryIO, file)), self._cut):
                    _refuse_to_fill(folder, len(block))
                    out.write(block)
        except OSError as error:
            raise InvalidInputError(
                f"{self.path} cannot be unpacked into {folder.parent}: {error.strerror or error}; set TMPDIR "
                "to a folder with room"
            ) from error

    def _cut(self, reason: str) -> None:
        remark = f"{self.path} cannot be unpacked to its end ({reason}): what came before is read"
        if remark not in self.remarks:
            self.remarks.append(remark)


def _blocks(stream: Any, on_damage: Callable[[str], None]) -> Iterator[bytes]:
    """What can be unpacked."""
    while True:
        try:
            block = stream.read(_BLOCK)
        except CANNOT_UNPACK as error:
            on_damage(str(error) or type(error).__name__)
            return
        if not block:
            return
        yield block


def _refuse_to_fill(folder: Path, more: int) -> None:
    """A file of a few kB may unpack to more than any disk holds; what else lives there shall not starve."""
    disk = shutil.disk_usage(folder)
    if disk.free - more < min(_SPARE_BYTES, disk.total // 20):
        raise OSError(errno.ENOSPC, "it would leave no room for others")


def _journals_of(path: Path) -> list[Path]:
    """What a recorder that was stopped hard left beside its database: its content counts."""
    beside = (path.with_name(path.name + ending) for ending in ("-wal", "-journal"))
    return [journal for journal in beside if journal.is_file() and journal.stat().st_size]


def _no_storage(path: Path) -> str:
    if said := refusal(path):
        return said
    if not path.stat().st_size:
        return f"{path} is empty (0 bytes)"
    with path.open("rb") as file:
        first = file.read(8)
    return f"expected an MCAP or SQLite file, {path} begins with {first!r}"
