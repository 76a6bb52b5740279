"""Whatever a driver puts into a CameraInfo gives the pinhole of its image, or is refused with a word."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
from hostile import any_text, camera_info, camera_infos, seeds
from hypothesis import strategies as st
from property_cases import answered, cases

from ovseg_ros.core.camera import camera_info_intrinsics, depth_remark, is_rectified
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import OvsegError

image_sizes = st.one_of(st.none(), st.tuples(*[st.sampled_from([1, 24, 48, 64, 96, 128])] * 2))


def is_a_camera(found: CameraIntrinsics | OvsegError) -> bool:
    numbers = () if isinstance(found, OvsegError) else (found.fx, found.fy, found.cx, found.cy)
    return isinstance(found, OvsegError) or (all(map(math.isfinite, numbers)) and found.fx > 0 < found.fy)


@cases(200, camera_infos(), image_sizes, st.booleans())
def test_any_message_is_a_camera_or_refused(message, size_hw, rectified):
    found = answered(lambda: camera_info_intrinsics(message, size_hw, rectified=rectified))
    assert is_a_camera(found)
    if size_hw is not None and not isinstance(found, OvsegError):
        assert (found.height, found.width) == size_hw


@cases(150, seeds, st.booleans(), st.sampled_from([1, 2, 3, 4]), st.sampled_from([0.5, 1, 2]))
def test_points_land_where_the_driver_sends_them(seed, rectified, binning, scale):
    """A point of the sensor, cut to the region, binned, and the image resized as a whole."""
    rng = np.random.default_rng(seed)
    point = np.array([*rng.uniform(-1, 1, 2), rng.uniform(1, 5)])
    k, p = (rng.uniform(100, 900, 4) for _ in range(2))
    x, y = (int(rng.integers(0, 5)) * 12 for _ in range(2))
    width, height = (int(rng.integers(1, 9)) * 24 * binning for _ in range(2))
    message = camera_info(
        width=x + width,
        height=y + height,
        k=[k[0], 0.0, k[2], 0.0, k[1], k[3], 0.0, 0.0, 1.0],
        p=[p[0], 0.0, p[2], 0.0, 0.0, p[1], p[3], 0.0, 0.0, 0.0, 1.0, 0.0],
        binning_x=binning,
        binning_y=binning,
        roi=SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height, do_rectify=False),
    )
    sent = width // binning, height // binning
    size = tuple(round(side * scale) for side in sent)
    found = camera_info_intrinsics(message, size[::-1], rectified=rectified)
    fx, fy, cx, cy = p if rectified else k
    on_sensor = np.array([fx * point[0] / point[2] + cx, fy * point[1] / point[2] + cy])
    in_image = (on_sensor - (x, y)) / binning
    if scale != 1 and size != (message.width, message.height):
        in_image = (in_image + 0.5) * scale - 0.5
    elif scale != 1:  # as large as the whole sensor: some drivers fill in a region and send everything
        in_image = on_sensor
    seen = np.array([found.fx, found.fy]) * point[:2] / point[2] + (found.cx, found.cy)
    np.testing.assert_allclose(seen, in_image, atol=1e-6)


@cases(50, any_text)
def test_any_topic_is_rectified_or_not(topic):
    assert is_rectified(topic) in (True, False)


@cases(80, seeds)
def test_any_depth_has_a_remark_or_none(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(0, 5, 2)
    depth = rng.choice([0.0, np.nan, np.inf, -1.0, 1e-6, 0.4, 5.0, 5000.0, 3e38], shape).astype(np.float32)
    assert isinstance(depth_remark(depth), str)
