"""Entries of memory as messages."""

from __future__ import annotations

import array
from typing import Any

from builtin_interfaces.msg import Time

from ovseg_ros.memory import Entry
from ovseg_ros.memory.recall import Recalled
from ovseg_ros.msg import Remembered


def time_message(seconds: float) -> Time:
    """Seconds since the epoch as a stamp."""
    nanoseconds = max(round(seconds * 1e9), 0)
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def seconds_of(stamp: Any) -> float | None:
    """A stamp as seconds since the epoch, None where it is 0."""
    return stamp.sec + stamp.nanosec * 1e-9 if stamp.sec or stamp.nanosec else None


def remembered_message(recalled: Recalled, now_s: float, *, with_crop: bool = False) -> Remembered:
    """What is remembered of one thing; `now_s` by the node's clock, seconds since the epoch."""
    entry = recalled.entry
    message = Remembered(key=entry.key, label=recalled.word, confidence=recalled.confidence)
    _fill(message, entry)
    message.age_s = max(now_s - entry.last_seen, 0.0)
    if with_crop and entry.crop:
        message.crop.format = "jpeg"
        message.crop.data = array.array("B", entry.crop)
        message.crop.header.stamp, message.crop.header.frame_id = message.last_seen, entry.frame_id
    return message


def _fill(message: Any, entry: Entry) -> None:
    names = sorted(entry.words, key=lambda word: -entry.words[word].times)
    message.names = names
    message.name_counts = array.array("I", [entry.words[word].times for word in names])
    message.frame_id, message.robot = entry.frame_id, entry.robot
    message.position_covariance = entry.covariance.reshape(9)
    pose = message.pose
    pose.position.x, pose.position.y, pose.position.z = entry.position.tolist()
    turn = pose.orientation
    turn.x, turn.y, turn.z, turn.w = entry.orientation.tolist()
    message.size.x, message.size.y, message.size.z = entry.size.tolist()
    message.first_seen, message.last_seen = time_message(entry.first_seen), time_message(entry.last_seen)
    message.times_seen, message.times_looked = entry.times_seen, entry.times_looked
    message.times_missed = entry.times_missed
    if entry.gone_since is not None:
        message.is_gone, message.gone_since = True, time_message(entry.gone_since)
