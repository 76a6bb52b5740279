"""Requests over DDS: which one is meant, in the action, the service and the query topic."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.msg import Found, Restriction, ResultCode, Segmentation
from ovseg_ros.srv import SegmentImage
from ros_bench import Bench, picture
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import String

pytestmark = pytest.mark.ros

# red, 2 m away, at rows 4 to 11, and blue, 1 m away, below it, both at columns 6 to 15 of 32
DEPTH_M = np.full((24, 32), 2.0, np.float32)
DEPTH_M[13:] = 1.0
BEHIND = "find the red behind the blue"


@pytest.fixture(scope="module")
def shared():
    bench = Bench(max_frame_age=60.0, find_confirm=1)
    yield bench.active()
    bench.close()


@pytest.fixture
def bench(shared):
    shared.deaf()
    shared.node.engine.source.reset()
    return shared


def both(bench, query, **request):
    """The answers of the action and of the service to one request."""
    reply = bench.call(bench.segment, SegmentImage.Request(labels=[query], **request))
    return bench.find(query, **request), reply


def labels(segments):
    return [segment.label for segment in segments if segment.label]


def test_which_one_is_meant_is_told_from_depth_and_else_from_the_image(bench):
    bench.show_with_depth(DEPTH_M, picture(blue=True))
    result, reply = both(bench, BEHIND)
    assert (result.code, result.count, labels(result.segments)) == (ResultCode.FOUND, 1, ["red"])
    assert (reply.code, labels(reply.segmentation.segments)) == (ResultCode.FOUND, ["red"])
    assert list(reply.segmentation.labels) == ["red", "blue"]
    for message in (result.message, reply.message):
        assert "red behind the blue: 1 found, decided from depth" in message
    bench.node.engine.source.reset()  # else the image with depth is still the newest for a moment
    bench.show(picture(blue=True))
    for answer in both(bench, BEHIND):
        assert answer.code == ResultCode.FOUND
        assert "decided from the image" in answer.message


@pytest.mark.parametrize(
    ("query", "count", "why"),
    [
        ("the red in front of the blue", 0, "no red of 1 is in front of the blue"),
        ("the red left of the green", 0, "no green was found that the red could be left of"),
        ("two red", 1, "red: 1 found, 2 wanted"),
    ],
)
def test_what_is_not_there_says_why(bench, query, count, why):
    bench.show_with_depth(DEPTH_M, picture(blue=True))
    result, reply = both(bench, query)
    assert (result.code, result.count, labels(result.segments)) == (ResultCode.NOT_FOUND, count, [])
    assert (reply.code, labels(reply.segmentation.segments)) == (ResultCode.NOT_FOUND, [])
    assert why in result.message
    assert why in reply.message


def test_what_is_not_understood_is_said_with_the_part(bench):
    bench.show(picture(blue=True))
    for answer in both(bench, "the red left of of the"):
        assert answer.code == ResultCode.INVALID_QUERY
        assert "I read 'red left of', and then 'of the' names no thing" in answer.message


def test_restrictions_hold_for_the_answer_and_not_for_what_it_is_related_to(bench):
    bench.show_with_depth(DEPTH_M, picture(blue=True))
    upper = Restriction(region=RegionOfInterest(width=32, height=12))
    for answer in both(bench, BEHIND, where=upper):
        assert answer.code == ResultCode.FOUND
    for answer in both(bench, "the blue in front of the red", where=upper):
        assert answer.code == ResultCode.NOT_FOUND
        assert "within the limits of the request" in answer.message


def test_a_query_tells_what_is_meant_in_found(bench):
    found, everything = bench.listen(Found, "found"), bench.listen(Segmentation, "segmentation")
    bench.queries.publish(String(data=BEHIND))
    bench.until(lambda: bench.node.words.query_of(bench.node.vocabulary) == BEHIND)
    bench.show_with_depth(DEPTH_M, picture(blue=True))
    message = bench.until(lambda: found)[0]
    assert (message.query, message.code, labels(message.segments)) == (BEHIND, ResultCode.FOUND, ["red"])
    assert "decided from depth" in message.message
    assert sorted(labels(bench.until(lambda: everything)[0].segments)) == ["blue", "red"]
    bench.words("red", "blue")  # set otherwise, the words are names again
    bench.show_with_depth(DEPTH_M, picture(blue=True))
    assert sorted(labels(bench.until(lambda: len(found) == 2 and found[1]).segments)) == ["blue", "red"]
