"""Mask prompts over open_clip towers: where tokens are replaced, where not, and what learns."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from core_fixtures import (
    TINY_DIM,
    TINY_LAYERS,
    TINY_PATCHES,
    TINY_SIDE,
    TINY_WIDTH,
    tiny_clip,
    tiny_tokenizer,
)

from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip, new_mask_prompts
from ovseg_ros.core.encoders.text_cache import TextCache
from ovseg_ros.core.encoders.vit_tower import vit_features
from ovseg_ros.core.words.templates import BARE_TEMPLATE, VILD_TEMPLATES
from ovseg_ros.errors import ConfigError, InvalidInputError

TOWERS = {
    "token": {},
    "mean": {"pool_type": "avg"},
    "norm after mean": {"pool_type": "avg", "final_ln_after_pool": True},
    "attention": {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 4},
    "no first norm, sine": {"no_ln_pre": True, "pos_embed_type": "sin_cos_2d"},
    "patch dropout": {"patch_dropout": 0.5},
    "custom blocks": {"qk_norm": True},
}


@pytest.fixture
def pixels():
    return torch.randn(3, 3, TINY_SIDE, TINY_SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def region_masks():
    """Left half, one pixel, everything."""
    masks = torch.zeros(3, 1, TINY_SIDE, TINY_SIDE)
    masks[0, :, :, :15] = 1
    masks[1, :, 9, 17] = 1
    masks[2] = 1
    return masks


def naive(model, pixels, masks, prompts):
    """The paper's formula with loops, hung into open_clip's own forward pass by hooks."""
    covered = torch.zeros(len(pixels), TINY_PATCHES, dtype=torch.bool)
    for n in range(len(pixels)):
        for patch in range(TINY_PATCHES):
            y, x = 8 * (patch // 4), 8 * (patch % 4)
            covered[n, patch] = math.ceil(float(masks[n, 0, y : y + 8, x : x + 8].mean())) == 1

    def replace(tokens, prompt):
        tokens = tokens.clone()
        for n, patch in (~covered).nonzero().tolist():
            tokens[n, patch] = prompt[patch]
        return tokens

    def after_patches(module, args, output):
        tokens = replace(output.flatten(2).transpose(1, 2), prompts[0])
        return tokens.transpose(1, 2).reshape(output.shape)

    hooks = [model.visual.conv1.register_forward_hook(after_patches)]
    for depth in range(1, len(prompts)):

        def after_block(module, args, output, prompt=prompts[depth]):
            first = model.visual.transformer.batch_first
            tokens = output if first else output.transpose(0, 1)
            tokens = torch.cat([tokens[:, :1], replace(tokens[:, 1:], prompt)], dim=1)
            return tokens if first else tokens.transpose(0, 1)

        hooks.append(model.visual.transformer.resblocks[depth - 1].register_forward_hook(after_block))
    with torch.no_grad():
        features = model.encode_image(pixels)
    for hook in hooks:
        hook.remove()
    return F.normalize(features, dim=-1)


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("depth", [1, 3, TINY_LAYERS])
def test_follows_the_formula(tower, depth, pixels, region_masks):
    model = tiny_clip(**TOWERS[tower])
    prompts = torch.randn(depth, TINY_PATCHES, TINY_WIDTH)
    clip = MaskPromptedClip(model, tiny_tokenizer, prompts)
    with torch.no_grad():
        rows = clip.encode_regions(pixels, region_masks)
        plain = clip.encode_regions(pixels)
        own = F.normalize(model.encode_image(pixels), dim=-1)
    expected = naive(model, pixels, region_masks, prompts)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-4)
    learning = clip.encode_regions(pixels, region_masks)
    assert learning.requires_grad
    torch.testing.assert_close(learning.detach(), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(plain, own, atol=1e-5, rtol=1e-4)  # without masks: plain CLIP
    torch.testing.assert_close(rows[2], plain[2], atol=1e-5, rtol=1e-4)  # all foreground
    assert (rows[:2] - plain[:2]).abs().max() > 1e-3


def test_without_prompts_masks_change_nothing(pixels, region_masks):
    clip = MaskPromptedClip(tiny_clip(), tiny_tokenizer)
    assert clip.mask_prompts is None
    assert torch.equal(clip.encode_regions(pixels, region_masks), clip.encode_regions(pixels))


@pytest.mark.parametrize("options", [{"ls_init_value": 0.3}, {"patch_size": 10}, {"layers": 1}])
def test_other_activations_layer_scale_and_odd_patches(options, pixels):
    """What else a ViT may be made of, against open_clip's own forward pass."""
    model = tiny_clip(**options)
    for block in model.visual.transformer.resblocks:
        block.mlp.gelu = torch.nn.SiLU()
    with torch.no_grad():
        torch.testing.assert_close(
            vit_features(model.visual, pixels), model.visual(pixels), atol=1e-5, rtol=1e-4
        )


def test_patches_are_not_dropped_without_gradients(pixels):
    clip = MaskPromptedClip(tiny_clip(patch_dropout=0.5), tiny_tokenizer).train()
    with torch.no_grad():
        assert torch.equal(clip.encode_regions(pixels), clip.encode_regions(pixels))
    assert not torch.equal(clip.encode_regions(pixels), clip.encode_regions(pixels))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_prompts_learn_alone(pixels, region_masks, checkpointing):
    model = tiny_clip(patch_dropout=0.5)
    model.requires_grad_(False)
    model.set_grad_checkpointing(checkpointing)
    clip = MaskPromptedClip(model, tiny_tokenizer, new_mask_prompts(model, 3)).train()
    clip(pixels, region_masks)[:, 0].sum().backward()
    (name,) = [n for n, p in clip.named_parameters() if p.grad is not None]
    assert name == "mask_prompts"
    touched = clip.mask_prompts.grad.abs().sum(dim=2) > 0  # (depth, patches)
    assert touched.all(), "some mask leaves every patch out, so every prompt learns"
    assert "mask_prompts" in clip.state_dict()


def test_attributes_and_empty_input():
    model = tiny_clip()
    clip = MaskPromptedClip(model, tiny_tokenizer)
    assert (clip.size, clip.embedding_dim) == (TINY_SIDE, TINY_DIM)
    assert clip.logit_scale == pytest.approx(1 / 0.07)
    assert MaskPromptedClip(model, tiny_tokenizer, logit_scale=100).logit_scale == 100
    none = clip.encode_regions(
        torch.zeros(0, 3, TINY_SIDE, TINY_SIDE), torch.zeros(0, 1, TINY_SIDE, TINY_SIDE)
    )
    assert none.shape == (0, TINY_DIM)
    assert clip.encode_text([]).shape == (0, TINY_DIM)


def test_refuses(pixels, region_masks):
    model = tiny_clip()
    clip = MaskPromptedClip(model, tiny_tokenizer)
    with pytest.raises(InvalidInputError, match="pixels"):
        clip.encode_regions(pixels[:, :, :16])
    with pytest.raises(InvalidInputError, match="region_masks"):
        clip.encode_regions(pixels, region_masks[:2])
    for shape in [
        (2, 9, TINY_WIDTH),
        (TINY_LAYERS + 1, 16, TINY_WIDTH),
        (16, TINY_WIDTH),
        (0, 16, TINY_WIDTH),
    ]:
        with pytest.raises(ConfigError, match="expected mask_prompts"):
            MaskPromptedClip(model, tiny_tokenizer, torch.zeros(shape))
    with pytest.raises(ConfigError, match="depth"):
        new_mask_prompts(model, TINY_LAYERS + 1)


def test_convolutional_towers_work_without_prompts_only():
    model = tiny_clip(layers=(1, 1, 1, 1), width=8, head_width=64, patch_size=None)
    with torch.no_grad():
        rows = MaskPromptedClip(model, tiny_tokenizer).encode_regions(torch.randn(2, 3, TINY_SIDE, TINY_SIDE))
    assert rows.shape == (2, TINY_DIM)
    with pytest.raises(ConfigError, match="ModifiedResNet"):
        MaskPromptedClip(model, tiny_tokenizer, torch.zeros(1, 16, 8))


def test_text_is_the_renormalised_mean_over_templates():
    model = tiny_clip()
    clip = MaskPromptedClip(model, tiny_tokenizer)
    rows = clip.encode_text(["cup", "red mug"])
    for label, row in zip(["cup", "red mug"], rows, strict=True):
        with torch.no_grad():
            parts = [model.encode_text(tiny_tokenizer([t.format(label)]))[0] for t in VILD_TEMPLATES]
        expected = F.normalize(torch.stack([F.normalize(p, dim=0) for p in parts]).mean(dim=0), dim=0)
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-4)
    assert not rows.requires_grad
    assert not torch.allclose(rows, clip.encode_text(["cup", "red mug"], BARE_TEMPLATE))


def test_each_label_is_encoded_once_per_templates():
    calls = []

    def tokenizer(texts):
        calls.extend(texts)
        return tiny_tokenizer(texts)

    clip = MaskPromptedClip(tiny_clip(), tokenizer)
    first = clip.encode_text(["cup", "mug", "cup"], BARE_TEMPLATE)
    assert calls == ["cup", "mug"]
    assert torch.equal(first[0], first[2])
    assert torch.equal(clip.encode_text(["mug", "cup"], BARE_TEMPLATE), first[[1, 0]])
    assert calls == ["cup", "mug"]
    clip.encode_text(["cup"], ("my {}",))
    assert calls[2:] == ["my cup"]
    clip.text_cache.clear()
    clip.encode_text(["cup"], BARE_TEMPLATE)
    assert calls[3:] == ["cup"]


def test_cache_is_bounded_and_forgets_the_least_recent():
    calls = []

    def encode(texts):
        calls.extend(texts)
        return torch.ones(len(texts), 2)

    cache = TextCache(capacity=2)
    for labels in (["a"], ["b"], ["a", "a"], ["c"], ["a", "c"]):  # each list is new
        cache.encode(labels, BARE_TEMPLATE, encode)
    assert calls == ["a", "b", "c"]
    assert len(cache) == 2
    cache.encode(["b", "b"], BARE_TEMPLATE, encode)
    assert calls == ["a", "b", "c", "b"]
    assert cache.encode([f"w{i}" for i in range(300)], BARE_TEMPLATE, encode).shape == (300, 2)
    assert len(cache) == 2


def test_names_of_data_sets_are_spoken_as_texts_have_them():
    calls = []

    def encode(texts):
        calls.extend(texts)
        return torch.ones(len(texts), 2)

    TextCache().encode(["mouse_(computer_equipment)", "red mug"], ("a photo of a {}.",), encode)
    assert calls == ["a photo of a mouse (computer equipment).", "a photo of a red mug."]


def test_cache_refuses_what_is_no_template():
    cache = TextCache()
    for labels, templates in [(["a"], ()), (["a"], ("photo",)), ("a", BARE_TEMPLATE), (["a"], "{}")]:
        with pytest.raises(InvalidInputError, match="expected"):
            cache.encode(labels, templates, lambda texts: torch.ones(len(texts), 2))


def test_braces_in_labels_are_only_text():
    cache = TextCache()
    seen = []
    cache.encode(["{0.x} {"], ("a {}.",), lambda texts: seen.extend(texts) or torch.ones(len(texts), 2))
    assert seen == ["a {0.x} {."]


def test_copies(pixels, region_masks):
    model = tiny_clip()
    clip = MaskPromptedClip(model, tiny_tokenizer, new_mask_prompts(model, 2))
    twin = copy.deepcopy(clip)
    assert torch.equal(twin(pixels, region_masks), clip(pixels, region_masks))
    assert torch.equal(twin.encode_text(["cup"]), clip.encode_text(["cup"]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_in_half_precision(pixels, region_masks):
    model = tiny_clip()
    clip = MaskPromptedClip(model, tiny_tokenizer, new_mask_prompts(model, 3))
    with torch.no_grad():
        expected = clip(pixels, region_masks), clip.encode_text(["cup"])
        clip.cuda()
        rows = clip(pixels, region_masks), clip.encode_text(["cup"])
        assert {row.device.type for row in rows} == {"cuda"}
        torch.testing.assert_close(rows[0].cpu(), expected[0], atol=1e-3, rtol=1e-3)
        assert (clip.half()(pixels, region_masks).cpu() - expected[0]).abs().max() < 2e-2
