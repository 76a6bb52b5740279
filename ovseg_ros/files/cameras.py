"""Cameras: four numbers, a calibration or a recorded message, as intrinsics of a picture."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import yaml

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError

_NAMES = ("fx", "fy", "cx", "cy")


class Camera(NamedTuple):
    """Intrinsics before it is known which picture they are for.

    Attributes:
        numbers: fx, fy, cx, cy in pixels.
        measured_wh: (width, height) of the images they were measured at; None: those they are used for.
    """

    numbers: Sequence[float]
    measured_wh: tuple[int, int] | None = None

    def at(self, size_hw: tuple[int, int]) -> CameraIntrinsics:
        """The intrinsics for a picture of `size_hw`, scaled where the size they were measured at is known.

        Raises:
            InvalidInputError: the picture has another shape than the camera's images.
        """
        height, width = size_hw
        fx, fy, cx, cy = self.numbers
        if self.measured_wh is None:
            return CameraIntrinsics(fx, fy, cx, cy, width, height)
        scale_x, scale_y = width / self.measured_wh[0], height / self.measured_wh[1]
        if abs(scale_x - scale_y) > 0.01 * max(scale_x, scale_y):
            raise InvalidInputError(
                f"want a picture of the camera's shape, {self.measured_wh[0]}x{self.measured_wh[1]}, got "
                f"{width}x{height}"
            )
        return CameraIntrinsics(fx, fy, cx, cy, *self.measured_wh).resized(width, height)


def as_intrinsics(
    given: CameraIntrinsics | Camera | str | Path | Sequence[float] | npt.NDArray[Any],
    size_hw: tuple[int, int],
) -> CameraIntrinsics:
    """A camera in any form that people have it in, as intrinsics of a picture of `size_hw`.

    Args:
        given: intrinsics, or what `read_camera` gave, both scaled from the size they were measured at; text
            or a file, see `read_camera`; (fx, fy, cx, cy), or a matrix (3, 3), in pixels of the picture.
        size_hw: (H, W) of the picture.

    Raises:
        InvalidInputError: none of these, numbers that are no camera's, or a picture of another shape.
    """
    if isinstance(given, CameraIntrinsics):
        numbers = [getattr(given, name) for name in _NAMES]
        return Camera(numbers, (given.width, given.height)).at(size_hw)
    if isinstance(given, str | Path):
        given = read_camera(given)
    if isinstance(given, Camera):
        return given.at(size_hw)
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"want fx, fy, cx, cy or a 3x3 camera matrix, got {given!r}") from error
    if values.shape not in ((4,), (3, 3)):
        raise InvalidInputError(f"want fx, fy, cx, cy or a 3x3 camera matrix, got the shape {values.shape}")
    if values.shape == (3, 3):
        values = values.flat[[0, 4, 2, 5]]
    return Camera(_checked(values.tolist(), given)).at(size_hw)


def read_camera(source: str | Path) -> Camera:
    """`fx,fy,cx,cy` in pixels, or a YAML or JSON file.

    The file is what `camera_calibration` writes (image_width, image_height, camera_matrix), one message of
    `ros2 topic echo .../camera_info` (width, height, k), or fx, fy, cx, cy, width and height by name.

    Raises:
        InvalidInputError: neither of both, or numbers that are no camera's.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        return _read_file(path)
    try:
        numbers = numbers_in(str(source))
    except ValueError as error:
        raise InvalidInputError(
            "want intrinsics fx,fy,cx,cy (four numbers, pixels) or a camera_info YAML file, got "
            f"{str(source)!r}"
        ) from error
    return Camera(_checked(numbers, source))


def numbers_in(text: str) -> tuple[float, float, float, float]:
    """The four numbers of a text, between commas, semicolons or blanks, in brackets or not.

    Raises:
        ValueError: it is not four numbers.
    """
    fx, fy, cx, cy = (float(part) for part in re.split(r"[\s,;]+", text.strip(" \t\n[]()")))
    return fx, fy, cx, cy


def _checked(numbers: Sequence[float], source: object) -> Sequence[float]:
    fx, fy, cx, cy = numbers
    if not (fx > 0 and fy > 0 and all(map(math.isfinite, numbers))):
        raise InvalidInputError(
            f"want focal lengths > 0 in {str(source)!r}, got fx={fx}, fy={fy}, cx={cx}, cy={cy}"
        )
    return numbers


def _read_file(path: Path) -> Camera:
    try:
        # `ros2 topic echo` ends each message with "---": the first document is the message
        content = next(iter(yaml.safe_load_all(path.read_text(encoding="utf-8"))), None)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInputError(f"the camera file {path} cannot be read: {error}") from error
    content = content if isinstance(content, Mapping) else {}
    matrix = content.get("k") or content.get("K") or content.get("camera_matrix")
    matrix = matrix.get("data") if isinstance(matrix, Mapping) else matrix
    if isinstance(matrix, Sequence) and len(matrix) == 9:
        found = [matrix[i] for i in (0, 4, 2, 5)]
    else:
        found = [content.get(name) for name in _NAMES]
    try:
        fx, fy, cx, cy = map(float, found)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"want fx, fy, cx, cy or a 3x3 camera matrix (k, or camera_matrix: data) in {path}, got "
            f"{matrix if matrix is not None else found!r}"
        ) from error
    width = content.get("width", content.get("image_width"))
    height = content.get("height", content.get("image_height"))
    known = isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0
    return Camera(_checked((fx, fy, cx, cy), path), (width, height) if known else None)
