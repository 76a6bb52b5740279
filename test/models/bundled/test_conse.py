"""ConSE against its formula written as loops, and as a drop-in for MaskPromptedClip."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conse_fixtures import NAMES, VECTORS, FakeText, fake_tokenizer, new_pooled
from core_fixtures import FixedProposer
from torch import nn

from ovseg_ros.core.encoders.pooled_clip import dense_size
from ovseg_ros.core.frame import Frame, RegionEncoder
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions.crop import CLIP_MEAN, CLIP_STD
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.models.bundled.conse import ConSE, PooledConSE


class MeanColour(nn.Module):
    """Logits are the mean of each channel, in the classifier's own normalisation, and 0 for grey."""

    def forward(self, x):
        rgb = 8.0 * x.mean(dim=(2, 3))
        return torch.cat([rgb, torch.zeros(len(rgb), 1)], dim=1)


def new(**changes):
    settings = {"size": 8, "logit_scale": 20.0, "top": 2, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    return ConSE(MeanColour(), NAMES, FakeText(), fake_tokenizer, **{**settings, **changes})


def clip_normalised(rgb):
    """(N, 3) colours in [0, 1] -> (N, 3, 8, 8) crops as crop_regions makes them."""
    crops = (torch.tensor(rgb) - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    return crops[:, :, None, None].expand(-1, -1, 8, 8).contiguous()


def unit(vector):
    return vector / math.sqrt(sum(v * v for v in vector))


def naive(rgb, top, temperature, mean, std):
    """The formula of the docstring, one class at a time."""
    logits = [8.0 * (c - m) / s / temperature for c, m, s in zip(rgb, mean, std)] + [0.0]
    exps = [math.exp(v) for v in logits]
    probs = [e / sum(exps) for e in exps]
    best = sorted(range(4), key=lambda c: -probs[c])[:top]
    total = np.zeros(6)
    for c in best:
        names = [unit(VECTORS[name].double().numpy()) for name in NAMES[c]]
        total += probs[c] * unit(sum(names) / len(names))
    return unit(total)


@pytest.mark.parametrize(("top", "temperature"), [(1, 1.0), (2, 1.0), (3, 2.0), (4, 0.5)])
def test_matches_the_formula(top, temperature):
    conse = new(top=top, temperature=temperature)
    colours = [[0.9, 0.1, 0.2], [0.52, 0.55, 0.27], [0.2, 0.3, 0.6]]
    got = conse.encode_regions(clip_normalised(colours)).detach().numpy()
    for row, colour in zip(got, colours, strict=True):
        wanted = naive(colour, top, temperature, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
        np.testing.assert_allclose(row, wanted, atol=1e-5)


def test_views_blank_all_but_the_region_and_its_rim():
    """MeanColour sees the share of the crop that is left: 2 x 2 pixels, 4 x 4 with a rim of 1."""
    mask = torch.zeros(1, 1, 8, 8)
    mask[:, :, 3:5, 3:5] = 1.0
    conse = new(top=4, rims=(0, 1))
    got = conse.encode_regions(clip_normalised([[0.9, 0.1, 0.2]]), mask).detach().numpy()[0]
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.4])
    probs = np.zeros(4)
    for pixels in (4, 16):
        logits = np.append(8.0 * (np.array([0.9, 0.1, 0.2]) - mean) / std * pixels / 64, 0.0)
        probs += np.exp(logits) / np.exp(logits).sum() / 2
    names = [unit(sum(unit(VECTORS[n].double().numpy()) for n in row)) for row in NAMES]
    wanted = unit(sum(p * name for p, name in zip(probs, names, strict=True)))
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_same_interface_as_mask_prompted_clip():
    conse = new()
    assert isinstance(conse, RegionEncoder)
    assert (conse.size, conse.embedding_dim, conse.logit_scale) == (8, 6, 20.0)
    pixels = clip_normalised([[0.1, 0.2, 0.9]])
    torch.testing.assert_close(conse.encode_regions(pixels, torch.ones(1, 1, 8, 8)), conse(pixels))
    assert conse.encode_regions(pixels[:0]).shape == conse.encode_text([]).shape == (0, 6)


def test_text_is_the_bare_word_by_default_and_cached():
    conse = new()
    bare = conse.encode_text(["asked"])
    calls = conse.text_tower.calls
    np.testing.assert_allclose(bare[0].numpy(), unit(VECTORS["asked"].numpy()), atol=1e-6)
    torch.testing.assert_close(conse.encode_text(["asked", "asked"], ["{}"]), bare.expand(2, -1))
    assert conse.text_tower.calls == calls
    framed = conse.encode_text(["asked"], ["a {}!"])
    np.testing.assert_allclose(framed[0].numpy(), unit(VECTORS["a asked!"].numpy()), atol=1e-6)


def test_refusals():
    with pytest.raises(InvalidInputError, match=r"want pixels \(N,3,8,8\), got \(1, 3, 9, 8\)"):
        new().encode_regions(torch.zeros(1, 3, 9, 8))
    with pytest.raises(InvalidInputError, match=r"want region_masks \(1,1,8,8\), got \(2, 1, 8, 8\)"):
        new().encode_regions(torch.zeros(1, 3, 8, 8), torch.zeros(2, 1, 8, 8))
    for rims in ((), (-1,)):
        with pytest.raises(ConfigError, match="at least one rim"):
            new(rims=rims)
    with pytest.raises(ConfigError, match="1…4, got 5"):
        new(top=5)
    with pytest.raises(ConfigError, match="temperature > 0, got 0"):
        new(temperature=0.0)
    with pytest.raises(ConfigError, match="at least one name"):
        ConSE(MeanColour(), [["a"], []], FakeText(), fake_tokenizer, size=8, logit_scale=1.0, top=1)


# ---- one pass for all masks ----


def photograph(height, width):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((4, 4, 1), np.uint8))[1 : height + 1, 2 : width + 2])


def some_masks(height, width):
    """A half, one pixel, all, a ragged one, and an empty one."""
    masks = torch.zeros(5, height, width, dtype=torch.bool)
    masks[0, :, : width // 2] = True
    masks[1, 5, 6] = True
    masks[2] = True
    masks[3] = torch.rand(height, width, generator=torch.Generator().manual_seed(5)) > 0.7
    return masks


def normalised_by(conse, image):
    """(1, 3, H, W) as the classifier wants it."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    return (pixels - mean) / std


def naive_pooled(conse, image, mask):
    """Cell by cell and pixel by pixel; the image must be as large as it is looked at."""
    features = conse.classifier.forward_features(normalised_by(conse, image))[0].double().numpy()
    total, count = np.zeros(5), 0
    for y, x in mask.nonzero().tolist():
        total += features[:, y // 4, x // 4]
        count += 1
    if count == 0:
        return np.zeros(6)
    last = conse.classifier.last
    logits = last.weight.double().numpy() @ (total / count) + last.bias.double().numpy()
    exps = [math.exp(value / 2.0) for value in logits]
    probs = [e / sum(exps) for e in exps]
    combined = np.zeros(6)
    for c in sorted(range(4), key=lambda c: -probs[c])[:3]:
        names = [unit(VECTORS[name].double().numpy()) for name in NAMES[c]]
        combined += probs[c] * unit(sum(names) / len(names))
    return unit(combined)


@pytest.mark.parametrize("size", [(16, 16), (16, 28), (32, 16)])
def test_pooled_agrees_with_a_loop_over_cells(size):
    conse, image, masks = new_pooled(), photograph(*size), some_masks(*size)
    got = conse.encode_pooled(image, masks)
    want = np.stack([naive_pooled(conse, image, mask) for mask in masks])
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), want, atol=2e-5)
    assert (want[[0, 1]] @ want[2]).max() < 0.9999, "the masks say different things"
    one_by_one = conse.encode_pooled(image, masks, memory_budget=1)
    torch.testing.assert_close(one_by_one, got, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("size", "side"), [((16, 16), 16), ((24, 41), 16), ((10, 13), 32)])
def test_pooled_over_everything_is_the_networks_own_average(size, side):
    """Of the image as it is looked at: whole cells, its shorter side `pooled_side`."""
    conse, image = new_pooled(side), photograph(*size)
    height, width = dense_size(size, side, 4)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    if (height, width) != size:
        pixels = F.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True)
    logits = conse.classifier(
        (pixels / 255 - torch.tensor((0.5, 0.4, 0.3))[:, None, None])
        / torch.tensor((0.2, 0.3, 0.4))[:, None, None]
    )
    want = F.normalize(conse._combined((logits / 2.0).softmax(dim=-1)), dim=-1)
    got = conse.encode_pooled(image, torch.ones(1, *size, dtype=torch.bool))
    torch.testing.assert_close(got, want, atol=2e-5, rtol=0)


def test_pooled_of_nothing_and_of_an_empty_mask():
    conse, image = new_pooled(), photograph(16, 16)
    assert conse.encode_pooled(image, torch.zeros(0, 16, 16, dtype=torch.bool)).shape == (0, 6)
    assert conse.classifier.calls == 0
    rows = conse.encode_pooled(image, some_masks(16, 16))
    assert (rows[4] == 0).all()
    torch.testing.assert_close(rows[:4].norm(dim=1), torch.ones(4))
    assert conse.classifier.calls == 1


def test_the_chain_pools_where_the_encoder_can(monkeypatch):
    """Regions are not cut at all; one that cannot pool is refused."""
    monkeypatch.setattr("ovseg_ros.core.device_memory.region_views", None)
    options = SegmenterOptions(classifier="pooled", threshold=0.0, min_mask_pixels=1, templates=("{}",))
    image, masks = photograph(16, 28), some_masks(16, 28)
    conse = new_pooled()
    segmenter = OpenVocabularySegmenter(FixedProposer(masks), conse, options)
    result = segmenter.segment(Frame(image), Vocabulary.empty().replace(["asked", "dull"])[0])
    rows = conse.encode_pooled(image, masks[:4])
    want = (20.0 * rows @ conse.encode_text(["asked", "dull"]).T).softmax(dim=1)
    torch.testing.assert_close(result.probs, want, atol=1e-5, rtol=0)
    with pytest.raises(ConfigError, match=r"ConSE' is none: take the classifier clip, or lite"):
        OpenVocabularySegmenter(FixedProposer(masks), new(), options)


def test_pooled_refusals():
    with pytest.raises(ConfigError, match=r"forward_features and forward_head.*got MeanColour"):
        PooledConSE(
            MeanColour(), NAMES, FakeText(), fake_tokenizer, size=8, logit_scale=1.0, top=1,
            pooled_side=16, stride=4,
        )  # fmt: skip
    with pytest.raises(ConfigError, match="want pooled_side"):
        new_pooled(0)
    with pytest.raises(InvalidInputError, match=r"want masks \(N,16,16\)"):
        new_pooled().encode_pooled(photograph(16, 16), torch.zeros(1, 16, 15, dtype=torch.bool))
