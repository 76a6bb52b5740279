"""The front door: what it takes, what it gives, and what it refuses before any network runs."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
import yaml
from bag_fixtures import camera_info, image, write_bag
from core_fixtures import FixedProposer
from door_fixtures import (
    CAMERA,
    GREEN,
    HEIGHT,
    RED,
    SMALL_RED,
    WIDTH,
    DepthProposer,
    colour_finder,
    depth_m,
    masks,
    never_finder,
    picture,
)
from PIL import Image

import ovseg_ros
from ovseg_ros import finder
from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.core.words.query import as_vocabulary
from ovseg_ros.models import presets

Refused = ovseg_ros.InvalidInputError


def test_importing_is_free_of_torch_and_ros_until_a_name_is_used():
    code = (
        "import ovseg_ros, sys; assert 'torch' not in sys.modules and 'rclpy' not in sys.modules; "
        "assert {'load', 'Finder', 'Result', '__version__'} <= set(dir(ovseg_ros)); "
        "ovseg_ros.InvalidInputError; assert 'torch' not in sys.modules; "
        "sys.modules.update(torch=None, rclpy=None); "  # to import them is an error from here on
        "ovseg_ros.load"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.strip().endswith("import of torch halted; None in sys.modules")
    assert ovseg_ros.load.__module__ == "ovseg_ros.finder"


def test_every_name_is_there_and_no_other():
    for name in ovseg_ros.__all__:
        assert getattr(ovseg_ros, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'ovseg_ros' has no attribute 'loud'"):
        ovseg_ros.loud  # noqa: B018


def test_load_hands_on_what_it_is_given(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(finder, "load_preset", lambda *these: given.append(these) or "a segmenter")
    assert ovseg_ros.load("mini", "cpu", weights_dir=tmp_path, offline=False).segmenter == "a segmenter"
    assert given == [("mini", "cpu", tmp_path, False)]


def test_the_finder_says_what_it_is():
    find = colour_finder()
    assert (find.preset, find.device) == ("squares", "cpu")
    assert repr(find) == "<Finder 'squares' on cpu>"


# What it takes


def files_of(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "photo.png")
    cv2.imwrite(str(tmp_path / "depth.png"), (depth_m() * 1000).astype(np.uint16))
    np.save(tmp_path / "depth.npy", depth_m())


def test_pictures_in_every_form_give_the_same(tmp_path):
    files_of(tmp_path)
    path = tmp_path / "photo.png"
    for form in (str(path), path, Image.open(path), picture()):
        result = colour_finder()(form, ["red", "green"])
        assert (result.image == picture()).all()
        assert [thing.box_xyxy for thing in result["green"]] == [(34, 10, 54, 30)]


def test_arrays_may_be_views_and_are_not_kept():
    bgr = np.ascontiguousarray(picture()[..., ::-1])
    bgr.flags.writeable = False
    result = colour_finder()(bgr[..., ::-1], ["red", "green"])
    assert len(result["red"]) == 2
    buffer = picture()
    results = []
    for result in colour_finder().video((buffer for _ in range(2)), ["red"]):
        buffer[:] = 0
        results.append(result)
    assert (results[0].image == picture()).all()
    assert results[1].image.max() == 0


def test_depth_in_every_form_gives_the_same(tmp_path):
    files_of(tmp_path)
    metres = depth_m()
    millimetres = (metres * 1000).astype(np.uint16)
    forms = [
        (str(tmp_path / "depth.png"), None),
        (tmp_path / "depth.npy", None),
        (metres, None),
        (metres.astype(np.float64), None),
        (millimetres, None),  # integers are millimetres
        (millimetres * 2, 0.0005),
        (metres * 1000, 0.001),
    ]
    for depth, scale in forms:
        result = colour_finder()(picture(), "red, green", depth=depth, intrinsics=CAMERA, depth_scale=scale)
        assert result["green"][0].centroid_m[2] == pytest.approx(1.0)


def test_cameras_in_every_form_give_the_same(tmp_path):
    fx, fy, cx, cy = CAMERA
    matrix = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
    info = {"width": WIDTH, "height": HEIGHT, "k": [fx, 0, cx, 0, fy, cy, 0, 0, 1]}
    (tmp_path / "camera.yaml").write_text(yaml.safe_dump(info))
    twice = CameraIntrinsics(*(2 * number for number in CAMERA), 2 * WIDTH, 2 * HEIGHT)
    forms = [
        CAMERA,
        np.array(CAMERA),
        matrix,
        np.array(matrix, np.float32),
        str(tmp_path / "camera.yaml"),
        tmp_path / "camera.yaml",
        CameraIntrinsics(*CAMERA, WIDTH, HEIGHT),
        twice,
    ]
    for form in forms:
        thing = colour_finder()(picture(), ["green"], depth=depth_m(), intrinsics=form)[0]
        assert thing.centroid_m == pytest.approx((0.27, -0.01, 1.0), abs=0.02)


def test_words_in_every_form_give_the_same():
    for words in (
        ["red", "green"],
        ("red", "green"),
        "red, green",
        "find the red and the green",
        iter(["red", "green"]),
    ):
        assert colour_finder()(picture(), words).words == ("red", "green")
    assert as_vocabulary(["red", " Red ", "green"]).names == ("red", "green")


def test_the_threshold_is_the_presets_unless_it_is_given():
    find = colour_finder()
    assert len(find(picture(), ["red"])) == 2
    score = find(picture(), ["red"])[0].score
    assert len(find(picture(), ["red", "purple"], threshold=0)) == 3  # everything is something
    assert len(find(picture(), ["red"], threshold=np.float32(1))) == (2 if score == 1 else 0)
    assert find.segmenter.options.threshold == 0.5


def test_a_preset_that_needs_depth_gets_it():
    find = colour_finder(DepthProposer(masks(RED)))
    result = find(picture(), ["red"], depth=depth_m(), intrinsics=CAMERA)
    assert result[0].centroid_m[2] == pytest.approx(2.0)
    assert len(find.masks(picture(), depth=depth_m(), intrinsics=CAMERA)) == 1


# Masks, and names for masks


def test_masks_come_without_names_surest_first():
    found = colour_finder(FixedProposer(masks(RED, GREEN), torch.tensor([0.3, 0.8]))).masks(picture())
    assert found.masks.dtype == bool
    assert (found.masks == masks(GREEN, RED).numpy()).all()
    assert found.scores == pytest.approx([0.8, 0.3])
    assert repr(found) == "<MaskProposals: 2 on 60x40>"
    none = colour_finder(FixedProposer(masks())).masks(picture())
    assert none.masks.shape == (0, HEIGHT, WIDTH)
    assert len(none) == 0


def test_ones_own_masks_are_named_as_those_found_are():
    find = colour_finder()
    own = masks(GREEN, (slice(0, 0), slice(0, 0)), SMALL_RED).numpy()
    probs = find.name(picture(), own, ["red", "green"])
    assert probs.shape == (3, 2)
    assert probs.dtype == np.float32
    found = find(picture(), ["red", "green"])
    assert probs[0, 1] == pytest.approx(found["green"][0].score)
    assert probs[2, 0] == pytest.approx(found["red"][1].score)
    assert (probs[1] == 0).all()  # a mask without pixels is nothing
    assert find.name(picture(), own[:0], ["red", "green"]).shape == (0, 2)
    assert (own[1] == False).all()  # noqa: E712  # what was given is not written to


def test_naming_needs_no_depth():
    find = colour_finder(DepthProposer(masks(RED)))
    assert find.name(picture(), masks(RED).numpy(), "red, green")[0, 0] > 0.9


# Video


def test_things_keep_their_numbers_in_a_video():
    results = list(colour_finder().video([picture()] * 3, ["red", "green"]))
    numbers = [{thing.box_xyxy: thing.track_id for thing in result} for result in results]
    assert numbers[0] == numbers[1] == numbers[2]
    assert len(set(numbers[0].values())) == 3
    assert None not in numbers[0].values()


def test_a_frame_of_a_video_whose_numbers_are_none_is_left_out(caplog):
    find = colour_finder()
    encode, calls = find.segmenter.clip.encode_regions, []

    def spoiled(pixels, region_masks=None):
        calls.append(len(pixels))
        return encode(pixels, region_masks) * (float("nan") if len(calls) == 1 else 1.0)

    find.segmenter.clip.encode_regions = spoiled
    results = list(find.video([picture()] * 3, ["red", "green"]))
    assert [len(result) for result in results] == [3, 3]
    assert "frame 0 of the video is left out" in caplog.text
    calls.clear()
    with pytest.raises(ovseg_ros.NotFiniteError, match="NaN"):
        find(picture(), ["red"])


def test_each_video_follows_things_for_itself():
    find = colour_finder()
    first, second = find.video([picture()], "red"), find.video([picture()], "red")
    assert [t.track_id for t in next(first)] == [t.track_id for t in next(second)]


def test_frames_are_taken_one_by_one_in_every_form(tmp_path):
    files_of(tmp_path)
    find = colour_finder(DepthProposer(masks(RED)))
    camera = CameraIntrinsics(*CAMERA, WIDTH, HEIGHT)
    frames = [
        (picture(), depth_m()),
        (tmp_path / "photo.png", tmp_path / "depth.png"),
        Frame(picture(), depth_m(), camera),
    ]
    asked = []

    def camera_frames():
        for frame in frames:
            asked.append(frame)
            yield frame

    video = find.video(camera_frames(), ["red"], intrinsics=CAMERA)
    assert asked == []  # nothing is read before it is asked for
    assert [result[0].track_id for result in video] == [1, 1, 1]
    stack = np.stack([picture(), picture()])
    assert len(list(colour_finder().video(stack, "red"))) == 2


def clip(path, count=3):
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(count):
        film.write(np.full((48, 64, 3), (0, 0, 200), np.uint8))  # OpenCV's order: red
    film.release()
    return path


def test_a_film_is_read(tmp_path):
    everything = torch.ones((1, 48, 64), dtype=torch.bool)
    find = colour_finder(FixedProposer(everything))
    results = list(find.video(clip(tmp_path / "clip.mp4"), ["red", "blue"]))
    assert [result.found for result in results] == [("red",)] * 3
    assert [result[0].track_id for result in results] == [1, 1, 1]


def recording(path, *, depth=True, info=True):
    """Three images; the second has no depth near it in time."""
    messages = []
    for i in range(3):
        messages.append(("/camera/color/image_raw", i, image(picture(), "rgb8", 10 + i)))
        if depth and i != 1:
            messages.append(
                ("/camera/depth/image_raw", i, image((depth_m() * 1000).astype(np.uint16), "16UC1", 10 + i))
            )
        if info:
            messages.append(("/camera/color/camera_info", i, camera_info(10 + i, 50.0, (WIDTH, HEIGHT))))
    return write_bag(path, messages)


def test_a_recording_brings_depth_and_camera(tmp_path, caplog):
    find = colour_finder(DepthProposer(masks(RED)))
    path = recording(tmp_path / "bag")
    results = list(find.video(path, ["red"]))
    assert [result[0].track_id for result in results] == [1, 1]
    assert results[0][0].centroid_m[2] == pytest.approx(2.0)
    assert results[1].segmentation.frame.stamp_ns == 12 * 10**9
    assert "1 images of the recording have no depth near in time" in caplog.text
    assert len(list(find.video(str(next(path.glob("*.mcap"))), ["red"]))) == 2
    assert f"image 1 of {path}: depth on /camera/depth/image_raw (2 messages): the nearest" in caplog.text
    (near, _) = find.video(path, ["red"], depth_scale=0.0005)
    assert near[0].centroid_m[2] == pytest.approx(1.0)
    without = recording(tmp_path / "bare", info=False)
    assert len(list(find.video(without, "red", intrinsics=CAMERA))) == 2
    assert len(list(colour_finder().video(without, "red"))) == 3


def test_depth_of_a_recording_in_another_unit(tmp_path, caplog):
    find = colour_finder(DepthProposer(masks(RED)))
    path = recording(tmp_path / "bag")
    results = list(find.video(path, ["red"], depth_scale=0.005))
    assert results[0][0].centroid_m[2] == pytest.approx(10.0)
    assert caplog.text.count("is depth in another unit? Set depth_scale") == 1
    list(find.video(path, ["red"], depth_scale=0.005))
    find(picture(), "red", depth=depth_m() * 1000, intrinsics=CAMERA)
    assert caplog.text.count("is depth in another unit?") == 1


def test_the_camera_file_of_a_recording_is_read_once_with_its_depth_scale(tmp_path):
    find = colour_finder(DepthProposer(masks(RED)))
    file = tmp_path / "camera.yaml"
    file.write_text("{fx: 60, fy: 60, cx: 30, cy: 20, depth_scale: 0.0005}")
    frames = find.video(recording(tmp_path / "bag"), ["red"], intrinsics=file)
    text = file.read_text()
    file.unlink()
    near, _ = frames
    assert near[0].centroid_m[2] == pytest.approx(1.0)
    file.write_text(text)
    (whole, _) = find.video(recording(tmp_path / "other"), ["red"], intrinsics=file, depth_scale=0.001)
    assert whole[0].centroid_m[2] == pytest.approx(2.0)
    with pytest.raises(Refused, match="the camera file"):
        find.video(tmp_path / "bag", ["red"], intrinsics=tmp_path / "nowhere.yaml")


def test_plausible_depth_is_not_spoken_of(caplog):
    colour_finder()(picture(), "red", depth=depth_m(), intrinsics=CAMERA)
    assert "unit" not in caplog.text


# What it refuses, before any network runs


IMAGE = picture()
FLOATS = np.zeros((HEIGHT, WIDTH, 3), np.float32)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("nowhere.jpg", "expected a picture, nowhere.jpg is not there"),
        ("https://example.org/cup.jpg", "expected a file of this machine"),
        (None, "expected a file, a Pillow image or an array, got NoneType"),
        ([IMAGE], "expected a file, a Pillow image or an array, got list"),
        (IMAGE[..., 0], r"got \(40, 60\) uint8; grey becomes RGB by np.stack\(\[image\] \* 3, axis=-1\)"),
        (IMAGE[..., :1], r"got \(40, 60, 1\) uint8; grey becomes RGB by np.repeat"),
        (np.zeros((40, 60, 4), np.uint8), r"leave the fourth channel out, image\[..., :3\]"),
        (IMAGE.transpose(2, 0, 1), r"channels go last, image.transpose\(1, 2, 0\)"),
        (IMAGE[None], "give its pictures one by one"),
        (IMAGE[:0], "it is empty"),
        (FLOATS, r"float32; colours from 0 to 1 become bytes by \(image \* 255\)"),
        (IMAGE.astype(np.int64), r"expected an image \(H,W,3\) uint8 RGB, got \(40, 60, 3\) int64"),
    ],
)
def test_images_that_are_refused(image, message):
    find = never_finder()
    with pytest.raises(Refused, match=message):
        find(image, ["cup"])
    with pytest.raises(Refused, match=message):
        find.masks(image)
    with pytest.raises(Refused, match=message):
        find.name(image, np.zeros((1, HEIGHT, WIDTH), bool), ["cup"])


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    (tmp_path / "notes.jpg").write_text("notes")
    with pytest.raises(Refused, match=r"notes.jpg is in no format that is read here"):
        never_finder()(tmp_path / "notes.jpg", ["cup"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r'name at least one thing, for example \["cup", "spoon"\] or "cup, spoon"'),
        ("", "name at least one thing"),
        ("find the", "name a thing: 'find the' names none"),
        (["cup", ""], "'' cannot be looked for: no word in it"),
        (["cup", 3], "3 cannot be looked for: expected a label as text, got int"),
        (["x" * 129], "cannot be looked for: expected at most 128 bytes, got 129"),
        (
            "cup, mug without a handle",
            "'?without a handle'? ?.* not answered|not answered .'without a handle'",
        ),
        (["cup", "another mug"], "'another mug' cannot be looked for: "),
        (None, "expected words as a list or as text such as"),
        (b"cup", "expected words as a list or as text"),
        ({0: "cup"}, "expected words as a list or as text"),
        ([f"thing {i}" for i in range(256)], "expected at most 255 words, got 256"),
    ],
)
def test_words_that_are_refused(words, message):
    find = never_finder()
    for call in (
        lambda: find(IMAGE, words),
        lambda: find.name(IMAGE, np.zeros((1, HEIGHT, WIDTH), bool), words),
        lambda: find.video([IMAGE], words),  # at once, before the first frame
    ):
        with pytest.raises(Refused, match=message):
            call()


def test_names_for_masks_are_plain():
    with pytest.raises(Refused, match=r"relations tell which one is meant.* ask for 'mug' here"):
        never_finder().name(IMAGE, np.zeros((1, HEIGHT, WIDTH), bool), "mug near the pot")


def test_a_request_finds_what_is_meant():
    find = colour_finder()
    result = find(picture(), "the lowest red")
    assert [thing.box_xyxy for thing in result] == [(4, 30, 10, 36)]
    assert (result.words, result.found, result.missing, result.how_many) == (("red",), ("red",), (), 1)
    assert (result.decided_from, result.reason) == (
        "image",
        "lowest red: 1 found, decided from the image",
    )
    assert set(np.unique(result.label_map)) == {0, 255}
    assert (result.label_map == 0).sum() == 36
    assert [one["category_id"] for one in result.to_coco()] == [0]
    assert "red" in result
    assert "green" not in result
    with pytest.raises(KeyError, match="was not asked for"):
        result["green"]


def test_a_request_with_depth_is_decided_in_space():
    result = colour_finder()(picture(), ["the red behind the green"], depth=depth_m(), intrinsics=CAMERA)
    assert (result.decided_from, result.words) == ("depth", ("red",))
    assert result[0].box_xyxy == (4, 5, 24, 25)
    assert (result.label_map == 1).sum() == 0  # what it is behind is not asked for
    assert result.how_many == len(result)
    nothing = colour_finder()(picture(), "the red in front of the green", depth=depth_m(), intrinsics=CAMERA)
    assert (len(nothing), nothing.how_many, nothing.missing) == (0, 0, ("red",))
    assert nothing.reason == "no red of 2 is in front of the green, decided from depth"


def test_requests_count():
    find = colour_finder()
    result = find(picture(), "how many red")
    assert (result.how_many, len(result)) == (2, 2)
    assert (len(find(picture(), "3 red")), find(picture(), "3 red").how_many) == (0, 2)
    assert len(find(picture(), "one red")) == 1
    plain = find(picture(), "red, green")
    assert (plain.how_many, plain.decided_from, plain.reason) == (3, "", "")


def test_requests_hold_in_every_frame_of_a_video():
    counts = [len(result) for result in colour_finder().video([picture(), picture()], "the left red")]
    assert counts == [1, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"depth": depth_m()[:-1]},
            r"expected depth of the image's size \(H,W\) = \(40, 60\), .* got \(39, 60\)",
        ),
        ({"depth": "nowhere.png"}, "expected a depth image, nowhere.png is not there"),
        (
            {"depth": np.zeros((40, 60), np.uint8)},
            "expected depth as 16-bit millimetres or as floats in metres",
        ),
        ({"depth": np.zeros((40, 60, 1), np.uint16)}, r"expected depth \(H,W\)"),
        ({"depth": [["near"]]}, "expected depth as 16-bit millimetres or as floats"),
        ({"depth": depth_m(), "depth_scale": 0}, "expected a depth scale > 0, metres per unit, got 0"),
        ({"depth": depth_m(), "depth_scale": float("nan")}, "expected a depth scale > 0"),
        ({"depth": depth_m(), "depth_scale": "mm"}, "expected a depth scale > 0, metres per unit, got 'mm'"),
        ({"depth_scale": 0.001}, "expected depth= beside depth_scale=0.001, got none"),
        ({"intrinsics": (1, 2, 3)}, r"expected fx, fy, cx, cy or a 3x3 camera matrix, got the shape \(3,\)"),
        ({"intrinsics": 500}, r"expected fx, fy, cx, cy or a 3x3 camera matrix, got the shape \(\)"),
        ({"intrinsics": np.zeros((3, 3))}, "expected focal lengths > 0"),
        ({"intrinsics": object()}, "expected fx, fy, cx, cy or a 3x3 camera matrix"),
        ({"intrinsics": "nowhere.yaml"}, "the camera file nowhere.yaml cannot be read"),
        ({"intrinsics": "wide"}, "expected intrinsics fx,fy,cx,cy"),
        (
            {"intrinsics": CameraIntrinsics(*CAMERA, 40, 40)},
            "expected intrinsics of the image's shape, 60x40, got 40x40",
        ),
    ],
)
def test_depth_and_cameras_that_are_refused(given, message):
    find = never_finder()
    with pytest.raises(Refused, match=message):
        find(IMAGE, ["cup"], **given)
    with pytest.raises(Refused, match=message):
        find.masks(IMAGE, **given)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "high", True])
def test_thresholds_that_are_refused(threshold):
    find = never_finder()
    with pytest.raises(Refused, match=r"expected threshold= in \[0, 1\], got"):
        find(IMAGE, ["cup"], threshold=threshold)
    with pytest.raises(Refused, match=r"expected threshold= in \[0, 1\], got"):
        find.video([IMAGE], ["cup"], threshold=threshold)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((HEIGHT, WIDTH), bool), r"got \(40, 60\) bool; one mask is masks\[None\]"),
        (np.zeros((2, HEIGHT, WIDTH), np.uint8), r"uint8; numbers become masks by masks > 0"),
        (np.zeros((2, HEIGHT, WIDTH + 1), bool), r"expected masks .* \(N, 40, 60\), got \(2, 40, 61\) bool"),
        ([np.zeros((2, 2), bool), np.zeros((3, 3), bool)], "expected masks .* all of one size"),
        (None, "expected masks"),
    ],
)
def test_masks_that_are_refused(given, message):
    with pytest.raises(Refused, match=message):
        never_finder().name(IMAGE, given, ["cup"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {},
            r"the preset 'never' finds masks in depth: pass depth= \(a path or .* array\) and intrinsics=",
        ),
        ({"depth": depth_m()}, r"finds masks in depth: pass intrinsics= \(\(fx, fy, cx, cy\), a 3x3 matrix"),
        ({"intrinsics": CAMERA}, r"finds masks in depth: pass depth= \(a path or an \(H,W\) array\)$"),
    ],
)
def test_a_preset_that_needs_depth_says_so_in_words_of_python(given, message):
    find = never_finder(needs_depth=True)
    for call in (lambda: find(IMAGE, ["cup"], **given), lambda: find.masks(IMAGE, **given)):
        with pytest.raises(Refused, match=message) as caught:
            call()
        assert "topic" not in str(caught.value)
        assert "ros" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.mp4", "expected a video or a recording, 'nowhere.mp4' is not there"),
        ("rtsp://camera/1", "expected a file of this machine"),
        (0, "expected a video file, a recording, or what gives frame after frame .* got 0"),
        (None, "expected a video file, a recording"),
        (IMAGE, "got one picture: call the finder itself on it"),
        (Image.fromarray(IMAGE), "got one picture"),
    ],
)
def test_videos_that_are_refused_at_once(source, message):
    with pytest.raises(Refused, match=message):
        never_finder().video(source, ["cup"])


def test_video_files_that_are_refused_at_once(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.mp4").write_text("notes")
    (tmp_path / "pictures").mkdir()
    find, deep = never_finder(), never_finder(needs_depth=True)
    for call, message in (
        (lambda: find.video(tmp_path / "empty.mp4", "cup"), r"is empty \(0 bytes\)"),
        (lambda: find.video(tmp_path / "notes.mp4", "cup"), "cannot be opened"),
        (
            lambda: find.video(tmp_path / "pictures", "cup"),
            "has no metadata.yaml and no .mcap or .db3 file; of a folder of pictures pass",
        ),
        (
            lambda: find.video(clip(tmp_path / "scaled.mp4"), "cup", depth_scale=0.1),
            "depth_scale= is for depth, and a video file has none",
        ),
        (
            lambda: deep.video(clip(tmp_path / "clip.mp4"), "cup"),
            "'never' finds masks in depth, and a video file has none: pass a recording with depth, or pairs",
        ),
        (lambda: deep.video(recording(tmp_path / "flat", depth=False), "cup"), "flat has no depth: pass"),
        (
            lambda: deep.video(recording(tmp_path / "blind", info=False), "cup"),
            "blind has no camera_info: pass",
        ),
    ):
        with pytest.raises(Refused, match=message):
            call()


def test_a_frame_that_is_refused_is_named():
    video = colour_finder().video([picture(), FLOATS], ["red"])
    next(video)
    with pytest.raises(Refused, match=r"frame 1 of the video: expected an image \(H,W,3\) uint8"):
        next(video)
    with pytest.raises(
        Refused, match=r"frame 0 of the video: the preset 'never' finds masks in depth: pass depth="
    ):
        next(never_finder(needs_depth=True).video([IMAGE], "cup"))


def test_presets_and_devices_that_are_refused():
    with pytest.raises(ovseg_ros.ConfigError, match=r"got 'lit'; did you mean 'lite'\?"):
        ovseg_ros.load("lit")
    with pytest.raises(ValueError, match=r"or the path of a .yaml file, got 'my.yaml', which is not there"):
        ovseg_ros.load("my.yaml")
    with pytest.raises(ovseg_ros.ConfigError, match=r"device 'gpu' cannot be used: .*; try cpu"):
        ovseg_ros.load("mini", device="gpu")
    with pytest.raises(ovseg_ros.ConfigError, match=r"device '3.5' cannot be used"):
        ovseg_ros.load("mini", device=3.5)


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_is_the_best_device_there_is(monkeypatch, cuda, mps, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert presets.best_device() == best


def test_the_finder_is_loaded_on_the_best_device(monkeypatch):
    asked = []
    monkeypatch.setattr(presets, "best_device", lambda: asked.append("best") or "meta")
    assert presets._device("auto") == torch.device("meta")
    assert asked == ["best"]
