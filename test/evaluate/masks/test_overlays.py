"""Pictures of what was found and missed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mask_fixtures import true_masks, write_instances
from PIL import Image

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.evaluate.masks import read_instances, score_masks
from ovseg_ros.evaluate.masks.overlays import FOUND_COLOUR, MISSED_COLOUR, draw_objects, write_overlays


def first_alone(frame: Frame) -> Proposals:
    """The first picture's first object without its lowest rows; nothing elsewhere."""
    if frame.size_hw != (240, 320):
        return Proposals.empty(*frame.size_hw)
    masks = torch.from_numpy(true_masks()[0][0][None].copy())
    masks[:, 110:] = False
    return Proposals(masks, torch.ones(1))


def test_found_and_missed_differ_in_colour(tmp_path: Path) -> None:
    dataset = read_instances(write_instances(tmp_path))
    scores = score_masks(dataset, first_alone)
    image = dataset.pictures[0].read()
    before = image.copy()
    objects = [one for one in scores.objects if one.picture == dataset.pictures[0].name]
    drawn = draw_objects(image, objects)
    np.testing.assert_array_equal(image, before)
    assert tuple(drawn[119, 70]) == FOUND_COLOUR  # the lower edge of the true block
    assert tuple(drawn[140, 200]) == MISSED_COLOUR  # the lower edge of the disc
    assert np.abs(drawn[100, 70].astype(int) - image[100, 70]).max() > 20  # filled where its mask is
    np.testing.assert_array_equal(drawn[115, 70], image[115, 70])  # and not where that is missing
    np.testing.assert_array_equal(drawn[5, 5], image[5, 5])


def test_a_number_hides_no_small_object(tmp_path: Path) -> None:
    dataset = read_instances(write_instances(tmp_path))
    scores = score_masks(dataset, first_alone)
    image = np.zeros((240, 320, 3), np.uint8)
    small = draw_objects(image, scores.objects[2:3])  # a disc 21 pixels wide
    large = draw_objects(image, scores.objects[1:2])
    white = [(drawn.min(axis=2) > 200).any() for drawn in (small, large)]
    assert white == [False, True]


def test_a_file_for_each_picture_with_objects(tmp_path: Path) -> None:
    dataset = read_instances(write_instances(tmp_path))
    seen = []
    written = write_overlays(
        tmp_path / "out", dataset, score_masks(dataset, first_alone), lambda *at: seen.append(at)
    )
    assert written == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]
    names = [f"pictures_p{i}.jpg" for i in range(3)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert Image.open(tmp_path / "out" / names[0]).size == (320, 240)
