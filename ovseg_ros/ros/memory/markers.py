"""What is remembered around the camera, for RViz."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from visualization_msgs.msg import Marker, MarkerArray

from ovseg_ros.memory import Entry
from ovseg_ros.memory.entry import age_text
from ovseg_ros.ros.io.markers import label_colour

TEXT_HEIGHT_M = 0.03
THERE, GONE = 0.3, 0.08  # how solid a box is


def memory_markers(entries: Sequence[Entry], now_s: float, stamp: Any) -> MarkerArray:
    """A box and a name with its age for each entry, after a DELETEALL; what is gone is nearly transparent.

    Args:
        entries: each in its own frame.
        now_s: by the node's clock, seconds since the epoch.
        stamp: of the markers.
    """
    markers = [Marker(action=Marker.DELETEALL)]
    for number, entry in enumerate(sorted(entries, key=lambda entry: entry.key)):
        box = Marker(ns="remembered", id=number, type=Marker.CUBE, action=Marker.ADD)
        text = Marker(ns="remembered names", id=number, type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
        for marker in (box, text):
            marker.header.frame_id, marker.header.stamp = entry.frame_id, stamp
            marker.pose.position.x, marker.pose.position.y, marker.pose.position.z = entry.position.tolist()
        turn = box.pose.orientation
        turn.x, turn.y, turn.z, turn.w = entry.orientation.tolist()
        box.scale.x, box.scale.y, box.scale.z = (max(side, 1e-3) for side in entry.size.tolist())
        box.color.r, box.color.g, box.color.b = label_colour(crc32(entry.name.encode()) % 255)
        box.color.a = THERE if entry.gone_since is None else GONE
        text.pose.position.z += float(entry.size[2]) / 2 + TEXT_HEIGHT_M
        text.scale.z = TEXT_HEIGHT_M
        text.color.r = text.color.g = text.color.b = text.color.a = 1.0
        gone = "" if entry.gone_since is None else "gone, "
        text.text = f"{entry.name}\n{gone}seen {age_text(now_s - entry.last_seen)} ago"
        markers += [box, text]
    return MarkerArray(markers=markers)
