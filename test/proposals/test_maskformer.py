"""Proposals from a MaskFormer: how the image goes in and how masks, scores and embeddings come out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from maskformer_layout import TINY_RESNET, TINY_SWIN, synthetic_state
from PIL import Image

from ovseg_ros.core.frame import Frame, Proposals, as_proposer
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.models.maskformer.config import OvsegMaskFormerConfig
from ovseg_ros.models.maskformer.network import OvsegMaskFormer, build_ovseg_maskformer
from ovseg_ros.proposals import maskformer
from ovseg_ros.proposals.maskformer import (
    MaskFormerOptions,
    MaskFormerOutput,
    MaskFormerProposals,
    binarise,
    scaled_hw,
)


class FakeNetwork:
    """Remembers its input and answers with given logits on a grid of a quarter of it."""

    pixel_mean, pixel_std = (100.0, 120.0, 140.0), (50.0, 60.0, 70.0)
    size_divisor, short_side, long_side = 32, 64, 160
    classifies, non_object = False, None

    def __init__(self, values: list[float], objectness: list[float] | None = None) -> None:
        self.values, self.objectness = values, objectness
        self.pixels = torch.empty(0)

    def __call__(self, pixels: torch.Tensor) -> MaskFormerOutput:
        self.pixels = pixels
        grid = [torch.full((pixels.shape[2] // 4, pixels.shape[3] // 4), value) for value in self.values]
        logits = torch.stack(grid) if grid else torch.zeros(0, 8, 8)
        return MaskFormerOutput(
            logits, objectness=None if self.objectness is None else torch.tensor(self.objectness)
        )


def frame(height: int, width: int, seed: int = 0) -> Frame:
    return Frame(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def network(sizes: dict = TINY_SWIN) -> OvsegMaskFormer:
    config = OvsegMaskFormerConfig.from_mapping(sizes)
    built = build_ovseg_maskformer(config)
    state = synthetic_state(config)
    built.load_state_dict({key: value for key, value in state.items() if not key.endswith("_index")})
    built.set_non_object(torch.ones(1, config.embedding_dim))
    return built


def detectron_size(size_hw: tuple[int, int], short: int, long: int) -> tuple[int, int]:
    """ResizeShortestEdge in its own two steps; sides that would vanish become 1."""
    height, width = size_hw
    scale = short / min(height, width)
    new = (short, scale * width) if height < width else (scale * height, short)
    if max(new) > long:
        new = (new[0] * long / max(new), new[1] * long / max(new))
    return max(int(new[0] + 0.5), 1), max(int(new[1] + 0.5), 1)


def test_sizes_are_detectrons_everywhere() -> None:
    sizes = np.random.default_rng(0).integers(1, 4000, (2000, 2)).tolist()
    sizes += [[1, 1], [1, 100_000], [100_000, 1], [640, 640]]
    for short, long in ((640, 2560), (512, 2048), (800, 1333)):
        assert [scaled_hw(tuple(s), short, long) for s in sizes] == [
            detectron_size(tuple(s), short, long) for s in sizes
        ]


def test_the_image_goes_in_as_it_was_evaluated() -> None:
    fake, given = FakeNetwork([1.0]), frame(50, 70)
    found = MaskFormerProposals(fake).propose(given)
    assert fake.pixels.shape == (1, 3, 64, 96)  # 64 x 90, padded on the right
    scaled = np.asarray(Image.fromarray(given.image_rgb).resize((90, 64), Image.Resampling.BILINEAR))
    want = (scaled.astype(np.float64) - fake.pixel_mean) / fake.pixel_std
    np.testing.assert_allclose(fake.pixels[0, :, :64, :90].permute(1, 2, 0), want, atol=1e-5)
    assert not fake.pixels[0, :, :, 90:].any()  # padded after normalising, so with the mean colour
    assert found.soft is not None
    assert (found.soft.padded_hw, found.soft.valid_hw) == ((64, 96), (64, 90))


def test_own_sizes_go_before_the_networks() -> None:
    fake = FakeNetwork([1.0])
    MaskFormerProposals(fake, MaskFormerOptions(short_side=32, long_side=40)).propose(frame(50, 100))
    assert fake.pixels.shape == (1, 3, 32, 64)  # 20 x 40
    MaskFormerProposals(fake, MaskFormerOptions(short_side=320)).propose(frame(50, 50))
    assert fake.pixels.shape == (1, 3, 320, 320)  # longer than the network's own 160


def test_scores_are_the_mean_probability_inside() -> None:
    fake = FakeNetwork([2.0, -2.0, 0.0], objectness=[0.5, 1.0, 0.25])
    found = MaskFormerProposals(fake, MaskFormerOptions(mask_threshold=0.4)).propose(frame(40, 40))
    assert found.masks.any((1, 2)).tolist() == [True, False, True]
    sure = 1 / (1 + math.exp(-2))
    torch.testing.assert_close(found.scores, torch.tensor([sure * 0.5, 0.0, 0.5 * 0.25]))
    assert found.class_embeddings is None
    assert found.non_object is None


def test_the_threshold_itself_is_outside() -> None:
    found = MaskFormerProposals(FakeNetwork([0.0]), MaskFormerOptions(mask_threshold=0.5)).propose(
        frame(9, 9)
    )
    assert not found.masks.any()
    assert found.scores.tolist() == [0.0]


def test_no_queries_no_masks() -> None:
    found = MaskFormerProposals(FakeNetwork([])).propose(frame(20, 30))
    assert found.masks.shape == (0, 20, 30)
    assert found.scores.shape == (0,)


@pytest.mark.parametrize("at_once", [1, 100, 1 << 24])
def test_masks_are_cut_as_the_formula_says(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(maskformer, "_FLOATS_AT_ONCE", at_once)
    logits = torch.randn((7, 8, 10), generator=torch.Generator().manual_seed(1)) * 3
    soft = SoftMasks(logits, (32, 40), (30, 33))
    masks, scores = binarise(soft, (45, 50), 0.35)
    full = F.interpolate(logits[None], (32, 40), mode="bilinear", align_corners=False)[..., :30, :33]
    probabilities = F.interpolate(full, (45, 50), mode="bilinear", align_corners=False)[0].sigmoid()
    assert torch.equal(masks, probabilities > 0.35)
    want = [p[p > 0.35].double().mean().item() for p in probabilities]
    torch.testing.assert_close(scores, torch.tensor(want, dtype=torch.float32))


@pytest.mark.parametrize("sizes", [TINY_SWIN, TINY_RESNET], ids=["swin", "resnet"])
def test_the_papers_network_gives_all_a_segmenter_asks_for(sizes: dict) -> None:
    built = network(sizes)
    proposer = MaskFormerProposals(built)
    assert as_proposer(proposer).classifies
    assert proposer.classifies
    assert not proposer.needs_depth
    found = proposer.propose(frame(48, 72))
    width = sizes["embedding_dim"]
    assert found.masks.shape == (5, 48, 72)
    assert found.masks.dtype == torch.bool
    assert found.masks.any()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert found.soft is not None
    assert found.soft.logits.shape == (5, 16, 24)
    torch.testing.assert_close(found.class_embeddings.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(found.non_object, torch.ones(1, width) / math.sqrt(width))
    again = proposer.propose(frame(48, 72))
    assert torch.equal(again.masks, found.masks)
    assert torch.equal(again.scores, found.scores)
    some = found.take(torch.tensor([3, 1]))
    assert torch.equal(some.soft.probabilities((48, 72)) > 0.4, some.masks)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (3, 2), (33, 31), (600, 900)])
def test_every_size_of_image(size: tuple[int, int]) -> None:
    found = MaskFormerProposals(network()).propose(frame(*size))
    assert found.masks.shape == (5, *size)
    assert torch.isfinite(found.scores).all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_nearly_the_same_masks(precision: str) -> None:
    built, given = network(), frame(64, 96)
    exact = MaskFormerProposals(built).propose(given)
    half = MaskFormerProposals(built, MaskFormerOptions(precision=precision)).propose(given)
    assert half.soft.logits.dtype == torch.float32
    assert (half.masks == exact.masks).float().mean() > 0.98
    torch.testing.assert_close(half.scores, exact.scores, atol=0.02, rtol=0)
    assert not torch.equal(half.soft.logits, exact.soft.logits), "autocast did nothing"


class OverflowingNetwork(FakeNetwork):
    """One of its answers is no number."""

    def __init__(self, where: str) -> None:
        super().__init__([1.0, 2.0])
        self.where = where

    def __call__(self, pixels: torch.Tensor) -> MaskFormerOutput:
        good = MaskFormerOutput(super().__call__(pixels).mask_logits, torch.ones(2, 4), torch.ones(2))
        values = getattr(good, self.where).clone()
        values[1, ...] = float("nan")
        return dataclasses.replace(good, **{self.where: values})


@pytest.mark.parametrize(("precision", "told"), [("fp16", "take precision fp32"), ("fp32", "its weights")])
@pytest.mark.parametrize("where", ["mask_logits", "class_embeddings", "objectness"])
def test_an_overflow_is_told(precision: str, told: str, where: str) -> None:
    proposer = MaskFormerProposals(OverflowingNetwork(where), MaskFormerOptions(precision=precision))
    with pytest.raises(ConfigError, match=told):
        proposer.propose(frame(64, 64))


def test_masks_that_no_memory_holds_are_refused() -> None:
    options = MaskFormerOptions(max_mask_pixels=2 * 40 * 40)
    proposer = MaskFormerProposals(FakeNetwork([1.0, 1.0]), options)
    assert isinstance(proposer.propose(frame(40, 40)), Proposals)
    with pytest.raises(InvalidInputError, match="40 x 41; scale it down to about 40 x 40"):
        proposer.propose(frame(40, 41))


def test_warming_up_runs_the_network() -> None:
    model, ran = network(), []
    model.register_forward_hook(lambda *_: ran.append(1))
    proposer = MaskFormerProposals(model)
    proposer.warm_up(frame(40, 60))
    assert ran == [1]


def test_a_network_is_set_to_work() -> None:
    built = network().train()
    assert not MaskFormerProposals(built).network.training


@pytest.mark.parametrize(
    "wrong",
    [
        {"mask_threshold": 0.0},
        {"mask_threshold": 1.0},
        {"mask_threshold": float("nan")},
        {"short_side": 31},
        {"long_side": 31},
        {"short_side": 640, "long_side": 639},
        {"precision": "int8"},
        {"max_mask_pixels": 0},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"expected {list(wrong)[-1]}"):
        MaskFormerOptions(**wrong)
