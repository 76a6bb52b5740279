"""From labelled frames to sightings, and from entries to answers, with a model that sees colours."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder, FixedProposer, words
from memory_fixtures import DictStore

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.space import Rigid, objects_3d
from ovseg_ros.memory import Entry, Name, Where
from ovseg_ros.memory.frames import crop_jpeg, sightings_of, space_of, tracked_masks, view_of
from ovseg_ros.memory.objects import ObjectMemory
from ovseg_ros.memory.recall import confidence, list_all, name_entries, on_top, recall

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


# ------------------------------------------------------------------------------------------------ answers


def entry(key="a", words=None, position=(0, 0, 1.0), size=(0.1, 0.1, 0.1), row=None, **more):
    row = ColourEncoder().encode_text(["red"])[0].numpy() if row is None else row
    return Entry(
        key,
        "",
        "map",
        np.array(position, float),
        np.eye(3) * 1e-4,
        np.array(size, float),
        np.array([0.0, 0, 0, 1]),
        "space",
        row,
        row[None],
        {"red": Name(0.8, 10)} if words is None else words,
        1.0,
        2.0,
        **more,
    )


def memory_of(*entries):
    store = DictStore()
    store.put(entries)
    return ObjectMemory(store, store, "space")


def test_confidence_is_less_for_other_names_and_looks_in_vain_and_nothing_for_what_is_gone():
    assert confidence(entry(), "red") == pytest.approx(0.8)
    half = entry(words={"red": Name(0.8, 5), "cup": Name(0.9, 5)})
    assert confidence(half, "red") == pytest.approx(0.4)
    missed = entry(times_looked=10, times_missed=5)
    assert confidence(missed, "red") == pytest.approx(0.4)
    assert confidence(entry(gone_since=3.0), "red") == 0


def test_a_word_nobody_asked_for_then_finds_what_looks_like_it(segmenter):
    green = ColourEncoder().encode_text(["green"])[0].numpy()
    memory = memory_of(entry("a"), entry("b", words={"thing": Name(0.5, 3)}, row=green))
    found = recall(memory, segmenter, words("green", "red"), "space")
    assert {(one.entry.key, one.word) for one in found} == {("a", "red"), ("b", "green")}
    assert recall(memory, segmenter, words("blue"), "space") == []
    assert recall(memory, segmenter, words("green"), "another space") == []
    assert [one.entry.key for one in recall(memory, segmenter, words("red"), "", Where(keys=("b",)))] == []


def test_naming_entries_is_naming_masks(segmenter):
    """The oracle: the same embeddings as masks of a frame, under the same words."""
    segmentation = labelled(segmenter, "red", "green")
    entries = [entry(str(i), words={}, row=row.numpy()) for i, row in enumerate(segmentation.embeddings)]
    found = name_entries(segmenter, words("red", "green"), entries)
    assert [(one.entry.key, one.word) for one in found] == [("0", "red"), ("1", "green")]
    for one, score in zip(found, segmentation.scores.tolist(), strict=True):
        assert one.confidence == pytest.approx(score, abs=1e-6)


def test_what_is_on_the_table():
    turned = np.array([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)])  # its long side along y
    table = dataclasses.replace(
        entry("table", {"table": Name(0.9, 5)}, (0, 0, 0.35), (1.6, 0.8, 0.7)), orientation=turned
    )
    memory = memory_of(
        table,
        entry("cup", position=(0.1, 0.6, 0.75)),
        entry("under", position=(0.1, 0.2, 0.1)),
        entry("beside", position=(0.7, 0.0, 0.75)),
        entry("lamp", position=(0, 0, 2.5)),
    )
    found = on_top(list_all(memory, Where()), memory, "table")
    assert [one.entry.key for one in found] == ["cup"]
