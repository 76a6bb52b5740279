"""A CLIP whose features are pooled over masks: against a naive loop in float64, and what it costs."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from convnext_layout import TINY, TINY_D, random_convnext
from core_fixtures import FixedProposer, tiny_clip, tiny_tokenizer, words

from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip
from ovseg_ros.core.encoders.pooled_clip import PooledClip, can_pool, cell_shares, dense_size
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions.crop import CLIP_MEAN, CLIP_STD
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.models.clip import architecture, build_network

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIONS = SegmenterOptions(classifier="pooled", threshold=0.0, min_mask_pixels=1)


def tokens(texts: list[str]) -> torch.Tensor:
    """(K, 77) ids."""
    return F.pad(tiny_tokenizer(texts), (0, 65))


def tiny_pooled(shape=TINY, side: int = 64) -> PooledClip:
    config, name, _ = architecture(shape.as_open_clip())
    network = build_network(config, name).eval().requires_grad_(False)
    network.load_state_dict(random_convnext(shape))
    return PooledClip(network, tokens, pooled_side=side)


@pytest.fixture(scope="module")
def clip():
    return tiny_pooled()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: blobs of all sizes, so that cells differ."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(1, 3, height, width)
    for cells in (2, 5, 16):
        noise = torch.randn(1, 3, cells, cells, generator=generator)
        image += F.interpolate(noise, size=(height, width), mode="bilinear")
    return (image[0].permute(1, 2, 0) * 60 + 128).clamp(0, 255).byte().numpy()


def some_masks(height: int, width: int) -> torch.Tensor:
    """A half, one pixel, all, a ragged one, a thin line, a patch within one cell of 32; an empty one."""
    masks = torch.zeros(7, height, width, dtype=torch.bool)
    masks[0, :, : width // 2] = True
    masks[1, 33, 40] = True
    masks[2] = True
    masks[3] = torch.rand(height, width, generator=torch.Generator().manual_seed(5)) > 0.7
    masks[4, 17] = True
    masks[5, 35:50, 3:9] = True
    return masks


def naive(clip: PooledClip, image: np.ndarray, masks: torch.Tensor) -> torch.Tensor:
    """The formula in float64, pixel by pixel; the image must be as large as it is looked at."""
    visual = copy.deepcopy(clip.clip_model.visual).double()
    pixels = (torch.from_numpy(image).permute(2, 0, 1).double() / 255 - _triple(CLIP_MEAN)) / _triple(
        CLIP_STD
    )
    features = visual.trunk.stem(pixels[None])
    for stage in visual.trunk.stages:
        features = stage(features)
    features = visual.trunk.norm_pre(features)[0]  # (C,h,w)
    norm, rows = visual.trunk.head.norm, []
    for mask in masks:
        total, count = torch.zeros(len(features), dtype=torch.float64), 0
        for y, x in mask.nonzero().tolist():
            total += features[:, y // 32, x // 32]
            count += 1
        mean = total / count
        centred = mean - mean.mean()
        row = centred / math.sqrt(float((centred**2).mean()) + norm.eps) * norm.weight + norm.bias
        if hasattr(visual.head, "mlp"):
            hidden = visual.head.mlp.fc1.weight @ row + visual.head.mlp.fc1.bias
            hidden = torch.tensor(
                [h / 2 * (1 + math.erf(h / math.sqrt(2))) for h in hidden.tolist()]
            ).double()
            row = visual.head.mlp.fc2.weight @ hidden
        else:
            row = visual.head.proj.weight @ row
        rows.append(row / row.norm())
    return torch.stack(rows)


def _triple(values: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None]


# ---- the embedding ----


@pytest.mark.parametrize("shape", [TINY, TINY_D], ids=["linear", "mlp"])
@pytest.mark.parametrize("size", [(64, 64), (64, 96), (128, 64)])
def test_agrees_with_a_naive_loop(shape, size):
    clip, image, masks = tiny_pooled(shape), picture(*size), some_masks(*size)[:6]
    got = clip.encode_pooled(image, masks)
    want = naive(clip, image, masks)
    assert got.shape == (6, 12)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), want, atol=2e-5, rtol=0)
    others = [0, 1, 2, 4]  # the ragged mask is nearly the whole image
    assert (want[others] @ want[others].T).fill_diagonal_(0).max() < 0.9999  # the masks say different things


@pytest.mark.parametrize("shape", [TINY, TINY_D], ids=["linear", "mlp"])
@pytest.mark.parametrize(("size", "side"), [((64, 64), 64), ((64, 160), 64), ((100, 75), 64), ((30, 40), 96)])
def test_a_mask_of_everything_is_the_plain_embedding(shape, size, side):
    """CLIP's own average is over all cells too; so of the image as it is looked at, both say the same."""
    clip, image = tiny_pooled(shape, side), picture(*size)
    height, width = dense_size(size, side, 32)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    if (height, width) != size:
        pixels = F.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True)
    pixels = (pixels / 255 - _triple(CLIP_MEAN).float()) / _triple(CLIP_STD).float()
    plain = F.normalize(clip.clip_model.encode_image(pixels), dim=-1)
    pooled = clip.encode_pooled(image, torch.ones(1, *size, dtype=torch.bool))
    torch.testing.assert_close(pooled, plain, atol=2e-5, rtol=0)


@pytest.mark.parametrize("cells", [(1, 1), (3, 5), (7, 4), (20, 33), (40, 70)])
def test_shares_are_areas(cells):
    """Against a loop over pixels and cells, also where a cell's edge cuts pixels, in chunks."""
    height, width = 20, 33
    masks = torch.rand(5, height, width, generator=torch.Generator().manual_seed(1)) > 0.6
    masks[3] = False
    got = cell_shares(masks, cells, memory_budget=2 * 4 * height * width)
    want = np.zeros((5, *cells))
    for i, y, x in masks.nonzero().tolist():
        for r in range(cells[0]):
            high = min((r + 1) * height / cells[0], y + 1) - max(r * height / cells[0], y)
            for c in range(cells[1]) if high > 0 else ():
                wide = min((c + 1) * width / cells[1], x + 1) - max(c * width / cells[1], x)
                want[i, r, c] += high * max(wide, 0)
    want /= np.maximum(want.sum(axis=(1, 2), keepdims=True), 1e-9)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-6)
    np.testing.assert_allclose(got.sum(dim=(1, 2)), [1, 1, 1, 0, 1], atol=1e-5)


def test_an_empty_mask_is_zeros_and_no_masks_cost_nothing(clip):
    image, calls = picture(64, 64), []
    hook = clip.clip_model.visual.trunk.stem.register_forward_hook(lambda *_: calls.append(1))
    rows = clip.encode_pooled(image, some_masks(64, 64))
    none = clip.encode_pooled(image, torch.zeros(0, 64, 64, dtype=torch.bool))
    hook.remove()
    assert (rows[6] == 0).all()
    torch.testing.assert_close(rows[:6].norm(dim=1), torch.ones(6))
    assert none.shape == (0, 12)
    assert calls == [1]


@pytest.mark.parametrize("count", [1, 7, 2000])
def test_the_network_runs_once_whatever_the_number_of_masks(clip, count):
    image, seen = picture(96, 64), []
    masks = torch.rand(count, 96, 64, generator=torch.Generator().manual_seed(0)) > 0.5
    hook = clip.clip_model.visual.trunk.register_forward_pre_hook(lambda *_: seen.append("whole"))
    stem = clip.clip_model.visual.trunk.stem.register_forward_pre_hook(
        lambda _, inputs: seen.append(tuple(inputs[0].shape))
    )
    rows = clip.encode_pooled(image, masks)
    hook.remove()
    stem.remove()
    assert seen == [(1, 3, 96, 64)]
    assert rows.shape == (count, 12)
    torch.testing.assert_close(rows[-1:], clip.encode_pooled(image, masks[-1:]), atol=2e-5, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (500, 2), (31, 33)])
def test_images_of_any_shape(clip, size):
    rows = clip.encode_pooled(picture(*size), torch.ones(2, *size, dtype=torch.bool))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("size", "side", "wanted"),
    [
        ((1080, 1920), 640, (640, 1152)),
        ((1, 10_000), 640, (32, 2560)),
        ((3, 3), 1, (32, 32)),
    ],
)
def test_dense_size(size, side, wanted):
    assert dense_size(size, side, 32) == wanted


def test_half_precision_is_near(clip):
    image, masks = picture(64, 96), some_masks(64, 96)[:6]
    half = tiny_pooled()
    half.clip_model.to(torch.bfloat16)
    cosines = (half.encode_pooled(image, masks) * clip.encode_pooled(image, masks)).sum(dim=1)
    assert float(cosines.min()) > 0.99
    assert half.encode_pooled(image, masks).dtype == torch.float32


# ---- refusals ----


@pytest.mark.parametrize(
    "masks",
    [
        torch.ones(64, 64, dtype=torch.bool),
        torch.ones(1, 64, 63, dtype=torch.bool),
        torch.ones(1, 64, 64),
    ],
)
def test_wrong_masks_are_refused(clip, masks):
    with pytest.raises(InvalidInputError, match="expected masks"):
        clip.encode_pooled(picture(64, 64), masks)


@pytest.mark.parametrize("image", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float32)])
def test_wrong_images_are_refused(clip, image):
    with pytest.raises(InvalidInputError, match="expected image_rgb"):
        clip.encode_pooled(image, torch.ones(1, 64, 64, dtype=torch.bool))


@pytest.mark.parametrize("side", [0, -1, 2.5, True, "640"])
def test_wrong_sides_are_refused(side):
    with pytest.raises(ConfigError, match="expected pooled_side"):
        tiny_pooled(side=side)


def test_prompts_are_refused(clip):
    with pytest.raises(ConfigError, match="use a ViT, or no prompts"):
        PooledClip(clip.clip_model, tiny_tokenizer, torch.zeros(1, 4, 8))


def test_a_vit_is_refused():
    assert not can_pool(tiny_clip())
    assert not can_pool(torch.nn.Identity())
    with pytest.raises(ConfigError, match=r"got VisionTransformer: take the classifier clip, or .*convnext"):
        PooledClip(tiny_clip(), tiny_tokenizer)


# ---- in the chain ----


def test_the_chain_names_masks_by_them(clip, monkeypatch):
    """p = softmax over words of s · e·t, with e the pooled rows; regions are not cut at all."""
    monkeypatch.setattr("ovseg_ros.core.within_memory.region_views", None)
    image, masks = picture(64, 96), some_masks(64, 96)
    segmenter = OpenVocabularySegmenter(FixedProposer(masks), clip, OPTIONS)
    embedded = segmenter.embed(Frame(image))
    result = segmenter.label(embedded, words("cat", "dog", "tree"))
    rows = clip.encode_pooled(image, masks)[:6].double()
    text = clip.encode_text(["cat", "dog", "tree"], OPTIONS.templates).double()
    want = (clip.logit_scale * rows @ text.T).softmax(dim=1)
    assert len(result) == 6  # the empty one is dropped
    torch.testing.assert_close(result.probs.double(), want, atol=1e-4, rtol=0)
    torch.testing.assert_close(result.similarities.double(), rows @ text.T, atol=1e-5, rtol=0)
    assert embedded.has_clip_embedding.all()


def test_a_held_frame_is_not_labelled_by_the_other_kind_of_embedding(clip):
    segmenter = OpenVocabularySegmenter(FixedProposer(some_masks(64, 64)[:2]), clip, OPTIONS)
    regions = SegmenterOptions(classifier="clip", threshold=0.0, min_mask_pixels=1)
    frame, asked = Frame(picture(64, 64)), words("cat", "dog")
    for one, other in ((OPTIONS, regions), (regions, OPTIONS)):
        embedded = segmenter.embed(frame, one)
        segmenter.label(embedded, asked, one)
        with pytest.raises(InvalidInputError, match="embed it again"):
            segmenter.label(embedded, asked, other)


@pytest.mark.parametrize("count", [0, 1])
def test_no_mask_and_one_mask(clip, count):
    segmenter = OpenVocabularySegmenter(FixedProposer(some_masks(64, 64)[:count]), clip, OPTIONS)
    assert segmenter.segment(Frame(picture(64, 64)), words("cat")).probs.shape == (count, 1)


def test_an_encoder_that_cannot_is_refused_with_a_cure():
    vit = MaskPromptedClip(tiny_clip(), tiny_tokenizer)
    with pytest.raises(ConfigError, match=r"take the classifier clip, or .*ConvNeXt"):
        OpenVocabularySegmenter(FixedProposer(some_masks(64, 64)), vit, OPTIONS)
