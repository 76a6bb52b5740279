"""What a planner gets: the node's answers as plain values, masks as arrays, no messages."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.io.frame_source import stamp_ns
from ovseg_ros.ros.requests.answers import name_of


@dataclass(frozen=True)
class FoundSegment:
    """One mask of an answer: word ("": none), probability, box (x, y, width, height) and the mask inside.

    `margin` is how far the probability is above that of `runner_up`, the word that fits second best.
    """

    label: str
    score: float
    box: tuple[int, int, int, int]
    inside: np.ndarray  # (height, width) bool
    margin: float = 0.0
    runner_up: str = ""

    def mask(self, size_hw: tuple[int, int]) -> np.ndarray:
        """(H, W) bool in the whole image."""
        whole = np.zeros(size_hw, dtype=bool)
        x, y, width, height = self.box
        whole[y : y + height, x : x + width] = self.inside
        return whole


@dataclass(frozen=True)
class Reply:
    """What came back through an interface.

    Attributes:
        code: a number of ResultCode; `code_name` is its name.
        message: the sentence beside the code, empty through the query topic.
        stamp_ns: time of the image that was searched, 0 where none was.
        segments: those with a word, best first, as the node ranks them.
        best_score: the best score any mask had for the words, None where the interface does not tell.
        latency_s: from the request to its answer, as the asker sees it.
        masks: all that came with the answer, with a word or without: where the node's parameter
            publish_unlabelled is set, all of the frame, though not from the action.
    """

    code: int
    message: str
    stamp_ns: int
    segments: tuple[FoundSegment, ...]
    best_score: float | None
    latency_s: float
    masks: tuple[FoundSegment, ...] = ()

    @property
    def code_name(self) -> str:
        """The name of the code, for example NOT_FOUND."""
        return name_of(self.code)


def reply_of(segmentation: Any, start: float, *, code: int | None = None, message: str = "") -> Reply:
    """The reply that a Segmentation message is; without a code of its own, FOUND where a mask has a word."""
    masks = tuple(segment_of(segment) for segment in segmentation.segments)
    segments = tuple(one for one in masks if one.label)
    if code is None:
        code = ResultCode.FOUND if segments else ResultCode.NOT_FOUND
    best = segments[0].score if segments else None
    stamp, latency = stamp_ns(segmentation.header), time.monotonic() - start
    return Reply(code, message, stamp, segments, best, latency, masks)


def segment_of(segment: Any) -> FoundSegment:
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
    )
