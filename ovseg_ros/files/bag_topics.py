"""Which topics of a recording are the colour camera, its depth and its camera_info, when nobody says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ovseg_ros.core.camera import COLOUR_ENCODINGS, DEPTH_ENCODINGS, GREY_ENCODINGS
from ovseg_ros.errors import InvalidInputError

IMAGE, COMPRESSED, INFO = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/CameraInfo",
)
NONE = "none"
"""As a topic's name: take none."""

_RESULTS = ("ground_truth", "instance", "label", "segment", "mask", "overlay", "confidence")


@dataclass(frozen=True)
class Topic:
    """One topic: its name, its type, and the encoding (or format) of its first message, "" if it has none."""

    name: str
    kind: str
    encoding: str = ""

    @property
    def holds_depth(self) -> bool:
        """Whether its images are depth; of what is also 16 bit the name decides."""
        return "compressedDepth" in self.encoding or (
            _first_word(self.encoding) in DEPTH_ENCODINGS and "depth" in self.name.lower()
        )

    @property
    def holds_colour(self) -> bool:
        """Whether its images are for eyes."""
        if self.kind == COMPRESSED:
            return not self.holds_depth and _first_word(self.encoding) not in ("16UC1", "32FC1")
        return self.encoding in COLOUR_ENCODINGS


@dataclass(frozen=True)
class Chosen:
    """The topics that are read; None where there is none."""

    image: Topic
    depth: Topic | None
    info: Topic | None


def choose_topics(
    topics: Sequence[Topic], *, image: str | None = None, depth: str | None = None, info: str | None = None
) -> Chosen:
    """Picks the topics by type, first message and name.

    Args:
        topics: all topics of the recording that hold messages.
        image: this one, whatever the rest; None: the only colour image, or the only one that stands out.
        depth: this one, or "none"; None: the depth image, one aligned to colour before others.
        info: this one, or "none"; None: the camera_info beside the image, else the only one.

    Raises:
        InvalidInputError: a named topic is not there or of another type; no colour image; several that are as
            good as each other. The message lists what there is.
    """
    images = {topic.name: topic for topic in topics if topic.kind in (IMAGE, COMPRESSED)}
    infos = {topic.name: topic for topic in topics if topic.kind == INFO}
    candidates = [t for t in images.values() if t.holds_colour]
    colour = _named(images, image, "--image-topic") or _best(candidates, "--image-topic", _colour_rank)
    if colour is None:
        raise InvalidInputError(f"want a recording with colour images, it holds {_listed(topics)}")
    chosen_depth = None
    if depth != NONE:
        near = [t for t in images.values() if t.holds_depth and t.name != colour.name]
        chosen_depth = _named(images, depth, "--depth-topic") or _best(near, "--depth-topic", _depth_rank)
    chosen_info = None
    if info != NONE:
        chosen_info = _named(infos, info, "--camera-info-topic") or _info_of(colour, infos)
    return Chosen(colour, chosen_depth, chosen_info)


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
    candidates: Sequence[Topic],
    option: str,
    rank: Callable[[Topic], tuple[bool, ...]],
) -> Topic | None:
    """The topic of the lowest rank; raw before compressed, and of one camera the first by name."""
    if not candidates:
        return None
    first = min(map(rank, candidates))
    best = [topic for topic in candidates if rank(topic) == first]
    cameras = {base_of(topic.name).rsplit("/", 1)[0] for topic in best}
    if len(cameras) > 1:
        names = ", ".join(sorted(topic.name for topic in best))
        raise InvalidInputError(f"the recording has several such cameras: {names}; choose with {option}")
    return min(best, key=lambda topic: (topic.kind == COMPRESSED, topic.name))


def _colour_rank(topic: Topic) -> tuple[bool, ...]:
    return _is_result(topic), topic.encoding in GREY_ENCODINGS


def _depth_rank(topic: Topic) -> tuple[bool, ...]:
    name = topic.name.lower()
    return _is_result(topic), not ("aligned" in name or "registered" in name)


def _is_result(topic: Topic) -> bool:
    return any(word in topic.name.lower() for word in _RESULTS)


def _info_of(colour: Topic, infos: Mapping[str, Topic]) -> Topic | None:
    """camera_info lies beside its image, by convention; an only one of another place will be meant too."""
    beside = infos.get(base_of(colour.name).rsplit("/", 1)[0] + "/camera_info")
    return beside or (next(iter(infos.values())) if len(infos) == 1 else None)


def _first_word(encoding: str) -> str:
    return encoding.split(";")[0].strip()


def _listed(topics: Sequence[Topic]) -> str:
    return ", ".join(f"{t.name} ({t.encoding or t.kind})" for t in topics) or "no messages of such a type"
