"""How far one goal of `~/follow_object` has come, and what it ends with."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from std_msgs.msg import Header

from ovseg_ros.core.choice import Limits
from ovseg_ros.core.following import Following, FollowOptions, State, Whereabouts
from ovseg_ros.core.tracking import Confirmation
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.msg import ResultCode, Segment
from ovseg_ros.ros.requests.answers import RequestError
from ovseg_ros.ros.requests.find_object import MAX_REMARKS


@dataclass(frozen=True)
class Seen:
    """The last image that showed the thing."""

    header: Header = field(default_factory=Header)
    frame_id_3d: str = ""
    segment: Any = field(default_factory=Segment)  # ovseg_ros/Segment
    remark_3d: str = ""  # why its 3D is not in the frame that was wanted


@dataclass(frozen=True)
class Look:
    """What one frame showed."""

    seq: int
    where: Whereabouts | None  # None: nothing is followed yet
    seen: Seen | None  # where the frame shows it
    best_score: float
    remarks: list[str]


@dataclass
class Pursuit:
    """How far one goal has come. Times are of the monotonic clock, seconds."""

    request: Any  # FollowObject.Goal
    vocabulary: Vocabulary | None  # of its query; None: a track is named, the node's of the moment
    limits: Limits
    options: FollowOptions
    confirmation: Confirmation
    engine: Any
    looked_s: float  # when the last image was looked at, or the goal came
    following: Following | None = None
    where: Whereabouts | None = None  # of the last image, None while nothing is followed
    seen: Seen = field(default_factory=Seen)
    frames: int = 0
    frames_seen: int = 0
    last_seq: int = 0
    began_s: float = field(default_factory=time.monotonic)
    best_score: float = 0.0
    remarks: list[str] = field(default_factory=list)  # of the last frame
    refusal: RequestError | None = None  # of the last attempt

    @property
    def in_sight(self) -> bool:
        """Whether the last image showed the thing."""
        return self.where is not None and self.where.state is State.FOLLOWING

    @property
    def over(self) -> bool:
        """True once it was not seen for too long: by the images' times, and ours since the last image."""
        now = time.monotonic()
        if self.where is None:
            return now - self.began_s > self.options.lost_after_s
        return self.where.age_s + (now - self.looked_s) > self.options.lost_after_s

    def take(self, look: Look) -> None:
        """Notes what a frame showed."""
        self.frames += 1
        self.last_seq, self.refusal, self.looked_s = look.seq, None, time.monotonic()
        self.where, self.remarks = look.where, look.remarks
        self.best_score = max(self.best_score, look.best_score)
        if look.seen is not None:
            self.frames_seen += 1
            self.seen = look.seen

    def ending(self) -> RequestError:
        """What the goal ends with: FOUND, LOST, NOT_FOUND, or what stood against it."""
        last = f"; the last attempt: {self.refusal.message}" if self.refusal else ""
        if self.where is None:
            return self._never_seen(last)
        of = f"seen in {self.frames_seen} of {_images(self.frames)}"
        if self.in_sight and not self.over:
            return RequestError(ResultCode.FOUND, f"in sight; {of}")
        hidden_s = self.where.age_s + (time.monotonic() - self.looked_s)
        return RequestError(ResultCode.LOST, f"not seen for {hidden_s:.1f} s; {of}{last}")

    def _never_seen(self, last: str) -> RequestError:
        if not self.frames:
            return self.refusal or RequestError(ResultCode.NO_IMAGE, "no image arrived in time")
        if self.vocabulary is None:
            said = f"{_images(self.frames)} searched, none has track {self.request.track_id}"
        else:
            words = ", ".join(self.vocabulary.names)
            said = f"{_images(self.frames)} searched for {words}, best score {self.best_score:.2f}"
            if self.confirmation.best:
                best, wanted = self.confirmation.best, self.confirmation.wanted
                said += f"; seen in {best}, {wanted} wanted (find_confirm)"
        return RequestError(ResultCode.NOT_FOUND, "; ".join([said, *self.remarks[:MAX_REMARKS]]) + last)


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
