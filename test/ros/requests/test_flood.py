"""Every request is answered, however many come at once: the node's side throws none away.

A client's own queues are the client's: ROS's default holds ten calls that are not sent yet and ten answers
that its executor has not taken yet, and loses the oldest of more. Who has more than ten calls under way
has to ask for deeper ones, as these do.
"""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import rclpy
from ovseg_ros.action import FindObject
from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import SegmentImage, SetVocabulary
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.qos import QoSProfile, qos_profile_services_default
from ros_bench import PATIENCE_S, Bench

from ovseg_ros.ros.requests.queues import SERVICES

pytestmark = pytest.mark.ros


RCLError = rclpy_implementation.RCLError
ROS_DEPTH = qos_profile_services_default.depth  # 10
REPLIES = [
    f"rr/ovseg/{name}Reply"
    for name in (
        "segment",
        "set_vocabulary",
        "find_object/_action/send_goal",
        "find_object/_action/get_result",
    )
]


class Planner:
    """A client of its own, as a stranger's program is one: own context, queues of a depth of its own."""

    def __init__(self, domain, number, depth):
        qos = QoSProfile(depth=depth)  # else as ROS's own for services: reliable, volatile
        self.context = Context()
        rclpy.init(args=[], context=self.context, domain_id=domain)
        self.node = rclpy.create_node(f"planner_{number}", context=self.context)
        self.segment = self.node.create_client(SegmentImage, "/ovseg/segment", qos_profile=qos)
        self.set_vocabulary = self.node.create_client(SetVocabulary, "/ovseg/set_vocabulary", qos_profile=qos)
        self.finder = ActionClient(
            self.node,
            FindObject,
            "/ovseg/find_object",
            goal_service_qos_profile=qos,
            result_service_qos_profile=qos,
        )
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.asleep = threading.Event()  # set: answers are not taken
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()
        for client in (self.segment, self.set_vocabulary):
            assert client.wait_for_service(PATIENCE_S)
        assert self.finder.wait_for_server(PATIENCE_S)

    def _spin(self):
        with contextlib.suppress(ExternalShutdownException, RCLError):  # the context was taken away
            while self.context.ok():
                if self.asleep.is_set():
                    time.sleep(0.01)
                else:
                    self.executor.spin_once(0.1)

    def goals(self, count):
        """Goals sent on the executor's thread: rclpy notes a goal after sending it."""
        futures = [self.executor.create_task(lambda: self._goal()) for _ in range(count)]
        return _results(_results(futures), "goals")

    def _goal(self):
        goal = FindObject.Goal(query="red")
        goal.timeout.sec = 60
        return self.finder.send_goal_async(goal)

    def results(self, handles):
        futures = [self.executor.create_task(handle.get_result_async) for handle in handles]
        return _results(_results(futures), "results")

    def close(self):
        self.context.try_shutdown()
        self.thread.join(PATIENCE_S)
        self.node.destroy_node()


def _results(futures, what="calls", patience_s=PATIENCE_S):
    """What futures give, in order; fails with how many were answered."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and not all(future.done() for future in futures):
        time.sleep(0.01)
    done = sum(future.done() for future in futures)
    assert done == len(futures), f"{done} of {len(futures)} {what} answered"
    return [future.result() for future in futures]


@pytest.fixture
def make_bench():
    made = []

    def make(planners=1, depth=200, **parameters):
        bench = Bench(**{"max_frame_age": 600.0, "max_pending": 8, **parameters}).active()
        crowd = []
        made.append((bench, crowd))
        crowd += [Planner(bench.context.get_domain_id(), n, depth) for n in range(planners)]
        # A client calls its server ready before the node knows of the client, and throws replies to it away.
        bench.until(lambda: _least_readers(bench) > planners, "for the node to see its clients")
        return bench, crowd

    yield make
    for bench, crowd in made:
        for planner in crowd:
            planner.close()
        bench.close()


def _least_readers(bench):
    """Number of clients, the bench's own too, whose readers of every kind of reply the node has seen."""
    find = bench.node.get_subscriptions_info_by_topic
    return min(len(find(topic, no_mangle=True)) for topic in REPLIES)


def busy(bench):
    """Has the model at work on an image until its gate opens."""
    bench.proposer.gate.clear()
    bench.show()
    held = bench.segment.call_async(SegmentImage.Request(labels=["red"]))
    bench.until(lambda: bench.proposer.frames, "for the model to be at work")
    return held


def test_queues_are_deeper_than_all_that_max_pending_may_ever_be():
    assert SERVICES.depth >= 10 * 100


@pytest.mark.parametrize(("each", "planners"), [(12, 1), (28, 1), (40, 4)])
def test_every_segment_call_is_answered_while_the_model_is_at_work(make_bench, each, planners):
    """12 at once; max_pending + 20; 160 by four programs."""
    bench, crowd = make_bench(planners)
    held = busy(bench)
    futures = [
        planner.segment.call_async(SegmentImage.Request(labels=["red"]))
        for _ in range(each)
        for planner in crowd
    ]
    total = each * planners
    bench.until(lambda: sum(f.done() for f in futures) == total - 8, f"for BUSY: {total - 8} of {total}")
    assert {f.result().code for f in futures if f.done()} == {ResultCode.BUSY}
    bench.proposer.gate.set()
    codes = [reply.code for reply in _results(futures)]
    assert codes.count(ResultCode.FOUND) == 8
    assert codes.count(ResultCode.BUSY) == total - 8
    bench.until(held.done)


def test_twelve_calls_of_a_client_with_ros_own_queues_are_answered(make_bench):
    """Each is sent when the node has the one before it; sent in one go they may be lost before they leave."""
    bench, (planner,) = make_bench(depth=ROS_DEPTH)
    held = busy(bench)
    futures = []
    for number in range(12):
        futures.append(planner.segment.call_async(SegmentImage.Request(labels=["red"])))
        bench.until(
            lambda sent=number + 1: bench.node.pending + sum(f.done() for f in futures) == sent,
            f"for the node to have {number + 1} requests",
        )
    bench.proposer.gate.set()
    codes = [reply.code for reply in _results(futures)]
    assert (codes.count(ResultCode.FOUND), codes.count(ResultCode.BUSY)) == (8, 4)
    bench.until(held.done)


@pytest.mark.parametrize(("depth", "taken"), [(ROS_DEPTH, ROS_DEPTH), (200, 28)])
def test_of_answers_that_a_client_is_late_to_take_its_own_queue_keeps_the_last(make_bench, depth, taken):
    """What docs/interfaces.md says of clients: the node answers all, and the client's side throws away."""
    bench, (planner,) = make_bench(depth=depth)
    planner.asleep.set()
    time.sleep(0.2)  # the executor's present look for work ends
    futures = []
    for number in range(28):
        request = SetVocabulary.Request(operation=SetVocabulary.Request.ADD, labels=[f"thing {number}"])
        futures.append(planner.set_vocabulary.call_async(request))
        bench.until(lambda made=number + 1: len(bench.node.vocabulary) == made, "for the change")
    time.sleep(0.5)  # the last answers arrive
    planner.asleep.clear()
    bench.until(lambda: sum(future.done() for future in futures) == taken, f"for {taken} answers")
    time.sleep(0.3)
    assert [future.done() for future in futures] == [False] * (28 - taken) + [True] * taken


def test_every_goal_is_answered(make_bench):
    """8 searches run, 32 goals of four programs hear BUSY."""
    bench, crowd = make_bench(4, find_confirm=1)
    bench.proposer.gate.clear()
    handles = [planner.goals(10) for planner in crowd]
    assert all(handle.accepted for row in handles for handle in row)
    bench.proposer.gate.set()
    ended = [crowd[n].results(handles[n]) for n in range(1, 4)]  # the first planner's may still search
    bench.show()
    ended.append(crowd[0].results(handles[0]))
    codes = [one.result.code for row in ended for one in row]
    assert codes.count(ResultCode.BUSY) == 32, codes
    assert len(codes) == 40


def test_max_pending_raised_while_it_runs_is_kept(make_bench):
    bench, (planner,) = make_bench()
    assert bench.set(max_pending=100).successful
    held = busy(bench)
    futures = [planner.segment.call_async(SegmentImage.Request(labels=["red"])) for _ in range(110)]
    bench.until(lambda: sum(f.done() for f in futures) == 10, "for 10 to hear BUSY")
    bench.proposer.gate.set()
    codes = [reply.code for reply in _results(futures)]
    assert codes.count(ResultCode.FOUND) == 100
    bench.until(held.done)


def test_every_change_of_the_vocabulary_is_answered(make_bench):
    bench, crowd = make_bench(2)
    futures = [
        planner.set_vocabulary.call_async(SetVocabulary.Request(operation=1, labels=[f"thing {n}"]))
        for n in range(20)
        for planner in crowd
    ]
    assert all(reply.success for reply in _results(futures))
    assert len(bench.node.vocabulary) == 20
