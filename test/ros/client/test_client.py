"""The planner's client: what it says of a node that dies, is not there, is inactive or has another name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ros_bench import Bench, fresh_domain

from ovseg_ros.ros.client import LOST_S, NoAnswer, NodeClient, NodeGone
from ovseg_ros.ros.client.connection import Connection
from ovseg_ros.ros.requests.queues import ALIVE

pytestmark = pytest.mark.ros

PATIENCE_S = 200.0  # a process that loads torch, on a machine that does other things
CHILD = """
import sys, time
sys.path.insert(0, {here!r})
from ros_bench import colour_segmenter
from ovseg_ros.ros.run import main
sys.exit(main(sys.argv, lambda settings: colour_segmenter()))
"""


@pytest.fixture
def domain():
    return fresh_domain()


@pytest.fixture
def client(domain):
    with NodeClient(domain_id=domain) as client:
        yield client


@pytest.fixture
def process(domain):
    """The node with the light model, in a process that can be killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(here=str(ROOT / "test" / "fixtures"))],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
    )
    yield process
    process.kill()
    process.wait(PATIENCE_S)


@pytest.fixture
def make_bench():
    made = []

    def make(**parameters):
        made.append(Bench(**parameters))
        return made[-1], NodeClient(domain_id=made[-1].context.get_domain_id())

    yield make
    for bench in made:
        bench.close()


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_the_sign_of_life_is_awaited_for_less_than_two_seconds():
    assert ALIVE.liveliness_lease_duration.nanoseconds * 1e-9 + LOST_S + 0.1 < 2.0


def test_a_killed_node_is_gone(client, domain, process):
    """No image ever comes: who asks waits, and is told although the graph still has the node."""
    with NodeClient(domain_id=domain) as other, ThreadPoolExecutor() as pool:
        until(lambda: all(one.is_active() and one._connection.seen for one in (client, other)))
        waiting = (
            pool.submit(client.find, "red", timeout_s=600.0),
            pool.submit(other.ask_by_topic, "red", timeout_s=600.0),
        )
        time.sleep(1.0)
        assert not any(asked.done() for asked in waiting)
        process.kill()
        for asked in waiting:
            with pytest.raises(NodeGone, match="/ovseg is gone"):
                asked.result()
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
    with pytest.raises(NodeGone):  # at once
        client.ask_by_services(["red"], timeout_s=600.0)
    assert not client.is_active()


def test_a_node_that_is_not_there(client, domain):
    with pytest.raises(NoAnswer, match=rf"no node /ovseg in domain {domain}; is it started") as told:
        client.find("red", timeout_s=0.0, patience_s=0.3)
    assert not isinstance(told.value, NodeGone)
    assert client.state() == ""
    assert not client.is_active()


def test_a_node_of_another_name(make_bench):
    bench, client = make_bench()
    bench.active()
    client.close()
    with NodeClient(domain_id=bench.context.get_domain_id(), node_name="/robot/ovseg") as client:
        until(lambda: "/ovseg/segment" in dict(client._connection.node.get_service_names_and_types()))
        with pytest.raises(NoAnswer, match=r"no node /robot/ovseg .* there is /ovseg: say so with node_name"):
            client.ask_by_services(["red"], timeout_s=0.3)


def test_a_goal_whose_answer_was_lost_is_sent_again(make_bench, monkeypatch):
    result, lost = Connection.result, []

    def lose(self, future, timeout_s, **more):
        if future is not None and not more.get("give_up", True) and not lost:
            lost.append(future)
            return None
        return result(self, future, timeout_s, **more)

    monkeypatch.setattr(Connection, "result", lose)
    bench, client = make_bench()
    bench.active()
    bench.show()
    with client:
        assert client.find("red", timeout_s=0.0).code_name == "FOUND"
    assert len(lost) == 1


def test_an_inactive_node_says_so_through_every_interface(make_bench):
    bench, client = make_bench(autostart=False)
    with client:
        assert bench.transition("configure")
        until(lambda: client.state() == "inactive")
        assert client.ask_by_services(["red"]).code_name == "INACTIVE"
        assert client.find("red", timeout_s=0.0).code_name == "INACTIVE"
        with pytest.raises(NoAnswer, match="the node is inactive, not active"):
            client.ask_by_topic("red", timeout_s=0.5)


def test_a_node_that_comes_back_is_there_again(make_bench):
    bench, client = make_bench()
    with client:
        until(lambda: client._connection.seen)
        publisher = next(p for p in bench.node.publishers if p.topic_name == "/ovseg/alive")
        bench.node.destroy_publisher(publisher)
        until(client.is_gone)
        bench.node.create_publisher(publisher.msg_type, "/ovseg/alive", ALIVE)
        until(lambda: not client.is_gone())
