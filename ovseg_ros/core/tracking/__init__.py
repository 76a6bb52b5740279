"""The same things over time: which mask is which track, and what need not be encoded again."""

from ovseg_ros.core.tracking.budget import Budget
from ovseg_ros.core.tracking.confirmation import Confirmation, Sighting
from ovseg_ros.core.tracking.deadline import Deadline, FrameCost
from ovseg_ros.core.tracking.tracks import TrackOptions
from ovseg_ros.core.tracking.video import VideoReport, VideoSegmenter

__all__ = [
    "Budget",
    "Confirmation",
    "Deadline",
    "FrameCost",
    "Sighting",
    "TrackOptions",
    "VideoReport",
    "VideoSegmenter",
]
