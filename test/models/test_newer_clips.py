"""SigLIP 2, Perception Encoder and MobileCLIP 2 against open_clip's own networks, with random weights."""

from __future__ import annotations

import json

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from core_fixtures import words
from safetensors.torch import save_file
from timm_layout import ALL, MOBILECLIP2, MOBILECLIP2_B, PE_CORE, SIGLIP2, tiny_config, write_tokenizer
from tiny_presets import write_preset

from ovseg_ros.core.encoders import AttentionPooledClip, MaskPromptedClip, PooledClip, new_mask_prompts
from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models import clip_inputs
from ovseg_ros.models.clip import architecture, build_network, load_clip
from ovseg_ros.models.clip_inputs import FileTokenizer, normalisation_of
from ovseg_ros.models.presets import load_preset, preset_weights

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
POOLED = (SIGLIP2, PE_CORE, MOBILECLIP2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of random weights for each, as open_clip saves them, and a tokenizer."""
    folder = tmp_path_factory.mktemp("newer")
    write_tokenizer(folder)
    for name in ALL:
        torch.manual_seed(0)
        network = build_network(tiny_config(name), name)
        for parameter in network.parameters():  # zeros and ones, as some are made, would hide what they do
            if parameter.ndim:
                parameter.data += 0.1 * torch.randn_like(parameter)
        save_file(
            {key: value.contiguous() for key, value in network.state_dict().items()},
            folder / f"{name}.safetensors",
        )
    return folder


def tokens_of(folder, name):
    return folder / "tokenizer.json" if name == SIGLIP2 else None


def loaded(folder, name, **given):
    path = folder / f"{name}.safetensors"
    return load_clip(tiny_config(name), path, activation="gelu", tokenizer=tokens_of(folder, name), **given)


def squared(clip, mean, std):
    """The picture squashed to the network's square, normalised."""
    pixels = torch.from_numpy(PICTURE).permute(2, 0, 1)[None].float() / 255
    pixels = F.interpolate(pixels, size=(clip.size, clip.size), mode="bicubic", antialias=True)
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def own(clip, name):
    """The picture as the network itself wants it."""
    return squared(clip, *(tiny_config(name)["preprocess_cfg"][key] for key in ("mean", "std")))


# ---- open_clip's own output ----


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_crops_and_words_are_embedded_as_by_open_clip(folder, name):
    clip = loaded(folder, name)
    row = clip.encode_regions(squared(clip, CLIP_MEAN, CLIP_STD), torch.ones(1, 1, clip.size, clip.size))
    plain = F.normalize(clip.clip_model.encode_image(own(clip, name)), dim=-1)
    torch.testing.assert_close(row, plain, atol=1e-5, rtol=0)
    names = ["teapot", "red mug"]
    ids = clip.tokenizer(names)
    assert ids.shape == (2, clip.clip_model.context_length)
    text = F.normalize(clip.clip_model.encode_text(ids), dim=-1)
    torch.testing.assert_close(clip.encode_text(names, ["{}"]), text, atol=1e-6, rtol=0)
    logits = clip.clip_model.get_logits(own(clip, name), ids)[0]
    ours = clip.logit_scale * (row @ text.T) + (clip.logit_bias or 0.0)
    torch.testing.assert_close(ours, logits, atol=1e-3, rtol=1e-4)
    assert (clip.logit_bias is None) == (name != SIGLIP2)


@pytest.mark.parametrize("name", ALL)
def test_the_real_sizes_can_be_built(name):
    """Without memory for them."""
    config, _, _ = architecture(name)
    with torch.device("meta"):
        network = build_network(config, name)
    assert sum(parameter.numel() for parameter in network.visual.parameters()) > 3e7
    usual = name != SIGLIP2 and name != PE_CORE
    assert normalisation_of(config, name)[1] == ((1.0,) * 3 if usual else (0.5,) * 3)


# ---- one pass for all masks ----


@pytest.mark.parametrize("name", POOLED)
@torch.no_grad()
def test_a_mask_of_everything_is_the_plain_embedding(folder, name):
    clip = loaded(folder, name)
    assert isinstance(clip, PooledClip if name == MOBILECLIP2 else AttentionPooledClip)
    if name == MOBILECLIP2:  # keeps the aspect: 64 pixels high here
        pixels = clip._dense_pixels(PICTURE)
        assert pixels.shape == (1, 3, 64, 96)
    else:
        pixels = own(clip, name)
    plain = F.normalize(clip.clip_model.encode_image(pixels), dim=-1)
    masks = torch.ones(2, *PICTURE.shape[:2], dtype=torch.bool)
    masks[1] = False
    rows = clip.encode_pooled(PICTURE, masks)
    torch.testing.assert_close(rows[:1], plain, atol=1e-5, rtol=0)
    assert torch.equal(rows[1], torch.zeros_like(rows[1])), "nothing is known of an empty mask"
    assert clip.encode_pooled(PICTURE, masks[:0]).shape == (0, clip.embedding_dim)


@pytest.mark.parametrize("name", [SIGLIP2, PE_CORE])
@torch.no_grad()
def test_a_mask_is_pooled_by_attention_to_its_patches(folder, name):
    """One mask after the other, every token in a loop, against timm's pooling of the tokens themselves."""
    clip = loaded(folder, name)
    visual = clip.clip_model.visual
    trunk = visual.trunk
    masks = torch.zeros(2, *PICTURE.shape[:2], dtype=torch.bool)
    masks[0, :24, :40] = True  # 2 x 2 whole patches of the 4 x 4
    masks[1, 10:30, 15:70] = True
    rows = clip.encode_pooled(PICTURE, masks)
    tokens = trunk.forward_features(own(clip, name))
    assert trunk.num_prefix_tokens == (1 if name == PE_CORE else 0)
    prefix, cells = trunk.num_prefix_tokens, [(y, x) for y in range(4) for x in range(4)]
    for mask, row in zip(masks, rows, strict=True):
        area = [float(mask[12 * y : 12 * y + 12, 20 * x : 20 * x + 20].sum()) for y, x in cells]
        weight = [1.0] * prefix + [16 * part / sum(area) for part in area]
        pool, heads = trunk.attn_pool, []
        for h in range(pool.num_heads):
            part = slice(h * pool.head_dim, (h + 1) * pool.head_dim)
            query = pool.q(pool.latent)[0, 0, part].double()
            key, value = (kv[0, :, part].double() for kv in pool.kv(tokens).chunk(2, dim=-1))
            attention = [w * np.exp(float(query @ k) * pool.scale) for w, k in zip(weight, key, strict=True)]
            heads.append(sum(a / sum(attention) * v for a, v in zip(attention, value, strict=True)))
        pooled = pool.proj(torch.cat(heads).float()[None])
        pooled = pooled + pool.mlp(pool.norm(pooled))
        want = F.normalize(visual.head(trunk.head(trunk.fc_norm(pooled))), dim=-1)
        torch.testing.assert_close(row[None], want, atol=1e-5, rtol=0)
    if not prefix:  # of whole patches, without a class token: as if there were no other tokens
        few = tokens[:, [0, 1, 4, 5]]
        want = F.normalize(visual.head(trunk.forward_head(few)), dim=-1)
        torch.testing.assert_close(rows[:1], want, atol=1e-5, rtol=0)


# ---- mask prompts ----


@pytest.mark.parametrize("name", [SIGLIP2, PE_CORE, MOBILECLIP2_B])
def test_background_patches_are_replaced(folder, name, tmp_path):
    clip = loaded(folder, name)
    prompts = new_mask_prompts(clip.clip_model, 2, generator=torch.Generator().manual_seed(1))
    assert prompts.shape == (2, 16, 32)
    save_file({"mask_prompts": prompts}, tmp_path / "prompts.safetensors")
    prompted = loaded(folder, name, prompts=tmp_path / "prompts.safetensors")
    pixels, mask = squared(clip, CLIP_MEAN, CLIP_STD), torch.zeros(1, 1, 32, 32)
    mask[..., :9, :16] = 1  # 2 x 2 patches: a row of pixels is enough
    other = pixels.clone()
    other[..., 16:, :] = 3.0
    with torch.no_grad():
        row = prompted.encode_regions(pixels, mask)
        torch.testing.assert_close(row, prompted.encode_regions(other, mask), atol=1e-6, rtol=0)
        assert (row - clip.encode_regions(pixels, mask)).abs().max() > 1e-3
        whole = prompted.encode_regions(pixels, torch.ones_like(mask))
        torch.testing.assert_close(whole, clip.encode_regions(pixels), atol=1e-6, rtol=0)
    prompted.mask_prompts.requires_grad_(True)
    prompted.encode_regions(pixels, mask).sum().backward()
    inside = prompted.mask_prompts.grad.abs().sum(dim=2) == 0  # (2,16)
    assert inside.nonzero().tolist() == [[d, p] for d in range(2) for p in (0, 1, 4, 5)]


def test_a_fastvit_takes_no_prompts(folder, tmp_path):
    save_file({"mask_prompts": torch.zeros(1, 16, 32)}, tmp_path / "prompts.safetensors")
    with pytest.raises(WeightsError, match="got FastVit; use a ViT, or no prompts"):
        loaded(folder, MOBILECLIP2, prompts=tmp_path / "prompts.safetensors")


# ---- the tokenizer of SigLIP 2 ----


def test_the_file_gives_what_open_clips_tokenizer_gives(folder):
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "pad_token": "<pad>",
                "eos_token": "<eos>",
                "padding_side": "right",
            }
        )
    )
    theirs = open_clip.tokenizer.HFTokenizer(str(folder), context_length=8, clean="canonicalize")
    ours = FileTokenizer(folder / "tokenizer.json", 8, 64)
    texts = ["teapot", "A photo of a Red, mug!", "", "a very long name of a red teapot and a mug"]
    ids = ours(texts)
    assert torch.equal(ids, theirs(texts))
    assert ids[0, -1] == 0
    assert ids[3, -1] == 1, "the end is kept where a text is cut"


def test_what_is_no_tokenizer_of_siglip_2_is_refused(folder, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(
        WeightsError, match=r"cannot be read as a tokenizer.*expected the tokenizer.json that lies beside"
    ):
        FileTokenizer(tmp_path / "tokenizer.json", 8, 64)
    with pytest.raises(WeightsError, match="is another model's: expected <pad>, <eos> and at most 20 tokens"):
        FileTokenizer(folder / "tokenizer.json", 8, 20)
    path = folder / f"{SIGLIP2}.safetensors"
    with pytest.raises(ConfigError, match=r"say tokenizer: siglip2_tokenizer.json"):
        load_clip(tiny_config(SIGLIP2), path, activation="gelu")
    with pytest.raises(ConfigError, match="leave tokenizer out"):
        load_clip(tiny_config(PE_CORE), path, activation="gelu", tokenizer=folder / "tokenizer.json")


# ---- normalisation ----


def test_weights_that_do_not_agree_on_a_normalisation_are_refused(monkeypatch):
    known = {"a": {"mean": (0.5,) * 3, "std": (0.5,) * 3}, "b": {"mean": (0.0,) * 3, "std": (1.0,) * 3}}
    monkeypatch.setattr(clip_inputs, "list_pretrained_tags_by_model", lambda _: ["a", "b"])
    monkeypatch.setattr(clip_inputs, "get_pretrained_cfg", lambda _, tag: known[tag])
    with pytest.raises(ConfigError, match="its weights differ in mean and std"):
        normalisation_of({}, "some")
    known["b"] = {"mean": CLIP_MEAN, "std": CLIP_STD}
    assert normalisation_of({}, "some") == (CLIP_MEAN, CLIP_STD)
    assert normalisation_of({"preprocess_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}}, "some")[1] == (1, 1, 1)
    for wrong in (
        {"mean": [0, 0, 0]},
        {"mean": [0, 0], "std": [1, 1]},
        {"mean": [0, 0, 0], "std": [1, 1, 0]},
    ):
        with pytest.raises(ConfigError, match="expected preprocess_cfg as mean and std of three numbers"):
            normalisation_of({"preprocess_cfg": wrong}, "some")


# ---- presets ----


@pytest.mark.parametrize(
    ("name", "classifier"), [(SIGLIP2, "pooled"), (SIGLIP2, "clip"), (MOBILECLIP2, "combined")]
)
def test_a_preset_of_them_names_masks(folder, name, classifier):
    encoder = {
        "kind": "clip",
        "model": tiny_config(name),
        "weights": f"{name}.safetensors",
        "activation": "gelu",
    }
    if name == SIGLIP2:
        encoder["tokenizer"] = "tokenizer.json"
    path = write_preset(
        folder,
        f"{name}_{classifier}",
        {"kind": "depth_clusters"},
        encoder,
        classifier=classifier,
        decision="trust",
        rivals=["cup", "lamp"],
    )
    assert ("tokenizer.json" in preset_weights(path)) == (name == SIGLIP2)

    class Halves:
        needs_depth = False

        def propose(self, frame):
            masks = torch.zeros(2, *frame.size_hw, dtype=torch.bool)
            masks[0, :, :40], masks[1, :, 40:] = True, True
            return Proposals(masks, torch.ones(2))

    segmenter = load_preset(path, proposer=Halves())
    assert segmenter.trust.logit_bias == segmenter.clip.logit_bias
    found = segmenter.segment(Frame(PICTURE), words("teapot", "mug"))
    assert found.probs.shape == (2, 2)
    assert 0 < float(found.probs.sum(dim=1).max()) <= 1


def test_a_tower_that_pools_by_attention_has_its_own_side(folder):
    encoder = {
        "kind": "clip",
        "model": tiny_config(PE_CORE),
        "weights": f"{PE_CORE}.safetensors",
        "activation": "gelu",
        "pooled_side": 64,
    }
    with pytest.raises(ConfigError, match="pooled_side is for a CLIP with a ConvNeXt or FastVit"):
        load_preset(write_preset(folder, "side", {"kind": "depth_clusters"}, encoder))
    assert type(loaded(folder, MOBILECLIP2_B)) is MaskPromptedClip
