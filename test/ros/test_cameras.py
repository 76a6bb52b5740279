"""Several cameras, one model, over real DDS: each output is about its own camera, each fares by itself."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from builtin_interfaces.msg import Duration
from camera_bench import CameraBench, labels_of
from ovseg_ros.action import FollowObject
from ovseg_ros.msg import ResultCode, Segmentation
from ovseg_ros.srv import SegmentImage
from rclpy.action import ActionClient
from repository import ROOT
from ros_bench import colour_segmenter, image_message, picture
from sensor_msgs.msg import Image

from ovseg_ros.ros.inference.diagnostics import diagnostic_array, facts, verdict
from ovseg_ros.ros.inference.loading import load_segmenter
from ovseg_ros.ros.io.conversions import frame_from_messages
from ovseg_ros.ros.parameters.options import options_from
from ovseg_ros.ros.parameters.table import Settings
from ovseg_ros.ros.player import CAMERA_INFO, COLOUR, DEPTH, read_moments

pytestmark = pytest.mark.ros
RED, BLUE, BOTH = picture(), picture(red=False, blue=True), picture(blue=True)
NOTHING = picture(red=False)


@pytest.fixture
def make_bench():
    made = []

    def make(*names, **parameters):
        made.append(CameraBench(*(names or ("front", "left")), **parameters))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def statuses(bench) -> dict[str, tuple[bytes, str]]:
    """Level and message of each status in /diagnostics, by what follows the node's name."""
    array = diagnostic_array(bench.node)
    return {one.name.removeprefix("/ovseg: "): (one.level, one.message) for one in array.status}


# Outputs


def test_each_output_is_about_its_own_camera(make_bench):
    bench = make_bench(vocabulary=["red", "blue"]).active()
    front, left = (bench.listen(Segmentation, f"{name}/segmentation") for name in ("front", "left"))
    labels = bench.listen(Image, "left/label_image")
    for n in range(3):
        sent = {"front": bench.show_to("front", RED), "left": bench.show_to("left", BLUE)}
        for name, received in (("front", front), ("left", left)):
            last = bench.reached(received, sent[name])
            assert last.camera == name
            assert labels_of(last) == ["red" if name == "front" else "blue"]
        assert set(bench.reached(labels, sent["left"]).data) == {1, 255}, n  # blue, never red
    tracks = {
        message.segments[0].track_id for received in (front, left) for message in received if message.segments
    }
    assert len(tracks) == 2  # of two cameras, and no number twice


def test_what_nobody_wants_is_not_looked_at(make_bench):
    bench = make_bench(vocabulary=["red"]).active()
    left = bench.listen(Segmentation, "left/segmentation")
    for _ in range(3):
        bench.show_to("front", RED)
    sent = bench.show_to("left", RED)
    bench.reached(left, sent)
    assert [frame.frame_id for frame in bench.proposer.frames] == ["left_optical"]
    assert statuses(bench)["segmentation front"][1].startswith("idle: nobody subscribes")
    assert statuses(bench)["segmentation left"][1].startswith("running")


def test_without_the_parameter_nothing_has_a_name():
    from ros_bench import Bench

    bench = Bench(vocabulary=["red"], cameras=["", " "], max_frame_age=600.0)
    try:
        received = bench.active().segmentations()
        bench.show()
        message = bench.until(lambda: received and received[-1])
        assert message.camera == ""
        assert bench.find("red").camera == ""
        assert bench.find("red", camera="front").code == ResultCode.INVALID_QUERY
        assert len(diagnostic_array(bench.node).status) == 1
    finally:
        bench.close()


# Requests


def test_a_goal_looks_through_the_camera_it_names_or_through_all(make_bench):
    bench = make_bench().active()
    bench.show_to("front", RED)
    bench.show_to("left", BLUE)
    for word, camera, found in (
        ("red", "front", "front"),
        ("red", "left", ""),
        ("red", "", "front"),
        ("blue", "", "left"),
        ("blue", "front", ""),
        ("green", "", ""),
    ):
        result = bench.find(word, camera=camera)
        assert result.code == (ResultCode.FOUND if found else ResultCode.NOT_FOUND), (word, camera)
        if found:
            assert (result.camera, result.header.frame_id) == (found, f"{found}_optical")
            assert labels_of(result) == [word]
    assert "front: 1 image searched for green" in result.message
    assert "left: 1 image searched for green" in result.message
    assert result.frames_seen == 2


def test_an_unknown_camera_is_refused_and_those_there_are_named(make_bench):
    bench = make_bench().active()
    bench.show_to("front")
    result = bench.find("red", camera="rear")
    assert result.code == ResultCode.INVALID_QUERY
    assert "'rear'" in result.message
    assert "front, left" in result.message
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"], camera="rear"))
    assert reply.code == ResultCode.INVALID_QUERY
    assert "front, left" in reply.message


def test_segment_takes_the_named_camera_else_the_first_and_says_which(make_bench):
    bench = make_bench().active()
    bench.show_to("front", RED)
    bench.show_to("left", BLUE)
    for camera, of in (("", "front"), ("front", "front"), ("left", "left")):
        reply = bench.call(bench.segment, SegmentImage.Request(labels=["red", "blue"], camera=camera))
        assert reply.code == ResultCode.FOUND
        assert reply.segmentation.camera == of
        assert labels_of(reply.segmentation) == ["red" if of == "front" else "blue"]
    given = SegmentImage.Request(labels=["red", "blue"], image=image_message(BOTH), camera="left")
    reply = bench.call(bench.segment, given)
    assert labels_of(reply.segmentation) == ["blue", "red"]
    assert reply.segmentation.camera == ""  # of neither


def test_images_of_two_cameras_do_not_confirm_each_other(make_bench):
    bench = make_bench(find_confirm=2, find_confirm_of=3).active()
    bench.show_to("front", RED)
    bench.show_to("left", RED)  # at the same place: as one thing, it would be in two images
    handle = bench.begin_find("red", timeout=2.0)
    result, _ = bench.result_of(handle)
    assert result.code == ResultCode.NOT_FOUND
    assert result.agreements == 1
    assert result.frames_seen == 2
    ended = bench.begin_find("red", timeout=30.0).get_result_async()
    while not ended.done():
        bench.show_to("left", RED)
    result = ended.result().result
    assert (result.code, result.camera, result.agreements) == (ResultCode.FOUND, "left", 2)


def test_one_camera_without_images_does_not_hinder_a_search_in_the_other(make_bench):
    bench = make_bench().active()
    bench.show_to("left", BLUE)
    assert bench.find("blue").camera == "left"
    result = bench.find("red")
    assert result.code == ResultCode.NOT_FOUND
    assert "front: no image has arrived" in result.message
    assert "/front/image" in result.message
    assert bench.find("red", camera="front").code == ResultCode.NO_IMAGE


def test_a_thing_is_followed_in_the_camera_that_shows_it(make_bench):
    bench = make_bench(find_confirm=1, find_confirm_of=1).active()
    client = ActionClient(bench.client, FollowObject, "/ovseg/follow_object")
    bench.show_to("front", NOTHING)
    assert client.wait_for_server(30.0)
    feedback = []
    sent = client.send_goal_async(
        FollowObject.Goal(query="red", lost_after=Duration(sec=60)), lambda m: feedback.append(m.feedback)
    )
    bench.until(sent.done, "for the goal")
    bench.until(lambda: feedback and feedback[-1].frames)
    assert (feedback[-1].stage, feedback[-1].camera) == (FollowObject.Feedback.SEARCHING, "")
    message = bench.show_to("left", RED)
    following = FollowObject.Feedback.FOLLOWING
    bench.until(lambda: feedback[-1].stage == following and feedback[-1].header == message.header)
    assert feedback[-1].camera == "left"
    frames = len(feedback)
    bench.show_to("front", RED)  # the same in the other camera, which is looked through no more
    message = bench.show_to("left", NOTHING)
    hidden = FollowObject.Feedback.HIDDEN
    bench.until(lambda: feedback[-1].stage == hidden)
    assert len(feedback) == frames + 1
    assert bench.node.cameras["front"].searches == 0
    ended = sent.result().get_result_async()
    bench.until(sent.result().cancel_goal_async().done, "for the cancellation")
    bench.until(ended.done, "for the result")
    assert ended.result().result.camera == "left"
    client.destroy()


# Fairness, and what goes wrong with one camera


def test_a_fast_camera_does_not_starve_a_slow_one(make_bench):
    bench = make_bench(vocabulary=["red"]).active()
    front, left = (bench.listen(Segmentation, f"{name}/segmentation") for name in ("front", "left"))
    propose = bench.proposer.propose

    def slowly(frame):
        time.sleep(0.05)
        return propose(frame)

    bench.proposer.propose = slowly
    end, latencies, asked = time.monotonic() + 4.0, [], 0.0
    while time.monotonic() < end:
        bench.publishers["front", "image"].publish(image_message(RED, stamp=bench.now()))  # at 100 Hz
        if time.monotonic() > asked + 0.4:
            asked = time.monotonic()
            bench.publishers["left", "image"].publish(image_message(BLUE, stamp=bench.now()))
        latencies += [message.latency_s for message in left[len(latencies) :]]
        time.sleep(0.01)
    counts = bench.source("front").counts
    assert counts.images > 100  # it was fast
    assert counts.dropped > 0
    assert len(front) > len(left) >= 7  # of 10, on a machine that others keep busy
    inference_s = [camera.statistics.inference_s() for camera in bench.node.cameras.values()]
    share = sum(inference_s)
    # Each waits for one frame of the other, has its own, and on a busy machine as long again.
    assert np.median(latencies) < 2 * share


def test_a_dead_camera_is_told_by_name_and_the_other_goes_on(make_bench):
    bench = make_bench(vocabulary=["red"], max_frame_age=60.0).active()
    front, left = (bench.listen(Segmentation, f"{name}/segmentation") for name in ("front", "left"))
    bench.show_to("front")
    bench.show_to("left")
    bench.until(lambda: front and left)
    assert verdict(bench.node)[0] == "OK"
    ahead = time.monotonic() + 100.0
    bench.source("left")._clock = lambda: ahead  # its last image is 100 s old
    sent = bench.show_to("front")
    bench.reached(front, sent)
    level, message = verdict(bench.node)
    assert level == "WARN"
    assert message.startswith("left: the newest image is ")
    assert "front" not in message
    said = statuses(bench)
    assert set(said) == {"segmentation", "segmentation front", "segmentation left"}
    assert said["segmentation"] == (b"\x01", message)
    assert said["segmentation front"][0] == b"\x00"
    assert said["segmentation left"][0] == b"\x01"
    assert bench.find("red", camera="left").code == ResultCode.STALE_IMAGE
    assert bench.find("red", camera="front").code == ResultCode.FOUND


def test_a_fault_in_the_frames_of_one_camera_costs_the_other_none(make_bench):
    bench = make_bench(vocabulary=["red"]).active()
    front = bench.listen(Segmentation, "front/segmentation")
    bench.listen(Segmentation, "left/segmentation")
    propose = bench.proposer.propose

    def fail_left(frame):
        if frame.frame_id == "left_optical":
            raise RuntimeError("a cosmic ray")
        return propose(frame)

    bench.proposer.propose = fail_left
    for _ in range(3):
        bench.show_to("left")
        bench.reached(front, bench.show_to("front"))
    bench.until(lambda: statuses(bench)["segmentation left"][0] == b"\x02")
    said = statuses(bench)
    assert said["segmentation left"][1] == "RuntimeError: a cosmic ray"
    assert said["segmentation front"][0] == b"\x00"
    assert said["segmentation"] == (b"\x02", "left: RuntimeError: a cosmic ray")
    cameras = bench.node.cameras
    assert cameras["left"].statistics.counts()["failed"] > 0
    assert "failed" not in cameras["front"].statistics.counts()


# Lifecycle


def test_cycles_leave_nothing_behind_and_cameras_are_read_at_configure(make_bench):
    bench = make_bench(autostart=False)
    node = bench.node

    def held() -> tuple[int, int, int]:
        return len(list(node.publishers)), len(list(node.subscriptions)), len(list(node.timers))

    unconfigured, configured, active = held(), set(), set()
    for _ in range(3):
        assert bench.transition("configure")
        configured.add(held())
        for _ in range(2):
            assert bench.transition("activate")
            bench.active()
            active.add(held())
            bench.show_to("left")
            assert bench.find("red", camera="left").code == ResultCode.FOUND
            assert bench.transition("deactivate")
        assert bench.transition("cleanup")
        assert held() == unconfigured
        assert not node.cameras
        assert node.segmenter is None
    assert len(configured) == len(active) == 1
    assert bench.set(cameras=["rear"]).successful
    assert bench.transition("configure")
    assert list(node.cameras) == ["rear"]
    assert facts(node)["cameras"] == "rear"


def test_names_that_cannot_be_are_refused(make_bench):
    bench = make_bench(autostart=False)
    for cameras, said in (
        (["front", "front"], "each name once"),
        (["segmentation"], "segmentation_camera"),
        (["front left"], "letters, digits and _"),
    ):
        result = bench.set(cameras=cameras)
        assert not result.successful
        assert said in result.reason
    assert bench.set(cameras=["front", "left_2"]).successful
    assert bench.node.settings.camera_names == ("front", "left_2")


def test_the_model_is_one(make_bench):
    made = []

    def make(settings):
        made.append(colour_segmenter())
        return made[-1]

    bench = make_bench("a", "b", "c", make_segmenter=make).active()
    assert len(made) == 1
    assert {id(camera.engine.segmenter) for camera in bench.node.cameras.values()} == {id(made[0])}


# A real model


def test_two_recordings_at_once_give_what_each_gives_by_itself(make_bench):
    """Tabletop and garage through `mini`; both frames wait, so that their crops are one batch."""
    segmenter = load_segmenter(Settings(preset="mini", device="cpu"))
    segmenter.warm_up()  # here, where nobody waits for it
    words = ["teapot", "bowl", "motorcycle"]
    bench = make_bench(make_segmenter=lambda _: segmenter, vocabulary=words).active()
    received = {name: bench.listen(Segmentation, f"{name}/segmentation") for name in ("front", "left")}
    batches, go_on = [], threading.Event()
    encode = segmenter.clip.encode_regions
    segmenter.clip.encode_regions = lambda *given: batches.append(len(given[0])) or encode(*given)
    waiting = bench.node.submit(lambda: go_on.wait(30.0))
    moments = {}
    for name, recording in (("front", "tabletop"), ("left", "garage")):
        moments[name] = recorded = read_moments(ROOT / "demo" / recording)[0].messages
        stamp = bench.now()
        for kind, topic in (("camera_info", CAMERA_INFO), ("depth", DEPTH), ("image", COLOUR)):
            recorded[topic].header.stamp = stamp
            bench.publish(name, kind, recorded[topic])
    go_on.set()
    assert waiting.result(30.0)
    told = {name: bench.reached(received[name], moments[name][COLOUR]) for name in received}
    assert len(batches) == 1
    options = options_from(segmenter.options, bench.node.settings)
    for name, message in told.items():
        frame, _ = frame_from_messages(*(moments[name][topic] for topic in (COLOUR, DEPTH, CAMERA_INFO)))
        by_itself = segmenter.segment(frame, bench.node.vocabulary, options)
        labelled = [i for i in range(len(by_itself.masks)) if by_itself.name_of(i)]
        expected = [(by_itself.name_of(i), int(by_itself.masks[i].sum())) for i in labelled]
        assert sorted((one.label, one.area_px) for one in message.segments) == sorted(expected)
        assert (message.camera, message.has_depth) == (name, True)
        assert (message.height, message.width) == frame.size_hw
    assert batches[0] == sum(batches[1:])
    assert {"teapot", "bowl"} <= set(labels_of(told["front"]))
    assert not {"teapot", "bowl"} & set(labels_of(told["left"]))
