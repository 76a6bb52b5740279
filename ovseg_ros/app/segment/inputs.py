"""What `ovseg segment` is given, as frames: pictures, videos and recordings."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import cv2

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.cameras import Camera
from ovseg_ros.files.depth import find_depth
from ovseg_ros.files.frames import read_frame
from ovseg_ros.files.pictures import MAX_PIXELS, STORED, read_header
from ovseg_ros.files.recordings import (
    DEPTH_TOLERANCE_S,
    Bag,
    find_topics,
    open_recording,
    read_bag_frames,
)
from ovseg_ros.files.videos import decoded, open_video, readable, stamp_ns

CURE = "raise --max-pixels if there is memory for it"
"""Of frames with too many pixels."""


@dataclass(frozen=True)
class InputOptions:
    """How inputs are read.

    Attributes:
        recursive: look for pictures in folders' folders too.
        every: take each n-th frame of a video or recording, the first included.
        max_frames: at most so many frames of each video and recording; None: all.
        max_pixels: larger pictures are refused.
        depth: depth beside pictures, a file or a folder; None: pictures have none.
        depth_scale: metres per unit of depth; None: by the file or the encoding.
        intrinsics: of all pictures and recordings; None: recordings have their own.
        image_topic: of recordings; None chooses, as for the rest.
        depth_topic: a topic or "none".
        camera_info_topic: a topic or "none".
        depth_tolerance_s: how far in time depth may be from its image.
        needs_depth: frames without depth and intrinsics are of no use.
        leave_out: folders in which no pictures are looked for: the outputs of earlier runs.
    """

    recursive: bool = False
    every: int = 1
    max_frames: int | None = None
    max_pixels: int = MAX_PIXELS
    depth: Path | None = None
    depth_scale: float | None = None
    intrinsics: Camera | None = None
    image_topic: str | None = None
    depth_topic: str | None = None
    camera_info_topic: str | None = None
    depth_tolerance_s: float = DEPTH_TOLERANCE_S
    needs_depth: bool = False
    leave_out: tuple[Path, ...] = ()


@dataclass(frozen=True)
class InputFrame:
    """One frame that can be loaded, at once or never: the next frame of a video takes its place.

    Attributes:
        name: of its outputs, unique, with "/" between folders.
        source: for people: the file, and "#" and the number in a video or recording.
        index: number in its video or recording, from 0.
        identity: changes when what would be loaded changes.
        load: reads it; raises InvalidInputError.
    """

    name: str
    source: str
    index: int
    identity: str
    load: Callable[[], Frame]


@dataclass
class Source(ABC):
    """One input file.

    Attributes:
        path: as given.
        name: of its outputs: of the one frame, or the folder of the frames.
        options: how it is read.
        count: how many frames are expected; an estimate for some videos.
        gives_depth: whether its frames can have depth.
        rate_hz: of its frames as they are taken; None: it does not move.
        remarks: what people should know, filled while it is read.
        without_depth: the same of the first frame that lacked depth though the others have it; "" for none.
    """

    camera_cure: ClassVar[str] = "give them with --intrinsics"
    path: Path
    name: str
    options: InputOptions
    count: int = 1
    gives_depth: bool = False
    rate_hz: float | None = None
    remarks: list[str] = field(default_factory=list)
    without_depth: str = ""

    @abstractmethod
    def frames(self) -> Iterator[InputFrame]:
        """The frames in order.

        Raises:
            InvalidInputError: the file breaks off; what was yielded before stays good.
        """

    @property
    @abstractmethod
    def no_depth(self) -> str:
        """Why a frame has no depth, and what helps."""

    def loaded(self, frame: InputFrame) -> Frame:
        """One of its frames, read.

        Raises:
            InvalidInputError: it cannot be read, or lacks what the preset needs; with the cure for this kind.
        """
        loaded = frame.load()
        if self.options.needs_depth and loaded.depth_m is None:
            raise InvalidInputError(f"the preset needs depth, {self.no_depth}")
        if self.options.needs_depth and loaded.intrinsics is None:
            raise InvalidInputError(
                f"the preset needs the camera's intrinsics beside depth, there are none; {self.camera_cure}"
            )
        return loaded

    def _frame(self, index: int, load: Callable[[], Frame], *more: object) -> InputFrame:
        return InputFrame(
            f"{self.name}/{index:06d}",
            f"{readable(self.path)}#{index}",
            index,
            _identity(self.path, index, *more),
            load,
        )

    def _taken(self, total: int) -> int:
        """How many of `total` frames are taken."""
        taken = -(-total // self.options.every)
        return taken if self.options.max_frames is None else min(taken, self.options.max_frames)


@dataclass
class Picture(Source):
    """One image file, with depth beside it where that was given."""

    below: Path = Path()
    no_depth = "this picture has none; give it with --depth and --intrinsics"

    def __post_init__(self) -> None:
        self.gives_depth = self.options.depth is not None

    def frames(self) -> Iterator[InputFrame]:
        """The one frame."""
        depth = None
        if self.options.depth is not None:
            depth = find_depth(self.options.depth, self.path, self.below)
        identity = _identity(self.path, depth or "", self.options.intrinsics, self.options.depth_scale)
        yield InputFrame(self.name, readable(self.path), 0, identity, lambda: self._load(depth))

    def _load(self, depth: Path | None) -> Frame:
        given = self.options
        frame = read_frame(
            self.path,
            depth,
            given.intrinsics,
            depth_scale=given.depth_scale,
            max_pixels=given.max_pixels,
        )
        if depth is not None and read_header(self.path, max_pixels=given.max_pixels).orientation != 1:
            self.remarks.append(STORED)
        return frame


@dataclass
class Video(Source):
    """A film, through OpenCV."""

    no_depth = "a video has none"

    def __post_init__(self) -> None:
        capture = open_video(self.path)
        total = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        self._announced = total
        self.count = self._taken(total)
        self.rate_hz = (rate_hz if 0 < rate_hz < 1000 else 25.0) / self.options.every

    def frames(self) -> Iterator[InputFrame]:
        """Each n-th frame; those between are not decoded."""
        capture = open_video(self.path)
        try:
            taken = index = 0
            while taken != self.options.max_frames and capture.grab():
                if index % self.options.every == 0:
                    most = self.options.max_pixels
                    yield self._frame(
                        index, partial(decoded, capture, stamp_ns(capture), max_pixels=most, cure=CURE)
                    )
                    taken += 1
                index += 1
        finally:
            capture.release()
        if not index:
            raise InvalidInputError(f"the video {self.path} holds no frame that can be read")
        if taken != self.options.max_frames and index < self._announced:
            self.remarks.append(
                f"{self.path} ends after {index} of the {self._announced} frames it announces"
            )


@dataclass
class Recording(Source):
    """A rosbag2 recording."""

    @property
    def no_depth(self) -> str:
        """Why no image has depth."""
        others = ", ".join(map(str, self._chosen.others)) or "no other image"
        return f"no topic of this recording is depth; name one with --depth-topic: it has {others}"

    def __post_init__(self) -> None:
        options = self.options
        self._bag: Bag | None = open_recording(self.path)
        self._chosen, total = find_topics(
            self._bag,
            image=options.image_topic,
            depth=options.depth_topic,
            info=options.camera_info_topic,
        )
        self.count = self._taken(total)
        self.gives_depth = self._chosen.depth is not None
        names = (
            topic and topic.name for topic in (self._chosen.image, self._chosen.depth, self._chosen.info)
        )
        image, depth, info = (name or "none" for name in names)
        self.remarks.append(f"{self.path}: colour {image}, depth {depth}, camera_info {info}")
        self.remarks += self._chosen.remarks
        self._remark_losses(self._bag)

    def __getstate__(self) -> dict[str, Any]:
        """All but the opened files: on another machine they are opened when its frames are read."""
        return {**self.__dict__, "_bag": None, "_current": None}

    def frames(self) -> Iterator[InputFrame]:
        """Each n-th image, with the depth that is nearest in time."""
        self._bag = bag = self._bag or open_recording(self.path)
        before_ns = 0
        options = self.options
        how = {
            "tolerance_s": options.depth_tolerance_s,
            "depth_scale": options.depth_scale,
            "intrinsics": options.intrinsics,
        }
        frames = read_bag_frames(bag, self._chosen, every=options.every, **how)
        for taken, frame in enumerate(frames):
            if taken == options.max_frames:
                return
            if taken == 1 and frame.stamp_ns > before_ns:
                self.rate_hz = min(1e9 / (frame.stamp_ns - before_ns), 60.0)
            before_ns = frame.stamp_ns
            self._current = frame
            yield self._frame(frame.index, frame.load, *bag.files, *how.items(), self._chosen)
        self._remark_losses(bag)

    def loaded(self, frame: InputFrame) -> Frame:
        """See `Source.loaded`; what is missing is named with topics and times."""
        loaded = frame.load()
        if loaded.depth_m is not None and loaded.intrinsics is not None:
            return loaded
        reason = self._current.missing(loaded.size_hw)
        if self.options.needs_depth:
            raise InvalidInputError(f"the preset needs depth and the camera's intrinsics. {reason}")
        if self.gives_depth and not self.without_depth:
            self.without_depth = f"{frame.source} is looked at without depth. {reason}"
        return loaded

    def _remark_losses(self, bag: Bag) -> None:
        """What is lost is known in part when the recording is opened, in part when it was read."""
        self.remarks += [remark for remark in bag.remarks if remark not in self.remarks]


def _identity(*parts: object) -> str:
    """A short text that changes when one of the files among `parts`, or another part, does."""
    known = []
    for part in parts:
        if isinstance(part, Path) and part.exists():
            stat = part.stat()
            changes = "" if part.is_dir() else f" {stat.st_size} {stat.st_mtime_ns}"
            known.append(f"{readable(part.resolve())}{changes}")
        else:
            known.append(repr(part))
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]
