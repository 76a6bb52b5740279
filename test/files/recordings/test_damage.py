"""Recordings that are not whole: what is whole is read, what is lost is said."""

from __future__ import annotations

import shutil
import sqlite3
import struct

import numpy as np
import pytest
import zstandard
from bag_fixtures import (
    CAMERA,
    COLOUR,
    DEPTH,
    SQLITE,
    camera_info,
    film,
    frames_of,
    frames_of_film,
    image,
    write_bag,
    write_mcap,
    write_old_db3,
)
from mcap.writer import CompressionType

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.recordings import find_topics, is_recording, open_recording, read_bag_frames
from ovseg_ros.files.recordings.sqlite_part import SqlitePart

PACKED = {"plain": CompressionType.NONE, "zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4}


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])
    return path


def pieces(path):
    """(offset, opcode, length of content) of each record."""
    data, at, found = path.read_bytes(), 8, []
    while at + 9 <= len(data) - 8:
        opcode, length = struct.unpack_from("<BQ", data, at)
        found.append((at, opcode, length))
        at += 9 + length
    return found


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("kind", PACKED)
def test_an_mcap_cut_anywhere_gives_what_came_before(tmp_path, kind, chunked):
    """At every 41st byte: never an exception but a typed one, never more, and the loss is said."""
    whole = write_mcap(tmp_path / "whole.mcap", film(), compression=PACKED[kind], use_chunking=chunked)
    data, most, refusals = whole.read_bytes(), 0, []
    for size in range(0, len(data) - 1, 41):
        path = tmp_path / "cut.mcap"
        path.write_bytes(data[:size])
        assert is_recording(path)
        try:
            count, frames, remarks = frames_of(path)
        except InvalidInputError as error:
            refusals.append(str(error))
            assert most == 0
            continue
        assert most <= count == len(frames)
        assert [frame[2] for frame in frames] == list(range(count))
        most = count
        assert any("breaks off after" in r and "mcap recover cut.mcap" in r for r in remarks), size
    assert most == 6
    assert refusals
    assert all("cut.mcap" in refusal for refusal in refusals)


def test_half_a_chunk_gives_its_whole_messages(tmp_path):
    path = write_mcap(tmp_path / "run.mcap", film(), chunk_size=1 << 20)
    (chunk,) = (piece for piece in pieces(path) if piece[1] == 6)
    cut(path, chunk[0] + 9 + chunk[2] * 3 // 4)
    _, frames, remarks = frames_of(path)
    assert 2 <= len(frames) < 6
    assert [frame[:3] for frame in frames] == [frame[:3] for frame in frames_of_film()[: len(frames)]]
    assert any("breaks off after" in remark for remark in remarks)


@pytest.mark.parametrize("summary", [True, False])
def test_a_damaged_chunk_is_left_out_and_named(tmp_path, summary):
    path = write_mcap(tmp_path / "run.mcap", film(), chunk_size=700)
    chunks = [piece for piece in pieces(path) if piece[1] == 6]
    assert len(chunks) > 2
    data = bytearray(path.read_bytes())
    data[chunks[1][0] + chunks[1][2] - 5] ^= 0xFF
    path.write_bytes(data if summary else data[:-30])
    _, frames, remarks = frames_of(path)
    assert 2 <= len(frames) < 6
    assert {frame[0] for frame in frames} == set(range(len(frames)))
    assert sum("a damaged chunk at byte" in remark and "checksum" in remark for remark in remarks) == 1


def test_a_packing_of_chunks_that_nobody_knows_is_named(tmp_path):
    path = write_mcap(tmp_path / "run.mcap", film(), compression=CompressionType.ZSTD, chunk_size=1 << 20)
    path.write_bytes(path.read_bytes().replace(b"\4\0\0\0zstd", b"\4\0\0\0brot"))
    with pytest.raises(InvalidInputError, match=r"packed with 'brot'; `mcap compress"):
        frames_of(path)


def test_zeros_behind_the_last_message_are_no_messages(tmp_path):
    """As a file system leaves it that made room before the power went."""
    path = write_mcap(tmp_path / "run.mcap", film())
    end = next(at for at, opcode, _ in pieces(path) if opcode == 15)
    path.write_bytes(path.read_bytes()[:end] + bytes(5000))
    _, frames, remarks = frames_of(path)
    assert frames == frames_of_film()
    assert any("breaks off after" in remark for remark in remarks)


def test_a_broken_part_is_skipped_and_named(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    messages = film()
    for part in range(3):
        write_mcap(path / f"run_{part}.mcap", messages[6 * part : 6 * part + 6])
    (path / "run_1.mcap").write_bytes(b"")
    _, frames, remarks = frames_of(path)
    assert [frame[2] for frame in frames] == [0, 1, 4, 5]
    assert any("run_1.mcap is empty (0 bytes)" in remark for remark in remarks)
    (path / "run_1.mcap").unlink()
    (path / "metadata.yaml").write_text(
        "rosbag2_bagfile_information:\n  relative_file_paths: [run_0.mcap, run_1.mcap, run_2.mcap]\n"
    )
    _, frames, remarks = frames_of(path)
    assert [frame[2] for frame in frames] == [0, 1, 4, 5]
    assert any("names run_1.mcap, which is not there" in remark for remark in remarks)


def test_a_packed_file_that_breaks_off(tmp_path):
    data = write_mcap(tmp_path / "run.mcap", film(60), chunk_size=4000).read_bytes()
    packed = b"".join(zstandard.compress(data[at : at + 2000]) for at in range(0, len(data), 2000))
    path = tmp_path / "run.mcap.zstd"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    _, frames, remarks = frames_of(path)
    assert 6 < len(frames) < 60
    assert [frame[2] for frame in frames] == list(range(len(frames)))
    assert any("breaks off after" in remark for remark in remarks)


def big_database(path):
    """Messages of several pages each, so that damage hits some of them."""
    messages = []
    for i in range(30):
        pixels = np.full((40, 40, 3), i, np.uint8)
        messages.append((COLOUR, 1 + i, image(pixels, "rgb8", 10 + i)))
    return write_old_db3(path, messages)


def test_a_malformed_database_is_read_as_far_as_possible(tmp_path):
    path = big_database(tmp_path / "run.db3")
    data = path.read_bytes()
    shades, refusals = set(), []
    for page in range(2, len(data) // 4096):
        damaged = tmp_path / "damaged.db3"
        damaged.write_bytes(data[: page * 4096] + b"\xff" * 4096 + data[(page + 1) * 4096 :])
        try:
            _, frames, remarks = frames_of(damaged)
        except InvalidInputError as error:
            refusals.append(str(error))
            continue
        good = [frame for frame in frames if len(frame) > 2]
        assert all(frame[1] == (10 + frame[2]) * 10**9 for frame in good if frame[2] != 255)
        assert len(good) == 30 or remarks or len(frames) > len(good) or any(f[2] == 255 for f in good)
        shades.add(len(good))
    assert max(shades) >= 29
    assert all("damaged.db3" in refusal for refusal in refusals)


def test_a_database_that_was_cut(tmp_path):
    path = big_database(tmp_path / "run.db3")
    cut(path, path.stat().st_size // 2 // 4096 * 4096)
    _, frames, remarks = frames_of(path)
    assert sum(len(frame) > 2 for frame in frames) >= 5
    assert any("run.db3 is damaged" in remark for remark in remarks)


def test_databases_without_a_recording(tmp_path):
    path = tmp_path / "run.db3"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE customers(id)")
    database.commit()
    database.close()
    with pytest.raises(InvalidInputError, match=r"tables topics and messages, .*run.db3 has customers"):
        open_recording(path)
    with pytest.raises(InvalidInputError, match="holds no messages; its topics are: none"):
        find_topics(write_old_db3(tmp_path / "empty.db3", []))


def test_a_recording_without_messages(tmp_path):
    path = write_mcap(tmp_path / "run.mcap", [])
    with pytest.raises(InvalidInputError, match="holds no messages"):
        find_topics(path)


def test_damaged_messages_cost_their_frame_only(tmp_path):
    messages = film()
    messages[3] = (COLOUR, 1.1, ("sensor_msgs/msg/Image", b"\0\1\0\0\1\0\0\0"))
    messages[5] = (CAMERA, 1.12, ("sensor_msgs/msg/CameraInfo", b""))
    _, frames, _ = frames_of(write_bag(tmp_path / "bag", messages))
    assert [frame[0] for frame in frames] == list(range(6))
    assert "a damaged message" in frames[1][1]
    assert frames[2:] == frames_of_film()[2:]


@pytest.mark.parametrize(
    ("name", "first", "cure"),
    [
        ("run.bag", b"#ROSBAG V2.0\n", "rosbags-convert --src"),
        ("blob", b"#ROSBAG V2.0\n", "rosbags-convert --src"),
        ("run.bag", b"", "rosbags-convert --src"),
        ("run.zip", b"PK\3\4", "is an archive .zip.; unpack it"),
        ("run.svo", b"SVO", "svo_path:="),
        ("run.mcap", b"text", "begins with b'text'"),
        ("run.db3", b"", r"is empty \(0 bytes\)"),
        ("run.mcap.zstd", b"\x28\xb5\x2f\xfd", "begins with"),
    ],
)
def test_what_is_no_rosbag2_is_named_with_the_cure(tmp_path, name, first, cure):
    path = tmp_path / name
    path.write_bytes(first)
    assert is_recording(path)
    with pytest.raises(InvalidInputError, match=cure):
        open_recording(path)


def test_messages_packed_in_an_unknown_way_are_named(tmp_path):
    message = ("sensor_msgs/msg/Image", b"\x11\x22" * 20)
    path = write_bag(tmp_path / "bag", [(COLOUR, 1, message)])
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("compression_format: ''", "compression_format: snappy"))
    with pytest.raises(InvalidInputError, match=r"packed with 'snappy'.*ros2 bag convert"):
        find_topics(path)


def test_other_serialisations_are_named(tmp_path):
    path = write_mcap(tmp_path / "run.mcap", film())
    path.write_bytes(path.read_bytes().replace(b"\3\0\0\0cdr", b"\3\0\0\0ros"))
    with pytest.raises(InvalidInputError, match="sensor_msgs/msg/Image in ros, not in cdr"):
        find_topics(shutil.copy(path, tmp_path / "other.mcap"))


def test_a_camera_that_was_never_calibrated(tmp_path):
    messages = film()
    for topic, _, message in messages:
        if topic == CAMERA:
            message.k = np.zeros(9)
    path = write_bag(tmp_path / "bag", messages, SQLITE)
    chosen, _ = find_topics(path)
    frame = next(read_bag_frames(path, chosen))
    assert frame.load().intrinsics is None
    said = frame.missing((4, 4))
    assert f"camera_info on {CAMERA} (6 messages): the camera was never calibrated (K is 0)" in said
    assert said.endswith("or give them with --intrinsics")
    given = next(read_bag_frames(path, chosen, intrinsics=(30.0, 30.0, 2.0, 2.0)))
    assert given.load().intrinsics.fx == 30.0
    assert given.missing((4, 4)) == ""


def test_depth_too_far_in_time_is_named_with_the_gap(tmp_path):
    messages = [
        (COLOUR, 1.0, image(np.zeros((4, 4, 3), np.uint8), "rgb8", 10.0)),
        (DEPTH, 1.0, image(np.ones((4, 4), np.uint16), "16UC1", 10.033)),
        (CAMERA, 1.0, camera_info(size_wh=(4, 4))),
    ]
    path = write_bag(tmp_path / "bag", messages)
    chosen, _ = find_topics(path)
    frame = next(read_bag_frames(path, chosen))
    assert frame.load().depth_m is None
    assert frame.missing((4, 4)) == (
        f"depth on {DEPTH} (1 message): the nearest to the image of 10.000 s is 33 ms later, "
        "--depth-tolerance is 20 ms; raise --depth-tolerance"
    )
    assert next(read_bag_frames(path, chosen, tolerance_s=0.04)).load().depth_m is not None


def test_depth_in_tenths_of_millimetres(tmp_path):
    path = write_bag(tmp_path / "bag", film())
    chosen, _ = find_topics(path)
    frame = next(read_bag_frames(path, chosen, depth_scale=0.0001)).load()
    assert frame.depth_m[0, 0] == pytest.approx(0.1)


def test_rows_that_go_round_in_a_damaged_database_come_to_an_end():
    class Round:
        """A page whose rows begin anew whatever is asked for."""

        def execute(self, _, __):
            yield (5, 1, 100)
            raise sqlite3.DatabaseError("malformed")

    assert list(SqlitePart._walk(Round())) == [(5, 1, 100)]


def test_a_view_in_place_of_the_messages_is_not_asked(tmp_path):
    """It could be a query that never ends."""
    path = write_old_db3(tmp_path / "old.db3", film())
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE messages RENAME TO others")
        database.execute("CREATE VIEW messages AS SELECT * FROM others")
    database.close()
    with pytest.raises(InvalidInputError, match="expected a database with the tables topics and messages"):
        open_recording(path)
