"""Average recall against loops that count it naively, and what becomes of pictures that cannot be scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mask_fixtures import SIZES_HW, Shaken, iou, naive_recalls, true_masks, write_instances

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.evaluate.masks import LIMITS, SIZES, InstanceDataset, read_instances, score_masks
from ovseg_ros.evaluate.masks.recall import FOUND_LIMIT

THRESHOLDS = np.arange(10) * 0.05 + 0.5


@pytest.fixture
def dataset(tmp_path: Path) -> InstanceDataset:
    return read_instances(write_instances(tmp_path))


def nothing(frame: Frame) -> Proposals:
    return Proposals.empty(*frame.size_hw)


def exact(frame: Frame) -> Proposals:
    masks = np.array(true_masks()[SIZES_HW.index(frame.size_hw)], bool).reshape(-1, *frame.size_hw)
    return Proposals(torch.from_numpy(masks), torch.ones(len(masks)))


@pytest.mark.parametrize("seed", range(3))
def test_recall_is_what_naive_loops_count(dataset: InstanceDataset, seed: int) -> None:
    shaken = Shaken(seed)
    scores = score_masks(dataset, shaken.propose)
    assert (scores.images, scores.failed) == (4, ())
    for limit in LIMITS:
        for size in SIZES:
            naive = naive_recalls(shaken.of_size.__getitem__, limit, size, THRESHOLDS)
            assert scores.average_recall(limit, size) == pytest.approx(np.mean(naive), abs=1e-12)
            assert scores.at[limit].recall_at_half[size] == pytest.approx(naive[0], abs=1e-12)
    assert scores.average_recall(10) < scores.average_recall(100)  # or the limit was not tried


def test_mean_best_iou_is_of_the_masks_that_count(dataset: InstanceDataset) -> None:
    shaken = Shaken(1)
    scores = score_masks(dataset, shaken.propose)
    for limit in LIMITS:
        best = []
        for size_hw, truth in zip(SIZES_HW, true_masks(), strict=True):
            masks, sure = shaken.of_size[size_hw]
            counting = masks[np.argsort(-sure, kind="stable")[:limit]]
            best += [max(iou(mask, one) for mask in counting) for one in truth]
        assert scores.at[limit].mean_best_iou["all"] == pytest.approx(np.mean(best))
        if limit == FOUND_LIMIT:
            assert [one.best_iou for one in scores.objects] == pytest.approx(best)


def test_the_truth_itself_is_found_and_nothing_finds_nothing(dataset: InstanceDataset) -> None:
    scores = score_masks(dataset, exact)
    assert scores.true_objects == {"all": 10, "small": 5, "medium": 3, "large": 2}
    assert scores.crowds == 1
    assert all(scores.average_recall(limit, size) == 1.0 for limit in LIMITS for size in SIZES)
    assert all(one.found and one.best_iou == 1.0 for one in scores.objects)
    assert [one.category for one in scores.objects[:3]] == ["block", "disc", "block"]
    assert scores.masks_per_image == 10 / 4
    none = score_masks(dataset, nothing)
    assert none.average_recall() == none.at[1000].mean_best_iou["all"] == 0.0
    assert not any(one.found or one.best_iou or one.best_rle for one in none.objects)
    assert len(none.objects) == 10


def test_a_mask_matches_one_object_and_a_crowd_is_neither_found_nor_missed(tmp_path: Path) -> None:
    with_crowd = read_instances(write_instances(tmp_path / "a"))
    without = read_instances(write_instances(tmp_path / "b", crowd=False))

    def on_the_crowd(frame: Frame) -> Proposals:
        masks = torch.zeros((3, *frame.size_hw), dtype=torch.bool)
        masks[:, 180:230, 200:300] = True
        return Proposals(masks, torch.ones(3))

    for propose in (on_the_crowd, exact):
        one, other = (score_masks(d, propose) for d in (with_crowd, without))
        assert one.at == other.at
        assert one.objects == other.objects
    twice = score_masks(with_crowd.take(1), lambda frame: exact(frame).take(torch.tensor([0, 0, 0])))
    assert twice.average_recall() == 1 / 4


def test_sizes_nobody_has_are_unknown(dataset: InstanceDataset) -> None:
    empty = InstanceDataset("empty", dataset.pictures[3:], "")
    scores = score_masks(empty, nothing)
    assert scores.average_recall() is None
    assert scores.at[10].mean_best_iou["small"] is None
    assert scores.objects == ()


def test_of_more_masks_than_count_the_surest_are_taken(dataset: InstanceDataset) -> None:
    def many(frame: Frame) -> Proposals:
        masks = torch.zeros((1001, *frame.size_hw), dtype=torch.bool)
        masks[:, 0, 0] = True
        sure = torch.linspace(0.5, 1.0, 1001)
        if len(truth := exact(frame).masks):
            masks[0] = truth[0]  # the least sure one, beyond the thousand
        return Proposals(masks, sure)

    scores = score_masks(dataset.take(1), many)
    assert scores.masks_per_image == 1001
    assert scores.average_recall(1000) == 0.0
    surest = score_masks(dataset.take(1), lambda frame: Proposals(many(frame).masks, -many(frame).scores))
    assert surest.average_recall(10) == 1 / 4


def test_pictures_that_fail_count_nowhere(dataset: InstanceDataset) -> None:
    dataset.pictures[1].path.unlink()

    def fails(frame: Frame) -> Proposals:
        if frame.size_hw == SIZES_HW[2]:
            raise RuntimeError("out of luck")
        return exact(frame)

    seen = []
    scores = score_masks(dataset, fails, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert scores.images == 2
    assert scores.true_objects["all"] == 4
    assert scores.average_recall() == 1.0
    (first, why), (second, luck) = scores.failed
    assert (first, second) == ("pictures/p1.png", "pictures/p2.png")
    assert "p1.png is not there" in why
    assert luck == "RuntimeError: out of luck"


def test_errors(dataset: InstanceDataset) -> None:
    def wrong(frame: Frame) -> Proposals:
        return Proposals.empty(3, 3)

    with pytest.raises(InvalidInputError, match=r"none of the 4 pictures .* expected proposals of size"):
        score_masks(dataset, wrong)

    def unranked(frame: Frame) -> Proposals:
        masks = torch.ones((1, *frame.size_hw), dtype=torch.bool)
        return Proposals(masks, torch.full((1,), torch.nan))

    with pytest.raises(InvalidInputError, match="finite scores"):
        score_masks(dataset, unranked)

    def misconfigured(frame: Frame) -> Proposals:
        raise ConfigError("no such thing")

    with pytest.raises(ConfigError, match="no such thing"):
        score_masks(dataset, misconfigured)
    (dataset.pictures[0].path).unlink()
    with pytest.raises(InvalidInputError, match="none of the 1 pictures"):
        score_masks(dataset.take(1), exact)
