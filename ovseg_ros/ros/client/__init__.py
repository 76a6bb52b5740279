"""A planner's side of the node: asks by name and gets plain values back. Needs rclpy and numpy, no torch."""

from ovseg_ros.core.choice import Limits
from ovseg_ros.ros.client.client import NodeClient
from ovseg_ros.ros.client.connection import LOST_S, NoAnswer, NodeGone
from ovseg_ros.ros.client.goals import Following, Progress, Search
from ovseg_ros.ros.client.recalling import RecallReply
from ovseg_ros.ros.client.replies import (
    FoundSegment,
    Place,
    Pose,
    RememberedThing,
    Reply,
    Sighting,
    Words,
)
from ovseg_ros.ros.client.teaching import TaughtReply

__all__ = [
    "LOST_S",
    "Following",
    "FoundSegment",
    "Limits",
    "NoAnswer",
    "NodeClient",
    "NodeGone",
    "Place",
    "Pose",
    "Progress",
    "RecallReply",
    "RememberedThing",
    "Reply",
    "Search",
    "Sighting",
    "TaughtReply",
    "Words",
]
