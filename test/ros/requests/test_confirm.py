"""`~/find_object` says FOUND where k of n images agree; NaN and infinity are never an answer."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.action import FindObject
from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import EmbedText, SegmentImage
from ros_bench import Bench, image_message, picture

from ovseg_ros.core.frame import Proposals
from ovseg_ros.ros.inference.diagnostics import facts, verdict

pytestmark = pytest.mark.ros
NONE = {"NaN": float("nan"), "infinite": float("inf")}


@pytest.fixture(scope="module")
def shared():
    bench = Bench(max_frame_age=60.0)
    yield bench.active()
    bench.close()


@pytest.fixture
def bench(shared):
    """The shared node as it began, with no image and no words."""
    shared.deaf()
    shared.words()
    assert shared.set(find_confirm=2, find_confirm_of=3, tracking=True).successful
    shared.node.engine.source.reset()
    return shared


class Search:
    """A goal that is under way, and pictures shown to it one by one."""

    def __init__(self, bench, query="red", timeout=20.0, **goal):
        self.bench, self.feedback = bench, []
        bench.node.engine.source.reset()  # or the last picture is the first it looks at
        self.handle = bench.begin_find(query, self._note, timeout=timeout, **goal)
        self.shown = 0

    def _note(self, message):
        self.feedback.append(message.feedback)

    def show(self, pixels, *, last=False):
        sent = self.bench.show(pixels)
        self.shown += 1
        if not last:
            self.bench.until(lambda: self.feedback and self.feedback[-1].frames_seen == self.shown)
        return sent

    def end(self):
        return self.bench.result_of(self.handle)[0]


RED, EMPTY = picture(red=True), picture(red=False)


@pytest.mark.parametrize("tracking", [True, False])
def test_two_images_that_agree_are_enough_with_one_between(bench, tracking):
    bench.set(tracking=tracking)
    search = Search(bench)
    search.show(RED)
    assert search.feedback[-1].stage == FindObject.Feedback.CONFIRMING
    search.show(EMPTY)
    assert search.feedback[-1].stage == FindObject.Feedback.SEARCHING
    sent = search.show(RED, last=True)
    result = search.end()
    assert (result.code, result.frames_seen, result.agreements) == (ResultCode.FOUND, 3, 2)
    assert result.header == sent.header
    assert bool(result.segments[0].track_id) == tracking


def test_too_far_apart_is_no_agreement(bench):
    search = Search(bench)
    for pixels in (RED, EMPTY, EMPTY, RED):
        search.show(pixels)
    assert search.feedback[-1].stage == FindObject.Feedback.CONFIRMING
    search.show(RED, last=True)
    assert search.end().agreements == 2


def test_another_place_is_another_thing_without_tracks(bench):
    bench.set(tracking=False)
    elsewhere = np.roll(RED, 14, axis=1)
    search = Search(bench)
    for pixels in (RED, elsewhere, np.roll(RED, 7, axis=1)):  # 3 of 17 columns in common at most
        search.show(pixels)
    assert search.feedback[-1].stage == FindObject.Feedback.CONFIRMING
    search.show(np.roll(RED, 9, axis=1), last=True)  # 8 of 12 columns
    assert (result := search.end()).code == ResultCode.FOUND
    assert result.segments[0].box.x_offset == 15


def test_only_what_is_confirmed_is_returned(bench):
    search = Search(bench, "red, blue")
    search.show(RED)
    search.show(picture(red=True, blue=True), last=True)
    result = search.end()
    assert (result.code, [s.label for s in result.segments]) == (ResultCode.FOUND, ["red"])


def test_found_without_depth_is_the_answer_of_that_image_whatever_comes_after(bench):
    search = Search(bench, "red", timeout=2.0, want_3d=True)
    search.show(RED)
    sent = search.show(RED)
    assert search.feedback[-1].stage == FindObject.Feedback.WAITING_FOR_DEPTH
    for _ in range(3):
        search.show(EMPTY)
    result = search.end()
    assert (result.code, [s.label for s in result.segments]) == (ResultCode.NO_DEPTH, ["red"])
    assert (result.header, result.agreements, result.frames_seen) == (sent.header, 2, 5)


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ([RED], "1 image searched for red; seen in 1 of 1 image, 2 wanted; no more images came in time"),
        ([RED, EMPTY, EMPTY], "3 images searched for red; seen in 1 of 3 images, 2 wanted"),
        ([EMPTY], "1 image searched for red"),
    ],
)
def test_a_timeout_says_how_often_it_was_seen(bench, pictures, words):
    search = Search(bench, timeout=1.5)
    for pixels in pictures:
        search.show(pixels)
    result = search.end()
    assert (result.code, len(result.segments)) == (ResultCode.NOT_FOUND, 0)
    assert result.agreements == int("seen" in words)
    said = re.sub(r", best score [\d.]+| \(find_confirm\)", "", result.message)
    assert said.startswith(words)
    assert ("no more images" in said) == ("no more images" in words)


def test_one_image_must_do_where_the_timeout_is_zero_or_k_is_one(bench):
    bench.show(RED)
    result = bench.find("red")
    assert (result.code, result.agreements) == (ResultCode.FOUND, 1)
    assert bench.set(find_confirm=1).successful
    assert bench.find("red", timeout=5.0).code == ResultCode.FOUND
    assert bench.set(find_confirm=3).successful
    search = Search(bench)
    for last in (False, False, True):
        search.show(RED, last=last)
    assert search.end().agreements == 3


def test_a_wish_that_cannot_be_met_is_refused(bench):
    refused = bench.set(find_confirm=4)
    assert not refused.successful
    assert "find_confirm_of, got 4 of 3" in refused.reason
    assert not bench.set(find_confirm=0).successful
    with pytest.raises(Exception, match="find_confirm"):
        dataclasses.replace(bench.node.settings, find_confirm=5)


def test_what_is_being_confirmed_is_encoded_anew(bench):
    bench.set(embedding_refresh=0)
    clip, seen = bench.segmenter.clip, []
    encode = type(clip).encode_regions

    def counting(pixels, region_masks=None):
        seen.append(len(pixels))
        return encode(clip, pixels, region_masks)

    clip.encode_regions = counting
    try:
        search = Search(bench)
        search.show(RED)
        search.show(RED, last=True)  # the same to a pixel
        assert search.end().code == ResultCode.FOUND
        assert seen == [1, 1]
        bench.show(RED)
        assert bench.find("red").code == ResultCode.FOUND
        assert sum(seen) <= 3  # the second look asked for a third, which is due once
    finally:
        del clip.encode_regions
        bench.set(embedding_refresh=4)


def spoil_regions(segmenter, bad):
    encode = type(segmenter.clip).encode_regions
    segmenter.clip.encode_regions = lambda *given: encode(segmenter.clip, *given) * bad


def spoil_text(segmenter, bad):
    encode = type(segmenter.clip).encode_text
    segmenter.clip.encode_text = lambda *given: encode(segmenter.clip, *given) * bad


def spoil_scores(segmenter, bad):
    propose = type(segmenter.proposer).propose

    def spoiled(frame):
        proposals = propose(segmenter.proposer, frame)
        return Proposals(proposals.masks, torch.full_like(proposals.scores, bad))

    segmenter.proposer.propose = spoiled


def heal(segmenter):
    for part in (segmenter.clip, segmenter.proposer):
        for name in ("encode_regions", "encode_text", "propose"):
            part.__dict__.pop(name, None)


@pytest.mark.parametrize("bad", NONE.values(), ids=NONE)
@pytest.mark.parametrize("spoil", [spoil_regions, spoil_text, spoil_scores])
def test_nan_and_infinity_cost_that_frame_and_are_said(bench, spoil, bad):
    count = bench.node.statistics.counts().get("not_finite", 0)
    spoil(bench.segmenter, bad)
    try:
        bench.show(RED)
        result = bench.find("red")
        assert (result.code, result.frames_seen) == (ResultCode.INTERNAL, 0)
        assert "NaN or infinite" in result.message
        assert bench.node.statistics.counts()["not_finite"] > count
        assert facts(bench.node)["not_finite"] > count
        level, said = verdict(bench.node)
        assert (level, "NaN or infinite" in said) == ("ERROR", True)
        request = SegmentImage.Request(image=image_message(RED), labels=["red"])
        assert bench.call(bench.segment, request).code == ResultCode.INTERNAL
        if spoil is spoil_text:
            for verbatim in (True, False):
                reply = bench.call(bench.embed_text, EmbedText.Request(labels=["red"], verbatim=verbatim))
                assert (reply.code, len(reply.embeddings)) == (ResultCode.INTERNAL, 0)
    finally:
        heal(bench.segmenter)
    search = Search(bench)
    search.show(RED)
    search.show(RED, last=True)
    assert search.end().code == ResultCode.FOUND


def test_a_lost_frame_between_does_not_count(bench):
    search = Search(bench)
    search.show(RED)
    spoil_regions(bench.segmenter, float("nan"))
    try:
        bench.show(RED)  # as before: what is being confirmed is encoded anew, and so meets the fault
        bench.until(lambda: bench.node.engine.failed_seq == bench.node.engine.source.newest_seq())
    finally:
        heal(bench.segmenter)
    search.show(RED, last=True)
    result = search.end()
    assert (result.code, result.frames_seen, result.agreements) == (ResultCode.FOUND, 2, 2)


def test_the_stream_goes_on_after_a_lost_frame(bench):
    received = bench.segmentations()
    bench.words("red")
    spoil_regions(bench.segmenter, float("nan"))
    count = bench.node.statistics.counts().get("not_finite", 0)
    try:
        bench.show(RED)
        bench.until(lambda: bench.node.statistics.counts().get("not_finite", 0) > count)
    finally:
        heal(bench.segmenter)
    sent = bench.show(RED)
    message = bench.until(lambda: received and received[-1])
    assert message.header == sent.header
    assert message.segments[0].label == "red"
    assert np.isfinite(message.segments[0].score)


def test_why_a_mask_did_not_get_its_word_is_in_the_message(bench, monkeypatch):
    label = bench.segmenter.label

    def remarking(*given):
        result = label(*given)
        remarks = ("a mask looks like a mug of another colour (white)",) * len(result)
        return dataclasses.replace(result, remarks=remarks)

    monkeypatch.setattr(bench.segmenter, "label", remarking)
    bench.show(RED)
    result = bench.find("blue")
    assert result.code == ResultCode.NOT_FOUND
    assert result.message.count("of another colour (white)") == 1
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red", "blue"]))
    assert reply.code == ResultCode.FOUND
    assert reply.message.endswith("1 of 1 masks labelled; a mask looks like a mug of another colour (white)")
    assert "colour" not in bench.call(bench.segment, SegmentImage.Request(labels=["red"])).message
