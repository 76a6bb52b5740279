"""Images of a recording with the depth and the camera_info that belong to them."""

from __future__ import annotations

import numpy as np
import pytest
from bag_fixtures import camera_info, compressed, image, write_bag

from ovseg_ros.files.recordings import find_topics, read_bag_frames

COLOUR, DEPTH, CAMERA = (
    "/cam/color/image_raw",
    "/cam/aligned_depth_to_color/image_raw",
    "/cam/color/camera_info",
)


def shades(frames):
    """What `camera` wrote into each frame's corner, and its depth in metres."""
    loaded = [frame.load() for frame in frames]
    return [
        (int(f.image_rgb[0, 0, 0]), None if f.depth_m is None else round(float(f.depth_m[0, 0]), 3))
        for f in loaded
    ]


def shot(number, stamp_s):
    return image(np.full((4, 4, 3), number, np.uint8), "rgb8", stamp_s)


def depth_shot(mm, stamp_s):
    return image(np.full((4, 4), mm, np.uint16), "16UC1", stamp_s)


@pytest.mark.parametrize("depth_first", [True, False])
def test_depth_is_paired_by_stamp_whatever_the_order(tmp_path, depth_first):
    messages = []
    for i in range(5):
        pair = [(COLOUR, i + 0.1, shot(i, 10 + i)), (DEPTH, i + 0.2, depth_shot(1000 + i, 10.005 + i))]
        messages += [
            (topic, i + 0.1 * j, m) for j, (topic, _, m) in enumerate(pair[::-1] if depth_first else pair)
        ]
    del messages[6 if depth_first else 7]  # the fourth has no depth
    path = write_bag(tmp_path / "bag", messages)
    chosen, count = find_topics(path)
    assert count == 5
    pairs = [(0, 1.0), (1, 1.001), (2, 1.002), (3, None), (4, 1.004)]
    assert shades(read_bag_frames(path, chosen)) == pairs
    assert shades(read_bag_frames(path, chosen, every=2)) == pairs[::2]
    assert shades(read_bag_frames(path, chosen, tolerance_s=0.001)) == [(i, None) for i in range(5)]
    assert [f.stamp_ns for f in read_bag_frames(path, chosen)] == [10**9 * (10 + i) for i in range(5)]


def test_the_nearest_depth_wins_and_late_depth_still_comes(tmp_path):
    messages = [
        (DEPTH, 0.0, depth_shot(1, 0.985)),
        (DEPTH, 0.1, depth_shot(2, 0.995)),
        (COLOUR, 0.2, shot(7, 1.0)),
        (COLOUR, 0.3, shot(8, 1.1)),
        (DEPTH, 0.6, depth_shot(3, 1.015)),
        (DEPTH, 0.7, depth_shot(4, 1.101)),
    ]
    path = write_bag(tmp_path / "bag", messages)
    assert shades(read_bag_frames(path, find_topics(path)[0])) == [(7, 0.002), (8, 0.004)]


def test_images_without_stamps_take_the_recordings_time(tmp_path):
    messages = [(COLOUR, 5 + i, shot(i, 0)) for i in range(2)] + [(DEPTH, 6.001, depth_shot(9, 0))]
    path = write_bag(tmp_path / "bag", messages)
    frames = list(read_bag_frames(path, find_topics(path)[0]))
    assert [frame.stamp_ns for frame in frames] == [5 * 10**9, 6 * 10**9]
    assert shades(frames) == [(0, None), (1, 0.009)]


def test_what_waits_stays_small(tmp_path):
    messages = [(COLOUR, 0.001 * i, shot(i % 250, 1 + i)) for i in range(200)]
    messages += [(DEPTH, 0.5 + 0.001 * i, depth_shot(1, 1000 + i)) for i in range(200)]
    path = write_bag(tmp_path / "bag", messages)
    read = 0
    for frame in read_bag_frames(path, find_topics(path)[0]):
        read += 1
        assert not frame.has_depth
    assert read == 200


def test_intrinsics_may_come_late_and_change(tmp_path):
    messages = [
        (COLOUR, 0, shot(0, 1)),
        (CAMERA, 1, camera_info(fx=0.0)),
        (CAMERA, 2, camera_info(fx=50.0, size_wh=(4, 4))),
        (COLOUR, 3, shot(1, 4)),
        (CAMERA, 4, camera_info(fx=60.0, size_wh=(4, 4))),
        (COLOUR, 5, shot(2, 6)),
    ]
    path = write_bag(tmp_path / "bag", messages)
    frames = [frame.load() for frame in read_bag_frames(path, find_topics(path)[0])]
    assert [frame.intrinsics.fx for frame in frames] == [50.0, 50.0, 60.0]
    assert frames[0].frame_id == "camera"


def test_compressed_colour_and_depth_are_decoded(tmp_path):
    colour = compressed(np.full((4, 4, 3), (10, 20, 30), np.uint8), "png")
    depth = compressed(np.full((4, 4), 1500, np.uint16), "16UC1; compressedDepth png", before=b"\0" * 12)
    topics = (f"{COLOUR}/compressed", f"{DEPTH}/compressedDepth")
    path = write_bag(tmp_path / "bag", [(topics[0], 0, colour), (topics[1], 0.001, depth)])
    (frame,) = (frame.load() for frame in read_bag_frames(path, find_topics(path)[0]))
    assert frame.image_rgb[0, 0].tolist() == [30, 20, 10]
    assert frame.depth_m[3, 3] == 1.5
