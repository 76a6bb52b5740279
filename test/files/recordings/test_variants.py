"""The same recording in every form in which recorders and copying leave it: the same frames, all of them."""

from __future__ import annotations

import gc
import gzip
import os
import shutil
import sqlite3
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from bag_fixtures import (
    MCAP,
    SQLITE,
    STORE,
    film,
    frames_of,
    frames_of_film,
    write_bag,
    write_mcap,
    write_old_db3,
)
from mcap.writer import CompressionType, IndexType
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.recordings import is_recording, open_recording

GROWING = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
        *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)),  # 10^9 at the end
        "rosbag2_bagfile_information: {compression_format: *a8, relative_file_paths: [*a8]}",
    ]
)
NEVER_WRITTEN = "rosbag2_bagfile_information:\n  version: 9\n  relative_file_paths: []\n"


def folder(at: Path, plugin=MCAP) -> Path:
    return write_bag(at / "bag", film(), plugin)


def metadata(at: Path, old: str, new: str, plugin=MCAP) -> Path:
    path = folder(at, plugin)
    text = (path / "metadata.yaml").read_text()
    assert old in text
    (path / "metadata.yaml").write_text(text.replace(old, new))
    return path


def without_metadata(path: Path) -> Path:
    (path / "metadata.yaml").unlink()
    return path


def replaced_metadata(at: Path, content: bytes) -> Path:
    path = folder(at)
    (path / "metadata.yaml").write_bytes(content)
    return path


def lone(path: Path, name: str = "") -> Path:
    (stored,) = (file for file in path.iterdir() if file.name != "metadata.yaml")
    return stored.rename(path / (name or stored.name))


def mcap(at: Path, **options) -> Path:
    return write_mcap(at / "run.mcap", film(), **options)


def compressed_bag(at: Path, mode: CompressionMode, plugin=SQLITE) -> Path:
    writer = Writer(at / "bag", version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, logged_s, message in film():
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], round(logged_s * 1e9), data)
    return at / "bag"


def packed(at: Path, suffix: str, pack) -> Path:
    stored = lone(folder(at, SQLITE))
    path = at / f"{stored.name}{suffix}"
    path.write_bytes(pack(stored.read_bytes()))
    return path


def split(at: Path, *, suffix: str = "mcap", names=("run_0", "run_1", "run_2")) -> Path:
    path = at / "run"
    path.mkdir()
    write = write_mcap if suffix == "mcap" else write_old_db3
    messages = film()
    for part, name in enumerate(names):
        write(path / f"{name}.{suffix}", messages[6 * part : 6 * part + 6])
    return path


def listed(path: Path, *names: str) -> Path:
    lines = "".join(f"  - {name}\n" for name in names)
    text = f"rosbag2_bagfile_information:\n  version: 9\n  relative_file_paths:\n{lines}"
    (path / "metadata.yaml").write_text(text)
    return path


def with_wal(at: Path) -> Path:
    """Half of it is in the database, half in the -wal of a recorder that was killed."""
    path = write_old_db3(at / "live.db3", film())
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA wal_autocheckpoint = 0")
    rows = database.execute("SELECT * FROM messages WHERE id > 9").fetchall()
    database.execute("DELETE FROM messages WHERE id > 9")
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
    database.commit()
    killed = at / "killed"
    killed.mkdir()
    for name in ("live.db3", "live.db3-wal"):
        shutil.copyfile(at / name, killed / name)
    database.close()
    assert (killed / "live.db3-wal").stat().st_size
    return killed


def locked(at: Path) -> Path:
    path = write_old_db3(at / "run.db3", film())
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    HELD.append(database)
    return path


HELD: list[sqlite3.Connection] = []

VARIANTS = {
    "a folder": folder,
    "a folder of SQLite": lambda at: folder(at, SQLITE),
    "its file": lambda at: lone(folder(at)),
    "its database": lambda at: lone(folder(at, SQLITE)),
    "a file of another name": lambda at: lone(folder(at), "download"),
    "a database with the wrong suffix": lambda at: lone(folder(at, SQLITE), "run.mcap"),
    "no metadata": lambda at: without_metadata(folder(at)),
    "a file of another name without metadata": lambda at: without_metadata(lone(folder(at), "blob").parent),
    "no counts": lambda at: metadata(at, "message_count: 6", "message_count: 0"),
    "no counts of SQLite": lambda at: metadata(at, "message_count: 6", "message_count: 0", SQLITE),
    "wrong counts": lambda at: metadata(at, "message_count: 6", "message_count: 999"),
    "no storage": lambda at: metadata(at, "storage_identifier: mcap", "storage_identifier: ''"),
    "another storage": lambda at: metadata(at, "storage_identifier: mcap", "storage_identifier: sqlite3"),
    "no storage key": lambda at: metadata(at, "storage_identifier: mcap", "nothing: 1"),
    "a newer version": lambda at: metadata(at, "version: 9", "version: 99"),
    "no topics": lambda at: metadata(at, "topics_with_message_count", "topics"),
    "an absolute path": lambda at: metadata(at, "- bag.mcap", "- /data/run/bag.mcap"),
    "a path of Windows": lambda at: metadata(at, "- bag.mcap", "- run\\bag.mcap"),
    "renamed": lambda at: lone(folder(at), "other.mcap").parent,
    "metadata: empty": lambda at: replaced_metadata(at, b""),
    "metadata: Latin-1": lambda at: replaced_metadata(at, b"\xfc\xff: [\xe9"),
    "metadata: no YAML": lambda at: replaced_metadata(at, b"a: [\n\t}"),
    "metadata: a list": lambda at: replaced_metadata(at, b"- 1\n- 2\n"),
    "metadata: nothing listed": lambda at: replaced_metadata(at, NEVER_WRITTEN.encode()),
    "metadata: deep": lambda at: replaced_metadata(at, b"[" * 5000),
    "metadata: aliases of aliases": lambda at: replaced_metadata(at, GROWING.encode()),
    "zstd chunks": lambda at: mcap(at, compression=CompressionType.ZSTD),
    "lz4 chunks": lambda at: mcap(at, compression=CompressionType.LZ4),
    "no chunks": lambda at: mcap(at, use_chunking=False),
    "no index": lambda at: mcap(at, index_types=IndexType.NONE),
    "no statistics": lambda at: mcap(at, use_statistics=False),
    "no summary": lambda at: mcap(at, use_summary_offsets=False, use_statistics=False, repeat_channels=False),
    "one chunk": lambda at: mcap(at, chunk_size=1 << 20),
    "files packed": lambda at: compressed_bag(at, CompressionMode.FILE),
    "files packed, no metadata": lambda at: without_metadata(compressed_bag(at, CompressionMode.FILE)),
    "a packed file": lambda at: lone(compressed_bag(at, CompressionMode.FILE)),
    "a packed mcap": lambda at: lone(compressed_bag(at, CompressionMode.FILE, MCAP)),
    "messages packed": lambda at: compressed_bag(at, CompressionMode.MESSAGE),
    "messages packed, alone": lambda at: lone(compressed_bag(at, CompressionMode.MESSAGE)),
    "messages packed, no metadata": lambda at: without_metadata(
        compressed_bag(at, CompressionMode.MESSAGE, MCAP)
    ),
    "gzip": lambda at: packed(at, ".gz", gzip.compress),
    "zst": lambda at: packed(at, ".zst", zstandard.compress),
    "lz4": lambda at: packed(at, ".lz4", lz4.frame.compress),
    "split": lambda at: listed(split(at), "run_0.mcap", "run_1.mcap", "run_2.mcap"),
    "split, no metadata": split,
    "split, SQLite": lambda at: split(at, suffix="db3"),
    "split, one listed": lambda at: listed(split(at), "run_0.mcap"),
    "split, listed the wrong way round": lambda at: listed(
        split(at), "run_2.mcap", "run_1.mcap", "run_0.mcap"
    ),
    "split, of other names": lambda at: split(at, names=("c", "b", "a")),
    "the first rosbag2": lambda at: write_old_db3(at / "run.db3", film()),
    "a journal": with_wal,
    "a journal, its file": lambda at: with_wal(at) / "live.db3",
    "locked": locked,
}


def snapshot(path: Path) -> dict[str, tuple[int, int]]:
    root = path if path.is_dir() else path.parent
    return {f.name: (f.stat().st_size, f.stat().st_mtime_ns) for f in root.iterdir()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_gives_the_same_frames(tmp_path, variant):
    path = VARIANTS[variant](tmp_path)
    before = snapshot(path)
    assert is_recording(path)
    count, frames, _ = frames_of(path)
    assert frames == frames_of_film()
    assert count == 6
    assert snapshot(path) == before, "nothing beside the user's files is written"
    while HELD:
        HELD.pop().close()


def test_a_locked_database_is_said_to_be(tmp_path):
    remarks = frames_of(locked(tmp_path))[2]
    HELD.pop().close()
    assert any("is locked by another program" in remark for remark in remarks)


def test_a_twin_in_another_storage_is_read_once(tmp_path):
    path = split(tmp_path, names=("run",))
    write_old_db3(path / "run.db3", film())
    count, frames, remarks = frames_of(path)
    assert (count, frames) == (2, frames_of_film(2))
    assert any("run.db3 is left out, run.mcap is of the same name" in remark for remark in remarks)


def test_another_recordings_file_is_left_out_and_said(tmp_path):
    path = listed(split(tmp_path, names=("run_0",)), "run_0.mcap")
    write_mcap(path / "yesterday.mcap", film())
    _, frames, remarks = frames_of(path)
    assert frames == frames_of_film(2)
    assert any("yesterday.mcap is not of the recording" in remark for remark in remarks)


def test_camera_info_latched_in_another_part_is_taken(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    messages = film()
    write_mcap(path / "run_0.mcap", [m for m in messages if "info" not in m[0]])
    write_mcap(path / "run_1.mcap", messages[-1:])
    assert frames_of(path)[1] == frames_of_film()


def test_what_is_unpacked_goes_again(tmp_path, monkeypatch):
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    path = packed(tmp_path, ".gz", gzip.compress)
    assert len(frames_of(path)[1]) == 6
    gc.collect()
    assert os.listdir(room) == []


def test_unpacking_leaves_room_for_others(tmp_path, monkeypatch):
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    usage = shutil.disk_usage(room)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 << 20))
    path = packed(tmp_path, ".gz", gzip.compress)
    with pytest.raises(InvalidInputError, match="leave no room for others; set TMPDIR"):
        open_recording(path)
    assert os.listdir(room) == []
