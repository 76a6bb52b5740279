"""A node of the client's own in a DDS domain, the thread that spins it, and waiting for answers."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import rclpy
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Empty

from ovseg_ros.errors import OvsegError
from ovseg_ros.ros.requests.queues import ALIVE, SERVICES

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

_T = TypeVar("_T")
LOST_S = 0.25  # so long the node must show no sign of life to count as gone, on top of the lease of `ALIVE`
SEGMENT_TYPE = "ovseg_ros/srv/SegmentImage"
_EXECUTOR_S = 30.0  # what is made on the executor's thread takes milliseconds, seconds on a busy machine
_LOOK_S = 0.1  # between two looks at whether the node is still alive


class NoAnswer(OvsegError):
    """What was waited for did not come in time; the message says what."""


class NodeGone(NoAnswer):
    """The node was there and is no more: its process ended, or the network to it did. Said within 2 s."""


class Connection:
    """What every part of the client shares. `close` ends it."""

    def __init__(self, *, domain_id: int | None, node_name: str) -> None:
        """Joins the domain in a context of its own, so that it disturbs no other use of rclpy in the program.

        Args:
            domain_id: of DDS; None: the one of ROS_DOMAIN_ID.
            node_name: the full name of the node that is asked.
        """
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain_id)
        self.node = rclpy.create_node(
            f"ovseg_client_{uuid.uuid4().hex[:8]}",  # several clients at once are told apart
            context=self._context,
            enable_rosout=False,
            start_parameter_services=False,
        )
        self.name, self._domain = node_name, self._context.get_domain_id()
        self.changed = threading.Condition()
        self._seen = False  # whether the node was ever alive
        self._lost_at: float | None = None  # since when it is not
        watch = SubscriptionEventCallbacks(liveliness=self._on_liveliness)
        alive = f"{node_name}/alive"
        self.node.create_subscription(Empty, alive, lambda _: None, ALIVE, event_callbacks=watch)
        self._actions: list[ActionClient] = []
        self._closing = False
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="ovseg client", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leaves the domain; a second time does nothing."""
        if not self._context.ok() or self._closing:
            return
        self._closing = True
        self._executor.create_task(lambda: None)  # wakes it
        self._thread.join(timeout=10.0)
        self._executor.shutdown(timeout_sec=10.0)  # under a spin that goes on it takes away what that uses
        for action in self._actions:  # the node does not know them as its own
            action.destroy()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self.notify()

    def action(self, kind: Any, name: str, **more: Any) -> ActionClient:
        """A client of an action of the node's, with queues as deep as the node's own."""
        deep = {f"{service}_service_qos_profile": SERVICES for service in ("goal", "result", "cancel")}
        self._actions.append(ActionClient(self.node, kind, f"{self.name}/{name}", **deep, **more))
        return self._actions[-1]

    def service(self, kind: Any, name: str) -> Any:
        """A client of a service of the node's, likewise: many threads may ask at once.

        Of more than ten calls under way ROS's default queues lose some.
        """
        return self.node.create_client(kind, f"{self.name}/{name}", qos_profile=SERVICES)

    # Whether the node is there

    @property
    def seen(self) -> bool:
        """Whether the node was ever alive."""
        return self._seen

    def is_gone(self) -> bool:
        """Whether the node was alive and is no more."""
        lost_at = self._lost_at
        return lost_at is not None and time.monotonic() - lost_at > LOST_S

    def check_alive(self) -> None:
        """Raises NodeGone where the node has died, NoAnswer where this client was closed."""
        if self._closing or not self._context.ok():
            raise NoAnswer("this client is closed")
        if self.is_gone():
            raise NodeGone(
                f"the node {self.name} is gone: it was there and shows no sign of life any more; its "
                "process has ended, or the network to it has"
            )

    def connected(self, ready: Callable[[], bool], name: str, timeout_s: float) -> None:
        """Waits until an interface is offered.

        Raises:
            NoAnswer: it is not, in time; NodeGone: the node has died.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.check_alive()  # first: a dead node's services stay in the graph for a while
            if ready():
                return
            if time.monotonic() > deadline:
                raise NoAnswer(f"{name} was not offered within {timeout_s:g} s: {self._absence()}")
            time.sleep(0.02)

    def _absence(self) -> str:
        """What there is in the place of what was looked for."""
        if self._seen:
            return f"the node {self.name} is there, but without it"
        services = self.node.get_service_names_and_types()
        segmenting = {name.removesuffix("/segment") for name, kinds in services if SEGMENT_TYPE in kinds}
        others = ", ".join(sorted(segmenting - {self.name}))
        there = f"; there is {others}: say so with node_name" if others else ""
        return f"no node {self.name} in domain {self._domain}; is it started, with this ROS_DOMAIN_ID?{there}"

    def _on_liveliness(self, event: Any) -> None:
        with self.changed:
            if event.alive_count > 0:
                self._seen, self._lost_at = True, None
            elif self._seen and self._lost_at is None:
                self._lost_at = time.monotonic()

    # Waiting

    def notify(self) -> None:
        """Wakes whoever waits for something to have changed."""
        with self.changed:
            self.changed.notify_all()

    def wait(
        self, look: Callable[[], _T | None], timeout_s: float | None, *, of_node: bool = True
    ) -> _T | None:
        """What `look` gives as soon as it is not None; looked at whenever something changed.

        Args:
            look: called with `changed` held.
            timeout_s: None: as long as it takes.
            of_node: it comes from the node.

        Returns:
            None where it did not come in time.

        Raises:
            NodeGone: `of_node`, and the node has died.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self.changed:
            while (seen := look()) is None:
                remaining = _LOOK_S if deadline is None else deadline - time.monotonic()
                if remaining <= 0:
                    return None
                if of_node:
                    self.check_alive()
                self.changed.wait(min(remaining, _LOOK_S))
        return seen

    def result(self, future: Any, timeout_s: float, *, give_up: bool = True) -> Any:
        """What a future of rclpy's comes to; None where that takes too long.

        Args:
            future: of a request.
            timeout_s: how long to wait for it.
            give_up: forget the request where nobody waits for it any more.

        Raises:
            NodeGone: the node has died.
        """
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        deadline = time.monotonic() + timeout_s
        try:
            while not done.wait(min(_LOOK_S, max(deadline - time.monotonic(), 0.0))):
                self.check_alive()
                if time.monotonic() >= deadline:
                    return None
        finally:
            if give_up and not done.is_set():
                future.cancel()  # else rclpy keeps it among the requests that wait for an answer
        return future.result()

    def call(self, client: Any, request: Any, name: str, timeout_s: float) -> Any:
        """Calls a service of the node's.

        Raises:
            NoAnswer: it is not offered, or does not answer, in time; NodeGone: the node has died.
        """
        self.connected(client.service_is_ready, name, timeout_s)
        reply = self.result(client.call_async(request), timeout_s)
        if reply is None:
            raise NoAnswer(f"{name} did not answer in {timeout_s:g} s")
        return reply

    def begin(self, request: Callable[[], Any]) -> Any:
        """Has something done on the executor's thread, without waiting for it; returns its future.

        None where this client was closed.

        rclpy's action client notes a request after sending it: made on another thread, its response may come
        before and is then thrown away. What ends a subscription under an executor that waits for it has its
        place there too.
        """
        return None if self._closing or not self._context.ok() else self._executor.create_task(request)

    def on_executor(self, request: Callable[[], Any]) -> Any:
        """What `request` returns, called on the executor's thread."""
        done = threading.Event()
        self.check_alive()
        task = self.begin(request)
        task.add_done_callback(lambda _: done.set())
        if not done.wait(_EXECUTOR_S):
            self.check_alive()
            raise NoAnswer("the client's executor is stuck")
        return task.result()

    def _spin(self) -> None:
        try:
            while not self._closing and self._context.ok():
                self._executor.spin_once()
        except Exception:
            if self._context.ok():  # else somebody took it away, which rclpy says in many ways
                raise
