"""Boxes and names for RViz, and detections for those who speak vision_msgs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from ovseg_ros.core.runners_up import close_runner_up
from ovseg_ros.ros.io.context import MessageContext
from ovseg_ros.ros.io.conversions import fill_pose

TEXT_HEIGHT_M = 0.03
GOLDEN_RATIO = 0.618034
ANY_TURN = math.pi**2 / 3  # variance of an angle that may be any, rad²


class MarkerMaker:
    """Makes marker arrays: a box and a name for each labelled mask with 3D.

    It writes over the markers of the last message, as to make their many parts anew takes longer than all
    the rest: a message holds until the next is made.
    """

    def __init__(self) -> None:
        self._pairs: list[tuple[Marker, Marker]] = []

    def message(self, context: MessageContext) -> MarkerArray:
        """The markers of a labelled image, after a DELETEALL that takes the old ones away."""
        while len(self._pairs) < len(context.objects_3d):
            self._pairs.append((_box_marker(), _name_marker()))
        header = context.header_3d
        markers = [Marker(header=header, action=Marker.DELETEALL)]
        for (index, found), (box, text) in zip(context.objects_3d.items(), self._pairs, strict=False):
            for marker in (box, text):
                marker.header, marker.id = header, index
            fill_pose(box.pose, found)
            _set(box.scale, *(max(side, 1e-3) for side in found.size_m.tolist()))
            colour = box.color
            colour.r, colour.g, colour.b = label_colour(int(context.label_ids[index]))
            above = found.rotation[:, 2] * (found.size_m[2] / 2 + TEXT_HEIGHT_M)  # along the box's own z, up
            _set(text.pose.position, *(found.centre_m + above).tolist())
            text.text = _text_of(context, index)
            markers += [box, text]
        return MarkerArray(markers=markers)


def _text_of(context: MessageContext, index: int) -> str:
    """The name and its score; in a second line what comes close to it."""
    score, second = context.scores[index], context.segmentation.runner_up[index]
    close = close_runner_up(score, second, context.runner_up_scores[index])
    return f"{context.names[index]} {score:.2f}{close and chr(10)}{close and '/ '}{close}"


def _box_marker() -> Marker:
    marker = Marker(ns="boxes", type=Marker.CUBE, action=Marker.ADD)
    marker.color.a = 0.4
    return marker


def _name_marker() -> Marker:
    marker = Marker(ns="names", type=Marker.TEXT_VIEW_FACING, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale.z = TEXT_HEIGHT_M
    marker.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    return marker


def _set(vector: Any, x: float, y: float, z: float) -> None:
    vector.x, vector.y, vector.z = x, y, z


def label_colour(label_id: int) -> tuple[float, float, float]:
    """A colour in [0, 1] for a label id; neighbours in number are far apart in hue."""
    sector = (label_id * GOLDEN_RATIO % 1.0) * 6.0
    red, green, blue = (
        min(max(abs((sector - shift) % 6.0 - 3.0) - 1.0, 0.0), 1.0) for shift in (0.0, 2.0, 4.0)
    )
    return red, green, blue


def detections_2d(context: MessageContext, msgs: Any) -> Any:
    """vision_msgs/Detection2DArray of the labelled masks; `msgs` is the module vision_msgs.msg."""
    array = msgs.Detection2DArray(header=context.header)
    for index in context.labelled:
        rows, columns = context.boxes[index]
        detection = msgs.Detection2D(
            header=context.header, id=_identity(context, index), results=[_hypothesis(context, index, msgs)]
        )
        detection.bbox.center.position.x = (columns.start + columns.stop) / 2
        detection.bbox.center.position.y = (rows.start + rows.stop) / 2
        detection.bbox.size_x = float(columns.stop - columns.start)
        detection.bbox.size_y = float(rows.stop - rows.start)
        array.detections.append(detection)
    return array


def detections_3d(context: MessageContext, msgs: Any) -> Any:
    """vision_msgs/Detection3DArray of the labelled masks with 3D, in the frame of the 3D fields.

    A result's pose is the centroid with its covariance, turned as the box. How the thing itself is turned
    nobody has measured: the variances of its three angles are those of any angle.
    """
    header = context.header_3d
    array = msgs.Detection3DArray(header=header)
    for index, found in context.objects_3d.items():
        result = _hypothesis(context, index, msgs)
        detection = msgs.Detection3D(header=header, id=_identity(context, index), results=[result])
        fill_pose(detection.bbox.center, found)
        _set(detection.bbox.size, *found.size_m.tolist())
        x, y, z = found.centroid_m.tolist()
        result.pose.pose.position = Point(x=x, y=y, z=z)
        result.pose.pose.orientation = detection.bbox.center.orientation
        covariance = np.diag([0.0] * 3 + [ANY_TURN] * 3)
        covariance[:3, :3] = found.covariance_m2
        result.pose.covariance = covariance.reshape(36)
        array.detections.append(detection)
    return array


def label_info(vocabulary: Any, threshold: float, stamp: Any, msgs: Any) -> Any:
    """vision_msgs/LabelInfo: every name that ever had an id."""
    info = msgs.LabelInfo(threshold=float(threshold))
    info.header.stamp = stamp
    info.class_map = [
        msgs.VisionClass(class_id=i, class_name=name) for i, name in enumerate(vocabulary.names_by_id)
    ]
    return info


def _identity(context: MessageContext, index: int) -> str:
    """track_7, the same in every frame; mask_3, of this frame, where the thing is not tracked."""
    track = context.track_ids[index]
    return f"track_{track}" if track else f"mask_{index + 1}"


def _hypothesis(context: MessageContext, index: int, msgs: Any) -> Any:
    result = msgs.ObjectHypothesisWithPose()
    result.hypothesis.class_id = context.names[index]
    result.hypothesis.score = float(context.scores[index])
    return result
