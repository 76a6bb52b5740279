"""Masks found by words: one thing once, each word by itself, nothing done twice, and what is refused."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from core_fixtures import words

from ovseg_ros.core.following import View
from ovseg_ros.core.frame import Frame, as_proposer
from ovseg_ros.core.scene import Found, SettledScene
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.core.tracking import VideoSegmenter
from ovseg_ros.core.tracking.confirmation import Confirmation, Sighting
from ovseg_ros.errors import ConfigError, InvalidInputError, NotFiniteError
from ovseg_ros.proposals.boxes import rectangles
from ovseg_ros.proposals.concepts import ConceptOptions, ConceptOutput, ConceptProposals, merged

SIZE_HW = (20, 30)
FRAME = Frame(np.zeros((*SIZE_HW, 3), np.uint8))
OPEN = SegmenterOptions(classifier="maskformer", threshold=0.5, others="", min_mask_pixels=1)
CUP, POT, SHELF = [2, 3, 12, 13], [15, 4, 25, 14], [0, 0, 30, 20]
FINDS: dict[str, list[tuple[list[int], float]]] = {
    "cup": [(CUP, 0.8), (POT, 0.3)],
    "mug": [([2, 3, 12, 12], 0.9)],
    "pot": [(POT, 0.7)],
    "shelf": [(SHELF, 0.45)],
    "zebra": [],
}


class FakeNetwork:
    """Finds what `FINDS` says; an axis for each word is what masks look like."""

    space, looks_dim = "fake", 3

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def look(self, image_rgb: np.ndarray) -> int:
        self.calls["look"] += 1
        return 7

    def find(self, features: Any, word: str, size_hw: tuple[int, int], min_score: float) -> ConceptOutput:
        assert features == 7
        self.calls[word] += 1
        found = [(box, score) for box, score in FINDS[word] if score > min_score]
        boxes = torch.tensor([box for box, _ in found], dtype=torch.int64).reshape(-1, 4)
        return ConceptOutput(rectangles(boxes, size_hw), torch.tensor([score for _, score in found]), 0.9)

    def looks(self, features: Any, masks: torch.Tensor) -> torch.Tensor:
        return torch.eye(3)[masks.flatten(1).sum(1) % 3]


class FakeWords:
    """Tells the network the word itself."""

    size, embedding_dim, logit_scale, words_only, space = 0, 3, 1.0, True, "fake"

    def encode_concepts(self, labels):
        return list(labels)

    def encode_text(self, labels, templates=None):
        raise AssertionError("nobody compares rows")


def segmenter_of(**options: Any) -> OpenVocabularySegmenter:
    return OpenVocabularySegmenter(
        ConceptProposals(FakeNetwork(), ConceptOptions(**options)), FakeWords(), OPEN
    )


def named(result: Any) -> list[tuple[str, float]]:
    return [(result.name_of(n), round(float(result.scores[n]), 4)) for n in range(len(result))]


def test_a_word_finds_its_masks() -> None:
    result = segmenter_of().segment(FRAME, words("cup"))
    assert named(result) == [("cup", 0.8), ("", 0.3)]
    assert result.boxes_xyxy.tolist() == [CUP, POT]
    torch.testing.assert_close(result.mask_scores, torch.tensor([0.8, 0.3]) / 0.9)
    assert result.found("cup") == [0]
    assert result.best("cup") == (0, pytest.approx(0.8))
    near = segmenter_of().segment(FRAME, words("shelf"))
    assert near.best("shelf") == (None, pytest.approx(0.45)), "a near miss is no find"
    assert segmenter_of().segment(FRAME, words("zebra")).best("zebra") == (None, 0.0)


def test_no_word_finds_nothing() -> None:
    result = segmenter_of().segment(FRAME, words())
    assert len(result) == 0
    assert result.probs.shape == (0, 0)
    assert result.label_image().shape == SIZE_HW


def test_a_thing_that_two_words_find_is_one() -> None:
    result = segmenter_of().segment(FRAME, words("cup", "mug", "pot"))
    # the mug is nearly the cup and surer; what the cup sees in the pot is the pot's
    assert result.boxes_xyxy.tolist() == [[2, 3, 12, 12], POT]
    torch.testing.assert_close(result.probs, torch.tensor([[0.8, 0.9, 0.0], [0.3, 0.0, 0.7]]))
    assert named(result) == [("mug", 0.9), ("pot", 0.7)]
    assert result.runner_up == ("cup", "cup")
    apart = segmenter_of(duplicate_iou=0.95).segment(FRAME, words("cup", "mug"))
    assert sorted(named(apart)) == [("", 0.3), ("cup", 0.8), ("mug", 0.9)]


def test_two_of_one_word_stay_two() -> None:
    masks = rectangles(torch.tensor([CUP, CUP]), SIZE_HW)
    found = Found(masks, torch.tensor([[0.9], [0.8]]), torch.ones(2), torch.zeros(2, 3))
    assert len(merged(found, 0.5).masks) == 2


def test_a_word_scores_the_same_alone_and_among_many() -> None:
    alone = segmenter_of().segment(FRAME, words("pot"))
    many = segmenter_of().segment(FRAME, words("zebra", "shelf", "pot", "cup"))
    assert alone.best("pot")[1] == many.best("pot")[1] == pytest.approx(0.7)


def test_the_image_is_looked_at_once_and_each_word_once() -> None:
    segmenter = segmenter_of()
    calls = segmenter.proposer.network.calls
    embedded = segmenter.embed(FRAME)
    assert len(embedded) == 0
    assert calls == {"look": 1}
    for asked in (("cup",), ("cup", "pot"), ("pot",), ("pot", "mug")):
        segmenter.label(embedded, words(*asked))
    assert calls == {"look": 1, "cup": 1, "pot": 1, "mug": 1}


def test_small_and_surplus_masks_go() -> None:
    segmenter = segmenter_of()
    embedded, asked = segmenter.embed(FRAME), words("cup", "shelf")
    assert len(segmenter.label(embedded, asked)) == 3
    small = dataclasses.replace(OPEN, min_mask_pixels=200)
    assert segmenter.label(embedded, asked, small).boxes_xyxy.tolist() == [SHELF]
    two = dataclasses.replace(OPEN, max_masks=2)
    assert sorted(segmenter.label(embedded, asked, two).scores.tolist()) == pytest.approx([0.45, 0.8])
    assert len(segmenter_of(min_score=0.4).segment(FRAME, asked)) == 2


def test_settled_masks_stay_whatever_is_asked() -> None:
    segmenter = segmenter_of()
    embedded = segmenter.settled(segmenter.embed(FRAME), ("cup", "mug", "pot", "zebra"))
    assert isinstance(embedded.scene, SettledScene)
    for asked, best in (("cup", 0.8), ("zebra", 0.0), ("pot", 0.7)):
        result = segmenter.label(embedded, words(asked))
        assert torch.equal(result.masks, embedded.masks)
        assert float(result.probs.max()) == pytest.approx(best)
    assert named(segmenter.label(embedded, words("zebra", "pot"))) == [("", 0.0), ("pot", 0.7)]
    with pytest.raises(
        InvalidInputError, match=r"expected words that the masks were found by, got " r"\['shelf'\]"
    ):
        segmenter.label(embedded, words("shelf"))
    other = OpenVocabularySegmenter(ConceptProposals(FakeNetwork()), FakeWords(), OPEN).embed(FRAME)
    assert segmenter.settled(dataclasses.replace(other, scene=None), ("cup",)).scene is None


def later(stamp: int, **changes: Any) -> Frame:
    return dataclasses.replace(FRAME, stamp_ns=stamp * 100_000_000, **changes)


def test_what_is_found_is_followed(monkeypatch) -> None:
    video = VideoSegmenter(segmenter_of())
    first = video.segment(later(1), words("cup"))
    assert first.track_ids.tolist() == [1, 2]
    assert (video.last.tracks, video.last.births, video.last.encoded) == (2, 2, 0)
    monkeypatch.setitem(FINDS, "cup", [([3, 3, 13, 13], 0.8), (POT, 0.6)])  # the cup moved by a pixel
    again = video.segment(later(2), words("cup"))
    assert again.track_ids.tolist() == [1, 2]
    monkeypatch.setitem(FINDS, "cup", [(POT, 0.6)])
    assert video.segment(later(3), words("cup")).track_ids.tolist() == [2]
    monkeypatch.setitem(FINDS, "cup", [(POT, 0.6), (CUP, 0.8)])
    back = video.segment(later(4), words("cup"))
    assert dict(zip(back.track_ids.tolist(), back.embedded.boxes_xyxy.tolist(), strict=True)) == {
        1: CUP,
        2: POT,
    }
    assert {"find", "track"} <= set(back.timings)
    other = video.segment(later(5, image_rgb=np.zeros((40, 30, 3), np.uint8)), words("pot"))
    assert other.track_ids.tolist() == [3], "numbers are never used again"


def test_other_words_of_a_frame_share_its_tracks_and_change_nothing() -> None:
    video = VideoSegmenter(segmenter_of())
    video.segment(later(1), words("cup"))
    network = video.segmenter.proposer.network
    embedded = video.embed(later(2))
    assert network.calls == {"look": 2, "cup": 2}, "the words that were noted last"
    asked = video.label(embedded, words("pot", "shelf"))
    by_box = dict(zip(map(tuple, asked.embedded.boxes_xyxy.tolist()), asked.track_ids.tolist(), strict=True))
    assert by_box == {tuple(POT): 2, tuple(SHELF): 0}, "the shelf is in nobody's track"
    assert network.calls["cup"] == 2
    settled = video.segmenter.settled(embedded, ("mug", "pot"))
    assert settled.track_ids.tolist() == [1, 2]
    assert video.label(settled, words("pot")).track_ids.tolist() == [1, 2]
    video.note(video.label(embedded, words("pot")))
    assert video.segment(later(3), words("zebra")).track_ids.tolist() == []
    assert video.last.tracks == 2, "not in view, and not given up yet"


def test_cameras_are_followed_apart() -> None:
    video = VideoSegmenter(segmenter_of())
    ids = [
        video.segment(later(stamp, frame_id=name), words("cup")).track_ids.tolist()
        for stamp, name in ((1, "left"), (1, "right"), (2, "left"), (2, "right"))
    ]
    assert ids == [[1, 2], [3, 4], [1, 2], [3, 4]]


def test_frames_agree_by_tracks_and_by_where_masks_are() -> None:
    video, confirmation = VideoSegmenter(segmenter_of()), Confirmation(2, 3)
    counts = []
    for stamp in (1, 2):
        result = video.segment(later(stamp), words("cup"))
        view = View.of(result)
        seen = [Sighting("cup", 0, view.masks[n]) for n in result.found("cup")]
        counts.append(confirmation.add(seen))
        assert view.embeddings.shape == (2, 3)
        assert np.allclose(np.linalg.norm(view.embeddings, axis=1), 1)
    assert counts == [[1], [2]]


def test_other_classifiers_and_words_are_refused() -> None:
    proposer = ConceptProposals(FakeNetwork())
    crops = FakeWords()
    crops.words_only = False
    with pytest.raises(
        ConfigError, match=r"'clip' needs masks before the words.*take the classifier maskformer"
    ):
        OpenVocabularySegmenter(proposer, crops, dataclasses.replace(OPEN, classifier="clip"))
    other = FakeWords()
    other.space = "another"
    with pytest.raises(ConfigError, match="needs masks and words of one network"):
        OpenVocabularySegmenter(proposer, other, OPEN)


def test_what_is_not_finite_is_refused(monkeypatch) -> None:
    monkeypatch.setitem(FINDS, "cup", [(CUP, float("inf"))])
    with pytest.raises(NotFiniteError, match="probabilities"):
        segmenter_of().segment(FRAME, words("cup"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_score": 1.0}, r"expected min_score in \[0, 1\)"),
        ({"duplicate_iou": 0.0}, r"expected duplicate_iou in \(0, 1\]"),
        ({"precision": "int4"}, "expected precision one of auto, fp32"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ConceptOptions(**options)


def test_what_it_declares() -> None:
    proposer = ConceptProposals(FakeNetwork())
    assert as_proposer(proposer) is proposer
    assert (proposer.needs_depth, proposer.classifies, proposer.grid_points) == (False, True, None)
