"""Finetuning on made-up pairs: it learns, a stop costs nothing, and what cannot go on says why."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil

import pytest
import torch
import yaml
from learn_fixtures import (
    COLOURS,
    Stopped,
    damage,
    history,
    same_weights,
    stop_at,
    write_clip_preset,
    write_pairs,
)
from learn_fixtures import TINY_FINETUNE as TINY
from safetensors.torch import load_file

from ovseg_ros.errors import ConfigError, InvalidInputError, OutOfMemoryError
from ovseg_ros.learn.training import loop as training
from ovseg_ros.learn.training.augment_pairs import Augment
from ovseg_ros.learn.training.finetune import finetune, tower_task
from ovseg_ros.learn.training.learned_preset import read_start
from ovseg_ros.learn.training.recipes import FinetuneRecipe, load_recipe
from ovseg_ros.learn.training.task import TrainingError, learning_rate
from ovseg_ros.models.bundled.mini import MiniConfig, build_mini_clip, load_mini, save_mini
from ovseg_ros.models.presets import load_preset


@pytest.fixture(scope="module")
def run(pairs, preset, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, finetune(pairs, preset, TINY, out)


def without_times(records: list[dict]) -> list[dict]:
    return [{k: v for k, v in r.items() if k not in ("pairs_per_s", "waiting")} for r in records]


def changed(recipe: FinetuneRecipe = TINY, **values) -> FinetuneRecipe:
    return dataclasses.replace(recipe, **values)


@pytest.mark.parametrize("step", [2, 6, 11])
def test_interrupted_and_resumed_is_as_if_nothing_had_been(run, pairs, preset, tmp_path, step):
    with pytest.raises(Stopped):
        finetune(pairs, preset, TINY, tmp_path, report=stop_at(step))
    torch.rand(17)  # whatever happened to the generator since
    finetune(pairs, preset, TINY, tmp_path, resume=True)
    assert same_weights(run[0], tmp_path)
    assert without_times(history(tmp_path)) == without_times(history(run[0]))


RESNET = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "patch_size": None, "image_size": 32}


@pytest.mark.parametrize("vision", [{"patch_dropout": 0.5}, RESNET], ids=["dropout", "running statistics"])
def test_randomness_and_statistics_inside_the_network_are_resumed_too(pairs, tmp_path, vision):
    preset = write_clip_preset(tmp_path / "clip", vision=vision, untrained=vision is RESNET)
    recipe = changed(epochs=1, save_every=2, train_logit_scale=False, augment=Augment())
    finetune(pairs, preset, recipe, tmp_path / "whole")
    with pytest.raises(Stopped):
        finetune(pairs, preset, recipe, tmp_path / "again", report=stop_at(3))
    torch.rand(17)
    finetune(pairs, preset, recipe, tmp_path / "again", resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "again")
    assert without_times(history(tmp_path / "again")) == without_times(history(tmp_path / "whole"))
    whole = load_file(tmp_path / "whole" / "model.safetensors")
    before = load_file(preset.parent / "clip.safetensors")
    assert torch.equal(whole["logit_scale"], before["logit_scale"])
    statistics = [key for key in whole if key.endswith("running_mean")]
    assert bool(statistics) == (vision is RESNET)
    assert not any(torch.equal(whole[key], before[key]) for key in statistics)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_finished_run_resumed_writes_the_same(pairs, preset, tmp_path, damaged):
    """Also from the checkpoint before the newest, where that cannot be read."""
    recipe = changed(epochs=2, save_every=3)
    first = finetune(pairs, preset, recipe, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    if damaged:
        newest = max((tmp_path / "again" / "checkpoints").iterdir())
        newest.write_bytes(newest.read_bytes()[:1000])
    (tmp_path / "again" / "model.safetensors").unlink()
    second = finetune(pairs, preset, recipe, tmp_path / "again", resume=True)
    assert same_weights(tmp_path / "run", tmp_path / "again")
    assert second["steps"] == first["steps"]


@pytest.mark.parametrize(
    ("resume", "values", "message"),
    [
        (False, {}, "already holds a run; --resume"),
        (True, {"batch": 12}, "batch 24 before and 12 now"),
        (True, {"seed": 1}, "seed 0 before"),
    ],
)
def test_another_run_is_neither_overwritten_nor_resumed(run, pairs, preset, resume, values, message):
    with pytest.raises(ConfigError, match=message):
        finetune(pairs, preset, changed(**values), run[0], resume=resume)


def test_a_run_is_not_resumed_with_other_pairs(run, preset, tmp_path):
    write_pairs(tmp_path, 160, per_shard=40, seed=1)
    with pytest.raises(ConfigError, match="data "):
        finetune(tmp_path, preset, TINY, run[0], resume=True)


def test_only_the_newest_checkpoints_stay(run):
    names = sorted(path.name for path in (run[0] / "checkpoints").iterdir())
    assert len(names) == TINY.keep_checkpoints
    assert names[-1] == f"step_{run[1]['steps']:08d}.pt"


def test_a_loss_that_is_no_number_ends_the_run_with_its_step(pairs, preset, tmp_path, monkeypatch):
    real, calls = training.contrastive_loss, []

    def sometimes(*values, **named):
        calls.append(1)
        return real(*values, **named) * (float("nan") if len(calls) == 6 else 1.0)

    monkeypatch.setattr(training, "contrastive_loss", sometimes)
    with pytest.raises(TrainingError, match=r"loss is nan at step 6 of .*step_00000005\.pt"):
        finetune(pairs, preset, TINY, tmp_path)
    assert not (tmp_path / "preset.yaml").exists()
    figures = finetune(pairs, preset, changed(learning_rate=1e-4), tmp_path, resume=True)
    assert figures["steps"] > 6


def test_a_gradient_that_is_no_number_ends_the_run_too(pairs, preset, tmp_path, monkeypatch):
    real = training.contrastive_loss

    def steep(images, *values, **named):
        images.register_hook(lambda gradient: gradient * float("inf"))
        return real(images, *values, **named)

    monkeypatch.setattr(training, "contrastive_loss", steep)
    with pytest.raises(TrainingError, match=r"gradient's norm is .* at step 1 "):
        finetune(pairs, preset, TINY, tmp_path)


def test_a_full_device_says_what_to_do(pairs, preset, tmp_path, monkeypatch):
    def full(*values, **named):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "contrastive_loss", full)
    with pytest.raises(OutOfMemoryError, match="step 1 with batch 24; set gradient_checkpointing=true"):
        finetune(pairs, preset, TINY, tmp_path)


def test_max_steps_end_the_run_and_its_schedule(pairs, preset, tmp_path):
    figures = finetune(pairs, preset, changed(max_steps=2, warmup_steps=0), tmp_path)
    rates = [record["learning_rate"] for record in history(tmp_path) if "loss" in record]
    assert figures["steps"] == 2
    assert rates == pytest.approx([3e-3, 1.5e-3])


def test_the_rate_rises_and_falls_or_stays():
    """Linearly over the warm-up, which is at most a tenth of the run, then as half a cosine."""
    recipe = changed(warmup_steps=5)
    rates = [learning_rate(recipe, step, 20) for step in range(20)]
    assert rates[:2] == pytest.approx([1.5e-3, 3e-3])
    cosine = [1.5e-3 * (1 + math.cos(math.pi * step / 18)) for step in range(18)]
    assert rates[2:] == pytest.approx(cosine)
    assert learning_rate(changed(schedule="constant"), 19, 20) == 3e-3


def test_pairs_that_cannot_be_read_are_counted_and_the_run_goes_on(preset, tmp_path):
    write_pairs(tmp_path / "pairs", 60)
    names = {damage(tmp_path / "pairs", i, "png") for i in (3, 40)}
    said: list[str] = []
    figures = finetune(
        tmp_path / "pairs",
        preset,
        changed(batch=20, held_out=0.0),
        tmp_path / "run",
        report=lambda record: said.append(record.get("message", "")),
    )
    assert figures["skipped"] == 2
    assert json.loads((tmp_path / "run" / "skipped.json").read_text()).keys() == names
    assert all(sum(f"skipped {name}" in line for line in said) == 1 for name in names)
    assert "top1" not in figures


def test_a_separate_set_is_measured_on(pairs, preset, tmp_path):
    write_pairs(tmp_path / "test", 10, seed=9, nouns=("plate", "book"))
    figures = finetune(pairs, preset, changed(max_steps=1), tmp_path / "run", held_out=tmp_path / "test")
    assert (figures["pairs"], figures["nouns"]) == (10, 2)


def test_nothing_to_measure_on_is_refused(pairs, preset, tmp_path):
    write_pairs(tmp_path / "test", 3, seed=9)
    for i in range(3):
        damage(tmp_path / "test", i, "json")
    with pytest.raises(InvalidInputError, match="none of 3 can be read"):
        finetune(pairs, preset, TINY, tmp_path / "run", held_out=tmp_path / "test")


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
    assert load_recipe(out / "recipe.yaml", "finetune") == TINY


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


@pytest.mark.parametrize(
    ("encoder", "values", "device", "message"),
    [
        (None, {}, "meta", "expected cpu or cuda to train on, got 'meta'"),
        (None, {"precision": "fp16"}, "cpu", "fp32 or bf16 on a CPU"),
        ("lite", {}, "cpu", "expected a preset whose encoder is mini or clip, got lite"),
    ],
)
def test_what_cannot_be_trained_is_refused(pairs, preset, tmp_path, encoder, values, device, message):
    with pytest.raises(ConfigError, match=message):
        finetune(pairs, encoder or preset, changed(**values), tmp_path, device=device)


def test_bfloat16_trains(pairs, preset, tmp_path):
    figures = finetune(pairs, preset, changed(precision="bf16", epochs=1), tmp_path)
    assert torch.isfinite(torch.tensor(figures["cosine"]))


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
