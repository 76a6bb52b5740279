#!/usr/bin/env python3
"""Exit 0 if the lifecycle node of this container is active, else 1 with what it is instead.

OVSEG_NODE names the node where it is not /ovseg; OVSEG_HEALTH_TIMEOUT is in seconds.
"""

import os
import sys

import rclpy
from lifecycle_msgs.srv import GetState

TIMEOUT_S = float(os.environ.get("OVSEG_HEALTH_TIMEOUT", "10"))


def state_of(name: str, timeout_s: float = TIMEOUT_S) -> str:
    """The label of a lifecycle node's state, or what stands in the way of knowing it."""
    rclpy.init()
    try:
        node = rclpy.create_node("healthcheck", start_parameter_services=False, enable_rosout=False)
        client = node.create_client(GetState, f"{name}/get_state")
        if not client.wait_for_service(timeout_sec=timeout_s):
            return f"no node {name} within {timeout_s:.0f} s"
        answer = client.call_async(GetState.Request())
        rclpy.spin_until_future_complete(node, answer, timeout_sec=timeout_s)
        return answer.result().current_state.label if answer.done() else f"no answer within {timeout_s:.0f} s"
    finally:
        rclpy.shutdown()


if __name__ == "__main__":
    found = state_of(os.environ.get("OVSEG_NODE", "/ovseg"))
    print(found)
    sys.exit(found != "active")
