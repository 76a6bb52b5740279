"""Searches and followings: what goes out, what comes back, and that nothing of them stays behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import rclpy
from fake_answers import FakeNode, header, sighting
from ovseg_ros.action import FollowObject
from ovseg_ros.msg import ResultCode
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros_bench import fresh_domain
from sensor_msgs.msg import Image

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.ros.client import Limits, NoAnswer, NodeClient

pytestmark = pytest.mark.ros

PATIENCE_S = 60.0
SEARCHING, FOLLOWING, HIDDEN = range(3)


@pytest.fixture
def domain():
    return fresh_domain()


@pytest.fixture
def node(domain):
    with FakeNode(domain) as node:
        yield node


@pytest.fixture
def client(node, domain):
    with NodeClient(domain_id=domain) as client:
        client.wait_for_node(PATIENCE_S)
        yield client


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def waiting(client):
    """What rclpy still keeps for answers to come."""
    kept = 0
    for action in (client._find, client._follow):
        if action is not None:
            kept += len(action._pending_goal_requests) + len(action._pending_result_requests)
            kept += len(action._feedback_callbacks) + len(action._futures)
    return kept + sum(len(one._pending_requests) for one in (client._segment, client._set_vocabulary))


def test_every_limit_reaches_the_node(client, node):
    reply = client.find(
        "the mug left of the teapot",
        camera="front",
        threshold=0.5,
        max_results=3,
        want_3d=True,
        timeout_s=2.5,
        target_frame="base_link",
        where=Limits(distance_m=(0.25, 2.0)),
        with_masks=True,
        with_points=True,
    )
    (goal,) = node.goals
    assert (goal.query, goal.camera) == ("the mug left of the teapot", "front")
    assert (goal.threshold, goal.max_results, goal.want_3d, goal.target_frame) == (0.5, 3, True, "base_link")
    assert (goal.timeout.sec, goal.timeout.nanosec) == (2, 500_000_000)
    assert (goal.where.min_distance_m, goal.where.max_distance_m) == (0.25, 2.0)
    assert (goal.with_masks, goal.with_points) == (True, True)
    assert reply.found
    assert reply.best.place.distance_m == pytest.approx(0.634)
    client.find("teapot")
    assert (node.goals[1].with_masks, node.goals[1].max_results, node.goals[1].target_frame) == (False, 0, "")


def test_a_search_tells_how_far_it_is_and_can_be_cancelled(client, node):
    node.hold = True
    search = client.begin_find("teapot", timeout_s=600.0)
    assert not search.done()
    until(lambda: search.progress)
    assert (search.progress.stage, search.progress.frames_seen) == ("SEARCHING", 4)
    assert search.progress.best_score == pytest.approx(0.25)
    search.cancel()
    assert search.result().code_name == "FOUND"
    assert search.done()
    assert node.cancelled == 1
    assert search.result() is search.result()
    until(lambda: waiting(client) == 0)


def test_a_search_that_nobody_waits_for_any_more_is_cancelled(client, node):
    node.hold = True
    search = client.begin_find("teapot", timeout_s=600.0)
    with pytest.raises(NoAnswer, match=r"~/find_object did not end in 0.2 s"):
        search.result(0.2)
    until(lambda: node.cancelled == 1)
    until(lambda: waiting(client) == 0)


def test_an_interrupted_search_is_cancelled(client, node, monkeypatch):
    node.hold = True

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(client._connection, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        client.find("teapot", timeout_s=600.0)
    until(lambda: node.cancelled == 1)


def test_a_search_that_is_forgotten_is_cancelled(client, node):
    node.hold = True
    client.begin_find("teapot", timeout_s=600.0)
    gc.collect()
    until(lambda: node.cancelled == 1)
    until(lambda: waiting(client) == 0)


def test_closing_cancels_what_goes_on(client, node):
    node.hold = True
    search = client.begin_find("teapot", timeout_s=600.0)
    client.close()
    until(lambda: node.cancelled == 1)
    assert search is not None
    with pytest.raises(NoAnswer, match="this client is closed"):
        client.find("teapot", patience_s=0.2)
    client.close()


def test_a_thing_is_followed_until_it_is_lost(client, node):
    node.sightings = [sighting(SEARCHING), sighting(FOLLOWING), sighting(HIDDEN, seconds=8, age_s=1.5)]
    with client.follow("teapot", target_frame="base_link", lost_after_s=3.0) as following:
        seen = list(following)
    assert [one.stage for one in seen] == ["SEARCHING", "FOLLOWING", "HIDDEN"]
    assert seen[0].segment is None
    assert seen[1].segment.place.frame == seen[1].frame_3d == "base_link"
    assert (seen[2].age_s, seen[2].stamp_ns, seen[2].frames, seen[2].frames_seen) == (1.5, 8 * 10**9, 9, 5)
    reply = following.reply()
    assert (reply.code, reply.message, reply.frames_seen) == (ResultCode.LOST, "told so", 9)
    assert reply.best.label == "teapot"
    (goal,) = node.goals
    assert (goal.query, goal.track_id, goal.target_frame, goal.lost_after.sec) == (
        "teapot",
        0,
        "base_link",
        3,
    )
    assert list(following) == []
    until(lambda: waiting(client) == 0)


@pytest.mark.parametrize("how", ["cancel", "with", "forgotten"])
def test_following_ends_by_cancelling_leaving_the_block_or_forgetting_it(client, node, how):
    node.sightings, node.lost = [sighting(FOLLOWING)], None
    if how == "with":
        with client.follow("teapot") as following:
            assert next(following).stage == "FOLLOWING"
        assert following.reply().code_name == "FOUND"
    elif how == "cancel":
        following = client.follow(track_id=3)
        threading.Timer(0.2, following.cancel).start()
        assert {one.stage for one in following} == {"FOLLOWING"}
        assert following.reply().code_name == "FOUND"
        assert node.goals[0].track_id == 3
    else:
        for one in client.follow("teapot"):
            assert one.stage == "FOLLOWING"
            break
        gc.collect()
    until(lambda: node.cancelled == 1)
    until(lambda: waiting(client) == 0)


def test_who_is_slow_hears_the_newest_sightings(client, node):
    node.sightings = [sighting(FOLLOWING, seconds=i) for i in range(100)]
    following = client.follow("teapot")
    until(following._goal.done)
    stamps = [one.stamp_ns // 10**9 for one in following]
    assert stamps == sorted(stamps)
    assert stamps[-1] == 99
    assert 64 <= len(stamps) < 80


def test_following_wants_one_thing(client):
    with pytest.raises(InvalidInputError, match="a query or a track_id"):
        client.follow()
    with pytest.raises(InvalidInputError, match="a query or a track_id"):
        client.follow("teapot", track_id=3)


def test_a_node_without_the_action_is_told_apart(domain):
    with FakeNode(domain) as node, NodeClient(domain_id=domain) as client:
        client.wait_for_node(PATIENCE_S)
        until(lambda: client._connection.seen)
        with pytest.raises(NoAnswer, match=r"~/segment was not offered .* the node /ovseg is there, but"):
            client.segment(timeout_s=0.2)
        assert node.goals == []


def test_clients_come_and_go_and_leave_no_file_or_thread_behind(node, domain):
    def held():
        # without the pool of the node's executor, which grows to its size where it is busy
        threads = [one for one in threading.enumerate() if not one.name.startswith("ThreadPool")]
        return len(os.listdir("/proc/self/fd")), len(threads)

    def come_and_go():
        with NodeClient(domain_id=domain) as client:
            assert client.find("teapot").found

    come_and_go()
    before = held()
    for _ in range(3):
        come_and_go()
    # DDS's own threads may end a moment later
    until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))


def test_closing_takes_nothing_away_from_a_thread_that_still_spins(domain, monkeypatch):
    spins = []
    client = NodeClient(domain_id=domain)
    connection = client._connection
    shutdown = connection._executor.shutdown

    def watched(**more):
        spins.append(connection._thread.is_alive())
        return shutdown(**more)

    monkeypatch.setattr(connection._executor, "shutdown", watched)
    connection.begin(lambda: time.sleep(0.3))
    client.close()
    client.close()
    assert spins == [False]
    with pytest.raises(NoAnswer, match="this client is closed"):
        client.find("teapot", patience_s=0.2)


def test_a_client_listens_to_nothing_it_was_not_asked_for(client):
    subscriptions = [one.topic_name for one in client._connection.node.subscriptions]
    assert subscriptions == ["/ovseg/alive"]
    client.images.keep("/camera")
    client.images.keep("/camera")
    assert [one.topic_name for one in client._connection.node.subscriptions] == ["/ovseg/alive", "/camera"]


def test_of_images_of_one_time_a_camera_has_those_in_its_frame(client, node):
    camera = node.node.create_publisher(Image, "/camera", 1)
    image = Image(header=header(7, "front"), height=1, width=1, step=3, encoding="rgb8", data=[1, 2, 3])
    client.images.keep("/camera")

    def arrived():
        camera.publish(image)
        return client.images.count("/camera")

    until(arrived)
    assert client.images.at("/camera", 7 * 10**9, frame="front").tolist() == [[[1, 2, 3]]]
    assert client.images.at("/camera", 7 * 10**9, frame="left") is None
    assert client.images.at("/camera", 7 * 10**9).shape == (1, 1, 3)


def test_a_program_with_an_executor_of_its_own_asks_from_its_callbacks(client, node):
    """Its context, its node and its one thread; the client's are apart, so a callback may wait."""
    context = Context()
    rclpy.init(args=[], context=context, domain_id=node.context.get_domain_id())
    program = Node("program", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(program)
    replies = []
    program.create_timer(0.01, lambda: replies.append(client.find("teapot")))
    deadline = time.monotonic() + PATIENCE_S
    while len(replies) < 3 and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    assert [reply.found for reply in replies[:3]] == [True] * 3
    executor.shutdown()
    program.destroy_node()
    context.try_shutdown()


def test_several_threads_ask_at_once(client, node):
    replies = []
    threads = [
        threading.Thread(target=lambda: replies.extend(client.find("teapot") for _ in range(5)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(replies) == 20
    assert all(reply.found for reply in replies)
    until(lambda: waiting(client) == 0)


def test_the_name_of_a_node_is_a_full_one():
    with pytest.raises(InvalidInputError, match="such as \"/ovseg\", got 'ovseg'"):
        NodeClient(node_name="ovseg")


def test_the_client_needs_neither_torch_nor_opencv():
    code = (
        "import sys\n"
        "for name in ('torch', 'cv2', 'PIL', 'scipy', 'transformers'): sys.modules[name] = None\n"
        "import ovseg_ros.ros.client, ovseg_ros.app.cli\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert FollowObject.Feedback.HIDDEN == HIDDEN
