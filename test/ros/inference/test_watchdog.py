"""A model that does not return, and one that orders the interpreter to end: the node lives and says so."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import EmbedText, SegmentImage
from ros_bench import Bench

from ovseg_ros.ros.inference.watchdog import Watchdog
from ovseg_ros.ros.inference.worker import ModelExit, Worker
from ovseg_ros.ros.requests.answers import Overdue

pytestmark = pytest.mark.ros


@pytest.fixture
def make_bench():
    made = []

    def make(**parameters):
        made.append(Bench(**{"max_frame_age": 600.0, "vocabulary": "red", **parameters}))
        return made[-1].active()

    yield make
    for bench in made:
        bench.close()


class Log(list):
    def error(self, text):
        self.append(text)

    warning = error


def test_who_waits_is_told_and_the_thread_goes_on_when_the_model_returns():
    gate, log, limit = threading.Event(), Log(), [0.0]
    worker = Worker(print)
    watchdog = Watchdog(worker, lambda: limit[0], log)
    worker.start()
    first = worker.submit(lambda: gate.wait(30), max_pending=9)
    while not worker.busy_s:
        time.sleep(0.001)
    second = worker.submit(lambda: None, max_pending=9)
    watchdog.look()
    assert watchdog.error() is None  # 0: it may take any time
    assert log == []
    limit[0] = 0.01
    time.sleep(0.02)
    for _ in range(2):
        watchdog.look()
    for future in (first, second):
        with pytest.raises(Overdue, match=r"max_inference_time is 0\.01 s"):
            future.result(5)
    assert len(log) == 1
    assert "gate.wait(30)" in log[0]  # where it stands
    limit[0] = 60.0
    gate.set()
    assert worker.submit(lambda: "alive", max_pending=9).result(5) == "alive"
    watchdog.look()
    assert watchdog.error() is None
    assert "returned" in log[1]
    assert worker.stop(5)


def test_a_hanging_model_is_an_error_and_internal_until_it_returns(make_bench):
    bench = make_bench()
    said = []
    bench.client.create_subscription(DiagnosticArray, "/diagnostics", lambda m: said.append(m.status[0]), 10)
    bench.proposer.gate.clear()
    bench.show()
    ask = SegmentImage.Request(labels=["red"])
    waiting = [bench.segment.call_async(ask) for _ in range(3)]
    search = bench.begin_find("red", timeout=600.0)
    bench.until(lambda: bench.proposer.frames, "for the model to be at work")
    assert bench.set(max_inference_time=0.3).successful
    for future in waiting:
        bench.until(future.done, "for those who waited")
        assert future.result().code == ResultCode.INTERNAL
        assert "max_inference_time is 0.3 s" in future.result().message
    assert bench.result_of(search)[0].code == ResultCode.INTERNAL
    assert bench.call(bench.segment, ask).code == ResultCode.INTERNAL  # at once, though it hangs still
    assert bench.call(bench.embed_text, EmbedText.Request(labels=["red"])).code == ResultCode.INTERNAL
    assert bench.find("red", timeout=600.0).code == ResultCode.INTERNAL
    bench.until(
        lambda: any(s.level == DiagnosticStatus.ERROR and "has not returned" in s.message for s in said),
        "for diagnostics to say it",
    )
    assert bench.set(max_inference_time=60.0).successful  # this test runs on slow machines too
    bench.proposer.gate.set()
    bench.until(lambda: not bench.node._worker.busy_s, "for the model to return")
    assert bench.call(bench.segment, ask).code == ResultCode.FOUND
    bench.until(lambda: said[-1].level != DiagnosticStatus.ERROR, "for diagnostics to be well again")


def test_a_hanging_stream_is_noticed_without_a_request_and_cleanup_mends_it(make_bench):
    bench = make_bench()
    bench.segmentations()
    bench.proposer.gate.clear()
    bench.show()
    bench.until(lambda: bench.proposer.frames, "for the model to be at work")
    assert bench.set(max_inference_time=0.2).successful
    bench.until(bench.node.overdue, "for the watchdog")
    bench.node.close(0.1)
    assert bench.node.overdue() is None
    bench.proposer.gate.set()


@pytest.mark.parametrize("order", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_the_thread_outlives_what_a_model_raises(make_bench, order):
    bench = make_bench()
    results = bench.segmentations()
    bench.proposer.error = order("from a model")
    bench.show()
    bench.until(lambda: bench.node.statistics.counts().get("failed"), "for the lost frame to be counted")
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"]))
    assert reply.code == ResultCode.INTERNAL
    assert order.__name__ in reply.message
    assert bench.find("red").code == ResultCode.INTERNAL
    bench.proposer.error = None
    bench.show()
    bench.until(lambda: results, "for the next frame")
    assert bench.node._worker.thread.is_alive()


def test_a_model_that_exits_while_it_is_loaded_fails_to_configure():
    def make_segmenter(settings):
        raise SystemExit(3)

    bench = Bench(make_segmenter, autostart=False)
    try:
        assert not bench.transition("configure")
        assert not bench.transition("configure")
    finally:
        bench.close()


def test_errors_of_those_who_report_do_not_end_the_thread():
    worker = Worker(lambda error: 1 / 0, lambda: 1 / 0)
    worker.start()
    with pytest.raises(ModelExit):
        worker.submit(lambda: exit(1), max_pending=9).result(5)
    assert worker.submit(lambda: "alive", max_pending=9).result(5) == "alive"
    assert worker.stop(5)
