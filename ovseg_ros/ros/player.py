"""Plays a recording as a camera: `player FOLDER --rate 5`, for demonstrations and tests.

The messages keep their topics and frames; their stamps become the time of publication, so that they are
fresh to whoever listens. Everything is read and decoded before the first message goes out. TF is played
where tf2_msgs is installed: with each moment how the frames lay at that time, under the same stamp.
Photographs in the layout `folder` are played too, without depth; their sizes may differ.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from geometry_msgs.msg import TransformStamped
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String

from ovseg_ros.core.camera import decode_colour
from ovseg_ros.core.space import quaternion_xyzw
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.evaluate.recordings.photographs import is_photographs, read_photographs
from ovseg_ros.evaluate.recordings.recording import names_json
from ovseg_ros.files.recordings import (
    STATIC_TF,
    TF,
    Bag,
    Transform,
    TransformTree,
    is_recording,
    open_recording,
    read_transforms,
)
from ovseg_ros.ros.io.frame_source import stamp_ns
from ovseg_ros.ros.io.images import image_from_array
from ovseg_ros.ros.launching import as_bool, as_count, as_rate
from ovseg_ros.ros.parameters.declared import declare

COLOUR = "/camera/color/image_raw"
COMPRESSED = "/camera/color/image_raw/compressed"
DEPTH = "/camera/depth/image_raw"
CAMERA_INFO = "/camera/color/camera_info"
INSTANCES = "/ground_truth/instance_image"
NAMES = "/ground_truth/names"
KINDS = {COMPRESSED: CompressedImage, DEPTH: Image, CAMERA_INFO: CameraInfo, INSTANCES: Image, NAMES: String}
TRUTH = (INSTANCES, NAMES)

RELIABLE = QoSProfile(depth=5)
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


@dataclass
class Moment:
    """What was recorded of one stamp.

    Attributes:
        messages: by topic.
        names: the ground truth that begins here, or None.
        transforms: TF of this time, static ones too.
    """

    messages: dict[str, Any] = field(default_factory=dict)
    names: String | None = None
    transforms: list[Transform] = field(default_factory=list)


def read_moments(folder: Path) -> list[Moment]:
    """Reads a rosbag2 recording with the topics above, or photographs, the colour images decoded.

    What a recording has lost is printed.

    Raises:
        InvalidInputError: there is no such recording, or no colour image in it.
    """
    if is_photographs(folder):
        return _photographs(folder)
    if folder.is_dir() and not is_recording(folder):
        raise InvalidInputError(
            "expected a rosbag2 recording (metadata.yaml, .mcap, .db3), or photographs with classes.txt, at "
            f"{folder}"
        )
    bag = open_recording(folder)
    moments: dict[int, Moment] = {}
    names: list[tuple[int, String]] = []
    for recorded in bag.messages(KINDS):
        try:
            message = deserialize_message(recorded.data, KINDS[recorded.topic])
        except Exception as error:  # damaged: rmw raises RuntimeError, an empty one MemoryError
            print(f"player: a damaged message on {recorded.topic}: {error}", file=sys.stderr)
            continue
        if recorded.topic == NAMES:
            names.append((recorded.logged_ns, message))
            continue
        moments.setdefault(stamp_ns(message.header), Moment()).messages[recorded.topic] = message
    for remark in bag.remarks:
        print(f"player: {remark}", file=sys.stderr)
    complete = [(stamp, m) for stamp, m in sorted(moments.items()) if COMPRESSED in m.messages]
    for stamp, moment in tuple(complete):
        compressed = moment.messages[COMPRESSED]
        try:
            moment.messages[COLOUR] = image_from_array(compressed.header, decode_colour(compressed))
        except InvalidInputError as error:
            print(f"player: an image is left out: {error}", file=sys.stderr)
            complete.remove((stamp, moment))
    if not complete:
        raise InvalidInputError(f"expected images on {COMPRESSED}, found none in {folder}")
    tree = _transforms_of(bag)
    for stamp, moment in complete:
        moment.transforms = [*tree.static, *tree.moving(stamp)]
    for time_ns, message in names:  # said once per scene, before its first frame
        later = [m for stamp, m in complete if stamp >= time_ns]
        if later:
            later[0].names = message
    return [moment for _, moment in complete]


def _transforms_of(bag: Bag) -> TransformTree:
    """TF of a recording; none where it is damaged, which is printed."""
    try:
        return read_transforms(bag)
    except InvalidInputError as error:
        print(f"player: TF is left out: {error}", file=sys.stderr)
        return TransformTree([])


def tf_message() -> Any:
    """The type of TF's messages, or None on a machine without it."""
    try:
        return importlib.import_module("tf2_msgs.msg").TFMessage
    except ImportError:
        return None


def _photographs(folder: Path) -> list[Moment]:
    """Photographs and what is true of them as the messages that a recording would hold."""
    moments = []
    for recorded in read_photographs(folder):
        header = Header(frame_id=recorded.frame.frame_id)
        picture = recorded.frame.image_rgb
        png = cv2.imencode(".png", np.ascontiguousarray(picture[:, :, ::-1]))[1].tobytes()
        messages = {
            COLOUR: image_from_array(header, picture),
            COMPRESSED: CompressedImage(header=header, format="png", data=png),
            INSTANCES: image_from_array(header, recorded.instances),
        }
        moments.append(Moment(messages, String(data=names_json(recorded))))
    return moments


class Player(Node):
    """The node `camera`: one moment per period."""

    def __init__(self, moments: list[Moment], defaults: argparse.Namespace, **node_arguments: Any) -> None:
        """A camera that begins to play as soon as it is spun.

        Args:
            moments: What to play.
            defaults: The values of the parameters that are not given otherwise.
            node_arguments: For rclpy's Node.

        Raises:
            ConfigError: a parameter cannot be; the message names it.
        """
        super().__init__("camera", **node_arguments)
        rate = self._parameter("rate", float(defaults.rate), as_rate)
        self._loop = self._parameter("loop", not defaults.once, as_bool)
        self._repeat = self._parameter("repeat", int(defaults.repeat), as_count)
        compressed = self._parameter("compressed", bool(defaults.compressed), as_bool)
        truth = self._parameter("ground_truth", bool(defaults.ground_truth), as_bool)
        self._moments = moments
        self._next = 0  # counts the repetitions too
        topics = {COLOUR: Image, DEPTH: Image, CAMERA_INFO: CameraInfo}
        if compressed:
            topics[COMPRESSED] = CompressedImage
        if truth:
            topics[INSTANCES] = Image
        self._outputs = {
            topic: self.create_publisher(kind, topic, RELIABLE) for topic, kind in topics.items()
        }
        self._names = self.create_publisher(String, NAMES, LATCHED) if truth else None
        self._tf_message, self._tf = tf_message(), None
        static = [one for moment in moments[:1] for one in moment.transforms if one.stamp_ns is None]
        if any(moment.transforms for moment in moments):
            if self._tf_message is None:
                self.get_logger().info(
                    "the recording's TF is not played: tf2_msgs is not installed "
                    "(apt install ros-$ROS_DISTRO-tf2-msgs)"
                )
            else:
                self._tf = self.create_publisher(self._tf_message, TF, QoSProfile(depth=100))
                self._static = self.create_publisher(self._tf_message, STATIC_TF, LATCHED)
                self._static.publish(self._as_message(static))
        self.create_timer(1.0 / rate, self._play, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"playing {len(moments)} moments at {rate:g} Hz")

    def _parameter(self, name: str, default: Any, read: Callable[[str, str], Any]) -> Any:
        """The value of a parameter, which is read once."""
        only_once = ParameterDescriptor(read_only=True)
        return declare(self, name, default, only_once, lambda value: read(name, str(value)))

    def _play(self) -> None:
        if self._next == len(self._moments) * self._repeat:
            if not self._loop:
                raise ExternalShutdownException
            self._next = 0
        place, repeated = divmod(self._next, self._repeat)
        moment = self._moments[place]
        self._next += 1
        stamp = self.get_clock().now().to_msg()
        if self._names is not None and moment.names is not None and not repeated:
            self._names.publish(moment.names)
        # TF, depth and intrinsics first: whoever pairs them with the image need not wait.
        if self._tf is not None:
            moving = [one for one in moment.transforms if one.stamp_ns is not None]
            self._tf.publish(self._as_message(moving, stamp))
        for topic in sorted(self._outputs, key=lambda name: name in (COLOUR, COMPRESSED)):
            message = moment.messages.get(topic)
            if message is not None:
                message.header.stamp = stamp
                self._outputs[topic].publish(message)

    def _as_message(self, transforms: list[Transform], stamp: Any = None) -> Any:
        """A TFMessage; static transforms hold at any time and need no stamp."""
        return self._tf_message(transforms=[_stamped(one, stamp) for one in transforms])


def _stamped(one: Transform, stamp: Any) -> TransformStamped:
    message = TransformStamped(child_frame_id=one.child)
    message.header.frame_id = one.parent
    if stamp is not None:
        message.header.stamp = stamp
    shift, turn = message.transform.translation, message.transform.rotation
    shift.x, shift.y, shift.z = one.rigid.translation_m.tolist()
    turn.x, turn.y, turn.z, turn.w = quaternion_xyzw(one.rigid.rotation).tolist()
    return message


def default_recording() -> Path:
    """demo/tabletop where the package is installed, or else in the source tree this file is in."""
    try:
        from ament_index_python.packages import get_package_share_directory

        installed = Path(get_package_share_directory("ovseg_ros")) / "demo" / "tabletop"
        if installed.is_dir():
            return installed
    except (ImportError, LookupError):
        pass
    return Path(__file__).resolve().parents[2] / "demo" / "tabletop"


def main(args: list[str] | None = None) -> int:
    """Runs the player; the exit status is 1 where there is nothing to play, else 0."""
    arguments = sys.argv if args is None else ["player", *args]
    parser = argparse.ArgumentParser(prog="player", description="Plays a recording as a camera.")
    parser.add_argument(
        "recording",
        nargs="?",
        type=Path,
        help="rosbag2 folder, or photographs in the layout folder (default: the bundled tabletop)",
    )
    parser.add_argument("--rate", type=float, default=5.0, help="moments per second (default 5)")
    parser.add_argument(
        "--repeat", type=int, default=1, help="publish each moment so often, as a camera that stands still"
    )
    parser.add_argument(
        "--once", action="store_true", help="end after the last moment instead of starting anew"
    )
    parser.add_argument("--compressed", action="store_true", help=f"also publish {COMPRESSED}")
    parser.add_argument("--ground-truth", action="store_true", help=f"also publish {', '.join(TRUTH)}")
    options = parser.parse_args(remove_ros_args(arguments)[1:])
    rclpy.init(args=arguments)
    interrupted = False
    try:
        rclpy.spin(Player(read_moments(options.recording or default_recording()), options))
    except (KeyboardInterrupt, ExternalShutdownException):
        interrupted = True
    except (ConfigError, InvalidInputError) as error:
        print(f"player: {error}", file=sys.stderr)
        return 1
    except Exception:
        if rclpy.ok():
            raise
        interrupted = True  # a signal took the context away under a callback
    finally:
        # Under ros2 launch Ctrl-C comes twice; the second must not turn an orderly end into a death.
        if interrupted:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        rclpy.try_shutdown()  # puts the handlers of before back
        if interrupted:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0


if __name__ == "__main__":
    sys.exit(main())
