"""Services whose answers take time: each is a coroutine, and whatever goes wrong becomes its reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup

from ovseg_ros.ros.requests.answers import request_error_of
from ovseg_ros.ros.requests.queues import SERVICES

Answer = Callable[[Any, Any], Awaitable[None]]
"""Fills a response for a request."""


def serve(node: Any, *services: tuple[Any, str, Answer]) -> None:
    """Offers services.

    They hand their work to the inference thread and leave the executor free until it is done.

    Args:
        node: an `ovseg_ros.ros.node.OvsegNode`.
        services: of each its type, whose response has `code` and `message`, its name, and what answers it.
    """
    group = ReentrantCallbackGroup()
    for kind, name, answer in services:
        answered = partial(_answered, node, answer)
        node.create_service(kind, name, answered, qos_profile=SERVICES, callback_group=group)


async def _answered(node: Any, answer: Answer, request: Any, response: Any) -> Any:
    """Awaits an answer; whatever goes wrong becomes the reply's code and message."""
    try:
        await answer(request, response)
    except Exception as error:
        refusal = request_error_of(error)
        node.report(refusal, error)
        # A message of its own: a job that was given up on may still write into the other.
        return type(response)(code=refusal.code, message=refusal.message)
    return response
