"""From labelled frames to sightings, with a model that sees colours."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder, FixedProposer, words

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.maps import BoxedMask
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.space import Rigid, objects_3d
from ovseg_ros.memory.frames import clarity, crop_jpeg, sightings_of, space_of, tracked_masks, view_of

K = CameraIntrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
FORWARD = Rigid(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([5.0, 0, 1]))  # along the map's x


def scene():
    """A red and a green block 0.9 m away, before a wall at 1 m; the image cuts the green one."""
    image = np.full((48, 64, 3), 90, np.uint8)
    depth = np.full((48, 64), 1.0, np.float32)
    masks = torch.zeros((2, 48, 64), dtype=torch.bool)
    masks[0, 18:30, 20:32], masks[1, 20:30, 54:64] = True, True
    image[masks[0].numpy()], image[masks[1].numpy()] = (255, 0, 0), (0, 255, 0)
    depth[masks.any(0).numpy()] = 0.9
    return Frame(image, depth, K, stamp_ns=7_000_000_000), masks


@pytest.fixture
def segmenter():
    _, masks = scene()
    options = SegmenterOptions(min_mask_pixels=1, threshold=0.3, templates=("{}",))
    return OpenVocabularySegmenter(FixedProposer(masks), ColourEncoder(), options)


def labelled(segmenter, *names):
    frame, _ = scene()
    embedded = dataclasses.replace(segmenter.embed(frame), track_ids=torch.tensor([4, 0]))
    return segmenter.label(embedded, words(*names))


def sightings(segmentation, indices):
    view = view_of(segmentation, "map", FORWARD)
    boxes = segmentation.boxes_xyxy.tolist()
    parts = [(slice(boxes[i][1], boxes[i][3]), slice(boxes[i][0], boxes[i][2])) for i in indices]
    masks = [segmentation.masks[i].numpy() for i in indices]
    objects = objects_3d(view.depth_m, K, masks, parts)
    return sightings_of(segmentation, indices, objects, view, camera="front")


def test_only_tracked_masks_with_a_word_or_a_past_are_wanted(segmenter):
    assert tracked_masks(labelled(segmenter, "red", "green"), lambda _: False) == [0]
    assert tracked_masks(labelled(segmenter, "blue"), lambda _: False) == []
    assert tracked_masks(labelled(segmenter, "blue"), lambda track: track == 4) == [0]


def test_a_sighting_tells_where_what_and_how_a_thing_is_in_the_fixed_frame(segmenter):
    red, green = sightings(labelled(segmenter, "red", "green"), [0, 1])
    assert red.track == ("front", 4)
    assert list(red.words) == ["red"]
    assert abs(red.position[0] - 5.9) < 0.05  # 0.9 m ahead of the camera, along x
    assert abs(red.position[1] - (31.5 - 25.5) / 60 * 0.9) < 0.02
    np.testing.assert_allclose(red.surface[:, 0], 5.9, atol=0.01)
    assert red.is_whole
    assert not green.is_whole  # the image's edge cuts it
    picture = cv2.imdecode(np.frombuffer(red.crop(), np.uint8), cv2.IMREAD_COLOR)
    assert (picture[picture.shape[0] // 2, picture.shape[1] // 2] > (-1, -1, 200)).all()  # BGR


def test_what_something_nearer_covers_is_not_whole(segmenter):
    segmentation = labelled(segmenter, "red", "green")
    segmentation.frame.depth_m[30:40, 20:32] = 0.5
    assert not sightings(segmentation, [0])[0].is_whole


def patterned(size, blur=0.0, *, noise=0.0):
    """A checked square of some size on grey, out of focus or not, and its mask."""
    y, x = np.indices((size, size)) * 8 // size
    image = np.full((200, 200, 3), 128, np.uint8)
    image[20 : 20 + size, 20 : 20 + size] = (40 + 170 * ((x + y) % 2))[..., None]
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    image = np.clip(image + np.random.default_rng(0).normal(0, noise, image.shape), 0, 255).astype(np.uint8)
    return image, BoxedMask(np.ones((size, size), bool), 20, 20, size**2)


def test_of_two_pictures_the_sharper_and_the_larger_is_clearer():
    clear = {(size, blur): clarity(*patterned(size, blur)) for size in (40, 80, 160) for blur in (0, 2, 4)}
    for size in (40, 80, 160):
        assert clear[size, 0] > 1.2 * clear[size, 2] > 1.2 * clear[size, 4]
    for blur in (0, 2, 4):
        assert clear[160, blur] > 1.2 * clear[80, blur] > 1.2 * clear[40, blur]
    assert clear[80, 0] > clear[160, 4]  # a large one that is blurred shows less


def test_what_is_around_a_thing_and_noise_make_no_picture_clearer():
    image, mask = patterned(60)
    busy = image.copy()
    busy[:15], busy[90:] = 255 * (np.indices((15, 200)).sum(0) % 2)[..., None], 0
    assert clarity(busy, mask) == clarity(image, mask)
    assert clarity(*patterned(80, 4, noise=3)) < clarity(*patterned(80))
    assert clarity(np.full((30, 30, 3), 7, np.uint8), BoxedMask(np.ones((1, 1), bool), 5, 5, 1)) == 0


def test_without_depth_nothing_is_seen(segmenter):
    segmentation = labelled(segmenter, "red")
    flat = dataclasses.replace(segmentation.frame, depth_m=None)
    embedded = dataclasses.replace(segmentation.embedded, frame=flat)
    assert view_of(dataclasses.replace(segmentation, embedded=embedded), "map", FORWARD) is None


def test_a_large_crop_is_made_small_and_one_at_the_corner_is_a_picture():
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    whole = cv2.imdecode(np.frombuffer(crop_jpeg(image, (0, 0, 640, 480)), np.uint8), cv2.IMREAD_COLOR)
    assert whole.shape == (120, 160, 3)
    corner = cv2.imdecode(np.frombuffer(crop_jpeg(image, (638, 478, 640, 480)), np.uint8), cv2.IMREAD_COLOR)
    assert corner.shape == (2, 2, 3)


def test_spaces_differ_by_model_and_by_how_regions_are_embedded(segmenter):
    one = labelled(segmenter, "red")
    other = dataclasses.replace(segmenter.options, fill="black")
    frame, _ = scene()
    two = segmenter.label(segmenter.embed(frame, other), words("red"), other)
    keys = one.embedded.embedding_key, two.embedded.embedding_key
    assert len({space_of("mini", keys[0]), space_of("lite", keys[0]), space_of("mini", keys[1])}) == 3
    assert keys[0] == segmenter.options.embedding_key
