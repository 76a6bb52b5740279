"""What people upload, turned into a frame: pictures of any kind, depth images, and a guess at the camera."""

from __future__ import annotations

import math
import re
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera import check_depth_scale, depth_remark
from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.cameras import numbers_in
from ovseg_ros.files.depth import read_depth
from ovseg_ros.files.pictures import opened, to_rgb

MIN_SIDE = 32
"""Pixels; nothing can be told apart in less."""

MAX_PIXELS = 50_000_000
"""More are refused before they are decoded."""

MAX_LONG_SIDE = 1280
"""Pixels; larger pictures are shrunk to it, as in the method's own demo. It bounds time and memory."""

DEFAULT_FIELD_OF_VIEW_DEG = 60.0

_CAMERA_CURE = (
    "expected four numbers, fx, fy, cx, cy in pixels of the uploaded image, for example 580, 580, 320, 240"
)


_SCALE = re.compile(r"[\s,;]*\bdepth_scale\b\s*[:=]?\s*(\S*)\s*$")


def read_frame(
    image_path: Path, depth_path: Path | None = None, field_of_view_deg: float | None = None, camera: str = ""
) -> tuple[Frame, list[str]]:
    """Reads one upload.

    Args:
        image_path: a picture in any format Pillow reads.
        depth_path: 16-bit PNG in millimetres, of the picture's size.
        field_of_view_deg: horizontal, in degrees; None takes `DEFAULT_FIELD_OF_VIEW_DEG`.
        camera: "fx, fy, cx, cy" in pixels of the picture; wins over the field of view unless blank. Behind
            it, or alone, "depth_scale 0.0001" may say how many metres one unit of the depth image is.

    Returns:
        The frame, at most `MAX_LONG_SIDE` long, and remarks for people about what was converted. Depth and
        intrinsics are None without a depth image.

    Raises:
        InvalidInputError: a file that is no picture, of a size or kind that cannot be used; depth that does
            not belong to the picture; a camera that cannot be read.
    """
    image_rgb, remarks = read_picture(image_path, depth_path)
    depth_m: npt.NDArray[np.float32] | None = None
    intrinsics: CameraIntrinsics | None = None
    if depth_path is not None:
        camera, depth_scale = split_scale(camera or "")
        size_hw = image_rgb.shape[0], image_rgb.shape[1]
        depth_m = read_registered_depth(depth_path, size_hw, depth_scale)
        intrinsics = read_camera(camera, field_of_view_deg, size_hw[1], size_hw[0])
        remarks += [remark for remark in [depth_remark(depth_m)] if remark]
    frame = Frame(image_rgb, depth_m, intrinsics)
    small = shrink(frame)
    if small is not frame:
        (height, width), (low, narrow) = frame.size_hw, small.size_hw
        remarks.append(f"shrunk from {width}x{height} to {narrow}x{low}")
    return small, remarks


def read_picture(path: Path, depth_path: Path | None = None) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """An uploaded picture as RGB (see `files.pictures`), and remarks about what was converted.

    Args:
        path: the picture.
        depth_path: depth that lies in its pixels: they are then taken as they are stored.

    Raises:
        InvalidInputError: not a picture, damaged, too small or too large, or pixels that are no colours.
    """
    cure = "shrink it first"
    grid_hw = None
    if depth_path is not None:
        depth_m = read_depth(depth_path, name="the depth image", max_pixels=MAX_PIXELS)
        grid_hw = depth_m.shape[0], depth_m.shape[1]
    with opened(path, name="the image", max_pixels=MAX_PIXELS, cure=cure) as picture:
        mode, (width, height), transparent = picture.mode, picture.size, picture.has_transparency_data
        if min(width, height) < MIN_SIDE:
            raise InvalidInputError(
                f"the image is too small, {width}x{height}: expected at least {MIN_SIDE} pixels each way"
            )
        if mode == "F":
            raise InvalidInputError(
                "expected an image of 8 or 16 bits per channel, got floating-point numbers; save it as "
                "PNG or JPEG"
            )
        pixels = to_rgb("the image", picture, grid_hw=grid_hw)
    remarks = []
    if mode.startswith("I"):
        remarks.append(
            "a 16-bit grey image was taken as a picture (a depth image belongs in the depth field)"
        )
    elif mode in ("1", "L", "LA", "La"):
        remarks.append("the image is grey: colour cannot help to tell things apart")
    if transparent:
        remarks.append("transparency was laid over white")
    return pixels, remarks


def split_scale(camera: str) -> tuple[str, float | None]:
    """What a person typed of the camera, and the depth_scale behind it; None: none is named.

    Raises:
        InvalidInputError: it is no scale.
    """
    found = _SCALE.search(camera)
    if found is None:
        return camera, None
    try:
        depth_scale = float(found[1])
    except ValueError as error:
        raise InvalidInputError(
            f"expected depth_scale and a number, metres per unit, got {found[1]!r:.60}"
        ) from error
    check_depth_scale(depth_scale)
    return camera[: found.start()], depth_scale


def read_registered_depth(
    path: Path, size_hw: tuple[int, int], depth_scale: float | None = None
) -> npt.NDArray[np.float32]:
    """An uploaded depth image (see `files.depth.read_depth`).

    Args:
        path: 16-bit PNG or TIFF in millimetres, or .npy.
        size_hw: of the picture it belongs to.
        depth_scale: metres per unit of its numbers, where they are in another unit.

    Returns:
        (H, W) float32 metres; 0, NaN and inf unknown.

    Raises:
        InvalidInputError: not a depth image, of another size, or no distance is known in it.
    """
    depth_m = read_depth(path, name="the depth image", depth_scale=depth_scale, max_pixels=MAX_PIXELS)
    if depth_m.shape != size_hw:
        raise InvalidInputError(
            f"the depth image is {depth_m.shape[1]}x{depth_m.shape[0]}, the image {size_hw[1]}x{size_hw[0]}; "
            "expected depth registered to the image, pixel by pixel"
        )
    if not (np.isfinite(depth_m) & (depth_m > 0)).any():
        raise InvalidInputError(
            "no distance is known in the depth image: expected millimetres, 0 where unknown"
        )
    return depth_m


def read_camera(text: str, field_of_view_deg: float | None, width: int, height: int) -> CameraIntrinsics:
    """The pinhole camera a person states, or one guessed from the field of view.

    The guess has square pixels and looks through the middle: fx = fy = W / (2 tan(field of view / 2)).

    Args:
        text: "fx, fy, cx, cy", blank for the guess.
        field_of_view_deg: horizontal; None takes `DEFAULT_FIELD_OF_VIEW_DEG`.
        width: of the picture.
        height: of the picture.

    Raises:
        InvalidInputError: not four numbers, a centre outside the picture, or a field of view outside
            10 to 170 degrees.
    """
    if not (text or "").strip():
        degrees = DEFAULT_FIELD_OF_VIEW_DEG if field_of_view_deg is None else float(field_of_view_deg)
        if not 10.0 <= degrees <= 170.0:
            raise InvalidInputError(f"expected a field of view of 10 to 170 degrees, got {degrees:g}")
        focal = width / (2.0 * math.tan(math.radians(degrees) / 2.0))
        return CameraIntrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, width, height)
    try:
        fx, fy, cx, cy = numbers_in(text)
    except ValueError as error:
        raise InvalidInputError(f"{_CAMERA_CURE}; got {text.strip()[:60]!r}") from error
    if not (0 < fx < math.inf and 0 < fy < math.inf and 0 <= cx <= width and 0 <= cy <= height):
        raise InvalidInputError(
            f"{_CAMERA_CURE}, with the centre inside the image of {width}x{height}; got {text.strip()[:60]!r}"
        )
    return CameraIntrinsics(fx, fy, cx, cy, width, height)


def shrink(frame: Frame, long_side: int = MAX_LONG_SIDE) -> Frame:
    """The frame at most `long_side` pixels long: image averaged, depth by nearest, intrinsics to match.

    Returns:
        The frame itself where it is small enough already.
    """
    height, width = frame.size_hw
    ratio = long_side / max(height, width)
    if ratio >= 1.0:
        return frame
    size = max(round(width * ratio), 1), max(round(height * ratio), 1)
    depth_m, camera = frame.depth_m, frame.intrinsics
    return Frame(
        cv2.resize(frame.image_rgb, size, interpolation=cv2.INTER_AREA).astype(np.uint8),
        None if depth_m is None else cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST),
        None if camera is None else camera.resized(*size),
        frame.stamp_ns,
        frame.frame_id,
    )
