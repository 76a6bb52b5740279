"""Cleanup lets go of the model: nothing refers to it any more, and its memory goes back to the system."""

from __future__ import annotations

import gc
import weakref

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import numpy as np
import ros_bench
from ovseg_ros.msg import ResultCode, Segmentation
from ovseg_ros.srv import SegmentImage
from ros_bench import Bench, camera_info_message, colour_segmenter

from ovseg_ros.ros.inference.diagnostics import resident_bytes
from ovseg_ros.ros.inference.loading import load_segmenter

pytestmark = pytest.mark.ros
CYCLES, ALLOWED_BYTES = 10, 40 << 20


@pytest.fixture
def make_bench():
    made = []

    def make(make_segmenter, **parameters):
        known = []

        def remembered(settings):
            segmenter = make_segmenter(settings)
            known.append(weakref.ref(segmenter))
            return segmenter

        made.append(Bench(remembered, **{"autostart": False, "max_frame_age": 600.0, **parameters}))
        made[-1].segmenter = None
        return made[-1], known

    yield make
    for bench in made:
        bench.segmenter = colour_segmenter()  # close() opens its gate
        bench.close()


def look_once(bench, pixels, depth=None):
    """Everything that may keep a frame or the model: the stream, a service, a search that is under way."""
    received = bench.listen(Segmentation, "segmentation")
    if depth is None:
        bench.show(pixels)
    else:
        bench.show_with_depth(depth, pixels, info=camera_info_message(*depth.shape, 300.0))
    bench.until(lambda: received, "for a frame")
    assert bench.call(bench.segment, SegmentImage.Request(labels=["mug"])).code in (0, 1)
    return bench.begin_find("zebra", timeout=600.0)


def cycle(bench, pixels, depth=None):
    assert bench.transition("configure")
    assert bench.transition("activate")
    search = look_once(bench.active(), pixels, depth)
    assert bench.transition("deactivate")
    assert bench.transition("cleanup")
    assert bench.result_of(search)[0].code == ResultCode.INACTIVE
    bench.until(lambda: not bench.node._holds_memory, "for memory to be given back")


def test_nothing_refers_to_the_model_after_cleanup(make_bench):
    bench, known = make_bench(lambda settings: colour_segmenter(), vocabulary=["red"])
    for _ in range(2):
        cycle(bench, ros_bench.picture())
    gc.collect()
    assert [ref() for ref in known] == [None, None]


def test_nothing_refers_to_a_model_that_failed(make_bench):
    def make_segmenter(settings):
        segmenter = colour_segmenter()
        segmenter.proposer.error = RuntimeError("in mid-frame")
        return segmenter

    bench, known = make_bench(make_segmenter, vocabulary=["red"])
    assert bench.transition("configure")
    assert bench.transition("activate")
    bench.active().show()
    assert bench.find("red").code == ResultCode.INTERNAL
    assert bench.transition("deactivate")
    assert bench.transition("cleanup")
    bench.until(lambda: not bench.node._holds_memory, "for memory to be given back")
    gc.collect()
    assert known[0]() is None


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("preset", ["mini", "lite"])
def test_memory_after_many_cycles_is_what_it_was_after_two(make_bench, monkeypatch, preset):
    monkeypatch.setattr(ros_bench, "PATIENCE_S", 300.0)
    bench, known = make_bench(load_segmenter, preset=preset, vocabulary=["mug"])
    random = np.random.default_rng(15)
    pixels = random.integers(0, 255, (240, 320, 3)).astype(np.uint8)
    depth = random.uniform(0.5, 1.5, (240, 320)).astype(np.float32) if preset == "mini" else None
    after = []
    for _ in range(CYCLES):
        cycle(bench, pixels, depth)
        after.append(resident_bytes())
        print([size >> 20 for size in after], flush=True)
    assert all(ref() is None for ref in known)
    assert after[-1] - after[1] < ALLOWED_BYTES, [size >> 20 for size in after]
