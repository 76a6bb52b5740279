"""The one opener of rosbag2 recordings, whole or damaged, and frames and TF from them."""

from ovseg_ros.files.recordings.bag import Bag, deserialized, is_recording, open_recording
from ovseg_ros.files.recordings.frames import DEPTH_TOLERANCE_S, BagFrame, read_bag_frames
from ovseg_ros.files.recordings.look import find_topics
from ovseg_ros.files.recordings.parts import Recorded
from ovseg_ros.files.recordings.stored import refusal
from ovseg_ros.files.recordings.topics import (
    COMPRESSED,
    IMAGE,
    INFO,
    NONE,
    Chosen,
    Topic,
    choose_topics,
)
from ovseg_ros.files.recordings.transforms import (
    STATIC_TF,
    TF,
    Transform,
    TransformTree,
    read_transforms,
)

__all__ = [
    "COMPRESSED",
    "DEPTH_TOLERANCE_S",
    "IMAGE",
    "INFO",
    "NONE",
    "STATIC_TF",
    "TF",
    "Bag",
    "BagFrame",
    "Chosen",
    "Recorded",
    "Topic",
    "Transform",
    "TransformTree",
    "choose_topics",
    "deserialized",
    "find_topics",
    "is_recording",
    "open_recording",
    "read_bag_frames",
    "read_transforms",
    "refusal",
]
