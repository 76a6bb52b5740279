"""Random play: words that change, requests of every kind, kills, stalls, jumps in time, wrong messages."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from ovseg_ros.msg import Segmentation, Vocabulary
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import String

from soak_node.camera import Camera
from soak_node.checks import Checks
from soak_node.process import Running, Sample, start_node
from soak_node.requests import Requests

KILLING_SHARE = 0.3  # of the time; then one process lives to the end, so that its memory can be judged
SAMPLE_S, PROGRESS_S, START_S = 5.0, 60.0, 400.0
END_S = 10.0  # the node has so long to end by a signal here, where others keep the machine busy
RATE_HZ = 12.0

EVERY_S = {  # seconds between two of a kind, on average
    "query": 3.0,
    "set_vocabulary": 2.0,
    "segment": 1.5,
    "find_object": 3.0,
    "embed_text": 10.0,
    "flood": 120.0,
    "disable": 90.0,
    "parameter": 20.0,
    "stall": 60.0,
    "jump": 90.0,
    "wrong": 2.0,
    "kill_planner": 40.0,
    "kill_node": 75.0,
}


class Play:
    """One run of random play. Everything happens on one thread: messages, replies and what is done next."""

    def __init__(self, minutes: float, out: Path, seed: int, *, patience_s: float) -> None:
        """Starts camera, node and planner.

        Args:
            minutes: to play.
            out: folder for logs.
            seed: of all that is random.
            patience_s: a request not answered within it was not answered.
        """
        self._rng, self._out, self._seed = random.Random(seed), out, seed
        self._length_s = minutes * 60
        self.checks = Checks()
        self.lives: list[list[Sample]] = []  # of each process that was the node
        self.context = rclpy.Context()
        rclpy.init(args=[], context=self.context)
        self._node = Node("soak", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self._node)
        self.camera = Camera(self._node, self._rng)
        self._queries = self._node.create_publisher(String, "ovseg/query", 10)
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        subscribe = self._node.create_subscription
        sizes = self.camera.sizes_hw
        subscribe(Segmentation, "ovseg/segmentation", lambda m: self.checks.segmentation(m, sizes), 10)
        subscribe(Vocabulary, "ovseg/vocabulary", self.checks.vocabulary, latched)
        self._get_state = self._node.create_client(GetState, "ovseg/get_state")
        self.requests = Requests(self._node, self._rng, self.checks, self.camera, patience_s)
        self._next_frame_s = 0.0
        self._planner: Running | None = None
        self._node_process: Running | None = None

    def run(self) -> dict[str, Any]:
        """Plays; returns what was counted, found wrong and sampled."""
        begun_s = time.monotonic()
        try:
            self._start_node()
            self._start_planner()
            self._play(begun_s)
            self._end_of_play()
        finally:
            for process in (self._planner, self._node_process):
                if process is not None:
                    process.kill()
            self._executor.shutdown(timeout_sec=2.0)
            self._node.destroy_node()
            rclpy.try_shutdown(context=self.context)
        counts = dict(sorted(self.checks.counts.items()))
        return {
            "seed": self._seed,
            "minutes": round((time.monotonic() - begun_s) / 60, 2),
            "results": counts.get("results", 0),
            "images_sent": self.camera.sent,
            "lives": len(self.lives),
            "counts": counts,
            "breaches": self.checks.breaches,
        }

    def _play(self, begun_s: float) -> None:
        rates = {name: 1.0 / every for name, every in EVERY_S.items()}
        last_s = sampled_s = said_s = time.monotonic()
        while (now_s := time.monotonic()) - begun_s < self._length_s:
            self._spin(0.02)
            passed_s, last_s = now_s - last_s, now_s
            killing = now_s - begun_s < KILLING_SHARE * self._length_s
            for name, rate in rates.items():
                if self._rng.random() < rate * passed_s and (killing or name != "kill_node"):
                    getattr(self, f"_{name}", self.requests.send(name))()
                    self.checks.counts[f"did {name}"] += 1
            self.requests.look()
            self._look_at_processes()
            if now_s - sampled_s > SAMPLE_S:
                sampled_s = now_s
                self._sample()
            if now_s - said_s > PROGRESS_S:
                said_s = now_s
                self._say(now_s - begun_s)

    # What may happen beside requests

    def _query(self) -> None:
        self._queries.publish(String(data=self.requests.any_query()))

    def _stall(self) -> None:
        self.camera.stalled_until_s = time.monotonic() + self._rng.uniform(0.3, 6)

    def _jump(self) -> None:
        self.camera.jump_s = self._rng.choice([-3600.0, -30.0, -1.0, 0.5, 60.0])
        self.camera.jumped_until_s = time.monotonic() + self._rng.uniform(0.5, 5)

    def _wrong(self) -> None:
        self.camera.send_wrong()

    def _kill_planner(self) -> None:
        assert self._planner is not None
        self._planner.kill()
        self._start_planner()

    def _kill_node(self) -> None:
        assert self._node_process is not None
        number = self._rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        self._node_process.send(number)
        if self._node_process.wait(END_S) is None:
            self.checks.breach(f"the node did not end within {END_S:g} s of {signal.Signals(number).name}")
            self._node_process.kill()
        elif number != signal.SIGKILL and self._node_process.code != 0:
            self.checks.breach(f"exit status {self._node_process.code} by {signal.Signals(number).name}")
        self._begin_anew()

    # Processes

    def _begin_anew(self) -> None:
        """Another node process, after what the old one sent has arrived."""
        self._no_trace(self._node_process)
        self._spin_for(1.0)
        self.requests.forget()
        self.checks.forget()
        self._start_node()

    def _start_node(self) -> None:
        process = start_node(self._out / "node.log", vocabulary="teapot,mug")
        self._node_process = process
        self.lives.append([])
        deadline_s = time.monotonic() + START_S
        while not self._is_active() and time.monotonic() < deadline_s and process.code is None:
            self._spin_for(0.5)
        while not self.requests.arrive() and time.monotonic() < deadline_s and process.code is None:
            self._spin_for(0.5)  # what is sent before a server is known to us would be lost
        if process.code is not None or time.monotonic() >= deadline_s:
            raise RuntimeError(f"the node did not start; it said:\n{process.said[-2000:]}")

    def _is_active(self) -> bool:
        if not self._get_state.service_is_ready():
            return False
        future = self._get_state.call_async(GetState.Request())
        self._spin_for(2.0, until=future.done)
        return future.done() and future.result().current_state.id == State.PRIMARY_STATE_ACTIVE

    def _start_planner(self) -> None:
        program = Path(__file__).with_name("planner.py")
        self._planner = Running(
            self._out / "planner.log", sys.executable, str(program), str(self._rng.random())
        )

    def _look_at_processes(self) -> None:
        assert self._planner is not None
        assert self._node_process is not None
        if self._planner.code is not None:
            self.checks.breach(f"the planner ended by itself: {self._planner.said[-600:]}")
            self._start_planner()
        if self._node_process.code is not None:
            said = self._node_process.said[-600:]
            self.checks.breach(f"the node ended by itself with {self._node_process.code}: {said}")
            self._begin_anew()

    def _end_of_play(self) -> None:
        """The last node ends by a signal, with status 0, once its requests are answered."""
        deadline_s = time.monotonic() + self.requests.patience_s
        while self.requests.open and time.monotonic() < deadline_s:
            self._spin(0.05)
            self.requests.look()
        assert self._node_process is not None
        self._node_process.send(signal.SIGINT)
        if self._node_process.wait(END_S) != 0:
            self.checks.breach(f"exit status {self._node_process.code} at the end")
        self._no_trace(self._node_process)

    def _no_trace(self, process: Running | None) -> None:
        said = process.said if process is not None else ""
        self.checks.counts["tracebacks"] += said.count("Traceback")
        if "Traceback" in said:
            at = said.index("Traceback")
            self.checks.breach(f"a traceback in the node's log: {said[at : at + 1500]}")

    # Time

    def _sample(self) -> None:
        sample = self._node_process.sample() if self._node_process is not None else None
        if sample is not None:
            self.lives[-1].append(sample)

    def _spin(self, timeout_s: float) -> None:
        """What has come is looked at, and the camera goes on."""
        now_s = time.monotonic()
        if now_s >= self._next_frame_s:
            self._next_frame_s = now_s + 1.0 / RATE_HZ
            self.camera.step(now_s)
        self._executor.spin_once(timeout_sec=timeout_s)

    def _spin_for(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s and not until():
            self._spin(0.02)

    def _say(self, passed_s: float) -> None:
        life = self.lives[-1][-1] if self.lives[-1] else None
        held = f", {life.resident_mib:.0f} MiB, {life.files} files, {life.threads} threads" if life else ""
        counts = self.checks.counts
        print(
            f"[play] {passed_s / 60:.0f} of {self._length_s / 60:.0f} min: {counts['results']} results, "
            f"{counts['segments']} segments, {counts['breaches']} breaches, node {len(self.lives)}{held}",
            flush=True,
        )
