"""Point clouds as messages: by sensor_msgs_py where it is installed, else the same bytes by ours.

sensor_msgs_py comes with a ROS installation and is not on PyPI.
"""

from __future__ import annotations

import array
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from ovseg_ros.core.camera import write_cloud
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.ros.io.images import give_data

if TYPE_CHECKING:
    from ovseg_ros.ros.io.context import MessageContext

try:
    from sensor_msgs_py import point_cloud2
except ImportError:
    point_cloud2 = None

Fields = tuple[tuple[str, int, int], ...]  # name, offset in bytes, datatype

XYZ: Fields = tuple((name, 4 * i, PointField.FLOAT32) for i, name in enumerate("xyz"))
LABELLED: Fields = (
    *XYZ,
    ("rgb", 12, PointField.FLOAT32),  # as PCL packs it
    ("label", 16, PointField.UINT16),
    ("instance", 18, PointField.UINT16),
)
_FLOATS = {PointField.FLOAT32: "f4", PointField.FLOAT64: "f8"}


def xyz_cloud(header: Any, points: np.ndarray) -> PointCloud2:
    """(M, 3) points in metres, in the header's frame, as a cloud of one row: float32 fields x, y, z."""
    message = _blank(header, XYZ, (1, len(points)))
    _values(message)[0] = points
    return message


def read_xyz(message: PointCloud2) -> np.ndarray:
    """The points of a cloud, organised or not, row by row as (M, 3) float32; other fields are left out.

    Raises:
        InvalidInputError: x, y or z is not there as a floating-point number, or there are too few bytes.
    """
    kinds = {field.name: field.datatype for field in message.fields}
    if not all(kinds.get(name) in _FLOATS for name in "xyz"):
        raise InvalidInputError(
            f"expected a cloud with the floating-point fields x, y and z, got "
            f"{', '.join(kinds) or 'no fields'}"
        )
    count = message.width * message.height
    if len(message.data) < count * message.point_step:
        raise InvalidInputError(
            f"expected {count} points of {message.point_step} bytes, got {len(message.data)} bytes in all"
        )
    if point_cloud2 is not None:
        points = point_cloud2.read_points(message, field_names=list("xyz"))
    else:
        order = ">" if message.is_bigendian else "<"
        fields = [field for field in message.fields if field.name in ("x", "y", "z")]
        layout = {
            "names": [field.name for field in fields],
            "formats": [order + _FLOATS[field.datatype] for field in fields],
            "offsets": [field.offset for field in fields],
            "itemsize": message.point_step,
        }
        points = np.ndarray(count, np.dtype(layout), message.data)
    return np.stack([points[name] for name in "xyz"], axis=-1).astype(np.float32)


class CloudMaker:
    """Makes organised clouds: x y z in metres, rgb, label, instance; NaN: unknown.

    The message of the last cloud (18 MB at 1280x720) is written over: it holds until the next is made.
    """

    def __init__(self) -> None:
        self._message = PointCloud2()

    def message(self, context: MessageContext) -> PointCloud2:
        """The cloud of a labelled image with depth."""
        message, frame = self._message, context.segmentation.frame
        if (message.height, message.width) != context.size_hw:
            message = self._message = _blank(context.header, LABELLED, context.size_hw)
        message.header = context.header
        write_cloud(
            _values(message),
            frame.depth_m,
            frame.intrinsics,
            frame.image_rgb,
            context.label_image,
            context.instance_map,
        )
        return message


def _blank(header: Any, fields: Fields, size_hw: tuple[int, int]) -> PointCloud2:
    """A cloud of zeros."""
    (height, width), (_, offset, kind) = size_hw, fields[-1]
    step = offset + (2 if kind == PointField.UINT16 else 4)
    parts = [PointField(name=name, offset=at, datatype=kind, count=1) for name, at, kind in fields]
    if point_cloud2 is not None and height * width:  # of no points it raises TypeError
        zeros = np.zeros(height * width, point_cloud2.dtype_from_fields(parts, step))
        message = point_cloud2.create_cloud(header, parts, zeros, step)
    else:
        message = PointCloud2(header=header, fields=parts, point_step=step)
        message.is_bigendian, message.is_dense = sys.byteorder == "big", False
        give_data(message, array.array("B", bytes(height * width * step)))
    # Theirs takes an array of two dimensions for (width, height): it was given one, and told here.
    message.height, message.width, message.row_step = height, width, width * step
    return message


def _values(message: PointCloud2) -> np.ndarray:
    """A cloud's memory as (H, W, step / 4) float32; who writes to it writes the cloud."""
    return np.frombuffer(message.data, np.float32).reshape(
        message.height, message.width, message.point_step // 4
    )
