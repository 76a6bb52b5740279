"""Finetuning on made-up pairs: it learns, and only the image tower moves."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import yaml
from learn_fixtures import COLOURS, history, write_clip_preset, write_pairs
from learn_fixtures import TINY_FINETUNE as TINY
from safetensors.torch import load_file

from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.finetune import finetune, tower_task
from ovseg_ros.learn.learned_preset import read_start
from ovseg_ros.learn.recipes import FinetuneRecipe, load_recipe
from ovseg_ros.models.mini import MiniConfig, build_mini_clip, load_mini, save_mini
from ovseg_ros.models.presets import load_preset


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, 160, per_shard=40)
    return folder


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return write_clip_preset(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def run(pairs, preset, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, finetune(pairs, preset, TINY, out)


def changed(recipe: FinetuneRecipe = TINY, **values) -> FinetuneRecipe:
    return dataclasses.replace(recipe, **values)


def test_it_learns(run):
    out, figures = run
    measured = [record["top1"] for record in history(out) if "top1" in record]
    assert len(measured) == 1 + TINY.epochs
    assert measured[-1] == figures["top1"] > 0.6 > measured[0]
    assert figures["nouns"] == len(COLOURS)
    assert figures["skipped"] == 0


def test_only_the_image_tower_and_the_scale_move(run, preset):
    before = load_file(preset.parent / "clip.safetensors")
    after = load_file(run[0] / "model.safetensors")
    assert before.keys() == after.keys()
    for key, value in before.items():
        moved = not torch.equal(value, after[key])
        assert moved == (key.startswith("visual.") or key == "logit_scale"), key
    assert after["logit_scale"] <= torch.tensor(100.0).log()


def test_the_scale_stays_under_its_limit(pairs, preset, tmp_path):
    finetune(pairs, preset, changed(max_logit_scale=50.0, epochs=1), tmp_path)
    assert load_file(tmp_path / "model.safetensors")["logit_scale"].exp() <= 50.001


def test_the_written_preset_runs(run):
    out, figures = run
    segmenter = load_preset(out / "preset.yaml")
    assert segmenter.clip.mask_prompts is None
    assert segmenter.clip.logit_scale == pytest.approx(
        load_file(out / "model.safetensors")["logit_scale"].exp()
    )
    assert figures["preset"] == str(out / "preset.yaml")
    content = yaml.safe_load((out / "preset.yaml").read_text())
    assert content["encoder"]["weights"] == "model.safetensors"
    assert content["encoder"]["activation"] == "quick_gelu"
    assert content["description"] == "a tiny CLIP; image tower finetuned on masked crops"
    assert content["options"]["fill"] == "mean"


def test_the_recipe_lies_beside(run):
    assert load_recipe(run[0] / "recipe.yaml", "finetune") == TINY


def test_tensorboard_has_the_curves(run):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    charts = EventAccumulator(str(run[0] / "tensorboard"))
    charts.Reload()
    assert {"train/loss", "train/learning_rate", "held_out/top1", "held_out/cosine"} <= set(
        charts.Tags()["scalars"]
    )
    assert len(charts.Scalars("train/loss")) == charts.Scalars("train/loss")[-1].step


def test_gradient_checkpointing_changes_no_gradient(preset):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(4, 3, 32, 32, generator=generator)
    gradients = []
    for on in (False, True):
        task = tower_task(read_start(preset), changed(gradient_checkpointing=on))
        assert task.clip.clip_model.visual.transformer.grad_checkpointing == on
        task.clip.clip_model.visual.train()
        task.clip.encode_regions(pixels)[:, 0].sum().backward()
        gradients.append({name: p.grad for name, p in task.parameters.items() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-7), name


@pytest.mark.parametrize("device", ["tpu", "meta"])
def test_devices_it_cannot_train_on_are_refused(pairs, preset, tmp_path, device):
    with pytest.raises((ConfigError, RuntimeError)):
        finetune(pairs, preset, TINY, tmp_path, device=device)


def test_half_precision_needs_a_gpu(pairs, preset, tmp_path):
    with pytest.raises(ConfigError, match="fp32 or bf16 on a CPU"):
        finetune(pairs, preset, changed(precision="fp16"), tmp_path)


def test_bfloat16_trains(pairs, preset, tmp_path):
    figures = finetune(pairs, preset, changed(precision="bf16", epochs=1), tmp_path)
    assert torch.isfinite(torch.tensor(figures["cosine"]))


def test_an_encoder_without_a_tower_is_refused(pairs, tmp_path):
    with pytest.raises(ConfigError, match="want a preset whose encoder is mini or clip, got lite"):
        finetune(pairs, "lite", TINY, tmp_path)


def test_a_mini_is_trained_and_loads(pairs, tmp_path):
    config = MiniConfig(image_size=32, patch_size=8, width=32, layers=2, heads=2)
    model, _ = build_mini_clip(config)
    save_mini(tmp_path / "plain.safetensors", model, torch.randn(1, 16, 32), config)
    preset = tmp_path / "plain.yaml"
    content = {
        "description": "a plain mini.",
        "proposer": {"kind": "depth_clusters"},
        "encoder": {"kind": "mini", "weights": "plain.safetensors"},
        "logit_scale": 12.0,
        "options": {"templates": "bare"},
    }
    preset.write_text(yaml.safe_dump(content))
    finetune(pairs, preset, changed(epochs=1, logit_scale=20.0), tmp_path / "run")
    clip = load_mini(tmp_path / "run" / "model.safetensors")
    assert clip.mask_prompts is None
    assert clip.clip_model.visual.transformer.resblocks[0].attn.num_heads == 2
    written = yaml.safe_load((tmp_path / "run" / "preset.yaml").read_text())
    assert written["encoder"] == {"kind": "mini", "weights": "model.safetensors"}
    assert "logit_scale" not in written
    assert 10 < load_preset(tmp_path / "run" / "preset.yaml").clip.logit_scale < 40
