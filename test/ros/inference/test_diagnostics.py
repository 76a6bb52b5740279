"""What /diagnostics says in each state, and which frames count as dropped."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ros_bench import Bench, picture

from ovseg_ros.ros.inference.diagnostics import facts, verdict

pytestmark = pytest.mark.ros


@pytest.fixture
def bench():
    bench = Bench(max_frame_age=600.0, autostart=False)
    yield bench
    bench.close()


def test_each_healthy_state_has_its_own_words(bench):
    node = bench.node
    assert verdict(node) == ("OK", "not active")
    assert bench.transition("configure")
    assert verdict(node) == ("OK", "not active")
    assert bench.transition("activate")
    bench.active().show()
    assert verdict(node) == ("OK", "idle: nobody subscribes")
    bench.segmentations()
    assert verdict(node) == ("OK", "idle: the vocabulary is empty")
    bench.words("red")
    assert verdict(node) == ("OK", "running")
    bench.deaf()
    assert verdict(node) == ("OK", "idle: nobody subscribes")
    search = bench.begin_find("blue", timeout=600.0)
    bench.until(lambda: verdict(node) == ("OK", "running"), "for the search to begin")
    assert bench.transition("deactivate")
    bench.result_of(search)
    assert verdict(node) == ("OK", "not active")


def test_frames_are_dropped_only_where_somebody_wanted_them(bench):
    assert bench.transition("configure")
    assert bench.transition("activate")
    bench.active()
    bench.words("red")
    for _ in range(4):
        bench.show()
    counted = facts(bench.node)
    assert (counted["dropped"], counted["unwanted"]) == (0, 3)
    received = bench.segmentations()
    bench.show()
    bench.until(lambda: received)
    before = facts(bench.node)
    bench.proposer.gate.clear()
    for _ in range(4):
        bench.show(picture(blue=True))
    bench.proposer.gate.set()
    after = facts(bench.node)
    assert after["unwanted"] == before["unwanted"]
    assert after["dropped"] - before["dropped"] in (2, 3)  # the first may be in the model by then
