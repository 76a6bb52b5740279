"""Recordings as robots make them: any topics, encodings, steps and stamps, in MCAP or SQLite."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_HUMBLE)
MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3


def header(stamp_s: float, frame_id: str = "camera"):
    ns = round(stamp_s * 1e9)
    time = STORE.types["builtin_interfaces/msg/Time"](sec=ns // 10**9, nanosec=ns % 10**9)
    return STORE.types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def image(pixels: np.ndarray, encoding: str, stamp_s: float = 1.0, padding: int = 0, big: bool = False):
    """sensor_msgs/Image with `padding` bytes of 0xAB behind each row."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")))
    rows = rows.view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    return STORE.types["sensor_msgs/msg/Image"](
        header=header(stamp_s),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big),
        step=rows.shape[1],
        data=rows.reshape(-1),
    )


def compressed(pixels_bgr: np.ndarray, kind: str = "jpeg", stamp_s: float = 1.0, before: bytes = b""):
    """sensor_msgs/CompressedImage, PNG unless the kind is jpeg; `before` stands before the image's bytes."""
    suffix = ".jpg" if kind == "jpeg" else ".png"
    data = before + cv2.imencode(suffix, pixels_bgr)[1].tobytes()
    return STORE.types["sensor_msgs/msg/CompressedImage"](
        header=header(stamp_s), format=kind, data=np.frombuffer(data, np.uint8)
    )


def camera_info(stamp_s: float = 1.0, fx: float = 70.0, size_wh=(80, 60)):
    return STORE.types["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_s),
        height=size_wh[1],
        width=size_wh[0],
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([fx, 0, 40, 0, fx, 30, 0, 0, 1.0]),
        r=np.eye(3).reshape(-1),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=STORE.types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )


def write_bag(path: Path, messages, plugin: StoragePlugin = MCAP) -> Path:
    """Writes (topic, seconds of recording, message) in the order given; (type, bytes) is written raw."""
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for topic, logged_s, message in messages:
            kind, data = message if isinstance(message, tuple) else (message.__msgtype__, None)
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = STORE.serialize_cdr(message, kind) if data is None else data
            writer.write(connections[topic], round(logged_s * 1e9), data)
    return path
