"""Recordings: what is written is read back, and what is wrong is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bag_fixtures import compressed, write_bag
from rosbags.rosbag2 import Reader

from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings import recording
from ovseg_ros.evaluate.recordings.recording import (
    RecordedFrame,
    depth_to_mm,
    read_recording,
)
from ovseg_ros.evaluate.recordings.writing import write_recording

CAMERA = CameraIntrinsics(50.0, 51.0, 20.5, 14.5, 40, 30)


def recorded(index: int, names: dict[int, str], **changes) -> RecordedFrame:
    ramp = np.linspace(0, 200, 40, dtype=np.float32)[None, :, None] * np.full((30, 1, 3), (1.0, 0.5, 0.0))
    depth = np.full((30, 40), 1.0 + index, np.float32)
    depth[0, :4] = (0.0, np.nan, np.inf, 70.0)
    instances = np.zeros((30, 40), np.uint16)
    instances[5:10, 5:15] = 300 + index
    frame = Frame(ramp.astype(np.uint8), depth, CAMERA, stamp_ns=5_000_000_007 + index * 10**8)
    frame = replace(frame, **changes)
    return RecordedFrame(frame, instances, names, dict.fromkeys(names, ("other word",)))


def test_frames_come_back_in_order(tmp_path):
    scenes = [{300: "teapot", 301: "théière"}, {300: "teapot", 301: "théière"}, {302: "mug"}]
    assert write_recording(tmp_path / "bag", (recorded(i, names) for i, names in enumerate(scenes))) == 3
    frames = list(read_recording(tmp_path / "bag"))
    assert len(frames) == 3
    for index, (got, names) in enumerate(zip(frames, scenes, strict=True)):
        wanted = recorded(index, names)
        assert got.names == names
        assert got.synonyms == wanted.synonyms
        assert got.frame.stamp_ns == wanted.frame.stamp_ns
        assert got.frame.frame_id == recording.FRAME_ID
        assert got.frame.intrinsics == CAMERA
        np.testing.assert_array_equal(got.instances, wanted.instances)
        assert got.mask(300 + index).sum() == 50
        np.testing.assert_array_equal(got.frame.depth_m[0, :4], 0.0)
        np.testing.assert_allclose(got.frame.depth_m[1:], 1.0 + index, atol=1e-6)
        difference = got.frame.image_rgb.astype(int) - wanted.frame.image_rgb
        assert abs(difference).max() <= 6  # JPEG


def test_layout_is_what_the_player_expects(tmp_path):
    write_recording(tmp_path / "bag", [recorded(i, {300: "teapot"}) for i in range(4)])
    with Reader(tmp_path / "bag") as reader:
        counts = {c.topic: (c.msgtype, c.msgcount) for c in reader.connections}
    assert counts == {
        "/camera/color/image_raw/compressed": ("sensor_msgs/msg/CompressedImage", 4),
        "/camera/depth/image_raw": ("sensor_msgs/msg/Image", 4),
        "/camera/color/camera_info": ("sensor_msgs/msg/CameraInfo", 4),
        "/ground_truth/instance_image": ("sensor_msgs/msg/Image", 4),
        "/ground_truth/names": ("std_msgs/msg/String", 1),  # once: the names did not change
    }


def test_without_depth_and_truth(tmp_path):
    plain = RecordedFrame(replace(recorded(0, {}).frame, depth_m=None))
    write_recording(tmp_path / "bag", [plain])
    (got,) = read_recording(tmp_path / "bag")
    assert got.frame.depth_m is None
    assert got.instances is None
    assert got.names == {}
    assert not got.mask(1).any()


def test_refusals(tmp_path):
    with pytest.raises(InvalidInputError, match="at least one frame"):
        write_recording(tmp_path / "none", [])
    with pytest.raises(InvalidInputError, match="increasing times"):
        write_recording(tmp_path / "twice", [recorded(0, {}), recorded(0, {})])
    with pytest.raises(InvalidInputError, match="exists already"):
        write_recording(tmp_path, [recorded(0, {})])
    with pytest.raises(InvalidInputError, match="intrinsics"):
        write_recording(tmp_path / "no_camera", [recorded(0, {}, intrinsics=None)])
    with pytest.raises(InvalidInputError, match="nothing is not there"):
        list(read_recording(tmp_path / "nothing"))
    with pytest.raises(InvalidInputError, match=r"instances \(30, 40\) uint16, got \(2, 2\) uint16"):
        RecordedFrame(recorded(0, {}).frame, np.zeros((2, 2), np.uint16))


def test_truncated_file_is_refused(tmp_path):
    write_recording(tmp_path / "bag", [recorded(0, {})])
    (mcap,) = (tmp_path / "bag").glob("*.mcap")
    mcap.write_bytes(mcap.read_bytes()[:300])
    with pytest.raises(InvalidInputError, match=r"expected messages on .* has none; .* breaks off"):
        list(read_recording(tmp_path / "bag"))


def test_the_moment_of_a_damaged_image_is_named(tmp_path):
    picture = compressed(np.zeros((4, 4, 3), np.uint8), stamp_s=7.5)
    picture.data = picture.data[:9]
    path = write_bag(tmp_path / "bag", [(recording.COLOR_TOPIC, 0, picture)])
    with pytest.raises(InvalidInputError, match=r"the frame of 7\.500000000 s: .*9 bytes of format 'jpeg'"):
        list(read_recording(path))


def test_depth_in_millimetres():
    depth = np.array(
        [[0.0, 0.0004, 0.0006, 1.2344, 65.535, 65.536, -1.0, np.nan, np.inf, -np.inf]], np.float32
    )
    assert depth_to_mm(depth).tolist() == [[0, 0, 1, 1234, 65535, 0, 0, 0, 0, 0]]
    assert depth_to_mm(np.zeros((0, 0), np.float32)).shape == (0, 0)
