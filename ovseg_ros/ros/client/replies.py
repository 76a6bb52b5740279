"""What a planner gets: the node's answers as plain values, masks and points as arrays, no messages."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.requests.answers import name_of


@dataclass(frozen=True, eq=False)
class Pose:
    """A position in metres (3,) and an orientation, the quaternion (x, y, z, w), both float64."""

    position_m: np.ndarray
    orientation_xyzw: np.ndarray


@dataclass(frozen=True, eq=False)
class Place:
    """Where a thing is: in metres in `frame`, at the time of the image that showed it.

    Attributes:
        frame: the frame of all that follows: the one that was asked for, else the camera's.
        centroid_m: (3,) float64, the middle of its visible surface.
        covariance_m2: (3, 3) float64, how uncertain that is.
        pose: of the upright box around it: its centre, its z axis up, x along its longer horizontal side.
        size_m: (3,) float64, the box's full sides along its own axes; the last is its height.
        distance_m: from the camera to the centroid.
    """

    frame: str
    centroid_m: np.ndarray
    covariance_m2: np.ndarray
    pose: Pose
    size_m: np.ndarray
    distance_m: float


@dataclass(frozen=True, eq=False)
class FoundSegment:
    """One thing of an answer.

    Attributes:
        label: its word; "": none.
        score: that word's probability.
        box: (x, y, width, height), the mask's tight box in pixels.
        inside: (height, width) bool, the mask inside the box; (0, 0) where masks were not asked for.
        margin: how far the score is above `runner_up_score`, that of the word that fits second best.
        track_id: the thing's number over time, 0: it is not tracked.
        area_px: pixels of the mask.
        place: where it is; None without depth and intrinsics.
        points_m: (M, 3) float32, its visible points in the frame of `place`; (0, 3) where not asked for.
    """

    label: str
    score: float
    box: tuple[int, int, int, int]
    inside: np.ndarray
    margin: float = 0.0
    runner_up: str = ""
    runner_up_score: float = 0.0
    track_id: int = 0
    area_px: int = 0
    place: Place | None = None
    points_m: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.float32))

    def mask(self, size_hw: tuple[int, int]) -> np.ndarray:
        """(H, W) bool in the whole image.

        Raises:
            InvalidInputError: it came without its mask.
        """
        x, y, width, height = self.box
        if self.inside.shape != (height, width):
            raise InvalidInputError(
                "this thing came without its mask: ask with with_masks=True, and leave the node's parameter "
                "publish_masks at true"
            )
        whole = np.zeros(size_hw, dtype=bool)
        whole[y : y + height, x : x + width] = self.inside
        return whole

    def as_dict(self) -> dict[str, Any]:
        """All but the mask and the points, for JSON."""
        return plain(self, leave_out=("inside", "points_m"))


@dataclass(frozen=True, eq=False)
class RememberedThing:
    """One thing in the node's memory, as it was seen last: it need not be there any more.

    Attributes:
        label: what it answers to of what was asked for; where nothing was, what it was called most often.
        confidence: how sure it is that it is that and still there, 0 to 1, without regard to its age; 0 for
            what is gone.
        age_s: how long ago it was seen last, by the node's clock.
        frame: the fixed frame of what is in metres here.
        pose: of the upright box around it.
        size_m: (3,) float64, that box's full sides along its own axes.
        covariance_m2: (3, 3) float64, how uncertain the middle of the box is.
        first_seen_s: seconds since the epoch, on the clock of the images.
        last_seen_s: the same.
        times_seen: images that showed it.
        times_looked: images in which its place was in view.
        times_missed: those of them that did not show it.
        gone_since_s: from when its place was seen to be free; None while it is not known to be gone.
        names: all it was called, with in how many images, the most frequent first.
        key: its number for good, for `~/forget`.
        robot: who saw it first, by the parameter `robot` there.
        jpeg: its clearest sighting; b"" where it was not asked for, or pictures are not kept.
    """

    label: str
    confidence: float
    age_s: float
    frame: str
    pose: Pose
    size_m: np.ndarray
    covariance_m2: np.ndarray
    first_seen_s: float
    last_seen_s: float
    times_seen: int
    times_looked: int
    times_missed: int
    gone_since_s: float | None
    names: dict[str, int]
    key: str
    robot: str = ""
    jpeg: bytes = field(default=b"", repr=False)

    @property
    def is_gone(self) -> bool:
        """Whether its place was seen to be free, and it was not seen elsewhere."""
        return self.gone_since_s is not None

    def as_dict(self) -> dict[str, Any]:
        """All but the picture, for JSON."""
        return {**plain(self, leave_out=("jpeg",)), "is_gone": self.is_gone}


@dataclass(frozen=True, eq=False)
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
            publish_unlabelled is set, all of the frame, though not from an action.
        frame: of the image, which is the camera's optical frame.
        camera: whose image it was, by its name in the node's parameter `cameras`; "": the only one, or none.
        frame_3d: of the segments' places. Not the one that was asked for where TF does not lead there; then
            `message` says why.
        count: how many things fit the query, those included that `max_results` left out.
        frames_seen: images that were searched.
        agreements: in how many of the last of them the first segment carried its word.
        vocabulary_version: of the words that were used, 0 for those of one request.
        remembered: where the code is REMEMBERED, what memory has of it, the surest first; never what is seen.
    """

    code: int
    message: str
    stamp_ns: int
    segments: tuple[FoundSegment, ...]
    best_score: float | None
    latency_s: float
    masks: tuple[FoundSegment, ...] = ()
    frame: str = ""
    camera: str = ""
    frame_3d: str = ""
    count: int = 0
    frames_seen: int = 0
    agreements: int = 0
    vocabulary_version: int = 0
    remembered: tuple[RememberedThing, ...] = ()

    @property
    def code_name(self) -> str:
        """The name of the code, for example NOT_FOUND."""
        return name_of(self.code)

    @property
    def found(self) -> bool:
        """Whether the code is FOUND: it is in view. What is only remembered is not."""
        return self.code == ResultCode.FOUND

    @property
    def best(self) -> FoundSegment | None:
        """The first of the segments, None where there is none."""
        return self.segments[0] if self.segments else None

    def as_dict(self) -> dict[str, Any]:
        """All but masks, points and pictures, for JSON."""
        told = {"code_name": self.code_name, **plain(self, leave_out=("segments", "masks", "remembered"))}
        lists = {"segments": self.segments, "remembered": self.remembered}
        return {**told, **{name: [one.as_dict() for one in things] for name, things in lists.items()}}


@dataclass(frozen=True, eq=False)
class Sighting:
    """What one image said about the thing that is followed.

    Attributes:
        stage: SEARCHING (not seen yet), FOLLOWING (it is in this image) or HIDDEN (it is not; what follows
            is as it was seen last).
        segment: the thing, without mask and points; None while SEARCHING.
        stamp_ns: time of the image of `segment`.
        age_s: how long ago, by the images' stamps, it was seen last; 0 where it is in this image.
        frames: images looked at so far.
        frames_seen: in how many of them it was seen.
        frame: of the image, which is the camera's optical frame.
        frame_3d: of the place.
        camera: as in `Reply`.
    """

    stage: str
    segment: FoundSegment | None
    stamp_ns: int
    age_s: float
    frames: int
    frames_seen: int
    frame: str
    frame_3d: str
    camera: str = ""

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        segment = None if self.segment is None else self.segment.as_dict()
        return {**plain(self, leave_out=("segment",)), "segment": segment}


@dataclass(frozen=True)
class Words:
    """The words that the node looks for now.

    Attributes:
        words: in the order they were given.
        version: of the vocabulary, as in `Reply.vocabulary_version`.
        rejected: the words that were refused, and why.
        message: a sentence about it, where there is one.
    """

    words: tuple[str, ...]
    version: int
    rejected: dict[str, str]
    message: str = ""


def plain(value: Any, leave_out: tuple[str, ...] = ()) -> Any:
    """A dataclass as JSON has it: dictionaries, lists, numbers; numbers that are not finite become None."""
    if dataclasses.is_dataclass(value):
        fields = [one.name for one in dataclasses.fields(value) if one.name not in leave_out]
        return {name: plain(getattr(value, name)) for name in fields}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
