"""Composed pictures: truth moves with what it is the truth of."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as runs

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.learn.colour.compose import Composer, Composition, laid_over, other_light
from ovseg_ros.learn.colour.pictures import Sample, read_pictures

RED, GREEN = (230, 20, 20), (20, 200, 20)


def written(folder, *, complete=True, size=(120, 160), longest=None):
    """One picture, grey, with a red and a green rectangle and a crowd; the path of its JSON."""
    height, width = size
    image = np.full((height, width, 3), 120, np.uint8)
    boxes = [(20, 30, 60, 70), (90, 40, 130, 100)]
    for (left, top, right, bottom), colour in zip(boxes, (RED, GREEN), strict=True):
        image[top:bottom, left:right] = colour
    cv2.imwrite(str(folder / "one.png"), image[..., ::-1])
    annotations = []
    for number, (left, top, right, bottom) in enumerate(boxes):
        polygon = [left, top, right, top, right, bottom, left, bottom]
        annotations.append({"id": number, "image_id": 7, "segmentation": [polygon], "iscrowd": 0})
    crowd = np.zeros((height, width), np.uint8)
    crowd[:10] = 1
    counts = runs.encode(np.asfortranarray(crowd))
    counts["counts"] = counts["counts"].decode()
    annotations.append({"id": 2, "image_id": 7, "segmentation": counts, "iscrowd": 1})
    entry = {"id": 7, "file_name": "one.png", "width": width, "height": height, "complete": complete}
    path = folder / "set.json"
    path.write_text(json.dumps({"images": [entry], "annotations": annotations}))
    return path


def is_near(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(H, W) bool: of the colour's hue, whatever the light."""
    strongest = int(np.argmax(colour))
    others = [c for c in range(3) if c != strongest]
    return image[..., strongest].astype(int) > 40 + image[..., others].max(axis=-1).astype(int)


def test_pictures_come_with_things_groups_and_whether_all_is_labelled(tmp_path):
    (picture,) = read_pictures(written(tmp_path, complete=False))
    assert picture.image().shape == (120, 160, 3)
    assert [(thing.x, thing.y, thing.mask.shape) for thing in picture.things] == [
        (20, 30, (40, 40)),
        (90, 40, (60, 40)),
    ]
    assert [group.mask.shape for group in picture.groups] == [(10, 160)]
    assert not picture.complete


def test_large_pictures_are_made_smaller_with_their_masks(tmp_path):
    (picture,) = read_pictures(written(tmp_path, size=(1000, 1280)))
    assert picture.image().shape == (500, 640, 3)
    assert (picture.things[0].x, picture.things[0].y, picture.things[0].mask.shape) == (10, 15, (20, 20))


@pytest.mark.parametrize("damage", ["json", "missing", "size"])
def test_a_file_that_cannot_be_used_is_named(tmp_path, damage):
    path = written(tmp_path)
    if damage == "json":
        path.write_text("{}")
    elif damage == "missing":
        (tmp_path / "one.png").unlink()
    else:
        cv2.imwrite(str(tmp_path / "one.png"), np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(InvalidInputError, match=r"set\.json|one\.png"):
        read_pictures(path)


@pytest.mark.parametrize(("mosaic", "paste"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_masks_lie_on_the_things_they_are_masks_of(tmp_path, mosaic, paste):
    pictures = read_pictures(written(tmp_path))
    composer = Composer([pictures], [1], Composition(size=256, mosaic=mosaic, paste=paste))
    checked = 0
    for seed in range(12):
        picture = composer(np.random.default_rng(seed))
        assert picture.image.shape == (256, 256, 3)
        assert picture.masks.shape[1:] == (256, 256)
        assert picture.masks.any(axis=(1, 2)).all()
        assert not (picture.unknown & picture.masks.any(axis=0)).any()
        for mask in picture.masks:
            inner = cv2.erode(mask.view(np.uint8), np.ones((5, 5))).view(bool)
            if np.ptp(picture.image.astype(int), axis=2).max() > 60 and inner.sum() > 40:  # not made grey
                on = is_near(picture.image, RED) | is_near(picture.image, GREEN)
                assert on[inner].mean() > 0.9
                checked += 1
    assert checked > 10


def test_the_same_random_numbers_give_the_same_picture(tmp_path):
    composer = Composer([read_pictures(written(tmp_path))], [1], Composition(size=128))
    first, second = composer(np.random.default_rng(5)), composer(np.random.default_rng(5))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.masks, second.masks)


def test_of_incomplete_pictures_the_rest_is_unknown(tmp_path):
    pictures = read_pictures(written(tmp_path, complete=False))
    picture = Composer([pictures], [1], Composition(size=128, mosaic=0, paste=0))(np.random.default_rng(0))
    assert (picture.unknown | picture.masks.any(axis=0)).all()


def test_a_cut_out_hides_what_is_behind_it():
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 10:30, 10:30] = True
    masks[1, 12:16, 12:16] = True
    before = Sample(np.zeros((40, 40, 3), np.uint8), masks, np.zeros((40, 40), bool))
    cut = np.full((10, 10, 3), 200, np.uint8)
    after = laid_over(before, cut, np.ones((10, 10), np.float32), 10, 10)
    assert [int(mask.sum()) for mask in after.masks] == [300, 100]  # the small thing is gone
    assert not (after.masks[0] & after.masks[1]).any()
    assert (after.image[10:20, 10:20] == 200).all()
    outside = laid_over(before, cut, np.ones((10, 10), np.float32), 60, 10)
    assert outside is before


def test_light_changes_and_the_picture_does_not():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 160
    for seed in range(8):
        lit = other_light(image, np.random.default_rng(seed))
        assert lit.shape == image.shape
        assert lit[:, 40:].mean() > 2 * lit[:, :24].mean()
