"""Where `ovseg learn pairs` takes its images, captions and depth from: folders and recordings."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.cameras import Camera, read_camera
from ovseg_ros.files.depth import find_depth
from ovseg_ros.files.frames import read_frame
from ovseg_ros.files.pictures import IMAGE_SUFFIXES, STORED, read_header
from ovseg_ros.files.recordings import (
    Bag,
    Chosen,
    deserialized,
    find_topics,
    is_recording,
    open_recording,
    read_bag_frames,
)
from ovseg_ros.learn.pairs.captions import CaptionedImage, CaptionSource, LoadFrame, open_captions, safe_id

_LOG = logging.getLogger(__name__)

STRING = "std_msgs/msg/String"


@dataclass
class RecordedCaptions:
    """The colour images of a recording, each with the caption that was last said before it.

    Attributes:
        bag: the recording.
        chosen: its topics.
        captions: (number of the first image a caption is of, caption), in order.
        count: how many colour images there are.
        every: each n-th image is taken.
        topic: where the captions come from.
        depth_scale: metres per unit of depth; None: by the encoding.
        intrinsics: of all images; None: camera_info's.
    """

    bag: Bag
    chosen: Chosen
    captions: Sequence[tuple[int, str]]
    count: int
    every: int
    topic: str
    depth_scale: float | None = None
    intrinsics: Camera | None = None

    @property
    def remarks(self) -> list[str]:
        """What is lost of the recording, and what was decided."""
        return [*self.chosen.remarks, *self.bag.remarks]

    def __len__(self) -> int:
        return -(-self.count // self.every)

    def __iter__(self) -> Iterator[CaptionedImage]:
        path = self.bag.path
        name = safe_id(path.stem if path.is_file() else path.resolve().name)
        at = 0
        frames = read_bag_frames(
            self.bag,
            self.chosen,
            every=self.every,
            depth_scale=self.depth_scale,
            intrinsics=self.intrinsics,
        )
        for frame in frames:
            while at < len(self.captions) and self.captions[at][0] <= frame.index:
                at += 1
            said = (self.captions[at - 1][1],) if at else ()
            source = {"recording": name, "index": frame.index, "stamp_ns": frame.stamp_ns}
            yield CaptionedImage(f"{name}-{frame.index:06d}", said, source, frame.load)

    def describe(self) -> dict[str, Any]:
        """Topics, numbers and a hash of the captions."""
        text = json.dumps([list(caption) for caption in self.captions])
        return {
            "recording": self.bag.path.resolve().name,
            "image_topic": self.chosen.image.name,
            "caption_topic": self.topic,
            "images": len(self),
            "every": self.every,
            "captions_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }


def open_source(options: argparse.Namespace, *, needs_depth: bool) -> CaptionSource:
    """What `--images` and `--captions` name.

    Raises:
        InvalidInputError: not there, of another form, or without the depth that the proposals need.
    """
    path = options.images.expanduser()
    if is_recording(path):
        return _open_recording(path, options, needs_depth=needs_depth)
    wants_depth = needs_depth or options.depth is not None  # which proposals that need none may use
    depth, camera = depth_beside(path, options) if wants_depth else (None, None)
    if needs_depth and (depth is None or camera is None):
        raise InvalidInputError(
            f"the proposals need depth, there is none beside {path}: give --depth and --intrinsics, lay it "
            "out as images/, depth/ and camera.json, or take other proposals with --proposals-from"
        )
    load = frame_loader(path, depth, camera, options.depth_scale)
    return open_captions(
        path, options.captions, load, suffixes=IMAGE_SUFFIXES, per_image=options.captions_per_image
    )


def depth_beside(images: Path, options: argparse.Namespace) -> tuple[Path | None, Camera | None]:
    """Depth and camera: as the options say, or ROOT/depth/… and ROOT/camera.json beside ROOT/images/….

    Raises:
        InvalidInputError: no such depth, or a camera file of another form.
    """
    if options.depth is not None and not options.depth.exists():
        raise InvalidInputError(f"expected --depth as a file or a folder, {options.depth} is not there")
    camera = None if options.intrinsics is None else read_camera(options.intrinsics)
    depth: Path | None = options.depth
    images = images.resolve()
    for root in (images.parent, images.parent.parent):
        below = images.relative_to(root)
        if below.parts[0] != "images":
            continue
        beside = root.joinpath("depth", *below.parts[1:])
        if depth is None and beside.is_dir():
            depth = beside
        if camera is None and (root / "camera.json").is_file():
            camera = read_camera(root / "camera.json")
    return depth, camera


def frame_loader(
    images: Path, depth: Path | None, camera: Camera | None, depth_scale: float | None = None
) -> LoadFrame:
    """Reads image files below `images`, with the depth of the same name where there is depth."""
    told: list[str] = []

    def load(path: Path) -> Frame:
        if depth is None:
            return read_frame(path)
        beside = find_depth(depth, path, path.relative_to(images))
        frame = read_frame(path, beside, camera, depth_scale=depth_scale)
        if not told and read_header(path).orientation != 1:
            told.append(STORED)
            _LOG.warning(STORED)
        return frame

    return load


def _open_recording(path: Path, options: argparse.Namespace, *, needs_depth: bool) -> RecordedCaptions:
    if options.captions is not None:
        raise InvalidInputError(
            "expected captions from a topic of the recording, --caption-topic TOPIC, not from --captions"
        )
    bag = open_recording(path)
    chosen, count = find_topics(
        bag, image=options.image_topic, depth=options.depth_topic, info=options.camera_info_topic
    )
    if needs_depth and chosen.depth is None:
        raise InvalidInputError(
            f"the proposals need depth, {path} has no such topic: take others with --proposals-from"
        )
    topic, captions = _spoken(bag, chosen.image.name, options.caption_topic)
    camera = None if options.intrinsics is None else read_camera(options.intrinsics)
    return RecordedCaptions(
        bag,
        chosen,
        captions,
        count,
        options.every,
        topic,
        depth_scale=camera.depth_scale if options.depth_scale is None and camera else options.depth_scale,
        intrinsics=camera,
    )


def _spoken(bag: Bag, image_topic: str, topic: str | None) -> tuple[str, list[tuple[int, str]]]:
    """The caption topic, and (number of the next image, caption) of each of its messages."""
    texts = {channel.topic for channel in bag.channels if channel.kind == STRING and channel.count}
    named = [name for name in texts if name == topic or (topic is None and "caption" in name.lower())]
    if len(named) != 1:
        names = ", ".join(sorted(texts)) or "none"
        raise InvalidInputError(
            f"expected --caption-topic with a {STRING} topic of {bag.path} ({names}), got {topic or 'none'}"
        )
    captions: list[tuple[int, str]] = []
    index = 0
    for recorded in bag.messages([image_topic, named[0]]):
        if recorded.topic == image_topic:
            index += 1
            continue
        try:
            captions.append((index, str(deserialized(recorded).data).strip()))
        except InvalidInputError:
            captions.append((index, ""))  # it ends the one before, and says nothing
    return named[0], captions
