"""Convolutional CLIPs from files in the released layouts, in presets, and on a data set."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from clip_layout import TINY as TINY_VIT
from clip_layout import random_clip, random_prompts
from convnext_layout import BASE_W, LARGE_D_320, TINY, TINY_D, convnext_layout, random_convnext
from evaluate_trees import write_folder
from safetensors.torch import save_file
from sam_fixtures import LENIENT, TINY_SAM, save_tiny_sam
from tiny_presets import write_preset

from ovseg_ros.app.cli import main
from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip
from ovseg_ros.core.encoders.pooled_clip import POOLED_SIDE, PooledClip
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models import clip as clip_module
from ovseg_ros.models.clip import load_clip
from ovseg_ros.models.presets import load_preset, preset_path, read_preset

open_clip = clip_module.open_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights files of tiny networks: a ConvNeXt, a ViT, a SAM."""
    folder = tmp_path_factory.mktemp("tiny")
    save_file({k: v.contiguous() for k, v in random_convnext().items()}, folder / "convnext.safetensors")
    save_file({k: v.contiguous() for k, v in random_clip().items()}, folder / "vit.safetensors")
    torch.save(random_prompts(), folder / "prompts.pt")
    save_tiny_sam(folder / "sam.pth")
    return folder


# ---- files ----


@pytest.mark.parametrize(
    ("name", "shape"), [("convnext_base_w", BASE_W), ("convnext_large_d_320", LARGE_D_320)]
)
def test_the_released_layouts_are_open_clips_at_full_width(name, shape):
    """Names and shapes against the networks they go into, without memory for them."""
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        network = clip_module.build_network(config, name)
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == convnext_layout(shape)
    assert clip_module.architecture(name)[0] == config
    for part in ("vision_cfg", "text_cfg"):
        wanted = shape.as_open_clip()[part]
        assert {key: config[part][key] for key in wanted} == wanted
    assert config["embed_dim"] == shape.embed_dim


@pytest.mark.parametrize("shape", [TINY, TINY_D], ids=["linear", "mlp"])
@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_a_file_becomes_a_clip_that_pools(tmp_path, shape, ending):
    state, path = random_convnext(shape), tmp_path / f"clip.{ending}"
    if ending == "bin":
        torch.save(state, path)
    else:
        save_file(state, path)
    clip = load_clip(shape.as_open_clip(), path, activation="gelu")
    assert isinstance(clip, PooledClip)
    assert (clip.size, clip.embedding_dim, clip.stride, clip.pooled_side) == (64, 12, 32, POOLED_SIDE)
    assert clip.logit_scale == pytest.approx(100.0, rel=1e-5)
    assert not clip.training
    assert not any(parameter.requires_grad for parameter in clip.parameters())
    own = clip.clip_model.state_dict()
    assert set(own) == set(state)
    assert all(torch.equal(own[key], value) for key, value in state.items())
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = F.normalize(clip.clip_model.encode_image(pixels), dim=-1)
    assert torch.equal(clip.encode_regions(pixels, torch.ones(2, 1, 64, 64)), plain)
    assert clip.encode_text(["teapot", "red mug"]).shape == (2, 12)


def test_a_vit_does_not_pool(folder):
    clip = load_clip(TINY_VIT.as_open_clip(), folder / "vit.safetensors", activation="gelu")
    assert type(clip) is MaskPromptedClip
    assert not hasattr(clip, "encode_pooled")


def test_a_vits_file_is_refused_by_its_names(folder):
    with pytest.raises(WeightsError, match=r"visual\.trunk\.stem"):
        load_clip(TINY.as_open_clip(), folder / "vit.safetensors", activation="gelu")
    with pytest.raises(WeightsError, match=r"visual\.head\.mlp"):
        load_clip(TINY_D.as_open_clip(), folder / "convnext.safetensors", activation="gelu")


def test_prompts_are_refused(folder, tmp_path):
    save_file({"mask_prompts": random_prompts()}, tmp_path / "prompts.safetensors")
    with pytest.raises(WeightsError, match="use a ViT, or no prompts"):
        load_clip(
            TINY.as_open_clip(),
            folder / "convnext.safetensors",
            prompts=tmp_path / "prompts.safetensors",
            activation="gelu",
        )


# ---- presets ----

CONVNEXT = {"kind": "clip", "model": TINY.as_open_clip(), "weights": "convnext.safetensors"}
VIT = {"kind": "clip", "model": TINY_VIT.as_open_clip(), "weights": "vit.safetensors"}
SAM = {"kind": "sam", "model": TINY_SAM, "weights": "sam.pth", "options": LENIENT}


def preset(folder, name, encoder, **options):
    return write_preset(folder, name, SAM, {**encoder, "activation": "gelu"}, **options)


def test_the_bundled_preset_takes_what_fc_clip_is_built_on():
    bundled = read_preset(preset_path("convnext"))
    assert bundled["encoder"]["model"] == "convnext_large_d_320"
    assert bundled["encoder"]["pooled_side"] == POOLED_SIDE
    assert bundled["options"]["classifier"] == "pooled"


def test_a_preset_states_the_side(folder):
    loaded = load_preset(preset(folder, "side", {**CONVNEXT, "pooled_side": 96}, classifier="pooled"))
    assert loaded.clip.pooled_side == 96
    assert loaded.options.classifier == "pooled"
    assert load_preset(preset(folder, "no_side", CONVNEXT)).clip.pooled_side == POOLED_SIDE


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        (VIT, {"classifier": "pooled"}, "take the classifier clip, or .*ConvNeXt"),
        ({**VIT, "pooled_side": 96}, {}, "pooled_side is for a CLIP with a ConvNeXt.*leave it out"),
        ({**CONVNEXT, "pooled_side": 0}, {}, "expected pooled_side as a whole number"),
        ({**CONVNEXT, "pooled_side": "large"}, {}, "expected pooled_side as a whole number"),
    ],
)
def test_what_does_not_go_together_is_refused(folder, encoder, options, message):
    with pytest.raises(ConfigError, match=message):
        load_preset(preset(folder, "wrong", encoder, **options))


# ---- the commands ----


@pytest.mark.parametrize("classifier", ["pooled", "clip"])
def test_a_data_set_is_evaluated_either_way(folder, tmp_path, classifier):
    """With random weights: what comes out means nothing, but it has to come out."""
    tree = write_folder(
        tmp_path / "squares",
        {"a": (("red", "green", "blue", ""), (1, 2, 3, 0)), "b": (("red", "red", "", "blue"), (1, 2, 1, 3))},
    )
    path, out = preset(folder, "evaluated", {**CONVNEXT, "pooled_side": 64}), tmp_path / "out"
    words = ["evaluate", "dataset", "folder", str(tree), "--preset", str(path), "--out", str(out)]
    assert main([*words, "--set", f"classifier={classifier}"]) == 0
    content = json.loads((out / "result.json").read_text())
    assert content["made_with"]["options"]["classifier"] == classifier
    assert 0 <= content["result"]["miou"] <= 1
