"""Frames of several cameras in one batch give what each gives alone, and fail each for itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder, FixedProposer, tiny_clip, tiny_tokenizer

from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip, new_mask_prompts
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.joint import ToEncode, alone, together
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking import VideoSegmenter
from ovseg_ros.errors import InvalidInputError, NotFiniteError

SIZES = ((40, 60), (30, 50), (24, 24))


class ByColour:
    """Two masks for each frame, more or fewer where the frame is red, none where it is black."""

    def propose(self, frame: Frame):
        height, width = frame.size_hw
        count = int(frame.image_rgb[0, 0, 0]) // 50
        masks = torch.zeros((count, height, width), dtype=torch.bool)
        for n in range(count):
            masks[n, 2 + n : height - 2, 3 : width - 4 - n] = True
        return FixedProposer(masks).proposals


def frames(counts=(1, 3, 2)) -> list[Frame]:
    """Frames of several sizes, with so many masks each."""
    rng = np.random.default_rng(0)
    made = []
    for count, size in zip(counts, SIZES, strict=True):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        image[0, 0, 0] = 50 * count
        made.append(Frame(image, frame_id=f"camera {len(made)}", stamp_ns=1))
    return made


def tiny_segmenter(**options) -> OpenVocabularySegmenter:
    clip = tiny_clip()
    prompts = new_mask_prompts(clip, 2, generator=torch.Generator().manual_seed(0))
    encoder = MaskPromptedClip(clip, tiny_tokenizer, prompts)
    return OpenVocabularySegmenter(ByColour(), encoder, SegmenterOptions(min_mask_pixels=1, **options))


@pytest.mark.parametrize("counts", [(1, 3, 2), (2, 0, 4), (0, 0, 0)])
@pytest.mark.parametrize(
    "options", [{}, {"region_view": "both"}, {"mask_prompts": False}, {"batch_size": 2}], ids=str
)
def test_a_joint_batch_gives_what_each_gives_alone(options, counts):
    segmenter = tiny_segmenter(**options)
    expected = [segmenter.embed(frame) for frame in frames(counts)]
    batches = []
    encode = segmenter.clip.encode_regions
    segmenter.clip.encode_regions = lambda *given: batches.append(len(given[0])) or encode(*given)
    got = together([segmenter.embedding(frame) for frame in frames(counts)], segmenter.encode_all)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one.embeddings, other.embeddings, atol=1e-5, rtol=0)
        assert torch.equal(one.masks, other.masks)
        assert set(one.timings) == set(other.timings)
        assert min(one.timings.values()) >= 0
    views = 2 if options.get("region_view") == "both" else 1
    size = options.get("batch_size", 64)
    assert len(batches) == views * -(-sum(counts) // size)


def test_tracks_are_the_same_and_time_is_ones_own(monkeypatch):
    segmenter = tiny_segmenter()
    by_itself, joint = (
        [VideoSegmenter(segmenter) for _ in SIZES],
        [VideoSegmenter(segmenter) for _ in SIZES],
    )
    for _ in range(2):
        expected = [video.embed(frame) for video, frame in zip(by_itself, frames(), strict=True)]
        ways = [video.embedding(frame) for video, frame in zip(joint, frames(), strict=True)]
        for one, other in zip(together(ways, segmenter.encode_all), expected, strict=True):
            torch.testing.assert_close(one.embeddings, other.embeddings, atol=1e-5, rtol=0)
            assert one.track_ids.tolist() == other.track_ids.tolist()
            assert set(one.timings) == {"propose", "crop", "encode", "track"}
    assert [video.last for video in joint] == [video.last for video in by_itself]


def test_what_other_cameras_take_is_not_counted(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    segmenter = OpenVocabularySegmenter(ByColour(), ColourEncoder(), SegmenterOptions(min_mask_pixels=1))
    propose = segmenter.proposer.propose

    def slowly(frame):
        clock[0] += 1.0
        return propose(frame)

    segmenter.proposer.propose = slowly

    def encode_all(asked):
        rows = segmenter.encode_all(asked)
        clock[0] += 10.0
        return rows

    videos = [VideoSegmenter(segmenter) for _ in SIZES]
    ways = [video.embedding(frame) for video, frame in zip(videos, frames(), strict=True)]
    for one in together(ways, encode_all):
        assert one.timings["propose"] == 1.0
        assert one.timings["track"] == 0.0


def test_a_fault_is_of_one_frame():
    segmenter = tiny_segmenter()
    expected = [segmenter.embed(frame) for frame in frames()]
    encode = segmenter.clip.encode_regions

    def not_a_number(pixels, masks=None):  # where the batch holds all three masks of the second frame
        rows = encode(pixels, masks)
        return rows * float("nan") if len(pixels) >= 3 else rows

    segmenter.clip.encode_regions = not_a_number
    got = together([segmenter.embedding(frame) for frame in frames()], segmenter.encode_all)
    assert isinstance(got[1], NotFiniteError)
    for place in (0, 2):
        torch.testing.assert_close(got[place].embeddings, expected[place].embeddings, atol=1e-5, rtol=0)


def test_a_frame_that_cannot_be_searched_does_not_stop_the_others():
    segmenter = tiny_segmenter()
    propose = segmenter.proposer.propose

    def refuse_one(frame):
        if frame.size_hw == SIZES[0]:
            raise InvalidInputError("no")
        return propose(frame)

    segmenter.proposer.propose = refuse_one
    got = together([segmenter.embedding(frame) for frame in frames()], segmenter.encode_all)
    assert isinstance(got[0], InvalidInputError)
    assert [len(one.masks) for one in got[1:]] == [3, 2]


def test_frames_of_other_options_are_encoded_by_themselves():
    segmenter = tiny_segmenter()
    other = SegmenterOptions(min_mask_pixels=1, region_view="context")
    first, second, _ = frames()
    got = together([segmenter.embedding(first), segmenter.embedding(second, other)], segmenter.encode_all)
    torch.testing.assert_close(got[0].embeddings, segmenter.embed(first).embeddings)
    torch.testing.assert_close(got[1].embeddings, segmenter.embed(second, other).embeddings)


def test_alone_returns_and_raises_as_the_way_does():
    def way(fails: str = ""):
        if fails == "before":
            raise InvalidInputError("before")
        rows = yield ToEncode(frames()[0], torch.zeros((0, 40, 60), dtype=torch.bool), SegmenterOptions())
        if fails == "after":
            raise InvalidInputError("after")
        return rows

    def nothing():
        yield from ()
        return 7

    rows = [torch.zeros((0, 4))]
    assert alone(way(), lambda asked: rows) is rows[0]
    assert alone(nothing(), lambda asked: rows) == 7
    for fails in ("before", "after"):
        with pytest.raises(InvalidInputError, match=fails):
            alone(way(fails), lambda asked: rows)

    def fail(asked):
        raise NotFiniteError("no number")

    with pytest.raises(NotFiniteError, match="no number"):
        alone(way(), fail)
