"""Two things rclpy's lifecycle nodes lack: a word about what went wrong, patience with a wrong request."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

Callback = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def logged_transition(method: Callback) -> Callback:
    """Logs an unforeseen exception of a lifecycle callback; rclpy turns it into ERROR and says nothing."""

    @functools.wraps(method)
    def logged(self: Any, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return method(self, state)
        except Exception:
            if self.context.ok():  # else the process is being ended and nothing can be published any more
                self.get_logger().error(f"{method.__name__} failed:\n{traceback.format_exc()}")
            raise

    return logged


def survive_refused_transitions(node: LifecycleNode) -> None:
    """A transition that the present state does not allow is answered with success: false.

    In Humble and Jazzy rclpy lets the error through the service's callback, and it ends the node.
    """
    service = getattr(node, "_service_change_state", None)
    if service is None:
        return
    change_state = service.callback

    def answered(request: Any, response: Any) -> Any:
        try:
            return change_state(request, response)
        except rclpy_implementation.RCLError as error:
            node.get_logger().error(f"transition {request.transition.id} refused: {error}")
            response.success = False
            return response

    service.callback = answered
