"""What a planner gets, over DDS: 3D in the frame it names, short answers, the pose of what it asked for."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from geometry_msgs.msg import PoseStamped
from ovseg_ros.msg import Found, ResultCode
from ovseg_ros.srv import SegmentImage
from planner_fixtures import lines_of, xyz
from ros_bench import Bench, camera_info_message, image_message, picture
from std_msgs.msg import String
from tf_fixtures import OPTICAL_XYZW, fake_tf2, transform
from visualization_msgs.msg import MarkerArray

from ovseg_ros.core.space import Rigid
from ovseg_ros.ros.inference.diagnostics import verdict
from ovseg_ros.ros.io import transforms
from ovseg_ros.ros.io.transforms import NO_TF2

pytestmark = pytest.mark.ros

DEPTH_M = np.full((24, 32), 2.0, np.float32)
# the camera is 1 m above the ground and 0.2 m ahead of the robot's middle, and looks ahead
CAMERA = transform("base_link", "camera", (0.2, 0.0, 1.0), OPTICAL_XYZW)
IN_BASE = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # of its axes
RIGID = Rigid(IN_BASE, np.array([0.2, 0.0, 1.0]))


@pytest.fixture(scope="module")
def shared():
    """A node on a machine with tf2 (as far as the node uses it), which always has the same transforms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transforms, "tf2_ros", lambda: fake_tf2)
        bench = Bench(max_frame_age=60.0, find_confirm=1)
    yield bench.active()
    bench.close()


@pytest.fixture
def bench(shared):
    """The shared node, with no image, no subscribers and the parameters' defaults."""
    shared.deaf()
    shared.node.engine.source.reset()
    shared.set(target_frame="", gravity_frame="", transform_wait=0.2, publish_masks=True)
    shared.node.transforms.stop()
    shared.node.transforms.listen("base_link")
    shared.node.transforms._buffer.set_transform_static(CAMERA, "test")
    return shared


@pytest.fixture
def without_tf2(monkeypatch):
    monkeypatch.setattr(transforms, "tf2_ros", lambda: None)
    bench = Bench(max_frame_age=60.0, find_confirm=1, target_frame="base_link")
    yield bench.active()
    bench.close()


def listens_for_long(bench):
    bench.node.transforms._since = -float("inf")


def turn(pose):
    of = pose.orientation
    return np.array([of.x, of.y, of.z, of.w])


# Short answers


def test_an_answer_fits_a_terminal(bench):
    bench.show_with_depth(DEPTH_M, picture(blue=True))
    result = bench.find("red")
    assert result.code == ResultCode.FOUND
    assert len(lines_of(result)) < 100
    assert len(lines_of(bench.find("red", with_masks=True))) > 160  # 80 pixels


def test_masks_and_points_come_where_they_are_wanted(bench):
    sent = bench.show_with_depth(DEPTH_M)
    bare = bench.find("red").segments[0]
    assert (bare.mask.width, len(bare.mask.data), bare.points.width, len(bare.points.data)) == (0, 0, 0, 0)
    full = bench.find("red", with_masks=True, with_points=True, target_frame="base_link").segments[0]
    assert (full.mask.header, full.mask.width, full.mask.height) == (sent.header, 10, 8)
    points = full.points
    assert (points.header.stamp, points.header.frame_id) == (sent.header.stamp, "base_link")
    assert [(f.name, f.offset, f.datatype, f.count) for f in points.fields] == [
        ("x", 0, 7, 1),
        ("y", 4, 7, 1),
        ("z", 8, 7, 1),
    ]
    assert (points.height, points.point_step, points.row_step) == (1, 12, 12 * points.width)
    assert (points.is_bigendian, points.is_dense) == (False, False)  # as sensor_msgs_py has it
    values = np.frombuffer(points.data, "<f4").reshape(points.width, 3)
    assert 30 <= len(values) <= 80
    np.testing.assert_allclose(values[:, 0], 2.2, atol=1e-5)  # 2 m ahead of the camera
    np.testing.assert_allclose(values.mean(axis=0), xyz(full.centroid), atol=1e-3)


def test_publish_masks_is_obeyed(bench):
    bench.set(publish_masks=False)
    bench.show_with_depth(DEPTH_M)
    assert bench.find("red", with_masks=True).segments[0].mask.width == 0
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"])).segmentation
    assert reply.segments[0].mask.width == 0
    assert reply.label_image.width == 32


def test_a_segmentation_without_masks_and_with_points(bench):
    bench.show_with_depth(DEPTH_M)
    request = SegmentImage.Request(labels=["red"])
    assert (request.with_masks, request.with_points) == (True, False)
    full = bench.call(bench.segment, request).segmentation
    assert (full.segments[0].mask.width, full.label_image.width, full.instance_image.width) == (10, 32, 32)
    assert full.segments[0].points.width == 0
    request.with_masks, request.with_points = False, True
    bare = bench.call(bench.segment, request).segmentation
    (segment,) = bare.segments
    assert (segment.mask.width, bare.label_image.width, bare.instance_image.width) == (0, 0, 0)
    assert (segment.area_px, segment.instance_id) == (80, full.segments[0].instance_id)
    assert segment.points.width > 30
    assert segment.points.header.frame_id == bare.frame_id_3d == "camera"


def test_count_is_of_all_that_fit(bench):
    bench.show_with_depth(DEPTH_M, picture(blue=True))
    result = bench.find("red, blue", max_results=1)
    assert (len(result.segments), result.count) == (1, 2)
    assert bench.find("green").count == 0


# Where it is


def test_3d_is_in_the_frame_that_was_asked_for(bench):
    bench.show_with_depth(DEPTH_M)
    in_camera = bench.find("red")
    assert (in_camera.frame_id_3d, in_camera.message) == ("camera", "1 found")
    result = bench.find("red", target_frame="base_link")
    assert (result.frame_id_3d, result.message, result.header.frame_id) == ("base_link", "1 found", "camera")
    one, other = in_camera.segments[0], result.segments[0]
    np.testing.assert_allclose(xyz(other.centroid), RIGID.of_points(xyz(one.centroid)[None])[0], atol=1e-6)
    # the patch is at columns 6 to 15 left of cx = 16, rows 4 to 11 above cy = 12, focal length 30, 2 m away
    np.testing.assert_allclose(xyz(other.centroid), [2.2, 2 * 5.5 / 30, 1 + 2 * 4.5 / 30], atol=0.02)
    spread = np.reshape(one.centroid_covariance, (3, 3))
    np.testing.assert_allclose(
        np.reshape(other.centroid_covariance, (3, 3)), IN_BASE @ spread @ IN_BASE.T, atol=1e-12
    )
    assert np.linalg.eigvalsh(spread).min() > 0
    assert other.distance_m == pytest.approx(np.linalg.norm(xyz(one.centroid)), rel=1e-5)
    assert np.linalg.norm(turn(other.pose)) == pytest.approx(1.0)
    x, y, z, w = turn(other.pose)
    up = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]
    np.testing.assert_allclose(up, [0, 0, 1], atol=1e-6)  # base_link's own z: upright
    assert other.size.z == pytest.approx(2 * 7 / 30, abs=0.08)
    assert other.size.x == pytest.approx(2 * 9 / 30, abs=0.08)
    assert other.size.y < 0.08
    middle = xyz(other.pose.position)
    assert abs(middle - xyz(other.centroid)).max() < 0.08


def test_the_parameter_names_the_frame_where_the_request_does_not(bench):
    assert bench.set(target_frame="base_link").successful
    bench.show_with_depth(DEPTH_M)
    assert bench.find("red").frame_id_3d == "base_link"
    assert bench.find("red", target_frame="camera").frame_id_3d == "camera"
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"]))
    assert reply.segmentation.frame_id_3d == "base_link"


def test_a_given_image_is_placed_at_its_own_time(bench):
    buffer = bench.node.transforms._buffer
    for second in (10, 11):
        pose = transform("map", "base_link", (second, 0, 0), stamp_ns=second * 1_000_000_000)
        buffer.set_transform(pose, "test")
    listens_for_long(bench)

    def ask(second):
        stamp = transform("", "", stamp_ns=int(second * 1e9)).header.stamp
        request = SegmentImage.Request(labels=["red"], target_frame="map", camera_info=camera_info_message())
        request.image = image_message(picture(), stamp=stamp)
        request.depth = image_message(DEPTH_M, "32FC1", stamp)
        return bench.call(bench.segment, request)

    there = ask(10.5)
    assert there.segmentation.frame_id_3d == "map"
    assert there.segmentation.segments[0].centroid.x == pytest.approx(10.5 + 2.2, abs=1e-3)
    past = ask(5.0)
    assert past.code == ResultCode.FOUND
    assert past.segmentation.frame_id_3d == "camera"
    assert past.segmentation.segments[0].centroid.z == pytest.approx(2.0, abs=1e-3)
    assert "3D is in the camera's frame 'camera', not in 'map': " in past.message
    assert "extrapolation into the past" in past.message


def test_a_frame_that_is_not_there_is_said_at_once(bench):
    bench.set(transform_wait=10.0)
    listens_for_long(bench)
    bench.show_with_depth(DEPTH_M)
    begun = time.monotonic()
    result = bench.find("red", target_frame="table", want_3d=True)
    assert time.monotonic() - begun < 5.0
    assert (result.code, result.frame_id_3d) == (ResultCode.FOUND, "camera")
    assert result.message.startswith("1 found; 3D is in the camera's frame 'camera', not in 'table': ")
    assert result.segments[0].centroid.z == pytest.approx(2.0)


def test_without_tf2_every_answer_says_so(without_tf2):
    bench = without_tf2
    bench.words("red")
    markers, received = bench.listen(MarkerArray, "markers"), bench.segmentations()
    sent = bench.show_with_depth(DEPTH_M)
    bench.until(lambda: received and markers)
    assert received[0].frame_id_3d == "camera"
    assert {marker.header.frame_id for marker in markers[0].markers} == {"camera"}
    level, message = verdict(bench.node)
    assert level == "WARN"
    assert f"3D is in the camera's frame 'camera', not in 'base_link': {NO_TF2}" in message
    assert bench.node.statistics.counts()["misplaced_3d"] == 1
    result = bench.find("red")
    assert (result.header, result.frame_id_3d) == (sent.header, "camera")
    assert result.message.endswith(NO_TF2)


# Transforms come later than images


def moving(bench, message, *, before=True, after=True):
    """Tells TF where the robot was a second before and after an image."""
    stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
    for offset, told in ((-1_000_000_000, before), (1_000_000_000, after)):
        if told:
            pose = transform("odom", "base_link", (3.0, 0, 0), stamp_ns=stamp + offset)
            bench.node.transforms._buffer.set_transform(pose, "test")


def test_an_answer_waits_for_its_transform_and_others_do_not(bench):
    bench.set(transform_wait=10.0)
    listens_for_long(bench)
    sent = bench.show_with_depth(DEPTH_M)
    moving(bench, sent, after=False)
    waits = bench.begin_find("red", target_frame="odom")
    assert bench.find("red").frame_id_3d == "camera"
    moving(bench, sent)
    result, _ = bench.result_of(waits)
    assert (result.frame_id_3d, result.header, result.message) == ("odom", sent.header, "1 found")
    assert result.segments[0].centroid.x == pytest.approx(5.2, abs=1e-3)


def test_an_answer_waits_no_longer_than_transform_wait(bench):
    listens_for_long(bench)
    sent = bench.show_with_depth(DEPTH_M)
    moving(bench, sent, after=False)
    result = bench.find("red", target_frame="odom")
    assert (result.code, result.frame_id_3d) == (ResultCode.FOUND, "camera")
    assert "extrapolation into the future" in result.message


def test_the_stream_waits_for_transforms_in_order_and_inference_goes_on(bench):
    bench.set(transform_wait=10.0, target_frame="odom")
    listens_for_long(bench)
    bench.words("red")
    received = bench.segmentations()
    before = len(bench.proposer.frames)
    bench.proposer.gate.clear()  # so that TF knows where it moves from before the frame is told
    sent = [bench.show_with_depth(DEPTH_M)]
    moving(bench, sent[0], after=False)
    bench.proposer.gate.set()
    bench.until(lambda: len(bench.proposer.frames) == before + 1)
    sent.append(bench.show_with_depth(DEPTH_M))
    bench.until(lambda: len(bench.proposer.frames) == before + 2, "for the next frame in the model")
    assert received == []
    moving(bench, sent[1])
    bench.until(lambda: len(received) == 2)
    assert [message.header for message in received] == [one.header for one in sent]
    assert {message.frame_id_3d for message in received} == {"odom"}
    assert received[0].segments[0].centroid.x == pytest.approx(5.2, abs=1e-3)


def test_the_stream_gives_up_a_transform_that_does_not_come(bench):
    bench.set(transform_wait=0.05, target_frame="odom")
    listens_for_long(bench)
    bench.words("red")
    received = bench.segmentations()
    bench.proposer.gate.clear()
    moving(bench, bench.show_with_depth(DEPTH_M), after=False)
    bench.proposer.gate.set()
    message = bench.until(lambda: received)[0]
    assert message.frame_id_3d == "camera"
    assert message.segments[0].centroid.z == pytest.approx(2.0)
    assert "not in 'odom'" in verdict(bench.node)[1]


# The topics for planners


def test_found_and_pose_are_of_the_last_query(bench):
    bench.set(target_frame="base_link")
    found, poses = bench.listen(Found, "found"), bench.listen(PoseStamped, "pose")
    bench.queries.publish(String(data="find the red"))
    bench.until(lambda: bench.node.vocabulary.names == ("red",))
    sent = bench.show_with_depth(DEPTH_M, picture(blue=True))
    bench.until(lambda: found and poses)
    message, pose = found[0], poses[0]
    assert (message.header, message.query, message.code) == (sent.header, "find the red", ResultCode.FOUND)
    assert (message.message, message.frame_id_3d) == ("1 found", "base_link")
    (segment,) = message.segments
    assert (segment.label, segment.mask.width, segment.points.width) == ("red", 0, 0)
    assert len(lines_of(message)) < 100
    assert (pose.header.stamp, pose.header.frame_id) == (sent.header.stamp, "base_link")
    assert pose.pose == segment.pose
    bench.words("blue", "green")
    bench.show_with_depth(DEPTH_M, picture(blue=True))
    assert bench.until(lambda: len(found) == 2 and found[1]).query == "blue, green"
    assert [segment.label for segment in found[1].segments] == ["blue"]


def test_a_query_of_the_same_words_is_told_as_it_was_sent(bench):
    bench.words("red")
    found = bench.listen(Found, "found")
    bench.queries.publish(String(data="where is the red?"))
    bench.until(lambda: bench.node.words.query_of(bench.node.vocabulary) == "where is the red?")
    bench.show()
    assert bench.until(lambda: found)[0].query == "where is the red?"


def test_nothing_found_is_told_and_has_no_pose(bench):
    found, poses = bench.listen(Found, "found"), bench.listen(PoseStamped, "pose")
    bench.words("green")
    bench.show_with_depth(DEPTH_M)
    message = bench.until(lambda: found)[0]
    assert (message.code, message.message, message.segments) == (ResultCode.NOT_FOUND, "0 found", [])
    bench.words("red")
    time.sleep(0.2)  # the depth of the image before is not this one's: sync_tolerance is 0.02 s
    bench.show()  # without depth there is no pose either
    bench.until(lambda: len(found) == 2)
    bench.show_with_depth(DEPTH_M)
    bench.until(lambda: poses)
    assert len(poses) == 1


def test_markers_are_in_the_frame_of_the_3d(bench):
    bench.set(target_frame="base_link")
    bench.words("red")
    markers = bench.listen(MarkerArray, "markers")
    sent = bench.show_with_depth(DEPTH_M)
    _, box, name = bench.until(lambda: markers)[0].markers
    assert (box.header.frame_id, box.header.stamp) == ("base_link", sent.header.stamp)
    (segment,) = bench.find("red").segments
    assert box.pose == segment.pose
    above = xyz(name.pose.position) - xyz(box.pose.position)
    np.testing.assert_allclose(above, [0, 0, segment.size.z / 2 + 0.03], atol=1e-6)
