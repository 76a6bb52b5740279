"""What one mask-category pair is, how it lies in a tar shard, and what the files of a collection are called.

The layout is webdataset's: per pair STEM.png (the crop), STEM.mask.png (0/255) and STEM.json, one after the
other in an uncompressed tar, STEM = IMAGE-NUMBER. `store` writes it, `index` reads it.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError, OvsegError

FORMAT, VERSION = "ovseg-pairs", 1
MANIFEST, JOURNAL = "manifest.json", "journal.jsonl"
KINDS = ("png", "mask.png", "json")
"""What follows a pair's stem and a dot in its members' names: the crop, its mask, what is known of them."""

SHARD_END = b"\0" * 1024
"""Two empty blocks: the end of a tar archive."""


class UnreadablePair(InvalidInputError):
    """A pair that cannot be used; `name` says which, `reason` why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


@dataclass(frozen=True)
class Pair:
    """One mask and its noun.

    Attributes:
        noun: the class.
        image_rgb: (h, w, 3) uint8, the crop with its surroundings.
        mask: (h, w) bool, what the noun names; never empty.
        meta: the JSON of the pair: image, caption, score, mask_score, box_xyxy, area, source, noun.
    """

    noun: str
    image_rgb: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    meta: Mapping[str, Any]


def shard_name(number: int) -> str:
    """The file name of the shard with this number."""
    return f"shard-{number:05d}.tar"


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a folder of pairs.

    Raises:
        InvalidInputError: not there, damaged, or of another format.
    """
    file = Path(path) / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(
            f"expected pairs in {path}, {file.name} cannot be read: {error.strerror}; "
            "`ovseg learn pairs` makes it"
        ) from error
    except ValueError as error:
        raise InvalidInputError(f"{file} is damaged: {error}") from error
    found = (manifest.get("format"), manifest.get("version")) if isinstance(manifest, dict) else None
    if found != (FORMAT, VERSION):
        raise InvalidInputError(f"expected a manifest of format {FORMAT} {VERSION}, {file} is none")
    return manifest


def decode_meta(members: Mapping[str, bytes], where: str) -> dict[str, Any]:
    """What is known of a pair, with its "noun", from its JSON file; `where` is for messages.

    Raises:
        UnreadablePair: damaged, or without a noun.
    """
    try:
        meta = json.loads(members["json"])
        meta["noun"] = str(meta["noun"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadablePair(where, f"its JSON is damaged, or has no noun: {error!r}") from error
    if not meta["noun"].strip():
        raise UnreadablePair(where, "without a noun")
    return meta


def decode_pair(members: Mapping[str, bytes], where: str) -> Pair:
    """A pair from its three files, by their `KINDS`; `where` is for messages.

    Raises:
        UnreadablePair: one of them is damaged, crop and mask differ in size, or mask or noun is empty.
    """
    meta = decode_meta(members, where)
    try:
        image_bgr = cv2.imdecode(np.frombuffer(members["png"], np.uint8), cv2.IMREAD_COLOR)
        grey = cv2.imdecode(np.frombuffer(members["mask.png"], np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:
        raise UnreadablePair(where, f"its crop or mask is damaged: {error}") from error
    if image_bgr is None or grey is None or image_bgr.shape[:2] != grey.shape:
        raise UnreadablePair(where, "its crop or mask is damaged, or they differ in size")
    mask = grey > 127
    if not mask.any():
        raise UnreadablePair(where, "its mask is empty")
    return Pair(meta["noun"], np.ascontiguousarray(image_bgr[:, :, ::-1]), mask, meta)


def encode_pair(stem: str, pair: Pair) -> bytes:
    """Three tar members, the same bytes whenever and wherever they are made."""
    contents = (
        _png(pair.image_rgb[:, :, ::-1]),
        _png(pair.mask.astype(np.uint8) * 255),
        json.dumps(dict(pair.meta), sort_keys=True).encode(),
    )
    out = io.BytesIO()
    for kind, content in zip(KINDS, contents, strict=True):
        info = tarfile.TarInfo(f"{stem}.{kind}")
        info.size, info.mode = len(content), 0o644
        out.write(info.tobuf(tarfile.PAX_FORMAT))
        out.write(content + b"\0" * (-len(content) % tarfile.BLOCKSIZE))
    return out.getvalue()


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    good, content = cv2.imencode(".png", pixels)
    if not good:
        raise OvsegError(f"OpenCV cannot write a PNG of {pixels.shape} {pixels.dtype}")
    return bytes(content.tobytes())
