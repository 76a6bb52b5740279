"""Which topics of a recording are the colour camera, its depth and its camera_info, when nobody says it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ovseg_ros.core.camera import (
    COLOUR_ENCODINGS,
    COMPRESSED_DEPTH,
    DEPTH_ENCODINGS,
    GREY_ENCODINGS,
    PICTURE_CODECS,
    ImageFormat,
)
from ovseg_ros.errors import InvalidInputError

IMAGE, COMPRESSED, INFO = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/CameraInfo",
)
NONE = "none"
"""As a topic's name: take none."""

_RESULTS = ("ground_truth", "instance", "label", "segment", "mask", "overlay", "confidence")
_ONLY_DEPTH = ("16UC1", "32FC1")  # no camera for eyes sends these
_OTHER_NUMBERS = {"infra", "infrared", "ir", "thermal", "disparity", "amplitude", "intensity"}  # sent so too
_DEPTH_CODECS = ("png", "tiff", "")


@dataclass(frozen=True)
class Topic:
    """One topic.

    Attributes:
        name: of the topic.
        kind: the type of its messages.
        encoding: `encoding` or `format` of its first message that is whole; "" if it has none.
        count: of its messages.
    """

    name: str
    kind: str
    encoding: str = ""
    count: int = 0

    @property
    def format(self) -> ImageFormat:
        """How its images are coded; a raw one has no codec."""
        return (
            ImageFormat.parse(self.encoding)
            if self.kind == COMPRESSED
            else ImageFormat(self.encoding, "raw", "", "")
        )

    @property
    def is_image(self) -> bool:
        """Whether it holds images of a type that is read."""
        return self.kind in (IMAGE, COMPRESSED)

    @property
    def may_be_depth(self) -> bool:
        """Whether its numbers can be depth. JPEG never is: it rounds millimetres away."""
        return self.is_image and (
            self.format.transport == COMPRESSED_DEPTH
            or (self.format.encoding in DEPTH_ENCODINGS and self.format.codec in _DEPTH_CODECS)
        )

    @property
    def holds_depth(self) -> bool:
        """Whether its images are depth; of what is also 16 bit the name decides."""
        return self.format.transport == COMPRESSED_DEPTH or (
            self.may_be_depth and "depth" in self.name.lower()
        )

    @property
    def holds_colour(self) -> bool:
        """Whether its images are for eyes."""
        if not self.is_image or self.holds_depth or self.format.encoding in _ONLY_DEPTH:
            return False
        if self.kind == COMPRESSED:
            return self.format.codec in PICTURE_CODECS or not self.encoding
        return self.encoding in COLOUR_ENCODINGS

    @property
    def is_grey(self) -> bool:
        """Whether it shows no colours."""
        return self.format.encoding in GREY_ENCODINGS or self.format.stored in GREY_ENCODINGS

    def __str__(self) -> str:
        said = f"{self.kind}, {self.encoding}" if self.encoding else self.kind
        return f"{self.name} ({said}, {self.count} messages)" if self.count else f"{self.name} ({said})"


@dataclass(frozen=True)
class Chosen:
    """The topics that are read; None where there is none.

    Attributes:
        image: colour.
        depth: its depth.
        info: its camera_info.
        remarks: why, where it is no matter of course; in sentences.
        others: images that were not taken.
    """

    image: Topic
    depth: Topic | None
    info: Topic | None
    remarks: tuple[str, ...] = field(default=(), compare=False, repr=False)
    others: tuple[Topic, ...] = field(default=(), compare=False, repr=False)


def choose_topics(
    topics: Sequence[Topic], *, image: str | None = None, depth: str | None = None, info: str | None = None
) -> Chosen:
    """Picks the topics by type, first message and name.

    Args:
        topics: all topics of the recording that hold messages.
        image: this one, whatever the rest; None: the only colour image, or the only one that stands out.
        depth: this one, or "none"; None: the depth image, one aligned to colour before others; or the only
            image beside a colour camera that is 16UC1 or 32FC1, whatever its name.
        info: this one, or "none"; None: the camera_info beside the image, else that of depth registered to
            it, else the only one.

    Raises:
        InvalidInputError: a named topic is not there or of another type; no colour image; several that are as
            good as each other. The message lists what there is.
    """
    images = {topic.name: topic for topic in topics if topic.is_image}
    infos = {topic.name: topic for topic in topics if topic.kind == INFO}
    candidates = [topic for topic in images.values() if topic.holds_colour]
    colour = _named(images, image, "--image-topic") or _best(candidates, "--image-topic", _colour_rank)
    if colour is None:
        raise InvalidInputError(f"expected a recording with colour images, it holds {_listed(topics)}")
    chosen_depth, remarks = None, []
    if depth != NONE:
        chosen_depth = _named(images, depth, "--depth-topic") or _depth_of(colour, list(images.values()))
        if chosen_depth is None and colour.holds_colour and not colour.is_grey:
            chosen_depth = _only_numbers(colour, list(images.values()))
            if chosen_depth is not None:
                remarks.append(
                    f"{chosen_depth.name} is taken as depth: it is the only {chosen_depth.format.encoding} "
                    f"image beside {colour.name}; --depth-topic names another, or none"
                )
    chosen_info = None
    if info != NONE:
        chosen_info = _named(infos, info, "--camera-info-topic") or _info_of(colour, chosen_depth, infos)
    others = tuple(topic for topic in images.values() if topic not in (colour, chosen_depth))
    return Chosen(colour, chosen_depth, chosen_info, tuple(remarks), others)


def base_of(topic: str) -> str:
    """The image topic that a transport's topic belongs to: "/a/image/compressed" -> "/a/image"."""
    for transport in ("/compressed", "/compressedDepth"):
        topic = topic.removesuffix(transport)
    return topic


def _named(topics: Mapping[str, Topic], name: str | None, option: str) -> Topic | None:
    if name is None:
        return None
    found = topics.get(name) or topics.get("/" + name.lstrip("/"))
    if found is None:
        raise InvalidInputError(
            f"{option}: the recording has no such topic {name!r}; it has {_listed(list(topics.values()))}"
        )
    return found


def _best(
    candidates: Sequence[Topic], option: str, rank: Callable[[Topic], tuple[float, ...]]
) -> Topic | None:
    """The topic of the lowest rank; raw before compressed, and of one camera the first by name."""
    if not candidates:
        return None
    first = min(map(rank, candidates))
    best = sorted((topic for topic in candidates if rank(topic) == first), key=lambda topic: topic.name)
    cameras = {_place(topic.name) for topic in best}
    if len(cameras) > 1:
        raise InvalidInputError(
            f"the recording has several such cameras: {_listed(best)}; choose with {option}"
        )
    return min(best, key=lambda topic: (topic.kind == COMPRESSED, not topic.holds_depth, topic.name))


def _colour_rank(topic: Topic) -> tuple[float, ...]:
    return _is_result(topic), topic.is_grey


def _depth_of(colour: Topic, images: Sequence[Topic]) -> Topic | None:
    """Depth of the camera that colour is of, aligned to colour before as the sensor saw it."""

    def rank(topic: Topic) -> tuple[float, ...]:
        name = topic.name.lower()
        aligned = "aligned" in name or "registered" in name or "depth_to_" in name
        return _is_result(topic), -_shared(topic.name, colour.name), not aligned

    near = [topic for topic in images if topic.holds_depth and topic.name != colour.name]
    return _best(near, "--depth-topic", rank)


def _only_numbers(colour: Topic, images: Sequence[Topic]) -> Topic | None:
    """The one image beside a colour camera that no camera for eyes sends, and no name says is no depth."""
    found = [
        topic
        for topic in images
        if topic.may_be_depth
        and topic.format.encoding in _ONLY_DEPTH
        and not _is_result(topic)
        and _OTHER_NUMBERS.isdisjoint(re.split(r"[^a-z]+", topic.name.lower()))
        and topic.name != colour.name
    ]
    places = {base_of(topic.name) for topic in found}
    return min(found, key=lambda topic: (topic.kind == COMPRESSED, topic.name)) if len(places) == 1 else None


def _is_result(topic: Topic) -> bool:
    return any(word in topic.name.lower() for word in _RESULTS)


def _place(topic: str) -> str:
    return base_of(topic).rsplit("/", 1)[0]


def _shared(topic: str, other: str) -> int:
    """How many names two topics' namespaces have in common."""
    pairs = zip(_place(topic).split("/"), _place(other).split("/"), strict=False)
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _info_of(colour: Topic, depth: Topic | None, infos: Mapping[str, Topic]) -> Topic | None:
    """camera_info lies beside its image, by convention; an only one of another place will be meant too."""
    found = infos.get(_place(colour.name) + "/camera_info")
    if found is None and depth is not None and "aligned" in depth.name:
        found = infos.get(_place(depth.name) + "/camera_info")
    return found or (next(iter(infos.values())) if len(infos) == 1 else None)


def _listed(topics: Sequence[Topic]) -> str:
    return ", ".join(map(str, topics)) or "no messages of such a type"
