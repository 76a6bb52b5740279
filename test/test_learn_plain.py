"""The plain CLIP: what it is shown, how it learns and goes on, on a made-up benchmark of two things."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.learn.augment import FILL_RGB
from ovseg_ros.learn.household import OBJECTS
from ovseg_ros.learn.plain import PlainRecipe, PlainStream, train_plain
from ovseg_ros.learn.plain_pictures import BACKGROUND_WORDS, ScenePictures, Scenes, WebPictures
from ovseg_ros.learn.stored_crop import BACKGROUND, STORED_SIZE
from ovseg_ros.models.mini import MiniConfig, load_mini

TINY = MiniConfig(image_size=32, patch_size=16, width=32, layers=1, heads=2)


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
    (tmp_path / "classes.txt").write_text("strawberry\nocean\n")
    (tmp_path / "unseen.txt").write_text("ocean\n")
    return tmp_path


def recipe(**changes) -> PlainRecipe:
    return PlainRecipe(**{"samples": 320, "batch": 16, "config": TINY, "warmup_steps": 2, **changes})


def test_targets_say_what_is_seen_and_nothing_is_blanked(benchmark):
    stream = PlainStream(Scenes.load(benchmark, "training"), recipe(scene_share=0.0, empty_share=0.0))
    assert stream.names == ("ocean", "strawberry", *BACKGROUND_WORDS)
    pixels, targets = stream.batch(np.random.default_rng(0))
    assert pixels.shape == (16, 3, 32, 32)
    assert torch.allclose(targets.sum(dim=1), torch.ones(16))
    centre = pixels[:, :, 14:18, 14:18].mean(dim=(2, 3))
    red = centre[:, 0] > centre[:, 2]
    assert (red == (targets[:, 1] == 1)).all()
    fill = torch.zeros(3)  # the mean colour, normalised
    assert not ((pixels - fill[:, None, None]).abs() < 1e-3).all(dim=1).any()
    assert len(FILL_RGB) == 3


def test_whole_scenes_name_all_and_empty_boxes_are_background(benchmark):
    scenes = Scenes.load(benchmark, "training")
    _, whole = PlainStream(scenes, recipe(scene_share=1.0, empty_share=0.0)).batch(np.random.default_rng(0))
    assert torch.equal(whole[:, :2], torch.full((16, 2), 0.5))
    _, empty = PlainStream(scenes, recipe(scene_share=0.0, empty_share=1.0)).batch(np.random.default_rng(0))
    assert (empty[:, 2:].sum(dim=1) > 0.99).float().mean() > 0.5


def test_it_learns_writes_and_goes_on_from_its_checkpoint(benchmark, tmp_path):
    out = tmp_path / "run"
    file = train_plain(benchmark, out, recipe())
    notes = json.loads(file.with_suffix(".json").read_text())["notes"]
    assert notes["plain"] is True
    assert set(notes["validation_top1"]) >= {"context", "context_seen", "masked_unseen"}
    assert notes["validation_top1"]["context_seen"] >= 0.75
    assert load_mini(file).mask_prompts is None
    first = file.read_bytes()
    train_plain(benchmark, out, recipe())  # all steps are done: the same weights again
    assert file.read_bytes() == first


def test_a_run_may_start_from_another_ones_weights_of_the_same_shape(benchmark, tmp_path):
    first = train_plain(benchmark, tmp_path / "a", recipe(samples=160))
    second = train_plain(benchmark, tmp_path / "b", recipe(samples=16, seed=1), start=first)
    fresh = train_plain(benchmark, tmp_path / "c", recipe(samples=16, seed=1))
    start, near, far = (load_mini(f).clip_model.visual.conv1.weight for f in (first, second, fresh))
    assert (near - start).abs().mean() < 0.2 * (far - start).abs().mean()
    other = MiniConfig(image_size=32, patch_size=16, width=16, layers=1, heads=2)
    with pytest.raises(WeightsError, match="wanted is"):
        train_plain(benchmark, tmp_path / "d", recipe(config=other), start=first)


@pytest.fixture
def web(tmp_path):
    """One bright crop each of the first two objects and of a wall, and a red cut-out."""
    crops, cutouts = tmp_path / "crops", tmp_path / "emoji"
    crops.mkdir()
    cutouts.mkdir()
    rgba = np.full((3, STORED_SIZE, STORED_SIZE, 4), 40, np.uint8)
    rgba[..., 3] = 0
    rgba[:, 20:-20, 20:-20] = (10, 220, 10, 255)
    np.save(crops / "crops_1_000.npy", rgba)
    np.save(crops / "labels_1_000.npy", np.array([0, 1, BACKGROUND], np.int32))
    np.save(crops / "crops_99_000.npy", rgba[:1])
    np.save(crops / "labels_99_000.npy", np.array([5], np.int32))
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[8:-8, 8:-8] = (0, 0, 255, 255)
    cv2.imwrite(str(cutouts / "1f955.webp"), picture)  # a carrot
    return crops, cutouts


def test_web_pictures_keep_their_surroundings_and_have_all_names(benchmark, web):
    pictures = WebPictures(*web, ScenePictures(Scenes.load(benchmark, "training")))
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(40):
        picture, words = pictures.rendered(rng)
        assert sum(words.values()) == pytest.approx(1)
        seen |= set(words)
        if "teapot" not in words:
            assert {40, 220} <= set(np.unique(picture[..., 1]))  # thing and surroundings
    assert seen == {*OBJECTS[0].names, *OBJECTS[1].names, *BACKGROUND_WORDS}  # of seed 99 none
    assert set(pictures.words) == {*OBJECTS[0].names, *OBJECTS[1].names, "carrot"} | {
        name for thing in OBJECTS for name in pictures_names(thing)
    }
    picture, words = pictures.pasted(rng)
    assert words == {"carrot": 1.0}
    middle, corner = picture[60:70, 60:70].mean((0, 1)), picture[:4, :4].mean((0, 1))
    assert middle[0] > 200 > middle[1]
    assert np.abs(corner - middle).max() > 50


def pictures_names(thing):
    from ovseg_ros.learn.tabletop_words import noun_of

    return {*thing.names, noun_of(thing)}


def test_shares_of_the_stream(benchmark, web):
    only = {"scene_share": 0.0, "empty_share": 0.0, "rendered_share": 0.0, "pasted_share": 1.0}
    stream = PlainStream(Scenes.load(benchmark, "training"), recipe(**only), web)
    _, targets = stream.batch(np.random.default_rng(0))
    assert (targets[:, stream.names.index("carrot")] == 1).all()


def test_no_benchmark_is_said(tmp_path):
    with pytest.raises(ConfigError, match="tabletop_benchmark"):
        Scenes.load(tmp_path, "training")


def test_a_damaged_image_is_named(benchmark):
    (benchmark / "images/training/s2.jpg").write_bytes(b"no image")
    with pytest.raises(ConfigError, match="s2"):
        Scenes.load(benchmark, "training")
