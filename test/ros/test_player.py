"""The player: a small recording made here, played over DDS with fresh stamps."""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")
pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed")

import cv2
import rclpy
from evaluate_fixtures import recorded, write_photographs
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from ros_bench import camera_info_message, fresh_domain, image_message
from rosbags import rosbag2
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from ovseg_ros.core.camera import decode_colour, decode_integers
from ovseg_ros.core.space import Rigid
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.writing import write_recording
from ovseg_ros.files.recordings import Transform
from ovseg_ros.ros import player

pytestmark = pytest.mark.ros
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Three moments of 8x6 pixels, red values 50, 150, 250; the third begins a new scene."""
    folder = tmp_path_factory.mktemp("bag") / "three"
    store = get_typestore(Stores.ROS2_JAZZY)
    with rosbag2.Writer(folder, version=9, storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
        topics = {}
        for topic, kind in player.KINDS.items():
            name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
            topics[topic] = writer.add_connection(topic, name, typestore=store)

        def write(topic, message, stamp):
            writer.write(topics[topic], stamp.sec * 10**9 + stamp.nanosec, serialize_message(message))

        for number, red in enumerate((50, 150, 250)):
            stamp = rclpy.time.Time(seconds=1000 + number).to_msg()
            if number != 1:
                write(
                    player.NAMES,
                    String(data=json.dumps({str(number + 1): {"name": f"thing {number}"}})),
                    stamp,
                )
            picture = np.full((6, 8, 3), (0, 0, red), np.uint8)
            jpeg = CompressedImage(format="jpeg", data=cv2.imencode(".png", picture)[1].tobytes())
            depth = image_message(np.full((6, 8), 1000 + number, np.uint16), "16UC1", stamp)
            truth = image_message(np.full((6, 8), number + 1, np.uint16), "16UC1", stamp)
            info = camera_info_message(6, 8)
            jpeg.header.stamp = info.header.stamp = stamp
            jpeg.header.frame_id = "optical"
            for topic, message in zip(player.KINDS, (jpeg, depth, info, truth)):
                write(topic, message, stamp)
    return folder


def play(moments, topics, until, **options):
    """Runs the player and a listener until `until(received)`; returns what came and the topics seen."""
    defaults = argparse.Namespace(rate=50.0, repeat=1, once=False, compressed=False, ground_truth=False)
    vars(defaults).update(options)
    context = rclpy.context.Context()
    rclpy.init(args=[], context=context, domain_id=fresh_domain())
    received = {topic: [] for topic in topics}
    listener = rclpy.create_node("listener", context=context)
    for topic, kind in topics.items():
        qos = LATCHED if topic == player.NAMES else 10
        listener.create_subscription(kind, topic, received[topic].append, qos)
    node = player.Player(moments, defaults, context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.add_node(listener)
    ended = threading.Event()

    def spin():
        try:
            executor.spin()
        except ExternalShutdownException:
            ended.set()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not until(received, ended) and time.monotonic() < deadline:
        time.sleep(0.01)
    published = {name for name, _ in node.get_publisher_names_and_types_by_node("camera", "/")}
    now = node.get_clock().now().nanoseconds
    context.try_shutdown()
    thread.join(5)
    node.destroy_node()
    listener.destroy_node()
    assert until(received, ended), {topic: len(messages) for topic, messages in received.items()}
    return received, published, now


def test_it_loops_with_fresh_stamps_and_keeps_the_truth_to_itself(recording):
    topics = {player.COLOUR: Image, player.DEPTH: Image, player.CAMERA_INFO: CameraInfo}
    moments = player.read_moments(recording)
    assert [bool(m.names) for m in moments] == [True, False, True]
    received, published, now = play(moments, topics, lambda got, _: len(got[player.COLOUR]) >= 6)
    colours, depths = received[player.COLOUR], received[player.DEPTH]
    reds = [message.data[0] for message in colours]
    assert colours[0].encoding == "rgb8"
    assert set(reds) == {50, 150, 250}
    assert all(reds[i] == reds[i + 3] for i in range(len(reds) - 3))
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in colours]
    assert stamps == sorted(stamps)
    assert 0 <= now - stamps[-1] < 10e9
    assert colours[0].header.frame_id == "optical"
    depth_of = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in depths}
    paired = [(c, depth_of.get((c.header.stamp.sec, c.header.stamp.nanosec))) for c in colours]
    assert all(np.frombuffer(d.data, np.uint16)[0] == 1000 + (c.data[0] - 50) // 100 for c, d in paired if d)
    assert not any(name.startswith("/ground_truth") or "compressed" in name for name in published)


def test_truth_and_compressed_on_demand(recording):
    topics = {player.COMPRESSED: CompressedImage, player.INSTANCES: Image, player.NAMES: String}
    received, _, _ = play(
        player.read_moments(recording),
        topics,
        lambda got, _: all(got.values()),
        compressed=True,
        ground_truth=True,
    )
    truth, compressed = received[player.INSTANCES][-1], received[player.COMPRESSED][-1]
    assert truth.encoding == "16UC1"
    assert truth.header.stamp.sec > 10**9
    assert compressed.header.stamp.sec > 10**9
    assert "thing" in json.loads(received[player.NAMES][0].data).popitem()[1]["name"]


def test_photographs_stand_still_and_come_without_depth(tmp_path):
    folder = write_photographs(tmp_path, {"first": (1,), "second": (2,)})
    topics = {player.COLOUR: Image, player.COMPRESSED: CompressedImage, player.INSTANCES: Image}
    topics |= {player.DEPTH: Image, player.CAMERA_INFO: CameraInfo, player.NAMES: String}
    moments = player.read_moments(folder)
    assert len(moments) == 2
    received, _, _ = play(
        moments,
        topics,
        lambda got, _: min(len(got[player.COLOUR]), len(got[player.INSTANCES])) >= 9,
        repeat=3,
        compressed=True,
        ground_truth=True,
    )
    sizes = [(m.height, m.width) for m in received[player.COLOUR]]
    runs = [(size, len(list(run))) for size, run in itertools.groupby(sizes)]
    assert {size for size, _ in runs} == {(60, 80), (70, 100)}
    assert {length for _, length in runs[1:-1]} == {3}
    assert (received[player.DEPTH], received[player.CAMERA_INFO]) == ([], [])
    stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in received[player.COLOUR]]
    assert stamps == sorted(set(stamps)), "each showing has a time of its own"
    newest = {(m.height, m.width): m for m in received[player.INSTANCES]}
    assert {int(decode_integers(m).max()) for m in newest.values()} == {1, 2}
    picture = received[player.COMPRESSED][0]
    assert decode_colour(picture).shape[:2] in {(60, 80), (70, 100)}
    assert json.loads(received[player.NAMES][0].data).popitem()[1]["name"] in {"red", "green"}


def test_once_ends(recording):
    received, _, _ = play(player.read_moments(recording), {}, lambda _, ended: ended.is_set(), once=True)
    assert received == {}


def test_ctrl_c_twice_is_an_orderly_end(recording):
    """ros2 launch hands it on as well, while the process is ending."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ovseg_ros.ros.player", str(recording)], stderr=subprocess.PIPE, text=True
    )
    said = process.stderr.readline()
    assert "playing 3 moments" in said
    time.sleep(1.0)  # a signal while rclpy begins to spin is another matter
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    rest = process.stderr.read()
    assert process.returncode == 0, rest
    assert "Traceback" not in rest


def test_parameters_are_taken_as_people_write_them(recording):
    context = rclpy.context.Context()
    given = ["--ros-args", "-p", "rate:=7", "-p", "loop:=false"]
    rclpy.init(args=given, context=context, domain_id=fresh_domain())
    defaults = argparse.Namespace(rate=5.0, repeat=1, once=False, compressed=False, ground_truth=False)
    node = player.Player(player.read_moments(recording), defaults, context=context)
    try:
        assert node.get_parameter("rate").value == 7.0
        assert node.get_parameter("loop").value is False
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_what_cannot_be_played_is_said(recording, tmp_path, capsys):
    assert player.main([str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert player.main([str(recording), "--rate", "0"]) == 1
    assert "rate" in capsys.readouterr().err
    assert player.main([str(recording), "--repeat", "0"]) == 1
    assert "repeat" in capsys.readouterr().err
    assert player.main([str(recording), "--ros-args", "-p", "rate:=fast"]) == 1
    assert "player: rate: expected a number of Hz above 0 and up to 1000" in capsys.readouterr().err
    (tmp_path / "metadata.yaml").write_text("nonsense: [", encoding="utf-8")
    with pytest.raises(InvalidInputError):
        player.read_moments(tmp_path)


@pytest.fixture
def moving(tmp_path):
    """Two moments of a camera that moves from 1 m to 3 m, its TF told between the images too."""
    frames = [recorded(0), recorded(1)]
    first, second = (one.frame.stamp_ns for one in frames)
    base = [(first - 10, 0.0), (first + 10, 2.0), (second, 3.0)]
    known = [Transform("map", "base", Rigid(np.eye(3), [x, 0, 0]), stamp) for stamp, x in base]
    known.append(Transform("base", "optical", Rigid([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0, 0, 0.5])))
    write_recording(tmp_path / "moving", frames, transforms=known)
    return tmp_path / "moving"


class TfMessage:
    """Stands for tf2_msgs/TFMessage, which PyPI has not."""

    def __init__(self, transforms):
        self.transforms = transforms


def test_tf_goes_out_with_each_moment_under_its_stamp(moving, monkeypatch):
    sent = {"/tf": [], "/tf_static": []}
    create = player.Player.create_publisher

    def create_publisher(node, kind, topic, qos):
        if kind is TfMessage:
            return SimpleNamespace(publish=lambda message: sent[topic].append(message.transforms))
        return create(node, kind, topic, qos)

    monkeypatch.setattr(player, "tf_message", lambda: TfMessage)
    monkeypatch.setattr(player.Player, "create_publisher", create_publisher)
    topics = {player.COLOUR: Image}
    received, _, _ = play(player.read_moments(moving), topics, lambda got, _: len(got[player.COLOUR]) >= 4)
    (static,) = sent["/tf_static"]
    assert [(one.header.frame_id, one.child_frame_id) for one in static] == [("base", "optical")]
    assert static[0].transform.translation.z == 0.5
    turn = static[0].transform.rotation
    assert (turn.x, turn.y, turn.z, turn.w) == pytest.approx((-0.5, 0.5, -0.5, 0.5))
    assert {(one.header.frame_id, one.child_frame_id) for (one,) in sent["/tf"]} == {("map", "base")}
    shifts = [one.transform.translation.x for (one,) in sent["/tf"]]
    assert shifts[:4] == pytest.approx([1.0, 3.0, 1.0, 3.0])  # the first between two that were told
    stamps = [(one.header.stamp.sec, one.header.stamp.nanosec) for (one,) in sent["/tf"]]
    images = [(one.header.stamp.sec, one.header.stamp.nanosec) for one in received[player.COLOUR]]
    assert set(images) <= set(stamps)


def test_where_tf_cannot_be_played_that_is_said_and_the_images_come(moving, monkeypatch, capfd):
    monkeypatch.setattr(player, "tf_message", lambda: None)
    topics = {player.COLOUR: Image}
    _, published, _ = play(player.read_moments(moving), topics, lambda got, _: got[player.COLOUR])
    assert "/tf" not in published
    assert "tf2_msgs is not installed" in capfd.readouterr().err


def test_a_damaged_transform_costs_tf_alone(moving, monkeypatch, capsys):
    def damaged(bag):
        raise InvalidInputError("a damaged message")

    monkeypatch.setattr(player, "read_transforms", damaged)
    moments = player.read_moments(moving)
    assert len(moments) == 2
    assert not any(moment.transforms for moment in moments)
    assert "player: TF is left out: a damaged message" in capsys.readouterr().err
