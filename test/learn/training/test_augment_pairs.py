"""Augmentation that fits masks: what it changes, what it never does, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from learn_fixtures import COLOURS, make_pair

from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.training.augment_pairs import MEAN_RGB, STD_RGB, Augment, training_view

ALL = Augment(flip=0.5, colour=1.0, edges=1.0, coarse=1.0, scale=1.0, crop=(0.9, 1.0))


def views(augment: Augment, count: int = 60, size: int = 32):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        pair = make_pair(list(COLOURS)[seed % 4], rng)
        yield pair, *training_view(pair.image_rgb, pair.mask, size, augment, rng)


def plain_view(pair, fill: str = "mean"):
    return training_view(pair.image_rgb, pair.mask, 32, Augment(fills={fill: 1.0}), np.random.default_rng(0))


def test_results_have_the_shapes_and_types_an_encoder_takes():
    for _, pixels, mask in views(ALL, 5):
        assert (pixels.shape, pixels.dtype, mask.shape, mask.dtype) == (
            (3, 32, 32),
            np.float32,
            (1, 32, 32),
            np.uint8,
        )
        assert set(np.unique(mask)) <= {0, 1}


def test_no_augmentation_loses_the_mask():
    for pair, _, mask in views(ALL, 200):
        assert mask.sum() >= 0.2 * plain_view(pair)[1].sum()


def test_a_mask_of_one_pixel_survives():
    image, mask = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), bool)
    mask[4, 4] = True
    for seed in range(20):
        assert training_view(image, mask, 8, ALL, np.random.default_rng(seed))[1].all()


def test_the_crop_keeps_its_share_of_the_area():
    image, mask = np.zeros((100, 80, 3), np.uint8), np.ones((100, 80), bool)
    image[:, :, 0] = np.arange(100, dtype=np.uint8)[:, None]
    image[:, :, 1] = np.arange(80, dtype=np.uint8)
    augment = Augment(crop=(0.9, 1.0))
    for seed in range(50):
        pixels, _ = training_view(image, mask, 64, augment, np.random.default_rng(seed))
        rgb = pixels.transpose(1, 2, 0) * STD_RGB + MEAN_RGB
        rows, columns = np.ptp(rgb[..., 0]) + 1, np.ptp(rgb[..., 1]) + 1
        assert 0.86 <= rows * columns / 8000 <= 1.02


def test_no_crop_cuts_away_more_than_a_quarter_of_the_mask():
    image, mask = np.zeros((90, 90, 3), np.uint8), np.zeros((90, 90), bool)
    image[..., 0], image[..., 1] = np.arange(90)[:, None], np.arange(90)
    mask[0:20, 0:20] = mask[89, 89] = True
    augment = Augment(crop=(0.4, 0.9), fills={"none": 1.0})
    cropped = 0
    for seed in range(60):
        pixels, _ = training_view(image, mask, 90, augment, np.random.default_rng(seed))
        rows, columns, _ = (
            np.round(pixels.transpose(1, 2, 0) * STD_RGB + MEAN_RGB).astype(int).reshape(-1, 3).T
        )
        seen = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert seen.sum() >= 0.7 * mask.sum()
        cropped += np.ptp(rows) < 85
    assert cropped >= 4


def test_a_flip_turns_pixels_and_mask_together():
    flipped = 0
    for pair, pixels, mask in views(Augment(flip=0.5)):
        plain, inside = plain_view(pair)
        turned = not np.array_equal(pixels, plain)
        flipped += turned
        assert np.array_equal(pixels, plain[..., ::-1] if turned else plain)
        assert np.array_equal(mask, inside[..., ::-1] if turned else inside)
    assert 15 < flipped < 45


def test_fills_come_as_often_as_asked():
    counts = {"mean": 0, "none": 0, "black": 0, "grey": 0}
    for pair, pixels, _ in views(Augment(fills={"mean": 0.5, "black": 0.5}), 100):
        for fill in counts:
            counts[fill] += np.array_equal(pixels, plain_view(pair, fill)[0])
    assert counts["none"] == counts["grey"] == 0
    assert 30 < counts["mean"] < 70
    assert counts["mean"] + counts["black"] == 100
    assert Augment(fills={"mean": 0.2, "black": 0.8}).fill == "black"


@pytest.mark.parametrize("name", ["colour", "edges", "coarse", "scale"])
def test_each_kind_does_something_and_only_when_asked(name):
    changed = sum(
        not np.array_equal(pixels, plain_view(pair)[0]) for pair, pixels, _ in views(Augment(**{name: 1.0}))
    )
    assert changed > 30


def test_colours_stay_within_reason():
    for pair, pixels, mask in views(Augment(colour=1.0), 40):
        plain, _ = plain_view(pair)
        inside = np.broadcast_to(mask > 0, pixels.shape)
        assert np.abs((pixels - plain)[inside]).mean() < 1.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"flip": 1.5}, "augment.flip as a probability"),
        ({"edges": -0.1}, "augment.edges as a probability"),
        ({"crop": (0.0, 1.0)}, "augment.crop"),
        ({"crop": (1.0, 0.9)}, "augment.crop"),
        ({"smallest": 0.0}, "augment.smallest"),
        ({"colour_strength": 9.0}, "augment.colour_strength"),
        ({"expand_ratio": 0.5}, "augment.expand_ratio"),
        ({"fills": {"pink": 1.0}}, "augment.fills"),
        ({"fills": {"mean": 0.0}}, "augment.fills"),
        ({"fills": {}}, "augment.fills"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Augment(**values)
