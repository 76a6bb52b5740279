"""What the topics of a recording hold, by their first messages."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

from PIL import Image

from ovseg_ros.core.camera import COMPRESSED_DEPTH, ImageFormat
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.recordings.bag import Bag, deserialized, open_recording
from ovseg_ros.files.recordings.parts import Channel
from ovseg_ros.files.recordings.topics import (
    COMPRESSED,
    IMAGE,
    INFO,
    Chosen,
    Topic,
    choose_topics,
)

_LOOKED_AT = 8  # messages of a topic, where the first are damaged
_FILMS = ("image", "video", "packet")  # in names of types: listed where no colour is found
_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH_HEADER_BYTES = 12  # of compressed_depth_image_transport
_CODECS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "TIFF": "tiff", "BMP": "bmp", "WEBP": "webp"}
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
_GREY_MODES = {"L": "mono8", "1": "mono8", "I;16": "16UC1", "I;16B": "16UC1", "I": "16UC1"}


def as_bag(recording: Path | str | Bag) -> Bag:
    """A recording that was opened, or is now."""
    return recording if isinstance(recording, Bag) else open_recording(recording)


def find_topics(
    recording: Path | str | Bag,
    *,
    image: str | None = None,
    depth: str | None = None,
    info: str | None = None,
) -> tuple[Chosen, int]:
    """The topics of a recording that will be read, and how many colour images there are.

    Args:
        recording: see `open_recording`; one that is open need not be unpacked again.
        image: see `topics.choose_topics`, as the rest.
        depth: a topic, or "none".
        info: a topic, or "none".

    Raises:
        InvalidInputError: not a recording, or no choice can be made.
    """
    bag = as_bag(recording)
    topics = [_topic(bag, channel) for channel in bag.channels if channel.count and _is_shown(channel)]
    if not any(channel.count for channel in bag.channels):
        names = ", ".join(f"{channel.topic} ({channel.kind})" for channel in bag.channels) or "none"
        lost = "".join(f"; {remark}" for remark in bag.remarks)
        raise InvalidInputError(f"{bag.path} holds no messages; its topics are: {names}{lost}")
    try:
        chosen = choose_topics(topics, image=image, depth=depth, info=info)
    except InvalidInputError as error:
        raise InvalidInputError("; ".join([f"{bag.path}: {error}", *bag.remarks])) from error
    counts = {channel.topic: channel.count for channel in bag.channels}
    return chosen, counts[chosen.image.name]


def _is_shown(channel: Channel) -> bool:
    return channel.kind == INFO or any(word in channel.kind.lower() for word in _FILMS)


def _topic(bag: Bag, channel: Channel) -> Topic:
    if channel.serialization and not channel.serialization.startswith("cdr"):
        return Topic(
            channel.topic, f"{channel.kind} in {channel.serialization}, not in cdr", "", channel.count
        )
    encoding = _encoding(bag, channel) if channel.kind in (IMAGE, COMPRESSED) else ""
    return Topic(channel.topic, channel.kind, encoding, channel.count)


def _encoding(bag: Bag, channel: Channel) -> str:
    """That of the first whole message; "" where all that were looked at are damaged."""
    for number, recorded in enumerate(bag.messages([channel.topic])):
        if number == _LOOKED_AT:
            break
        try:
            message = deserialized(recorded)
        except InvalidInputError:
            continue  # its frame will say what is wrong with it
        return str(message.encoding) if channel.kind == IMAGE else _format(message)
    return ""


def _format(message: Any) -> str:
    """A `format`, mended by what the data is: drivers say "png" of depth and "jpeg" of grey."""
    text, data = str(message.format), bytes(message.data)
    said = ImageFormat.parse(text)
    if said.transport == COMPRESSED_DEPTH:
        return text
    if data[_DEPTH_HEADER_BYTES:].startswith(_PNG) and not data.startswith(_PNG):
        return f"{said.encoding or '16UC1'}; compressedDepth png"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of very large pictures; nothing is decoded here
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                codec, mode = _CODECS.get(picture.format or "", ""), picture.mode
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return text
    encoding = said.encoding or _GREY_MODES.get(mode, "")
    if not codec or (codec, encoding) == (said.codec, said.encoding):
        return text
    return f"{encoding}; {codec} compressed {said.stored}".strip("; ")
