"""How old an image is: by its stamp where that can tell, else by its arrival, and always with the reason."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.ros.inference.age import Freshness, age_of
from ovseg_ros.ros.io.frame_source import FrameSource

pytestmark = pytest.mark.ros
S = 10**9
NOW = 1_700_000_000 * S


def age(stamp_ns, arrived_s=2.0, now_ns=NOW, *, simulated=False):
    return age_of(stamp_ns, arrived_s, now_ns, tolerance_s=0.5, simulated=simulated)


@pytest.mark.parametrize(
    ("stamp_ns", "arrived_s", "seconds"),
    [
        (NOW - 3 * S, 2.0, 3.0),  # a second under way
        (NOW, 2.0, 2.0),  # the clock was set back, or the camera's goes ahead a little
        (NOW + S // 2, 2.0, 2.0),
        (12_345 * S, 2.0, 1_700_000_000 - 12_345),  # stamped by the driver's uptime
    ],
)
def test_by_the_stamp_and_never_younger_than_the_arrival(stamp_ns, arrived_s, seconds):
    told = age(stamp_ns, arrived_s)
    assert told.seconds == pytest.approx(seconds)
    assert told.since_arrival_s == arrived_s
    assert not told.doubt


@pytest.mark.parametrize(
    ("stamp_ns", "now_ns", "simulated", "words"),
    [
        (NOW + 3600 * S, NOW, False, "3600.00 s ahead of the node's clock"),
        (NOW + 51 * S // 100, NOW, False, "0.51 s ahead"),
        (0, NOW, False, "stamp is 0"),
        (NOW, 0, True, "nothing has come on /clock"),
        (0, 0, True, "nothing has come on /clock"),
        (NOW, 40 * S, True, "ahead of the node's clock"),  # a real camera beside a simulation
    ],
)
def test_by_the_arrival_where_the_stamp_cannot_tell(stamp_ns, now_ns, simulated, words):
    told = age(stamp_ns, 7.0, now_ns, simulated=simulated)
    assert told.seconds == 7.0
    assert words in told.doubt
    assert "counted from its arrival" in told.doubt


def test_simulated_time_may_stand():
    assert age(40 * S, 1000.0, 41 * S, simulated=True).seconds == pytest.approx(1.0)
    assert age(40 * S, 1000.0, 40 * S, simulated=True).seconds == 0.0
    assert age(40 * S + S // 4, 1000.0, 40 * S, simulated=True).seconds == 0.0  # within the tolerance


@pytest.mark.parametrize("ahead_s", [0.0, 0.4, 3600.0, None])
def test_a_camera_that_died_grows_old_whatever_its_clock(ahead_s):
    bench = SimpleNamespace(steady=100.0, wall=1_700_000_000.0)
    source = FrameSource(
        sync_tolerance_s=0.02, depth_wait_s=0.2, on_images=lambda: None, clock=lambda: bench.steady
    )
    settings = SimpleNamespace(max_frame_age=1.0, stamp_tolerance=0.5)
    freshness = Freshness(source, lambda: settings, lambda: int(bench.wall * S), lambda: False)
    sec = 0 if ahead_s is None else int(bench.wall)
    nanosec = int((ahead_s or 0) % 1 * S)
    stamp = SimpleNamespace(sec=sec + int(ahead_s or 0), nanosec=nanosec)
    source.add_image(SimpleNamespace(header=SimpleNamespace(stamp=stamp)))
    images = source.newest()
    taken = images.image.header, images.arrival_s
    bench.steady, bench.wall = 100.9, bench.wall + 0.9
    assert not freshness.stale(*taken)
    bench.steady, bench.wall = 101.1, bench.wall + 0.2
    said = freshness.stale(*taken)
    assert "is the camera alive?" in said
    assert "1.10 s old, max_frame_age is 1 s" in said
    settings.max_frame_age = 0.0
    assert not freshness.stale(*taken)


def test_an_image_that_came_just_now_with_an_old_stamp_is_told_from_a_camera_that_died():
    source = FrameSource(sync_tolerance_s=0.02, depth_wait_s=0.2, on_images=lambda: None, clock=lambda: 5.0)
    settings = SimpleNamespace(max_frame_age=1.0, stamp_tolerance=0.5)
    freshness = Freshness(source, lambda: settings, lambda: NOW, lambda: False)
    header = SimpleNamespace(stamp=SimpleNamespace(sec=12_345, nanosec=0))
    said = freshness.stale(header, 4.9)
    assert "it came 0.10 s ago" in said
    assert "two" in said
    assert "alive" not in said
    assert freshness.latency_s(header) == pytest.approx(NOW / S - 12_345)
    for sec in (0, NOW // S + 10):
        header.stamp.sec = sec
        assert freshness.latency_s(header) is None
