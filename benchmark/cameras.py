"""What a second camera costs: memory of the node, and time where frames of both are encoded in one batch.

    python benchmark/cameras.py joint     two recordings through one model, each frame by itself and jointly
    python benchmark/cameras.py memory    the node over DDS with one camera and with two; needs rclpy

Writes out/benchmark/cameras_joint.json and cameras_memory.json.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.joint import alone, together
from ovseg_ros.core.tracking import VideoSegmenter
from ovseg_ros.evaluate.recordings.demo import machine, write_json
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.models.presets import load_preset

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = {"front": ROOT / "demo" / "tabletop", "left": ROOT / "demo" / "garage"}
PLAYED = {
    "image": "/camera/color/image_raw",
    "depth": "/camera/depth/image_raw",
    "camera_info": "/camera/color/camera_info",
}


def joint(presets: list[str], pairs: int) -> None:
    """Pairs of frames of two cameras, one after the other and together; the ways alternate on the same."""
    rows = {}
    for preset in presets:
        segmenter = load_preset(preset, device="cpu")
        segmenter.warm_up()
        for tracked in (True, False):
            seconds: dict[str, list[float]] = defaultdict(list)
            masks = differs = 0
            cameras = {way: [VideoSegmenter(segmenter) for _ in RECORDINGS] for way in ("apart", "joint")}
            for number, frames in enumerate(itertools.islice(_pairs(), pairs)):
                results = {}
                for way in ("apart", "joint") if number % 2 else ("joint", "apart"):
                    of = [one.embedding if tracked else segmenter.embedding for one in cameras[way]]
                    wall, cpu = time.perf_counter(), time.process_time()
                    ways = [embedding(frame) for embedding, frame in zip(of, frames, strict=True)]
                    if way == "joint":
                        results[way] = together(ways, segmenter.encode_all)
                    else:
                        results[way] = [alone(one, segmenter.encode_all) for one in ways]
                    seconds[f"{way} wall"].append(time.perf_counter() - wall)
                    seconds[f"{way} cpu"].append(time.process_time() - cpu)
                    seconds[f"{way} encode"].append(sum(one.timings["encode"] for one in results[way]))
                for one, other in zip(*results.values(), strict=True):
                    masks += len(one.masks)
                    differs = max(
                        differs,
                        float((one.embeddings - other.embeddings).abs().max()) if len(one.masks) else 0.0,
                    )
            warm = {name: values[2:] for name, values in seconds.items()}
            row = {
                "pairs": pairs - 2,
                "masks_per_frame": masks / pairs / 2,
                "largest_difference": differs,
                **{
                    f"joint_to_apart_{what}": statistics.median(warm[f"joint {what}"])
                    / statistics.median(warm[f"apart {what}"])
                    for what in ("wall", "cpu", "encode")
                },
                "apart_wall_ms": 1000 * statistics.median(warm["apart wall"]),
            }
            rows[f"{preset}, {'tracked' if tracked else 'every mask encoded'}"] = row
            print(f"{preset:5} tracked={tracked!s:5} " + "  ".join(f"{k} {v:.4g}" for k, v in row.items()))
    write_json({"machine": machine(), "rows": rows}, ROOT / "out" / "benchmark" / "cameras_joint.json")


def _pairs() -> Iterator[tuple[Frame, ...]]:
    """Frames of both recordings, the shorter one over and over."""
    kept = [[one.frame for one in read_recording(path)] for path in RECORDINGS.values()]
    return zip(*(itertools.cycle(frames) for frames in kept), strict=False)


def memory(preset: str, frames: int, rate: float) -> None:
    """The node's memory after so many frames of each camera, with one and two, and the second one's part."""
    resident = {}
    for cameras in (["front"], ["front", "left"]):
        resident[len(cameras)] = _resident_mb(preset, cameras, frames, rate)
        print(f"{preset}: {len(cameras)} camera(s), {resident[len(cameras)]:.0f} MB", flush=True)
    part = resident[2] / resident[1] - 1
    print(f"the second camera takes {100 * part:.1f} % of what the node takes with the first")
    of = {"preset": preset, "frames": frames, "resident_mb": resident, "second_of_first": part}
    write_json({"machine": machine(), **of}, ROOT / "out" / "benchmark" / "cameras_memory.json")


def _resident_mb(preset: str, cameras: list[str], frames: int, rate: float) -> float:
    """Megabytes of the node's process, each of its cameras played and listened to."""
    import rclpy
    from ovseg_ros.msg import Segmentation
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image

    with ExitStack() as stack:
        words = "[teapot, mug, bowl, plate, book]"
        options = {"preset": preset, "cameras": f"[{', '.join(cameras)}]", "vocabulary": words}
        given = [part for name, value in options.items() for part in ("-p", f"{name}:={value}")]
        node = stack.enter_context(_running("ovseg_ros.ros.run", "--ros-args", *given))
        for camera in cameras:
            remaps = [part for name, topic in PLAYED.items() for part in ("-r", f"{topic}:=/{camera}/{name}")]
            played = (str(RECORDINGS[camera]), "--rate", str(rate), "--ros-args", *remaps)
            stack.enter_context(_running("ovseg_ros.ros.player", *played))
        rclpy.init()
        stack.callback(rclpy.try_shutdown)
        listener = rclpy.create_node("listener")
        counts = dict.fromkeys(cameras, 0)

        def count(camera: str) -> Callable[[Any], None]:
            def add(message: Any) -> None:
                counts[camera] += 1

            return add

        for camera in cameras:
            topic = f"/ovseg/{camera}"
            listener.create_subscription(Segmentation, f"{topic}/segmentation", count(camera), 5)
            listener.create_subscription(Image, f"{topic}/overlay", lambda _: None, QoSProfile(depth=1))
        threading.Thread(target=rclpy.spin, args=(listener,), daemon=True).start()
        while min(counts.values()) < frames:
            if node.poll() is not None:
                sys.exit("the node ended")
            time.sleep(0.1)
        pages = int(Path(f"/proc/{node.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _running(module: str, *arguments: str) -> Any:
    """A process that is ended with the context it is entered in."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.DEVNULL)

    class Ended(ExitStack):
        def __enter__(self) -> Any:
            self.callback(process.wait)
            self.callback(process.terminate)
            return process

    return Ended()


def main() -> None:
    """Runs one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("joint", "memory"))
    parser.add_argument("--presets", nargs="+", default=["mini", "lite"])
    parser.add_argument("--pairs", type=int, default=30, help="pairs of frames")
    parser.add_argument("--frames", type=int, default=60, help="frames of each camera before memory is read")
    parser.add_argument("--rate", type=float, default=2.0, help="at which the recordings are played, Hz")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "joint":
        joint(options.presets, options.pairs)
    else:
        memory(options.presets[0], options.frames, options.rate)


if __name__ == "__main__":
    main()
