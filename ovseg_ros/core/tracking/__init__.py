"""The same things over time: which mask is which track, and what need not be encoded again."""

from ovseg_ros.core.tracking.appearance import ChangeLimits, Thumbnails, changes, thumbnails_of
from ovseg_ros.core.tracking.association import assign
from ovseg_ros.core.tracking.budget import Budget
from ovseg_ros.core.tracking.confirmation import SAME_THING_IOU, Confirmation, Sighting
from ovseg_ros.core.tracking.deadline import Deadline, FrameCost
from ovseg_ros.core.tracking.tracks import TrackOptions
from ovseg_ros.core.tracking.video import VideoReport, VideoSegmenter

__all__ = [
    "SAME_THING_IOU",
    "Budget",
    "ChangeLimits",
    "Confirmation",
    "Deadline",
    "FrameCost",
    "Sighting",
    "Thumbnails",
    "TrackOptions",
    "VideoReport",
    "VideoSegmenter",
    "assign",
    "changes",
    "thumbnails_of",
]
