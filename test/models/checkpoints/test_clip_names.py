"""CLIP as transformers and timm save it: the same embeddings as from the library that saved it."""

from __future__ import annotations

import pytest
import torch
from clip_layout import TINY, random_clip, random_prompts
from safetensors.torch import save_file

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.clip import load_clip

MODEL = TINY.as_open_clip()
CLOSE = {"atol": 1e-5, "rtol": 0}
transformers = pytest.importorskip("transformers")
timm = pytest.importorskip("timm")


@pytest.fixture
def pixels():
    return torch.randn(3, 3, TINY.image_size, TINY.image_size, generator=torch.Generator().manual_seed(1))


def saved(state, path, before=""):
    save_file({before + key: value.contiguous().clone() for key, value in state.items()}, path)
    return path


def unit(rows):
    return torch.nn.functional.normalize(rows.detach(), dim=-1)


def vision_config():
    return {
        "hidden_size": TINY.width,
        "intermediate_size": 4 * TINY.width,
        "num_hidden_layers": TINY.layers,
        "num_attention_heads": TINY.heads,
        "image_size": TINY.image_size,
        "patch_size": TINY.patch,
        "projection_dim": TINY.embed_dim,
    }


def tiny(kind, seed):
    """A network of transformers with weights in which no layer can be taken for another."""
    text = {
        "hidden_size": TINY.text_width,
        "intermediate_size": 4 * TINY.text_width,
        "num_hidden_layers": TINY.text_layers,
        "num_attention_heads": TINY.text_heads,
        "vocab_size": TINY.vocabulary,
        "max_position_embeddings": TINY.context,
        "eos_token_id": 49407,
        "projection_dim": TINY.embed_dim,
    }
    config = transformers.CLIPConfig(
        vision_config=vision_config(), text_config=text, projection_dim=TINY.embed_dim
    )
    network = kind(config if kind is transformers.CLIPModel else config.vision_config).eval()
    scattered(network, seed)
    return network


def scattered(network, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name != "logit_scale":
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("before", ["", "clip.", "module."])
def test_a_clip_of_transformers(tmp_path, pixels, before):
    network = tiny(transformers.CLIPModel, 2)
    path = saved(network.state_dict(), tmp_path / "model.safetensors", before)
    clip = load_clip(MODEL, path, activation="quick_gelu")
    with torch.no_grad():
        expected = network.visual_projection(network.vision_model(pixels).pooler_output)
        ids = clip.tokenizer(["teapot", "a red mug on the table"])
        words = network.text_projection(network.text_model(ids).pooler_output)
    torch.testing.assert_close(clip(pixels), unit(expected), **CLOSE)
    torch.testing.assert_close(
        clip.encode_text(["teapot", "a red mug on the table"], ["{}"]), unit(words), **CLOSE
    )
    assert clip.logit_scale == pytest.approx(float(network.logit_scale.detach().exp()))


@pytest.mark.parametrize("kind", ["CLIPVisionModelWithProjection", "CLIPVisionModel"])
def test_an_image_tower_of_transformers_beside_a_whole_clip(tmp_path, pixels, kind):
    network = tiny(getattr(transformers, kind), 3)
    tower = saved(network.state_dict(), tmp_path / "tower.safetensors")
    whole = saved(random_clip(), tmp_path / "clip.safetensors")
    clip = load_clip(MODEL, whole, image_weights=tower, activation="quick_gelu")
    plain = load_clip(MODEL, whole, activation="quick_gelu")
    with torch.no_grad():
        seen = network(pixels)
        if kind == "CLIPVisionModel":  # has none: the whole CLIP's projection stays
            expected = seen.pooler_output @ random_clip()["visual.proj"]
        else:
            expected = seen.image_embeds
    torch.testing.assert_close(clip(pixels), unit(expected), **CLOSE)
    assert (clip(pixels) - plain(pixels)).abs().max() > 1e-2
    assert torch.equal(clip.encode_text(["teapot"]), plain.encode_text(["teapot"]))


def tiny_timm(seed):
    network = timm.create_model(
        "vit_base_patch16_clip_quickgelu_224",
        img_size=TINY.image_size,
        patch_size=TINY.patch,
        embed_dim=TINY.width,
        depth=TINY.layers,
        num_heads=TINY.heads,
        num_classes=TINY.embed_dim,
    ).eval()
    scattered(network, seed)
    torch.nn.init.zeros_(network.head.bias)  # as timm makes it from CLIP's projection
    return network


@pytest.mark.parametrize("before", ["", "model."])
def test_an_image_tower_of_timm_beside_a_whole_clip(tmp_path, pixels, before):
    network = tiny_timm(4)
    tower = saved(network.state_dict(), tmp_path / "tower.safetensors", before)
    whole = saved(random_clip(), tmp_path / "clip.safetensors")
    clip = load_clip(MODEL, whole, image_weights=tower, activation="quick_gelu")
    with torch.no_grad():
        torch.testing.assert_close(clip(pixels), unit(network(pixels)), **CLOSE)


@pytest.mark.parametrize("projection", ["trunk.head.weight", "head.proj.weight"])
def test_a_clip_of_open_clip_on_timms_trunk(tmp_path, pixels, projection):
    """open_clip with a timm ViT puts `visual.trunk.` before its names, and its projection in either place."""
    network = tiny_timm(5)
    state = {key: value for key, value in random_clip().items() if not key.startswith("visual.")}
    for key, value in network.state_dict().items():
        if key == "head.weight":
            state[f"visual.{projection}"] = value
        elif key != "head.bias":
            state[f"visual.trunk.{key}"] = value
    clip = load_clip(MODEL, saved(state, tmp_path / "clip.safetensors"), activation="quick_gelu")
    with torch.no_grad():
        torch.testing.assert_close(clip(pixels), unit(network(pixels)), **CLOSE)


def test_an_image_tower_out_of_a_whole_clip_brings_its_prompts(tmp_path, pixels):
    other = {key: value * 1.5 for key, value in random_clip().items()} | {
        "visual.mask_embedding": random_prompts()
    }
    whole, tower = saved(random_clip(), tmp_path / "a.safetensors"), saved(other, tmp_path / "b.safetensors")
    clip = load_clip(MODEL, whole, image_weights=tower, activation="quick_gelu")
    expected = load_clip(MODEL, tower, activation="quick_gelu")
    assert torch.equal(clip(pixels), expected(pixels))
    assert torch.equal(clip.mask_prompts, random_prompts())
    assert clip.logit_scale == pytest.approx(100.0, rel=1e-5)


def test_an_image_tower_alone_is_no_clip(tmp_path):
    tower = saved(tiny_timm(6).state_dict(), tmp_path / "tower.safetensors")
    with pytest.raises(WeightsError, match=r"holds an image tower alone.*this one as image_weights"):
        load_clip(MODEL, tower, activation="quick_gelu")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.bias": torch.ones(TINY.embed_dim)}, "a classifier's head, not CLIP's"),
        ({"pos_embed": torch.zeros(1, 50, TINY.width)}, "patches"),
        (
            {"blocks.0.ls1.gamma": torch.ones(TINY.width)},
            r"unexpected \['transformer.resblocks.0.ls1.gamma'\]",
        ),
    ],
)
def test_an_image_tower_that_does_not_fit(tmp_path, change, message):
    tower = saved(tiny_timm(7).state_dict() | change, tmp_path / "tower.safetensors")
    whole = saved(random_clip(), tmp_path / "clip.safetensors")
    with pytest.raises(WeightsError, match=message) as caught:
        load_clip(MODEL, whole, image_weights=tower, activation="quick_gelu")
    assert str(tower) in str(caught.value)


def test_a_tower_of_transformers_without_its_keys(tmp_path):
    state = tiny(transformers.CLIPModel, 8).state_dict()
    del state["vision_model.encoder.layers.1.self_attn.k_proj.bias"]
    with pytest.raises(WeightsError, match="expected queries, keys and values"):
        load_clip(MODEL, saved(state, tmp_path / "model.safetensors"), activation="quick_gelu")


def test_a_scale_in_a_row_and_a_bias(tmp_path):
    state = random_clip()
    scale = state["logit_scale"]
    plain = load_clip(MODEL, saved(state, tmp_path / "plain.safetensors"), activation="gelu")
    assert getattr(plain.clip_model, "logit_bias", None) is None
    state |= {"logit_scale": scale.reshape(1), "logit_bias": torch.tensor([-7.5])}
    clip = load_clip(MODEL, saved(state, tmp_path / "sigmoid.safetensors"), activation="gelu")
    assert clip.logit_scale == plain.logit_scale
    assert clip.clip_model.logit_scale.shape == ()
    assert float(clip.clip_model.logit_bias.detach()) == -7.5
    state["logit_scale"] = scale.repeat(2)
    with pytest.raises(WeightsError, match=r"other shape \['logit_scale \(2,\) instead of \(\)'\]"):
        load_clip(MODEL, saved(state, tmp_path / "two.safetensors"), activation="gelu")
