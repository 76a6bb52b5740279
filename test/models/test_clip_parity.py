"""The mask-prompted image tower, the text tower and the crop against the published formulas in float64.

The formulas are written out here in NumPy, patch by patch and head by head, from the descriptions of CLIP and
of OVSeg's section 3.3; weights come from a made-up file with OpenAI's names, through `load_clip`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from clip_layout import TINY, openai_extras, random_clip, random_prompts
from safetensors.torch import save_file

from ovseg_ros.core.encoders.vit_tower import vit_features
from ovseg_ros.core.regions.crop import CLIP_MEAN, CLIP_STD, crop_regions
from ovseg_ros.models.clip import load_clip

CROP_TOLERANCE = 5e-4
"""In standard deviations, on white noise 640 wide, where float32 knows positions to 3e-5 of a pixel."""

TEXTS = ["teapot", "a photo of a red coffee mug on the table.", "word " * 100]


def erf(x):
    return np.vectorize(math.erf)(x)


ACTIVATIONS = {
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
}


class Oracle:
    """CLIP from a state dict with OpenAI's names, one image or one text at a time, in float64."""

    def __init__(self, state, activation, heads=2):
        self.w = {key: value.double().numpy() for key, value in state.items()}
        self.activation, self.heads = ACTIVATIONS[activation], heads

    def norm(self, x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-5) * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def linear(self, x, name):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def attention(self, x, name, causal):
        width = x.shape[1]
        side = width // self.heads
        joined = x @ self.w[f"{name}.in_proj_weight"].T + self.w[f"{name}.in_proj_bias"]  # (L, 3W)
        q, k, v = joined[:, :width], joined[:, width : 2 * width], joined[:, 2 * width :]
        out = np.zeros_like(x)
        for head in range(self.heads):
            part = slice(head * side, (head + 1) * side)
            for i in range(len(x)):
                seen = i + 1 if causal else len(x)
                scores = np.array([q[i, part] @ k[j, part] for j in range(seen)]) / math.sqrt(side)
                shares = np.exp(scores - scores.max())
                out[i, part] = shares / shares.sum() @ v[:seen, part]
        return self.linear(out, f"{name}.out_proj")

    def block(self, x, name, causal):
        x = x + self.attention(self.norm(x, f"{name}.ln_1"), f"{name}.attn", causal)
        hidden = self.activation(self.linear(self.norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc"))
        return x + self.linear(hidden, f"{name}.mlp.c_proj")

    def image(self, pixels, mask=None, prompts=None, patch=8):
        """(3, S, S), (S, S) -> (D,); T⊗M + P⊗(1−M) with M = ceil(mean of the mask over the patch)."""
        grid = pixels.shape[1] // patch
        tokens, inside = [], []
        for row in range(grid):
            for column in range(grid):
                area = (slice(row * patch, (row + 1) * patch), slice(column * patch, (column + 1) * patch))
                tokens.append((self.w["visual.conv1.weight"] * pixels[:, area[0], area[1]]).sum((1, 2, 3)))
                inside.append(1.0 if mask is None else math.ceil(mask[area].mean()))
        x, inside = np.array(tokens), np.array(inside)[:, None]  # (P, W), (P, 1)
        prompts = np.zeros((0, *x.shape)) if prompts is None else prompts
        if len(prompts):
            x = x * inside + prompts[0] * (1 - inside)
        x = np.concatenate([self.w["visual.class_embedding"][None], x])
        x = self.norm(x + self.w["visual.positional_embedding"], "visual.ln_pre")
        for layer in range(TINY.layers):
            x = self.block(x, f"visual.transformer.resblocks.{layer}", causal=False)
            if layer + 1 < len(prompts):
                x[1:] = x[1:] * inside + prompts[layer + 1] * (1 - inside)
        return self.norm(x[0], "visual.ln_post") @ self.w["visual.proj"]

    def text(self, ids):
        """(L,) token ids -> (D,); read off at the end token, which has the highest id."""
        x = self.w["token_embedding.weight"][ids] + self.w["positional_embedding"]
        for layer in range(TINY.text_layers):
            x = self.block(x, f"transformer.resblocks.{layer}", causal=True)
        return self.norm(x[int(np.argmax(ids))], "ln_final") @ self.w["text_projection"]


@pytest.fixture(scope="module", params=["quick_gelu", "gelu"])
def pair(request, tmp_path_factory):
    """The network in float64, loaded from a file, and its oracle."""
    state = random_clip(seed=4)
    path = tmp_path_factory.mktemp("clip") / "clip.safetensors"
    extras = openai_extras(TINY) if request.param == "quick_gelu" else {}
    metadata = None if extras else {"activation": "gelu"}
    save_file(state | extras | {"visual.mask_embedding": random_prompts()}, path, metadata)
    return load_clip(TINY.as_open_clip(), path).double(), Oracle(state, request.param)


@pytest.fixture
def pixels():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3)).double()


@pytest.fixture
def masks():
    """A corner of a patch, a ragged blob, everything, and one pixel on the last patch."""
    masks = torch.zeros(4, 1, 32, 32).double()
    masks[0, 0, 7, 8] = 1
    masks[1, 0] = (torch.rand(32, 32, generator=torch.Generator().manual_seed(5)) > 0.97).double()
    masks[2] = 1
    masks[3, 0, 31, 31] = 1
    return masks


def relative(got, expected):
    return np.abs(got.detach().numpy() - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_mask_prompted_image_tower(pair, pixels, masks, depth):
    clip, oracle = pair
    prompts = random_prompts(depth=depth, seed=depth).double()
    got = vit_features(clip.clip_model.visual, pixels, masks, prompts)
    expected = np.array(
        [oracle.image(p.numpy(), m[0].numpy(), prompts.numpy()) for p, m in zip(pixels, masks, strict=True)]
    )
    assert relative(got, expected) < 1e-8
    plain = np.array([oracle.image(p.numpy()) for p in pixels])
    assert np.abs(expected[:2] - plain[:2]).max() > 1e-2, "the prompts matter"
    assert np.abs(expected[2] - plain[2]).max() == 0, "not where nothing is background"


def test_plain_image_tower(pair, pixels):
    clip, oracle = pair
    expected = np.array([oracle.image(p.numpy()) for p in pixels])
    assert relative(clip.clip_model.encode_image(pixels), expected) < 1e-8


def test_text_tower(pair):
    clip, oracle = pair
    ids = clip.tokenizer(TEXTS)
    expected = np.array([oracle.text(row.numpy()) for row in ids])
    assert relative(clip.clip_model.encode_text(ids), expected) < 1e-8


def weights(side, size, a=-0.75):
    """(S, side): what bicubic interpolation without antialias takes from each source pixel."""
    matrix = np.zeros((size, side))
    for i in range(size):
        at = (i + 0.5) * side / size - 0.5
        base = math.floor(at)
        for k in (-1, 0, 1, 2):
            t = abs(at - base - k)
            w = (a + 2) * t**3 - (a + 3) * t**2 + 1 if t <= 1 else a * (t**3 - 5 * t**2 + 8 * t - 4)
            matrix[i, min(max(base + k, 0), side - 1)] += w
    return matrix


def crop(image, mask, size):
    """In the order of the paper's code: box, fill with mean x 255, normalise, then squash."""
    ys, xs = np.nonzero(mask)
    box = (slice(ys.min(), ys.max() + 1), slice(xs.min(), xs.max() + 1))
    mean, std = (255 * np.array(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    filled = (np.where(mask[box], image[:, box[0], box[1]], mean) - mean) / std  # (3,h,w)
    _, height, width = filled.shape
    pixels = weights(height, size) @ filled @ weights(width, size).T  # (3,S,S)
    rows, columns = np.arange(size) * height // size, np.arange(size) * width // size
    return pixels, mask[box][rows][:, columns]


def scene(size_hw):
    """A picture with noise and edges, and masks: enlarged, shrunk, one row, one column, one pixel, ragged."""
    height, width = size_hw
    rng = np.random.default_rng(7)
    image = rng.uniform(0, 255, (3, height, width)).astype(np.float32)
    image[:, height // 2 :] *= 0.1
    masks = np.zeros((6, height, width), dtype=bool)
    masks[0, 20:33, 40:95] = True
    masks[1, 5:-3, 11:-7] = True
    masks[2, 50, 3:-4] = True
    masks[3, 2:-2, 60] = True
    masks[4, 70, 80] = True
    masks[5] = rng.random((height, width)) > 0.5
    return image, masks


@pytest.mark.parametrize("size", [224, 336])
def test_crop_at_full_size(size):
    image, masks = scene((480, 640))
    regions = crop_regions(torch.from_numpy(image), torch.from_numpy(masks), size=size)
    for i, mask in enumerate(masks):
        pixels, small = crop(image.astype(np.float64), mask, size)
        assert np.abs(regions.pixels[i].numpy() - pixels).max() < CROP_TOLERANCE
        # Where a source position is a whole number, float32 may fall just short of it, as in torch's own.
        sides = (np.ptp(axis) + 1 for axis in np.nonzero(mask))
        rows, columns = (np.arange(size) * side % size != 0 for side in sides)
        got = regions.masks[i, 0].numpy()
        np.testing.assert_array_equal(got[rows][:, columns], small[rows][:, columns])
        assert min(rows.sum(), columns.sum()) > size / 2


def test_from_picture_to_embedding(pair):
    """Crop, prompts and tower together, as the segmenter calls them, in float32."""
    clip, oracle = pair
    image, masks = scene((90, 120))
    regions = crop_regions(torch.from_numpy(image), torch.from_numpy(masks), size=32)
    got = clip.float()(regions.pixels, regions.masks).numpy()
    clip.double()
    for row, mask in zip(got, masks, strict=True):
        pixels, small = crop(image.astype(np.float64), mask, 32)
        expected = oracle.image(pixels, small.astype(np.float64), random_prompts().double().numpy())
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=2e-5)
