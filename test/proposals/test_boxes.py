"""Boxes of a detector as masks: which are kept, how they are cut, and what their scores mean to words."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_fixtures import FixedProposer, words

from ovseg_ros.core.frame import Frame, Proposals, as_proposer
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.errors import ConfigError, InvalidInputError, NotFiniteError
from ovseg_ros.proposals.boxes import BoxOptions, BoxOutput, BoxProposals, matched, rectangles
from ovseg_ros.proposals.union import UnionProposals

SIZE_HW = (20, 30)
FRAME = Frame(np.zeros((*SIZE_HW, 3), np.uint8))
AXES = {"cup": 0, "pot": 1, "wall": 2}
OPEN = SegmenterOptions(
    classifier="maskformer", threshold=0.5, others="", templates=("{}",), min_mask_pixels=1
)


class FakeDetector:
    """Says the same of every image."""

    space = "fake"

    def __init__(self, boxes: list[list[float]], objectness: list[float] | None = None) -> None:
        count = len(boxes)
        self.boxes = torch.tensor(boxes).reshape(-1, 4)
        self.objectness = torch.tensor(objectness or [0.9 - 0.1 * i for i in range(count)])
        generator = torch.Generator().manual_seed(0)
        self.own = torch.randn(count, 3, generator=generator)
        self.odds = torch.rand(count, 2, generator=generator) * 4

    def __call__(self, image_rgb: np.ndarray) -> BoxOutput:
        assert image_rgb.shape == (*SIZE_HW, 3)
        return BoxOutput(self.boxes, self.objectness, self.own, self.odds)


class AxisWords:
    """Each word is an axis."""

    size, embedding_dim, logit_scale, words_only, space = 0, 3, 1.0, True, "fake"

    def encode_text(self, labels, templates=None):
        return torch.eye(3)[[AXES[label] for label in labels]]


THREE = [[2.0, 3.0, 12.0, 13.0], [20.2, 1.4, 40.0, 9.6], [0.0, 0.0, 4.0, 4.0]]


def proposals(boxes: list[list[float]] = THREE, **options: object) -> Proposals:
    return BoxProposals(FakeDetector(boxes), BoxOptions(**options)).propose(FRAME)


def test_boxes_are_rounded_and_cut_at_the_image() -> None:
    found = proposals()
    assert found.masks.shape == (3, *SIZE_HW)
    for mask, (x0, y0, x1, y1) in zip(
        found.masks, [(2, 3, 12, 13), (20, 1, 30, 10), (0, 0, 4, 4)], strict=True
    ):
        want = torch.zeros(SIZE_HW, dtype=torch.bool)
        want[y0:y1, x0:x1] = True
        assert torch.equal(mask, want)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8, 0.7]))


def test_boxes_beside_the_image_and_without_area_go() -> None:
    beside = [[40.0, 2.0, 50.0, 9.0], [3.0, -9.0, 8.0, -1.0], [5.0, 5.0, 5.4, 9.0], [5.0, 5.0, 9.0, 9.0]]
    found = proposals(beside)
    assert len(found) == 1
    torch.testing.assert_close(found.scores, torch.tensor([0.6]))
    assert len(proposals([])) == 0
    assert proposals([]).class_embeddings.shape == (0, 3)


def test_the_surest_stay_and_come_first() -> None:
    detector = FakeDetector(THREE, [0.1, 0.9, 0.5])
    found = BoxProposals(detector, BoxOptions(max_boxes=2)).propose(FRAME)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.5]))
    torch.testing.assert_close(found.class_embeddings, detector.own[[1, 2]])
    torch.testing.assert_close(found.scale_shift, detector.odds[[1, 2]])


def test_of_two_that_are_nearly_one_the_surer_stays() -> None:
    twice = [[2.0, 2.0, 12.0, 12.0], [2.0, 2.0, 12.0, 11.0], [2.0, 2.0, 12.0, 8.0]]  # IoU 0.9 and 0.6
    assert len(proposals(twice)) == 2
    assert len(proposals(twice, nms_iou=0.5)) == 1
    assert len(proposals(twice, nms_iou=1.0)) == 3


def test_a_mask_of_its_size_takes_the_place_of_a_box() -> None:
    ring = rectangles(torch.tensor([[2, 3, 12, 13]]), SIZE_HW)[0]
    ring[6:9, 5:9] = False
    other = rectangles(torch.tensor([[14, 12, 18, 19]]), SIZE_HW)[0]
    cutter = FixedProposer(torch.stack([other, ring]))
    plain = proposals()
    found = BoxProposals(FakeDetector(THREE), cutter=cutter).propose(FRAME)
    assert torch.equal(found.masks[0], ring)
    assert torch.equal(found.masks[1:], plain.masks[1:])
    assert torch.equal(found.scores, plain.scores)
    nothing = FixedProposer(torch.zeros(0, *SIZE_HW, dtype=torch.bool))
    assert torch.equal(BoxProposals(FakeDetector(THREE), cutter=nothing).propose(FRAME).masks, plain.masks)
    wrong = FixedProposer(torch.ones(1, 4, 4, dtype=torch.bool))
    with pytest.raises(InvalidInputError, match="expected proposals of size"):
        BoxProposals(FakeDetector(THREE), cutter=wrong).propose(FRAME)


def plain_pairs(boxes: torch.Tensor, others: torch.Tensor, least: float) -> list[tuple[int, int]]:
    """Each other's best, by loops."""

    def iou(a: list[float], b: list[float]) -> float:
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        shared = max(width, 0) * max(height, 0)
        area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
        return shared / area if area else 0.0

    table = [[iou(a, b) for b in others.tolist()] for a in boxes.tolist()]
    pairs = []
    for n, m in itertools.product(range(len(boxes)), range(len(others))):
        if table[n][m] >= least and table[n][m] == max(table[n]) == max(row[m] for row in table):
            pairs.append((n, m))
    return pairs


def test_pairs_are_each_others_best() -> None:
    generator = torch.Generator().manual_seed(1)
    for count, more in ((5, 7), (1, 1), (8, 2), (0, 3), (3, 0)):
        corners = torch.rand(count + more, 2, generator=generator) * 8
        both = torch.cat([corners, corners + 1 + 6 * torch.rand(count + more, 2, generator=generator)], dim=1)
        place, mask = matched(both[:count], both[count:], 0.3)
        assert sorted(zip(place.tolist(), mask.tolist(), strict=True)) == plain_pairs(
            both[:count], both[count:], 0.3
        )
    empty = torch.zeros(2, 4)
    assert len(matched(empty, empty, 0.1)[0]) == 0


def test_each_words_probability_is_a_sigmoid_of_its_own() -> None:
    detector = FakeDetector(THREE)
    segmenter = OpenVocabularySegmenter(BoxProposals(detector), AxisWords(), OPEN)
    result = segmenter.segment(FRAME, words("cup", "pot"))
    for n, k in itertools.product(range(3), range(2)):
        row = F.normalize(detector.own[n].double(), dim=0)
        scale, shift = detector.odds[n].tolist()
        want = 1 / (1 + math.exp(-scale * (float(row[k]) + shift)))
        assert float(result.probs[n, k]) == pytest.approx(want, abs=1e-6)
    assert float(result.probs.sum(1).max()) > 1, "they share nothing"
    assert result.label_index.tolist() == [
        int(row.argmax()) if row.max() >= 0.5 else -1 for row in result.probs
    ]
    alone = segmenter.segment(FRAME, words("pot"), dataclasses.replace(OPEN, background=("wall",)))
    torch.testing.assert_close(alone.probs[:, 0], result.probs[:, 1])
    assert set(alone.runner_up) == {"wall"}


def test_scales_go_with_their_masks() -> None:
    found = proposals()
    index = torch.tensor([2, 0])
    assert torch.equal(found.take(index).scale_shift, found.scale_shift[index])
    segmenter = OpenVocabularySegmenter(BoxProposals(FakeDetector(THREE)), AxisWords(), OPEN)
    embedded = segmenter.embed(FRAME)
    assert torch.equal(embedded.take(index).scale_shift, embedded.scale_shift[index])
    few = dataclasses.replace(OPEN, max_masks=2)
    assert torch.equal(segmenter.embed(FRAME, few).scale_shift, embedded.scale_shift[:2])


def test_a_union_keeps_scales_where_all_have_them() -> None:
    boxes = BoxProposals(FakeDetector(THREE))
    joined = UnionProposals([boxes]).propose(FRAME)
    assert torch.equal(joined.scale_shift, boxes.propose(FRAME).scale_shift)
    shared = Proposals(
        rectangles(torch.tensor([[14, 12, 18, 19]]), SIZE_HW), torch.ones(1), None, torch.ones(1, 3)
    )
    without = FixedProposer(shared.masks)
    without.proposals = shared
    mixed = UnionProposals([boxes, without]).propose(FRAME)
    assert mixed.class_embeddings is mixed.scale_shift is None


@pytest.mark.parametrize(
    "odds", [torch.ones(2, 2), torch.ones(1, 3)], ids=["another number of masks", "another width"]
)
def test_scales_that_fit_nothing_are_refused(odds: torch.Tensor) -> None:
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    with pytest.raises(InvalidInputError, match=r"expected scale_shift \(1,2\) beside class_embeddings"):
        Proposals(mask, torch.ones(1), None, torch.ones(1, 3), None, odds)
    with pytest.raises(InvalidInputError, match="beside None"):
        Proposals(mask, torch.ones(1), scale_shift=torch.ones(1, 2))


def test_what_is_not_finite_is_refused() -> None:
    detector = FakeDetector(THREE)
    detector.boxes[0, 0] = torch.nan
    with pytest.raises(ConfigError, match="expected finite boxes and embeddings"):
        BoxProposals(detector).propose(FRAME)
    mask = torch.ones(1, *SIZE_HW, dtype=torch.bool)
    given = FixedProposer(mask)
    given.proposals = Proposals(
        mask, torch.ones(1), None, torch.ones(1, 3), None, torch.tensor([[torch.inf, 0.0]])
    )
    given.classifies, given.space = True, "fake"
    with pytest.raises(NotFiniteError, match="scales and shifts"):
        OpenVocabularySegmenter(given, AxisWords(), OPEN).embed(FRAME)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_boxes": 0}, "expected max_boxes >= 1"),
        ({"nms_iou": 0.0}, r"expected nms_iou in \(0, 1\]"),
        ({"mask_iou": 1.5}, r"expected mask_iou in \(0, 1\]"),
        ({"precision": "int4"}, "expected precision one of auto, fp32"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BoxOptions(**options)


def test_what_it_declares() -> None:
    boxes = BoxProposals(FakeDetector(THREE))
    assert as_proposer(boxes) is boxes
    assert (boxes.needs_depth, boxes.classifies, boxes.grid_points) == (False, True, None)
