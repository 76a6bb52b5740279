"""The inference thread: order, alternation, bounds, survival and its end."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.msg import ResultCode

from ovseg_ros.ros.inference.worker import Worker
from ovseg_ros.ros.requests.answers import RequestError

pytestmark = pytest.mark.ros


class Desk:
    def __init__(self, step=lambda: None):
        self.errors, self.steps = [], 0
        self.stepped = threading.Event()
        self._step = step
        self.worker = Worker(self.errors.append, self.step)

    def step(self):
        self.steps += 1
        self.stepped.set()
        return self._step()


def test_jobs_run_in_order_with_a_step_between():
    log = []
    desk = Desk(lambda: log.append("step"))
    futures = [desk.worker.submit(lambda i=i: log.append(i) or i, max_pending=9) for i in range(3)]
    desk.worker.start()
    assert [future.result(5) for future in futures] == [0, 1, 2]
    assert desk.worker.stop(5)
    assert [entry for entry in log if entry != "step"] == [0, 1, 2]
    assert log[1] == log[3] == "step"


def test_an_exception_in_the_step_is_told_and_survived():
    desk = Desk(lambda: 1 / 0 if desk.steps == 1 else None)
    desk.worker.start()
    assert desk.stepped.wait(5)
    bad = desk.worker.submit(lambda: 1 / 0, max_pending=9)
    with pytest.raises(ZeroDivisionError):
        bad.result(5)
    assert desk.worker.submit(lambda: "alive", max_pending=9).result(5) == "alive"
    assert [type(error) for error in desk.errors] == [ZeroDivisionError]  # the step's; the job's is its own
    assert desk.worker.stop(5)


def test_wake_calls_the_step_and_a_delay_calls_it_again():
    delays = iter([None, 0.01])
    desk = Desk(lambda: next(delays, None))
    desk.worker.start()
    assert desk.stepped.wait(5)
    desk.stepped.clear()
    desk.worker.wake()
    assert desk.stepped.wait(5)
    desk.stepped.clear()
    assert desk.stepped.wait(5)  # by itself, after the delay
    assert desk.worker.stop(5)


def test_stop_refuses_what_waits_and_does_not_wait_for_ever():
    gate, running = threading.Event(), threading.Event()
    desk = Desk()
    desk.worker.start()
    first = desk.worker.submit(lambda: running.set() or gate.wait(10), max_pending=9)
    assert running.wait(5)
    second = desk.worker.submit(lambda: None, max_pending=1)
    with pytest.raises(RequestError) as refused:
        desk.worker.submit(lambda: None, max_pending=1)
    assert refused.value.code == ResultCode.BUSY
    assert desk.worker.pending == 1
    assert not desk.worker.stop(0.05)  # in mid-inference
    with pytest.raises(RequestError) as refused:
        second.result(5)
    assert refused.value.code == ResultCode.INACTIVE
    with pytest.raises(RequestError):
        desk.worker.submit(lambda: None, max_pending=9)
    with pytest.raises(RequestError) as refused:  # whoever waits for the job at work is answered too
        first.result(5)
    assert refused.value.code == ResultCode.INACTIVE
    gate.set()
    assert desk.worker.stop(5)
