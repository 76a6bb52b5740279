"""A mini from nothing: a fresh tower learns by the one training loop, on pairs and on unmasked pictures."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from learn_fixtures import COLOURS, history, write_pairs
from safetensors.torch import load_file
from tabletop_fixtures import write_emoji

from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.pairs.index import open_pairs
from ovseg_ros.learn.tabletop.benchmark import Scenes, top1
from ovseg_ros.learn.tabletop.plain_pictures import (
    PICTURES_PER_IMAGE,
    ScenePictures,
    WebPictures,
    write_plain,
)
from ovseg_ros.learn.tabletop.untrained_mini import new_mini, write_mini_preset
from ovseg_ros.learn.tabletop.words import BACKGROUND_WORDS
from ovseg_ros.learn.training.finetune import finetune
from ovseg_ros.learn.training.recipes import load_recipe
from ovseg_ros.learn.training.tune_prompts import tune_prompts
from ovseg_ros.models.bundled.mini import MiniConfig, load_mini
from ovseg_ros.models.presets import load_preset, read_preset

TINY = MiniConfig(image_size=32, patch_size=8, width=32, layers=2, heads=2)
SHORT = (
    "batch=24",
    "workers=0",
    "held_out=0.2",
    "precision=fp32",
    "average=0.5",
    "log_every=1",
    "save_every=5",
)


@pytest.fixture
def fresh(tmp_path):
    return new_mini(tmp_path / "fresh", TINY, 0)


def test_a_fresh_mini_is_the_same_for_the_same_seed(fresh, tmp_path):
    again = new_mini(tmp_path / "again", TINY, 0)
    other = new_mini(tmp_path / "other", TINY, 1)
    weights = [load_file(preset.parent / "model.safetensors") for preset in (fresh, again, other)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not torch.equal(weights[0]["visual.conv1.weight"], weights[2]["visual.conv1.weight"])


def test_the_preset_has_neither_prompts_nor_rivals(tmp_path):
    weights = tmp_path / "mini.safetensors"
    write_mini_preset(tmp_path / "p" / "preset.yaml", weights, "a plain one")
    preset = read_preset(tmp_path / "p" / "preset.yaml")
    assert preset["encoder"] == {"kind": "mini", "weights": str(weights.resolve())}
    assert preset["description"] == "a plain one"
    assert preset["options"]["background"] == []
    assert preset["options"]["templates"] == "bare"


def test_from_nothing_it_learns_both_stages(fresh, tmp_path):
    write_pairs(tmp_path / "pairs", 160, per_shard=40)
    recipe = load_recipe("from_nothing", "finetune", [*SHORT, "epochs=6", "learning_rate=3e-3"])
    tower = finetune(tmp_path / "pairs", fresh, recipe, tmp_path / "tower")
    records = history(tmp_path / "tower")
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[-1] < 0.7 * losses[0]
    assert tower["top1"] > 0.6 > next(r["top1"] for r in records if "top1" in r)
    assert tower["nouns"] == len(COLOURS)

    prompts = load_recipe("from_nothing", "prompts", [*SHORT, "max_steps=4"])
    both = tune_prompts(tmp_path / "pairs", tower["preset"], prompts, tmp_path / "both")
    clip = load_preset(both["preset"]).clip
    assert clip.mask_prompts.shape == (1, 16, 32)
    before = load_mini(tmp_path / "tower" / "model.safetensors").clip_model.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in clip.clip_model.state_dict().items())


@pytest.fixture
def benchmark(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("training", "validation"):
        for kind in ("images", "instances"):
            (tmp_path / kind / split).mkdir(parents=True)
        records = {}
        for n in range(4):
            image = rng.integers(90, 110, (60, 80, 3), dtype=np.uint8)
            ids = np.zeros((60, 80), np.uint16)
            for number, (x, bgr) in enumerate(((5, (0, 0, 250)), (50, (250, 0, 0))), 1):
                y = int(rng.integers(0, 30))
                image[y : y + 22, x : x + 22], ids[y : y + 22, x : x + 22] = bgr, number
            cv2.imwrite(str(tmp_path / "images" / split / f"s{n}.jpg"), image)
            cv2.imwrite(str(tmp_path / "instances" / split / f"s{n}.png"), ids)
            records[f"s{n}"] = {"1": "strawberry", "2": "ocean"}
        (tmp_path / f"things_{split}.json").write_text(json.dumps(records))
    return tmp_path


def test_scenes_give_things_with_surroundings_whole_scenes_and_empty_boxes(benchmark):
    pictures, rng = ScenePictures(Scenes.load(benchmark, "training")), np.random.default_rng(0)
    for _ in range(20):
        picture, noun = pictures.thing(rng)
        middle = picture[picture.shape[0] // 2, picture.shape[1] // 2].astype(int)
        assert (middle[0] > middle[2]) == (noun == "strawberry")
    assert {pictures.whole(rng)[1] for _ in range(20)} == {"strawberry", "ocean"}
    assert pictures.whole(rng)[0].shape == (60, 80, 3)
    assert sum(pictures.empty(rng)[1] in BACKGROUND_WORDS for _ in range(20)) > 10


def test_web_pictures_keep_their_surroundings(benchmark, tmp_path):
    write_pairs(tmp_path / "crops", 12)
    cutouts = tmp_path / "emoji"
    cutouts.mkdir()
    write_emoji(cutouts, "1f955", (0, 0, 255))
    web = WebPictures(tmp_path / "crops", cutouts, ScenePictures(Scenes.load(benchmark, "training")))
    rng = np.random.default_rng(0)
    assert {web.rendered(rng)[1] for _ in range(40)} == set(COLOURS)
    picture, word = web.pasted(rng)
    assert word == "carrot"
    middle = picture[picture.shape[0] // 2, picture.shape[1] // 2].astype(int)
    assert middle[0] > 200 > middle[1]
    assert np.abs(picture[0, 0] - middle).max() > 50
    write_plain(benchmark, tmp_path / "plain", 200, 0, (tmp_path / "crops", cutouts))
    index = open_pairs(tmp_path / "plain")
    nouns = [index.read(i).noun for i in range(len(index))]
    assert nouns.count("carrot") == pytest.approx(50, abs=20)
    assert {"ocean", "wall", "teapot"} <= set(nouns)


def test_a_plain_mini_learns_from_unmasked_pictures(benchmark, fresh, tmp_path):
    write_plain(benchmark, tmp_path / "plain", 200, 0)
    index = open_pairs(tmp_path / "plain")
    assert len(index) == 2 * PICTURES_PER_IMAGE
    assert all(index.read(i).mask.all() for i in range(0, 200, 10))
    changes = [*SHORT, "epochs=6", "learning_rate=3e-3", "held_out=0", "augment.fills={none: 1.0}"]
    out = finetune(
        tmp_path / "plain", fresh, load_recipe("from_nothing", "finetune", changes), tmp_path / "run"
    )
    clip = load_preset(out["preset"]).clip
    found = top1(clip, Scenes.load(benchmark, "validation"), ("strawberry", "ocean"), {"ocean"})
    assert found.keys() == {
        f"{view}{part}" for view in ("context", "masked") for part in ("", "_seen", "_unseen")
    }
    assert found["context"] >= 0.75


def test_no_benchmark_and_damaged_images_are_said(benchmark, tmp_path):
    with pytest.raises(ConfigError, match=r"tabletop\.benchmark"):
        Scenes.load(tmp_path / "nowhere", "training")
    (benchmark / "images/training/s2.jpg").write_bytes(b"no image")
    with pytest.raises(ConfigError, match="s2"):
        Scenes.load(benchmark, "training")
