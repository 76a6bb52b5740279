"""A camera that died is never FOUND in, whatever its stamps and the node's clock say; over real DDS."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import SegmentImage
from rclpy.time import Time
from ros_bench import Bench, image_message, picture

from ovseg_ros.ros.inference.diagnostics import facts, verdict

pytestmark = pytest.mark.ros
LIMIT_S = 60.0

STAMPS = {
    "on time": (lambda bench: bench.now(), {}, ""),
    "a little ahead": (lambda bench: bench.now(0.3), {"stamp_tolerance": 5.0}, ""),
    "an hour ahead": (lambda bench: bench.now(3600.0), {}, "ahead of the node's clock"),
    "none": (lambda bench: Time().to_msg(), {}, "stamp is 0"),
    "no clock": (lambda bench: Time(seconds=1_700_000_000).to_msg(), {"use_sim_time": True}, "/clock"),
    "no clock, no stamp": (lambda bench: Time().to_msg(), {"use_sim_time": True}, "/clock"),
}


@pytest.mark.parametrize(("stamp", "parameters", "doubt"), STAMPS.values(), ids=STAMPS)
def test_a_camera_that_died_is_stale(stamp, parameters, doubt):
    bench = Bench(max_frame_age=LIMIT_S, vocabulary="red", **parameters)
    try:
        bench.active()
        clock = [100.0]  # the steady one, by which arrivals are counted
        bench.node.engine.source._clock = lambda: clock[0]
        bench.send(image_message(picture(), stamp=stamp(bench)))
        assert bench.find("red").code == ResultCode.FOUND
        assert bench.call(bench.segment, SegmentImage.Request()).code == ResultCode.FOUND
        level, message = verdict(bench.node)
        assert level == ("WARN" if doubt else "OK")
        assert doubt in message
        bench.send(image_message(picture(), stamp=stamp(bench)))  # nobody looks at it
        clock[0] += LIMIT_S + 1
        result = bench.find("red", timeout=0.1)
        assert (result.code, len(result.segments)) == (ResultCode.STALE_IMAGE, 0)
        assert "is the camera alive?" in result.message
        assert "image on /image (1 publisher): the last came 61 s ago" in result.message
        assert "image on /image (1 publisher): the last came 61 s ago" in verdict(bench.node)[1]
        assert doubt in result.message
        assert bench.call(bench.segment, SegmentImage.Request()).code == ResultCode.STALE_IMAGE
        stale = bench.node.statistics.counts()["stale"]
        received = bench.segmentations()
        bench.node._worker.wake()
        bench.until(lambda: bench.node.statistics.counts()["stale"] > stale)
        assert not received
        assert verdict(bench.node)[0] == "WARN"
        assert float(facts(bench.node)["frame_age_s"]) >= LIMIT_S
        bench.send(image_message(picture(), stamp=stamp(bench)))  # it is back
        assert bench.find("red").code == ResultCode.FOUND
        latency_s = bench.until(lambda: received)[0].latency_s
        assert latency_s == -1 or 0 <= latency_s < LIMIT_S
    finally:
        bench.close()


def test_stamps_of_the_uptime_are_refused_as_another_clock():
    bench = Bench(max_frame_age=LIMIT_S, vocabulary="red")
    try:
        bench.active().send(image_message(picture(), stamp=Time(seconds=12_345).to_msg()))
        result = bench.find("red", timeout=0.1)
        assert result.code == ResultCode.STALE_IMAGE
        assert "two" in result.message
        assert "alive" not in result.message
    finally:
        bench.close()
