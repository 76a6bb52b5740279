"""Cameras: four numbers, a calibration or a recorded message, as intrinsics of a picture."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera import camera_info_intrinsics, check_depth_scale
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.texts import read_json
from ovseg_ros.files.yaml_texts import read_yaml

_NAMES = ("fx", "fy", "cx", "cy")
_ROI = ("x_offset", "y_offset", "width", "height")


class Camera(NamedTuple):
    """Intrinsics before it is known which picture they are for.

    Attributes:
        info: with the fields of a CameraInfo, for `core.camera.camera_info_intrinsics`; width and height are
            0 where the numbers are those of the picture that they are used for.
        depth_scale: metres per unit of the depth that belongs to it; None: not said.
    """

    info: SimpleNamespace
    depth_scale: float | None = None

    @classmethod
    def of(cls, numbers: Sequence[float], measured_wh: tuple[int, int] = (0, 0)) -> Camera:
        """From fx, fy, cx, cy in pixels, measured on images of (width, height)."""
        fx, fy, cx, cy = numbers
        return cls(_info(measured_wh, k=(fx, 0, cx, 0, fy, cy, 0, 0, 1)))

    def at(self, size_hw: tuple[int, int], *, rectified: bool = False) -> CameraIntrinsics:
        """The intrinsics for a picture of `size_hw`, scaled where the size they were measured at is known.

        Args:
            size_hw: (H, W) of the picture.
            rectified: whether it is, and P is to be taken where the camera has one.

        Raises:
            InvalidInputError: the picture has another shape than the camera's images.
        """
        return camera_info_intrinsics(self.info, size_hw, rectified=rectified)


def as_intrinsics(
    given: CameraIntrinsics | Camera | str | Path | Sequence[float] | npt.NDArray[Any],
    size_hw: tuple[int, int],
    *,
    rectified: bool = False,
) -> CameraIntrinsics:
    """A camera in any form that people have it in, as intrinsics of a picture of `size_hw`.

    Args:
        given: intrinsics, or what `read_camera` gave, both scaled from the size they were measured at; text
            or a file, see `read_camera`; (fx, fy, cx, cy), or a matrix (3, 3), in pixels of the picture.
        size_hw: (H, W) of the picture.
        rectified: see `Camera.at`.

    Raises:
        InvalidInputError: none of these, numbers that are no camera's, or a picture of another shape.
    """
    if isinstance(given, CameraIntrinsics):
        numbers = [getattr(given, name) for name in _NAMES]
        return Camera.of(numbers, (given.width, given.height)).at(size_hw)
    if isinstance(given, str | Path):
        given = read_camera(given)
    if isinstance(given, Camera):
        return given.at(size_hw, rectified=rectified)
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"expected fx, fy, cx, cy or a 3x3 camera matrix, got {given!r}") from error
    if values.shape not in ((4,), (3, 3)):
        raise InvalidInputError(
            f"expected fx, fy, cx, cy or a 3x3 camera matrix, got the shape {values.shape}"
        )
    if values.shape == (3, 3):
        values = values.flat[[0, 4, 2, 5]]
    return Camera.of(_checked(values.tolist(), given)).at(size_hw)


def read_camera(source: str | Path) -> Camera:
    """`fx,fy,cx,cy` in pixels, or a YAML or JSON file.

    The file is what `camera_calibration` writes (image_width, image_height, camera_matrix,
    projection_matrix), one message of `ros2 topic echo .../camera_info` (width, height, k, p, binning_x,
    roi …), both read as a CameraInfo, or fx, fy, cx, cy, width and height by name. Beside them may stand
    depth_scale, metres per unit of the depth that belongs to this camera.

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
            "expected intrinsics fx,fy,cx,cy (four numbers, pixels) or a camera_info YAML file, got "
            f"{str(source)!r}"
        ) from error
    return Camera.of(_checked(numbers, source))


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
            f"expected focal lengths > 0 in {str(source)!r}, got fx={fx}, fy={fy}, cx={cx}, cy={cy}"
        )
    return numbers


def _read_file(path: Path) -> Camera:
    # `ros2 topic echo` ends each message with "---": the first document is the message
    is_json = path.suffix.lower() == ".json"
    if is_json:
        content = read_json(path, refuse=_refusal)
    else:
        content = read_yaml(path, refuse=_refusal, first=True, finite=False)
    content = content if isinstance(content, Mapping) else {}
    k, p = _matrix(content, "k", "camera_matrix", 9), _matrix(content, "p", "projection_matrix", 12)
    if k is None and p is None:
        fx, fy, cx, cy = (content.get(name) for name in _NAMES)
        k = [fx, 0, cx, 0, fy, cy, 0, 0, 1]
    roi = content.get("roi")
    try:
        size = (
            content.get("width", content.get("image_width")),
            content.get("height", content.get("image_height")),
        )
        binning = content.get("binning_x"), content.get("binning_y")
        part = roi if isinstance(roi, Mapping) else {}
        info = _info(
            (int(size[0] or 0), int(size[1] or 0)),
            k=[float(value) for value in k or [0] * 9],
            p=[float(value) for value in p or [0] * 12],
            binning=(int(binning[0] or 0), int(binning[1] or 0)),
            roi={name: int(part.get(name) or 0) for name in _ROI},
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"expected fx, fy, cx, cy or a 3x3 camera matrix (k, or camera_matrix: data) in {path}, and "
            f"whole numbers for sizes, binning and roi, got {reprlib.repr(k if p is None else (k, p))}"
        ) from error
    if (scale := content.get("depth_scale")) is not None:
        check_depth_scale(scale)
    try:
        camera_info_intrinsics(info)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error
    return Camera(info, scale)


def _refusal(problem: str) -> InvalidInputError:
    return InvalidInputError(f"the camera file {problem}")


def _matrix(content: Mapping[str, Any], name: str, calibrated: str, count: int) -> Sequence[Any] | None:
    """A matrix of a message, `name` or in ROS 1's capitals, or of a calibration; None: it has none."""
    matrix = content.get(name) or content.get(name.upper()) or content.get(calibrated)
    matrix = matrix.get("data") if isinstance(matrix, Mapping) else matrix
    return matrix if isinstance(matrix, Sequence) and len(matrix) == count else None


def _info(
    size_wh: tuple[int, int],
    *,
    k: Sequence[float],
    p: Sequence[float] = (0,) * 12,
    binning: tuple[int, int] = (0, 0),
    roi: Mapping[str, int] | None = None,
) -> SimpleNamespace:
    """The fields of a CameraInfo."""
    return SimpleNamespace(
        width=size_wh[0],
        height=size_wh[1],
        k=tuple(k),
        p=tuple(p),
        binning_x=binning[0],
        binning_y=binning[1],
        roi=SimpleNamespace(**(roi or dict.fromkeys(_ROI, 0))),
    )
