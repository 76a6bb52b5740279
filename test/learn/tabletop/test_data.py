"""The training data: the teapot, the objects' words, cut-outs, rendered views, data sets of made-up pairs."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from tabletop_fixtures import red

from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.pairs.index import open_pairs
from ovseg_ros.learn.tabletop.cutouts import emoji_name, holds_word, paste
from ovseg_ros.learn.tabletop.household import OBJECTS
from ovseg_ros.learn.tabletop.made_pairs import copies_of, made_pair, write_pairs
from ovseg_ros.learn.tabletop.teapot import teapot_mesh


def test_teapot_has_newells_size_and_symmetry():
    vertices, faces = teapot_mesh(6)
    assert vertices.min(0) == pytest.approx([-3.0, -2.0, 0.0], abs=0.03)
    assert vertices.max(0) == pytest.approx([3.4, 2.0, 3.15], abs=0.06)
    mirrored = vertices * [1, -1, 1]
    distance = np.abs(mirrored[:, None, ::1] - vertices[None]).sum(2).min(1)
    assert distance.max() < 1e-6
    assert faces.min() == 0
    assert faces.max() == len(vertices) - 1


def test_teapot_body_is_wound_outward():
    vertices, faces = teapot_mesh(6)
    corners = vertices[faces]
    centre = corners.mean(1)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    belly = (np.hypot(centre[:, 0], centre[:, 1]) < 2.001) & (centre[:, 2] > 0.5) & (centre[:, 2] < 1.2)
    belly &= np.abs(centre[:, 1]) > 1.0  # neither handle nor spout
    outward = np.einsum("ij,ij->i", normal[belly][:, :2], centre[belly][:, :2])
    assert belly.sum() > 20
    assert len(set(np.sign(outward))) == 1


def test_no_training_caption_holds_a_word_kept_for_measuring():
    synonyms = {word for thing in OBJECTS for word in thing.synonyms}
    captions = {name for thing in OBJECTS for name in thing.names}
    assert len(synonyms) >= 10
    assert not [(c, s) for c in captions for s in synonyms if holds_word(c, s)]


def test_keys_are_unique_and_every_object_has_a_name():
    assert len({thing.key for thing in OBJECTS}) == len(OBJECTS)
    assert all(thing.names and all(thing.names) for thing in OBJECTS)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("1f40d", "snake"),
        ("1f992", "giraffe"),
        ("1f600", "grinning"),
        ("1f3cd-fe0f", "motorcycle"),
        ("1f44d", None),
        ("1f468-200d-1f373", None),
        ("a9", None),
    ],
)
def test_emoji_are_named_plainly_or_left_out(stem, name):
    assert emoji_name(stem) == name


def test_a_pasted_picture_is_where_its_mask_is_and_surroundings_stay():
    background = np.full((7, 9, 3), 40, np.uint8)
    first, mask = paste(red(), background, np.random.default_rng(0))
    assert first.shape == (50, 50, 3)
    assert 300 < mask.sum() < 1300
    inside = first[mask].mean(axis=0)
    assert inside[0] > 200 > 60 > inside[1]
    assert (first[0, 0] == 40).all()
    second, _ = paste(red(), background, np.random.default_rng(1))
    assert not np.array_equal(first, second)


def test_made_pairs_are_a_data_set_and_a_stopped_run_goes_on(tmp_path):
    asked = []

    def make(image, rng):
        asked.append(image)
        if len(asked) == 3:
            raise KeyboardInterrupt
        yield from copies_of(red(), 2, image, rng)
        rgb = rng.integers(0, 255, (20, 30, 3)).astype(np.uint8)
        yield made_pair(rgb, np.ones((20, 30), bool), "wall", image)

    made = dict.fromkeys((f"image_{n}" for n in range(5)), make)
    with pytest.raises(KeyboardInterrupt):
        write_pairs(tmp_path / "stopped", made, 7, source="a test")
    write_pairs(tmp_path / "stopped", made, 7, source="a test")
    write_pairs(tmp_path / "whole", made, 7, source="a test")
    whole, stopped = open_pairs(tmp_path / "whole"), open_pairs(tmp_path / "stopped")
    assert len(whole) == 15
    assert set(whole.images()) == set(made)
    assert {whole.read(i).noun for i in range(15)} == {"ball", "wall"}
    assert whole.fingerprint == stopped.fingerprint
    with pytest.raises(ConfigError, match="other settings"):
        write_pairs(tmp_path / "whole", made, 7, source="another")
    assert whole.shards[0].read_bytes() == stopped.shards[0].read_bytes()


def test_rendered_depth_is_metric_and_masks_fit_the_objects():
    if importlib.util.find_spec("mujoco") is None:  # not imported here: `tabletop` chooses its GL before
        pytest.skip("MuJoCo is installed by `make setup-render` only")
    from camera_oracles import back_project

    from ovseg_ros.learn.tabletop.household import BY_KEY
    from ovseg_ros.learn.tabletop.render import CameraPose, Tabletop
    from ovseg_ros.learn.tabletop.room import TEAPOT_SCALE_M, Surroundings

    try:
        scene = Tabletop([BY_KEY["teapot"]], Surroundings("", "", ""), (120, 160))
    except (RuntimeError, AttributeError, ImportError) as error:
        pytest.skip(f"no EGL on this machine: {error}")
    scene.place([(0.0, 0.0, 0.5)])
    pose = CameraPose(distance_m=0.8, elevation_deg=-35.0)
    view, vertices = scene.view(pose), scene.vertices_m(0)
    scene.close()
    assert set(np.unique(view.instances)) == {0, 1}
    points = back_project(view.depth_m, view.intrinsics)
    table = points[(view.instances == 0) & (view.depth_m < 1.2)]
    centre = table.mean(0)
    normal = np.linalg.svd(table - centre)[2][2]
    assert np.abs((table - centre) @ normal).max() < 0.002  # one plane, to 2 mm
    pot = (points[view.instances == 1] - centre) @ normal
    height = max(pot.max(), -pot.min())
    assert height == pytest.approx(3.15 * TEAPOT_SCALE_M, abs=0.008)
    to_camera = pose.from_world()
    world = (points - to_camera.translation_m) @ to_camera.rotation  # as the truth beside recordings has it
    assert np.abs(world[(view.instances == 0) & (view.depth_m < 1.2)][:, 2]).max() < 0.002
    pot = world[view.instances == 1]
    assert (pot > vertices.min(axis=0) - 0.004).all()
    assert (pot < vertices.max(axis=0) + 0.004).all()
    assert np.ptp(pot, axis=0) == pytest.approx(np.ptp(vertices, axis=0), rel=0.25)
