"""The training data: the teapot, the objects' words, rendered views, stored crops and their augmentation."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from ovseg_ros.core.regions import crop_regions
from ovseg_ros.learn.augment import FILL_RGB, plain_crop, recolour, reglaze, roughen, training_crop
from ovseg_ros.learn.cutouts import emoji_name, holds_word
from ovseg_ros.learn.household import OBJECTS
from ovseg_ros.learn.stored_crop import GROWTH, STORED_SIZE, crop_box, cut
from ovseg_ros.learn.teapot import teapot_mesh


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


def stored_crop(rng: np.random.Generator) -> np.ndarray:
    rgba = rng.integers(0, 255, (132, 132, 4), dtype=np.uint8)
    rgba[..., 3] = 0
    rgba[20:110, 30:120, 3] = 255
    rgba[20:40, 30:50, 3] = 0
    return rgba


def test_plain_crop_is_what_the_segmenter_sees():
    rgba = stored_crop(np.random.default_rng(0))
    pixels, mask = plain_crop(rgba, 112)
    image = torch.from_numpy(rgba[..., :3]).permute(2, 0, 1).float()
    regions = crop_regions(image, torch.from_numpy(rgba[..., 3] > 0)[None], size=112)
    assert np.abs(pixels - regions.pixels[0].numpy()).max() < 0.02
    assert (mask == regions.masks[0].numpy()).mean() > 0.995


def test_training_crop_is_reproducible_varied_and_filled_outside_the_mask():
    rgba = stored_crop(np.random.default_rng(1))
    a, mask_a = training_crop(rgba, 112, np.random.default_rng(5))
    b, mask_b = training_crop(rgba, 112, np.random.default_rng(5))
    c, _ = training_crop(rgba, 112, np.random.default_rng(6))
    assert a.shape == (3, 112, 112)
    assert mask_a.shape == (1, 112, 112)
    assert (a == b).all()
    assert (mask_a == mask_b).all()
    assert not (a == c).all()
    assert np.isfinite(a).all()
    assert set(np.unique(mask_a)) <= {0, 1}
    rng = np.random.default_rng(7)
    filled = 0
    for _ in range(20):
        pixels, mask = training_crop(rgba, 112, rng)
        corner = pixels[:, (mask[0] == 0) & (np.abs(pixels).max(0) < 1e-3)]
        filled += corner.size > 0
    assert filled >= 15  # the mean colour is 0 when normalised


def test_roughened_masks_stay_masks_and_are_never_empty():
    rng = np.random.default_rng(0)
    small = np.zeros((132, 132), np.uint8)
    small[60:70, 60:70] = 255
    for _ in range(200):
        out = roughen(small, rng)
        assert out.dtype == np.uint8
        assert set(np.unique(out)) <= {0, 255}
        assert np.count_nonzero(out) > 0


def test_recolour_stays_in_range():
    out = recolour(np.full((132, 132, 3), 250, np.uint8), np.random.default_rng(3))
    assert out.min() >= 0
    assert out.max() <= 255
    assert len(FILL_RGB) == 3


def test_cut_keeps_the_box_and_pads_past_the_border():
    image = np.full((100, 200, 3), 10, np.uint8)
    mask = np.zeros((100, 200), bool)
    mask[0:50, 150:200] = True
    assert crop_box(mask) == (round(175 - 25 * GROWTH), round(25 - 25 * GROWTH), round(175 + 25 * GROWTH), 54)
    crop = cut(image, mask)
    assert crop.shape == (STORED_SIZE, STORED_SIZE, 4)
    assert tuple(crop[0, -1]) == (122, 116, 104, 0)  # past the corner of the image
    share = (crop[..., 3] > 0).mean()
    assert share == pytest.approx(1 / GROWTH**2, abs=0.03)


def test_rendered_depth_is_metric_and_masks_fit_the_objects():
    if importlib.util.find_spec("mujoco") is None:  # not imported here: `tabletop` chooses its GL before
        pytest.skip("MuJoCo is installed by `make setup-render` only")
    from ovseg_ros.core.geometry import back_project
    from ovseg_ros.learn.household import BY_KEY
    from ovseg_ros.learn.tabletop import TEAPOT_SCALE_M, CameraPose, Surroundings, Tabletop

    try:
        scene = Tabletop([BY_KEY["teapot"]], Surroundings("", "", ""), (120, 160))
    except (RuntimeError, AttributeError, ImportError) as error:
        pytest.skip(f"no EGL on this machine: {error}")
    scene.place([(0.0, 0.0, 0.5)])
    view = scene.view(CameraPose(distance_m=0.8, elevation_deg=-35.0))
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


def test_reglazing_keeps_the_shading_and_drops_the_colour():
    rgba = stored_crop(np.random.default_rng(2))
    ramp = np.linspace(0.2, 1.0, 132)[None, :, None]
    rgba[..., :3] = (np.array([40, 200, 60]) * ramp).astype(np.uint8)
    out = reglaze(rgba, np.random.default_rng(4))
    inside = rgba[..., 3] > 0
    assert (out[~inside] == rgba[~inside]).all()
    assert (out[..., 3] == rgba[..., 3]).all()
    painted = out[60, 30:120, :3].astype(int)
    assert (np.ptp(painted, axis=1) <= 0.12 * painted.max(1) + 2).all()  # nearly grey
    assert (np.diff(painted[:, 1]) >= 0).all()  # as bright from left to right as before
