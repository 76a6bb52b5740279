"""From the node's messages to plain values."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ovseg_ros.action import FollowObject
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.client.replies import (
    FoundSegment,
    Place,
    Pose,
    RememberedThing,
    Reply,
    Sighting,
)
from ovseg_ros.ros.io.frame_source import stamp_ns

_STAGES = {
    FollowObject.Feedback.SEARCHING: "SEARCHING",
    FollowObject.Feedback.FOLLOWING: "FOLLOWING",
    FollowObject.Feedback.HIDDEN: "HIDDEN",
}


def reply_of_segmentation(message: Any, start: float, *, code: int | None = None, text: str = "") -> Reply:
    """The reply that a Segmentation message is; without a code of its own, FOUND where a mask has a word.

    Args:
        message: ovseg_ros/Segmentation.
        start: when it was asked for, by the monotonic clock.
        code: of the answer that it came with.
        text: the sentence of that answer.
    """
    masks = tuple(segment_of(segment, message.frame_id_3d) for segment in message.segments)
    segments = tuple(one for one in masks if one.label)
    if code is None:
        code = ResultCode.FOUND if segments else ResultCode.NOT_FOUND
    return Reply(
        code,
        text,
        stamp_ns(message.header),
        segments,
        segments[0].score if segments else None,
        time.monotonic() - start,
        masks,
        frame=message.header.frame_id,
        camera=message.camera,
        frame_3d=message.frame_id_3d,
        count=len(segments),
        frames_seen=int(message.height > 0),
        vocabulary_version=message.vocabulary_version,
    )


def reply_of_search(result: Any, start: float) -> Reply:
    """The reply that a result of FindObject is."""
    segments = tuple(segment_of(segment, result.frame_id_3d) for segment in result.segments)
    return Reply(
        result.code,
        result.message,
        stamp_ns(result.header),
        segments,
        result.best_score,
        time.monotonic() - start,
        segments,
        frame=result.header.frame_id,
        camera=result.camera,
        frame_3d=result.frame_id_3d,
        count=result.count,
        frames_seen=result.frames_seen,
        agreements=result.agreements,
        remembered=tuple(map(thing_of, result.remembered)),
    )


def thing_of(remembered: Any) -> RememberedThing:
    """What a Remembered message says."""
    one = remembered
    return RememberedThing(
        one.label,
        one.confidence,
        one.age_s,
        one.frame_id,
        _pose_of(one.pose),
        _xyz(one.size),
        np.array(one.position_covariance, dtype=np.float64).reshape(3, 3),
        _seconds(one.first_seen),
        _seconds(one.last_seen),
        one.times_seen,
        one.times_looked,
        one.times_missed,
        _seconds(one.gone_since) if one.is_gone else None,
        dict(zip(one.names, one.name_counts)),
        one.key,
        one.robot,
        bytes(one.crop.data),
    )


def reply_of_following(result: Any, start: float) -> Reply:
    """The reply that a result of FollowObject is: its segment is the thing as it was seen last."""
    stamp = stamp_ns(result.header)
    segments = (segment_of(result.segment, result.frame_id_3d),) if stamp else ()
    return Reply(
        result.code,
        result.message,
        stamp,
        segments,
        segments[0].score if segments else None,
        time.monotonic() - start,
        segments,
        frame=result.header.frame_id,
        camera=result.camera,
        frame_3d=result.frame_id_3d,
        count=len(segments),
        frames_seen=result.frames,
        agreements=result.frames_seen,
    )


def sighting_of(feedback: Any) -> Sighting:
    """What a feedback of FollowObject says."""
    seen = feedback.stage != FollowObject.Feedback.SEARCHING
    return Sighting(
        _STAGES.get(feedback.stage, str(feedback.stage)),
        segment_of(feedback.segment, feedback.frame_id_3d) if seen else None,
        stamp_ns(feedback.header),
        feedback.age_s,
        feedback.frames,
        feedback.frames_seen,
        feedback.header.frame_id,
        feedback.frame_id_3d,
        feedback.camera,
    )


def segment_of(segment: Any, frame_3d: str) -> FoundSegment:
    """What a Segment message says."""
    box, mask = segment.box, segment.mask
    rows = np.frombuffer(mask.data, dtype=np.uint8).reshape(mask.height, mask.step)
    return FoundSegment(
        segment.label,
        segment.score,
        (box.x_offset, box.y_offset, box.width, box.height),
        rows[:, : mask.width] > 0,
        segment.margin,
        segment.runner_up,
        segment.runner_up_score,
        segment.track_id,
        segment.area_px,
        _place_of(segment, frame_3d) if segment.has_3d else None,
        _points_of(segment.points),
    )


def _place_of(segment: Any, frame: str) -> Place:
    return Place(
        frame,
        _xyz(segment.centroid),
        np.array(segment.centroid_covariance, dtype=np.float64).reshape(3, 3),
        _pose_of(segment.pose),
        _xyz(segment.size),
        segment.distance_m,
    )


def _pose_of(pose: Any) -> Pose:
    turned = pose.orientation
    return Pose(_xyz(pose.position), np.array([turned.x, turned.y, turned.z, turned.w]))


def _seconds(stamp: Any) -> float:
    return stamp.sec + stamp.nanosec * 1e-9


def _xyz(message: Any) -> np.ndarray:
    return np.array([message.x, message.y, message.z], dtype=np.float64)


def _points_of(cloud: Any) -> np.ndarray:
    """(M, 3) float32 of a PointCloud2."""
    if not cloud.width:
        return np.zeros((0, 3), np.float32)
    offsets = {one.name: one.offset for one in cloud.fields}
    order = ">f4" if cloud.is_bigendian else "<f4"
    layout = np.dtype(
        {
            "names": ["x", "y", "z"],
            "formats": [order] * 3,
            "offsets": [offsets[name] for name in "xyz"],
            "itemsize": cloud.point_step,
        }
    )
    points = np.frombuffer(cloud.data, layout, count=cloud.width * cloud.height)
    return np.stack([points[name] for name in "xyz"], axis=1).astype(np.float32)
