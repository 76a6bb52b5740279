"""Frames from files: a picture with the depth and the camera that lie beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.cameras import Camera, as_intrinsics, read_camera
from ovseg_ros.files.depth import as_depth, read_depth
from ovseg_ros.files.pictures import MAX_PIXELS, as_image, read_image


def as_frame(
    image: Any, depth: Any = None, intrinsics: Any = None, *, depth_scale: float | None = None
) -> Frame:
    """A picture, with its depth and its camera, in any form that people have them in.

    Args:
        image: see `pictures.as_image`.
        depth: see `depth.as_depth`; of the picture's size.
        intrinsics: see `cameras.as_intrinsics`.
        depth_scale: metres per unit of the depth's numbers; None: what the camera's file says, else integers
            are millimetres, floats metres.

    Raises:
        InvalidInputError: see there; depth of another size than the picture, or a scale without depth.
    """
    if depth is None and depth_scale is not None:
        raise InvalidInputError(f"expected depth= beside depth_scale={depth_scale!r}, got none")
    if isinstance(intrinsics, str | Path):
        intrinsics = read_camera(intrinsics)
    scale = depth_scale
    if scale is None and isinstance(intrinsics, Camera):
        scale = intrinsics.depth_scale
    depth_m = None if depth is None else as_depth(depth, scale)
    grid_hw = None if depth_m is None else (depth_m.shape[0], depth_m.shape[1])
    image_rgb = np.array(
        as_image(image, grid_hw=grid_hw), order="C"
    )  # ours: a camera may fill its array again
    size_hw = image_rgb.shape[:2]
    if depth_m is not None and depth_m.shape != size_hw:
        raise InvalidInputError(
            f"expected depth of the image's size (H,W) = {size_hw}, registered to it pixel by pixel, got "
            f"{depth_m.shape}"
        )
    return Frame(image_rgb, depth_m, None if intrinsics is None else as_intrinsics(intrinsics, size_hw))


def read_frame(
    image: Path,
    depth: Path | None = None,
    camera: Camera | None = None,
    *,
    depth_scale: float | None = None,
    grid_hw: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Frame:
    """One picture, with depth and intrinsics where there are such.

    Args:
        image: see `pictures.read_image`.
        depth: see `depth.read_depth`; of the picture's size.
        camera: of the picture; without depth it is not needed and left out.
        depth_scale: metres per unit of the depth's numbers; None: what the camera's file says, else integers
            are millimetres, floats metres.
        grid_hw: size of what else lies in the picture's pixels, see `pictures.read_image`; depth has its own.
        max_pixels: larger pictures are refused.

    Raises:
        InvalidInputError: a file that cannot be read, depth of another size, or a camera of another shape.
    """
    if depth is None:
        return Frame(read_image(image, grid_hw=grid_hw, max_pixels=max_pixels))
    if depth_scale is None and camera is not None:
        depth_scale = camera.depth_scale
    depth_m = read_depth(depth, depth_scale=depth_scale, max_pixels=max_pixels)
    grid_hw = (depth_m.shape[0], depth_m.shape[1])
    image_rgb = read_image(image, grid_hw=grid_hw, max_pixels=max_pixels)
    if depth_m.shape != image_rgb.shape[:2]:
        raise InvalidInputError(
            f"expected depth registered to {image}, {image_rgb.shape[1]}x{image_rgb.shape[0]}, got "
            f"{depth_m.shape[1]}x{depth_m.shape[0]} in {depth}"
        )
    return Frame(image_rgb, depth_m, None if camera is None else camera.at(depth_m.shape))
