"""Segment Anything as a generator: what the library gives, prompts, 16 bits, odd images."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import asdict, fields
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from repository import ROOT
from sam_fixtures import disc_sam, library_says, picture, tiny_options, tiny_sam
from torch import nn

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.proposals.sam.precision import SamInPrecision, check_precision
from ovseg_ros.proposals.sam.proposer import SamOptions, SamProposals, working_size
from ovseg_ros.proposals.union import UnionOptions

HEIGHT, WIDTH = 96, 80


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.fixture(scope="module")
def frame():
    return Frame(picture(HEIGHT, WIDTH))


@pytest.fixture
def encodings(sam):
    """What the image encoder is given, call by call."""
    seen = []
    hook = sam.image_encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    yield seen
    hook.remove()


# ---- the grid ----


ROUND = {"points_per_side": 8, "stability_score_thresh": 0.6}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"points_per_side": 7, "points_per_batch": 4}, None),
        ({"pred_iou_thresh": 0.925}, False),
        ({"stability_score_thresh": 0.7}, False),
        ({"stability_score_offset": 0.8}, True),
        ({"box_nms_thresh": 0.5}, False),
        ({"crop_n_layers": 1}, True),
        ({"crop_n_layers": 1, "crop_nms_thresh": 0.3}, None),
        ({"crop_n_layers": 1, "crop_overlap_ratio": 0.0}, True),
        ({"crop_n_layers": 1, "crop_n_points_downscale_factor": 2}, True),
        ({"crop_n_layers": 2}, True),
        ({"min_mask_region_area": 1500}, None),
    ],
)
def test_every_setting_arrives(settings, more):
    """The library's masks again, and others than without the setting."""
    sam, frame = disc_sam(seed=2), Frame(picture(200, 160))
    plain = SamProposals(sam, SamOptions(**ROUND)).propose(frame)
    got = SamProposals(sam, SamOptions(**{**ROUND, **settings})).propose(frame)
    defaults = {"pred_iou_thresh": 0.88, "stability_score_offset": 1.0, "box_nms_thresh": 0.7}
    masks, scores = library_says(sam, frame.image_rgb, **{**defaults, **ROUND, **settings})
    assert np.array_equal(got.masks.numpy(), masks)
    assert np.allclose(got.scores.numpy(), scores)
    assert (got.masks.dtype, got.scores.dtype, got.soft) == (torch.bool, torch.float32, None)
    assert len(plain) == 10
    if more is None:
        assert got.masks.shape != plain.masks.shape or not torch.equal(got.masks, plain.masks)
    else:
        assert len(got) > len(plain) if more else 1 <= len(got) < len(plain)


def test_scores_are_cut_to_one(frame):
    sam = tiny_sam(seed=6)
    over = []
    hook = sam.mask_decoder.register_forward_hook(lambda _, __, out: over.append(float(out[1].max())))
    scores = SamProposals(sam, tiny_options()).propose(frame).scores
    hook.remove()
    assert max(over) > 1
    assert scores.max() == 1


def test_warming_up_is_for_graphics_cards(sam, frame, encodings, monkeypatch):
    """On a CPU it would take as long as the frame that it is to make quicker."""
    proposer, asked = SamProposals(sam, tiny_options()), []
    proposer.warm_up(frame)
    assert encodings == []
    monkeypatch.setattr(proposer, "device", torch.device("cuda"))
    monkeypatch.setattr(proposer, "propose", asked.append)
    proposer.warm_up(frame)
    assert asked == [frame]


def test_the_network_sees_what_the_paper_says(sam, encodings):
    """Long side to the input's, bilinear, mean and deviation per channel, zeros to the right or below."""
    for height, width in ((HEIGHT, WIDTH), (30, 50), (64, 64)):
        image = picture(height, width)
        SamProposals(sam, tiny_options(points_per_side=1)).propose(Frame(image))
        scale = 64 / max(height, width)
        h, w = math.floor(height * scale + 0.5), math.floor(width * scale + 0.5)
        small = np.array(Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR), np.float64)
        wanted = np.zeros((3, 64, 64))
        mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
        wanted[:, :h, :w] = ((small - mean) / std).transpose(2, 0, 1)
        assert np.allclose(encodings[-1][0].numpy(), wanted, atol=1e-5)


def test_no_mask_and_one_mask(sam, frame):
    """Crops without any mask are where the library itself fails: their boxes have no columns."""
    for crops in ({}, {"crop_n_layers": 2}, {"crop_n_layers": 1, "min_mask_region_area": 50}):
        options = tiny_options(stability_score_thresh=1.0, pred_iou_thresh=1.0, **crops)
        none = SamProposals(sam, options).propose(frame)
        assert none.masks.shape == (0, HEIGHT, WIDTH)
        assert none.scores.shape == (0,)
    assert len(SamProposals(sam, tiny_options(box_nms_thresh=0.0)).propose(frame)) == 1


def test_empty_masks_are_left_out(sam, frame, monkeypatch):
    monkeypatch.setattr(sam, "mask_threshold", 1e9, raising=False)
    options = tiny_options(pred_iou_thresh=0.0, stability_score_thresh=0.0)
    assert len(SamProposals(sam, options).propose(frame)) == 0


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (7, 400), (1, 2000)])
def test_images_of_any_shape(sam, size, layers):
    options = tiny_options(
        points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.0, crop_n_layers=layers
    )
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    proposals = SamProposals(sam, options).propose(Frame(image))
    assert proposals.masks.shape[1:] == size
    assert all(mask.any() for mask in proposals.masks)
    at = SamProposals(sam, options).propose_at(Frame(image), points_xy=[[size[1] - 1, size[0] - 1]])
    assert at.masks.shape == (1, *size)


def test_a_long_side_is_shrunk_and_masks_come_back(sam, encodings):
    image = picture(200, 120)
    got = SamProposals(sam, tiny_options(long_side=100)).propose(Frame(image))
    small = cv2.resize(image, (60, 100), interpolation=cv2.INTER_AREA)
    masks, scores = library_says(sam, small)
    assert len(got) == len(masks) > 1
    assert got.masks.shape[1:] == (200, 120)
    assert np.allclose(got.scores.numpy(), scores)
    # at the centres of the small pixels, between four large ones, nothing was interpolated
    for large, mask in zip(got.masks.numpy(), masks):
        same = [np.mean(large[y::2, x::2] == mask) for y in (0, 1) for x in (0, 1)]
        assert min(same) > 0.85
        assert abs(large.mean() - mask.mean()) < 0.03
    whole = SamProposals(sam, tiny_options(long_side=None)).propose(Frame(image))
    assert np.array_equal(whole.masks.numpy(), library_says(sam, image)[0])


@pytest.mark.parametrize(
    ("size", "image_size", "long_side", "wanted"),
    [
        ((960, 1280), 1024, 1280, (960, 1280)),
        ((1080, 1920), 1024, 1280, (720, 1280)),
        ((10_000, 10_000), 1024, 1280, (1280, 1280)),
        ((1, 40_000), 1024, None, (16, 16_384)),
        ((3, 5000), 1024, 1280, (2, 1280)),
        ((97, 31), 64, 1, (1, 1)),
    ],
)
def test_working_size(size, image_size, long_side, wanted):
    assert working_size(size, image_size, long_side) == wanted


def test_large_images_are_decoded_in_smaller_batches(sam, monkeypatch):
    """The same masks, from batches that fit."""
    frame, batches = Frame(picture(HEIGHT, WIDTH)), []
    hook = sam.mask_decoder.register_forward_hook(lambda _, __, out: batches.append(len(out[0])))
    try:
        whole = SamProposals(sam, tiny_options()).propose(frame)
        assert batches == [36]
        batches.clear()
        monkeypatch.setattr("ovseg_ros.proposals.sam.proposer._BATCH_PIXELS", 5 * 3 * HEIGHT * WIDTH)
        parts = SamProposals(sam, tiny_options()).propose(frame)
    finally:
        hook.remove()
    assert batches == [5] * 7 + [1]
    assert len(parts) == len(whole)
    assert (parts.masks == whole.masks).float().mean() > 0.999


def test_of_a_huge_image_the_best_masks_are_kept(caplog):
    """In their order, which between crops is not that of their scores."""
    sam, frame = disc_sam(seed=2), Frame(picture(200, 160))
    settings = {**ROUND, "crop_n_layers": 1}
    every = SamProposals(sam, SamOptions(**settings)).propose(frame)
    proposer = SamProposals(sam, SamOptions(**settings, max_mask_pixels=5 * 200 * 160 + 1))
    with caplog.at_level(logging.WARNING):
        got = [proposer.propose(frame) for _ in range(2)]
    (record,) = caplog.records
    assert record.message == "of 20 masks on 160 x 200 pixels the best 5 are kept: see max_mask_pixels"
    best = np.sort(np.argsort(-every.scores.numpy())[:5])
    assert not np.array_equal(best, np.argsort(-every.scores.numpy())[:5])
    for part in got:
        assert torch.equal(part.masks, every.masks[best])
        assert torch.equal(part.scores, every.scores[best])
    assert len(SamProposals(sam, SamOptions(**settings, max_mask_pixels=1)).propose(frame)) == 1


def test_the_network_is_left_as_it_was(frame):
    sam = tiny_sam().train()
    sam.mask_decoder.requires_grad_(False)
    before = {name: p.requires_grad for name, p in sam.named_parameters()}
    values = {name: p.detach().clone() for name, p in sam.named_parameters()}
    proposer = SamProposals(sam, tiny_options(precision="bf16"), check=True)
    got = proposer.propose(frame), proposer.propose_at(frame, points_xy=[[3, 4]])
    assert sam.training
    assert {name: p.requires_grad for name, p in sam.named_parameters()} == before
    assert all(torch.equal(p, values[name]) and p.grad is None for name, p in sam.named_parameters())
    assert not any(part.scores.requires_grad for part in got)
    assert sam.image_encoder is proposer.sam.image_encoder


def test_running_out_of_memory_shows_and_passes(frame):
    sam = tiny_sam()
    proposer = SamProposals(sam, tiny_options())
    wanted = proposer.propose(frame)

    def full(*_):
        raise torch.OutOfMemoryError("no room")

    hook = sam.mask_decoder.register_forward_pre_hook(full)
    for call in (lambda: proposer.propose(frame), lambda: proposer.propose_at(frame, points_xy=[[1, 1]])):
        with pytest.raises(torch.OutOfMemoryError):
            call()
    hook.remove()
    hook = sam.image_encoder.register_forward_pre_hook(full)
    other = Frame(frame.image_rgb)
    with pytest.raises(torch.OutOfMemoryError):
        proposer.propose_at(other, points_xy=[[1, 1]])
    hook.remove()
    assert torch.equal(proposer.propose(frame).masks, wanted.masks)
    assert len(proposer.propose_at(other, points_xy=[[1, 1]])) == 1


# ---- the options ----


def test_defaults_are_the_librarys():
    import inspect

    from segment_anything import SamAutomaticMaskGenerator

    theirs = inspect.signature(SamAutomaticMaskGenerator.__init__).parameters
    ours = asdict(SamOptions())
    left_out = {"self", "model", "point_grids", "output_mode"}
    assert set(theirs) - left_out == set(ours) - {
        "precision",
        "precision_tolerance",
        "runtime",
        "min_agreement",
        "long_side",
        "max_mask_pixels",
        "image_size",
        "video_points_per_side",
        "video_duplicate_iou",
    }
    assert all(ours[name] == theirs[name].default for name in set(theirs) - left_out)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points_per_side": 2.5}, "points_per_side"),
        ({"points_per_batch": True}, "points_per_batch"),
        ({"crop_n_layers": -1}, "crop_n_layers"),
        ({"min_mask_region_area": -1}, "min_mask_region_area"),
        ({"long_side": 0}, "long_side"),
        ({"max_mask_pixels": 0}, "max_mask_pixels"),
        ({"image_size": 1000}, "image_size"),
        ({"video_points_per_side": -1}, "video_points_per_side"),
        ({"video_duplicate_iou": 1.1}, "video_duplicate_iou"),
        ({"pred_iou_thresh": 1.1}, "pred_iou_thresh"),
        ({"stability_score_thresh": math.nan}, "stability_score_thresh"),
        ({"box_nms_thresh": 2}, "box_nms_thresh"),
        ({"crop_nms_thresh": -1}, "crop_nms_thresh"),
        ({"stability_score_offset": 0}, "stability_score_offset"),
        ({"stability_score_offset": math.inf}, "stability_score_offset"),
        ({"crop_overlap_ratio": 1.0}, "crop_overlap_ratio"),
        (
            {"points_per_side": 3, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
            "at least one point per side",
        ),
        ({"precision": "int8"}, "fp32, bf16, fp16"),
        ({"precision_tolerance": -1}, "precision_tolerance"),
    ],
)
def test_bad_options_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        SamOptions(**changes)


# ---- prompts ----

BOXES = np.array([[5, 6, 40, 50], [0, 0, WIDTH, HEIGHT], [20.5, 30.25, 70, 90]])
POINTS = np.array([[10, 12], [WIDTH - 1, 0], [33.5, 60]])


def predictor_says(sam, frame, index, *, points=None, labels=None, boxes=None, multimask=True):
    """Masks and scores of segment-anything's predictor for one prompt, used as its README says."""
    from segment_anything import SamPredictor

    predictor = SamPredictor(sam)
    predictor.set_image(frame.image_rgb)
    masks, scores, _ = predictor.predict(
        point_coords=None if points is None else np.atleast_2d(points[index]),
        point_labels=None if points is None else np.atleast_1d(labels[index]),
        box=None if boxes is None else boxes[index],
        multimask_output=multimask,
    )
    return masks, scores


@pytest.mark.parametrize("kind", ["boxes", "points", "both", "groups"])
@pytest.mark.parametrize("batch", [64, 2])
def test_prompts_are_answered_as_the_predictor_does(sam, frame, kind, batch):
    proposer = SamProposals(sam, tiny_options(points_per_batch=batch))
    points, labels = POINTS, np.array([1, 0, 1])
    if kind == "groups":
        points = np.stack([POINTS, POINTS[::-1]], axis=1)  # (3,2,2)
        labels = np.array([[1, 0], [1, 1], [0, 1]])
    given = {
        "boxes": {"boxes_xyxy": BOXES},
        "points": {"points_xy": points, "point_labels": labels},
        "groups": {"points_xy": points, "point_labels": labels},
        "both": {"boxes_xyxy": BOXES, "points_xy": points, "point_labels": labels},
    }[kind]
    reference = {
        "points": None if kind == "boxes" else points,
        "labels": labels,
        "boxes": BOXES if kind in ("boxes", "both") else None,
    }
    every = proposer.propose_at(frame, **given, multimask="all")
    best = proposer.propose_at(frame, **given)
    single = proposer.propose_at(frame, **given, multimask="single")
    assert (len(every), len(best), len(single)) == (9, 3, 3)
    for i in range(3):
        masks, scores = predictor_says(sam, frame, i, **reference)
        close(every.masks[3 * i : 3 * i + 3], masks)
        assert np.allclose(every.scores[3 * i : 3 * i + 3], scores.clip(0, 1), atol=1e-4)
        close(best.masks[i], masks[scores.argmax()])
        assert np.isclose(best.scores[i], scores.clip(0, 1).max(), atol=1e-4)
        masks, scores = predictor_says(sam, frame, i, **reference, multimask=False)
        close(single.masks[i], masks[0])
        assert np.isclose(single.scores[i], scores.clip(0, 1)[0], atol=1e-4)


def close(mask, wanted):
    """Batches and single prompts differ by rounding: all but a pixel or two of this image."""
    assert np.mean(np.asarray(mask) != wanted) < 1e-3


def test_soft_masks_cut_in_the_middle_are_the_masks(sam, frame):
    got = SamProposals(sam, tiny_options(long_side=50)).propose_at(frame, boxes_xyxy=BOXES)
    assert got.soft is not None
    assert got.soft.padded_hw == (64, 64)
    assert got.soft.valid_hw == (64, 54)  # 50 x 42 is what the network is given, at 64
    assert ((got.soft.probabilities((HEIGHT, WIDTH)) > 0.5) == got.masks).float().mean() > 0.9999


def test_prompts_hold_at_the_image_even_where_it_is_shrunk(sam):
    """The prompt's place in the network's input does not depend on the way there."""
    image = picture(160, 120)
    seen = []
    hook = sam.prompt_encoder.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((kwargs["points"][0].clone(), kwargs["boxes"].clone())),
        with_kwargs=True,
    )
    for long_side in (None, 80):
        SamProposals(sam, tiny_options(long_side=long_side)).propose_at(
            Frame(image), points_xy=[[60, 80]], boxes_xyxy=[[30, 40, 120, 160]]
        )
    hook.remove()
    for points, boxes in seen:
        assert torch.allclose(points, torch.tensor([[[24.0, 32.0]]]))
        assert torch.allclose(boxes, torch.tensor([[12.0, 16.0, 48.0, 64.0]]))


def test_one_encoding_serves_all_prompts_on_a_frame(sam, encodings):
    proposer, frame = SamProposals(sam, tiny_options()), Frame(picture())
    first = proposer.propose_at(frame, boxes_xyxy=BOXES)
    for boxes in (BOXES.tolist(), torch.from_numpy(BOXES)):  # lists and tensors are prompts too
        assert torch.equal(proposer.propose_at(frame, boxes_xyxy=boxes).masks, first.masks)
    proposer.propose_at(frame, points_xy=POINTS)
    assert len(encodings) == 1
    twin = Frame(frame.image_rgb)
    proposer.propose_at(twin, points_xy=POINTS)  # equal, but another moment for all we know
    assert len(encodings) == 2
    proposer.propose(twin)
    proposer.propose_at(twin, points_xy=POINTS)  # the grid does not disturb it
    assert len(encodings) == 3


@pytest.mark.parametrize(
    "given",
    [
        {"boxes_xyxy": np.zeros((0, 4))},
        {"points_xy": np.zeros((0, 5, 2))},
        {"boxes_xyxy": torch.zeros(0, 4), "points_xy": torch.zeros(0, 2)},
    ],
)
def test_no_prompts_give_no_masks(sam, frame, encodings, given):
    got = SamProposals(sam, tiny_options()).propose_at(frame, **given)
    assert got.masks.shape == (0, HEIGHT, WIDTH)
    assert not encodings


def test_padding_points_count_for_nothing(sam, frame):
    proposer = SamProposals(sam, tiny_options())
    bare = proposer.propose_at(frame, points_xy=[[[10, 12]]], boxes_xyxy=BOXES[:1])
    padded = proposer.propose_at(
        frame, points_xy=[[[10, 12], [-99, 1e6]]], point_labels=[[1, -1]], boxes_xyxy=BOXES[:1]
    )
    assert padded.masks.shape == bare.masks.shape
    with pytest.raises(InvalidInputError):
        proposer.propose_at(frame, points_xy=[[[10, 12], [-99, 1e6]]], boxes_xyxy=BOXES[:1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "got neither"),
        ({"boxes_xyxy": [1, 2, 3, 4]}, r"\(N,4\).*\(4,\)"),
        ({"boxes_xyxy": [[-1, 0, 5, 5]]}, "box 0"),
        (
            {"boxes_xyxy": [[0, 0, 5, 5], [0, 0, WIDTH + 0.5, 5], [9, 9, 9, 9]]},
            "box 1.*and 1 more; clip boxes to the image",
        ),
        ({"boxes_xyxy": [[5, 0, 5, 5]]}, "x0 < x1"),
        ({"boxes_xyxy": [[0, 6, 5, 5]]}, "y0 < y1"),
        ({"boxes_xyxy": [[0, 0, math.nan, 5]]}, "finite boxes_xyxy"),
        ({"boxes_xyxy": [[0, 0, 1], [2]]}, "array of numbers"),
        ({"points_xy": [1, 2]}, r"\(N,2\) or \(N,P,2\)"),
        ({"points_xy": np.zeros((2, 0, 2))}, r"\(N,2\) or \(N,P,2\)"),
        ({"points_xy": [[WIDTH, 0]]}, "prompt 0"),
        ({"points_xy": [[0, 0], [0, HEIGHT]]}, "prompt 1"),
        ({"points_xy": [[0, math.inf]]}, "finite points_xy"),
        ({"points_xy": [[0, 0]], "point_labels": [1, 1]}, "one per point"),
        ({"points_xy": [[0, 0]], "point_labels": [2]}, "point_labels of 1"),
        ({"boxes_xyxy": BOXES, "point_labels": [1]}, "beside points_xy"),
        ({"boxes_xyxy": BOXES, "points_xy": [[0, 0]]}, "got 3 and 1"),
        ({"boxes_xyxy": BOXES, "multimask": "both"}, "best, all, single"),
    ],
)
def test_bad_prompts_are_refused(sam, frame, encodings, given, message):
    with pytest.raises(InvalidInputError, match=message):
        SamProposals(sam, tiny_options()).propose_at(frame, **given)
    assert not encodings


# ---- 16 bits ----


class Broken(nn.Module):
    """An image encoder whose 16-bit arithmetic is wrong: it answers, but with something else."""

    def __init__(self, encoder, value):
        super().__init__()
        self.encoder, self.value, self.img_size = encoder, value, encoder.img_size

    def forward(self, pixels):
        features = self.encoder(pixels)
        if torch.is_autocast_enabled("cpu"):
            return features.roll(7, dims=-1) * 1.5 if self.value is None else features * self.value
        return features


def broken_sam(value=None):
    sam = tiny_sam(std=0.2)
    sam.image_encoder = Broken(sam.image_encoder, value)
    return sam


def test_bf16_agrees_with_fp32():
    sam = tiny_sam(std=0.2)
    report = check_precision(sam, "bf16")
    assert report.agrees
    assert report.finite
    assert 0.97 < report.mask_iou < 1
    assert 0 < report.changed_share < 0.02
    assert 0 < report.score_error < 0.02
    assert 0.001 < report.logit_error < 0.05
    assert "bf16 agrees with fp32" in str(report)
    assert not check_precision(sam, "bf16", tolerance=0.0).agrees


def test_the_report_counts_as_a_loop_does(frame):
    """IoU, changed pixels and scores of the best mask of each of 64 points, pixel by pixel."""
    from ovseg_ros.proposals.sam.precision import grid_answers

    sam = tiny_sam(std=0.3)
    report = check_precision(sam, "bf16", frame.image_rgb)
    exact, exact_scores = grid_answers(SamInPrecision(sam, "fp32"), frame.image_rgb)
    short, short_scores = grid_answers(SamInPrecision(sam, "bf16"), frame.image_rgb)
    assert exact.shape == short.shape == (64, 3, 16, 16)
    ious, changed, off = [], [], []
    for i in range(64):
        k = int(exact_scores[i].argmax())
        a, b = (exact[i, k] > 0).numpy(), (short[i, k] > 0).numpy()
        ious.append((a & b).sum() / (a | b).sum() if (a | b).any() else 1.0)
        changed.append((a != b).mean())
        off.append(abs(float(exact_scores[i, k] - short_scores[i, k])))
    assert report.mask_iou == pytest.approx(np.mean(ious))
    assert report.changed_share == pytest.approx(np.mean(changed))
    assert report.score_error == pytest.approx(np.mean(off), rel=1e-4)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_network_wrong_in_16_bits_stays_in_32(frame, caplog, value):
    sam = broken_sam(value)
    report = check_precision(sam, "bf16")
    assert not report.agrees
    assert report.finite == (value is None)
    assert all(math.isfinite(v) for v in (report.mask_iou, report.score_error, report.logit_error))
    with caplog.at_level(logging.WARNING):
        proposer = SamProposals(sam, tiny_options(precision="bf16"), check=True)
    assert "stays with fp32: bf16 does not agree" in caplog.text
    assert proposer.precision == "fp32"
    assert proposer.precision_report == report
    exact = SamProposals(sam, tiny_options()).propose(frame)
    assert torch.equal(proposer.propose(frame).masks, exact.masks)


def test_a_network_right_in_16_bits_uses_them(frame, caplog):
    with caplog.at_level(logging.WARNING):
        proposer = SamProposals(tiny_sam(std=0.2), tiny_options(precision="bf16"), check=True)
    assert proposer.precision == "bf16"
    assert proposer.precision_report.agrees
    assert not caplog.records
    exact = SamProposals(proposer.sam, tiny_options()).propose_at(frame, boxes_xyxy=BOXES)
    short = proposer.propose_at(frame, boxes_xyxy=BOXES)
    assert short.scores.dtype == short.soft.logits.dtype == torch.float32
    assert 0 < (short.soft.logits - exact.soft.logits).abs().max() < 0.1 * exact.soft.logits.abs().max()


def test_nothing_is_checked_on_a_cpu_unless_asked(sam):
    assert SamProposals(sam, tiny_options(precision="bf16")).precision_report is None
    assert SamProposals(sam, tiny_options(), check=True).precision_report is None


@pytest.mark.parametrize(
    ("has_bf16", "broken", "expected"),
    [(True, False, "bf16"), (True, True, "fp32"), (False, False, "fp32")],
)
def test_auto_takes_16_bits_where_the_hardware_has_them_and_masks_agree(
    monkeypatch, caplog, has_bf16, broken, expected
):
    monkeypatch.setattr("ovseg_ros.core.device.precision.cpu_has_bf16", lambda: has_bf16)
    sam = broken_sam() if broken else tiny_sam(std=0.2)
    with caplog.at_level(logging.WARNING):
        proposer = SamProposals(sam, tiny_options(precision="auto"))
    assert proposer.precision == expected
    assert (proposer.precision_report is None) == (not has_bf16)
    assert ("does not agree" in caplog.text) == broken


def test_what_overflows_on_one_image_is_done_again_in_32(frame, caplog):
    sam = broken_sam(math.inf)
    with caplog.at_level(logging.WARNING):
        proposer = SamProposals(sam, tiny_options(precision="bf16"))
        got = [proposer.propose_at(Frame(frame.image_rgb), boxes_xyxy=BOXES) for _ in range(2)]
    assert [record.message for record in caplog.records] == [
        "Broken overflowed in bf16; such images are done in fp32"
    ]
    assert all(torch.isfinite(part.soft.logits).all() for part in got)


def test_encoder_and_decoder_run_in_16_bits_and_prompts_in_32(sam, frame):
    """In 16 bits the sines of a position's many turns would say little of where it is."""
    seen = []
    parts = (
        sam.image_encoder.blocks[0].mlp.lin1,
        sam.prompt_encoder,
        sam.mask_decoder.transformer.layers[0].mlp.lin1,
    )
    hooks = [
        part.register_forward_hook(
            lambda _, __, out: seen.append(out[0].dtype if isinstance(out, tuple) else out.dtype)
        )
        for part in parts
    ]
    for precision in ("bf16", "fp32"):
        SamProposals(sam, tiny_options(precision=precision)).propose_at(frame, points_xy=POINTS)
    for hook in hooks:
        hook.remove()
    assert seen == [torch.bfloat16, torch.float32, torch.bfloat16, *3 * [torch.float32]]


def test_a_callers_autocast_does_not_change_fp32(sam, frame):
    plain = SamProposals(sam, tiny_options()).propose_at(frame, boxes_xyxy=BOXES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = SamProposals(sam, tiny_options()).propose_at(frame, boxes_xyxy=BOXES)
    assert torch.equal(plain.masks, inside.masks)
    assert torch.equal(plain.scores, inside.scores)


def test_precisions_a_device_cannot_do_are_refused(sam):
    with pytest.raises(ConfigError, match="got fp16; say precision: bf16"):
        SamProposals(sam, SamOptions(precision="fp16"))
    with pytest.raises(ConfigError, match="fp32, bf16, fp16"):
        SamInPrecision(sam, "int8")
    with pytest.raises(ConfigError, match="fp16"):
        check_precision(sam, "fp16")
    with pytest.raises(ConfigError, match="tolerance >= 0"):
        check_precision(sam, "bf16", tolerance=-1)


# ---- the page ----


@pytest.mark.parametrize(("heading", "kind"), [("sam", SamOptions), ("union", UnionOptions)])
def test_the_page_has_every_option_and_its_default(heading, kind):
    page = (ROOT / "docs" / "proposals.md").read_text(encoding="utf-8")
    section = page.split(f"### Options of {heading}\n")[1].split("\n#")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.M))
    assert list(rows) == [field.name for field in fields(kind)]
    for field in fields(kind):
        said = rows[field.name].strip("`")
        if isinstance(field.default, bool):
            assert said == str(field.default).lower()
        elif isinstance(field.default, str):
            assert said == field.default
        elif field.default is None:
            assert said == "the network's"
        else:
            assert float(Fraction(said)) == pytest.approx(field.default)


def test_the_examples_of_the_page_run(monkeypatch):
    page = (ROOT / "docs" / "proposals.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    examples = {("check_precision(" in block): block for block in blocks if "proposals.sam" in block}
    monkeypatch.setattr("ovseg_ros.models.sam.load_sam", lambda *_: tiny_sam())
    names = {"image_rgb": picture(240, 320)}
    exec(examples[False].replace('"cuda"', '"cpu"'), names)
    assert [len(names[name]) for name in ("boxed", "clicked", "refined")] == [1, 2, 1]
    names["sam"] = names["sam"].sam
    exec(examples[True], names)
    assert names["report"].precision == "bf16"
