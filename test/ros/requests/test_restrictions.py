"""Restrictions of requests, over DDS: what they leave out is not found, and nonsense is said to be that."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from geometry_msgs.msg import Point
from ovseg_ros.msg import Restriction, ResultCode
from ovseg_ros.srv import SegmentImage
from ros_bench import Bench, picture
from sensor_msgs.msg import RegionOfInterest
from tf_fixtures import OPTICAL_XYZW, fake_tf2, transform

from ovseg_ros.ros.io import transforms

pytestmark = pytest.mark.ros

# red, 2 m away, at rows 4 to 11, and blue, 1 m away, below it, both at columns 6 to 15 of 32
DEPTH_M = np.full((24, 32), 2.0, np.float32)
DEPTH_M[13:] = 1.0


@pytest.fixture(scope="module")
def shared():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transforms, "tf2_ros", lambda: fake_tf2)
        bench = Bench(max_frame_age=60.0, find_confirm=1)
    bench.active()
    bench.node.transforms.listen("base_link")
    camera = transform("base_link", "camera", (0.0, 0.0, 1.0), OPTICAL_XYZW)
    bench.node.transforms._buffer.set_transform_static(camera, "test")
    bench.node.transforms._since = -math.inf
    yield bench
    bench.close()


@pytest.fixture
def bench(shared):
    shared.node.engine.source.reset()
    return shared


def found(bench, **where):
    result = bench.find("red, blue", where=Restriction(**where), target_frame="base_link")
    reply = bench.call(
        bench.segment,
        SegmentImage.Request(
            labels=["red", "blue"], where=Restriction(**where), target_frame="base_link", with_masks=True
        ),
    )
    labels = sorted(segment.label for segment in result.segments)
    assert sorted(segment.label for segment in reply.segmentation.segments) == labels
    assert result.count == len(labels)
    painted = set(reply.segmentation.label_image.data) - {255}
    assert len(painted) == len(labels), "what is left out is in no image either"
    left_out = f"{2 - len(labels)} left out by `where`"
    for message in (result.message, reply.message):
        assert (left_out in message) == (len(labels) < 2), message
    return labels


@pytest.mark.parametrize(
    ("where", "labels"),
    [
        ({}, ["blue", "red"]),
        ({"region": RegionOfInterest(x_offset=0, y_offset=0, width=32, height=12)}, ["red"]),
        ({"region": RegionOfInterest(x_offset=20, y_offset=0, width=12, height=24)}, []),
        ({"region": RegionOfInterest(x_offset=20, y_offset=5, width=0, height=24)}, ["blue", "red"]),
        ({"max_distance_m": 1.5}, ["blue"]),
        ({"min_distance_m": 1.5}, ["red"]),
        ({"min_distance_m": 0.5, "max_distance_m": 2.5}, ["blue", "red"]),
        ({"min_size_m": 0.45}, ["red"]),  # nine pixel steps are 0.6 m at 2 m and 0.3 m at 1 m
        ({"max_size_m": 0.45}, ["blue"]),
        ({"box_min": Point(x=0.5, y=-1.0, z=0.0), "box_max": Point(x=1.5, y=1.0, z=2.0)}, ["blue"]),
        ({"box_min": Point(x=1.5, y=1.0, z=2.0), "box_max": Point(x=2.5, y=-1.0, z=1.0)}, ["red"]),
        ({"box_min": Point(x=1.5, y=1.0, z=0.0), "box_max": Point(x=2.5, y=-1.0, z=1.0)}, []),
    ],
)
def test_what_is_left_out_is_not_found(bench, where, labels):
    bench.show_with_depth(DEPTH_M, picture(blue=True))
    assert found(bench, **where) == labels


def test_limits_in_metres_leave_out_what_has_no_3d(bench):
    bench.show(picture(blue=True))
    result = bench.find("red, blue", where=Restriction(max_distance_m=5.0))
    assert result.code == ResultCode.NOT_FOUND
    assert result.message.endswith("2 left out by `where`, 2 of them for want of 3D")
    assert bench.find("red", where=Restriction(region=RegionOfInterest(width=32, height=24))).count == 1


def test_a_box_in_a_frame_that_is_not_there_is_held_against_nothing(bench):
    bench.show_with_depth(DEPTH_M, picture(blue=True))
    where = Restriction(box_max=Point(x=9.0, y=9.0, z=9.0), box_min=Point(x=-9.0, y=-9.0, z=-9.0))
    result = bench.find("red", where=where, target_frame="table")
    assert (result.code, result.segments) == (ResultCode.NO_DEPTH, [])
    assert result.message.startswith("the box of `where` is in 'table', where nothing can be placed: ")
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"], where=where, target_frame="table"))
    assert (reply.code, reply.message) == (result.code, result.message)
    assert bench.find("red", where=where).code == ResultCode.FOUND  # along the camera's axes


@pytest.mark.parametrize(
    ("where", "word"),
    [
        ({"min_distance_m": 2.0, "max_distance_m": 1.0}, "0 is no limit"),
        ({"min_size_m": math.nan}, "finite"),
        ({"max_distance_m": -1.0}, "at least 0"),
        ({"max_size_m": math.inf}, "finite"),
        ({"box_min": Point(x=math.nan)}, "finite"),
    ],
)
def test_limits_that_are_none_are_refused_with_the_cure(bench, where, word):
    bench.show_with_depth(DEPTH_M)
    result = bench.find("red", where=Restriction(**where))
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"], where=Restriction(**where)))
    for one in (result, reply):
        assert one.code == ResultCode.INVALID_QUERY
        assert word in one.message
