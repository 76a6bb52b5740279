"""docs/tutorials: their commands and snippets run, over real DDS, against recordings of this repository."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
import yaml
from pages import blocks, command_lines, commands_of, run_python
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.msg import ResultCode
from rclpy.qos import QoSProfile
from ros2_lines import run_line
from ros_bench import Bench, camera_info_message, image_message, picture
from sensor_msgs.msg import CameraInfo, Image
from tf_fixtures import OPTICAL_XYZW, fake_tf2, transform

from ovseg_ros.app import cli
from ovseg_ros.app.doctor import command as doctor
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.memory.teaching import taught as weights
from ovseg_ros.ros.inference.loading import load_segmenter
from ovseg_ros.ros.io import transforms
from ovseg_ros.ros.parameters.table import Settings, rows

pytestmark = pytest.mark.ros

REALSENSE, PLANNER, NAV2, TEACH = (
    f"tutorials/{name}.md" for name in ("realsense", "planner", "nav2", "teach")
)
PERIOD_S = 0.2


class Robot:
    """The node with `mini`, a camera that shows the first frame of demo/tabletop, and TF to base_link."""

    def __init__(self, image_topic: str, depth_topic: str, info_topic: str) -> None:
        segmenter = load_segmenter(Settings(preset="mini", device="cpu"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transforms, "tf2_ros", lambda: fake_tf2)
            self.bench = Bench(lambda _: segmenter, max_frame_age=60.0, depth_wait=5.0)
        self.bench.active()
        self.bench.node.transforms.listen("base_link")
        self.bench.node.transforms._buffer.set_transform_static(
            transform("base_link", "camera_color_optical_frame", (0.1, 0.0, 1.3), OPTICAL_XYZW), "test"
        )
        frame = next(iter(read_recording(ROOT / "demo" / "tabletop"))).frame
        of = frame.intrinsics
        self._info = CameraInfo(height=frame.size_hw[0], width=frame.size_hw[1])
        self._info.k = [of.fx, 0.0, of.cx, 0.0, of.fy, of.cy, 0.0, 0.0, 1.0]
        self._info.header.frame_id = "camera_color_optical_frame"
        self._image = image_message(frame.image_rgb, frame_id="camera_color_optical_frame")
        depth_mm = np.round(np.asarray(frame.depth_m) * 1000).astype(np.uint16)
        self._depth = image_message(depth_mm, "16UC1", frame_id="camera_color_optical_frame")
        make = self.bench.client.create_publisher
        self._outputs = [
            (self._info, [self.bench.infos, make(CameraInfo, info_topic, QoSProfile(depth=1))]),
            (self._depth, [self.bench.depths, make(Image, depth_topic, QoSProfile(depth=1))]),
            (self._image, [self.bench.images, make(Image, image_topic, QoSProfile(depth=1))]),
        ]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)
        self._thread.start()

    def _show(self) -> None:
        while not self._over.wait(PERIOD_S):
            stamp = self.bench.now()
            for message, publishers in self._outputs:
                message.header.stamp = stamp
                for publisher in publishers:
                    if publisher.get_subscription_count():
                        publisher.publish(message)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.bench.close()


def launch_arguments(page: str) -> dict[str, str]:
    """What the page gives to ovseg.launch.py."""
    (words,) = (w for w in commands_of(page, "ros2") if w[1:4] == ["launch", "ovseg_ros", "ovseg.launch.py"])
    return dict(word.split(":=") for word in words[4:])


@pytest.fixture(scope="module")
def robot():
    given = launch_arguments(REALSENSE)
    made = Robot(given["image_topic"], given["depth_topic"], given["camera_info_topic"])
    yield made
    made.close()


@pytest.fixture
def on_robot(robot, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(robot.bench.context.get_domain_id()))
    return robot


def test_realsense_the_doctor_likes_the_topics_that_the_launch_file_gets(on_robot, monkeypatch, capsys):
    """The networks of the preset, which the doctor builds too, have tests of their own."""
    monkeypatch.setattr(doctor, "_preset", lambda *_: ())
    (words,) = (words for words in commands_of(REALSENSE, "ovseg") if words[1] == "doctor")
    given = launch_arguments(REALSENSE)
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert {name.strip("-").replace("-", "_"): topic for name, topic in options.items()} == {
        name: given[name] for name in ("image_topic", "depth_topic", "camera_info_topic")
    }
    assert cli.main(words[1:]) == 0
    said = capsys.readouterr().out.split("\ncamera\n")[1]
    assert said.count("OK ") == 5
    said, promised = " ".join(said.split()), " ".join(blocks(REALSENSE)[0].split())
    for part in re.findall(r"(OK (?:image|depth): \S+)|(frame '\w+')", promised):
        assert "".join(part) in said


def test_realsense_the_question_is_answered(on_robot, capsys):
    asks = [words for words in commands_of(REALSENSE, "ovseg") if words[1] == "ask"]
    assert asks[0] == ["ovseg", "ask", "find teapot"]
    assert cli.main([*asks[0][1:], "--timeout", "60"]) == 0
    assert capsys.readouterr().out.startswith("teapot: ")


def test_planner(on_robot, monkeypatch, capsys):
    monkeypatch.setattr("ovseg_ros.ros.client.asking.PATIENCE_S", 60.0)
    names = run_python(PLANNER, {})
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == [
        "FOUND", "teapot", "FOUND", "FOUND", "move", *[line.split()[0] for line in said[5:-1]], "NOT_FOUND",
    ]  # fmt: skip
    assert "red mug right of the teapot: 1 found, decided from depth" in said[2]
    assert said[3] == "FOUND 1"
    assert said[-2].startswith("FOLLOWING ")
    assert names["place"].frame == "base_link"
    assert 0.5 < names["x"] < 1.5  # ahead of the robot


def test_planner_every_code_has_its_row():
    text = (ROOT / "docs" / PLANNER).read_text(encoding="utf-8")
    table = text.split("| code | meaning")[1].split("\n\n")[0]
    codes = [
        name for name in dir(ResultCode) if name.isupper() and isinstance(getattr(ResultCode, name), int)
    ]
    assert [code for code in codes if code != "FOUND" and code not in table] == []


def test_nav2_the_layer_reads_what_the_node_is_asked_for():
    shown = yaml.safe_load(blocks(NAV2, "yaml")[0])
    whole = yaml.safe_load((ROOT / "config" / "nav2_costmap.yaml").read_text(encoding="utf-8"))

    def is_part(part, of, where=""):
        for name, value in part.items():
            if isinstance(value, dict):
                is_part(value, of[name], f"{where}/{name}")
            else:
                assert of[name] == value, f"{where}/{name}"

    is_part(shown, whole)
    layer = shown["local_costmap"]["local_costmap"]["ros__parameters"]["semantic_layer"]["ovseg"]
    words = {word for kind in layer["class_types"] for word in layer[kind]["classes"]}
    assert words == set(launch_arguments(NAV2)["vocabulary"].split(", "))


DEPTH = np.full((24, 32), 1.0, np.float32)
DEPTH[4:12, 6:16] = 0.9


def test_teach(tmp_path, monkeypatch, capsys):
    """With colours in place of `lite`: the mug is red. The page's box is where the picture has it."""
    settings = yaml.safe_load(blocks(TEACH, "yaml")[0])["ovseg"]["ros__parameters"]
    assert set(settings) <= {row.name for row in rows()}
    assert settings.pop("preset") == "lite"
    plain = weights.Weights(-20, 10, 5, 15, 5, 0, 0, 0, 0.4, 0.7, 0, 0.9)
    monkeypatch.setitem(weights.WEIGHTS, "colours", (plain, plain))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    bench = Bench(**settings, max_frame_age=0.0).active()
    encode = bench.segmenter.clip.encode_text
    bench.segmenter.clip.encode_text = lambda labels, templates=None: encode(
        ["red" if label == "mug" else label for label in labels], templates
    )
    lines = [line for line in command_lines(TEACH) if re.match(r"ros2 (service|action) ", line)]
    shown = 0

    def show(images: int, *, mug: bool = True) -> None:
        nonlocal shown
        for _ in range(images):
            seq, stamp = bench.node.engine.last_seq, bench.now(0.2 * shown)
            shown += 1
            bench.infos.publish(camera_info_message())
            bench.depths.publish(image_message(DEPTH if mug else np.ones_like(DEPTH), "32FC1", stamp))
            bench.show(picture(red=mug), stamp=stamp)
            bench.until(lambda: bench.node.engine.last_seq > seq, "for the image")  # noqa: B023

    try:
        show(6)
        answers = []
        for line in lines[:5]:
            answers.append(run_line(bench, line.replace(", timeout: {sec: 5}", "")))
        found, by_track, by_box, own, like = answers
        assert found.code == ResultCode.FOUND
        assert found.segments[0].track_id == 1
        assert (by_track.code, by_track.examples, by_box.examples) == (ResultCode.REMEMBERED, 1, 2)
        assert (own.code, own.segments[0].label) == (ResultCode.FOUND, "my mug")
        assert like.code in (ResultCode.FOUND, ResultCode.NOT_FOUND)
        bench.until(lambda: run_line(bench, lines[5]).objects, "for the mug to be remembered")
        show(1, mug=False)
        assert run_line(bench, lines[6]).code == ResultCode.REMEMBERED
        listing, finding = (words[1:] for words in commands_of(TEACH, "ovseg"))

        def says(command: list[str]) -> bool:
            return cli.main(command) == 0 and "mug" in capsys.readouterr().out

        bench.until(lambda: says(listing), "for the file to have it")  # a thread of the node's writes it
        assert says(finding)
        assert run_line(bench, lines[7]).code == ResultCode.REMEMBERED
        assert run_line(bench, lines[8]).count >= 1
        assert len(lines) == 9
    finally:
        bench.close()
