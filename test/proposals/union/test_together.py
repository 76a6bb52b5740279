"""Colour masks, made by hand, and real depth clusters of views whose truth is known, as one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from proposals_scenes import Box, Cylinder, as_sensed, best_ious, view

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.proposals.depth.depth_clusters import DepthClusters
from ovseg_ros.proposals.union import UnionOptions, UnionProposals

ROOT = Path(__file__).resolve().parents[3]
RED_CAN = Cylinder((-0.04, 0.0, 0.0), 0.04, 0.12, (190, 50, 40))
BLUE_CAN = Cylinder((0.04, 0.0, 0.0), 0.04, 0.12)
CARTON = Box((0.2, 0.05, 0.08), (0.09, 0.06, 0.16), (220, 190, 40))
TRAY = Box((0.0, 0.0, 0.01), (0.36, 0.26, 0.02), (60, 60, 70))
CUP = Cylinder((0.03, 0.02, 0.02), 0.035, 0.09, (230, 230, 225))


class Colour:
    """Stands for a colour network: gives what it was given."""

    needs_depth = False

    def __init__(self, *scored):
        self.scored = scored

    def propose(self, frame):
        masks = np.array([mask for mask, _ in self.scored], bool).reshape(-1, *frame.size_hw)
        return Proposals(torch.from_numpy(masks), torch.tensor([score for _, score in self.scored]))


@cache
def seen(*things):
    frame, instances = view(things, size_hw=(240, 320))
    return as_sensed(frame), instances


def together(frame, *scored, **options):
    return UnionProposals([Colour(*scored), DepthClusters()], UnionOptions(**options)).propose(frame)


def alone(frame):
    return DepthClusters().propose(frame)


def sloppy(mask, pixels=1):
    """As a small network's grid gives it: shifted and rounded."""
    import cv2

    moved = np.roll(mask, pixels, axis=(0, 1)).astype(np.float32)
    return cv2.blur(moved, (2 * pixels + 1,) * 2) > 0.5


def test_touching_things_are_split_by_colour():
    frame, instances = seen(RED_CAN, BLUE_CAN)
    assert len(alone(frame)) == 1
    got = together(frame, (sloppy(instances == 1), 0.7), (sloppy(instances == 2), 0.75))
    masks = got.masks.numpy()
    assert len(masks) == 2
    assert min(best_ious(masks, instances)) > 0.85


def test_parts_of_a_thing_do_not_split_it():
    """Front and top of a carton, and its label, as a network that doubts them gives them."""
    frame, instances = seen(CARTON)
    whole = instances == 1
    y, x = np.nonzero(whole)
    rows, columns = np.mgrid[:240, :320]
    top, front = whole & (rows < np.quantile(y, 0.3)), whole & (rows >= np.quantile(y, 0.3))
    label = front & (np.abs(columns - x.mean()) < 6) & (np.abs(rows - np.quantile(y, 0.65)) < 8)
    doubted = [(sloppy(top), 0.2), (sloppy(front), 0.22), (label, 0.2)]
    assert torch.equal(together(frame, *doubted).masks, alone(frame).masks)
    surer = [(sloppy(whole), 0.8), (sloppy(top), 0.3), (sloppy(front), 0.6), (label, 0.45)]
    got = together(frame, *surer)
    assert len(got) == 1
    assert best_ious(got.masks.numpy(), instances)[0] > 0.9


def test_a_flat_thing_is_found_by_colour():
    frame, instances = seen(CARTON)
    paper = np.zeros(instances.shape, bool)
    paper[120:170, 60:130] = True
    got = together(frame, (paper, 0.4))
    assert len(got) == len(alone(frame)) + 1
    assert (got.masks[0].numpy() == paper).all()


@pytest.mark.parametrize("seen_through", [False, True], ids=["hole", "table behind"])
def test_a_transparent_thing_is_found_by_colour(seen_through):
    frame, instances = seen(RED_CAN, CARTON)
    behind = seen(CARTON)[0].depth_m if seen_through else np.zeros_like(frame.depth_m)
    glass = instances == 1
    rng = np.random.default_rng(0)
    depth = np.where(glass & (rng.random(glass.shape) < 0.995), behind, frame.depth_m)
    shiny = Frame(frame.image_rgb, depth, frame.intrinsics)
    assert best_ious(alone(shiny).masks.numpy(), instances)[0] < 0.5
    got = together(shiny, (sloppy(glass), 0.6))
    assert min(best_ious(got.masks.numpy(), instances)) > 0.75


def test_a_cup_on_a_tray_are_two_things():
    frame, instances = seen(TRAY, CUP)
    tray_and_cup = instances > 0
    got = together(frame, (sloppy(tray_and_cup), 0.9), (sloppy(instances == 2), 0.5)).masks.numpy()
    assert min(best_ious(got, np.where(tray_and_cup, instances, 0))) > 0.8
    for mask in (tray_and_cup, instances == 2):
        assert best_ious(got, mask.astype(int))[0] > 0.8
    assert len(got) == 2 + (best_ious(got, (instances == 1).astype(int))[0] > 0.95)


def test_a_label_on_a_tray_is_part_of_it():
    frame, instances = seen(TRAY)
    y, x = np.nonzero(instances == 1)
    label = np.zeros(instances.shape, bool)
    label[int(y.mean()) - 10 : int(y.mean()) + 10, int(x.mean()) - 20 : int(x.mean()) + 20] = True
    assert len(together(frame, (instances == 1, 0.8), (label, 0.45))) == 1
    assert len(together(Frame(frame.image_rgb), (instances == 1, 0.8), (label, 0.45))) == 2
    assert len(together(frame, (instances == 1, 0.8), (label, 0.45), keep_parts=True)) == 2


def test_the_table_is_no_thing_where_depth_shows_it():
    frame, instances = seen(RED_CAN, CARTON)
    bare = (frame.depth_m > 0) & (instances == 0)
    assert len(together(frame, (bare, 0.9))) == len(alone(frame))
    assert len(together(frame, (bare, 0.9), keep_support=True)) == len(alone(frame)) + 1
    assert len(together(Frame(frame.image_rgb), (bare, 0.9))) == 1


def test_without_depth_colour_decides():
    frame, instances = seen(RED_CAN, BLUE_CAN)
    left, both = instances == 1, instances > 0
    bare = Frame(frame.image_rgb)
    colour = Colour((left, 0.8), (sloppy(left, 1), 0.6), (both, 0.7), (np.zeros_like(left), 0.9))
    got = UnionProposals([colour, DepthClusters()]).propose(bare)
    want = UnionProposals([colour]).propose(bare)
    assert torch.equal(got.masks, torch.from_numpy(np.stack([left, both])))
    assert torch.equal(got.masks, want.masks)
    assert torch.equal(got.scores, want.scores)
    assert got.scores.tolist() == pytest.approx([0.8, 0.7])


def test_depth_in_a_corner_has_a_say_there_alone():
    frame, instances = seen(TRAY, CUP)
    depth = np.where(np.mgrid[:240, :320][1] < 40, frame.depth_m, 0).astype(np.float32)
    corner = Frame(frame.image_rgb, depth, frame.intrinsics)
    scored = ((instances > 0, 0.9), (instances == 2, 0.5))
    assert torch.equal(together(corner, *scored).masks[:2], together(Frame(frame.image_rgb), *scored).masks)


def test_one_member_without_masks():
    frame, instances = seen(RED_CAN, CARTON)
    depth = alone(frame)
    got = together(frame)
    assert torch.equal(got.masks, depth.masks)
    torch.testing.assert_close(got.scores, depth.scores * UnionOptions().unrated_trust)
    nothing = Frame(frame.image_rgb, np.full(frame.size_hw, 1.0, np.float32), frame.intrinsics)
    assert together(nothing, (instances == 1, 0.5)).scores.tolist() == [0.5]
    assert len(together(nothing)) == 0


def test_of_two_views_of_a_thing_one_stays_and_both_make_it_surer():
    frame, instances = seen(CARTON)
    carton = instances == 1
    assert together(frame, (sloppy(carton), 0.8)).scores.tolist() == pytest.approx([0.8])
    doubted = together(frame, (sloppy(carton, 1), 0.1))
    assert torch.equal(doubted.masks, alone(frame).masks)


@pytest.mark.parametrize(("name", "step"), [("tabletop", 12), ("garage", 1)])
def test_depth_alone_in_a_union_is_depth_alone(name, step):
    """Masks that do not overlap have nothing to drop; scores without rivals stay what they are."""
    union = UnionProposals([DepthClusters()])
    assert not union.scores_are_iou
    for recorded in list(read_recording(ROOT / "demo" / name))[::step]:
        got, want = union.propose(recorded.frame), alone(recorded.frame)
        assert torch.equal(got.masks, want.masks)
        assert torch.equal(got.scores, want.scores)


def test_a_union_in_a_union_has_scores_of_one_meaning():
    frame, instances = seen(RED_CAN, CARTON)
    inner = UnionProposals([Colour((instances == 1, 0.9)), DepthClusters()])
    assert inner.scores_are_iou
    got, want = UnionProposals([inner]).propose(frame), inner.propose(frame)
    assert torch.equal(got.masks, want.masks)
    assert torch.equal(got.scores, want.scores)
