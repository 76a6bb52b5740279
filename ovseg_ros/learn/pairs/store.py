"""Writing mask-category pairs: tar shards in the webdataset layout, a journal and a manifest.

    manifest.json     counts, nouns, sources, hashes; written last, and again by every resumed run
    journal.jsonl     the settings, then a line per image; what a resumed run goes by
    shard-00000.tar   per pair STEM.png (the crop), STEM.mask.png (0/255), STEM.json, STEM = IMAGE-NUMBER

The shard is the atom. As long as it is open it is called .shard-00000.tar.part, and its images' lines wait.
Once it is full, the lines go to the journal and then, last of all, the shard gets its name. So an image is
done when its line is in the journal and its shard has its name; what else a kill leaves is made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ovseg_ros.errors import ConfigError, InvalidInputError, OvsegError
from ovseg_ros.learn.pairs.index import iter_shard, verify
from ovseg_ros.learn.pairs.shards import (
    FORMAT,
    JOURNAL,
    MANIFEST,
    SHARD_END,
    VERSION,
    Pair,
    encode_pair,
    read_manifest,
    shard_name,
)
from ovseg_ros.models.downloads.verify import sha256_of

__all__ = ["Pair", "PairWriter", "iter_shard", "read_manifest", "verify"]

PAIRS_PER_SHARD = 1000
SHEET = "contact_sheet.png"
FAILED = "image that cannot be used"
"""The reason under which failed images are counted."""


class PairWriter:
    """Writes pairs image by image. Use it as a context manager; a shard is stored whole or not at all."""

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        pairs_per_shard: int = PAIRS_PER_SHARD,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Prepares the folder.

        Args:
            path: made if it is not there.
            settings: what the pairs follow from beside the images; JSON. A resumed run must have the same.
            pairs_per_shard: a shard is closed by the first image that brings it there.
            resume: keep the shards that an earlier run finished here.
            overwrite: remove what an earlier run left here, and nothing else.

        Raises:
            ConfigError: the folder holds other things, an earlier run's with other settings, or is written to
                by another process.
            InvalidInputError: a shard of the earlier run is damaged.
            OvsegError: it cannot be written.
        """
        if pairs_per_shard < 1:
            raise ConfigError(f"expected at least 1 pair per shard, got {pairs_per_shard}")
        self.path = path
        self._settings = json.loads(json.dumps({**settings, "pairs_per_shard": pairs_per_shard}))
        self._per_shard = pairs_per_shard
        self._done: set[str] = set()
        self._shard = self._pairs = 0  # number and pairs of the open shard
        self._tar: BinaryIO | None = None  # the open shard, as soon as it has a pair
        self._waiting: list[dict[str, Any]] = []  # the journal's lines about its images
        with _writing(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock: int | None = _locked(path)
            try:
                self._prepare(resume=resume, overwrite=overwrite)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> PairWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, image: str) -> bool:
        """Whether an image has been dealt with, by this run or an earlier one."""
        return image in self._done

    @property
    def done(self) -> frozenset[str]:
        """The images that have been dealt with."""
        return frozenset(self._done)

    def add(self, image: str, pairs: Sequence[Pair], notes: Mapping[str, Any] | None = None) -> None:
        """Stores the pairs of one image, possibly none, and that it is done.

        Args:
            image: its id, without dots and slashes; once only.
            pairs: in the order they are stored.
            notes: more for the journal, as the reasons why nouns have no pair.

        Raises:
            InvalidInputError: an id that was there before or cannot be a file's name.
            OvsegError: the disk is full or the like.
        """
        self.add_encoded(image, encoded_pairs(image, pairs), notes)

    def add_encoded(
        self, image: str, pairs: Sequence[tuple[str, bytes]], notes: Mapping[str, Any] | None = None
    ) -> None:
        """The same with pairs as `encoded_pairs` gives them."""
        if image in self._done:
            raise InvalidInputError(f"expected each image once, got {image!r} again")
        if not image or any(c in image for c in "./\\\0\n"):
            raise InvalidInputError(f"expected an image id without dots and slashes, got {image!r}")
        with _writing(self.path):
            for _, members in pairs:
                if self._tar is None:
                    self._tar = self._part().open("wb")
                self._tar.write(members)
            entry = {
                "image": image,
                "pairs": len(pairs),
                "shard": self._shard,
                "end": 0 if self._tar is None else self._tar.tell(),
                "nouns": [noun for noun, _ in pairs],
            }
            self._waiting.append({**entry, **(notes or {})})
            self._done.add(image)
            self._pairs += len(pairs)
            if self._pairs >= self._per_shard:
                self._finish_shard()

    def fail(self, image: str, reason: str) -> None:
        """Notes an image that could not be used; a resumed run tries it again."""
        self._waiting.append({"image": image, "failed": reason})

    def finish(self, about: Mapping[str, Any], *, complete: bool = True) -> dict[str, Any]:
        """Closes the last shard and writes the manifest.

        Args:
            about: goes into the manifest: crop_size, source, clip, proposals, command …
            complete: whether all images were gone through. If not, the open shard is left to a resumed run,
                and neither listed nor counted.

        Returns:
            The manifest: `about`, with `counts` {"pairs", "images", "nouns", "skipped": {reason: count}},
            `nouns` {noun: pairs}, the commonest first, `shards`, and `complete`, which it is not without a
            pair.

        Raises:
            OvsegError: the disk is full or the like.
        """
        with _writing(self.path):
            if complete:
                self._finish_shard()
            manifest = {"format": FORMAT, "version": VERSION, **about, **self._summary()}
            manifest["complete"] = complete and manifest["counts"]["pairs"] > 0
            _write_whole(self.path / MANIFEST, [json.dumps(manifest, indent=2).encode(), b"\n"])
        return manifest

    def close(self) -> None:
        """Drops the open shard; what is in the folder stays good for `resume`."""
        if self._tar is not None:
            with contextlib.suppress(OSError):  # a full disk: it is not wanted any more
                self._tar.close()
            self._tar = None
            self._part().unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare(self, *, resume: bool, overwrite: bool) -> None:
        used = any(not file.name.startswith(".") for file in self.path.iterdir())
        option = "--overwrite" if overwrite else "--resume"
        if used and not (resume or overwrite):
            raise ConfigError(
                f"expected an empty folder, {self.path} holds files; --resume goes on where an earlier run "
                "stopped, --overwrite starts again"
            )
        if used and not (self.path / JOURNAL).is_file():
            raise ConfigError(f"{option}: {self.path} holds files, but no {JOURNAL} of an earlier run")
        lines: Iterable[dict[str, Any]] = [{"settings": self._settings}]
        if used and overwrite:
            self._remove("shard-*.tar", MANIFEST, SHEET, JOURNAL)
        elif used:
            self._take_over()
            lines = itertools.chain(lines, (entry for entry in self._entries() if "failed" not in entry))
        self._remove(".shard-*.tar.part")
        _write_whole(self.path / JOURNAL, map(_json_line, lines))

    def _take_over(self) -> None:
        """What an earlier run finished is done."""
        settings = next(self._journal(), {}).get("settings", {})
        changed = [
            f"{key}: {settings.get(key)!r} then, {self._settings.get(key)!r} now"
            for key in sorted({*settings, *self._settings})
            if settings.get(key) != self._settings.get(key)
        ]
        if changed:
            raise ConfigError(
                f"--resume: {self.path} was made with other settings ({'; '.join(changed)[:300]}); "
                "--overwrite starts again"
            )
        ends: dict[int, int] = {}  # shard -> its length, as its last line says
        for entry in self._entries():
            if "failed" not in entry:
                self._done.add(entry["image"])
                ends[entry["shard"]] = entry["end"]
        for number, end in ends.items():
            file = self.path / shard_name(number)
            if file.exists():
                if file.stat().st_size != end + len(SHARD_END):
                    raise InvalidInputError(
                        f"--resume: {file} is truncated or altered; remove it, and its images will be done "
                        "again"
                    )
                self._shard = max(self._shard, number + 1)

    def _journal(self) -> Iterator[dict[str, Any]]:
        """The journal's lines that are whole, in order."""
        with (self.path / JOURNAL).open("rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # a line that broke off
                    entry = json.loads(line)
                    if isinstance(entry, dict):
                        yield entry

    def _entries(self) -> Iterator[dict[str, Any]]:
        """The journal's lines about images that failed, had no pair, or are in a shard that has its name."""
        there = {file.name for file in self.path.glob("shard-*.tar")}
        for entry in self._journal():
            if "image" in entry and (not entry.get("pairs") or shard_name(entry["shard"]) in there):
                yield entry

    def _finish_shard(self) -> None:
        """The lines of the open shard's images first, then its name: with both they are done."""
        if self._tar is not None:
            self._tar.write(SHARD_END)
            self._tar.flush()
            os.fsync(self._tar.fileno())
            self._tar.close()
        with (self.path / JOURNAL).open("ab") as journal:
            journal.writelines(map(_json_line, self._waiting))
        self._waiting.clear()
        if self._tar is not None:
            os.replace(self._part(), self.path / shard_name(self._shard))
            self._tar = None
            self._shard += 1
            self._pairs = 0

    def _summary(self) -> dict[str, Any]:
        """What the journal amounts to, of this run and earlier ones: counts, nouns, shards."""
        images = 0
        per_shard: Counter[int] = Counter()
        nouns: Counter[str] = Counter()
        skipped: Counter[str] = Counter()
        for entry in self._entries():
            images += 1
            if "failed" in entry:
                skipped[FAILED] += 1
                continue
            per_shard[entry["shard"]] += entry["pairs"]
            nouns.update(entry["nouns"])
            for note in entry.get("skipped", ()):
                skipped[note["reason"]] += note.get("count", 1)
        shards = [
            {"file": shard_name(number), "pairs": pairs, "sha256": sha256_of(self.path / shard_name(number))}
            for number, pairs in sorted(per_shard.items())
            if pairs
        ]
        counts = {"pairs": nouns.total(), "images": images, "nouns": len(nouns)}
        return {
            "counts": {**counts, "skipped": _commonest_first(skipped)},
            "nouns": _commonest_first(nouns),
            "shards": shards,
        }

    def _part(self) -> Path:
        return self.path / f".{shard_name(self._shard)}.part"

    def _remove(self, *patterns: str) -> None:
        for pattern in patterns:
            for file in self.path.glob(pattern):
                file.unlink()


def encoded_pairs(image: str, pairs: Sequence[Pair]) -> tuple[tuple[str, bytes], ...]:
    """Noun and tar members of each pair of an image, as a shard holds them."""
    return tuple((pair.noun, encode_pair(f"{image}-{i}", pair)) for i, pair in enumerate(pairs))


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns the system's errors into one that names the folder."""
    try:
        yield
    except OSError as error:
        raise OvsegError(f"cannot write to {path}: {error.strerror or error}") from error


def _locked(path: Path) -> int:
    """A descriptor of the folder that keeps other writers out until it is closed, or its process killed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(f"another run is writing to {path}; wait for it, or end it") from error
    return descriptor


def _json_line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Writes a file that has its name only once it is whole."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.writelines(parts)
    os.replace(temporary, path)


def _commonest_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
