"""How many point clouds of 1280x720 arrive whole in another process, by Fast DDS profile.

    scripts/env.sh --own-domain python benchmark/clouds.py

One process publishes what the node does with every output watched: five reliable images (10 MB together),
then the cloud (18 MB, best effort). Another one, which has config/fastdds.xml in any case, counts them. Each
profile gets processes of its own, and the profiles take turns.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import rclpy
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image, PointCloud2

ROOT = Path(__file__).resolve().parents[1]
PROFILES = ("fastdds.xml", "fastdds_points.xml")
PIXELS = 1280 * 720
IMAGE_BYTES = (
    int(3.4 * PIXELS),
    PIXELS,
    PIXELS,
    2 * PIXELS,
    3 * PIXELS,
)  # the first stands for ~/segmentation


def filled(message: Any, size: int) -> Any:
    """The message with `size` bytes of data."""
    message._check_fields = True  # then rclpy takes the array as it is
    message.data = array.array("B", bytes(size))
    return message


def listen() -> None:
    """Counts clouds and images until its standard input ends, then says how many."""
    rclpy.init(args=[])
    node = rclpy.create_node("listener")
    taken = {"clouds": 0, "images": 0}

    def count(kind: str) -> Any:
        def one_more(_: bytes) -> None:
            taken[kind] += 1

        return one_more

    node.create_subscription(PointCloud2, "points", count("clouds"), qos_profile_sensor_data, raw=True)
    for i in range(len(IMAGE_BYTES)):
        node.create_subscription(Image, f"image_{i}", count("images"), QoSProfile(depth=1), raw=True)
    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
    sys.stdin.read()
    print(json.dumps(taken), flush=True)
    os._exit(0)  # the executor's thread is in the middle of things


def publish(frames: int, rate: float) -> None:
    """Publishes, and prints what the other process took."""
    environment = os.environ | {"FASTRTPS_DEFAULT_PROFILES_FILE": str(ROOT / "config" / PROFILES[0])}
    listener = subprocess.Popen(
        [sys.executable, __file__, "--listen"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    rclpy.init(args=[])
    node = rclpy.create_node("publisher")
    outputs = [
        (node.create_publisher(Image, f"image_{i}", QoSProfile(depth=1)), filled(Image(), size))
        for i, size in enumerate(IMAGE_BYTES)
    ]
    clouds = node.create_publisher(PointCloud2, "points", qos_profile_sensor_data)
    outputs.append((clouds, filled(PointCloud2(), 20 * PIXELS)))
    while not all(publisher.get_subscription_count() for publisher, _ in outputs):
        time.sleep(0.05)
    time.sleep(1)  # the other way round
    due = time.monotonic()
    for _ in range(frames):
        for publisher, message in outputs:
            publisher.publish(message)
        due += 1 / rate
        time.sleep(max(due - time.monotonic(), 0))
    time.sleep(1)
    print(listener.communicate(timeout=20)[0], end="")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=60, help="of each profile in each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second")
    parser.add_argument("--listen", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.listen:
        listen()
    if options.publish:
        publish(options.frames, options.rate)
        return
    arrived: dict[str, list[dict[str, int]]] = defaultdict(list)
    for _ in range(options.rounds):
        for profile in PROFILES:
            answer = subprocess.run(
                [sys.executable, *sys.argv, "--publish"],
                env=os.environ | {"FASTRTPS_DEFAULT_PROFILES_FILE": str(ROOT / "config" / profile)},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=120,
            )
            arrived[profile].append(json.loads(answer.stdout))
    for profile, rounds in arrived.items():
        clouds, images = ([taken[kind] for taken in rounds] for kind in ("clouds", "images"))
        print(
            f"{profile}: clouds {clouds} of {options.frames}, "
            f"images {images} of {len(IMAGE_BYTES) * options.frames}"
        )


if __name__ == "__main__":
    main()
