"""How the regions of a frame look: sizes against geometry, what they share, and teaching on the recording."""

import numpy as np
import pytest
import torch
from repository import ROOT

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.core.maps import mask_iou
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.memory.teaching import find_like, find_taught, looks_of, weights_of

CAMERA = CameraIntrinsics(fx=100.0, fy=100.0, cx=50.0, cy=40.0, width=100, height=80)


def embedded(depth_m=1.0, masks=None) -> EmbeddedFrame:
    """A wall with a square of 40 pixels, its left half, and another beside it."""
    if masks is None:
        masks = torch.zeros((3, 80, 100), dtype=torch.bool)
        masks[0, 20:60, 10:50], masks[1, 20:60, 10:30], masks[2, 20:60, 60:80] = True, True, True
    image = np.full((80, 100, 3), 90, np.uint8)
    image[:, :50] = (200, 30, 30)
    depth = None if depth_m is None else np.full((80, 100), depth_m, np.float32)
    rows = torch.nn.functional.normalize(torch.arange(12.0).reshape(3, 4) + 1)[: len(masks)]
    return EmbeddedFrame(
        Frame(image, depth, CAMERA), masks, torch.tensor([0.9, 0.8, 0.7])[: len(masks)], rows
    )


def test_sizes_are_those_of_the_geometry():
    seen = looks_of(embedded(2.0), "made up")
    width_m, height_m = np.array([38, 18, 18]) * 2.0 / 100, 38 * 2.0 / 100  # a pixel of rim is left out
    assert seen.sizes_m == pytest.approx(np.sqrt((width_m**2 + height_m**2) / 12), rel=0.02)
    assert seen.sized


@pytest.mark.parametrize("depth_m", [None, 0.0])
def test_without_depth_no_size_is_known(depth_m):
    seen = looks_of(embedded(depth_m), "made up")
    assert np.isnan(seen.sizes_m).all()
    assert not seen.sized


def test_parts_are_told_from_other_things():
    seen = looks_of(embedded(), "made up")
    assert seen.within.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert seen.apart(0).tolist() == [False, False, True]
    assert seen.palettes[0] @ seen.palettes[1] > 0.95
    assert seen.palettes[1] @ seen.palettes[2] < 0.3


def test_some_regions_keep_their_order_and_none_is_no_error():
    some = looks_of(embedded(), "made up", [2, 0])
    every = looks_of(embedded(), "made up")
    assert np.array_equal(some.embeddings, every.embeddings[[2, 0]])
    assert np.array_equal(some.palettes, every.palettes[[2, 0]])
    assert some.mask_scores == pytest.approx([0.7, 0.9])
    none = looks_of(embedded(masks=torch.zeros((0, 80, 100), dtype=torch.bool)), "made up")
    assert len(none) == 0
    assert not none.sized


@pytest.fixture(scope="module")
def recorded(lite_segmenter):
    """Three frames of demo/tabletop: two of one scene, one of another; looks and truth of each."""
    frames = [frame for i, frame in enumerate(read_recording(ROOT / "demo" / "tabletop")) if i in (0, 10, 20)]
    return [(frame, segmented, looks_of(segmented, "lite"))
            for frame in frames for segmented in [lite_segmenter.embed(frame.frame)]]  # fmt: skip


def region_of(one, name: str) -> int:
    frame, segmented, _ = one
    (thing,) = (i for i, said in frame.names.items() if said == name)
    iou = np.asarray(mask_iou(segmented.masks, frame.mask(thing)[None]))[:, 0]
    assert iou.max() >= 0.5
    return int(iou.argmax())


@pytest.mark.parametrize("name", ["red mug", "milk carton"])
def test_a_thing_of_the_recording_is_found_again_and_not_where_it_is_absent(recorded, name):
    first, later, elsewhere = recorded
    example = first[2].example(region_of(first, name), "mine", 0.0)
    weights = weights_of("lite", sized=True)
    again = find_taught([example], later[2], weights)
    assert again.found
    assert later[2].within[again.region, region_of(later, name)] > 0.8
    assert not find_taught([example], elsewhere[2], weights).found
    likest, _ = find_like([example], later[2].embeddings, later[2].palettes)[0]
    assert later[2].within[likest, region_of(later, name)] > 0.8
