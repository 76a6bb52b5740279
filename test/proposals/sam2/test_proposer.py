"""Masks of SAM 2.1 and EdgeTAM: transformers' own answers, another generator's boxes, and bad input."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from sam2_fixtures import LENIENT, SIDE, library_says, tiny_options, tiny_proposals, tiny_sam2
from sam_fixtures import picture

from ovseg_ros.core.frame import Frame, Hints, Proposals, Proposer
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.proposals.sam.prompts import Prompts
from ovseg_ros.proposals.sam2.masks import stability
from ovseg_ros.proposals.sam2.proposer import Sam2Options, Sam2Proposals

BOXES = [[10.0, 10.0, 50.0, 60.0], [0.0, 0.0, 80.0, 96.0], [30.5, 20.25, 31.5, 80.0]]
POINTS = [[40.0, 48.0], [5.0, 90.0], [79.0, 0.0]]
ANYTHING = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


class Boxes:
    """A generator that finds rectangles, and counts how often it is asked."""

    classifies, grid_points = False, None

    def __init__(self, *boxes, scores=None, needs_depth=False, rated=True):
        self.boxes, self.scores, self.needs_depth, self.asked = boxes, scores, needs_depth, 0
        self.scores_are_iou = rated

    def propose(self, frame, hints=None):
        self.asked += 1
        masks = torch.zeros((len(self.boxes), *frame.size_hw), dtype=torch.bool)
        for mask, (left, top, right, bottom) in zip(masks, self.boxes, strict=True):
            mask[top:bottom, left:right] = True
        scores = [0.5] * len(masks) if self.scores is None else self.scores
        return Proposals(masks, torch.tensor(scores, dtype=torch.float32))


@pytest.mark.parametrize("kind", ["sam2", "edgetam"])
@pytest.mark.parametrize("multimask", ["all", "best", "single"])
def test_prompts_get_what_transformers_answers(kind, multimask):
    image = picture(96, 80)
    given = {"boxes": {"input_boxes": BOXES}, "points": {"input_points": [[point] for point in POINTS]}}
    given["both"] = {**given["boxes"], **given["points"], "input_labels": [[1], [0], [1]]}
    proposals = tiny_proposals(kind)
    for name, prompts in given.items():
        masks, rated = library_says(
            proposals.network.model, image, multimask=multimask != "single", **prompts
        )
        if multimask == "best":
            masks = masks[torch.arange(3), rated.argmax(dim=1)][:, None]
        ours = proposals.propose_at(
            Frame(image),
            boxes_xyxy=BOXES if name != "points" else None,
            points_xy=POINTS if name != "boxes" else None,
            point_labels=[1, 0, 1] if name == "both" else None,
            multimask=multimask,
        )
        masks = masks.flatten(0, 1)
        masks = masks[masks.flatten(1).any(dim=1)]
        assert len(masks) >= 2
        assert torch.equal(ours.masks, masks)
        assert masks.float().mean() not in (0, 1), "else anything would be equal"


@pytest.mark.parametrize("kind", ["sam2", "edgetam"])
def test_the_grid_gets_what_transformers_pipeline_finds(kind):
    """On a square image: on others the pipeline (5.23) lays its grid over a part of the stretched image."""
    from PIL import Image
    from transformers import Sam2ImageProcessor, pipeline

    image = picture(96, 96)
    settings = {**LENIENT, "points_per_side": 6, "stability_score_offset": 0.3}
    proposals = Sam2Proposals(tiny_sam2(kind), tiny_options(points_per_side=6, stability_score_offset=0.3))
    found = pipeline(
        "mask-generation",
        model=proposals.network.model,
        image_processor=Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}),
        device="cpu",
    )(
        Image.fromarray(image),
        points_per_crop=6,
        points_per_batch=7,
        crops_nms_thresh=settings["box_nms_thresh"],
        **{
            key: settings[key]
            for key in ("pred_iou_thresh", "stability_score_thresh", "stability_score_offset")
        },
    )
    ours = proposals.propose(Frame(image))
    assert len(ours) == len(found["masks"]) >= 2
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(ours.masks, found["masks"], strict=True))
    assert (ours.scores <= found["scores"].clamp(0, 1) + 1e-6).all(), "the rating times the stability"
    assert (ours.scores < found["scores"].clamp(0, 1)).any()


def test_the_grid_covers_an_image_that_is_not_square():
    image = picture(48, 96)
    proposals = tiny_proposals(points_per_side=2, box_nms_thresh=1.0, **ANYTHING)
    ours = proposals.propose(Frame(image))
    points = [[[24.0, 12.0]], [[72.0, 12.0]], [[24.0, 36.0]], [[72.0, 36.0]]]
    masks, rated = library_says(proposals.network.model, image, multimask=True, input_points=points)
    masks = masks.flatten(0, 1)[rated.flatten().argsort(descending=True, stable=True)]
    assert torch.equal(ours.masks, masks[masks.flatten(1).any(dim=1)])


def test_scores_are_the_rating_times_the_stability():
    proposals = tiny_proposals()
    frame = Frame(picture())
    ours = proposals.propose_at(frame, boxes_xyxy=BOXES, multimask="single")
    model = proposals.network.model
    _, rated = library_says(model, frame.image_rgb, multimask=False, input_boxes=BOXES)
    logits, _ = proposals.network.decode(
        proposals.network.embed(frame.image_rgb),
        Prompts(np.array(BOXES), None, None),
        frame.size_hw,
        multimask=False,
    )
    high, low = (logits[:, 0] > shift for shift in (0.1, -0.1))
    by_hand = [float(h.sum()) / float(low_one.sum()) for h, low_one in zip(high, low, strict=True)]
    assert ours.scores.tolist() == pytest.approx((rated[:, 0].clamp(0, 1) * torch.tensor(by_hand)).tolist())
    assert stability(torch.full((1, 2, 2), -9.0), 0.0, 1.0).tolist() == [0.0]


@pytest.mark.parametrize("kind", ["sam2", "edgetam"])
def test_boxes_of_another_generator_become_its_masks(kind):
    """Every answer is taken: the masks are those of the boxes, the image is encoded once for all."""
    source = Boxes((10, 10, 50, 60), (3, 70, 30, 90), (60, 5, 78, 20))
    proposals = tiny_proposals(
        kind, source, least_agreement=0.0, duplicate_iou=1.0, prompts_per_batch=2, **ANYTHING
    )
    frame = Frame(picture())
    encoded = []
    proposals.network._encode = lambda pixels, encode=proposals.network._encode: (
        encoded.append(1) or encode(pixels)
    )
    ours = proposals.propose(frame)
    masks, rated = library_says(
        proposals.network.model,
        frame.image_rgb,
        multimask=False,
        input_boxes=[list(map(float, b)) for b in source.boxes],
    )
    assert torch.equal(ours.masks, masks[:, 0])
    assert (ours.scores <= rated[:, 0].clamp(0, 1)).all()
    assert (len(encoded), source.asked) == (1, 1)


def test_what_the_network_rates_low_stays_as_it_was_found():
    source = Boxes((10, 10, 50, 60), (3, 70, 30, 90), scores=[0.7, 0.4])
    for change in ({"pred_iou_thresh": 1.0}, {"stability_score_thresh": 1.0}, {"least_agreement": 1.0}):
        proposals = tiny_proposals("sam2", source, **{**ANYTHING, **change})
        ours = proposals.propose(Frame(picture()))
        assert torch.equal(ours.masks, source.propose(Frame(picture())).masks), change
        assert ours.scores.tolist() == pytest.approx([0.7, 0.4])
    unrated = Boxes((10, 10, 50, 60), scores=[1.0], rated=False)
    ours = tiny_proposals("sam2", unrated, pred_iou_thresh=1.0).propose(Frame(picture()))
    assert ours.scores.tolist() == pytest.approx([0.65]), "what follows size is not trusted like an IoU"


def test_a_mask_that_agrees_stands_in_and_another_does_not():
    """The other generator's first mask is the network's own answer, its second lies elsewhere."""
    frame = Frame(picture())
    proposals = tiny_proposals(**ANYTHING)
    box = [10, 10, 50, 60]
    answer = proposals.propose_at(frame, boxes_xyxy=[box], multimask="single").masks[0]
    ys, xs = answer.nonzero(as_tuple=True)
    whole = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
    again = proposals.propose_at(frame, boxes_xyxy=[whole], multimask="single").masks[0]
    given = again.clone()
    given[ys.min(), xs.min()] = given[ys.max(), xs.max()] = True  # its box is the whole one again

    class Two(Boxes):
        def propose(self, frame, hints=None):
            far = torch.zeros_like(given)
            far[:3, 70:] = True
            return Proposals(torch.stack([given, far]), torch.tensor([0.2, 0.3]))

    ours = tiny_proposals("sam2", Two(), **ANYTHING).propose(frame)
    assert torch.equal(ours.masks[0], again)
    assert ours.masks[1, :3, 70:].all()
    assert ours.masks[1].sum() == 30
    assert ours.scores[1] == pytest.approx(0.3)


def test_the_same_thing_twice_is_proposed_once():
    twice = Boxes((10, 10, 50, 60), (10, 10, 50, 61), (3, 70, 30, 90), scores=[0.4, 0.7, 0.1])
    ours = tiny_proposals("sam2", twice, pred_iou_thresh=1.0).propose(Frame(picture()))
    assert torch.equal(ours.masks, twice.propose(Frame(picture())).masks[1:])


def test_where_there_are_no_boxes_the_grid_is_asked():
    frame = Frame(picture())
    grid = tiny_proposals().propose(frame)
    assert len(grid)
    nothing = Boxes()
    assert torch.equal(tiny_proposals("sam2", nothing).propose(frame).masks, grid.masks)
    assert len(tiny_proposals("sam2", nothing, points_per_side=0).propose(frame)) == 0
    empty = Boxes((0, 0, 0, 0))
    assert torch.equal(tiny_proposals("sam2", empty).propose(frame).masks, grid.masks)


def test_without_depth_the_grid_stands_in_for_a_generator_that_needs_it():
    source = Boxes((10, 10, 50, 60), needs_depth=True)
    image = picture()
    proposals = tiny_proposals("sam2", source, pred_iou_thresh=1.0)
    assert not proposals.needs_depth
    assert isinstance(proposals, Proposer)
    assert len(proposals.propose(Frame(image))) == source.asked == 0
    depth = np.ones(image.shape[:2], np.float32)
    intrinsics = CameraIntrinsics(fx=80.0, fy=80.0, cx=40.0, cy=48.0, width=80, height=96)
    ours = proposals.propose(Frame(image, depth, intrinsics))
    assert (len(ours), source.asked) == (1, 1)
    assert tiny_proposals("sam2", source, points_per_side=0).needs_depth


def test_tracks_are_asked_for_by_their_boxes():
    frame, hints = Frame(picture()), Hints(boxes_xyxy=torch.tensor(BOXES[:2]))
    proposals = tiny_proposals(video_points_per_side=0, duplicate_iou=1.0, **ANYTHING)
    wanted = proposals.propose_at(frame, boxes_xyxy=BOXES[:2], multimask="single").masks
    assert torch.equal(proposals.propose(frame, hints).masks, wanted)
    assert len(tiny_proposals(video_points_per_side=0, pred_iou_thresh=1.0).propose(frame, hints)) == 0
    off = torch.tensor([[-50.0, -50, -10, -10], [float("nan"), 0, 1, 1], [20, 20, 500, 500]])
    assert len(proposals.propose(frame, Hints(boxes_xyxy=off))) == 1
    # beside another generator's: what its boxes cover is not asked again
    source = Boxes((10, 10, 50, 60))
    both = tiny_proposals("sam2", source, least_agreement=0.0, duplicate_iou=1.0, **ANYTHING)
    asked = []
    both.network.decode = lambda features, prompts, size, multimask, decode=both.network.decode: (
        asked.append(len(prompts)) or decode(features, prompts, size, multimask=multimask)
    )
    assert len(both.propose(frame, hints)) == 2
    assert asked == [1, 1], "one box of its own, and the one track that is not covered"


def test_on_video_a_sparse_grid_finds_what_is_new():
    proposals = tiny_proposals(video_points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    assert proposals.grid_points == 2
    asked = []
    proposals.network.decode = lambda features, prompts, size, multimask, decode=proposals.network.decode: (
        asked.append(prompts.points_xy) or decode(features, prompts, size, multimask=multimask)
    )
    tracked = torch.tensor(BOXES[:1])
    for _ in range(2):
        proposals.propose(Frame(picture()), Hints(boxes_xyxy=tracked))
    proposals.propose(Frame(picture()), Hints(boxes_xyxy=tracked, points_per_side=1))
    proposals.propose(Frame(picture()), Hints(boxes_xyxy=tracked, points_per_side=0))
    assert [None if points is None else len(points) for points in asked] == [None, 4, None, 4, None, 1, None]
    assert not np.array_equal(asked[1], asked[3])
    assert tiny_proposals("sam2", Boxes()).grid_points is None
    assert tiny_proposals(video_points_per_side=0).grid_points is None


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 300), (300, 1), (2, 3), (3, 3), (5, 7)])
def test_tiny_and_narrow_images(size_hw):
    frame = Frame(np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8))
    for proposals in (
        tiny_proposals(**ANYTHING),
        tiny_proposals("sam2", Boxes((0, 0, *size_hw[::-1])), **ANYTHING),
    ):
        ours = proposals.propose(frame)
        assert tuple(ours.masks.shape[1:]) == size_hw
        assert ours.masks.flatten(1).any(dim=1).all()
        assert ((ours.scores >= 0) & (ours.scores <= 1)).all()


def test_bad_input_is_refused():
    frame = Frame(picture())
    proposals = tiny_proposals()
    with pytest.raises(InvalidInputError, match=r"expected boxes_xyxy \(M,4\)"):
        proposals.propose(frame, Hints(boxes_xyxy=torch.zeros(3, 5)))
    for points in (-1, 2.5, True):
        with pytest.raises(InvalidInputError, match="expected points_per_side as a whole number >= 0"):
            proposals.propose(frame, Hints(points_per_side=points))
    with pytest.raises(InvalidInputError, match="expected multimask one of best, all, single"):
        proposals.propose_at(frame, boxes_xyxy=BOXES, multimask="two")
    with pytest.raises(InvalidInputError, match="got neither"):
        proposals.propose_at(frame)
    with pytest.raises(InvalidInputError, match="clip boxes to the image"):
        proposals.propose_at(frame, boxes_xyxy=[[0, 0, 81, 10]])
    assert proposals.propose_at(frame, boxes_xyxy=[]).masks.shape == (0, 96, 80)
    assert proposals.propose(frame, Hints(points_per_side=0)).masks.shape == (0, 96, 80)
    with pytest.raises(ConfigError, match="points_per_side >= 1 or boxes_from"):
        tiny_proposals(points_per_side=0)

    class Wrong(Boxes):
        def propose(self, frame, hints=None):
            return Proposals.empty(5, 5)

    with pytest.raises(InvalidInputError, match="expected proposals of size"):
        tiny_proposals("sam2", Wrong()).propose(frame)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points_per_side": -1}, "points_per_side as a whole number >= 0"),
        ({"prompts_per_batch": 0}, "prompts_per_batch as a whole number >= 1"),
        ({"max_mask_pixels": True}, "max_mask_pixels as a whole number"),
        ({"image_size": 1000}, "image_size as a multiple of 32"),
        ({"image_size": 0}, "image_size as a multiple of 32"),
        ({"pred_iou_thresh": 1.1}, "pred_iou_thresh in"),
        ({"least_agreement": -0.1}, "least_agreement in"),
        ({"unrated_trust": 2}, "unrated_trust in"),
        ({"duplicate_iou": 0.0}, "duplicate_iou in"),
        ({"stability_score_offset": 0.0}, "stability_score_offset > 0"),
        ({"precision": "int8"}, "precision one of auto, fp32"),
        ({"precision_tolerance": -1.0}, "precision_tolerance >= 0"),
    ],
)
def test_options_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        Sam2Options(**changes)


def test_more_masks_than_may_be_held_are_cut_to_the_best(caplog):
    source = Boxes((10, 10, 50, 60), (3, 70, 30, 90), (60, 5, 78, 20), scores=[0.2, 0.9, 0.5])
    frame = Frame(picture())
    few = tiny_proposals("sam2", source, pred_iou_thresh=1.0, max_mask_pixels=2 * 96 * 80)
    assert few.propose(frame).scores.tolist() == pytest.approx([0.9, 0.5])
    grid = tiny_proposals(box_nms_thresh=1.0, max_mask_pixels=1, **ANYTHING)
    everything = tiny_proposals(box_nms_thresh=1.0, **ANYTHING).propose(frame)
    with caplog.at_level("WARNING"):
        assert grid.propose(frame).scores.tolist() == pytest.approx([float(everything.scores.max())])
        grid.propose(frame)
    assert caplog.text.count("see max_mask_pixels") == 1


def test_after_running_out_of_memory_half_as_many_are_decoded():
    proposals = tiny_proposals(points_per_side=4, prompts_per_batch=8)
    asked, decode = [], proposals.network.decode

    def short_of_memory(features, prompts, size, multimask):
        asked.append(len(prompts))
        if len(asked) == 1:
            raise torch.OutOfMemoryError
        return decode(features, prompts, size, multimask=multimask)

    proposals.network.decode = short_of_memory
    frame = Frame(picture())
    with pytest.raises(torch.OutOfMemoryError):
        proposals.propose(frame)
    proposals.propose(frame)
    proposals.propose(frame)
    assert asked == [8, *[4] * 4, *[8] * 2]


def test_the_features_of_a_frame_go_with_it():
    proposals = tiny_proposals()
    frame = Frame(picture())
    proposals.propose_at(frame, boxes_xyxy=BOXES)
    features = weakref.ref(proposals._asking._embedded[1][0])
    del frame
    gc.collect()
    assert features() is None


def test_masks_stay_on_the_device_and_have_no_gradient():
    """Nothing as large as masks or logits is asked for on the CPU by name."""
    moved = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func in (torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist) and args[0].ndim >= 3:
                moved.append(tuple(args[0].shape))
            return func(*args, **(kwargs or {}))

    source = Boxes((10, 10, 50, 60), (3, 70, 30, 90))
    for proposals in (tiny_proposals(), tiny_proposals("sam2", source, **ANYTHING)):
        for parameter in proposals.network.model.parameters():
            parameter.requires_grad_(True)
        with Watch():
            ours = proposals.propose(Frame(picture()), Hints(boxes_xyxy=torch.tensor(BOXES)))
            answer = proposals.propose_at(Frame(picture()), boxes_xyxy=BOXES)
        assert len(ours)
        assert not ours.scores.requires_grad
        assert not answer.scores.requires_grad
    assert moved == []


def test_warm_up_runs_what_a_frame_runs():
    source = Boxes((1, 1, 2, 2))
    for proposals, wanted in ((tiny_proposals(points_per_side=2), 4), (tiny_proposals("sam2", source), 1)):
        asked, decode = [], proposals.network.decode
        proposals.network.decode = lambda features, prompts, size, multimask, asked=asked, decode=decode: (
            asked.append(len(prompts)) or decode(features, prompts, size, multimask=multimask)
        )
        proposals.warm_up()
        proposals.warm_up(Frame(picture()))
        assert asked == [wanted] * 2
    assert source.asked == 2
