"""`~/follow_object` over real DDS: in sight, hidden, back, lost, and never another thing in its place."""

from __future__ import annotations

import copy
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from action_msgs.msg import GoalStatus
from ovseg_ros.action import FollowObject
from ovseg_ros.msg import Restriction, ResultCode
from rclpy.action import ActionClient
from ros_bench import COLOURS, PATIENCE_S, Bench, picture
from std_srvs.srv import SetBool

from ovseg_ros.ros.requests import follow_object

pytestmark = pytest.mark.ros

SEARCHING, FOLLOWING, HIDDEN = (
    getattr(FollowObject.Feedback, name) for name in ("SEARCHING", "FOLLOWING", "HIDDEN")
)
RED, EMPTY = picture(red=True), picture(red=False)
BLUE_THERE = np.where(RED[..., :1] == 255, np.uint8(COLOURS["blue"]), RED)


@pytest.fixture(scope="module")
def shared():
    bench = Bench(max_frame_age=60.0)
    bench.follower = ActionClient(bench.client, FollowObject, "/ovseg/follow_object")
    yield bench.active()
    bench.follower.destroy()
    bench.close()


@pytest.fixture
def bench(shared):
    """The shared node as it began, with no image, no words and no goal."""
    shared.deaf()
    shared.words()
    assert shared.set(find_confirm=2, max_pending=8, tracking=True, max_inference_time=120.0).successful
    shared.node.engine.source.reset()
    yield shared
    shared.proposer.error = None
    shared.proposer.gate.set()
    shared.until(lambda: not shared.node.cameras[""].searches, "for goals to end")


class Follow:
    """A goal that is under way, and pictures shown to it one by one."""

    def __init__(self, bench, query="red", lost_after=20.0, **goal):
        self.bench, self.feedback = bench, []
        request = FollowObject.Goal(query=query, **goal)
        request.lost_after.sec = int(np.floor(lost_after))
        request.lost_after.nanosec = int((lost_after % 1) * 1e9)
        assert bench.follower.wait_for_server(PATIENCE_S)
        future = bench.follower.send_goal_async(request, lambda m: self.feedback.append(m.feedback))
        bench.until(future.done, "for a goal to be accepted")
        self.handle = future.result()

    def show(self, *pictures):
        """Shows pictures one by one; the feedback of each."""
        out = []
        for pixels in pictures:
            frames = self.feedback[-1].frames if self.feedback else 0
            self.sent = self.bench.show(pixels)
            self.bench.until(lambda n=frames: self.feedback and self.feedback[-1].frames > n, "for feedback")
            out.append(self.feedback[-1])
        return out

    def stages(self, *pictures):
        return [feedback.stage for feedback in self.show(*pictures)]

    def end(self):
        result, status = self.bench.result_of(self.handle)
        return result, status

    def cancel(self):
        future = self.handle.cancel_goal_async()
        self.bench.until(future.done, "for a goal to be cancelled")
        result, status = self.end()
        assert status == GoalStatus.STATUS_CANCELED
        return result


def test_followed_hidden_and_back(bench):
    follow = Follow(bench, "where is my red?")
    first, second = follow.show(RED, RED)
    sent = follow.sent
    assert (first.stage, first.frames, first.frames_seen) == (SEARCHING, 1, 0)  # two images have to agree
    assert first.header.frame_id == ""
    assert (second.stage, second.frames, second.frames_seen, second.age_s) == (FOLLOWING, 2, 1, 0.0)
    assert (second.header, second.frame_id_3d) == (sent.header, "camera")
    segment = second.segment
    assert (segment.label, segment.box.x_offset, segment.box.width) == ("red", 6, 10)
    assert segment.score > 0.9
    assert segment.track_id > 0
    assert (segment.mask.width, segment.points.width, segment.has_3d) == (0, 0, False)
    hidden, still = follow.show(EMPTY, EMPTY)
    assert (hidden.stage, still.stage) == (HIDDEN, HIDDEN)
    assert 0 < hidden.age_s < still.age_s
    assert (hidden.header, hidden.segment) == (second.header, segment)  # of the last that showed it
    moved = np.roll(RED, 2, axis=1)
    (back,) = follow.show(moved)
    assert (back.stage, back.frames, back.frames_seen, back.age_s) == (FOLLOWING, 5, 2, 0.0)
    assert back.segment.box.x_offset == 8
    result = follow.cancel()
    assert (result.code, result.frames, result.frames_seen) == (ResultCode.FOUND, 5, 2)
    assert (result.header, result.segment, result.frame_id_3d) == (back.header, back.segment, "camera")
    assert bench.node.vocabulary.names == ()


def test_never_another_thing_in_its_place(bench):
    follow = Follow(bench, "red, blue")
    assert follow.stages(RED, RED, BLUE_THERE, BLUE_THERE, BLUE_THERE, RED) == [
        SEARCHING,
        FOLLOWING,
        HIDDEN,
        HIDDEN,
        HIDDEN,
        FOLLOWING,
    ]
    assert follow.cancel().segment.label == "red"


def test_lost_when_images_go_on_without_it(bench):
    follow = Follow(bench, lost_after=0.6)
    follow.show(RED, RED)
    seen = follow.sent
    ended = follow.handle.get_result_async()
    for _ in range(200):
        if ended.done():
            break
        bench.show(EMPTY)
        time.sleep(0.05)
    bench.until(ended.done, "for a result")
    result, status = ended.result().result, ended.result().status
    assert (result.code, status) == (ResultCode.LOST, GoalStatus.STATUS_SUCCEEDED)
    assert (result.header, result.segment.label, result.frames_seen) == (seen.header, "red", 1)
    assert result.frames > 2
    assert result.message.startswith("not seen for ")


def test_lost_when_no_images_come_any_more(bench):
    follow = Follow(bench, lost_after=0.5)
    follow.show(RED, RED)
    began = time.monotonic()
    result, _ = follow.end()
    assert (result.code, result.frames) == (ResultCode.LOST, 2)
    assert time.monotonic() - began > 0.3


def test_cancelled_while_it_is_hidden(bench):
    follow = Follow(bench)
    follow.show(RED, RED, EMPTY)
    result = follow.cancel()
    assert (result.code, result.frames_seen, result.segment.label) == (ResultCode.LOST, 1, "red")


def test_nothing_to_follow(bench):
    result, status = Follow(bench, lost_after=0.3).end()
    assert (result.code, status) == (ResultCode.NO_IMAGE, GoalStatus.STATUS_ABORTED)
    follow = Follow(bench, lost_after=0.8)
    follow.show(EMPTY)
    result, status = follow.end()
    assert (result.code, status) == (ResultCode.NOT_FOUND, GoalStatus.STATUS_SUCCEEDED)
    assert result.message.startswith("1 image searched for red, best score 0.")
    assert (result.header.frame_id, result.frames, result.frames_seen) == ("", 1, 0)
    follow = Follow(bench, lost_after=0.8)
    follow.show(RED)
    assert "seen in 1, 2 wanted (find_confirm)" in follow.end()[0].message


def test_by_the_number_of_a_track(bench):
    bench.show(RED)
    bench.show(RED)
    (segment,) = bench.find("red").segments
    follow = Follow(bench, "", track_id=segment.track_id)
    first = bench.until(lambda: follow.feedback, "for feedback of the last picture")[0]
    assert (first.stage, first.segment.track_id, first.segment.label) == (FOLLOWING, segment.track_id, "")
    bench.words("red")
    named, hidden = follow.show(RED, BLUE_THERE)
    assert (named.segment.label, hidden.stage) == ("red", HIDDEN)
    assert follow.cancel().code == ResultCode.LOST
    follow = Follow(bench, "", track_id=9999, lost_after=0.8)
    follow.show(RED)
    assert "none has track 9999" in follow.end()[0].message


def test_two_at_once_and_frames_are_wanted(bench):
    assert not bench.node.cameras[""].is_wanted
    red, blue = Follow(bench, "red"), Follow(bench, "blue")
    bench.until(lambda: bench.node.cameras[""].searches == 2)
    assert bench.node.cameras[""].is_wanted
    both = picture(red=True, blue=True)
    for number, pixels in enumerate((both, both, picture(red=False, blue=True)), start=1):
        bench.show(pixels)
        for follow in (red, blue):
            bench.until(lambda f=follow, n=number: f.feedback and f.feedback[-1].frames == n, "for feedback")
    assert (red.feedback[-1].stage, blue.feedback[-1].stage) == (HIDDEN, FOLLOWING)
    assert red.cancel().code == ResultCode.LOST
    assert blue.cancel().code == ResultCode.FOUND
    bench.until(lambda: not bench.node.cameras[""].is_wanted)


def test_with_depth(bench):
    follow = Follow(bench)
    for _ in range(2):
        frames = len(follow.feedback)
        bench.show_with_depth(np.full((24, 32), 2.0, np.float32), RED)
        bench.until(lambda n=frames: len(follow.feedback) > n)
    last = follow.feedback[-1]
    assert (last.stage, last.segment.has_3d, last.frame_id_3d) == (FOLLOWING, True, "camera")
    assert last.segment.centroid.z == pytest.approx(2.0, abs=0.01)
    follow.cancel()


def test_in_a_frame_that_tf_does_not_lead_to(bench):
    follow = Follow(bench, target_frame="nowhere")
    for _ in range(2):
        frames = len(follow.feedback)
        bench.show_with_depth(np.full((24, 32), 2.0, np.float32), RED)
        bench.until(lambda n=frames: len(follow.feedback) > n)
    last = follow.feedback[-1]
    assert (last.segment.has_3d, last.frame_id_3d) == (True, "camera")
    result = follow.cancel()
    assert result.frame_id_3d == "camera"
    assert "nowhere" in result.message


def test_a_restriction_holds_at_the_beginning_alone(bench):
    where = Restriction()
    where.region.width, where.region.height = 16, 24  # the left half
    follow = Follow(bench, where=where, lost_after=5.0)
    right, left = np.roll(RED, 14, axis=1), RED
    assert follow.stages(right, right, left, left) == [SEARCHING, SEARCHING, SEARCHING, FOLLOWING]
    assert follow.stages(np.roll(RED, 5, axis=1)) == [FOLLOWING]  # its middle is at column 16
    follow.cancel()
    result, _ = Follow(bench, "", track_id=1, where=where).end()
    assert (result.code, "where" in result.message) == (ResultCode.INVALID_QUERY, True)


def test_without_tracking_it_is_known_by_place_and_look(bench):
    bench.set(tracking=False)
    follow = Follow(bench)
    assert follow.stages(RED, RED, RED, EMPTY, BLUE_THERE, RED)[1:] == [
        FOLLOWING,
        FOLLOWING,
        HIDDEN,
        HIDDEN,
        FOLLOWING,
    ]
    follow.cancel()


def test_a_frame_that_fails_is_one_frame(bench):
    follow = Follow(bench)
    follow.show(RED, RED)
    bench.proposer.error = RuntimeError("a bad frame")
    before = bench.node.engine.failed_seq
    bench.show(RED)
    bench.until(lambda: bench.node.engine.failed_seq > before)
    bench.proposer.error = None
    assert follow.stages(RED) == [FOLLOWING]
    assert follow.cancel().frames == 3


@pytest.mark.parametrize("how", ["deactivate", "disable", "configure anew"])
def test_a_node_that_stops_says_so(bench, how):
    follow = Follow(bench)
    follow.show(RED, RED)
    seen, engine = follow.sent, bench.node.engine
    if how == "deactivate":
        assert bench.transition("deactivate")
    elif how == "disable":
        bench.call(bench.enable, SetBool.Request(data=False))
    else:
        bench.node.cameras[""].engine = copy.copy(engine)
    result, status = follow.end()
    assert (result.code, status) == (ResultCode.INACTIVE, GoalStatus.STATUS_ABORTED)
    assert (result.header, result.frames_seen) == (
        seen.header,
        1,
    )
    bench.node.cameras[""].engine = engine
    if how == "deactivate":
        assert bench.transition("activate")
        bench.active()
    bench.call(bench.enable, SetBool.Request(data=True))


def test_inference_that_hangs_ends_it(bench):
    follow = Follow(bench)
    follow.show(RED, RED)
    bench.set(max_inference_time=0.3)
    bench.proposer.gate.clear()
    bench.show(RED)
    result, status = follow.end()
    assert (result.code, status) == (ResultCode.INTERNAL, GoalStatus.STATUS_ABORTED)
    bench.proposer.gate.set()
    bench.until(lambda: bench.node.overdue() is None)


def test_nobody_is_worked_for_once_the_client_is_gone(bench, monkeypatch):
    monkeypatch.setattr(follow_object, "ABANDONED_AFTER_S", 0.3)
    Follow(bench, lost_after=600.0).show(RED, RED)
    bench.follower.destroy()  # as after a kill: nothing was cancelled
    try:
        bench.until(lambda: not bench.node.cameras[""].searches, "for the goal to end")
    finally:
        bench.follower = ActionClient(bench.client, FollowObject, "/ovseg/follow_object")
    bench.node.engine.source.reset()  # else the newest image is searched before the first is shown
    follow = Follow(bench)
    assert follow.stages(RED, RED) == [SEARCHING, FOLLOWING]
    assert follow.cancel().code == ResultCode.FOUND


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ({"query": ""}, "got neither"),
        ({"query": "red", "track_id": 3}, "got both"),
        ({"query": "red", "lost_after": -1.0}, "lost_after"),
        ({"query": "red", "threshold": 1.5}, "threshold"),
        ({"query": "red left of the"}, "names no thing"),
    ],
)
def test_goals_that_cannot_be_answered(bench, goal, said):
    result, status = Follow(bench, **goal).end()
    assert (result.code, status) == (ResultCode.INVALID_QUERY, GoalStatus.STATUS_ABORTED)
    assert said in result.message


def test_a_track_without_tracking_is_refused(bench):
    bench.set(tracking=False)
    result, _ = Follow(bench, "", track_id=1).end()
    assert result.code == ResultCode.INVALID_QUERY
    assert "tracking is false" in result.message


def test_more_than_max_pending_are_busy(bench):
    bench.set(max_pending=2)
    follows = [Follow(bench) for _ in range(2)]
    bench.until(lambda: bench.node.cameras[""].searches == 2)
    assert Follow(bench).end()[0].code == ResultCode.BUSY
    for follow in follows:
        assert follow.cancel().code == ResultCode.NO_IMAGE
