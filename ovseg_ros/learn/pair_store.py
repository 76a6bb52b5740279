"""Mask-category pairs on disk: tar shards in the webdataset layout, a journal and a manifest.

    manifest.json     counts, nouns, sources, hashes; written last, and again by every resumed run
    journal.jsonl     a line per image as soon as its pairs are in a shard; what a resumed run goes by
    shard-00000.tar   per pair STEM.png (the crop), STEM.mask.png (0/255), STEM.json, STEM = IMAGE-NUMBER

An image's pairs are appended to the open shard in one piece, then its line, with the shard's length, to the
journal. After a kill the shard is cut back to the last length in the journal, so no pair is lost or doubled;
a shard that is full gets the archive's end and, last of all, its name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.learn.pair_files import (
    SHARD_END,
    json_line,
    locked,
    read_journal,
    stored_bytes,
    write_all,
    write_whole,
    writing,
)
from ovseg_ros.learn.pair_shards import (
    FORMAT,
    JOURNAL,
    MANIFEST,
    VERSION,
    Pair,
    decode_pair,
    encode_pair,
    iter_members,
    iter_shard,
    read_manifest,
    shard_name,
    verify,
)
from ovseg_ros.models.verify import sha256_of

__all__ = ["Pair", "PairWriter", "decode_pair", "iter_members", "iter_shard", "read_manifest", "verify"]

PAIRS_PER_SHARD = 1000
SHEET = "contact_sheet.png"


class PairWriter:
    """Writes pairs image by image. Use it as a context manager; an image is stored whole or not at all."""

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
            resume: keep what an earlier run left here.
            overwrite: remove what an earlier run left here, and nothing else.

        Raises:
            ConfigError: the folder holds other things, an earlier run's with other settings, or is written to
                by another process.
            InvalidInputError: a shard of the earlier run is damaged.
            OvsegError: it cannot be written.
        """
        if pairs_per_shard < 1:
            raise ConfigError(f"want at least 1 pair per shard, got {pairs_per_shard}")
        self.path = path
        self._settings = json.loads(json.dumps({**settings, "pairs_per_shard": pairs_per_shard}))
        self._per_shard = pairs_per_shard
        self._done: set[str] = set()
        self._shard = self._pairs = self._bytes = 0  # number, pairs and length of the open shard
        self._tar: BinaryIO | None = None
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = locked(path)
            try:
                self._prepare(resume=resume, overwrite=overwrite)
                self._journal = (path / JOURNAL).open("ab", buffering=0)
            except BaseException:
                os.close(self._lock)
                raise

    def __enter__(self) -> PairWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __contains__(self, image: str) -> bool:
        """Whether an image has been dealt with, by this run or an earlier one."""
        return image in self._done

    def __len__(self) -> int:
        """How many images have been dealt with."""
        return len(self._done)

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
        if image in self._done:
            raise InvalidInputError(f"want each image once, got {image!r} again")
        if not image or any(c in image for c in "./\\\0\n"):
            raise InvalidInputError(f"want an image id without dots and slashes, got {image!r}")
        data = b"".join(encode_pair(f"{image}-{number}", pair) for number, pair in enumerate(pairs))
        with writing(self.path):
            if data:
                if self._tar is None:
                    self._tar = self._part(self._shard).open("ab", buffering=0)
                write_all(self._tar, data)
            self._bytes += len(data)
            self._pairs += len(pairs)
            entry = {
                "image": image,
                "pairs": len(pairs),
                "shard": self._shard,
                "end": self._bytes,
                "nouns": [pair.noun for pair in pairs],
                **(notes or {}),
            }
            write_all(self._journal, json_line(entry))
            self._done.add(image)
            if self._pairs >= self._per_shard:
                self._finish_shard()

    def fail(self, image: str, reason: str) -> None:
        """Notes an image that could not be used; a resumed run tries it again.

        Raises:
            OvsegError: the disk is full or the like.
        """
        with writing(self.path):
            write_all(self._journal, json_line({"image": image, "failed": reason}))

    def entries(self) -> Iterator[dict[str, Any]]:
        """The journal's lines about images, in order."""
        return (entry for entry in read_journal(self.path / JOURNAL) if "image" in entry)

    def finish(self, about: Mapping[str, Any], *, complete: bool = True) -> dict[str, Any]:
        """Closes the last shard and writes the manifest.

        Args:
            about: goes into the manifest: crop_size, counts, nouns, source, clip, proposals, command …
            complete: whether all images were gone through. If not, the last shard stays open for a resumed
                run, and its pairs are not listed.

        Returns:
            The manifest.

        Raises:
            OvsegError: the disk is full or the like.
        """
        with writing(self.path):
            if complete and self._pairs:
                self._finish_shard()
            manifest = {"format": FORMAT, "version": VERSION, **about}
            manifest |= {"shards": list(self._listed()), "complete": complete}
            text = json.dumps(manifest, indent=2) + "\n"
            write_whole(self.path / MANIFEST, text.encode())
        return manifest

    def close(self) -> None:
        """Closes the files; what is in the folder stays good for `resume`."""
        if self._tar is not None:
            self._tar.close()
            self._tar = None
        if not self._journal.closed:
            self._journal.close()
            os.close(self._lock)

    def _prepare(self, *, resume: bool, overwrite: bool) -> None:
        used = any(not file.name.startswith(".") for file in self.path.iterdir())
        if used and overwrite:
            self._remove_earlier()
        elif used and resume:
            self._keep_earlier()
        elif used:
            raise ConfigError(
                f"want an empty folder, {self.path} holds files; --resume goes on where an earlier run "
                "stopped, --overwrite starts again"
            )
        journal = self.path / JOURNAL
        if not journal.exists():
            write_whole(journal, json_line({"settings": self._settings}))

    def _part(self, number: int) -> Path:
        return self.path / f".{shard_name(number)}.part"

    def _finish_shard(self) -> None:
        part = self._part(self._shard)
        tar = self._tar or part.open("ab", buffering=0)
        write_all(tar, SHARD_END)
        os.fsync(tar.fileno())
        tar.close()
        self._tar = None
        os.replace(part, self.path / shard_name(self._shard))
        self._shard += 1
        self._pairs = self._bytes = 0

    def _listed(self) -> Iterator[dict[str, Any]]:
        """The whole shards, as the manifest lists them."""
        pairs: dict[int, int] = {}
        for entry in self.entries():
            if "shard" in entry:
                pairs[entry["shard"]] = pairs.get(entry["shard"], 0) + entry["pairs"]
        for number in sorted(pairs):
            path = self.path / shard_name(number)
            if path.is_file():
                yield {"file": path.name, "pairs": pairs[number], "sha256": sha256_of(path)}

    def _remove_earlier(self) -> None:
        if not (self.path / JOURNAL).is_file():
            raise ConfigError(f"--overwrite: {self.path} holds files, but no {JOURNAL} of an earlier run")
        for pattern in ("shard-*.tar", ".shard-*.tar.part", MANIFEST, SHEET, JOURNAL):
            for file in self.path.glob(pattern):
                file.unlink()

    def _check_whole_shards(self) -> None:
        """Refuses shards that are not as long as the journal says."""
        ends: dict[int, int] = {}
        for entry in self.entries():
            if "shard" in entry:
                ends[entry["shard"]] = entry["end"]
        for number, end in ends.items():
            file = self.path / shard_name(number)
            if file.exists() and file.stat().st_size != end + len(SHARD_END):
                raise InvalidInputError(
                    f"--resume: {file} is truncated or altered; remove it, and its images will be done again"
                )

    def _keep_earlier(self) -> None:
        """Takes over an earlier run's images, as far as their pairs are there."""
        journal = self.path / JOURNAL
        if not journal.is_file():
            raise ConfigError(f"--resume: {self.path} holds files, but no {JOURNAL} of an earlier run")
        earlier = next(read_journal(journal), {}).get("settings", {})
        changed = [
            f"{key}: {earlier.get(key)!r} then, {self._settings.get(key)!r} now"
            for key in sorted({*earlier, *self._settings})
            if earlier.get(key) != self._settings.get(key)
        ]
        if changed:
            raise ConfigError(
                f"--resume: {self.path} was made with other settings ({'; '.join(changed)[:300]}); "
                "--overwrite starts again"
            )
        self._check_whole_shards()
        stored = stored_bytes(self.path)
        temporary = journal.with_name(f".{JOURNAL}.part")
        with temporary.open("wb") as out:
            out.write(json_line({"settings": self._settings}))
            for entry in self.entries():
                if "shard" not in entry or entry["end"] > stored.get(entry["shard"], 0):
                    continue  # it failed, or its pairs are gone
                if entry["shard"] != self._shard:
                    self._shard, self._pairs, self._bytes = entry["shard"], 0, 0
                self._pairs += entry["pairs"]
                self._bytes = entry["end"]
                self._done.add(entry["image"])
                out.write(json_line(entry))
        os.replace(temporary, journal)
        if (self.path / shard_name(self._shard)).exists():
            self._shard += 1
            self._pairs = self._bytes = 0
        part = self._part(self._shard)
        if part.exists():
            os.truncate(part, self._bytes)
        if self._pairs >= self._per_shard:  # killed before the shard got its name
            self._finish_shard()
