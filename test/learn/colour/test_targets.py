"""Which cell answers for which thing."""

import numpy as np
import torch

from ovseg_ros.learn.colour.pictures import Sample
from ovseg_ros.learn.colour.targets import (
    NOTHING,
    UNKNOWN,
    box_distance,
    cross_entropy,
    dice,
    losses_of,
    targets_of,
)
from ovseg_ros.proposals.colour.network import STRIDES, Cells

SIDE = 256


def sample(*boxes: tuple[int, int, int, int], unknown: tuple[slice, slice] | None = None) -> Sample:
    """Rectangles left, top, right, bottom on black."""
    masks = np.zeros((len(boxes), SIDE, SIDE), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    unlabelled = np.zeros((SIDE, SIDE), bool)
    if unknown is not None:
        unlabelled[unknown] = True
    return Sample(np.zeros((SIDE, SIDE, 3), np.uint8), masks, unlabelled)


def levels(owner: torch.Tensor) -> list[np.ndarray]:
    """Owners of each level as a grid."""
    grids, first = [], 0
    for stride in STRIDES:
        side = SIDE // stride
        grids.append(owner[first : first + side * side].numpy().reshape(side, side))
        first += side * side
    return grids


def test_a_things_size_chooses_the_level_and_its_core_the_cells():
    fine, middle, coarse = levels(targets_of(sample((40, 80, 72, 112))).owner)  # 32 pixels wide
    assert {(y, x) for y, x in np.argwhere(fine == 0)} == {(11, 6), (11, 7), (12, 6), (12, 7)}
    assert (middle >= 0).sum() == (coarse >= 0).sum() == 0
    assert (fine[fine != 0] == NOTHING).all()
    large = levels(targets_of(sample((0, 0, 240, 240))).owner)
    assert (large[0] >= 0).sum() == 0
    assert (large[0] == UNKNOWN).sum() > 0  # its core on a level that does not answer is not judged
    assert (large[2] == 0).sum() == 16


def test_a_thing_without_a_cell_of_its_own_gets_the_nearest():
    fine = levels(targets_of(sample((100, 100, 103, 103))).owner)[0]
    assert [(int(y), int(x)) for y, x in np.argwhere(fine == 0)] == [(12, 12)]


def test_of_two_things_the_smaller_has_the_cell():
    targets = targets_of(sample((40, 80, 96, 136), (56, 96, 80, 120)))
    fine = levels(targets.owner)[0]
    assert (fine == 0).sum() > 0
    y, x = np.argwhere(fine == 1)[0]
    assert targets.boxes[1].tolist() == [68, 108, 12, 12]
    assert (8 * x, 8 * y) == (64, 104)


def test_what_is_unknown_is_not_judged():
    fine = levels(targets_of(sample((40, 80, 72, 112), unknown=np.s_[128:, :])).owner)[0]
    assert (fine[16:] == UNKNOWN).all()
    assert (fine[:8] == NOTHING).all()


def answers(picture: Sample, *, right: bool) -> Cells:
    """Cells that say the truth about everything, or that nothing is there."""
    targets = targets_of(picture)
    count = len(targets.owner)
    scores, kernels = torch.full((count,), -8.0), torch.zeros(count, 1 + 3)
    boxes = torch.tensor([10.0, 10.0, 4.0, 4.0]).repeat(count, 1)
    pixels = torch.full((1, SIDE // 4, SIDE // 4), -30.0)
    if right:
        mine = targets.owner >= 0
        pixels = torch.where(targets.masks.amax(0) > 0.5, 60.0, -60.0)[None]
        scores[mine], kernels[mine, 0], boxes[mine] = 8.0, 1.0, targets.boxes[targets.owner[mine]]
    return Cells(scores.requires_grad_(), boxes.requires_grad_(), kernels.requires_grad_(), pixels)


def test_the_truth_costs_nothing_and_a_lie_does():
    picture = sample((40, 80, 72, 112))
    true = losses_of(answers(picture, right=True), targets_of(picture), np.random.default_rng(0))
    false = losses_of(answers(picture, right=False), targets_of(picture), np.random.default_rng(0))
    assert true.answers == 4
    assert true.iou == 1.0
    assert float(true.mask) < 1e-3
    assert float(true.box) == 0
    assert float(true.score) < 1e-3
    assert float(false.mask) > 1
    assert float(false.box) > 1
    assert false.iou == 0


def test_a_picture_without_things_teaches_that_nothing_is_there():
    picture = sample()
    loss = losses_of(answers(picture, right=False), targets_of(picture), np.random.default_rng(0))
    assert loss.answers == 0
    assert float(loss.mask) == float(loss.box) == 0
    assert float(loss.score) > 0


def test_the_parts_of_the_cost():
    truth = torch.zeros(1, 4, 4)
    truth[0, :2] = 1
    sure = (truth * 2 - 1) * 50
    assert float(dice(sure, truth)) < 1e-6
    assert abs(float(dice(-sure, truth)) - (1 - 1 / 17)) < 1e-6
    assert abs(float(cross_entropy(torch.zeros(1, 4, 4), truth, torch.ones(1, 4, 4))) - np.log(2)) < 1e-6
    box = torch.tensor([[8.0, 8.0, 4.0, 4.0]])
    assert float(box_distance(box, box)) == 0
    assert float(box_distance(box + torch.tensor([[4.0, 0, 0, 0]]), box)) > 0.2
