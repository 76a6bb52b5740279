"""What the node costs besides inference: camera messages in to messages out, with prepared masks.

    scripts/env.sh --own-domain python benchmark/overhead.py

The node is the real one and publishes over real DDS; only proposing and encoding are stand-ins that return
what was prepared, and their time is taken off. Counted is from the serialised camera messages (what rclpy's
`take` reads) until the last `publish` has returned: deserialise, hand over to the inference thread, convert,
label, make messages, serialise, hand over to Fast DDS. A second process subscribes to the outputs and throws
them away; `arrived` is when it held the last one: Fast DDS had sent it, rclpy there had taken and copied it.
The node has config/fastdds_points.xml, the other config/fastdds.xml, as docs/interfaces.md says for clouds.

The cases alternate, and a fixed piece of single-core work runs after each frame: on a busy machine read the
ratio to it, the processor time of the node's two threads, or the smallest wall time.
"""

from __future__ import annotations

import argparse
import array
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ovseg_ros.ros.process import prepare_process

if __name__ == "__main__":
    prepare_process()  # as the node's program does, before rclpy is loaded, which starts threads

import cv2
import numpy as np
import rclpy
import torch
from geometry_msgs.msg import Pose, Vector3
from ovseg_ros.msg import Segmentation
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from ovseg_ros.core.encoders import TextCache
from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.core.words import BARE_TEMPLATE
from ovseg_ros.ros.io.markers import detections_2d, detections_3d
from ovseg_ros.ros.io.outputs import Output
from ovseg_ros.ros.node import OvsegNode

ROOT = Path(__file__).resolve().parents[1]
CASES = {
    "segmentation": {"segmentation": Segmentation},
    "all": {
        "segmentation": Segmentation,
        "label_image": Image,
        "confidence": Image,
        "instance_image": Image,
        "overlay": Image,
        "markers": MarkerArray,
        "points": PointCloud2,
    },
}
TARGET_MS = {"segmentation": 4.0, "all": 12.0}
WORDS = ("teapot", "mug", "bowl", "plate", "apple", "knife", "box", "lamp")


class Prepared:
    """Proposer and encoder in one: twelve ellipses, eight of them of a word each, some overlapping."""

    size, embedding_dim, logit_scale, needs_depth = 8, 16, 100.0, False

    def __init__(self, height: int, width: int) -> None:
        masks = np.zeros((12, height, width), np.uint8)
        for i, mask in enumerate(masks):
            centre = ((i % 4 * 2 + 1) * width // 8, (i // 4 * 2 + 1) * height // 6)
            axes = (width // (7 if i % 3 == 0 else 10), height // 8)
            cv2.ellipse(mask, centre, axes, 30 * i, 0, 360, 1, -1)
        self.text_cache = TextCache()
        self.proposals = Proposals(torch.from_numpy(masks.view(bool)), torch.full((12,), 0.9))

    def propose(self, frame: Frame) -> Proposals:
        """What was prepared."""
        return self.proposals

    def encode_regions(self, pixels: torch.Tensor, masks: torch.Tensor | None = None) -> torch.Tensor:
        """Row i for mask i."""
        return torch.eye(self.embedding_dim)[: len(pixels)]

    def encode_text(self, labels: Any, templates: Any = None) -> torch.Tensor:
        """Row i for word i of WORDS; the last for all others, which compete with masks 8 to 11.

        Remembered as by the encoders that there are.
        """
        return self.text_cache.encode(labels, BARE_TEMPLATE, self._rows)

    def _rows(self, labels: list[str]) -> torch.Tensor:
        rows = torch.zeros((len(labels), self.embedding_dim))
        for row, label in zip(rows, labels, strict=True):
            row[WORDS.index(label) if label in WORDS else slice(8, 12)] = 1.0
        return rows


def camera_messages(height: int, width: int) -> list[tuple[bytes, Any]]:
    """A CameraInfo, one 16UC1 depth image and one rgb8 image of stamp 0, serialised, and their types."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
    pixels = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    depth = np.linspace(500, 3000, height * width).reshape(height, width).astype(np.uint16)
    depth[rng.random((height, width)) < 0.05] = 0
    info = CameraInfo(height=height, width=width)
    info.k = [900.0, 0.0, width / 2, 0.0, 900.0, height / 2, 0.0, 0.0, 1.0]
    messages: list[Any] = [info]
    for values, encoding in ((depth, "16UC1"), (pixels, "rgb8")):
        message = Image(height=height, width=width, encoding=encoding, step=width * values[0, 0].nbytes)
        message.header.frame_id = "camera"
        message.data = array.array("B", values.tobytes())
        messages.append(message)
    return [(serialize_message(message), type(message)) for message in messages]


class Listener:
    """Another process that subscribes, so that the node's own processor time is the node's alone."""

    def __init__(self) -> None:
        profile = str(ROOT / "config" / "fastdds.xml")
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--listen"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"FASTRTPS_DEFAULT_PROFILES_FILE": profile},
        )
        self.tell("")

    def tell(self, line: str) -> tuple[int, float]:
        """Subscribes to the topics of a case instead of the former; "?" only asks.

        Returns:
            How many messages it took so far, and when it had the last one, by `time.perf_counter`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        count, when = self._process.stdout.readline().split()
        return int(count), float(when)

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


def listen() -> None:
    """The other process: takes raw messages until its standard input ends."""
    rclpy.init(args=[])
    node = rclpy.create_node("listener")
    thread = threading.Thread(target=rclpy.spin, args=(node,))
    thread.start()
    taken, when, qos = 0, 0.0, {"points": qos_profile_sensor_data}

    def count(_: bytes) -> None:
        nonlocal taken, when
        taken, when = taken + 1, time.perf_counter()

    subscriptions: list[Any] = []
    for line in sys.stdin:
        if line.strip() != "?":
            for subscription in subscriptions:
                node.destroy_subscription(subscription)
            subscriptions = [
                node.create_subscription(kind, f"/ovseg/{topic}", count, qos.get(topic, 1), raw=True)
                for topic, kind in CASES.get(line.strip(), {}).items()
            ]
        print(taken, when, flush=True)
    rclpy.try_shutdown()
    thread.join()


def stand_in_for_vision_msgs() -> Any:
    """Types with the fields that are filled, where vision_msgs is not installed: made, and not sent."""

    def detection(**fields: Any) -> Any:
        return SimpleNamespace(bbox=SimpleNamespace(center=Pose(), size=Vector3()), **fields)

    def array_of(**fields: Any) -> Any:
        return SimpleNamespace(detections=[], **fields)

    def result() -> Any:
        return SimpleNamespace(hypothesis=SimpleNamespace(), pose=SimpleNamespace(pose=Pose()))

    return SimpleNamespace(
        Detection2D=detection,
        Detection3D=detection,
        Detection2DArray=array_of,
        Detection3DArray=array_of,
        ObjectHypothesisWithPose=result,
    )


class Rig:
    """The node, and a clock at each of its stages."""

    def __init__(self, height: int, width: int) -> None:
        prepared = Prepared(height, width)
        options = SegmenterOptions(threshold=0.3, min_mask_pixels=1)
        self.segmenter = OpenVocabularySegmenter(prepared, prepared, options, name="prepared")
        self.inputs = camera_messages(height, width)
        values = {"autostart": False, "vocabulary": list(WORDS), "max_frame_age": 0.0}
        self.node = OvsegNode(
            lambda settings: self.segmenter,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        self.node.trigger_configure()
        self.node.trigger_activate()
        self.stages: dict[str, float] = defaultdict(float)
        self.done, self.cpu_s, self.end = threading.Event(), 0.0, 0.0
        self.embed_s = self.embed_cpu_s = self.start = 0.0
        # Subscribers of what is made and not sent: one in the case `all`.
        self.watched = 0
        self.nobody = SimpleNamespace(
            get_subscription_count=lambda: self.watched, publish=lambda message: None
        )
        self._clock_the_stages()

    def _clock_the_stages(self) -> None:
        outputs, engine = self.node.cameras[""].outputs, self.node.engine
        if outputs._vision is None:
            msgs = stand_in_for_vision_msgs()
            outputs._outputs += [
                Output("detections (not sent)", self.nobody, lambda context: detections_2d(context, msgs)),
                Output("detections_3d (not sent)", self.nobody, lambda context: detections_3d(context, msgs)),
            ]
        outputs._outputs = [
            dataclasses.replace(
                output,
                message_of=self._timed(f"{output.name}: make", output.message_of),
                publisher=SimpleNamespace(
                    publish=self._timed(f"{output.name}: send", output.publisher.publish),
                    get_subscription_count=output.publisher.get_subscription_count,
                ),
            )
            for output in outputs._outputs
        ]
        engine.reader.read = self._timed("image and depth to arrays", engine.reader.read)
        embed_frame = engine._embed

        def embed(*arguments: Any) -> Any:
            start, cpu = time.perf_counter(), time.thread_time()
            result = yield from embed_frame(*arguments)
            self.embed_s, self.embed_cpu_s = time.perf_counter() - start, time.thread_time() - cpu
            return result

        engine._embed = embed
        engine.label = self._timed("label", engine.label)
        worker, step = self.node._worker, self.node._worker._step

        def timed_step() -> Any:
            before, published = time.thread_time(), self.node.statistics.counts().get("published", 0)
            delay = step()
            if self.node.statistics.counts().get("published", 0) > published:
                self.cpu_s += time.thread_time() - before
                self.end = time.perf_counter()
                self.done.set()
            return delay

        worker._step = timed_step

    def _timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            result = work(*arguments, **named)
            self.stages[stage] += time.perf_counter() - start
            return result

        return timed

    def wait_for(self, wanted: set[str]) -> None:
        """Until exactly these topics have a subscriber."""
        deadline = time.monotonic() + 30
        while {o.name for o in self.node.cameras[""].outputs.wanted() if "not sent" not in o.name} != wanted:
            assert time.monotonic() < deadline, "the listener did not connect"
            time.sleep(0.01)

    def frame(self) -> dict[str, float]:
        """One frame through everything: milliseconds by stage, "wall" and "cpu" without inference."""
        self.stages.clear()
        self.done.clear()
        source = self.node.engine.source
        start, self.cpu_s = time.perf_counter(), -time.thread_time()
        info, depth, image = (deserialize_message(data, kind) for data, kind in self.inputs)
        self.stages["deserialise"] = time.perf_counter() - start
        self.cpu_s += time.thread_time()
        source.add_camera_info(info)
        source.add_depth(depth)
        source.add_image(image)
        assert self.done.wait(30), "no frame came out"
        self.start = start
        seconds = dict(self.stages)
        seconds["wall"] = self.end - start - self.embed_s
        seconds["cpu"] = self.cpu_s - self.embed_cpu_s
        seconds["rest"] = seconds["wall"] - sum(self.stages.values())
        return {stage: 1000 * value for stage, value in seconds.items()}

    def close(self) -> None:
        """Ends the node."""
        self.node.close()
        self.node.destroy_node()


def reference_ms() -> float:
    """A fixed piece of single-core work, in milliseconds: 10 copies of 4 MB, and 50,000 Python additions."""
    block, total = np.zeros(1 << 22, np.uint8), 0
    start = time.perf_counter()
    for _ in range(10):
        block = block + 1
    for i in range(50_000):
        total += i
    return 1000 * (time.perf_counter() - start)


def measure(rig: Rig, listener: Listener, frames: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """The stages of `frames` frames by case, the cases alternating `rounds` times."""
    results: dict[str, dict[str, list[float]]] = {case: defaultdict(list) for case in CASES}
    for _ in range(rounds):
        for case, topics in CASES.items():
            listener.tell(case)
            rig.watched = int(case == "all")
            rig.wait_for(set(topics))
            for _ in range(3):
                rig.frame()
            time.sleep(0.1)  # until these have arrived
            for _ in range(max(frames // rounds, 1)):
                before, _ = listener.tell("?")
                frame = rig.frame()
                time.sleep(0.02)  # as between two frames of a camera
                count, when = listener.tell("?")
                if count == before + len(topics):
                    frame["arrived"] = 1000 * (when - rig.start - rig.embed_s)
                for stage, ms in frame.items():
                    results[case][stage].append(ms)
                results[case]["reference"].append(reference_ms())
    return results


def summary(stages: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median, smallest and 90th percentile of each stage, and of how many frames."""
    table = {}
    for stage, values in stages.items():
        ordered = sorted(values)
        table[stage] = {
            "median_ms": round(statistics.median(ordered), 3),
            "min_ms": round(ordered[0], 3),
            "p90_ms": round(ordered[int(0.9 * (len(ordered) - 1))], 3),
            "of": len(ordered),
        }
    return table


def report(case: str, table: dict[str, dict[str, float]]) -> None:
    """Prints the table of one case."""
    print(f"\n{case}: ms, median / smallest / 90 %")
    for stage, row in sorted(table.items(), key=lambda item: -item[1]["median_ms"]):
        print(f"  {stage:32}{row['median_ms']:9.2f}{row['min_ms']:9.2f}{row['p90_ms']:9.2f}")
    ratio = table["wall"]["median_ms"] / table["reference"]["median_ms"]
    print(
        f"  target {TARGET_MS[case]:g} ms; wall / reference work = {ratio:.2f}; processor time "
        f"{table['cpu']['median_ms']:.2f} ms"
    )
    arrived = table["arrived"]["of"] if "arrived" in table else 0
    print(f"  all messages arrived within 20 ms in {arrived} of {table['wall']['of']} frames")


def main() -> None:
    """Measures, prints and writes JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=100, help="of each case")
    parser.add_argument("--rounds", type=int, default=4, help="how often the cases alternate")
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--threads", type=int, default=1, help="torch and OpenCV threads")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "overhead.json")
    parser.add_argument("--listen", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listen:
        listen()
        return
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(ROOT / "config" / "fastdds_points.xml")
    rclpy.init(args=[])
    rig, listener = Rig(arguments.height, arguments.width), Listener()
    try:
        results = measure(rig, listener, arguments.frames, arguments.rounds)
    finally:
        listener.close()
        rig.close()
        rclpy.try_shutdown()
    tables = {case: summary(stages) for case, stages in results.items()}
    for case, table in tables.items():
        report(case, table)
    document = {
        "machine": {"processor": platform.processor(), "python": platform.python_version()},
        "size_hw": [arguments.height, arguments.width],
        "masks": 12,
        "threads": arguments.threads,
        "frames": arguments.frames,
        "target_ms": TARGET_MS,
        "cases": tables,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"\nwritten: {arguments.out}")


if __name__ == "__main__":
    main()
