"""The training of mini on a toy set: it learns, continues after a stop, and writes weights that load."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from ovseg_ros.core.templates import BARE_TEMPLATE
from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.household import OBJECTS
from ovseg_ros.learn.mini import CropStream, Recipe, Trainer, loss_of, train
from ovseg_ros.learn.stored_crop import BACKGROUND
from ovseg_ros.models.mini import MiniConfig, load_mini

KEYS = ("teapot", "plate", "ketchup", "basket")
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 40))
INDEX = {thing.key: i for i, thing in enumerate(OBJECTS)}
TINY = Recipe(
    samples=960,
    prompt_samples=320,
    prompt_learning_rate=5e-2,
    batch=32,
    warmup_steps=5,
    average=0.8,
    prompt_depth=2,
    learning_rate=2e-3,
    config=MiniConfig(image_size=64, patch_size=16, width=64, layers=2, heads=2),
)


def write_crops(folder, seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    crops = np.zeros((count, 132, 132, 4), np.uint8)
    labels = rng.integers(0, len(KEYS), count)
    for crop, label in zip(crops, labels, strict=True):
        crop[..., :3] = rng.integers(0, 255, 3)
        crop[20:112, 20:112, :3] = np.clip(np.array(COLOURS[label]) + rng.integers(-15, 15, 3), 0, 255)
        crop[20:112, 20:112, 3] = 255
        crop[60:112, 60:112, 3] = 0  # an L, so that whole patches are background
    np.save(folder / f"crops_{seed}_000.npy", crops)
    np.save(folder / f"labels_{seed}_000.npy", np.array([INDEX[KEYS[i]] for i in labels], np.int16))


@pytest.fixture
def crops(tmp_path):
    write_crops(tmp_path, 1, 64)
    write_crops(tmp_path, 99, 40)
    return tmp_path


def test_it_learns_and_the_weights_load(crops, tmp_path):
    out = tmp_path / "run"
    weights = train(crops, None, 99, out, TINY)
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [record["phase"] for record in history] == ["tower", "prompts"]
    assert history[-1]["top1"] > 0.6  # four of 45 nouns, unseen crops; chance is 0.02
    clip = load_mini(weights)
    assert clip.mask_prompts is not None
    assert tuple(clip.mask_prompts.shape) == (2, 16, 64)
    text = clip.encode_text([OBJECTS[INDEX[key]].names[0] for key in KEYS], BARE_TEMPLATE)
    image = torch.zeros(1, 3, 64, 64)
    assert clip.encode_regions(image, torch.ones(1, 1, 64, 64)).shape == (1, text.shape[1])


def test_prompt_tuning_moves_nothing_else(crops, tmp_path):
    train(crops, None, 99, tmp_path / "with", TINY)
    after_tower = torch.load(tmp_path / "with" / "tower.pt", weights_only=True)["parameters"]
    clip = load_mini(tmp_path / "with" / "mini.safetensors")
    tower = list(clip.clip_model.visual.parameters())
    assert len(tower) == len(after_tower) - 1  # the last one is the logit scale
    for saved, loaded in zip(after_tower, tower, strict=False):
        assert torch.equal(saved.half().float(), loaded)
    prompts = torch.load(tmp_path / "with" / "prompts.pt", weights_only=True)
    assert len(prompts["parameters"]) == 1
    assert prompts["parameters"][0].abs().max() > 0.1


def test_a_stopped_run_continues_where_it_was(crops, tmp_path, monkeypatch):
    out, original, steps = tmp_path / "run", Trainer._save, []

    def save_then_stop(self, phase, step, *args):
        original(self, phase, step, *args)
        if step == 12:  # past the warm-up, in mid-phase
            raise KeyboardInterrupt

    def counted(*args):
        steps.append(1)
        return loss_of(*args)

    monkeypatch.setattr(Trainer, "save_every_s", -1.0)
    monkeypatch.setattr(Trainer, "_save", save_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train(crops, None, 99, out, TINY)
    monkeypatch.setattr(Trainer, "save_every_s", 240.0)
    monkeypatch.setattr(Trainer, "_save", original)
    monkeypatch.setattr("ovseg_ros.learn.mini.loss_of", counted)
    train(crops, None, 99, out, TINY)
    both_phases = TINY.samples // TINY.batch + TINY.prompt_samples // TINY.batch
    assert len(steps) == both_phases - 12  # nothing done twice, nothing left out
    train(crops, None, 99, out, TINY)
    assert len(steps) == both_phases - 12  # all done already
    assert not list(out.glob("*.tmp"))


def test_new_shards_join_in(crops):
    stream = CropStream(crops, None, TINY, [1, 2])
    assert len(stream.labels) == 64
    write_crops(crops, 2, 30)
    stream.refresh()
    assert len(stream.labels) == 94
    assert (stream.rendered(93) == np.load(crops / "crops_2_000.npy")[29]).all()


def test_background_has_a_class_of_its_own(crops):
    labels = np.load(crops / "labels_1_000.npy")
    labels[:5] = BACKGROUND
    np.save(crops / "labels_1_000.npy", labels)
    stream = CropStream(crops, None, TINY, [1])
    assert (stream.labels[:5] == len(OBJECTS)).all()
    assert "background" in stream.names[len(OBJECTS)]


def test_no_crops_is_an_error_with_the_command(tmp_path):
    with pytest.raises(ConfigError, match=r"ovseg_ros\.learn\.crops"):
        CropStream(tmp_path, None, TINY)


def test_the_loss_is_smallest_at_the_own_prototype():
    prototypes = torch.eye(3)
    scale = torch.tensor(20.0)
    labels = torch.tensor([1])
    own = loss_of(prototypes[1:2], labels, prototypes, scale, 1.0)
    other = loss_of(prototypes[0:1], labels, prototypes, scale, 1.0)
    between = loss_of(
        torch.nn.functional.normalize(prototypes[:2].sum(0, keepdim=True)), labels, prototypes, scale, 1.0
    )
    assert own < between < other


def test_more_weight_on_distance_costs_more_off_the_prototype():
    prototypes = torch.eye(3)
    arguments = (prototypes[0:1], torch.tensor([1]), prototypes, torch.tensor(20.0))
    assert loss_of(*arguments, 8.0) - loss_of(*arguments, 1.0) == pytest.approx(7.0)
