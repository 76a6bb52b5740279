"""The node on video: embed once, tracks, deadline, and memory that runs out."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import SegmentImage
from ros_bench import Bench, ColourClip, colour_segmenter, image_message, picture
from std_msgs.msg import String

from ovseg_ros.ros.inference.diagnostics import facts, verdict
from ovseg_ros.ros.inference.engine import Engine
from ovseg_ros.ros.inference.statistics import Statistics
from ovseg_ros.ros.io.frame_source import FrameSource
from ovseg_ros.ros.parameters.table import Settings
from ovseg_ros.ros.requests.answers import RequestError, request_error_of, without_traceback

pytestmark = pytest.mark.ros


class CountingClip(ColourClip):
    """Counts the regions it encodes; can be slow, and can run out of memory so many times."""

    def __init__(self):
        self.regions, self.seconds_each, self.failures = 0, 0.0, 0

    def encode_regions(self, pixels, region_masks=None):
        if self.failures:
            self.failures -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        self.regions += len(pixels)
        time.sleep(self.seconds_each * len(pixels))
        return super().encode_regions(pixels, region_masks)


def counting_segmenter():
    segmenter = colour_segmenter()
    segmenter.clip = CountingClip()
    return segmenter


# A busy machine must not make a fresh frame old.
USUAL = {"max_frame_age": 60.0, "embedding_refresh": 4, "tracking": True, "target_rate": 0.0}


@pytest.fixture(scope="module")
def shared():
    bench = Bench(**USUAL)
    bench.segmenter.clip = CountingClip()
    yield bench.active()
    bench.close()


@pytest.fixture
def bench(shared):
    """The shared node, active, with no image, no words and no tracks."""
    shared.deaf()
    shared.segmenter.clip.failures, shared.segmenter.clip.seconds_each = 0, 0.0
    shared.set(**USUAL)
    shared.words()
    shared.node.engine.source.reset()
    shared.segmenter.clip.regions = 0
    return shared


def show_and_wait(bench, received, *arguments, **message):
    """Shows a picture; returns what the node says of it."""
    count = len(received)
    bench.show(*arguments, **message)
    return bench.until(lambda: len(received) > count and received[-1])


def tracks(message):
    return {segment.label: segment.track_id for segment in message.segments}


# Embed once, ask many


def test_topic_service_and_action_are_answered_from_one_embedding(bench):
    received = bench.segmentations()
    bench.words("red")
    show_and_wait(bench, received, picture(red=True, blue=True))
    embedded = bench.segmenter.clip.regions
    frames = len(bench.proposer.frames)
    assert embedded == 2
    for words in (["red"], ["blue"], ["wall paint", "blue"]):
        assert bench.call(bench.segment, SegmentImage.Request(labels=words)).code == ResultCode.FOUND
    assert bench.find("blue").code == ResultCode.FOUND
    bench.queries.publish(String(data="blue"))
    bench.until(lambda: bench.node.vocabulary.names == ("blue",))
    assert bench.find("green").code == ResultCode.NOT_FOUND
    assert bench.segmenter.clip.regions == embedded
    assert len(bench.proposer.frames) == frames


def test_a_frame_too_old_is_not_answered_from(bench):
    bench.show()
    assert bench.find("red").code == ResultCode.FOUND
    bench.set(max_frame_age=0.02)
    time.sleep(0.05)
    assert bench.find("red", timeout=0.05).code == ResultCode.STALE_IMAGE


# Tracks


def test_things_keep_their_number_and_their_embedding(bench):
    received = bench.segmentations()
    bench.words("red", "blue")
    bench.set(embedding_refresh=0)
    first = tracks(show_and_wait(bench, received, picture(red=True, blue=True)))
    assert set(first) == {"red", "blue"}
    assert 0 not in first.values()
    assert first["red"] != first["blue"]
    encoded = bench.segmenter.clip.regions
    moved = np.roll(picture(red=True, blue=True), 1, axis=1)
    assert tracks(show_and_wait(bench, received, moved)) == first
    assert bench.segmenter.clip.regions == encoded
    assert facts(bench.node)["tracks"] == 2
    assert facts(bench.node)["embeddings_reused"] == 2


def test_time_that_jumps_back_gives_new_numbers(bench):
    received = bench.segmentations()
    bench.words("red")
    bench.set(max_frame_age=0.0)
    jumps = bench.node.engine.source.counts.time_jumps
    first = tracks(show_and_wait(bench, received, stamp=bench.now()))
    again = tracks(show_and_wait(bench, received, stamp=bench.now(-1000.0)))
    assert again["red"] > first["red"]
    assert bench.node.engine.source.counts.time_jumps == jumps + 1


def test_two_cameras_are_kept_apart(bench):
    received = bench.segmentations()
    bench.words("red")
    seen = {"left": set(), "right": set()}
    for _ in range(3):
        for camera, pixels in (("left", picture()), ("right", np.roll(picture(), 12, axis=1))):
            message = show_and_wait(bench, received, pixels, frame_id=camera)
            assert message.header.frame_id == camera
            seen[camera].add(tracks(message)["red"])
    assert {len(numbers) for numbers in seen.values()} == {1}
    assert not seen["left"] & seen["right"]


def test_without_tracking_there_are_no_numbers(bench):
    received = bench.segmentations()
    bench.words("red")
    bench.set(tracking=False)
    assert tracks(show_and_wait(bench, received)) == {"red": 0}
    assert tracks(show_and_wait(bench, received)) == {"red": 0}
    assert bench.segmenter.clip.regions == 2
    assert "tracks" not in facts(bench.node)
    bench.set(tracking=True)
    first = tracks(show_and_wait(bench, received))
    assert first["red"] > 0
    # Nor has an image that comes with a request, which is no part of the video.
    given = SegmentImage.Request(image=image_message(np.roll(picture(), 9, axis=0)), labels=["red"])
    reply = bench.call(bench.segment, given)
    assert [segment.track_id for segment in reply.segmentation.segments] == [0]
    assert tracks(show_and_wait(bench, received)) == first


def test_deactivation_forgets(bench):
    received = bench.segmentations()
    bench.words("red")
    first = tracks(show_and_wait(bench, received))
    assert bench.transition("deactivate")
    assert bench.transition("activate")
    bench.active()
    bench.until(bench.wanted)
    assert tracks(show_and_wait(bench, received))["red"] > first["red"]


# Deadline


def test_a_rate_is_held_and_diagnostics_say_at_what_price(bench):
    received = bench.segmentations()
    bench.words("red", "blue")
    bench.segmenter.clip.seconds_each = 0.06
    bench.set(target_rate=15.0)
    for _ in range(3):
        bench.node.engine.source.reset()  # all that is in view is new
        show_and_wait(bench, received, picture(red=True, blue=True))
    bench.until(lambda: facts(bench.node)["gave_up"])
    _, message = verdict(bench.node)
    assert "target_rate costs: at most 1 new embeddings per frame" in message
    assert "at most 1 new embeddings" in facts(bench.node)["gave_up"]
    before = bench.segmenter.clip.regions
    bench.node.engine.source.reset()
    message = show_and_wait(bench, received, picture(red=True, blue=True))
    assert bench.segmenter.clip.regions - before == 1
    assert len(message.segments) == 1  # the other has no embedding yet, and so no name
    bench.set(target_rate=0.0)
    bench.segmenter.clip.seconds_each = 0.0
    show_and_wait(bench, received, picture(red=True, blue=True))
    assert facts(bench.node)["gave_up"] == ""
    assert "target_rate" not in verdict(bench.node)[1]


# Memory


def test_out_of_memory_is_tried_again_once_and_then_said(bench):
    bench.show()
    bench.segmenter.clip.failures = 1  # half the batch fits
    assert bench.find("red").code == ResultCode.FOUND
    bench.node.engine.source.reset()
    bench.show()
    bench.segmenter.clip.failures = 2
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"]))
    assert reply.code == ResultCode.OUT_OF_MEMORY
    assert "ran out of memory twice" in reply.message
    assert bench.call(bench.segment, SegmentImage.Request(labels=["red"])).code == ResultCode.OUT_OF_MEMORY
    assert bench.find("red", timeout=0.1).code == ResultCode.OUT_OF_MEMORY
    bench.show()  # the next frame
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red"]))
    assert reply.code == ResultCode.FOUND


def test_what_failed_holds_no_memory():
    segmenter = counting_segmenter()
    source = FrameSource(sync_tolerance_s=0.1, depth_wait_s=0.0, on_images=lambda: None)
    settings = Settings(max_frame_age=60.0)  # a busy machine must not make a fresh frame old
    engine = Engine(segmenter, source, lambda: settings, time.time_ns, Statistics())
    source.add_image(image_message(picture()))
    segmenter.clip.failures = 2
    for _ in range(2):  # by itself, and when asked again
        with pytest.raises(Exception, match="memory"):
            engine.newest()
        _, kept = engine._failed
        assert kept.__traceback__ is None, "it holds every tensor of the frames it came through"
        assert kept.__cause__ is None
        assert kept.__context__ is None


def test_an_error_kept_for_later_is_the_same_error():
    kept = without_traceback(RequestError(ResultCode.NO_DEPTH, "expected depth"))
    assert (type(kept), kept.code, kept.message, str(kept)) == (
        RequestError,
        7,
        "expected depth",
        "expected depth",
    )
    assert str(without_traceback(KeyError("x"))) == "'x'"
    assert request_error_of(torch.OutOfMemoryError("full")).code == ResultCode.OUT_OF_MEMORY
    assert request_error_of(MemoryError()).code == ResultCode.OUT_OF_MEMORY
