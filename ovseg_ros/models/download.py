"""Fetching one weights file: resumed where it stopped, verified before it gets its name, never half there.

While a download runs, `.<file>.part` holds what has come, `.<file>.part.json` says of which version of the
file it is part, and `.<file>.lock` keeps a second process from writing to it. Only what has the expected
content gets the file's name.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import logging
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.files import KnownFile, check_digest, cure, sha256_record, verify
from ovseg_ros.models.http import Answer, Refused, request

_CHUNK_BYTES = 1 << 20
_SPARE_BYTES = 64 << 20  # left free on the disk
_TRANSIENT = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a download bears with a bad connection.

    Attributes:
        timeout_s: longest silence of the server.
        attempts: failures in a row, none of which brought anything new, after which it gives up.
        pause_s: before the second attempt; doubled after each further one.
    """

    timeout_s: float = 30.0
    attempts: int = 4
    pause_s: float = 1.0


def download(
    file: KnownFile,
    folder: Path,
    *,
    offline: bool = False,
    progress: bool = True,
    patience: Patience | None = None,
) -> Path:
    """The verified file in `folder`, fetched unless it is already there.

    Args:
        file: a row of the table.
        folder: a weights folder; made if missing.
        offline: True never opens a connection.
        progress: shows a bar on stderr.
        patience: see there.

    Raises:
        WeightsError: cannot be fetched, other content than expected, no room or no permission. Each names the
            file, where to get it by hand and where to put it. What has come stays for the next try, unless it
            is wrong.
    """
    target = folder / file.name
    if target.is_file():
        return verify(target, file)
    if offline:
        raise WeightsError(
            f"want {target}, it is not there and offline forbids fetching it; {cure(file, folder)}"
        )
    if file.url is None:
        raise WeightsError(f"{file.name} cannot be fetched by a program; {cure(file, folder)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target):
            if target.is_file():  # another process fetched it while this one waited
                return verify(target, file)
            return _Download(file, folder, progress, patience or Patience()).run()
    except OSError as error:
        raise WeightsError(
            f"cannot write {target}: {error.strerror or error}; {cure(file, folder)}"
        ) from error


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    with target.with_name(f".{target.name}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOG.warning("another process is fetching %s; waiting for it", target.name)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


class _Restart(Exception):
    """What has come belongs to another version of the file: begin anew."""


class _Download:
    """One file on its way to its folder; the lock is held."""

    def __init__(self, file: KnownFile, folder: Path, progress: bool, patience: Patience) -> None:
        self.file = file
        self.folder = folder
        self.target = folder / file.name
        self.part = self.target.with_name(f".{self.target.name}.part")
        self.state = self.target.with_name(f".{self.target.name}.part.json")
        self.progress = progress
        self.patience = patience

    def run(self) -> Path:
        """Attempts until the file is whole, then verifies and renames it."""
        failures, most = 0, self._have()
        while True:
            try:
                stated = self._attempt()
                break
            except Refused as error:
                raise self._give_up(str(error)) from error
            except (*_TRANSIENT, _Restart) as error:
                failures = 1 if self._have() > most else failures + 1
                most = max(most, self._have())
                if failures >= self.patience.attempts:
                    raise self._give_up(_reason(error)) from error
                pause = self.patience.pause_s * 2 ** (failures - 1)
                _LOG.warning("%s: %s; next attempt in %.0f s", self.file.name, _reason(error), pause)
                time.sleep(pause)
        self._finish(stated)
        return self.target

    def _give_up(self, reason: str) -> WeightsError:
        return WeightsError(
            f"cannot fetch {self.file.name} from {self.file.url}: {reason}; {cure(self.file, self.folder)}"
        )

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self) -> str | None:
        """One request. Returns the SHA-256 the server states, or None, once the part is whole."""
        headers = {}
        known = self._read_state()
        if self._have() and known.get("validator"):
            # A server that has another version now answers If-Range with the whole new file.
            headers = {"Range": f"bytes={self._have()}-", "If-Range": known["validator"]}
        url = self.file.url
        if url is None:  # `download` has seen to it
            raise WeightsError(f"{self.file.name} has no URL")
        with request(url, headers, self.patience.timeout_s) as answer:
            if answer.status == 416:
                return self._whole_already(answer, known)
            resumed = answer.status == 206
            if resumed and (
                answer.range_start != self._have()
                or answer.stated_sha256 != known.get("sha256")
                or answer.validator not in (None, known["validator"])
            ):
                self._discard()
                raise _Restart("the file has changed on the server")
            if not resumed:
                self._discard()
            stated = self.file.sha256 or answer.stated_sha256 or self.file.size
            if answer.total is None and not stated:
                raise Refused("the server says neither how long the file is nor its SHA-256")
            self._check_size(answer)
            self.state.write_text(
                json.dumps({"validator": answer.validator, "sha256": answer.stated_sha256}), encoding="utf-8"
            )
            self._copy(answer)
        if answer.total is not None and self._have() != answer.total:
            raise http.client.HTTPException(
                f"the connection ended after {self._have()} of {answer.total} bytes"
            )
        return answer.stated_sha256

    def _read_state(self) -> dict[str, str | None]:
        try:
            state = json.loads(self.state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _whole_already(self, answer: Answer, known: dict[str, str | None]) -> str | None:
        """Nothing is left to send: whole if the sizes agree, else not a part of this file."""
        if answer.total == self._have():
            return known.get("sha256")
        self._discard()
        raise _Restart("the file has changed on the server")

    def _check_size(self, answer: Answer) -> None:
        if answer.total is None:
            return
        if self.file.size is not None and answer.total != self.file.size:
            self._discard()
            raise WeightsError(
                f"want {self.file.name} with {self.file.size} bytes, {self.file.url} offers {answer.total}: "
                f"another file; {cure(self.file, self.folder)}"
            )
        needed = answer.total - self._have() + _SPARE_BYTES
        free = shutil.disk_usage(self.part.parent).free
        if free < needed:
            raise WeightsError(
                f"want {needed / 1e6:.0f} MB free in {self.part.parent} for {self.file.name}, "
                f"got {free / 1e6:.0f} MB; make room, or choose another folder with --weights-dir"
            )

    def _copy(self, answer: Answer) -> None:
        with (
            self.part.open("ab") as stream,
            tqdm(
                total=answer.total,
                initial=self._have(),
                desc=self.file.name,
                unit="B",
                unit_scale=True,
                disable=not self.progress,
            ) as bar,
        ):
            while chunk := answer.read(_CHUNK_BYTES):
                stream.write(chunk)
                bar.update(len(chunk))
            stream.flush()
            os.fsync(stream.fileno())

    def _finish(self, stated: str | None) -> None:
        """Verifies the part, records a hash the table does not have, and gives the file its name."""
        got, md5 = self._digests()
        advice = f"what came was deleted; try again, or {cure(self.file, self.folder)}"
        try:
            if self.file.size is not None and self._have() != self.file.size:
                raise WeightsError(
                    f"want {self.file.name} with {self.file.size} bytes, got {self._have()}; {advice}"
                )
            if self.file.sha256 or stated:
                check_digest(self.target, "SHA-256", self.file.sha256 or stated or "", got, advice)
            if self.file.md5_prefix:
                check_digest(self.target, "MD5", self.file.md5_prefix, md5, advice)
        except WeightsError:
            self._discard()
            raise
        record = sha256_record(self.target)
        if self.file.sha256 is None:
            record.write_text(f"{got}  {self.target.name}\n", encoding="utf-8")
        else:
            record.unlink(missing_ok=True)
        os.replace(self.part, self.target)
        self.state.unlink(missing_ok=True)
        _sync_folder(self.target.parent)

    def _digests(self) -> tuple[str, str]:
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with self.part.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                sha256.update(chunk)
                if self.file.md5_prefix:
                    md5.update(chunk)
        return sha256.hexdigest(), md5.hexdigest()

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """So that the new name, too, survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection ({error.reason})"
    return str(error) or type(error).__name__
