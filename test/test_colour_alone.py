"""The whole chain without depth, or with depth that says little: pictures of every kind in, things out."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from colour_alone import lite_like_finder, save_untrained_colour_masks
from door_fixtures import CAMERA, GREEN, HEIGHT, RED, SMALL_RED, WIDTH, masks, picture
from PIL import Image

import ovseg_ros
from ovseg_ros.core.frame import Proposals
from ovseg_ros.finder import Finder
from ovseg_ros.models.presets import load_proposer

WORDS = ["red", "green", "blue"]
BOXES = {(4, 5, 24, 25), (34, 10, 54, 30), (4, 30, 10, 36)}


def boxes(result):
    return {thing.box_xyxy for thing in result}


def test_a_photograph_is_enough(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "photo.png")
    result = lite_like_finder()(tmp_path / "photo.png", "red, green, blue")
    assert (result.found, result.missing) == (("red", "green"), ("blue",))
    assert boxes(result) == BOXES
    assert {thing.centroid_m for thing in result} == {None}


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (40, 60)])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 0, 0)])
def test_a_picture_of_one_colour_holds_nothing(size, colour):
    find = lite_like_finder()
    image = np.full((*size, 3), colour, np.uint8)
    result = find(image, WORDS)
    assert (len(result), result.found, result.missing) == (0, (), tuple(WORDS))
    assert (result.label_map == 255).all()
    assert result.label_map.shape == size
    assert result.plot().size == size[::-1]
    assert result.to_coco() == []
    assert find.masks(image).masks.shape == (0, *size)
    assert [len(r) for r in find.video([image, image], WORDS)] == [0, 0]


def test_a_picture_of_8k():
    large = np.full((4320, 7680, 3), 90, np.uint8)
    large[1000:3000, 2000:5000] = (200, 0, 0)
    (thing,) = lite_like_finder()(large, WORDS)
    assert (thing.label, thing.box_xyxy) == ("red", (2000, 1000, 5000, 3000))


def grey(mode):
    """The squares, black on white, in a grey mode."""
    image = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for part in (RED, GREEN, SMALL_RED):
        image[part] = 0
    if mode == "I;16":
        return Image.fromarray(image.astype(np.uint16) * 257)
    return Image.fromarray(image).convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1", "P"])
def test_grey_pictures_have_masks_too(tmp_path, mode):
    grey(mode).save(tmp_path / "grey.png")
    for form in (tmp_path / "grey.png", grey(mode)):
        found = lite_like_finder().masks(form)
        assert len(found) == 3, mode
        assert (found.masks.any(axis=0) == masks(RED, GREEN, SMALL_RED).numpy().any(axis=0)).all()


def test_transparency_and_orientation_are_those_a_viewer_shows(tmp_path):
    rgba = np.dstack([picture(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    rgba[GREEN] = (0, 200, 0, 0)  # cannot be seen
    Image.fromarray(rgba, "RGBA").save(tmp_path / "clear.png")
    assert "green" not in lite_like_finder()(tmp_path / "clear.png", WORDS)
    upright = np.ascontiguousarray(np.rot90(picture()))  # portrait
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the first row is on the right
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "turned.png", exif=exif)
    find = lite_like_finder()
    turned, portrait = find(tmp_path / "turned.png", WORDS), find(upright, WORDS)
    assert turned.image.shape == (WIDTH, HEIGHT, 3)
    assert boxes(turned) == boxes(portrait)
    assert len(turned) == 3


NOTHING = np.zeros((HEIGHT, WIDTH), np.float32)
CORNER = NOTHING.copy()
CORNER[:8, :8] = 0.8


@pytest.mark.parametrize(
    "depth", [NOTHING, NOTHING + np.nan, NOTHING + np.inf, CORNER], ids=["0", "nan", "inf", "corner"]
)
def test_depth_that_says_little_costs_nothing(depth, caplog):
    find = lite_like_finder()
    result = find(picture(), WORDS, depth=depth, intrinsics=CAMERA)
    assert boxes(result) >= BOXES
    assert {thing.centroid_m for thing in result if thing.box_xyxy in BOXES - {(4, 5, 24, 25)}} == {None}
    assert len(find.masks(picture(), depth=depth, intrinsics=CAMERA)) >= 3
    assert not caplog.records


def test_depth_without_a_camera_is_refused_and_a_camera_without_depth_is_not():
    find = lite_like_finder()
    depth = np.ones((HEIGHT, WIDTH), np.float32)
    says = r"depth= is of no use without intrinsics= \(\(fx, fy, cx, cy\), a 3x3 matrix"
    for call in (
        lambda: find(picture(), WORDS, depth=depth),
        lambda: find.masks(picture(), depth=depth),
        lambda: next(find.video([(picture(), depth)], WORDS)),
    ):
        with pytest.raises(ovseg_ros.InvalidInputError, match=says):
            call()
    assert len(find(picture(), WORDS, intrinsics=CAMERA)) == 3


def test_video_with_depth_now_and_then(caplog):
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    frames = [picture(), (picture(), depth), picture()]
    results = list(lite_like_finder().video(frames, WORDS, intrinsics=CAMERA))
    assert [result.found for result in results] == [("red", "green")] * 3
    tracks = [
        {thing.box_xyxy: thing.track_id for thing in result if thing.box_xyxy in BOXES} for result in results
    ]
    assert tracks[0] == tracks[1] == tracks[2]
    assert caplog.messages == ["depth was there and is missing: DepthClusters left out of the union"]


# The real networks, the mask network with random weights


@pytest.fixture(scope="module")
def lite(tmp_path_factory, lite_segmenter, one_thread):
    folder = tmp_path_factory.mktemp("weights")
    save_untrained_colour_masks(folder)
    return Finder(lite_segmenter.rebuilt(proposer=load_proposer("lite", weights_dir=folder)))


def test_lite_needs_no_depth_and_uses_it(lite):
    assert not lite.segmenter.needs_depth
    colour, depth = lite.segmenter.proposer.members
    assert (type(colour).__name__, type(depth).__name__) == ("ColourMasks", "DepthClusters")
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    assert len(lite.masks(image)) > 0
    depth_m = np.full((96, 128), 1.5, np.float32)
    with mock.patch.object(type(depth), "propose", return_value=Proposals.empty(96, 128)) as asked:
        lite.masks(image)
        assert not asked.called
        lite.masks(image, depth=depth_m, intrinsics=(100.0, 100.0, 64.0, 48.0))
    (frame,) = asked.call_args.args
    assert (frame.depth_m == depth_m).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (160, 90)])
@pytest.mark.parametrize("noise", [0, 255], ids=["one colour", "noise"])
def test_lite_takes_pictures_of_every_shape(lite, size, noise):
    image = np.random.default_rng(0).integers(0, noise + 1, (*size, 3), np.uint8)
    result = lite(image, ["cup", "spoon"])
    assert result.label_map.shape == size
    assert {"cup", "spoon"} == {*result.found, *result.missing}
    assert lite.masks(image).masks.shape[1:] == size
