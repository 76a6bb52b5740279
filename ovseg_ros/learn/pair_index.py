"""Where the pairs of a data set lie on the disk, and reading one of them.

A data set is a folder with `manifest.json` and shards, which are plain tar files with three members a pair:
`STEM.png`, `STEM.mask.png`, `STEM.json`; see docs/pairs.md. The shards' headers are read once; afterwards any
pair is three reads at known places, so nothing is held in memory and any order costs the same.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.learn.pair_shards import Pair, decode_pair, read_manifest

ENDINGS = (".png", ".mask.png", ".json")
"""What follows a pair's stem in its members' names: the crop, its mask, what is known of them."""

CURE = "make the data set with `ovseg learn pairs`"
_OPEN_SHARDS = 32


class UnreadablePair(InvalidInputError):
    """A pair that cannot be used; `name` says which, `reason` why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


@dataclass(frozen=True)
class PairIndex:
    """The places of N pairs.

    Attributes:
        folder: the data set.
        manifest: content of its manifest.json.
        shards: paths of the tar files.
        shard: (N,) int32, which of them holds the pair.
        places: (N, 3, 2) int64, offset and size in bytes of the members, in the order of `ENDINGS`.
        stems: (N,) bytes, UTF-8.
        problems: what was left out, name -> reason.
    """

    folder: Path
    manifest: dict[str, Any]
    shards: tuple[Path, ...]
    shard: np.ndarray
    places: np.ndarray
    stems: np.ndarray
    problems: dict[str, str]
    _files: OrderedDict[int, int] = field(default_factory=OrderedDict, repr=False, compare=False)

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
        return replace(
            self,
            shard=self.shard[chosen],
            places=self.places[chosen],
            stems=self.stems[chosen],
            _files=OrderedDict(),
        )

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
        name = self.name(i)
        members = {ending[1:]: self._bytes(i, k) for k, ending in enumerate(ENDINGS)}
        try:
            pair = decode_pair(members, name)
        except InvalidInputError as error:
            raise UnreadablePair(name, str(error)) from error
        if not pair.noun.strip() or not pair.mask.any():
            raise UnreadablePair(name, "without a noun" if pair.mask.any() else "its mask is empty")
        return pair

    def _bytes(self, i: int, member: int) -> bytes:
        offset, size = (int(value) for value in self.places[i, member])
        try:
            data = os.pread(self._file(int(self.shard[i])), size, offset)
        except OSError as error:
            raise UnreadablePair(self.name(i), f"cannot be read from the disk ({error})") from error
        if len(data) != size:
            raise UnreadablePair(self.name(i), "the shard became shorter")
        return data

    def _file(self, shard: int) -> int:
        """An open file of the shard; the least recently used one is closed beyond `_OPEN_SHARDS`."""
        if shard not in self._files:
            if len(self._files) >= _OPEN_SHARDS:
                os.close(self._files.popitem(last=False)[1])
            self._files[shard] = os.open(self.shards[shard], os.O_RDONLY)
        self._files.move_to_end(shard)
        return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        """Open files stay with the process that opened them."""
        return {**self.__dict__, "_files": OrderedDict()}


def open_pairs(folder: Path) -> PairIndex:
    """Reads a data set's manifest and the headers of its shards.

    Pairs with a member missing, and what follows a place where a shard is damaged or cut off, are left out
    and named in `problems`.

    Raises:
        InvalidInputError: no manifest, or of another format; a shard missing; no pair at all.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    listed = manifest.get("shards")
    if not isinstance(listed, list) or not all(isinstance(e, dict) and "file" in e for e in listed):
        raise InvalidInputError(f"want a list of shards in {folder / 'manifest.json'}; {CURE} again")
    shards = tuple(folder / str(entry["file"]) for entry in listed)
    gone = [path.name for path in shards if not path.is_file()]
    if gone:
        raise InvalidInputError(
            f"want the shards that {folder / 'manifest.json'} lists, {', '.join(gone[:10])} "
            f"{'is' if len(gone) == 1 else 'are'} missing; restore them, or {CURE} again"
        )
    stems: list[bytes] = []
    places: list[list[tuple[int, int]]] = []
    shard_of: list[int] = []
    problems: dict[str, str] = {}
    for number, (path, entry) in enumerate(zip(shards, listed, strict=True)):
        found = _scan(path, problems)
        wanted = entry.get("pairs")
        if isinstance(wanted, int) and len(found) != wanted:
            problems[path.name] = f"want {wanted} pairs, {len(found)} are whole"
        for stem, members in found.items():
            stems.append(stem.encode())
            places.append(members)
            shard_of.append(number)
    if not stems:
        raise InvalidInputError(f"want mask-category pairs in {folder}, there are none; {CURE}")
    return PairIndex(
        folder,
        manifest,
        shards,
        np.array(shard_of, np.int32),
        np.array(places, np.int64).reshape(-1, 3, 2),
        np.array(stems),
        problems,
    )


def _scan(path: Path, problems: dict[str, str]) -> dict[str, list[tuple[int, int]]]:
    """Stem -> offset and size of its three members, for the whole pairs of a shard, in its order."""
    members: dict[str, dict[str, tuple[int, int]]] = {}
    size = path.stat().st_size
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                ending = next((e for e in reversed(ENDINGS) if member.name.endswith(e)), None)
                if ending == ".png" and member.name.endswith(".mask.png"):
                    ending = ".mask.png"
                if not member.isreg() or ending is None:
                    continue
                stem = member.name.removesuffix(ending)
                if member.offset_data + member.size <= size:
                    members.setdefault(stem, {})[ending] = (member.offset_data, member.size)
                else:
                    members.setdefault(stem, {})
    except (tarfile.TarError, EOFError, OSError) as error:
        problems[f"{path.name}: its end"] = f"damaged or cut off ({error})"
    whole = {}
    for stem, parts in members.items():
        missing = [ending for ending in ENDINGS if ending not in parts]
        if missing:
            problems[f"{path.name}:{stem}"] = f"without {', '.join(missing)}"
        else:
            whole[stem] = [parts[ending] for ending in ENDINGS]
    return whole
