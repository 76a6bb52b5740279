"""Lifecycle walks: any transition from any state, allowed or not, is answered, and leads where it should."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import SegmentImage
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from soak_node.camera import Camera
from soak_node.checks import FOUND, NOT_FOUND
from soak_node.process import Running, start_node

UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = (
    State.PRIMARY_STATE_UNCONFIGURED,
    State.PRIMARY_STATE_INACTIVE,
    State.PRIMARY_STATE_ACTIVE,
    State.PRIMARY_STATE_FINALIZED,
)
ALLOWED = {
    (UNCONFIGURED, Transition.TRANSITION_CONFIGURE): INACTIVE,
    (UNCONFIGURED, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN): FINALIZED,
    (INACTIVE, Transition.TRANSITION_ACTIVATE): ACTIVE,
    (INACTIVE, Transition.TRANSITION_CLEANUP): UNCONFIGURED,
    (INACTIVE, Transition.TRANSITION_INACTIVE_SHUTDOWN): FINALIZED,
    (ACTIVE, Transition.TRANSITION_DEACTIVATE): INACTIVE,
    (ACTIVE, Transition.TRANSITION_ACTIVE_SHUTDOWN): FINALIZED,
}
ANY = (
    *range(9),
    10,
    30,
    62,
    200,
    255,
)  # numbers of transitions, of those that only rcl may ask for, and of none
ILLEGAL_SHARE, SHUTDOWN_SHARE = 0.3, 0.03
PATIENCE_S = 180.0  # for a model to be loaded where others keep the machine busy
MOST_MIB_PER_CYCLE = 5.0  # that configure and cleanup may leave behind, after the first three


class Walk:
    """A walk of a node that waits for a manager."""

    def __init__(self, out: Path, seed: int) -> None:
        """Starts the node."""
        self._rng, self._log = random.Random(seed), out / "walks.log"
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context)
        self._node = Node("walker", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._image = Camera(self._node, self._rng).frame(0)
        self._change = self._node.create_client(ChangeState, "ovseg/change_state")
        self._get = self._node.create_client(GetState, "ovseg/get_state")
        self._segment = self._node.create_client(SegmentImage, "ovseg/segment")
        self.counts: Counter[str] = Counter()
        self.breaches: list[str] = []
        self.left_mib: list[list[float]] = []  # of each process, after each cleanup
        self._process = self._begin()

    def _begin(self) -> Running:
        self.left_mib.append([])
        self._state = UNCONFIGURED
        process = start_node(self._log, autostart=False, vocabulary="teapot")
        # A server of the node before may still be known to us: what is sent to it has no answer.
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s and process.code is None:
            reply = self._ask(self._get, GetState.Request(), 2.0)
            if reply is not None and reply.current_state.id == UNCONFIGURED and self._are_ready():
                return process
        raise RuntimeError(f"the node did not start; it said:\n{process.said[-2000:]}")

    def _are_ready(self) -> bool:
        """Whether the other servers answer too."""
        request = SegmentImage.Request(labels=["mug"])
        refused = ChangeState.Request(transition=Transition(id=255))
        replies = [self._ask(self._segment, request, 2.0), self._ask(self._change, refused, 2.0)]
        return None not in replies

    def run(self, steps: int) -> dict[str, Any]:
        """Walks so many transitions."""
        begun_s = time.monotonic()
        try:
            for number in range(steps):
                self._step()
                if (number + 1) % 20 == 0:
                    print(f"[walks] {number + 1} of {steps}: {dict(self.counts)}", flush=True)
            self._process.send(15)
            if self._process.wait(15.0) != 0:
                self.breaches.append(f"exit status {self._process.code} at the end")
        finally:
            self._process.kill()
            self._executor.shutdown(timeout_sec=2.0)
            self._node.destroy_node()
            rclpy.try_shutdown(context=self._context)
        per_cycle = self._growth()
        if per_cycle is not None and per_cycle > MOST_MIB_PER_CYCLE:
            self.breaches.append(f"each configure and cleanup leaves {per_cycle:.1f} MiB behind")
        if "Traceback" in self._process.said:
            self.breaches.append(f"a traceback in {self._log.name}")
        return {
            "steps": steps,
            "minutes": round((time.monotonic() - begun_s) / 60, 2),
            "counts": dict(sorted(self.counts.items())),
            "mib_per_cycle": per_cycle,
            "mib_after_cleanup": [[round(mib, 1) for mib in row] for row in self.left_mib],
            "breaches": self.breaches,
        }

    def _step(self) -> None:
        transition = self._chosen()
        wanted = ALLOWED.get((self._state, transition))
        request = ChangeState.Request(transition=Transition(id=transition))
        reply = self._ask(self._change, request, PATIENCE_S)
        where = f"transition {transition} from state {self._state}"
        self.counts["allowed" if wanted else "not allowed"] += 1
        if reply is None:
            self.breaches.append(f"{where}: no answer; exit status {self._process.code}")
            self._process.kill()
            self._process = self._begin()
            return
        if reply.success != (wanted is not None):
            self.breaches.append(f"{where}: answered {reply.success}")
        self._state = wanted or self._state
        state = self._ask(self._get, GetState.Request(), PATIENCE_S)
        if state is None or state.current_state.id != self._state:
            self.breaches.append(
                f"{where}: now {state and state.current_state.label}, expected {self._state}"
            )
        self._look_at_answers(where)
        if self._state == UNCONFIGURED and transition == Transition.TRANSITION_CLEANUP:
            sample = self._process.sample()
            self.left_mib[-1].append(sample.resident_mib if sample else 0.0)
        if self._state == FINALIZED:
            self._process.send(15)
            if self._process.wait(15.0) != 0:
                self.breaches.append(f"exit status {self._process.code} after {where}")
                self._process.kill()
            self._process = self._begin()

    def _chosen(self) -> int:
        chance = self._rng.random()
        if chance < ILLEGAL_SHARE:
            return self._rng.choice(ANY)
        allowed = [number for state, number in ALLOWED if state == self._state]
        shutdowns = [number for number in allowed if ALLOWED[self._state, number] == FINALIZED]
        if chance > 1 - SHUTDOWN_SHARE and shutdowns:
            return self._rng.choice(shutdowns)
        return self._rng.choice([number for number in allowed if number not in shutdowns])

    def _look_at_answers(self, where: str) -> None:
        """In each state a request is answered: with what was searched, or INACTIVE."""
        image, depth, info = self._image
        request = SegmentImage.Request(image=image, depth=depth, camera_info=info, labels=["teapot"])
        reply = self._ask(self._segment, request, PATIENCE_S)
        searched = (FOUND, NOT_FOUND)
        right = searched if self._state == ACTIVE else (ResultCode.INACTIVE,)
        if reply is None or reply.code not in right:
            self.breaches.append(f"{where}: ~/segment answered {reply and (reply.code, reply.message)}")

    def _ask(self, client: Any, request: Any, patience_s: float) -> Any:
        """The reply, None where there is none in time."""
        if not client.wait_for_service(patience_s):
            return None
        future = client.call_async(request)
        self._executor.spin_until_future_complete(future, patience_s)
        return future.result() if future.done() else None

    def _growth(self) -> float | None:
        """MiB that a cycle leaves behind, in the longest life, without its first three cycles."""
        row = max(self.left_mib, key=len)[3:]
        return None if len(row) < 3 else round((row[-1] - row[0]) / (len(row) - 1), 2)
