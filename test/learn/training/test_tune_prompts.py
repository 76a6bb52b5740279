"""Mask prompt tuning on made-up pairs: nothing else moves, and only replaced tokens are learned from."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import torch
from clip_layout import TINY as SHAPE
from learn_fixtures import Stopped, same_weights, stop_at
from safetensors.torch import load_file, save_file

from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.learn.tabletop.untrained_mini import new_mini
from ovseg_ros.learn.training import stages
from ovseg_ros.learn.training.augment_pairs import Augment
from ovseg_ros.learn.training.contrastive import contrastive_loss
from ovseg_ros.learn.training.finetune import finetune
from ovseg_ros.learn.training.learned_preset import read_start
from ovseg_ros.learn.training.recipes import FinetuneRecipe, PromptsRecipe
from ovseg_ros.learn.training.tune_prompts import prompts_task, tune_prompts
from ovseg_ros.models.bundled.mini import MiniConfig, load_mini, save_mini
from ovseg_ros.models.checkpoints.convert import read_metadata
from ovseg_ros.models.presets import load_preset

TINY = PromptsRecipe(
    epochs=2,
    batch=24,
    learning_rate=3e-2,
    warmup_steps=2,
    precision="fp32",
    held_out=0.2,
    workers=0,
    save_every=3,
    log_every=1,
    depth=3,
    augment=Augment(flip=0.5, crop=(0.9, 1.0)),
)


def digests(clip: torch.nn.Module) -> dict[str, str]:
    """A hash of every tensor there is, trained or not, parameter or buffer."""
    everything = {**dict(clip.named_parameters()), **dict(clip.named_buffers())}
    return {
        name: hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        for name, value in everything.items()
    }


def test_no_other_tensor_moves_by_a_bit(pairs, preset, tmp_path, monkeypatch):
    starts = []

    def remember(*values, **named):
        starts.append(read_start(*values, **named))
        return starts[-1]

    monkeypatch.setattr(stages, "read_start", remember)
    before = digests(read_start(preset).clip)
    tune_prompts(pairs, preset, TINY, tmp_path)
    after = digests(starts[0].clip)
    assert after.keys() - before.keys() == {"mask_prompts"}
    assert {name: after[name] for name in before} == before
    fresh = prompts_task(read_start(preset), TINY).clip.mask_prompts
    assert (starts[0].clip.mask_prompts - fresh).abs().max() > 0.02
    assert [name for name, p in starts[0].clip.named_parameters() if p.requires_grad] == ["mask_prompts"]
    assert all(p.grad is None for name, p in starts[0].clip.named_parameters() if name != "mask_prompts")


def gradient(preset, masks: torch.Tensor, depth: int = 3) -> torch.Tensor:
    """Of the prompts, (depth, patches, width), for a batch with these masks."""
    task = prompts_task(read_start(preset), dataclasses.replace(TINY, depth=depth))
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(len(masks), 3, 32, 32, generator=generator)
    texts = torch.nn.functional.normalize(torch.randn(len(masks), SHAPE.embed_dim, generator=generator))
    rows = task.clip.encode_regions(pixels, masks)
    contrastive_loss(rows, texts, torch.arange(len(masks)), torch.tensor(10.0)).backward()
    return task.clip.mask_prompts.grad


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_only_prompts_that_stand_in_for_background_have_a_gradient(preset, depth):
    masks = torch.ones(4, 1, 32, 32)
    masks[0, 0, 0:8, 8:16] = 0  # patch 1 of the 4x4
    masks[2, 0, 16:32, 24:32] = 0  # patches 11 and 15
    masks[3, 0, 0:8, 0:7] = 0  # patch 0, but for one column: not replaced
    found = gradient(preset, masks, depth)
    assert found.shape == (depth, 16, 16)
    moved = found.abs().amax(dim=2) > 0  # (depth, patches)
    for layer in moved:
        assert layer.nonzero().flatten().tolist() == [1, 11, 15]


def test_a_full_mask_gives_no_gradient_and_an_empty_one_replaces_every_patch(preset):
    assert gradient(preset, torch.ones(4, 1, 32, 32)).abs().max() == 0
    assert (gradient(preset, torch.zeros(2, 1, 32, 32), 1).abs().amax(dim=2) > 0).all()


@pytest.mark.parametrize("depth", [1, 4])
def test_the_file_is_small_and_any_preset_loads_it(pairs, preset, tmp_path, depth):
    recipe = dataclasses.replace(TINY, depth=depth, max_steps=2)
    figures = tune_prompts(pairs, preset, recipe, tmp_path)
    path = tmp_path / "prompts.safetensors"
    tensors = load_file(path)
    assert {key: (tuple(value.shape), value.dtype) for key, value in tensors.items()} == {
        "mask_prompts": ((depth, 16, 16), torch.float16)
    }
    assert path.stat().st_size < 2 * depth * 16 * 16 + 2000
    assert read_metadata(path)["licence"] == "CC-BY-NC-4.0"
    segmenter = load_preset(figures["preset"])
    assert segmenter.options.mask_prompts
    assert torch.equal(segmenter.clip.mask_prompts, tensors["mask_prompts"].float())
    assert segmenter.clip.logit_scale == pytest.approx(100.0)


def test_finetuned_first_then_prompts(pairs, preset, tmp_path):
    shared = {"batch": 24, "max_steps": 2, "precision": "fp32", "workers": 0, "held_out": 0.2}
    tower = finetune(pairs, preset, FinetuneRecipe(**shared, learning_rate=1e-3), tmp_path / "tower")
    both = tune_prompts(pairs, tower["preset"], PromptsRecipe(**shared), tmp_path / "both")
    clip = load_preset(both["preset"]).clip
    tuned = load_preset(tower["preset"]).clip
    assert tuned.mask_prompts is None
    assert clip.mask_prompts.shape == (3, 16, 16)
    for name, value in tuned.clip_model.state_dict().items():
        assert torch.equal(value, clip.clip_model.state_dict()[name]), name
    assert read_metadata(tmp_path / "tower" / "model.safetensors")["licence"] == "CC-BY-NC-4.0"
    again = finetune(pairs, both["preset"], FinetuneRecipe(**shared), tmp_path / "again")
    assert load_preset(again["preset"]).clip.mask_prompts is None


def test_prompts_of_a_preset_can_be_tuned_further(pairs, preset, tmp_path):
    recipe = dataclasses.replace(TINY, max_steps=1)
    first = tune_prompts(pairs, preset, recipe, tmp_path / "first")
    with pytest.raises(ConfigError, match="depth 2 in preset preset to start from, got depth 3"):
        tune_prompts(
            pairs, first["preset"], dataclasses.replace(recipe, start="preset", depth=2), tmp_path / "x"
        )
    task = prompts_task(read_start(first["preset"]), dataclasses.replace(recipe, start="preset"))
    assert torch.equal(task.clip.mask_prompts, load_preset(first["preset"]).clip.mask_prompts)
    with pytest.raises(ConfigError, match="got none"):
        prompts_task(read_start(preset), dataclasses.replace(recipe, start="preset"))


def test_a_depth_the_tower_does_not_have_is_refused(pairs, preset, tmp_path):
    with pytest.raises(ConfigError, match="depth in 1…4, got 5"):
        tune_prompts(pairs, preset, dataclasses.replace(TINY, depth=5), tmp_path)


def test_interrupted_and_resumed_is_as_if_nothing_had_been(pairs, preset, tmp_path):
    tune_prompts(pairs, preset, TINY, tmp_path / "whole")

    with pytest.raises(Stopped):
        tune_prompts(pairs, preset, TINY, tmp_path / "again", report=stop_at(4))
    tune_prompts(pairs, preset, TINY, tmp_path / "again", resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "again", name="prompts.safetensors")


def write_mini_preset(folder, depth: int | None):
    config = MiniConfig(image_size=32, patch_size=8, width=32, layers=2, heads=2)
    preset, weights = new_mini(folder, config, 0), folder / "model.safetensors"
    if depth is not None:
        save_mini(weights, load_mini(weights).clip_model, torch.randn(depth, 16, 32), config)
    return preset


@pytest.mark.parametrize("own", [None, 1])
def test_a_mini_takes_prompts_from_a_file_of_their_own(pairs, tmp_path, own):
    preset = write_mini_preset(tmp_path, own)
    recipe = dataclasses.replace(TINY, depth=2, max_steps=2)
    figures = tune_prompts(pairs, preset, recipe, tmp_path / "run")
    segmenter = load_preset(figures["preset"])
    saved = load_file(tmp_path / "run" / "prompts.safetensors")["mask_prompts"]
    assert torch.equal(segmenter.clip.mask_prompts, saved.float())
    assert segmenter.options.mask_prompts
    plain = load_mini(tmp_path / "model.safetensors")
    assert (plain.mask_prompts is None) == (own is None)
    for name, value in plain.clip_model.state_dict().items():
        assert torch.equal(value, segmenter.clip.clip_model.state_dict()[name]), name


def test_prompts_of_another_tower_are_refused_by_a_mini(tmp_path):
    write_mini_preset(tmp_path, None)
    save_file({"mask_prompts": torch.zeros(1, 9, 32)}, tmp_path / "p.safetensors")
    with pytest.raises(WeightsError, match=r"p\.safetensors does not fit .*expected mask_prompts"):
        load_mini(tmp_path / "model.safetensors", prompts=tmp_path / "p.safetensors")
    save_file({"mask_prompts": torch.full((1, 16, 32), float("nan"))}, tmp_path / "p.safetensors")
    with pytest.raises(WeightsError, match="NaN"):
        load_mini(tmp_path / "model.safetensors", prompts=tmp_path / "p.safetensors")
