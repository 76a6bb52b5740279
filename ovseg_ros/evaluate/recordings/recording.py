"""Recordings with ground truth: rosbag2 folders (MCAP) that `ros2 bag play` plays too.

| topic | type | content |
|---|---|---|
| `/camera/color/image_raw/compressed` | sensor_msgs/CompressedImage | JPEG |
| `/camera/depth/image_raw` | sensor_msgs/Image 16UC1 | millimetres, registered to colour, 0 unknown |
| `/camera/color/camera_info` | sensor_msgs/CameraInfo | pinhole, no distortion |
| `/ground_truth/instance_image` | sensor_msgs/Image 16UC1 | instance id, 0 none |
| `/ground_truth/names` | std_msgs/String | JSON, once per scene, before its first frame |

The names are `{"1": {"name": "teapot", "synonyms": ["tea kettle"]}, ...}`; an instance id means the same
thing through the whole recording. All messages of a frame carry its time, in the header and in the bag.
`writing` makes such recordings; where the camera moves they hold /tf and /tf_static too, which
`files.recordings.read_transforms` reads.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_ros.core.camera import camera_info_intrinsics, decode_colour, decode_depth, decode_integers
from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.recordings import Bag, deserialized, open_recording

_LOG = logging.getLogger(__name__)

COLOR_TOPIC = "/camera/color/image_raw/compressed"
DEPTH_TOPIC = "/camera/depth/image_raw"
INFO_TOPIC = "/camera/color/camera_info"
INSTANCE_TOPIC = "/ground_truth/instance_image"
NAMES_TOPIC = "/ground_truth/names"
FRAME_ID = "camera_color_optical_frame"

TYPES = {
    COLOR_TOPIC: "sensor_msgs/msg/CompressedImage",
    DEPTH_TOPIC: "sensor_msgs/msg/Image",
    INFO_TOPIC: "sensor_msgs/msg/CameraInfo",
    INSTANCE_TOPIC: "sensor_msgs/msg/Image",
    NAMES_TOPIC: "std_msgs/msg/String",
}


@dataclass(frozen=True)
class RecordedFrame:
    """A frame and the truth about it.

    Attributes:
        frame: colour, depth, intrinsics, time.
        instances: (H, W) uint16, instance id per pixel, 0 none; None without ground truth.
        names: instance id -> what the thing is called; all of the scene's, in view or not.
        synonyms: instance id -> other words that are right.
        title: of the scene, for people; "" where it has none.
    """

    frame: Frame
    instances: np.ndarray | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    synonyms: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    title: str = ""

    def __post_init__(self) -> None:
        instances = self.instances
        if instances is None:
            return
        if instances.shape != self.frame.size_hw or instances.dtype != np.uint16:
            raise InvalidInputError(
                f"expected instances {self.frame.size_hw} uint16, got {instances.shape} {instances.dtype}"
            )

    def mask(self, instance_id: int) -> np.ndarray:
        """(H, W) bool, where the instance shows."""
        if self.instances is None:
            return np.zeros(self.frame.size_hw, dtype=bool)
        return self.instances == instance_id


def read_recording(path: Path, *, depth_scale: float | None = None) -> Iterator[RecordedFrame]:
    """Reads a recording frame by frame, in order of time.

    Args:
        path: see `files.recordings.open_recording`.
        depth_scale: metres per unit of depth; None: millimetres.

    Yields:
        Every moment that has a colour image; depth, intrinsics and instances where they were recorded.

    Raises:
        InvalidInputError: not a recording, none with these topics, or an image in it that cannot be decoded.
            What a recording has lost is logged: a score over a part of it is another score.
    """
    bag = open_recording(path)
    if not any(channel.topic == COLOR_TOPIC and channel.count for channel in bag.channels):
        raise InvalidInputError(
            f"expected messages on {COLOR_TOPIC}, {path} has none{''.join(f'; {r}' for r in bag.remarks)}"
        )
    names: dict[int, str] = {}
    synonyms: dict[int, tuple[str, ...]] = {}
    for messages in _moments(bag):
        if NAMES_TOPIC in messages:
            names, synonyms = _parse_names(messages[NAMES_TOPIC].data)
        if COLOR_TOPIC in messages:
            yield _frame_of(messages, names, synonyms, depth_scale)
    for remark in bag.remarks:
        _LOG.warning("%s", remark)


def depth_to_mm(depth_m: np.ndarray) -> np.ndarray:
    """(H, W) float metres -> (H, W) uint16 millimetres; unknown and beyond 65.535 m become 0."""
    metres = np.asarray(depth_m, dtype=np.float64)
    millimetres = np.rint(np.nan_to_num(metres, nan=0.0, posinf=0.0, neginf=0.0) * 1000.0)
    return np.where((millimetres < 0) | (millimetres > 65535), 0, millimetres).astype(np.uint16)


def names_json(recorded: RecordedFrame) -> str:
    """What `/ground_truth/names` says of a frame's things."""
    return json.dumps(
        {
            str(key): {"name": name, "synonyms": list(recorded.synonyms.get(key, ()))}
            for key, name in sorted(recorded.names.items())
        }
    )


def _parse_names(text: str) -> tuple[dict[int, str], dict[int, tuple[str, ...]]]:
    try:
        entries = {int(key): entry for key, entry in json.loads(text).items()}
        names = {key: str(entry["name"]) for key, entry in entries.items()}
        return names, {key: tuple(entry.get("synonyms", ())) for key, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidInputError(f"expected names as JSON, got {text[:80]!r}: {error!r}") from error


def _moments(bag: Bag) -> Iterator[dict[str, Any]]:
    """Messages of equal bag time together: topic -> message."""
    current: dict[str, Any] = {}
    current_ns: int | None = None
    for recorded in bag.messages(TYPES):
        if recorded.logged_ns != current_ns and current:
            yield current
            current = {}
        current_ns = recorded.logged_ns
        current[recorded.topic] = deserialized(recorded)
    if current:
        yield current


def _frame_of(
    messages: Mapping[str, Any],
    names: Mapping[int, str],
    synonyms: Mapping[int, tuple[str, ...]],
    depth_scale: float | None,
) -> RecordedFrame:
    """The frame of one moment; an error says which moment it is about."""
    color, stamp = messages[COLOR_TOPIC], messages[COLOR_TOPIC].header.stamp

    def decoded(topic: str, decode: Callable[[Any], Any]) -> Any:
        return decode(messages[topic]) if topic in messages else None

    try:
        image_rgb = decode_colour(color)
        frame = Frame(
            image_rgb=image_rgb,
            depth_m=decoded(DEPTH_TOPIC, partial(decode_depth, depth_scale=depth_scale)),
            intrinsics=decoded(INFO_TOPIC, lambda info: camera_info_intrinsics(info, image_rgb.shape[:2])),
            stamp_ns=stamp.sec * 1_000_000_000 + stamp.nanosec,
            frame_id=color.header.frame_id,
        )
        return RecordedFrame(frame, decoded(INSTANCE_TOPIC, decode_integers), dict(names), dict(synonyms))
    except InvalidInputError as error:
        raise InvalidInputError(f"the frame of {stamp.sec}.{stamp.nanosec:09d} s: {error}") from error
