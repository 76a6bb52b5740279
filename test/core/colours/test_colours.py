"""Colours that a name says: where they stand for one, which part of Lab they mean, what a mask's share is."""

import cv2
import numpy as np
import pytest
import torch

from ovseg_ros.core.colours import COLOURS, colour_share, fit_colours, memberships, named_colours, seen_colour
from ovseg_ros.core.colours.fit import FIT, MISFIT, MUCH_HUE, SOME_HUE, fit_of
from ovseg_ros.core.colours.measure import colour_codes, inner, vivid_share
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.errors import ConfigError

CHECK = SegmenterOptions(colour_check=True, threshold=0.5)
RED, WHITE, BLUE, GREY, BLACK = (200, 30, 30), (235, 235, 230), (30, 60, 180), (128, 128, 128), (20, 20, 22)


@pytest.mark.parametrize(
    ("name", "colours", "thing"),
    [
        ("red mug", ("red",), "mug"),
        ("Dark RED Mug", ("red",), "Mug"),
        ("light blue cup", ("blue",), "cup"),
        ("gray_sofa", ("grey",), "sofa"),
        ("black and white cat", ("black", "white"), "cat"),
        ("black-and-white ball", ("black", "white"), "ball"),
        ("blue-green vase", ("blue", "green"), "vase"),
        ("red, white and blue flag", ("red", "white", "blue"), "flag"),
        ("golden cup", ("gold",), "cup"),
        ("silver car", ("silver",), "car"),
        ("orange teapot", ("orange",), "teapot"),
        ("white wine glass", None, None),
        ("red wine", None, None),
        ("orange_(fruit)", None, None),
        ("orange juice", None, None),
        ("orange", None, None),
        ("dark red", None, None),
        ("gold fish", None, None),
        ("goldfish", None, None),
        ("silver spoon", None, None),
        ("brown bread", None, None),
        ("black board", None, None),
        ("multicoloured mug", None, None),
        ("dark mug", None, None),
        ("mug", None, None),
        ("mug red", None, None),
        ("", None, None),
    ],
)
def test_named_colours(name, colours, thing):
    named = named_colours(name)
    assert (named and named.colours, named and named.thing) == (colours, thing)


def test_every_colour_can_be_asked_for():
    assert len(COLOURS) == 23  # as docs/modes.md says
    for colour in COLOURS:
        assert named_colours(f"{colour} thing").colours == (colour,)


@pytest.mark.parametrize(
    ("rgb", "yes", "no"),
    [
        ((255, 0, 0), "red maroon-", "green blue white black grey yellow"),
        ((120, 20, 25), "red maroon", "green blue white grey"),
        ((255, 165, 0), "orange", "green blue purple red white"),
        ((255, 255, 0), "yellow", "blue red purple white"),
        ((0, 128, 0), "green", "red blue purple brown"),
        ((0, 128, 128), "teal turquoise", "red orange yellow purple"),
        ((0, 0, 255), "blue", "green red yellow white"),
        ((0, 0, 128), "navy blue", "red green yellow"),
        ((128, 0, 128), "purple violet", "green yellow orange white"),
        ((255, 192, 203), "pink", "green blue black"),
        ((139, 69, 19), "brown", "green blue purple white"),
        ((245, 245, 220), "beige white", "blue red black"),
        ((255, 255, 255), "white", "black grey red blue"),
        ((128, 128, 128), "grey", "black red blue"),
        ((90, 90, 95), "grey", "white red blue"),
        ((10, 10, 10), "black", "white grey red"),
        ((192, 192, 192), "silver", "black red blue"),
        ((212, 175, 55), "gold", "blue purple black"),
        ((210, 180, 140), "tan", "blue green purple black"),
        ((255, 0, 255), "magenta", "green yellow"),
    ],
)
def test_pure_colours(rgb, yes, no):
    lab = cv2.cvtColor(np.float32([[rgb]]) / 255, cv2.COLOR_RGB2Lab)[0, 0]
    for colour in yes.split():
        if not colour.endswith("-"):
            assert memberships(lab, colour) == 1, colour
    for colour in no.split():
        assert memberships(lab, colour) == 0, colour


def test_membership_falls_in_a_straight_line():
    """Green from 100 to 200 degrees, gone 12 further; chroma from 7 to 14."""
    angles = np.radians(np.float32([150, 200, 206, 212, 94]))
    lab = np.stack([np.full(5, 50), 50 * np.cos(angles), 50 * np.sin(angles)], axis=-1).astype(np.float32)
    assert memberships(lab, "green") == pytest.approx([1, 1, 0.5, 0, 0.5], abs=1e-4)
    pale = np.float32([[50, -7, 0], [50, -10.5, 0], [50, -14, 0]])
    assert memberships(pale, "green") == pytest.approx([0, 0.5, 1], abs=1e-4)


def naive_share(pixels, colours):
    """Pixel by pixel, from Lab itself instead of tables."""
    total = counted = 0
    hues = all(COLOURS[colour].hue is not None for colour in colours)
    for pixel in pixels:
        lab = cv2.cvtColor(np.float32([[pixel]]) / 255, cv2.COLOR_RGB2Lab)[0, 0]
        glare = lab[0] > 96 and np.hypot(lab[1], lab[2]) < 6
        if hues and (lab[0] < 6 or glare):
            continue
        total += max(float(memberships(lab, colour)) for colour in colours)
        counted += 1
    return total / counted if counted >= 0.2 * len(pixels) and counted else None


@pytest.mark.parametrize("colours", [("red",), ("white",), ("black", "white"), ("blue", "green"), ("brown",)])
def test_share_against_the_naive_one(colours):
    pixels = np.random.default_rng(7).integers(0, 256, (400, 3)).astype(np.uint8)
    pixels[:40] //= 16  # deep shade
    share, naive = colour_share(colour_codes(pixels), colours), naive_share(pixels, colours)
    assert share == pytest.approx(naive, abs=0.02)  # colours of the tables are 4 levels apart


def test_shade_and_glare_tell_no_hue():
    pixels = np.zeros((100, 3), np.uint8)
    pixels[:10] = RED
    assert colour_share(colour_codes(pixels), ("red",)) is None, "a tenth in the light is too little"
    pixels[:30] = RED
    assert colour_share(colour_codes(pixels), ("red",)) == 1
    assert colour_share(colour_codes(pixels), ("black",)) == pytest.approx(0.7)
    assert colour_share(colour_codes(pixels[:0]), ("red",)) is None


def test_the_rim_goes_unless_little_is_left():
    square = np.zeros((60, 60), bool)
    square[10:50, 10:50] = True  # area 1600: a rim of round(0.06 * 40) = 2
    assert inner(square).sum() == 36 * 36
    whole = np.ones((40, 40), bool)
    assert inner(whole).all(), "the image's border is no rim"
    stick = np.zeros((60, 60), bool)
    stick[30:32, :] = True
    assert (inner(stick) == stick).all()


def scene():
    """Grey ground with a red, a white and a blue square, and their masks and an empty one."""
    image = np.full((60, 180, 3), GREY, np.uint8)
    masks = torch.zeros(4, 60, 180, dtype=torch.bool)
    for i, colour in enumerate((RED, WHITE, BLUE)):
        image[10:50, 60 * i + 10 : 60 * i + 50] = colour
        masks[i, 10:50, 60 * i + 10 : 60 * i + 50] = True
    return Frame(image), masks


def test_fit_colours_by_hand():
    frame, masks = scene()
    probs = torch.tensor([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.4, 0.1, 0.5], [0.9, 0.0, 0.0]])
    names = ("red mug", "blue or what", "mug")
    fitted, remarks = fit_colours(frame, masks, probs, names, CHECK)
    assert fitted.tolist() == [
        pytest.approx(row) for row in ([0.8, 0, 0.1], [0, 0, 0.1], [0, 0.1, 0.5], [0.9, 0, 0])
    ]
    assert remarks == ("", "a mask looks like a mug, but it is white, not red", "", "")
    assert probs[1, 0] == pytest.approx(0.7), "what was given is not changed"


def test_no_check_and_no_colour_change_nothing():
    frame, masks = scene()
    probs = torch.rand(4, 2)
    for names, options in ((("red mug", "blue cup"), SegmenterOptions()), (("mug", "red wine"), CHECK)):
        fitted, remarks = fit_colours(frame, masks, probs, names, options)
        assert torch.equal(fitted, probs)
        assert remarks == ("",) * 4
    fitted, remarks = fit_colours(frame, masks[:0], probs[:0], ("red mug", "x"), CHECK)
    assert fitted.shape == (0, 2)
    assert remarks == ()


def test_a_remark_goes_by_the_words_own_thresholds():
    frame, masks = scene()
    probs = torch.full((4, 1), 0.3)
    assert fit_colours(frame, masks, probs, ("red mug",), CHECK)[1] == ("",) * 4, "0.5 was not reached anyway"
    remarks = fit_colours(frame, masks, probs, ("red mug",), CHECK, torch.tensor([0.2]))[1]
    assert remarks[1] == "a mask looks like a mug, but it is white, not red"


def test_several_colours_together():
    frame, masks = scene()
    frame.image_rgb[10:50, 70:90] = BLACK  # half of the white square
    probs = torch.full((4, 3), 0.9)
    fitted, _ = fit_colours(frame, masks, probs, ("black and white cat", "black cat", "green cat"), CHECK)
    assert fitted[1].tolist() == pytest.approx([0.9, 0.9, 0])


@pytest.mark.parametrize(
    ("share", "fit"), [(None, 1), (0, 0), (MISFIT, 0), ((MISFIT + FIT) / 2, 0.5), (FIT, 1), (1, 1)]
)
def test_fit_of(share, fit):
    assert fit_of(share) == pytest.approx(fit)


def test_a_red_mug_that_is_white_inside_is_not_white():
    """What has a hue on half of it is not called by the rest, which has none; a print is another matter."""
    frame, masks = scene()
    frame.image_rgb[10:50, 70:92] = RED  # more than half of the white square
    probs = torch.full((4, 3), 0.9)
    fitted, _ = fit_colours(frame, masks, probs, ("white mug", "red mug", "black and white mug"), CHECK)
    assert fitted[1].tolist() == pytest.approx([0, 0.9, 0])
    frame.image_rgb[10:50, 70:110] = WHITE
    frame.image_rgb[10:50, 70:79] = RED  # a fifth of it
    fitted, _ = fit_colours(frame, masks, probs, ("white mug", "red mug", "black and white mug"), CHECK)
    assert fitted[1, 0] == pytest.approx(0.9)


def test_vivid_share_by_hand():
    pixels = np.uint8([RED, WHITE, BLUE, GREY])
    assert vivid_share(colour_codes(pixels)) == 0.5
    assert vivid_share(colour_codes(pixels[:0])) == 0
    assert fit_of(1.0, SOME_HUE) == 1
    assert fit_of(1.0, (SOME_HUE + MUCH_HUE) / 2) == pytest.approx(0.5)
    assert fit_of(1.0, MUCH_HUE) == 0
    assert fit_of(None, 1.0) == 1


@pytest.mark.parametrize("light", [0.35, 0.6, 1.0])
@pytest.mark.parametrize("cast", [(1, 1, 1), (1, 0.93, 0.8), (0.88, 0.95, 1)])
def test_light_does_not_take_a_colour_away(light, cast):
    """Shade, the light of a lamp, the light of the sky: what is red, blue or green stays so."""
    for colour, rgb in (("red", (190, 40, 35)), ("blue", (40, 70, 170)), ("green", (50, 140, 60))):
        pixels = np.uint8(np.clip(np.float32([rgb] * 9) * light * np.float32(cast), 0, 255))
        assert fit_of(colour_share(colour_codes(pixels), (colour,))) == 1, colour
        assert seen_colour(colour_codes(pixels)) in {colour, "brown"}


def test_the_option_is_a_truth_value():
    with pytest.raises(ConfigError, match="colour_check"):
        SegmenterOptions(colour_check="yes")
