"""ConSE against its formula written as loops, and as a drop-in for MaskPromptedClip."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from ovseg_ros.core.frame import RegionEncoder
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.models.conse import ConSE

NAMES = [["red thing", "scarlet"], ["green thing"], ["blue thing"], ["grey thing", "dull", "drab"]]
VECTORS = {
    name: torch.randn(6, generator=torch.Generator().manual_seed(seed))
    for seed, name in enumerate([*(n for names in NAMES for n in names), "asked", "a asked!"])
}


class FakeText(nn.Module):
    """Looks vectors up by the row number that `fake_tokenizer` gives."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.stack(list(VECTORS.values())))
        self.calls = 0

    def forward(self, ids):
        self.calls += 1
        return self.table[ids[:, 0]]


def fake_tokenizer(texts):
    order = list(VECTORS)
    return torch.tensor([[order.index(text)] for text in texts])


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


def test_no_regions_and_no_words():
    conse = new()
    assert conse.encode_regions(torch.zeros(0, 3, 8, 8)).shape == (0, 6)
    assert conse.encode_text([]).shape == (0, 6)


def test_same_interface_as_mask_prompted_clip():
    conse = new()
    assert isinstance(conse, RegionEncoder)
    assert (conse.size, conse.embedding_dim, conse.logit_scale) == (8, 6, 20.0)
    pixels = clip_normalised([[0.1, 0.2, 0.9]])
    torch.testing.assert_close(conse.encode_regions(pixels, torch.ones(1, 1, 8, 8)), conse(pixels))


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
