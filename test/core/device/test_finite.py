"""NaN and infinity are refused where they come from, and leave nothing behind."""

import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder, FixedProposer, words

from ovseg_ros.core.device.finite import check_finite
from ovseg_ros.core.encoders.text_cache import TextCache
from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.core.tracking import VideoSegmenter
from ovseg_ros.errors import NotFiniteError, OvsegError

BAD = [float("nan"), float("inf"), -float("inf")]


@pytest.fixture
def frame():
    image = np.zeros((8, 12, 3), np.uint8)
    image[:, :4], image[:, 4:8] = (255, 0, 0), (0, 255, 0)
    return Frame(image)


@pytest.fixture
def masks():
    masks = torch.zeros(2, 8, 12, dtype=torch.bool)
    masks[0, :, :4], masks[1, :, 4:8] = True, True
    return masks


def chain(masks, **options):
    chosen = SegmenterOptions(min_mask_pixels=1, **options)
    return OpenVocabularySegmenter(FixedProposer(masks), ColourEncoder(), chosen)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("at", [0, 7, 14])
def test_one_number_among_many(bad, at):
    tensor = torch.linspace(1e38, 3e38, 15).reshape(3, 5)  # the sum of these is infinite
    assert check_finite(tensor, "it") is tensor
    tensor.view(-1)[at] = bad
    with pytest.raises(NotFiniteError, match="1 of 15 numbers are NaN or infinite in it") as caught:
        check_finite(tensor, "it")
    assert isinstance(caught.value, OvsegError)
    assert not isinstance(caught.value, ValueError)  # no fault of what was asked


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool])
def test_every_kind_of_number(kind):
    tensor = torch.ones(2, 2, dtype=kind)
    assert check_finite(tensor, "it") is tensor
    assert check_finite(tensor[:0], "nothing").shape == (0, 2)
    if tensor.is_floating_point():
        with pytest.raises(NotFiniteError, match="4 of 4"):
            check_finite(tensor * float("nan"), "it")
        both = torch.tensor([float("inf"), -float("inf"), 1.0], dtype=kind)  # of which the sum is NaN
        with pytest.raises(NotFiniteError, match="2 of 3"):
            check_finite(both, "it")
        greatest = torch.full((9,), torch.finfo(kind).max, dtype=kind)
        assert check_finite(greatest, "it") is greatest


class Faulty(ColourEncoder):
    """Gives `region` or `text` in place of the first number of a row that it is told to spoil."""

    region: float | None = None
    text: float | None = None

    def encode_regions(self, pixels, region_masks=None):
        return self._spoiled(super().encode_regions(pixels, region_masks), self.region)

    def encode_text(self, labels, templates=None):
        return self._spoiled(super().encode_text(labels, templates), self.text)

    @staticmethod
    def _spoiled(rows, bad):
        rows = rows.clone()
        if bad is not None and len(rows):
            rows[-1, 0] = bad
        return rows


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", ["region", "text"])
def test_a_tower_that_fails_costs_that_frame_alone(frame, masks, place, bad):
    segmenter = chain(masks)
    segmenter.clip = clip = Faulty()
    asked = words("red", "green")
    before = segmenter.segment(frame, asked)
    setattr(clip, place, bad)
    with pytest.raises(NotFiniteError, match=r"embeddings of (the masks|2 words, 'red' the first)"):
        segmenter.segment(frame, asked)
    setattr(clip, place, None)
    torch.testing.assert_close(segmenter.segment(frame, asked).probs, before.probs, rtol=0, atol=0)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", ["scores", "soft masks", "class embeddings", "no object"])
def test_a_proposer_that_fails_is_named(frame, masks, place, bad):
    parts = {
        "scores": torch.ones(2),
        "soft masks": torch.zeros(2, 4, 6),
        "class embeddings": torch.ones(2, 4),
        "no object": torch.ones(1, 4),
    }
    parts[place].view(-1)[-1] = bad
    proposals = Proposals(
        masks,
        parts["scores"],
        SoftMasks(parts["soft masks"], (8, 12), (8, 12)),
        parts["class embeddings"],
        parts["no object"],
    )
    segmenter = chain(masks)
    segmenter.proposer.proposals = proposals
    with pytest.raises(NotFiniteError, match=f"{place}.* of FixedProposer's masks"):
        segmenter.embed(frame)


def test_probabilities_that_are_none_are_refused(frame, masks):
    segmenter = chain(masks)
    embedded = segmenter.embed(frame)
    segmenter.clip.logit_scale = float("nan")
    with pytest.raises(NotFiniteError, match="the masks' probabilities"):
        segmenter.label(embedded, words("red", "green"))


@pytest.mark.parametrize("bad", BAD)
def test_the_cache_keeps_no_row_of_a_failed_call(bad):
    cache, spoiled = TextCache(), [False]

    def encode(sentences):
        rows = torch.ones(len(sentences), 3)
        if spoiled[0]:
            rows[-1, 0] = bad
        return rows

    good = cache.encode(["red"], ["{}"], encode)
    spoiled[0] = True
    with pytest.raises(NotFiniteError, match="2 words, 'green' the first"):
        cache.encode(["red", "green", "blue"], ["{}"], encode)
    assert len(cache) == 1
    assert torch.equal(cache.encode(["red"], ["{}"], encode), good)
    spoiled[0] = False
    assert torch.isfinite(cache.encode(["red", "green", "blue"], ["{}"], encode)).all()


@pytest.mark.parametrize("bad", BAD)
def test_tracks_are_as_they_were_after_a_lost_frame(frame, masks, bad):
    segmenter = chain(masks)
    segmenter.clip = clip = Faulty()
    video, asked = VideoSegmenter(segmenter), words("red", "green")
    first = video.segment(frame, asked)
    turned = Frame(np.ascontiguousarray(frame.image_rgb[:, ::-1]))  # all looks new: encoded again
    for _ in range(2):
        clip.region = bad
        with pytest.raises(NotFiniteError):
            video.segment(turned, asked)
        clip.region = None
    again = video.segment(frame, asked)
    assert torch.isfinite(again.embeddings).all()
    assert again.label_index.tolist() == first.label_index.tolist() == [0, 1]
    followed = video.segment(frame, asked)
    assert torch.isfinite(followed.embeddings).all()
    assert followed.track_ids.tolist() == again.track_ids.tolist()
