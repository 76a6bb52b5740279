"""Where the pairs of a data set lie on the disk, reading one of them, and whether all are whole.

A data set is a folder with `manifest.json` and shards, which are plain tar files with three members a pair:
`STEM.png`, `STEM.mask.png`, `STEM.json`; see docs/pairs.md. The shards' headers are read once; afterwards any
pair is three reads at known places, so nothing is held in memory and any order costs the same.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.learn.pairs.shards import (
    KINDS,
    MANIFEST,
    Pair,
    UnreadablePair,
    decode_meta,
    decode_pair,
    read_manifest,
)
from ovseg_ros.models.downloads.verify import sha256_of

CURE = "make the data set with `ovseg learn pairs`"


@dataclass(frozen=True)
class PairIndex:
    """The places of N pairs.

    Attributes:
        folder: the data set.
        manifest: content of its manifest.json.
        shards: paths of the tar files.
        shard: (N,) int32, which of them holds the pair.
        places: (N, 3, 2) int64, offset and size in bytes of the members, in the order of `KINDS`.
        stems: (N,) bytes, UTF-8.
        problems: what was left out, name -> reason.
    """

    folder: Path
    manifest: Mapping[str, Any]
    shards: tuple[Path, ...]
    shard: np.ndarray
    places: np.ndarray
    stems: np.ndarray
    problems: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.shard)

    @property
    def fingerprint(self) -> str:
        """Changes when the set of pairs changes."""
        digest = hashlib.sha256(b"\0".join(self.stems.tolist()))
        digest.update(self.places.tobytes())
        return digest.hexdigest()

    def take(self, chosen: np.ndarray) -> PairIndex:
        """Some of the pairs, by a boolean mask or by indices."""
        return replace(self, shard=self.shard[chosen], places=self.places[chosen], stems=self.stems[chosen])

    def name(self, i: int) -> str:
        """The i-th pair's name for messages: shard and stem."""
        return f"{self.shards[self.shard[i]].name}:{self.stems[i].decode()}"

    def images(self) -> list[str]:
        """The image each pair comes from: its stem without the number at the end."""
        return [stem.decode().rpartition("-")[0] for stem in self.stems.tolist()]

    def read(self, i: int) -> Pair:
        """The i-th pair.

        Raises:
            UnreadablePair: damaged, without a noun, or with an empty mask.
        """
        return decode_pair(self._members(i, KINDS), self.name(i))

    def noun(self, i: int) -> str:
        """The i-th pair's noun, without its pixels.

        Raises:
            UnreadablePair: damaged.
        """
        return decode_meta(self._members(i, ("json",)), self.name(i))["noun"]

    def _members(self, i: int, kinds: Sequence[str]) -> dict[str, bytes]:
        """The content of some of a pair's files."""
        members = {}
        try:
            with self.shards[self.shard[i]].open("rb") as file:
                for kind in kinds:
                    offset, size = self.places[i, KINDS.index(kind)].tolist()
                    file.seek(offset)
                    members[kind] = file.read(size)
                    if len(members[kind]) != size:
                        raise UnreadablePair(self.name(i), "the shard became shorter")
        except OSError as error:
            raise UnreadablePair(self.name(i), f"cannot be read from the disk ({error})") from error
        return members


def open_pairs(folder: Path, most_shards: int | None = None) -> PairIndex:
    """Reads a data set's manifest and the headers of its shards.

    Pairs with a member missing, and what follows a place where a shard is damaged or cut off, are left out
    and named in `problems`.

    Args:
        folder: the data set.
        most_shards: at most so many of its shards, evenly spread; None reads all.

    Raises:
        InvalidInputError: no manifest, or of another format; a shard missing; no pair at all.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    listed = manifest.get("shards")
    if not isinstance(listed, list) or not all(isinstance(e, dict) and "file" in e for e in listed):
        raise InvalidInputError(f"expected a list of shards in {folder / MANIFEST}; {CURE} again")
    gone = [str(entry["file"]) for entry in listed if not (folder / str(entry["file"])).is_file()]
    if gone:
        raise InvalidInputError(
            f"expected the shards that {folder / MANIFEST} lists, {', '.join(gone[:10])} "
            f"{'is' if len(gone) == 1 else 'are'} missing; restore them, or {CURE} again"
        )
    if most_shards is not None and len(listed) > most_shards:
        listed = [listed[i * len(listed) // most_shards] for i in range(most_shards)]
    index = _index(folder, manifest, listed)
    if not len(index):
        raise InvalidInputError(f"expected mask-category pairs in {folder}, there are none; {CURE}")
    return index


def iter_shard(path: Path) -> Iterator[Pair]:
    """The pairs of one shard, one after the other; it needs no manifest.

    Raises:
        InvalidInputError: it cannot be read, or a pair in it is incomplete; the message names it.
    """
    path = Path(path)
    index = _index(path.parent, {}, [{"file": path.name}])
    for name, reason in index.problems.items():
        raise InvalidInputError(f"the shard {path} cannot be read: {name}: {reason}")
    for i in range(len(index)):
        yield index.read(i)


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
    there = {name: shard for name, shard in listed.items() if (path / name).is_file()}
    problems += [f"{name} is missing" for name in listed if name not in there]
    for name, shard in there.items():
        if sha256_of(path / name) != shard.get("sha256"):
            problems.append(f"{name} is altered or truncated: its SHA-256 is not the manifest's")
    index = _index(path, manifest, list(there.values()))
    problems += [f"{name}: {reason}" for name, reason in index.problems.items()]
    nouns: Counter[str] = Counter()
    for i in range(len(index)):
        try:
            nouns[index.read(i).noun] += 1
        except UnreadablePair as error:
            problems.append(str(error))
    for file in sorted(path.glob("shard-*.tar")):
        if file.name not in listed:
            problems.append(f"{file.name} is not in the manifest: --resume puts it there")
    counted = manifest.get("counts", {}).get("pairs")
    if not problems and (nouns.total(), nouns) != (counted, manifest.get("nouns")):
        problems.append(f"the manifest counts {counted} pairs, the shards hold {nouns.total()}")
    return problems


def _index(folder: Path, manifest: Mapping[str, Any], listed: Sequence[Mapping[str, Any]]) -> PairIndex:
    """The whole pairs of the shards in `listed`, in their order."""
    shards = tuple(folder / str(entry["file"]) for entry in listed)
    stems: list[bytes] = []
    places: list[list[tuple[int, int]]] = []
    shard_of: list[int] = []
    problems: dict[str, str] = {}
    for number, (path, entry) in enumerate(zip(shards, listed, strict=True)):
        found = _scan(path, problems)
        wanted = entry.get("pairs")
        if isinstance(wanted, int) and len(found) != wanted:
            problems[path.name] = f"expected {wanted} pairs, {len(found)} are whole"
        for stem, members in found.items():
            stems.append(stem.encode())
            places.append(members)
            shard_of.append(number)
    return PairIndex(
        folder,
        manifest,
        shards,
        np.array(shard_of, np.int32),
        np.array(places, np.int64).reshape(-1, 3, 2),
        np.array(stems, np.bytes_),
        problems,
    )


def _scan(path: Path, problems: dict[str, str]) -> dict[str, list[tuple[int, int]]]:
    """Stem -> offset and size of its three members, for the whole pairs of a shard, in its order."""
    members: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        size = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                stem, _, kind = member.name.partition(".")
                if member.isreg() and kind in KINDS:
                    parts = members.setdefault(stem, {})
                    if member.offset_data + member.size <= size:
                        parts[kind] = member.offset_data, member.size
    except (tarfile.TarError, EOFError, OSError) as error:
        problems[f"{path.name}: its end"] = f"damaged or cut off ({error})"
    whole = {}
    for stem, parts in members.items():
        missing = [f".{kind}" for kind in KINDS if kind not in parts]
        if missing:
            problems[f"{path.name}:{stem}"] = f"without {', '.join(missing)}"
        else:
            whole[stem] = [parts[kind] for kind in KINDS]
    return whole
