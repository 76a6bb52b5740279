"""CameraInfo as image_geometry reads it, against points that are projected, cropped and binned by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ovseg_ros.core.camera import camera_info_intrinsics, is_rectified
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError

K = (500.0, 510.0, 320.5, 240.25)
P = (450.0, 460.0, 310.0, 230.0)


def info(width=640, height=480, *, k=K, p=(0, 0, 0, 0), binning=(0, 0), roi=(0, 0, 0, 0)):
    """The fields of sensor_msgs/CameraInfo; `roi` is x, y, width, height."""
    return SimpleNamespace(
        width=width,
        height=height,
        k=np.array([k[0], 0, k[2], 0, k[1], k[3], 0, 0, 1]),
        p=np.array([p[0], 0, p[2], -3, 0, p[1], p[3], 0, 0, 0, 1, 0]),
        binning_x=binning[0],
        binning_y=binning[1],
        roi=SimpleNamespace(x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3], do_rectify=False),
    )


def by_hand(point, k, roi, binning):
    """Where a point (x, y, z) lies: on the sensor, then in its part, then in pixels of `binning` of them."""
    u, v = k[0] * point[0] / point[2] + k[2], k[1] * point[1] / point[2] + k[3]
    return (u - roi[0]) / max(binning[0], 1), (v - roi[1]) / max(binning[1], 1)


def seen(point, camera):
    x, y, z = point
    return camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy


@pytest.mark.parametrize(
    ("binning", "roi", "size_hw"),
    [
        ((0, 0), (0, 0, 0, 0), (480, 640)),
        ((1, 1), (0, 0, 640, 480), (480, 640)),
        ((2, 2), (0, 0, 0, 0), (240, 320)),
        ((2, 4), (0, 0, 0, 0), (120, 320)),
        ((0, 0), (100, 50, 200, 120), (120, 200)),
        ((0, 0), (100, 50, 0, 0), (430, 540)),  # an offset alone: up to the sensor's edge
        ((2, 3), (100, 51, 200, 120), (40, 100)),
        ((3, 3), (0, 0, 0, 0), (160, 213)),  # 640 is no multiple of 3
    ],
)
@pytest.mark.parametrize("rectified", [False, True])
def test_points_fall_where_crop_and_binning_put_them(binning, roi, size_hw, rectified):
    message = info(p=P, binning=binning, roi=roi)
    camera = camera_info_intrinsics(message, size_hw, rectified=rectified)
    assert (camera.height, camera.width) == size_hw
    assert camera == camera_info_intrinsics(message, rectified=rectified)  # as large as the message says
    for point in ((0.1, -0.2, 1.5), (-0.7, 0.3, 2.0), (0, 0, 1)):
        wanted = by_hand(point, P if rectified else K, roi, binning)
        np.testing.assert_allclose(seen(point, camera), wanted, rtol=1e-12)


def test_an_image_of_another_size_and_the_same_shape_was_resized():
    camera = camera_info_intrinsics(info(), (240, 320))
    assert camera == CameraIntrinsics(*K, 640, 480).resized(320, 240)
    assert camera_info_intrinsics(info(binning=(2, 2)), (120, 160)) == camera_info_intrinsics(
        info(binning=(2, 2))
    ).resized(160, 120)
    # within half a pixel of what binning by as much gives
    binned = camera_info_intrinsics(info(binning=(2, 2)), (240, 320))
    assert abs(binned.cx - camera.cx) < 0.5
    assert abs(binned.cy - camera.cy) < 0.5


@pytest.mark.parametrize("more", [{"binning": (2, 2)}, {"roi": (100, 50, 200, 120)}])
def test_the_whole_image_is_seen_by_the_whole_k(more):
    """Drivers fill in roi and binning and send the whole image all the same."""
    assert camera_info_intrinsics(info(**more), (480, 640)) == CameraIntrinsics(*K, 640, 480)


@pytest.mark.parametrize("size_wh", [(0, 0), (640, 0), (0, 480)])
def test_a_size_that_the_driver_left_out_is_the_images(size_wh):
    assert camera_info_intrinsics(info(*size_wh), (4, 6)) == CameraIntrinsics(*K, 6, 4)
    assert camera_info_intrinsics(info(*size_wh)) == CameraIntrinsics(*K, 0, 0)
    binned = camera_info_intrinsics(info(*size_wh, binning=(2, 2)), (4, 6))
    assert binned == CameraIntrinsics(250, 255, 160.25, 120.125, 6, 4)
    cropped = info(*size_wh, roi=(2, 1, 6, 4))
    assert camera_info_intrinsics(cropped, (4, 6)) == CameraIntrinsics(500, 510, 318.5, 239.25, 6, 4)
    with pytest.raises(InvalidInputError, match="100x400, got 6x4"):
        camera_info_intrinsics(cropped, (400, 100))


NEVER = (0.0, 0.0, 0.0, 0.0)


def test_p_is_taken_for_rectified_images_and_where_k_is_0():
    assert camera_info_intrinsics(info(p=P)).fx == K[0]
    assert camera_info_intrinsics(info(p=P), rectified=True) == CameraIntrinsics(*P, 640, 480)
    assert camera_info_intrinsics(info(), rectified=True).fx == K[0]  # P is 0
    for k in (NEVER, (np.nan, 510, 320, 240), (500, 510, np.inf, 240), (-500, 510, 320, 240)):
        assert camera_info_intrinsics(info(k=k, p=P)) == CameraIntrinsics(*P, 640, 480)
    for p in ((np.nan, 460, 310, 230), (450, 0, 310, 230)):
        assert camera_info_intrinsics(info(p=p), rectified=True).fx == K[0]


@pytest.mark.parametrize(
    ("message", "size_hw", "reason"),
    [
        (info(k=NEVER), (480, 640), r"the camera was never calibrated \(K is 0\); calibrate it"),
        (info(k=(np.nan, 5, 5, 5)), None, "focal lengths > 0 in K, got fx=nan"),
        (info(k=(5, 5, 5, np.inf)), None, "cy=inf"),
        (info(k=(5, 0, 5, 5), p=(0, 5, 5, 5)), None, "fy=0"),
        (info(), (480, 848), "image's shape, 848x480, got 640x480; take the camera_info of"),
        (info(roi=(0, 0, 100, 100)), (50, 25), r"25x50, got 100x100 \(640x480 by its roi and binning\)"),
        (info(binning=(2**31, 2**31)), (50, 25), "25x50, got 0x0"),
    ],
)
def test_what_is_no_camera_of_the_image_is_refused(message, size_hw, reason):
    with pytest.raises(InvalidInputError, match=reason):
        camera_info_intrinsics(message, size_hw)


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("/camera/color/image_rect_raw", True),
        ("/camera/image_rect", True),
        ("image_rect_color", True),
        ("/camera/image_rect/compressed", True),
        ("/camera/depth/image_rect_raw/compressedDepth", True),
        ("/zed/zed_node/rgb/color/rect/image", True),
        ("/stereo/left/image_rectified", True),
        ("/camera_rect/image", True),
        ("/camera_rect/image_raw", False),
        ("/camera/image_raw", False),
        ("/camera/image_unrectified", False),
        ("/rect/camera/image", False),
        ("/camera/rectangle", False),
        ("/direct/image", False),
        ("", False),
        ("/compressed", False),
    ],
)
def test_rectified_images_are_known_by_their_topic(topic, said):
    assert is_rectified(topic) is said


def test_a_number_that_is_no_longer_finite_where_the_image_is_resized():
    message = info(64, 48, k=(525.0, 525.0, 31.5, 1e308))
    assert camera_info_intrinsics(message, (48, 64)).cy == 1e308
    with pytest.raises(InvalidInputError, match=r"expected finite intrinsics, got .*cy=inf"):
        camera_info_intrinsics(message, (96, 128))


@pytest.mark.parametrize("cx", [np.inf, np.nan])
def test_intrinsics_are_finite(cx):
    with pytest.raises(InvalidInputError, match=r"expected finite intrinsics, got fx=500\.0"):
        CameraIntrinsics(500.0, 500.0, cx, 24.0, 64, 48)
