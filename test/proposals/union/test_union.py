"""Several generators as one: duplicates by mask IoU, what else masks carry, frames without depth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ovseg_ros.core.frame import CameraIntrinsics, Frame, Proposals, Proposer
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.proposals.depth.depth_clusters import DepthClusters
from ovseg_ros.proposals.union import UnionOptions, UnionProposals, distinct
from ovseg_ros.proposals.union.joined import concatenated

HEIGHT, WIDTH = 12, 16
IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
FRAME = Frame(IMAGE)
WITH_DEPTH = Frame(
    IMAGE, np.ones((HEIGHT, WIDTH), np.float32), CameraIntrinsics(20.0, 20.0, 8.0, 6.0, WIDTH, HEIGHT)
)


class Fixed:
    """Gives the same proposals for every frame, and counts."""

    def __init__(self, proposals, needs_depth=False):
        self.proposals, self.needs_depth, self.calls = proposals, needs_depth, 0

    def propose(self, frame):
        self.calls += 1
        if self.needs_depth and frame.depth_m is None:
            raise InvalidInputError("expected depth, got none")
        return self.proposals


def boxes(*corners, scores=None, **extra):
    """Proposals from (top, left, bottom, right)."""
    masks = torch.zeros((len(corners), HEIGHT, WIDTH), dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(masks, corners):
        mask[top:bottom, left:right] = True
    given = torch.full((len(corners),), 0.5) if scores is None else torch.tensor(scores)
    return Proposals(masks, given, **extra)


def soft(count, value=0.0, grid=(3, 4), padded=(HEIGHT, WIDTH)):
    return SoftMasks(torch.full((count, *grid), value), padded, (HEIGHT, WIDTH))


def naive(masks, scores, duplicate_iou):
    """One pair and one pixel at a time."""
    order = sorted(range(len(masks)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        for j in kept:
            overlap = union = 0
            for a, b in zip(masks[i].ravel(), masks[j].ravel()):
                overlap += bool(a) and bool(b)
                union += bool(a) or bool(b)
            if union and overlap / union >= duplicate_iou:
                break
        else:
            kept.append(i)
    return sorted(kept)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("duplicate_iou", [0.1, 0.5, 0.85, 1.0])
def test_distinct_matches_a_loop(seed, duplicate_iou):
    """Boxes, copies with a few pixels changed, empty and full masks, and many equal scores."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((24, HEIGHT, WIDTH), bool)
    for mask in masks[:12]:
        top, left = rng.integers(0, HEIGHT - 2), rng.integers(0, WIDTH - 2)
        mask[top : top + rng.integers(1, 9), left : left + rng.integers(1, 9)] = True
    masks[12:20] = masks[rng.integers(0, 12, 8)] ^ (rng.random((8, HEIGHT, WIDTH)) < 0.01)
    masks[20], masks[21] = masks[3], masks[5]
    masks[23] = True
    scores = rng.integers(0, 5, 24).astype(np.float32) / 4
    got = distinct(masks, scores, duplicate_iou)
    assert got.tolist() == naive(masks, scores, duplicate_iou)
    assert len(got) < 24
    assert 22 in got  # empty, and no one's copy


def test_the_loop_and_the_limit_meet_exactly():
    """IoU 3/4 is a duplicate at 0.75 and not a hair above."""
    given = boxes((0, 0, 2, 4), (0, 0, 2, 3))
    assert distinct(given.masks.numpy(), given.scores.numpy(), 0.75).tolist() == [0]
    assert distinct(given.masks.numpy(), given.scores.numpy(), np.nextafter(0.75, 1)).tolist() == [0, 1]


def test_distinct_of_nothing_and_of_one():
    assert distinct(np.zeros((0, 3, 4), bool), np.zeros(0, np.float32), 0.5).shape == (0,)
    assert distinct(np.ones((1, 3, 4), bool), np.zeros(1, np.float32), 0.5).tolist() == [0]


def test_the_better_one_stays_and_order_is_kept():
    first = Fixed(boxes((0, 0, 4, 4), (6, 6, 10, 10), scores=[0.4, 0.9]))
    second = Fixed(boxes((0, 0, 4, 4), (0, 8, 3, 12), (6, 6, 10, 10), scores=[0.8, 0.1, 0.2]))
    got = UnionProposals([first, second]).propose(FRAME)
    assert got.scores.tolist() == pytest.approx([0.9, 0.8, 0.1])
    assert torch.equal(got.masks, torch.cat([first.proposals.masks[1:], second.proposals.masks[:2]]))


def test_of_equal_scores_the_earlier_members_stays():
    near = boxes((0, 0, 4, 5))
    near.masks[0, 0, 0] = False
    first, second = Fixed(boxes((0, 0, 4, 5))), Fixed(near)
    assert torch.equal(UnionProposals([first, second]).propose(FRAME).masks, first.proposals.masks)
    assert torch.equal(UnionProposals([second, first]).propose(FRAME).masks, near.masks)


def test_a_member_without_masks_has_no_say():
    assert UnionProposals([Fixed(boxes()), Fixed(boxes())]).propose(FRAME).masks.shape == (0, HEIGHT, WIDTH)
    member = Fixed(boxes((0, 0, 2, 2), soft=soft(1), class_embeddings=torch.ones(1, 3)))
    got = UnionProposals([Fixed(boxes()), member]).propose(FRAME)
    assert got.soft is not None
    assert got.class_embeddings is not None


def test_soft_masks_of_all_are_kept_with_their_rows():
    first = Fixed(boxes((0, 0, 4, 4), (6, 6, 9, 9), scores=[0.2, 0.6], soft=soft(2, 1.0)))
    second = Fixed(boxes((0, 0, 4, 4), scores=[0.7], soft=soft(1, 2.0)))
    got = UnionProposals([first, second]).propose(FRAME)
    assert got.soft.logits[:, 0, 0].tolist() == [1.0, 2.0]
    assert got.soft.logits.shape == (2, 3, 4)
    assert (got.soft.padded_hw, got.soft.valid_hw) == ((HEIGHT, WIDTH), (HEIGHT, WIDTH))


@pytest.mark.parametrize(
    "other",
    [None, soft(1, grid=(6, 8)), soft(1, padded=(HEIGHT + 4, WIDTH))],
    ids=["none", "grid", "padding"],
)
def test_soft_masks_of_some_are_dropped(other):
    first = Fixed(boxes((0, 0, 4, 4), soft=soft(1)))
    second = Fixed(boxes((6, 6, 9, 9), soft=other))
    assert UnionProposals([first, second]).propose(FRAME).soft is None


def test_empty_masks_stay_only_beside_soft_ones():
    first = Fixed(boxes((0, 0, 0, 0), (0, 0, 4, 4), soft=soft(2)))
    with_soft = Fixed(boxes((6, 6, 9, 9), soft=soft(1)))
    without = Fixed(boxes((6, 6, 9, 9)))
    assert len(UnionProposals([first, with_soft]).propose(FRAME)) == 3
    got = UnionProposals([first, without]).propose(FRAME)
    assert len(got) == 2
    assert all(mask.any() for mask in got.masks)
    assert len(UnionProposals([Fixed(boxes((0, 0, 0, 0)))]).propose(FRAME)) == 0


def test_numbers_of_objects_are_kept_where_one_member_alone_has_them():
    def part(ids=None):
        masks = torch.zeros((2, 4, 4), dtype=torch.bool)
        masks[0, :2], masks[1, 2:] = True, True
        return Proposals(masks, torch.ones(2), object_ids=None if ids is None else torch.tensor(ids))

    assert concatenated([part(), part([5, 0])]).object_ids.tolist() == [0, 0, 5, 0]
    assert concatenated([part()]).object_ids is None
    assert concatenated([part([1, 2]), part([1, 2])]).object_ids is None, "two members' would be mixed up"
    with pytest.raises(InvalidInputError, match=r"expected object_ids \(2,\), got \(3,\)"):
        part([1, 2, 3])


def test_class_embeddings_of_all_are_kept_with_their_rows():
    rivals = torch.tensor([[0.0, 1.0]])
    first = boxes((0, 0, 4, 4), scores=[0.2], class_embeddings=torch.tensor([[1.0, 1.0]]), non_object=rivals)
    second = boxes(
        (0, 0, 4, 4),
        (6, 6, 9, 9),
        scores=[0.5, 0.4],
        class_embeddings=torch.tensor([[2.0, 2.0], [3.0, 3.0]]),
        non_object=rivals.clone(),
    )
    got = UnionProposals([Fixed(first), Fixed(second)]).propose(FRAME)
    assert got.class_embeddings.tolist() == [[2.0, 2.0], [3.0, 3.0]]
    assert torch.equal(got.non_object, rivals)


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"class_embeddings": torch.ones(1, 3)},
        {"class_embeddings": torch.ones(1, 2)},
        {"class_embeddings": torch.ones(1, 2), "non_object": torch.ones(1, 2)},
        {"class_embeddings": torch.ones(1, 2), "non_object": torch.zeros(2, 2)},
    ],
    ids=["none", "columns", "no rivals", "other rivals", "more rivals"],
)
def test_class_embeddings_of_some_or_of_another_space_are_dropped(other):
    first = boxes((0, 0, 4, 4), class_embeddings=torch.ones(1, 2), non_object=torch.zeros(1, 2))
    got = UnionProposals([Fixed(first), Fixed(boxes((6, 6, 9, 9), **other))]).propose(FRAME)
    assert len(got) == 2
    assert got.class_embeddings is None
    assert got.non_object is None


# ---- depth ----


def test_what_needs_depth_is_left_out_with_a_warning_where_depth_was_lost(caplog, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("ovseg_ros.proposals.union.proposer.time.monotonic", lambda: clock[0])
    colour, depth = Fixed(boxes((0, 0, 4, 4))), Fixed(boxes((6, 6, 9, 9)), needs_depth=True)
    union = UnionProposals([depth, colour])
    assert not union.needs_depth
    for _ in range(3):
        assert torch.equal(union.propose(FRAME).masks, colour.proposals.masks)
    assert not caplog.records  # a colour camera is nothing to warn of
    for seconds, warnings in ((1, 1), (2, 1), (40, 2)):  # depth that comes and goes is not told each time
        clock[0] = 100.0 + seconds
        assert len(union.propose(WITH_DEPTH)) == 2
        for _ in range(2):
            union.propose(Frame(IMAGE, WITH_DEPTH.depth_m))  # without intrinsics depth is of no use
        assert len(caplog.records) == warnings
    assert caplog.messages == ["depth was there and is missing: Fixed left out of the union"] * 2
    assert depth.calls == 3


def test_a_frame_without_depth_is_refused_where_that_is_wanted():
    members = [Fixed(boxes((0, 0, 4, 4))), Fixed(boxes((6, 6, 9, 9)), needs_depth=True)]
    union = UnionProposals(members, UnionOptions(skip_without_depth=False))
    assert union.needs_depth
    with pytest.raises(InvalidInputError, match="expected depth"):
        union.propose(FRAME)


def test_where_all_need_depth_the_union_does(caplog):
    union = UnionProposals([DepthClusters(), Fixed(boxes(), needs_depth=True)])
    assert union.needs_depth
    with pytest.raises(InvalidInputError, match="depth_clusters wants depth"):
        union.propose(FRAME)
    assert not caplog.records


def test_another_complaint_of_a_member_goes_through():
    """Only missing depth is a reason to leave a member out."""
    wrong = CameraIntrinsics(20.0, 20.0, 8.0, 6.0, WIDTH + 1, HEIGHT)
    union = UnionProposals([Fixed(boxes((0, 0, 4, 4))), DepthClusters()])
    with pytest.raises(InvalidInputError, match="expected intrinsics of the image"):
        union.propose(Frame(IMAGE, WITH_DEPTH.depth_m, wrong))


def test_a_union_can_be_a_member():
    inner = UnionProposals([Fixed(boxes((0, 0, 4, 4))), Fixed(boxes((6, 6, 9, 9)), needs_depth=True)])
    outer = UnionProposals([inner, Fixed(boxes((0, 0, 4, 4)))], UnionOptions(skip_without_depth=False))
    assert isinstance(outer, Proposer)
    assert not outer.needs_depth
    assert len(outer.propose(FRAME)) == 1


# ---- refusals ----


def test_masks_of_another_size_are_refused():
    member = Fixed(Proposals.empty(HEIGHT, WIDTH + 1))
    with pytest.raises(InvalidInputError, match=r"\(12, 16\), got \(12, 17\) from Fixed"):
        UnionProposals([member]).propose(FRAME)


def test_a_union_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        UnionProposals([])


@pytest.mark.parametrize("value", [0, -0.1, 1.01, float("nan")])
def test_a_limit_out_of_range_is_refused(value):
    with pytest.raises(ConfigError, match="duplicate_iou"):
        UnionOptions(duplicate_iou=value)


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan")])
def test_a_trust_out_of_range_is_refused(value):
    with pytest.raises(ConfigError, match="unrated_trust"):
        UnionOptions(unrated_trust=value)
