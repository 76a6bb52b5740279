"""Which topics of a recording are chosen, by what their messages are."""

from __future__ import annotations

import pytest

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.recordings import COMPRESSED, IMAGE, INFO, Topic, choose_topics

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
    with pytest.raises(InvalidInputError, match="/left/image, /right/image; choose with --image-topic"):
        choose_topics(two)
    depths = [Topic(f"/{side}/depth", IMAGE, "32FC1") for side in ("a", "b")]
    with pytest.raises(InvalidInputError, match="--depth-topic"):
        choose_topics([*two[:1], *depths])
    with pytest.raises(InvalidInputError, match=r"colour images, it holds /a/depth \(32FC1\)"):
        choose_topics(depths[:1])
    with pytest.raises(InvalidInputError, match="no messages of such a type"):
        choose_topics([])
    with pytest.raises(InvalidInputError, match=r"--image-topic.*'/up/image'.*/left/image"):
        choose_topics(two, image="/up/image")
