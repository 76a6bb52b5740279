"""How planners and the node meet: how many requests may arrive at once, and the node's sign of life."""

from __future__ import annotations

from rclpy.duration import Duration
from rclpy.qos import QoSLivelinessPolicy, QoSProfile

from ovseg_ros.ros.parameters.table import highest

# What the middleware throws away is never answered. ROS's default is 10 requests, while `max_pending` may be
# raised to its limit at any time, and who comes beyond is to hear BUSY: room for ten times that limit, and
# for as many answers on their way.
SERVICES = QoSProfile(depth=10 * int(highest("max_pending")))  # reliable and volatile, as ROS's own

# Without this a process that was killed stays in the graph for 20 s. The middleware's own threads say that
# the node is alive, so neither a long callback nor Python's lock makes it look dead.
ALIVE = QoSProfile(
    depth=1,
    liveliness=QoSLivelinessPolicy.AUTOMATIC,
    liveliness_lease_duration=Duration(nanoseconds=1_500_000_000),
)
