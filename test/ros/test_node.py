"""The node over real DDS: every interface, every code, bad input, and what must hold of every result."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from action_msgs.msg import GoalStatus
from ovseg_ros.action import FindObject
from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import EmbedText, SegmentImage
from ros_bench import Bench, camera_info_message, image_message, picture
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import String
from std_srvs.srv import SetBool
from visualization_msgs.msg import Marker, MarkerArray

from ovseg_ros.errors import InvalidInputError

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def shared():
    bench = Bench(max_frame_age=60.0)  # a busy machine must not make a fresh frame old
    yield bench.active()
    bench.close()


@pytest.fixture
def bench(shared):
    """The shared node, active, with no image, no words and no listeners."""
    shared.deaf()
    shared.proposer.error = None
    shared.proposer.needs_depth = shared.node.engine.source.needs_depth = False
    shared.proposer.gate.set()
    shared.words()
    shared.node.engine.source.reset()
    shared.node.engine.source._depth_arrival = -float("inf")
    shared.proposer.frames.clear()
    return shared


# One frame, atomically


def test_segmentation_carries_header_and_vocabulary_verbatim(bench):
    received = bench.segmentations()
    version = bench.words("red", "blue").vocabulary.version
    sent = bench.show(picture(red=True, blue=True), frame_id="optical ünïcode")
    message = bench.until(lambda: received and received[-1])
    assert message.header == sent.header
    assert (message.vocabulary_version, list(message.labels)) == (version, ["red", "blue"])
    assert (message.height, message.width, message.model) == (24, 32, "colours")
    assert {s.label for s in message.segments} == {"red", "blue"}
    segment = next(s for s in message.segments if s.label == "red")
    box = segment.box
    assert (box.x_offset, box.y_offset, box.width, box.height, segment.area_px) == (6, 4, 10, 8, 80)
    assert (segment.mask.encoding, segment.mask.width, segment.mask.height) == ("mono8", 10, 8)
    assert set(segment.mask.data) == {255}
    assert segment.mask.header == sent.header
    assert segment.score > 0.9
    assert not segment.has_3d
    labels = np.frombuffer(message.label_image.data, np.uint8).reshape(24, 32)
    ids = dict(zip(message.labels, message.label_ids))
    assert (labels[4:12, 6:16] == ids["red"]).all()
    assert (labels == 255).sum() == 24 * 32 - 80 - 60
    instances = np.frombuffer(message.instance_image.data, np.uint16).reshape(24, 32)
    assert message.instance_image.encoding == "16UC1"
    assert (instances[4:12, 6:16] == segment.instance_id).all()
    assert 0 < message.latency_s < 5
    assert message.inference_time_s > 0


def test_vocabulary_change_in_mid_inference_does_not_touch_that_frame(bench):
    received = bench.segmentations()
    first = bench.words("red").vocabulary.version
    bench.show()
    bench.until(lambda: received)
    # The snapshot is taken before embedding: a change while the frame is in the model comes one frame later.
    bench.proposer.gate.clear()
    bench.show()
    bench.until(lambda: len(bench.proposer.frames) == 2)
    second = bench.words("blue").vocabulary.version
    bench.proposer.gate.set()
    bench.until(lambda: len(received) == 2)
    assert [m.vocabulary_version for m in received] == [first, first]
    assert second > first
    assert list(received[1].labels) == ["red"]
    bench.show()
    assert bench.until(lambda: len(received) == 3 and received[2]).vocabulary_version == second


def test_newest_frame_wins_and_drops_are_counted(bench):
    received = bench.segmentations()
    bench.words("red")
    dropped = bench.node.engine.source.counts.dropped
    bench.proposer.gate.clear()
    bench.show()
    bench.until(lambda: len(bench.proposer.frames) == 1)
    sent = [bench.show() for _ in range(4)]
    bench.proposer.gate.set()
    bench.until(lambda: len(received) == 2)
    assert received[1].header == sent[-1].header
    assert bench.node.engine.source.counts.dropped - dropped == 3
    assert len(bench.proposer.frames) == 2


def test_nothing_is_computed_without_a_listener(bench):
    bench.words("red")
    bench.show()
    bench.call(bench.enable, SetBool.Request(data=True))  # the executor has been round since
    time.sleep(0.1)
    assert bench.proposer.frames == []


def test_only_what_is_listened_to_is_published(bench):
    confidence = bench.listen(Image, "confidence")
    bench.words("red")
    assert bench.wanted() == ["confidence"]
    bench.show()
    message = bench.until(lambda: confidence)[0]
    values = np.frombuffer(message.data, np.uint8).reshape(24, 32)
    assert message.encoding == "mono8"
    assert values[5, 7] > 200
    assert values[0, 0] == 0


def test_every_image_output(bench):
    outputs = {name: bench.listen(Image, name) for name in ("label_image", "instance_image", "overlay")}
    markers = bench.listen(MarkerArray, "markers")
    clouds = bench.listen(PointCloud2, "points")
    bench.words("red")
    sent = bench.show_with_depth(np.full((24, 32), 2.0, np.float32))
    bench.until(lambda: all(outputs.values()) and markers and clouds)
    assert [outputs[n][0].encoding for n in outputs] == ["mono8", "16UC1", "rgb8"]
    assert all(outputs[n][0].header == sent.header for n in outputs)
    first, box, name = markers[0].markers
    assert first.action == Marker.DELETEALL
    assert name.text.startswith("red ")
    assert box.pose.position.z == pytest.approx(2.0)
    assert box.header == sent.header
    cloud = clouds[0]
    assert [f.name for f in cloud.fields] == ["x", "y", "z", "rgb", "label", "instance"]
    assert (cloud.height, cloud.width, cloud.point_step) == (24, 32, 20)
    assert cloud.header == sent.header
    layout = np.dtype([(n, "<f4") for n in "xyz"] + [("rgb", "<u4"), ("label", "<u2"), ("instance", "<u2")])
    points = np.frombuffer(cloud.data, layout).reshape(24, 32)
    assert points["z"][5, 7] == 2.0
    assert points["rgb"][5, 7] == 0xFF0000
    assert points["x"][5, 16] == pytest.approx(0.0)
    assert points["label"][5, 7] != 255 == points["label"][0, 0]


def test_empty_vocabulary_is_idle_and_gives_masks_on_demand(bench):
    received = bench.segmentations()
    bench.show()
    message = bench.until(lambda: received)[0]
    assert list(message.labels) == []
    assert list(message.segments) == []
    assert set(message.label_image.data) == {255}
    assert bench.proposer.frames == []  # no word, no work
    bench.set(publish_unlabelled=True)
    bench.show()
    (segment,) = bench.until(lambda: len(received) == 2 and received[1]).segments
    bench.set(publish_unlabelled=False)
    assert (segment.label, segment.label_id, segment.area_px) == ("", 255, 80)


# The interfaces


def test_query_topic(bench):
    received = bench.segmentations()
    version = bench.words("red").vocabulary.version
    bench.queries.publish(String(data="find the red"))  # the same words are no new version
    bench.queries.publish(String(data="find the red and the blue"))
    bench.until(lambda: bench.node.vocabulary.names == ("red", "blue"))
    assert bench.node.vocabulary.version == version + 1
    assert list(bench.vocabulary().labels) == ["red", "blue"]
    bench.show()
    assert bench.until(lambda: received)[0].segments[0].label == "red"
    bench.queries.publish(String(data=""))
    bench.until(lambda: not len(bench.node.vocabulary), "for the empty query to clear")
    bench.queries.publish(String(data="茶壶, café crème, Teekännchen"))
    bench.until(lambda: bench.node.vocabulary.names == ("茶壶", "café crème", "Teekännchen"))


@pytest.mark.parametrize("text", ["find the", "x" * 10_000, "?" * 3000, "\x00\x01", "a" * 200])
def test_bad_query_is_counted_and_changes_nothing(bench, text):
    bench.words("red")
    count = bench.node.statistics.counts().get("invalid_queries", 0)
    bench.queries.publish(String(data=text))
    if text.strip("\x00\x01"):
        bench.until(lambda: bench.node.statistics.counts().get("invalid_queries", 0) == count + 1)
        assert bench.node.vocabulary.names == ("red",)
    bench.queries.publish(String(data="blue"))
    bench.until(lambda: bench.node.vocabulary.names == ("blue",), "for the next good query")


def test_set_vocabulary_add_remove_thresholds(bench):
    reply = bench.words("red", "blue", thresholds=[0.25, 0])
    assert reply.success
    assert list(reply.vocabulary.thresholds) == [0.25, 0.5]
    ids = dict(zip(reply.vocabulary.labels, reply.vocabulary.label_ids))
    assert list(bench.words("green", operation=1).vocabulary.labels) == ["red", "blue", "green"]
    removed = bench.words("red", "giraffe", operation=2)
    assert list(removed.vocabulary.labels) == ["blue", "green"]
    assert list(removed.rejected) == ["giraffe"]
    assert removed.reasons[0]
    again = bench.words("red", thresholds=[1.0])
    assert again.vocabulary.label_ids[0] == ids["red"]
    assert again.vocabulary.names_by_id[ids["blue"]] == "blue"
    received = bench.segmentations()
    bench.show()
    assert list(bench.until(lambda: received)[0].segments) == []


def test_set_vocabulary_says_what_it_refused_and_why(bench):
    reply = bench.words("red", "RED", "x" * 200, " ")
    assert reply.success
    assert list(reply.vocabulary.labels) == ["red"]
    assert len(reply.rejected) == 3
    assert all(reply.reasons)
    assert "128 bytes" in reply.reasons[1]
    bad = bench.words("blue", operation=9)
    assert not bad.success
    assert "REPLACE" in bad.message
    assert list(bad.vocabulary.labels) == ["red"]
    uneven = bench.words("blue", thresholds=[0.1, 0.2])
    assert not uneven.success
    assert bench.node.vocabulary.names == ("red",)
    out = bench.words("blue", thresholds=[1.5])
    assert list(out.rejected) == ["blue"]
    assert not out.success
    assert list(out.vocabulary.labels) == ["red"], "words that are all refused leave what there was"
    same = bench.words("red", "?")
    assert same.success, "red was taken, although nothing changed"
    assert list(same.rejected) == [""]


def test_relations_are_no_words_of_a_vocabulary_and_what_is_not_understood_is_refused(bench):
    bench.words("blue")
    bench.show()
    reply = bench.words("red mug near the pot", "two cups", '"left shoe"')
    assert list(reply.vocabulary.labels) == ["left shoe"]
    assert "ask for 'red mug' here" in reply.reasons[0]
    assert "numbers" in reply.reasons[1]
    bench.queries.publish(String(data="find the other cup"))
    bench.until(lambda: bench.node.statistics.counts().get("invalid_queries"))
    assert bench.node.vocabulary.names == ("left shoe",)
    result = bench.find("find the other cup")
    assert (result.code, result.frames_seen) == (ResultCode.INVALID_QUERY, 0)
    assert "'other' depends on what was said before" in result.message
    segmented = bench.call(bench.segment, SegmentImage.Request(labels=["heaviest cup"]))
    assert segmented.code == ResultCode.INVALID_QUERY
    assert "'heaviest' is nothing that can be measured" in segmented.message
    assert not bench.set(vocabulary=["mug on the table"]).successful
    again = bench.call(bench.segment, SegmentImage.Request(threshold=0.25))
    assert list(again.segmentation.labels) == ["left shoe"], "the node's own words are not read again"


def test_words_that_the_model_does_not_know_are_refused(bench, monkeypatch):
    bench.words("red")
    bench.show()
    tokenizer = SimpleNamespace(unknown_words=lambda words: [w for w in words if not w.isascii()])
    monkeypatch.setattr(bench.segmenter.clip, "tokenizer", tokenizer, raising=False)
    reply = bench.words("blue", "茶壶")
    assert list(reply.vocabulary.labels) == ["blue"]
    assert reply.reasons[0].startswith("unknown: English is the language of")
    result = bench.find("red, 茶壶")
    assert (result.code, result.frames_seen) == (ResultCode.INVALID_QUERY, 0)
    assert "unknown" in result.message


def test_segment_newest_image_with_own_words(bench):
    bench.words("blue")
    sent = bench.show()
    before = bench.node.vocabulary
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"]))
    assert (reply.code, reply.segmentation.segments[0].label) == (ResultCode.FOUND, "red")
    assert reply.segmentation.header == sent.header
    assert reply.segmentation.vocabulary_version == 0
    assert bench.node.vocabulary is before
    reply = bench.call(bench.segment, SegmentImage.Request())
    assert reply.code == ResultCode.NOT_FOUND
    assert list(reply.segmentation.labels) == ["blue"]
    assert reply.segmentation.vocabulary_version == before.version


def test_segment_given_image_with_depth(bench):
    depth = image_message(np.full((24, 32), 1500, np.uint16), "16UC1")
    given = SegmentImage.Request(
        image=image_message(picture(), frame_id="elsewhere"), depth=depth, camera_info=camera_info_message()
    )
    given.depth.header.frame_id = "elsewhere"
    given.labels = ["red"]
    reply = bench.call(bench.segment, given)
    assert reply.code == ResultCode.FOUND
    assert reply.segmentation.header.frame_id == "elsewhere"
    segment = reply.segmentation.segments[0]
    assert segment.has_3d
    assert segment.runner_up == "wall"  # the background word of this preset
    assert segment.margin == pytest.approx(segment.score - segment.runner_up_score, abs=1e-6)
    assert segment.centroid.z == pytest.approx(1.5)
    # columns 6..15 around cx = 16 at focal length 30: ten pixels of 1.5 / 30 m
    assert segment.size.x == pytest.approx(10 * 1.5 / 30, abs=2e-3)


@pytest.mark.parametrize(
    ("request_fields", "code", "word"),
    [
        ({"labels": ["red"]}, ResultCode.NO_IMAGE, "image"),
        ({"labels": []}, ResultCode.INVALID_QUERY, "vocabulary is empty"),
        ({"labels": ["x" * 200]}, ResultCode.INVALID_QUERY, "128"),
        ({"labels": ["red"], "threshold": 7.0}, ResultCode.INVALID_QUERY, "threshold"),
        ({"labels": ["red"], "threshold": float("nan")}, ResultCode.INVALID_QUERY, "threshold"),
    ],
)
def test_segment_refuses_with_a_reason(bench, request_fields, code, word):
    reply = bench.call(bench.segment, SegmentImage.Request(**request_fields))
    assert reply.code == code
    assert word in reply.message


BAD_IMAGES = {
    "unknown encoding": ({"encoding": "rgb9000" * 100}, "encoding"),
    "depth as colour": ({"encoding": "16UC1"}, "depth"),
    "wrong step": ({"step": 5}, "step"),
    "wrong data length": ({"data": b"7" * 100}, "bytes of data"),
    "zero size": ({"height": 0, "width": 0, "step": 0, "data": []}, "0x0"),
}


@pytest.mark.parametrize(("fields", "word"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_bad_image_is_counted_and_the_next_good_one_answered(bench, fields, word):
    message = image_message(picture(), stamp=bench.now())
    for name, value in fields.items():
        setattr(message, name, value)
    received = bench.segmentations()
    bench.words("red")
    count = bench.node.statistics.counts().get("bad_images", 0)
    bench.send(message)
    bench.until(lambda: bench.node.statistics.counts().get("bad_images", 0) > count)
    assert word in bench.node.statistics.recent_bad_image()
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"]))
    assert reply.code == ResultCode.NO_IMAGE
    assert word in reply.message
    if message.height:  # an image of no size is none
        reply = bench.call(bench.segment, SegmentImage.Request(image=message, labels=["red"]))
        assert reply.code == ResultCode.INVALID_QUERY
        assert word in reply.message
    bench.show()
    assert bench.until(lambda: received)[0].segments[0].label == "red"


def test_embed_text(bench):
    reply = bench.call(bench.embed_text, EmbedText.Request(labels=["red", "blue"]))
    assert (reply.code, reply.dimension, reply.model) == (ResultCode.FOUND, 5, "colours")
    assert np.allclose(np.array(reply.embeddings).reshape(2, 5), np.eye(5)[[0, 2]])
    assert bench.call(bench.embed_text, EmbedText.Request()).code == ResultCode.INVALID_QUERY
    assert bench.call(bench.embed_text, EmbedText.Request(labels=[" "])).code == ResultCode.INVALID_QUERY


# The action


def test_find_object(bench):
    bench.words("blue")
    sent = bench.show(picture(red=True, blue=True))
    result = bench.find("where is my red?")
    assert (result.code, result.frames_seen) == (ResultCode.FOUND, 1)
    assert result.header == sent.header
    assert result.segments[0].label == "red"
    assert result.best_score > 0.9
    assert bench.node.vocabulary.names == ("blue",)
    both = bench.find("red, blue").segments  # best first
    assert len(both) == 2
    assert both[0].score >= both[1].score
    assert bench.find("red, blue", max_results=1).segments == both[:1]


def test_find_waits_for_the_frame_that_shows_it(bench):
    feedback = []
    bench.show(picture(red=False))
    handle = bench.begin_find("red", lambda message: feedback.append(message.feedback), timeout=8.0)
    bench.until(lambda: feedback and feedback[-1].frames_seen == 1)
    bench.show(picture(red=False, blue=True))
    bench.until(lambda: feedback[-1].frames_seen == 2)
    bench.show(picture(red=True))
    bench.until(lambda: feedback[-1].frames_seen == 3)
    sent = bench.show(picture(red=True))
    result, status = bench.result_of(handle)
    assert (result.code, status) == (ResultCode.FOUND, GoalStatus.STATUS_SUCCEEDED)
    assert result.header == sent.header
    assert (result.frames_seen, result.agreements) == (4, 2)
    first, last = feedback[0].stage, feedback[-1].stage
    assert first in (FindObject.Feedback.WAITING_FOR_IMAGE, FindObject.Feedback.SEARCHING)
    assert last == FindObject.Feedback.CONFIRMING


def test_not_found_only_after_a_search(bench):
    result = bench.find("red", timeout=0.2)
    assert (result.code, result.frames_seen, result.header.frame_id) == (ResultCode.NO_IMAGE, 0, "")
    bench.show(picture(red=False, blue=True))
    result = bench.find("red", timeout=0.3)
    assert (result.code, result.frames_seen) == (ResultCode.NOT_FOUND, 1)
    assert "red" in result.message
    assert bench.find("茶壶 ☕").code == ResultCode.NOT_FOUND


def test_stale_image_is_refused_and_stamp_zero_is_not(bench):
    received = bench.segmentations()
    bench.words("red")
    count = bench.node.statistics.counts().get("stale", 0)
    bench.show(stamp=bench.now(-500.0))
    bench.until(lambda: bench.node.statistics.counts().get("stale", 0) > count)  # nor streamed
    result = bench.find("red", timeout=0.2)
    assert result.code == ResultCode.STALE_IMAGE
    assert "max_frame_age" in result.message
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"]))
    assert reply.code == ResultCode.STALE_IMAGE
    bench.node.engine.source.reset()
    sent = image_message(picture())
    bench.send(sent)
    assert bench.find("red").code == ResultCode.FOUND
    bench.until(lambda: received)
    assert [(m.header, m.latency_s) for m in received] == [(sent.header, -1)]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {}),
        ("find the", {}),
        ("y" * 10_000, {}),
        ("y" * 1000, {}),
        ("red", {"threshold": 2.0}),
        ("red", {"timeout": -1.0}),
    ],
)
def test_invalid_goal(bench, query, fields):
    result = bench.find(query, **fields)
    assert result.code == ResultCode.INVALID_QUERY
    assert result.message


def test_3d_is_found_and_its_lack_is_a_code_of_its_own(bench):
    bench.show()
    result = bench.find("red", want_3d=True)
    assert result.code == ResultCode.NO_DEPTH
    assert result.segments[0].label == "red"
    bench.node.engine.source.reset()
    depth = np.full((24, 32), np.nan, np.float32)
    depth[4:12, 6:16] = 0.75
    bench.show_with_depth(depth)
    result = bench.find("red", want_3d=True)
    assert result.code == ResultCode.FOUND
    assert result.segments[0].has_3d
    assert result.segments[0].centroid.z == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("size", "focal", "words"),
    [((12, 16), 30.0, "32x24 16x12"), ((24, 31), 30.0, "32x24 31x24"), ((24, 32), 0.0, "calibrated")],
)
def test_what_makes_3d_impossible_costs_the_3d_alone(bench, size, focal, words):
    bench.show_with_depth(np.ones(size, np.float32), info=camera_info_message(focal=focal))
    assert bench.find("red", want_3d=True).code == ResultCode.NO_DEPTH
    (problem,) = bench.node.statistics.missing_3d().values()
    assert all(word in problem for word in words.split())
    assert bench.find("red").code == ResultCode.FOUND


def test_a_preset_that_needs_depth_says_so(bench):
    engine = bench.node.engine
    engine.source.needs_depth = True
    bench.show()
    result = bench.find("red", timeout=0.2)
    assert result.code == ResultCode.NO_DEPTH
    assert result.frames_seen == 0
    given = SegmentImage.Request(image=image_message(picture()), labels=["red"])
    assert bench.call(bench.segment, given).code == ResultCode.NO_DEPTH
    bench.show_with_depth(np.ones((24, 32), np.float32))
    assert bench.find("red").code == ResultCode.FOUND


def test_a_proposer_that_wants_depth_unannounced_is_no_invalid_query(bench):
    bench.proposer.error = InvalidInputError("expected depth, got none")
    bench.show()
    assert bench.find("red", timeout=0.1).code == ResultCode.NO_DEPTH
    bench.show_with_depth(np.ones((24, 32), np.float32))
    assert bench.find("red", timeout=0.1).code == ResultCode.INTERNAL


def test_cancel(bench):
    handle = bench.begin_find("red", timeout=60.0)
    cancelled = handle.cancel_goal_async()
    bench.until(cancelled.done)
    result, status = bench.result_of(handle)
    assert status == GoalStatus.STATUS_CANCELED
    assert result.code == ResultCode.NO_IMAGE


def test_disabled_is_inactive(bench):
    bench.show()
    assert bench.call(bench.enable, SetBool.Request(data=False)).success
    try:
        assert bench.find("red").code == ResultCode.INACTIVE
        reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"]))
        assert reply.code == ResultCode.INACTIVE
        assert "~/enable" in reply.message
    finally:
        bench.call(bench.enable, SetBool.Request(data=True))
    assert bench.find("red").code == ResultCode.FOUND


# What goes wrong inside


def test_exception_costs_that_frame_alone(bench):
    received = bench.segmentations()
    bench.words("red")
    failed = bench.node.statistics.counts().get("failed", 0)
    bench.proposer.error = RuntimeError("cosmic ray")
    bench.show()
    bench.until(lambda: bench.node.statistics.counts().get("failed", 0) > failed)
    assert "cosmic ray" in bench.node.statistics.recent_error()
    result = bench.find("red", timeout=0.2)
    assert result.code == ResultCode.INTERNAL
    assert "cosmic ray" in result.message
    bench.proposer.error = None
    sent = bench.show()
    assert bench.until(lambda: received)[0].header == sent.header
    assert bench.find("red").code == ResultCode.FOUND


def test_busy_when_too_many_wait_and_the_executor_stays_free(bench):
    bench.set(max_pending=2)
    bench.proposer.gate.clear()
    request = SegmentImage.Request(image=image_message(picture()), labels=["red"])
    futures = [bench.segment.call_async(request)]
    bench.until(lambda: bench.proposer.frames)  # the first is in the model
    futures += [bench.segment.call_async(request) for _ in range(4)]
    bench.until(lambda: sum(f.done() for f in futures) == 2, "for the two that find no place")
    assert bench.words("blue").success  # other services answer while inference stands
    bench.proposer.gate.set()
    bench.until(lambda: all(f.done() for f in futures))
    codes = sorted(f.result().code for f in futures)
    assert codes == [ResultCode.FOUND] * 3 + [ResultCode.BUSY] * 2
    bench.set(max_pending=8)


def test_many_goals_at_once(bench):
    bench.set(max_pending=3)
    handles = [bench.begin_find("red", timeout=8.0) for _ in range(5)]
    bench.until(lambda: bench.node._find_object._running == 3)
    answers = [handle.get_result_async() for handle in handles]
    for _ in range(100):  # a search may miss a picture while another has the model
        if all(answer.done() for answer in answers):
            break
        bench.show()
        time.sleep(0.05)
    codes = sorted(answer.result().result.code for answer in answers)
    bench.set(max_pending=8)
    assert codes == [ResultCode.FOUND] * 3 + [ResultCode.BUSY] * 2


def test_query_flood_is_survived(bench):
    for number in range(200):
        bench.queries.publish(String(data=f"red, thing {number % 3}"))
    bench.queries.publish(String(data="blue"))
    bench.until(lambda: bench.node.vocabulary.names == ("blue",))
    bench.show(picture(blue=True))
    assert bench.find("blue").code == ResultCode.FOUND


def test_max_rate_limits_the_stream(bench):
    received = bench.segmentations()
    bench.words("red")
    bench.show()
    bench.until(lambda: received)
    bench.set(max_rate=0.1)
    bench.show()
    assert bench.find("red").code == ResultCode.FOUND  # requests are not held back
    assert len(received) == 1
    bench.set(max_rate=0.0)
    bench.until(lambda: len(received) == 2)  # the change is live: the frame that was held back comes at once


def test_documentation_has_every_topic_service_and_type(bench):
    document = (ROOT / "docs" / "interfaces.md").read_text(encoding="utf-8")
    graph = bench.node.get_publisher_names_and_types_by_node("ovseg", "/")
    graph += bench.node.get_subscriber_names_and_types_by_node("ovseg", "/")
    graph += bench.node.get_service_names_and_types_by_node("ovseg", "/")
    ours = {}
    for name, (kind,) in graph:
        if not re.search(
            r"parameter|rosout|_action/|transition|/(change|get)_\w*state|_type_description", name
        ):
            ours[name.replace("/ovseg/", "~/") if name.startswith("/ovseg/") else name] = kind
    assert len(ours) >= 17
    for name, kind in ours.items():
        written = f"`{name if name.startswith('~') or name == '/diagnostics' else name[1:]}`"
        short = re.sub("/(msg|srv)/", "/", kind)
        assert any(written in line and short in line for line in document.splitlines()), (name, kind)
