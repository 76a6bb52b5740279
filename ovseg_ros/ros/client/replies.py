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
        return _plain(self, leave_out=("inside", "points_m"))


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

    @property
    def code_name(self) -> str:
        """The name of the code, for example NOT_FOUND."""
        return name_of(self.code)

    @property
    def found(self) -> bool:
        """Whether the code is FOUND."""
        return self.code == ResultCode.FOUND

    @property
    def best(self) -> FoundSegment | None:
        """The first of the segments, None where there is none."""
        return self.segments[0] if self.segments else None

    def as_dict(self) -> dict[str, Any]:
        """All but masks and points, for JSON."""
        plain = {"code_name": self.code_name, **_plain(self, leave_out=("segments", "masks"))}
        return {**plain, "segments": [one.as_dict() for one in self.segments]}


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
        return {**_plain(self, leave_out=("segment",)), "segment": segment}


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


def _plain(value: Any, leave_out: tuple[str, ...] = ()) -> Any:
    """A dataclass as JSON has it: dictionaries, lists, numbers; numbers that are not finite become None."""
    if dataclasses.is_dataclass(value):
        fields = [one.name for one in dataclasses.fields(value) if one.name not in leave_out]
        return {name: _plain(getattr(value, name)) for name in fields}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
