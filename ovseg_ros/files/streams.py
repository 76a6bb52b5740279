"""Videos in any form that people have them in, as frames: films, recordings, and frames given one by one."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.cameras import Camera, as_intrinsics, read_camera
from ovseg_ros.files.frames import as_frame
from ovseg_ros.files.pictures import refuse_addresses
from ovseg_ros.files.recordings import (
    Bag,
    BagFrame,
    Chosen,
    find_topics,
    is_recording,
    open_recording,
    read_bag_frames,
)
from ovseg_ros.files.videos import read_video

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stream:
    """Frames in order of time.

    Attributes:
        frames: read as they are asked for, once.
        recorded: from a recording, where single frames may lack their depth.
        without_depth: why no frame has depth and intrinsics, in words; "" where they may.
    """

    frames: Iterator[Frame]
    recorded: bool = False
    without_depth: str = ""


def open_stream(source: Any, intrinsics: Any = None, depth_scale: float | None = None) -> Stream:
    """Opens what frames come from; what is wrong with it is said at once, with a frame when it comes.

    Args:
        source: a video file, a rosbag2 recording (see `recordings.open_recording`), or an iterable of frames:
            each a Frame, an image as for `as_frame`, or a pair (image, depth).
        intrinsics: of all frames, see `as_frame`; None: those of the recording, or of the given Frames.
        depth_scale: of the pairs or of the recording's depth, see `as_frame`.

    Raises:
        InvalidInputError: it is not there, cannot be read, or gives no frames.
    """
    if isinstance(intrinsics, str | Path):
        intrinsics = read_camera(intrinsics)  # once for all frames, and now: a slip in it is said at once
    if not isinstance(source, str | Path):
        return Stream(_given(_checked(source), intrinsics, depth_scale))
    refuse_addresses(source)
    path = Path(source).expanduser()
    if not path.exists():
        raise InvalidInputError(f"expected a video or a recording, {str(source)!r} is not there")
    if is_recording(path):
        return _recording(path, intrinsics, depth_scale)
    if path.is_dir():
        raise InvalidInputError(
            f"expected a recording, {str(path)!r} has no metadata.yaml and no .mcap or .db3 file; of a "
            "folder of pictures pass the sorted list of their paths"
        )
    if depth_scale is not None:
        raise InvalidInputError("depth_scale= is for depth, and a video file has none")
    frames = (_with_camera(frame, intrinsics) for frame in read_video(path))
    return Stream(frames, without_depth="a video file has none")


def _checked(source: Any) -> Iterable[Any]:
    """A source that was given as Python objects, if it can give frame after frame."""
    if isinstance(source, Image.Image | Frame) or (isinstance(source, np.ndarray) and source.ndim < 4):
        raise InvalidInputError("expected frame after frame, got one picture: call the finder itself on it")
    if isinstance(source, bytes) or not isinstance(source, Iterable):
        raise InvalidInputError(
            "expected a video file, a recording, or what gives frame after frame (a list, a generator over a "
            f"camera), got {source!r:.60}"
        )
    frames: Iterable[Any] = source
    return frames


def _given(items: Iterable[Any], intrinsics: Any, depth_scale: float | None) -> Iterator[Frame]:
    for number, item in enumerate(items):
        try:
            if isinstance(item, Frame):
                frame = _with_camera(item, intrinsics)
            elif isinstance(item, tuple) and len(item) == 2:
                frame = as_frame(item[0], item[1], intrinsics, depth_scale=depth_scale)
            else:
                frame = as_frame(item, None, intrinsics)
        except InvalidInputError as error:
            raise InvalidInputError(f"frame {number} of the video: {error}") from error
        yield frame


def _recording(path: Path, intrinsics: Any, depth_scale: float | None) -> Stream:
    bag = open_recording(path)
    chosen, _ = find_topics(bag)
    if depth_scale is None and isinstance(intrinsics, Camera):
        depth_scale = intrinsics.depth_scale
    without = []
    if chosen.depth is None:
        without.append("no depth")
    if chosen.info is None and intrinsics is None:
        without.append("no camera_info")

    return Stream(
        _recorded(bag, chosen, intrinsics, depth_scale),
        recorded=True,
        without_depth=f"{path} has {' and '.join(without)}" if without else "",
    )


def _recorded(bag: Bag, chosen: Chosen, intrinsics: Any, depth_scale: float | None) -> Iterator[Frame]:
    """What can be decoded; the log says what cannot, and what the recording lacks."""
    for remark in chosen.remarks:
        _LOG.warning("%s", remark)
    first: InvalidInputError | None = None
    good = said = False
    for recorded in read_bag_frames(bag, chosen, depth_scale=depth_scale, intrinsics=intrinsics):
        try:
            frame = recorded.load()
        except InvalidInputError as error:
            first = first or error
            _LOG.warning("image %d of %s is left out: %s", recorded.index, bag.path, error)
            continue
        good = True
        if not said and (frame.depth_m is None or frame.intrinsics is None) and chosen.depth is not None:
            said = True
            _LOG.warning("image %d of %s: %s", recorded.index, bag.path, _missing(recorded, frame))
        yield frame
    for remark in bag.remarks:
        _LOG.warning("%s", remark)
    if first is not None and not good:
        raise first


def _missing(recorded: BagFrame, frame: Frame) -> str:
    return recorded.missing(
        frame.size_hw,
        tolerance_name="the tolerance",
        depth_cure="record it",
        info_cure="",
        intrinsics_cure="give intrinsics=",
    )


def _with_camera(frame: Frame, intrinsics: Any) -> Frame:
    """The frame, with intrinsics that were given for all."""
    if intrinsics is None:
        return frame
    return dataclasses.replace(frame, intrinsics=as_intrinsics(intrinsics, frame.size_hw))
