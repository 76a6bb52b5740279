"""Which topics of a recording are chosen, by what their messages are."""

from __future__ import annotations

import numpy as np
import pytest
from bag_fixtures import compressed, image, write_bag

from ovseg_ros.core.camera import ImageFormat
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.recordings import COMPRESSED, IMAGE, INFO, Topic, choose_topics, find_topics

DEPTH, CAMERA = "/cam/aligned_depth_to_color/image_raw", "/cam/color/camera_info"

REALSENSE = [
    Topic("/cam/infra1/image_rect_raw", IMAGE, "mono8"),
    Topic("/cam/color/image_raw/compressed", COMPRESSED, "rgb8; jpeg compressed bgr8"),
    Topic("/cam/color/image_raw", IMAGE, "rgb8"),
    Topic("/cam/depth/image_rect_raw", IMAGE, "16UC1"),
    Topic("/cam/aligned_depth_to_color/image_raw/compressedDepth", COMPRESSED, "16UC1; compressedDepth png"),
    Topic("/cam/aligned_depth_to_color/image_raw", IMAGE, "16UC1"),
    Topic("/cam/depth/camera_info", INFO),
    Topic("/cam/color/camera_info", INFO),
]


def names(chosen):
    return tuple(topic and topic.name for topic in (chosen.image, chosen.depth, chosen.info))


def test_topics_are_found_by_type_and_name():
    assert names(choose_topics(REALSENSE)) == ("/cam/color/image_raw", DEPTH, CAMERA)
    assert names(choose_topics(REALSENSE[:2] + REALSENSE[3:5] + REALSENSE[6:])) == (
        "/cam/color/image_raw/compressed",
        "/cam/aligned_depth_to_color/image_raw/compressedDepth",
        CAMERA,
    )
    assert names(choose_topics(REALSENSE[:1])) == ("/cam/infra1/image_rect_raw", None, None)
    lone = [Topic("/image", IMAGE, "bgr8"), Topic("/elsewhere/camera_info", INFO)]
    assert names(choose_topics(lone)) == ("/image", None, "/elsewhere/camera_info")
    both = [Topic("/cam/all", COMPRESSED, "jpeg"), Topic("/cam/image", IMAGE, "bgr8")]
    assert names(choose_topics(both))[0] == "/cam/image"  # what is not compressed shows more
    asked = choose_topics(REALSENSE, image="cam/infra1/image_rect_raw", depth="none", info="none")
    assert names(asked) == ("/cam/infra1/image_rect_raw", None, None)
    asked = choose_topics(REALSENSE, depth="/cam/depth/image_rect_raw", info="/cam/depth/camera_info")
    assert names(asked)[1:] == ("/cam/depth/image_rect_raw", "/cam/depth/camera_info")


def test_topics_that_cannot_be_chosen():
    two = [Topic("/left/image", IMAGE, "rgb8"), Topic("/right/image", IMAGE, "rgb8")]
    with pytest.raises(
        InvalidInputError,
        match=r"cameras: /left/image \(.*, rgb8\), /right/image .*; choose with --image-topic",
    ):
        choose_topics(two)
    depths = [Topic(f"/{side}/depth", IMAGE, "32FC1") for side in ("a", "b")]
    with pytest.raises(InvalidInputError, match="--depth-topic"):
        choose_topics([*two[:1], *depths])
    with pytest.raises(InvalidInputError, match=r"it holds /a/depth \(sensor_msgs/msg/Image, 32FC1\)"):
        choose_topics(depths[:1])
    with pytest.raises(InvalidInputError, match="no messages of such a type"):
        choose_topics([])
    with pytest.raises(InvalidInputError, match=r"--image-topic.*'/up/image'.*/left/image"):
        choose_topics(two, image="/up/image")


def chosen_of(*topics):
    kinds = [(name, COMPRESSED if ";" in said else IMAGE, said) for name, said in topics]
    return names(choose_topics([Topic(*topic) for topic in kinds]))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("jpeg", ("", "compressed", "jpeg", "")),
        ("jpg", ("", "compressed", "jpeg", "")),
        ("PNG", ("", "compressed", "png", "")),
        ("rgb8; jpeg compressed bgr8", ("rgb8", "compressed", "jpeg", "bgr8")),
        ("16UC1; jpeg compressed ", ("16UC1", "compressed", "jpeg", "")),
        ("bgr8;png", ("bgr8", "compressed", "png", "")),
        ("mono8; tiff compressed mono8", ("mono8", "compressed", "tiff", "mono8")),
        ("16UC1; compressedDepth", ("16UC1", "compressedDepth", "png", "")),
        ("16UC1; compressedDepth png", ("16UC1", "compressedDepth", "png", "")),
        ("32FC1; compressedDepth rvl", ("32FC1", "compressedDepth", "rvl", "")),
        ("h264", ("", "compressed", "h264", "")),
        ("", ("", "compressed", "", "")),
        (";;", ("", "compressed", ";", "")),
    ],
)
def test_a_format_is_understood(text, parsed):
    assert ImageFormat.parse(text) == parsed


def test_jpeg_is_never_depth_and_compressed_depth_is():
    colour, base = ("/cam/color/image_raw", "rgb8"), "/cam/depth/image_raw"
    jpeg = (f"{base}/compressed", "16UC1; jpeg compressed ")
    rvl = (f"{base}/compressedDepth", "16UC1; compressedDepth rvl")
    assert chosen_of(colour, jpeg)[1] is None
    assert chosen_of(colour, jpeg, rvl)[1] == rvl[0]
    assert chosen_of(colour, (f"{base}/compressed", "16UC1; png compressed "))[1] == f"{base}/compressed"
    assert chosen_of(colour, jpeg, rvl, (base, "16UC1"))[1] == base
    with pytest.raises(InvalidInputError, match="16UC1; jpeg compressed"):
        chosen_of(jpeg)


def test_grey_ranks_behind_colour_raw_or_not():
    grey = ("/cam/infra1/image_rect_raw/compressed", "mono8; jpeg compressed mono8")
    colour = ("/cam/color/image_raw/compressed", "rgb8; jpeg compressed bgr8")
    assert chosen_of(grey, colour)[0] == colour[0]
    assert chosen_of(("/cam/infra1/image_rect_raw", "mono8"), colour)[0] == colour[0]
    assert chosen_of(grey)[0] == grey[0]


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_an_only_image_of_numbers_is_taken_as_depth_and_said(encoding):
    colour, range_image = Topic("/top/image", IMAGE, "bgr8"), Topic("/tof/range", IMAGE, encoding)
    chosen = choose_topics([colour, range_image])
    assert chosen.depth == range_image
    assert f"/tof/range is taken as depth: it is the only {encoding} image" in chosen.remarks[0]
    assert choose_topics([colour, range_image], depth="none").depth is None
    assert choose_topics([colour, range_image, Topic("/other", IMAGE, encoding)]).depth is None
    assert choose_topics([colour, Topic("/ground_truth/instance_image", IMAGE, encoding)]).depth is None
    infrared = Topic("/top/infra1/image_rect_raw", IMAGE, encoding)
    assert choose_topics([colour, infrared]).depth is None
    assert choose_topics([colour, infrared, range_image]).depth == range_image
    grey = Topic("/top/image", IMAGE, "mono8")
    assert choose_topics([grey, range_image]).depth is None, "a thermal camera has such a pair too"


def test_depth_of_the_same_camera_comes_first():
    topics = [("/left/color/image", "rgb8"), ("/left/depth/image", "16UC1"), ("/right/depth/image", "16UC1")]
    assert chosen_of(*topics)[1] == "/left/depth/image"


def test_results_of_a_segmenter_stay_behind():
    assert chosen_of(("/ovseg/overlay", "rgb8"), ("/cam/image", "rgb8"))[0] == "/cam/image"


def test_what_is_no_picture_is_listed_with_type_and_count():
    film = Topic("/cam/image/compressed", COMPRESSED, "h264", 7)
    packets = Topic("/cam/ffmpeg", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "", 9)
    with pytest.raises(InvalidInputError, match=r"CompressedImage, h264, 7 messages.*FFMPEGPacket, 9 mess"):
        choose_topics([film, packets])


def test_the_messages_are_looked_into(tmp_path):
    """Drivers say "jpeg" of grey, "png" of depth, and of a transport's header nothing."""
    rgb, grey = np.full((4, 4, 3), 7, np.uint8), np.full((4, 4), 7, np.uint8)
    depth = np.full((4, 4), 900, np.uint16)
    damaged = (COMPRESSED, b"\0\1\0\0\1")
    path = write_bag(
        tmp_path / "bag",
        [
            ("/infra/compressed", 0, compressed(grey, "jpeg")),
            ("/color/compressed", 0, damaged),
            ("/color/compressed", 1, compressed(rgb, "jpeg")),
            ("/depth/compressed", 0, compressed(depth, "png")),
        ],
    )
    chosen, count = find_topics(path)
    assert names(chosen)[:2] == ("/color/compressed", "/depth/compressed")
    assert (chosen.depth.encoding, count) == ("16UC1; png compressed", 2)
    headed = compressed(depth, "16UC1", before=b"\0" * 12)
    path = write_bag(tmp_path / "headed", [("/c", 0, image(rgb, "rgb8")), ("/d", 0, headed)])
    assert find_topics(path)[0].depth.encoding == "16UC1; compressedDepth png"
    odd = write_bag(tmp_path / "odd", [("/c", 0, image(rgb, "unheard of"))])
    with pytest.raises(InvalidInputError, match=r"odd: expected .*/c \(.*/Image, unheard of, 1 mess"):
        find_topics(odd)
