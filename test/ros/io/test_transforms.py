"""Transforms of an image's own time: by tf2 where it is installed, else by a buffer of the same interface."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from std_msgs.msg import Header
from tf_fixtures import OPTICAL_XYZW, fake_tf2, transform

from ovseg_ros.core.space import Rigid
from ovseg_ros.ros.io import transforms as module
from ovseg_ros.ros.io.transforms import NO_TF2, Missing, Placement, Transforms, is_upright
from ovseg_ros.ros.parameters.table import Settings

pytestmark = pytest.mark.ros
SECOND = 1_000_000_000
QUARTER_LEFT_XYZW = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))  # about z


def tf2_of(name):
    if name == "a buffer of the same interface":
        return fake_tf2
    if importlib.util.find_spec("tf2_py") is None:
        pytest.skip(
            "tf2 cannot be imported here (it is not on PyPI); the buffer of the same interface stands in"
        )
    return pytest.importorskip("tf2_ros")


@pytest.fixture(params=["a buffer of the same interface", "tf2 itself"])
def heard(request, monkeypatch):
    """Transforms that listen, and the buffer they hear into."""
    tf2 = tf2_of(request.param)
    monkeypatch.setattr(module, "tf2_ros", lambda: tf2)
    if tf2 is not fake_tf2:  # its listener needs a node
        monkeypatch.setattr(tf2, "TransformListener", fake_tf2.TransformListener)
    return listening()


def listening(**settings):
    made = Transforms(None, lambda: Settings(**settings))
    made.listen("base_link")
    return made


def on_robot(made):
    """A camera 1 m up and 0.2 m ahead on a robot that drives 1 m/s along the map's x from second 10 on."""
    buffer = made._buffer
    buffer.set_transform_static(transform("base_link", "camera", (0.2, 0, 1.0), OPTICAL_XYZW), "test")
    for second in (10, 11):
        pose = transform("map", "base_link", (second - 10, 0, 0), QUARTER_LEFT_XYZW, stamp_ns=second * SECOND)
        buffer.set_transform(pose, "test")
    return made


def header(second=10.5, frame_id="camera"):
    made = Header(frame_id=frame_id)
    made.stamp.sec, made.stamp.nanosec = int(second), int(second % 1 * SECOND)
    return made


@pytest.mark.parametrize("second", [0, 3, 10.5, 1e6])
def test_what_is_static_holds_at_any_time(heard, second):
    found = on_robot(heard).lookup("base_link", "camera", int(second * SECOND))
    assert isinstance(found, Rigid)
    ahead = found.of_points(np.array([[0.0, 0.0, 2.0]]))  # 2 m in front of the camera
    np.testing.assert_allclose(ahead, [[2.2, 0.0, 1.0]], atol=1e-9)
    right_and_below = found.of_points(np.array([[1.0, 0.5, 2.0]]))
    np.testing.assert_allclose(right_and_below, [[2.2, -1.0, 0.5]], atol=1e-9)


def test_what_moves_is_taken_at_the_images_time_not_at_the_latest(heard):
    found = on_robot(heard).lookup("map", "camera", int(10.25 * SECOND))
    np.testing.assert_allclose(found.translation_m, [0.25, 0.2, 1.0], atol=1e-6)
    ahead = found.of_points(np.array([[0.0, 0.0, 2.0]]))  # the robot looks along the map's y
    np.testing.assert_allclose(ahead, [[0.25, 2.2, 1.0]], atol=1e-6)


@pytest.mark.parametrize(
    ("target", "source", "second", "said", "may_come"),
    [
        ("map", "camera", 11.1, "into the future", True),
        ("map", "camera", 9.0, "into the past", True),
        ("map", "camera", 0, "into the past", True),  # a stamp of 0 is not "the latest"
        ("table", "camera", 10.5, "table", False),
        ("map", "lidar", 10.5, "lidar", False),
        ("map", "moon", 10.5, "not part of the same tree", False),
        ("map", "", 10.5, "names no frame", False),
    ],
)
def test_a_transform_that_is_not_there_is_told(heard, target, source, second, said, may_come):
    on_robot(heard)._buffer.set_transform_static(transform("sun", "moon"), "test")
    heard._since = -math.inf  # listening for long
    missing = heard.lookup(target, source, int(second * SECOND))
    assert isinstance(missing, Missing)
    assert said in missing.reason
    assert missing.may_come is may_come


def test_a_frame_nobody_named_may_come_where_listening_has_just_begun(heard):
    assert heard.lookup("map", "camera", SECOND).may_come
    heard._since -= 2 * module.START_S
    assert not heard.lookup("map", "camera", SECOND).may_come


def test_what_is_late_is_found_once_it_is_there(heard):
    on_robot(heard)
    assert heard.lookup("map", "camera", 12 * SECOND).may_come
    later = transform("map", "base_link", (3, 0, 0), QUARTER_LEFT_XYZW, stamp_ns=13 * SECOND)
    heard._buffer.set_transform(later, "test")
    np.testing.assert_allclose(heard.lookup("map", "camera", 12 * SECOND).translation_m, [2.0, 0.2, 1.0])


def test_a_clock_set_back_forgets_what_moved_and_keeps_what_is_static(heard):
    on_robot(heard).clear()
    assert isinstance(heard.lookup("map", "camera", int(10.5 * SECOND)), Missing)
    assert isinstance(heard.lookup("base_link", "camera", int(10.5 * SECOND)), Rigid)


# tf2 itself turns these away when they come: nobody shall rely on it


@pytest.fixture
def told(monkeypatch):
    """Transforms that are told what is put into the list."""
    monkeypatch.setattr(module, "tf2_ros", lambda: fake_tf2)
    made, answers = listening(), []
    monkeypatch.setattr(made._buffer, "lookup_transform", lambda *_: answers[-1])
    return made, answers


@pytest.mark.parametrize(
    ("move", "quaternion"),
    [
        ((0, 0, 0), (0, 0, 0, 0)),
        ((0, 0, 0), (0, 0, 0, 2)),
        ((0, 0, 0), (0, 0, 0, 1.02)),
        ((0, 0, 0), (0, 0, math.nan, 1)),
        ((math.nan, 0, 0), (0, 0, 0, 1)),
        ((0, math.inf, 0), (0, 0, 0, 1)),
    ],
)
def test_numbers_that_are_no_transform_are_told(told, move, quaternion):
    made, answers = told
    answers.append(transform("base_link", "camera", move, quaternion))
    missing = made.lookup("base_link", "camera", SECOND)
    assert "expected a unit quaternion and finite metres" in missing.reason
    assert made.place(header(), "base_link").frame_id == ""


def test_a_quaternion_that_is_nearly_of_length_1_is_made_so(told):
    made, answers = told
    answers.append(transform("base_link", "camera", (0, 0, 0), tuple(1.005 * one for one in OPTICAL_XYZW)))
    turn = made.lookup("base_link", "camera", SECOND).rotation
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)


# The frame of the 3D fields


def test_without_a_wish_there_is_nothing_to_ask_tf(heard):
    assert listening().place(header()) == Placement()
    assert on_robot(heard).place(header()) == Placement()


def test_the_request_goes_before_the_parameter(heard):
    on_robot(heard)
    heard._settings = lambda: Settings(target_frame="base_link")
    assert heard.place(header()).frame_id == "base_link"
    assert heard.place(header(), "map").frame_id == "map"
    in_camera = heard.place(header(), "camera")
    assert (in_camera.frame_id, in_camera.rigid, in_camera.remark) == ("camera", None, "")


def test_up_comes_from_a_target_whose_z_is_up(heard):
    on_robot(heard)._buffer.set_transform_static(transform("base_link", "gripper", (0, 0, 1)), "test")
    for target in ("base_link", "map"):
        np.testing.assert_allclose(heard.place(header(), target).up, [0, -1, 0], atol=1e-9)
    assert heard.place(header(), "gripper").up is None


def test_up_comes_from_gravity_frame_where_that_is_set(heard):
    on_robot(heard)
    tilted = (math.sin(math.pi / 8), 0.0, 0.0, math.cos(math.pi / 8))  # 45 degrees about x
    heard._buffer.set_transform_static(transform("base_link", "cellar", (0, 0, 0), tilted), "test")
    heard._settings = lambda: Settings(gravity_frame="cellar")
    placement = heard.place(header())
    assert (placement.frame_id, placement.rigid, placement.remark) == ("", None, "")
    # its z is 45 degrees right of up in the body's frame, thus right of up in the image
    half = math.sqrt(0.5)
    np.testing.assert_allclose(placement.up, [half, -half, 0], atol=1e-9)
    heard._settings = lambda: Settings(gravity_frame="cellar", target_frame="base_link")
    np.testing.assert_allclose(heard.place(header()).up, [half, -half, 0], atol=1e-9)
    heard._settings = lambda: Settings(gravity_frame="gripper", target_frame="gripper")
    heard._buffer.set_transform_static(transform("base_link", "gripper", (0, 0, 1)), "test")
    np.testing.assert_allclose(heard.place(header()).up, [0, -1, 0], atol=1e-9)


def test_a_frame_that_cannot_be_had_is_told_and_3d_stays_the_cameras(heard):
    on_robot(heard)._since = -math.inf
    placement = heard.place(header(), "table")
    assert (placement.frame_id, placement.rigid, placement.up, placement.may_improve) == (
        "",
        None,
        None,
        False,
    )
    assert placement.remark.startswith("3D is in the camera's frame 'camera', not in 'table': ")
    heard._settings = lambda: Settings(gravity_frame="table")
    placement = heard.place(header(), "base_link")
    assert placement.frame_id == "base_link"
    assert placement.up is None
    assert placement.remark.startswith("gravity is not known, boxes stand on what is seen; 'table': ")
    assert heard.place(header(12.0), "map").may_improve


def test_without_tf2_the_answer_says_so(monkeypatch):
    monkeypatch.setattr(module, "tf2_ros", lambda: None)
    made = listening()
    placement = made.place(header(), "base_link")
    assert placement == Placement(
        remark=f"3D is in the camera's frame 'camera', not in 'base_link': {NO_TF2}", wanted="base_link"
    )
    made.clear()
    made.stop()


def test_tf_is_heard_only_where_a_frame_is_asked_for(monkeypatch):
    monkeypatch.setattr(module, "tf2_ros", lambda: fake_tf2)
    made = Transforms(None, Settings)
    made.listen("", "")
    assert made._listener is None
    assert "not heard" in made.lookup("map", "camera", SECOND).reason
    made.listen("", "map")
    listener = made._listener
    made.listen("odom")
    assert made._listener is listener
    made.stop()
    assert not listener.listens
    assert made._buffer is None


@pytest.mark.parametrize(
    ("frame", "is_up"), [("base_link", True), ("robot_1/map", True), ("camera", False), ("", False)]
)
def test_which_frames_are_upright_by_name(frame, is_up):
    assert is_upright(frame) is is_up
