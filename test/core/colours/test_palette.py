"""Palettes: shares of colours, against a loop over pixels."""

import cv2
import numpy as np

from ovseg_ros.core.colours import COLOUR_BINS, palette
from ovseg_ros.core.colours.measure import colour_codes, lab_of
from ovseg_ros.core.maps import boxed_masks

RED, ORANGE, BLUE = (200, 30, 30), (210, 60, 30), (30, 60, 180)


def square(colour, other=None, side=40):
    """An image with a square of one colour, or half of another, and its mask."""
    image = np.full((60, 60, 3), 128, np.uint8)
    image[10 : 10 + side, 10 : 10 + side] = colour
    if other is not None:
        image[10 : 10 + side, 10 : 10 + side // 2] = other
    mask = np.zeros((1, 60, 60), bool)
    mask[0, 10 : 10 + side, 10 : 10 + side] = True
    return image, boxed_masks(mask)[0]


def slowly(pixels):
    """The palette of (P, 3) pixels, one by one."""
    sizes, shares = (3, 11, 11), np.zeros((3, 11, 11))
    for l_, a, b in lab_of(colour_codes(pixels)).tolist():
        place = [l_ / 50, (a + 80) / 16, (b + 80) / 16]
        place = [min(max(p, 0), n - 1) for p, n in zip(place, sizes)]
        for i in range(3):
            for j in range(11):
                for k in range(11):
                    near = [max(0, 1 - abs(p - q)) for p, q in zip(place, (i, j, k))]
                    shares[i, j, k] += np.prod(near)
    return np.sqrt(shares.ravel() / len(pixels))


def test_it_is_what_a_loop_over_pixels_gives():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image[0, 0], image[0, 1] = 255, 0
    mask = boxed_masks(np.ones((1, 8, 8), bool))[0]  # too small to lose a rim
    assert np.allclose(palette(image, mask), slowly(image.reshape(-1, 3)), atol=1e-5)


def test_it_is_of_unit_length_and_zeros_for_nothing():
    image, mask = square(RED, BLUE)
    assert np.isclose(np.linalg.norm(palette(image, mask)), 1, atol=1e-5)
    nothing = palette(image, boxed_masks(np.zeros((1, 60, 60), bool))[0])
    assert nothing.shape == (COLOUR_BINS,)
    assert not nothing.any()


def test_near_colours_are_more_alike_than_far_ones_and_halves_in_between():
    red = palette(*square(RED))
    orange, blue, half = (palette(*square(*c)) for c in ((ORANGE,), (BLUE,), (RED, BLUE)))
    assert red @ orange > 0.5 > red @ blue
    assert red @ blue < red @ half < 0.8  # the root of a half


def test_light_changes_it_little_and_size_not_at_all():
    image, mask = square(RED)
    dimmer = cv2.convertScaleAbs(image, alpha=0.93)
    red = palette(image, mask)
    assert 1 > red @ palette(dimmer, mask) > max(0.75, red @ palette(*square(ORANGE)))
    assert np.allclose(palette(*square(RED)), palette(*square(RED, side=20)), atol=1e-6)
