"""Frames from files: a picture with the depth and the camera that lie beside it."""

from __future__ import annotations

from pathlib import Path

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.cameras import Camera
from ovseg_ros.files.depth import read_depth
from ovseg_ros.files.pictures import MAX_PIXELS, read_image


def read_frame(
    image: Path, depth: Path | None = None, camera: Camera | None = None, *, max_pixels: int = MAX_PIXELS
) -> Frame:
    """One picture, with depth and intrinsics where there are such.

    Args:
        image: see `pictures.read_image`.
        depth: see `depth.read_depth`; of the picture's size.
        camera: of the picture; without depth it is not needed and left out.
        max_pixels: larger pictures are refused.

    Raises:
        InvalidInputError: a file that cannot be read, depth of another size, or a camera of another shape.
    """
    image_rgb = read_image(image, max_pixels=max_pixels)
    if depth is None:
        return Frame(image_rgb)
    depth_m = read_depth(depth)
    if depth_m.shape != image_rgb.shape[:2]:
        raise InvalidInputError(
            f"want depth registered to {image}, {image_rgb.shape[1]}x{image_rgb.shape[0]}, got "
            f"{depth_m.shape[1]}x{depth_m.shape[0]} in {depth}"
        )
    return Frame(image_rgb, depth_m, None if camera is None else camera.at(depth_m.shape))
