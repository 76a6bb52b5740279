"""One MCAP file: by its summary where it has one, else by what stands in it up to where it breaks off.

A recorder that was killed leaves no summary, and often half a chunk. Its whole messages are read. A chunk
that contradicts its checksum is left out, since nobody knows which of its messages is wrong.

Source: the format is https://mcap.dev/spec, its records are read by the `mcap` package.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel as ChannelRecord
from mcap.records import Chunk, Schema

from ovseg_ros.files.recordings.parts import Channel, Recorded, merged, type_name
from ovseg_ros.files.recordings.stored import StoredFile

_DAMAGE = (McapError, struct.error, ValueError, KeyError, IndexError, OverflowError, MemoryError, OSError)
_MAGIC = b"\x89MCAP0\r\n"
_PREFIX = struct.Struct("<BQ")  # of each record: opcode, length
_MESSAGE = struct.Struct("<HIQQ")  # of a message: channel, sequence, log time, publish time
_RUN_BYTES = 4 << 20  # messages outside chunks are read in runs of about so many bytes
_MAX_CHUNK_BYTES = 2 << 30  # unpacked; recorders make chunks of a few MB


@dataclass
class _Piece:
    """A chunk, or a run of messages outside chunks."""

    offset: int
    length: int
    start_ns: int
    is_chunk: bool
    channels: Collection[int]  # of its messages; empty: unknown
    cut: bool = False


class McapPart:
    """See `parts.Part`."""

    def __init__(self, stored: StoredFile) -> None:
        """Reads the summary, or else the whole file once."""
        self._stored = stored
        self.path = stored.path
        self.remarks: list[str] = stored.remarks
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, ChannelRecord] = {}
        self._counts: Counter[int] = Counter()
        self._pieces: list[_Piece] = []
        self._damaged: set[int] = set()  # offsets of chunks
        with stored.content() as path, path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            if not self._from_summary(file, size):
                self._scan(file, size)
        self.start_ns = min((piece.start_ns for piece in self._pieces), default=0)
        self.channels = [
            Channel(channel.topic, self._kind(channel), channel.message_encoding, self._counts[key])
            for key, channel in self._channels.items()
        ]

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """See `parts.Part`."""
        wanted = {key for key, channel in self._channels.items() if channel.topic in topics}
        pieces = [p for p in self._pieces if not p.channels or wanted.intersection(p.channels)]
        with self._stored.content() as path, path.open("rb") as file:
            yield from merged((p.start_ns, partial(self._read, file, p, wanted)) for p in pieces)

    def _kind(self, channel: ChannelRecord) -> str:
        schema = self._schemas.get(channel.schema_id)
        return type_name(schema.name) if schema else ""

    def _from_summary(self, file: BinaryIO, size: int) -> bool:
        """Whether there is a summary that agrees with itself and the file."""
        try:
            file.seek(0)
            summary = SeekingReader(file, record_size_limit=size).get_summary()
        except _DAMAGE:
            return False
        if summary is None or summary.statistics is None:
            return False
        chunks, said = summary.chunk_indexes, summary.statistics
        counts = Counter(said.channel_message_counts)
        used = set(counts).union(*(chunk.message_index_offsets for chunk in chunks))
        agrees = (
            said.chunk_count == len(chunks)
            and bool(said.message_count) == bool(chunks)
            and sum(counts.values()) == said.message_count
            and used <= set(summary.channels)
            and all(chunk.chunk_start_offset + chunk.chunk_length <= size for chunk in chunks)
        )
        if agrees:
            self._schemas, self._channels = summary.schemas, summary.channels
            self._counts = counts
            self._pieces = [
                _Piece(
                    chunk.chunk_start_offset,
                    chunk.chunk_length,
                    chunk.message_start_time,
                    True,
                    set(chunk.message_index_offsets),
                )
                for chunk in chunks
            ]
        return agrees

    def _scan(self, file: BinaryIO, size: int) -> None:
        """Goes through the records to the end or the break, and remembers where the messages lie."""
        at, ended, first_ns, last_ns = 8, False, None, 0
        while not ended and at + _PREFIX.size <= size:
            file.seek(at)
            opcode, length = _PREFIX.unpack(file.read(_PREFIX.size))
            end = at + _PREFIX.size + length
            cut = end > size
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                ended = True
            elif opcode == 0 or (cut and opcode != Opcode.CHUNK):
                break
            elif opcode == Opcode.CHUNK:
                times = self._scan_chunk(file, _Piece(at, min(end, size) - at, 0, True, (), cut))
            elif opcode == Opcode.MESSAGE and length >= _MESSAGE.size:
                times = self._scan_message(file.read(_MESSAGE.size), at, end)
            else:
                times = []
                if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                    self._declare(opcode, file.read(length))
            if not ended and times:
                first_ns = min(times) if first_ns is None else min(first_ns, *times)
                last_ns = max(last_ns, *times)
            at = end
        file.seek(max(size - len(_MAGIC), 0))
        if not ended or file.read() != _MAGIC:
            self._say_break(0 if first_ns is None else last_ns - first_ns, all_there=ended)

    def _scan_chunk(self, file: BinaryIO, piece: _Piece) -> list[int]:
        """Times of its messages; what it declares is taken."""
        channels, times = set(), []
        for opcode, record in self._records(file, piece):
            if opcode == Opcode.MESSAGE and len(record) >= _MESSAGE.size:
                key, _, logged_ns, _ = _MESSAGE.unpack_from(record)
                self._counts[key] += 1
                channels.add(key)
                times.append(logged_ns)
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._declare(opcode, bytes(record))
        if times:
            piece.start_ns, piece.channels = min(times), channels
            self._pieces.append(piece)
        return times

    def _scan_message(self, head: bytes, at: int, end: int) -> list[int]:
        key, _, logged_ns, _ = _MESSAGE.unpack(head)
        self._counts[key] += 1
        last = self._pieces[-1] if self._pieces else None
        if last and not last.is_chunk and last.offset + last.length == at and last.length < _RUN_BYTES:
            last.length = end - last.offset
            last.start_ns = min(last.start_ns, logged_ns)
            last.channels = {*last.channels, key}
        else:
            self._pieces.append(_Piece(at, end - at, logged_ns, False, {key}))
        return [logged_ns]

    def _declare(self, opcode: int, content: bytes) -> None:
        try:
            stream = ReadDataStream(io.BytesIO(content))
            if opcode == Opcode.SCHEMA:
                schema = Schema.read(stream)
                self._schemas.setdefault(schema.id, schema)
            else:
                channel = ChannelRecord.read(stream)
                self._channels.setdefault(channel.id, channel)
        except _DAMAGE:
            return  # messages of a channel that nobody knows are nobody's

    def _read(self, file: BinaryIO, piece: _Piece, wanted: Collection[int]) -> Iterator[Recorded]:
        """The messages of one piece in order of time."""
        found = []
        for opcode, record in self._records(file, piece):
            if opcode == Opcode.MESSAGE and len(record) >= _MESSAGE.size:
                key, _, logged_ns, _ = _MESSAGE.unpack_from(record)
                if key in wanted:
                    channel = self._channels[key]
                    data = bytes(record[_MESSAGE.size :])
                    found.append(Recorded(logged_ns, channel.topic, self._kind(channel), data))
        return iter(sorted(found, key=lambda message: message.logged_ns))

    def _records(self, file: BinaryIO, piece: _Piece) -> Iterator[tuple[int, memoryview]]:
        """(opcode, content) of each whole record of a piece; none of a damaged chunk."""
        file.seek(piece.offset)
        content = file.read(piece.length)
        if piece.is_chunk:
            try:
                content = _unpacked(content[_PREFIX.size :], cut=piece.cut)
            except _UNPACK_ERRORS as error:
                if not piece.cut:
                    self._say_damage(piece, str(error))
                return
        view, at = memoryview(content), 0
        while at + _PREFIX.size <= len(view):
            opcode, length = _PREFIX.unpack_from(view, at)
            at += _PREFIX.size
            if opcode == 0 or at + length > len(view):
                return
            yield opcode, view[at : at + length]
            at += length

    def _say_break(self, lasted_ns: int, *, all_there: bool) -> None:
        read = "All its messages are there" if all_there else "What came before is read"
        self.remarks.append(
            f"{self.path} breaks off after {lasted_ns / 1e9:.1f} s / {sum(self._counts.values())} messages: "
            f"the recorder was stopped hard, or the file was cut. {read}; `mcap recover {self.path.name} -o "
            "whole.mcap` makes a whole file of it"
        )

    def _say_damage(self, piece: _Piece, reason: str) -> None:
        if piece.offset in self._damaged:
            return
        self._damaged.add(piece.offset)
        self.remarks.append(
            f"{self.path}: a damaged chunk at byte {piece.offset} is left out with all its messages "
            f"({reason})"
        )


_UNPACK_ERRORS = (*_DAMAGE, zstandard.ZstdError, RuntimeError)  # lz4 says RuntimeError


def _unpacked(content: bytes, *, cut: bool) -> bytes:
    """The records of a chunk; of one that is cut off those that came.

    Raises:
        ValueError: an unknown compression, or what is there contradicts its size or checksum.
    """
    chunk: Any = Chunk.read(ReadDataStream(io.BytesIO(content)))
    size = chunk.uncompressed_size
    if size > _MAX_CHUNK_BYTES:
        raise ValueError(f"it says it holds {size} bytes")
    if chunk.compression == "zstd":
        reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(chunk.data), read_across_frames=True)
        data = reader.read(size)
    elif chunk.compression == "lz4":
        data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size)
    elif chunk.compression == "":
        data = chunk.data
    else:
        raise ValueError(
            f"packed with {chunk.compression!r}; `mcap compress --compression zstd` packs it anew"
        )
    if not cut and len(data) != size:
        raise ValueError(f"expected {size} bytes, got {len(data)}")
    if not cut and chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ValueError("its checksum does not match")
    return bytes(data)
