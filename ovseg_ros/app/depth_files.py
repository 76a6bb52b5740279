"""Depth and camera beside pictures: what an RGB-D camera's driver would have sent, from files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from ovseg_ros.core.frame import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError

DEPTH_SUFFIXES = (".png", ".npy", ".tif", ".tiff")
"""Tried in this order beside a picture's name."""


def find_depth(depth: Path, image: Path, below: Path) -> Path:
    """The depth file of one picture.

    Args:
        depth: a file, which is the depth of every picture, or a folder of files with the pictures' names.
        image: the picture.
        below: its path within the folder it was found in, or its bare name; looked for first.

    Raises:
        InvalidInputError: not there; the message lists the names that were tried.
    """
    if depth.is_file():
        return depth
    stems = dict.fromkeys((depth / below.with_suffix(""), depth / image.stem))
    tried = [stem.with_name(stem.name + suffix) for stem in stems for suffix in DEPTH_SUFFIXES]
    for file in tried:
        if file.is_file():
            return file
    names = ", ".join(str(file.relative_to(depth)) for file in tried)
    raise InvalidInputError(f"want depth of {image} in {depth}, none of {names} is there")


def read_depth(path: Path) -> npt.NDArray[np.float32]:
    """Depth registered to a picture as (H, W) float32 metres; 0, NaN and inf mean unknown.

    Args:
        path: 16-bit grey PNG or TIFF in millimetres, or .npy: integers are millimetres, floats metres.

    Raises:
        InvalidInputError: not there, damaged, or of another form; the message names the file.
    """
    if not path.is_file():
        raise InvalidInputError(f"want depth from {path}, it is not there")
    if path.suffix.lower() == ".npy":
        values = _load_array(path)
    else:
        data = np.fromfile(path, dtype=np.uint8)
        values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        if values is None:
            raise InvalidInputError(f"the depth image {path} cannot be read: empty, damaged or not an image")
    if values.ndim != 2 or values.size == 0:
        raise InvalidInputError(f"want depth (H,W) in {path}, got an array of shape {values.shape}")
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 2:
        raise InvalidInputError(
            f"want depth as 16-bit millimetres or as floats in metres, {path} holds {values.dtype}"
        )
    return values.astype(np.float32) / np.float32(1000)


def _load_array(path: Path) -> npt.NDArray[Any]:
    try:
        loaded: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInputError(f"the depth array {path} cannot be read: {error}") from error
    return loaded


def read_intrinsics(text: str) -> tuple[Sequence[float], tuple[int, int] | None]:
    """What `--intrinsics` names: `fx,fy,cx,cy` in pixels, or a YAML file.

    The YAML is what `camera_calibration` writes (image_width, image_height, camera_matrix) or one message of
    `ros2 topic echo .../camera_info` (width, height, k).

    Returns:
        (fx, fy, cx, cy), and the (width, height) they were measured at where the file says it.

    Raises:
        InvalidInputError: neither of both, or numbers that are no camera's.
    """
    path = Path(text).expanduser()
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        numbers, size_wh = _camera_file(path)
    else:
        numbers, size_wh = text.replace(",", " ").split(), None
    try:
        fx, fy, cx, cy = map(float, numbers)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"want --intrinsics fx,fy,cx,cy (four numbers, pixels) or a camera_info YAML file, got {text!r}"
        ) from error
    if not (fx > 0 and fy > 0 and all(map(math.isfinite, (fx, fy, cx, cy)))):
        raise InvalidInputError(f"want focal lengths > 0 in {text!r}, got fx={fx}, fy={fy}, cx={cx}, cy={cy}")
    return (fx, fy, cx, cy), size_wh


def _camera_file(path: Path) -> tuple[Sequence[Any], tuple[int, int] | None]:
    try:
        # `ros2 topic echo` ends each message with "---": the first document is the message
        content = next(iter(yaml.safe_load_all(path.read_text(encoding="utf-8"))), None)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"the camera file {path} cannot be read: {error}") from error
    content = content if isinstance(content, Mapping) else {}
    matrix = content.get("k") or content.get("K") or content.get("camera_matrix")
    matrix = matrix.get("data") if isinstance(matrix, Mapping) else matrix
    if not isinstance(matrix, Sequence) or len(matrix) != 9:
        raise InvalidInputError(
            f"want a 3x3 camera matrix (k, or camera_matrix: data) in {path}, got {matrix!r}"
        )
    width = content.get("width", content.get("image_width"))
    height = content.get("height", content.get("image_height"))
    known = isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0
    return [matrix[i] for i in (0, 4, 2, 5)], (width, height) if known else None


def camera_of(
    numbers: Sequence[float], measured_wh: tuple[int, int] | None, size_hw: tuple[int, int]
) -> CameraIntrinsics:
    """The intrinsics for a picture of `size_hw`, scaled from the size they were measured at if it is known.

    Raises:
        InvalidInputError: the picture has another shape than the camera's images.
    """
    height, width = size_hw
    scale_x = scale_y = 1.0
    if measured_wh is not None:
        scale_x, scale_y = width / measured_wh[0], height / measured_wh[1]
        if abs(scale_x - scale_y) > 0.01 * max(scale_x, scale_y):
            raise InvalidInputError(
                f"want a picture of the camera's shape, {measured_wh[0]}x{measured_wh[1]}, got "
                f"{width}x{height}"
            )
    fx, fy, cx, cy = numbers
    cx, cy = (cx + 0.5) * scale_x - 0.5, (cy + 0.5) * scale_y - 0.5  # a pixel's centre has whole coordinates
    return CameraIntrinsics(fx * scale_x, fy * scale_y, cx, cy, width, height)
