"""The overlay: which pixels change, where tags go, and that colours tell labels apart."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from ovseg_ros.core import overlay
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.overlay import draw_overlay, label_colour
from ovseg_ros.core.runners_up import RunnersUp
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.errors import InvalidInputError


def segmentation(masks, names, labels, scores=None, size_hw=(120, 160)):
    """Masks with the names at `labels` (-1 for none)."""
    count = len(masks)
    vocabulary, _ = Vocabulary.empty().replace(names)
    scores = torch.full((count,), 0.9) if scores is None else torch.tensor(scores)
    probs = torch.zeros(count, len(vocabulary))
    for i, label in enumerate(labels):
        if label >= 0:
            probs[i, label] = scores[i]
    stacked = torch.stack(masks) if masks else torch.zeros(0, *size_hw, dtype=torch.bool)
    frame = Frame(np.full((*size_hw, 3), 128, dtype=np.uint8))
    embedded = EmbeddedFrame(frame, stacked, torch.ones(count), torch.zeros(count, 4))
    return Segmentation(embedded, vocabulary, probs, SegmenterOptions(threshold=0.01))


def box(y0, y1, x0, x1, size_hw=(120, 160)):
    mask = torch.zeros(size_hw, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_nothing_to_draw_leaves_the_image():
    empty = segmentation([], ["teapot"], [])
    result = draw_overlay(empty.frame.image_rgb, empty)
    np.testing.assert_array_equal(result, empty.frame.image_rgb)
    assert result is not empty.frame.image_rgb
    blank = segmentation([box(0, 0, 0, 0)], ["teapot"], [0])
    np.testing.assert_array_equal(draw_overlay(blank.frame.image_rgb, blank), 128)


def test_labelled_masks_are_filled_towards_their_colour_others_only_outlined():
    scene = segmentation([box(60, 100, 20, 60), box(60, 100, 90, 130)], ["teapot"], [0, -1])
    image = scene.frame.image_rgb
    result = draw_overlay(image, scene).astype(int)
    assert (image == 128).all(), "the input is not changed"
    mixed = 128 + overlay.FILL_OPACITY * (np.array(label_colour(0)) - 128)
    np.testing.assert_allclose(result[85, 40], mixed, atol=2)
    np.testing.assert_array_equal(result[85, 110], 128)
    np.testing.assert_allclose(result[85, 90], overlay.UNLABELLED_COLOUR, atol=8)
    np.testing.assert_array_equal(result[30, 150], 128)


@pytest.mark.parametrize("size_hw", [(120, 160), (480, 640), (31, 17), (8, 300), (1, 1)])
@pytest.mark.parametrize(
    "name", ["teapot", "a very long name of a thing nobody would ever type", "茶壶 café"]
)
def test_any_size_any_name(size_hw, name):
    height, width = size_hw
    masks = [box(0, height, 0, width, size_hw), box(height - 1, height, width - 1, width, size_hw)]
    scene = segmentation(masks, [name], [0, 0], size_hw=size_hw)
    result = draw_overlay(scene.frame.image_rgb, scene)
    assert result.shape == (*size_hw, 3)
    assert result.dtype == np.uint8
    assert (result != 128).any()


def tags_of(monkeypatch, probs, max_width=160, **fields):
    """What the tags say of one mask under teapot and kettle."""
    said = []
    spelled = overlay.letters
    monkeypatch.setattr(overlay, "letters", lambda text, height: said.append(text) or spelled(text, height))
    overlay._render_tag.cache_clear()
    one = segmentation(
        [box(60, 100, 20, 60, (120, max_width))], ["teapot", "kettle"], [0], size_hw=(120, max_width)
    )
    one = dataclasses.replace(one, probs=torch.tensor([probs]), **fields)
    draw_overlay(one.frame.image_rgb, one)
    overlay._render_tag.cache_clear()
    return said


@pytest.mark.parametrize(
    ("probs", "tag"),
    [
        ((0.97, 0.02), ["teapot", " 0.97"]),
        ((0.60, 0.40), ["teapot", " 0.60"]),  # 0.2 and more is far enough
        ((0.55, 0.41), ["teapot", " 0.55 / kettle 0.41"]),
        ((0.10, 0.0), ["teapot", " 0.10"]),
    ],
)
def test_a_tag_names_the_runner_up_where_it_is_close(monkeypatch, probs, tag):
    assert tags_of(monkeypatch, probs, 640) == tag


def test_a_tag_names_what_nobody_asked_for_and_gives_it_up_where_there_is_no_room(monkeypatch):
    runners_up = RunnersUp(("wall",), torch.tensor([0.6]))
    assert tags_of(monkeypatch, (0.5, 0.1), 640, runners_up=runners_up)[1] == " 0.50 / wall 0.60"
    assert tags_of(monkeypatch, (0.5, 0.1), 90, runners_up=runners_up)[1:3] == [" 0.50 / wall 0.60", " 0.50"]


def test_tags_stay_inside_and_apart(monkeypatch):
    placed = []
    place = overlay._place
    monkeypatch.setattr(overlay, "_place", lambda *args: placed.append(place(*args)) or placed[-1])
    size_hw = (240, 320)
    masks = [box(100, 140, x, x + 30, size_hw) for x in (0, 10, 20, 290)] + [box(0, 20, 280, 320, size_hw)]
    scene = segmentation(masks, ["teapot", "frying pan"], [0, 1, 0, 1, 0], size_hw=size_hw)
    draw_overlay(scene.frame.image_rgb, scene)
    assert len(placed) == 5
    for tag in placed:
        assert tag.x >= 0
        assert tag.y >= 0
        assert tag.x + tag.width <= 320
        assert tag.y + tag.height <= 240
    assert not any(a.overlaps(b) for a, b in itertools.combinations(placed, 2))


def test_colours_are_stable_and_far_apart():
    colours = [label_colour(i) for i in range(255)]
    assert colours == [label_colour(i) for i in range(255)]
    assert all(0 <= c <= 255 for colour in colours for c in colour)
    first = np.array(colours[:12], dtype=float)
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(first, 2)]
    assert min(distances) > 50


def test_a_colour_belongs_to_the_id_not_the_place_in_the_list():
    one = segmentation([box(60, 100, 20, 60)], ["teapot", "mug"], [1])
    vocabulary, _ = one.vocabulary.remove(["teapot"])
    two = dataclasses.replace(one, vocabulary=vocabulary, probs=torch.full((1, 1), 0.9))
    image = one.frame.image_rgb
    np.testing.assert_array_equal(draw_overlay(image, one), draw_overlay(image, two))


@pytest.mark.parametrize("picture", [0, 128, 255, "colour"])
def test_an_outline_stands_out_from_any_picture(picture):
    names = [f"thing {number}" for number in range(12)]
    for label_id in range(12):
        colour = label_colour(label_id)
        image = np.full((120, 160, 3), colour if picture == "colour" else picture, np.uint8)
        drawn = draw_overlay(image, segmentation([box(40, 80, 60, 120)], names, [label_id]))
        across = drawn[70, 50:61].astype(int) - image[70, 50:61]  # from outside to the edge of the mask
        assert np.linalg.norm(across, axis=1).max() > 100


def test_refuses_another_image():
    scene = segmentation([box(0, 9, 0, 9)], ["teapot"], [0])
    with pytest.raises(InvalidInputError, match="expected an image"):
        draw_overlay(np.zeros((120, 161, 3), dtype=np.uint8), scene)
    with pytest.raises(InvalidInputError, match="expected an image"):
        draw_overlay(np.zeros((120, 160, 3), dtype=np.float32), scene)
