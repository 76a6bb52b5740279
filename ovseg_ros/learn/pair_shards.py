"""The files of mask-category pairs: what one pair is, how it lies in a tar shard, and whether all is whole.

The layout is webdataset's: per pair STEM.png (the crop), STEM.mask.png (0/255) and STEM.json, one after the
other in an uncompressed tar, STEM = IMAGE-NUMBER. `pair_store` writes it.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError, OvsegError
from ovseg_ros.models.verify import sha256_of

FORMAT, VERSION = "ovseg-pairs", 1
MANIFEST, JOURNAL = "manifest.json", "journal.jsonl"
_MEMBERS = ("png", "mask.png", "json")


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
            f"want pairs in {path}, {file.name} cannot be read: {error.strerror}; "
            "`ovseg learn pairs` makes it"
        ) from error
    except ValueError as error:
        raise InvalidInputError(f"{file} is damaged: {error}") from error
    if not isinstance(manifest, dict) or (manifest.get("format"), manifest.get("version")) != (
        FORMAT,
        VERSION,
    ):
        raise InvalidInputError(f"want a manifest of format {FORMAT} {VERSION}, {file} is none")
    return manifest


def iter_shard(path: Path) -> Iterator[Pair]:
    """The pairs of one shard, read as they come.

    Raises:
        InvalidInputError: it cannot be read, or a pair in it is incomplete; the message names it.
    """
    for stem, members in iter_members(path):
        yield decode_pair(members, f"{path}: {stem}")


def iter_members(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(stem, {"png", "mask.png", "json": bytes}) of each pair of a shard.

    Raises:
        InvalidInputError: it cannot be read, breaks off, or lacks a member of a pair.
    """
    current, members = "", {}
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                stem, _, kind = info.name.partition(".")
                if stem != current and members:
                    yield current, _complete(members, path, current)
                    members = {}
                current = stem
                file = tar.extractfile(info)
                members[kind] = b"" if file is None else file.read()
                tar.members = []  # tarfile remembers each member; a shard is gone through once
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InvalidInputError(f"the shard {path} cannot be read: {error}") from error
    if members:
        yield current, _complete(members, path, current)


def decode_pair(members: Mapping[str, bytes], where: str) -> Pair:
    """A pair from its three files; `where` is for messages.

    Raises:
        InvalidInputError: one of them is damaged, or crop and mask differ in size.
    """
    try:
        meta = json.loads(members["json"])
        image_bgr = cv2.imdecode(np.frombuffer(members["png"], np.uint8), cv2.IMREAD_COLOR)
        mask = cv2.imdecode(np.frombuffer(members["mask.png"], np.uint8), cv2.IMREAD_GRAYSCALE)
        noun = str(meta["noun"])
    except (ValueError, KeyError, TypeError, cv2.error) as error:
        raise InvalidInputError(f"a damaged pair, {where}: {error!r}") from error
    if image_bgr is None or mask is None or image_bgr.shape[:2] != mask.shape or not mask.any():
        raise InvalidInputError(f"want a crop and a mask of its size that is not empty, {where} has not")
    image_rgb = np.ascontiguousarray(image_bgr[:, :, ::-1])
    return Pair(noun, image_rgb, mask > 127, meta)


def verify(path: Path) -> list[str]:
    """What is wrong with a folder of pairs; nothing if it is whole.

    Every file the manifest lists is read to its end and each pair in it decoded.

    Returns:
        One line per problem: files that are missing, altered, truncated or not listed, pairs that are
        incomplete or damaged, counts that are not those of the manifest, a collection that was not finished.
    """
    path = Path(path)
    try:
        manifest = read_manifest(path)
    except InvalidInputError as error:
        return [str(error)]
    problems = [] if manifest.get("complete") else ["the collection was not finished; --resume goes on"]
    listed = {str(shard.get("file")): shard for shard in manifest.get("shards", ())}
    total = 0
    nouns: dict[str, int] = {}
    for name, shard in listed.items():
        file = path / name
        if not file.is_file():
            problems.append(f"{name} is missing")
            continue
        if sha256_of(file) != shard.get("sha256"):
            problems.append(f"{name} is altered or truncated: its SHA-256 is not the manifest's")
        count = 0
        try:
            for stem, members in iter_members(file):
                count += 1
                try:
                    pair = decode_pair(members, f"{name}: {stem}")
                    nouns[pair.noun] = nouns.get(pair.noun, 0) + 1
                except InvalidInputError as error:
                    problems.append(str(error))
        except InvalidInputError as error:
            problems.append(str(error))
        if count != shard.get("pairs"):
            problems.append(f"{name} holds {count} pairs, the manifest says {shard.get('pairs')}")
        total += count
    for file in sorted(path.glob("shard-*.tar")):
        if file.name not in listed:
            problems.append(f"{file.name} is not in the manifest: --resume puts it there")
    if not problems and (total, nouns) != (manifest["counts"]["pairs"], manifest["nouns"]):
        problems.append(f"the manifest counts {manifest['counts']['pairs']} pairs, the shards hold {total}")
    return problems


def shard_name(number: int) -> str:
    """The file name of the shard with this number."""
    return f"shard-{number:05d}.tar"


def _complete(members: dict[str, bytes], path: Path, stem: str) -> dict[str, bytes]:
    missing = [kind for kind in _MEMBERS if kind not in members]
    if missing:
        raise InvalidInputError(f"the shard {path} lacks {', '.join(f'{stem}.{kind}' for kind in missing)}")
    return members


def encode_pair(stem: str, pair: Pair) -> bytes:
    """Three tar members, the same bytes whenever and wherever they are made."""
    contents = (
        _png(pair.image_rgb[:, :, ::-1]),
        _png(pair.mask.astype(np.uint8) * 255),
        json.dumps(dict(pair.meta), sort_keys=True).encode(),
    )
    out = io.BytesIO()
    for kind, content in zip(_MEMBERS, contents, strict=True):
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
