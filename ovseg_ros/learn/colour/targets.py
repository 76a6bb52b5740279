"""Which cell answers for which thing, and what its answer costs."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovseg_ros.learn.colour.pictures import Sample
from ovseg_ros.proposals.colour.network import PIXEL_STRIDE, STRIDES, Cells

RANGES = ((0.0, 64.0), (40.0, 144.0), (104.0, 1e9))
"""Square root of a thing's pixels, at the network's input, for which each level answers; they overlap."""

CORE = 0.5
"""Share of a thing's box, around its middle, whose cells answer for it."""

NOTHING, UNKNOWN = -1, -2

_MOST_ANSWERS = 96  # cells per picture whose masks are made; the rest of the answers goes unjudged


@dataclass(frozen=True)
class Targets:
    """What the cells of one picture should say.

    Attributes:
        owner: (A,) int64, the thing a cell answers for, `NOTHING`, or `UNKNOWN` where it is not judged.
        masks: (N, h, w) float32 share of each pixel of the mask's grid that is the thing.
        boxes: (N, 4) float32 centre x, centre y, half width, half height, in pixels of the input.
    """

    owner: torch.Tensor
    masks: torch.Tensor
    boxes: torch.Tensor


def targets_of(sample: Sample) -> Targets:
    """Assigns cells to things.

    A cell answers for a thing if the thing's size suits its level, and it lies on the thing and in the core
    of its box; a thing without such a cell gets the one nearest to its middle. Of two things the smaller
    wins. Cells in the core of a thing for whose size they do not answer are not judged, nor are those in
    `unknown`.

    Args:
        sample: sides multiples of 32.
    """
    height, width = sample.image.shape[:2]
    order = np.argsort(-sample.masks.sum(axis=(1, 2)), kind="stable")  # the smaller is written last
    masks = sample.masks[order]
    boxes = np.stack([_box(mask) for mask in masks]) if len(masks) else np.zeros((0, 4), np.float32)
    owners = []
    for stride, (least, most) in zip(STRIDES, RANGES, strict=True):
        rows, columns = height // stride, width // stride
        middle = stride // 2
        owner = np.where(sample.unknown[middle::stride, middle::stride], UNKNOWN, NOTHING)
        at_cell = masks[:, middle::stride, middle::stride]
        ys = (np.arange(rows) + 0.5) * stride
        xs = (np.arange(columns) + 0.5) * stride
        for number, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
            size = np.sqrt(np.count_nonzero(mask))
            core = (np.abs(ys - box[1]) <= CORE * box[3])[:, None] & (np.abs(xs - box[0]) <= CORE * box[2])
            core &= at_cell[number]
            if not least <= size < most:
                owner[core] = UNKNOWN
                continue
            if not core.any():
                core = _nearest(at_cell[number], box, ys, xs)
            owner[core] = number
        owners.append(owner.reshape(-1))
    shares = [
        cv2.resize(
            mask.astype(np.float32),
            (width // PIXEL_STRIDE, height // PIXEL_STRIDE),
            interpolation=cv2.INTER_AREA,
        )
        for mask in masks
    ]
    grid = (0, height // PIXEL_STRIDE, width // PIXEL_STRIDE)
    return Targets(
        torch.from_numpy(np.concatenate(owners).astype(np.int64)),
        torch.from_numpy(np.stack(shares)) if shares else torch.zeros(grid),
        torch.from_numpy(boxes.astype(np.float32)),
    )


def _box(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, right, top, bottom = xs[0], xs[-1] + 1, ys[0], ys[-1] + 1
    return np.array(
        [(left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2], np.float32
    )


def _nearest(
    on_thing: npt.NDArray[np.bool_],
    box: npt.NDArray[np.float32],
    ys: npt.NDArray[np.float64],
    xs: npt.NDArray[np.float64],
) -> npt.NDArray[np.bool_]:
    """The one cell nearest to the box's centre, of those on the thing if there are any."""
    far = np.abs(ys - box[1])[:, None] + np.abs(xs - box[0])
    if on_thing.any():
        far = np.where(on_thing, far, np.inf)
    one = np.zeros(far.shape, bool)
    one.flat[np.argmin(far)] = True
    return one


@dataclass(frozen=True)
class Losses:
    """Of one picture; sums, to be divided by the number of answers of the batch.

    Attributes:
        score: how far scores are from the IoU of their masks.
        mask: Dice and cross entropy of masks.
        box: distance of boxes.
        answers: cells whose masks were judged.
        iou: mean IoU of those masks, for people.
    """

    score: torch.Tensor
    mask: torch.Tensor
    box: torch.Tensor
    answers: int
    iou: float


def losses_of(cells: Cells, targets: Targets, rng: np.random.Generator) -> Losses:
    """Judges what the cells of one picture say.

    Args:
        cells: of the picture.
        targets: see there.
        rng: chooses the answers that are judged where there are too many.
    """
    owner = targets.owner.numpy()
    answering = np.flatnonzero(owner >= 0)
    if len(answering) > _MOST_ANSWERS:  # as many of each thing as can be
        shuffled = rng.permutation(answering)
        turn = _turns(owner[shuffled])
        chosen = shuffled[np.argsort(turn, kind="stable")[:_MOST_ANSWERS]]
        owner = owner.copy()
        owner[np.setdiff1d(answering, chosen)] = UNKNOWN
        answering = chosen
    quality = torch.zeros(len(owner))
    zero = cells.scores.sum() * 0
    mask_loss, box_loss, mean_iou = zero, zero, 0.0
    if len(answering):
        index = torch.from_numpy(answering)
        of = torch.from_numpy(owner[answering])
        logits, truth = cells.mask_logits(index), targets.masks[of]  # (M,h,w)
        near = _near(targets.boxes[of], truth.shape[1:])
        mask_loss = dice(logits, truth).sum() + cross_entropy(logits, truth, near).sum()
        box_loss = box_distance(cells.boxes[index], targets.boxes[of]).sum()
        with torch.no_grad():
            found, true = logits > 0, truth >= 0.5
            both = (found & true).sum((1, 2)).float()
            iou = both / (found | true).sum((1, 2)).clamp(min=1)
            quality[index] = iou.clamp(min=0.05)
            mean_iou = float(iou.mean())
    judged = torch.from_numpy(owner != UNKNOWN)
    scores, wanted = cells.scores[judged], quality[judged]
    # Quality focal loss (Li et al., NeurIPS 2020, arXiv 2006.04388).
    surprise = (scores.detach().sigmoid() - wanted).square()
    score_loss = (surprise * F.binary_cross_entropy_with_logits(scores, wanted, reduction="none")).sum()
    return Losses(score_loss, mask_loss, box_loss, len(answering), mean_iou)


def dice(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """(M,) 1 - Dice coefficient of (M, h, w) logits and shares in [0, 1]."""
    found = logits.sigmoid().flatten(1)
    truth = truth.flatten(1)
    both = (found * truth).sum(1)
    return 1 - (2 * both + 1) / (found.square().sum(1) + truth.square().sum(1) + 1)


def cross_entropy(logits: torch.Tensor, truth: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
    """(M,) mean binary cross entropy over the pixels that are `near` (M, h, w)."""
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (each * near).sum((1, 2)) / near.sum((1, 2)).clamp(min=1)


def box_distance(boxes: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """(M,) smooth L1 of centres, in half sides of the true box, and of the logarithms of half sides."""
    centre = (boxes[:, :2] - truth[:, :2]) / truth[:, 2:]
    half = boxes[:, 2:].log() - truth[:, 2:].log()
    far = torch.cat([centre, half], dim=1)
    return F.smooth_l1_loss(far, torch.zeros_like(far), beta=0.3, reduction="none").mean(1)


def _near(boxes: torch.Tensor, grid_hw: torch.Size) -> torch.Tensor:
    """(M, h, w) float32, 1 within twice the box."""
    ys = (torch.arange(grid_hw[0]) + 0.5) * PIXEL_STRIDE
    xs = (torch.arange(grid_hw[1]) + 0.5) * PIXEL_STRIDE
    down = (ys - boxes[:, 1, None]).abs() <= 2 * boxes[:, 3, None] + PIXEL_STRIDE
    across = (xs - boxes[:, 0, None]).abs() <= 2 * boxes[:, 2, None] + PIXEL_STRIDE
    return (down[:, :, None] & across[:, None, :]).float()


def _turns(owners: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many of the same owner came before each."""
    turns = np.zeros(len(owners), np.int64)
    for owner in np.unique(owners):
        where = np.flatnonzero(owners == owner)
        turns[where] = np.arange(len(where))
    return turns
