"""Writes recordings with ground truth, in the form that `recording` describes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ovseg_ros.core.frame import CameraIntrinsics
from ovseg_ros.core.space import quaternion_xyzw
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.recording import (
    COLOR_TOPIC,
    DEPTH_TOPIC,
    FRAME_ID,
    INFO_TOPIC,
    INSTANCE_TOPIC,
    NAMES_TOPIC,
    TYPES,
    RecordedFrame,
    depth_to_mm,
    names_json,
)
from ovseg_ros.files.recordings import STATIC_TF, TF, Transform

_LATCHED = (NAMES_TOPIC, STATIC_TF)
_TF_MESSAGE = "tf2_msgs/msg/TFMessage"


def write_recording(
    path: Path,
    frames: Iterable[RecordedFrame],
    *,
    jpeg_quality: int = 95,
    transforms: Sequence[Transform] = (),
) -> int:
    """Writes a recording; names are written whenever they differ from the frame before.

    Args:
        path: folder to make; it must not exist.
        frames: in order of time, each with intrinsics. Depth is rounded to millimetres; unknown becomes 0,
            farther than 65.535 m becomes unknown.
        jpeg_quality: 1–100.
        transforms: for /tf, in order of time, and /tf_static; those of one time go into one message.

    Returns:
        Number of frames written.

    Raises:
        InvalidInputError: the folder exists, there are no frames, times do not increase, or no intrinsics.
    """
    path = Path(path)
    if path.exists():
        raise InvalidInputError(f"{path} exists already; remove it first")
    count, last_stamp = 0, -1
    last_names: str | None = None
    bag: _BagWriter | None = None
    try:
        for recorded in frames:
            stamp = recorded.frame.stamp_ns
            if bag is None:
                bag = _BagWriter(path, transforms)
                bag.write_static(stamp)
            if stamp <= last_stamp:
                raise InvalidInputError(f"expected increasing times, got {stamp} ns after {last_stamp} ns")
            bag.write_tf(stamp)
            names = names_json(recorded)
            if names != last_names:
                bag.write(NAMES_TOPIC, stamp, data=names)
            _write_frame(bag, recorded, jpeg_quality)
            count, last_stamp, last_names = count + 1, stamp, names
        if bag is not None:
            bag.write_tf()
    finally:
        if bag is not None:
            bag.close()
    if not count:
        raise InvalidInputError("expected at least one frame to record, got none")
    return count


class _BagWriter:
    """A rosbag2 MCAP writer with the five topics opened, and TF's two where there are transforms."""

    def __init__(self, path: Path, transforms: Sequence[Transform]) -> None:
        self._static = [one for one in transforms if one.stamp_ns is None]
        moving = [one for one in transforms if one.stamp_ns is not None]
        by_time = itertools.groupby(moving, lambda one: one.stamp_ns)
        self._moving = deque((stamp or 0, list(together)) for stamp, together in by_time)
        self._kinds = {**TYPES, **dict.fromkeys((TF, STATIC_TF) if transforms else (), _TF_MESSAGE)}
        self._types = get_typestore(Stores.ROS2_JAZZY)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self._connections = {
            topic: self._writer.add_connection(
                topic, kind, typestore=self._types, offered_qos_profiles=[_qos(latched=topic in _LATCHED)]
            )
            for topic, kind in self._kinds.items()
        }

    def new(self, kind: str, **fields: Any) -> Any:
        """A message of type `kind`, for example "std_msgs/msg/Header"."""
        return self._types.types[kind](**fields)

    def write(self, topic: str, stamp_ns: int, **fields: Any) -> None:
        """Writes one message of the topic's type at `stamp_ns`."""
        kind = self._kinds[topic]
        self._writer.write(
            self._connections[topic], stamp_ns, self._types.serialize_cdr(self.new(kind, **fields), kind)
        )

    def write_static(self, stamp_ns: int) -> None:
        """Writes what is static, at this time."""
        if self._static:
            self._write_transforms(STATIC_TF, self._static, stamp_ns)

    def write_tf(self, until_ns: int | None = None) -> None:
        """Writes what moves and was not written yet, up to and with this time; None: all the rest."""
        while self._moving and (until_ns is None or self._moving[0][0] <= until_ns):
            stamp, transforms = self._moving.popleft()
            self._write_transforms(TF, transforms, stamp)

    def _write_transforms(self, topic: str, transforms: Sequence[Transform], stamp_ns: int) -> None:
        self.write(topic, stamp_ns, transforms=[self._stamped(one, stamp_ns) for one in transforms])

    def _stamped(self, one: Transform, stamp_ns: int) -> Any:
        x, y, z, w = quaternion_xyzw(one.rigid.rotation).tolist()
        shift = dict(zip("xyz", one.rigid.translation_m.tolist(), strict=True))
        return self.new(
            "geometry_msgs/msg/TransformStamped",
            header=self.header(stamp_ns, one.parent),
            child_frame_id=one.child,
            transform=self.new(
                "geometry_msgs/msg/Transform",
                translation=self.new("geometry_msgs/msg/Vector3", **shift),
                rotation=self.new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
            ),
        )

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """A std_msgs/Header."""
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self.new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self.new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def close(self) -> None:
        self._writer.close()


def _qos(*, latched: bool) -> Qos:
    forever = QosTime(9223372036, 854775807)  # rmw's infinite duration
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )


def _write_frame(bag: _BagWriter, recorded: RecordedFrame, jpeg_quality: int) -> None:
    frame = recorded.frame
    if frame.intrinsics is None:
        raise InvalidInputError("expected frames with intrinsics, got None")
    header = bag.header(frame.stamp_ns, frame.frame_id or FRAME_ID)
    encoded, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(frame.image_rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    )
    if not encoded:
        raise InvalidInputError(f"cannot encode an image of {frame.size_hw} as JPEG")
    bag.write(INFO_TOPIC, frame.stamp_ns, **_camera_info(bag, header, frame.intrinsics))
    bag.write(COLOR_TOPIC, frame.stamp_ns, header=header, format="jpeg", data=jpeg.reshape(-1))
    if frame.depth_m is not None:
        bag.write(DEPTH_TOPIC, frame.stamp_ns, **_image_16u(header, depth_to_mm(frame.depth_m)))
    if recorded.instances is not None:
        bag.write(INSTANCE_TOPIC, frame.stamp_ns, **_image_16u(header, recorded.instances))


def _camera_info(bag: _BagWriter, header: Any, intrinsics: CameraIntrinsics) -> dict[str, Any]:
    k = [intrinsics.fx, 0.0, intrinsics.cx, 0.0, intrinsics.fy, intrinsics.cy, 0.0, 0.0, 1.0]
    p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    whole = bag.new(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return {
        "header": header,
        "height": intrinsics.height,
        "width": intrinsics.width,
        "distortion_model": "plumb_bob",
        "d": np.zeros(5),
        "k": np.array(k),
        "r": np.eye(3).reshape(-1),
        "p": np.array(p),
        "binning_x": 0,
        "binning_y": 0,
        "roi": whole,
    }


def _image_16u(header: Any, pixels: np.ndarray) -> dict[str, Any]:
    height, width = pixels.shape
    data = np.ascontiguousarray(pixels.astype("<u2")).view(np.uint8).reshape(-1)
    return {
        "header": header,
        "height": height,
        "width": width,
        "encoding": "16UC1",
        "is_bigendian": 0,
        "step": 2 * width,
        "data": data,
    }
