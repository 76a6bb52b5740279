"""What other runtimes make of networks, kept in the cache; and photographs to check them on."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.pictures import read_image
from ovseg_ros.models.downloads.files import cache_dir

_LOG = logging.getLogger(__name__)
_LOCK, _PART = ".lock", ".part-"
_DIGEST = 32  # bytes of it
_PHOTOGRAPHS = Path("demo", "photographs", "images", "validation")


class EngineFolder:
    """A folder of programs, each under the hash of all it was made from; see `core.engines.Store`.

    Each file starts with the SHA-256 of the rest. What was not used for long is deleted when something is
    written, and what was used last stays where there is too much. Several processes may share the folder.

    Attributes:
        folder: where they lie; anything in it may be deleted at any time, and is made again when needed.
        most_bytes: that may lie there; what was just written stays, however large.
        most_days: that a file stays without being used.
    """

    def __init__(
        self, folder: Path | None = None, *, most_bytes: int = 4 << 30, most_days: float = 90
    ) -> None:
        """Makes nothing yet; `cache_dir()`/engines by default."""
        self.folder = str(cache_dir() / "engines" if folder is None else folder)
        self.most_bytes, self.most_days = most_bytes, most_days

    def read(self, name: str) -> bytes | None:
        """See `core.engines.Store`."""
        path = Path(self.folder, name)
        try:
            with path.open("rb") as file:
                digest, content = file.read(_DIGEST), file.read()
        except OSError:
            return None
        if hashlib.sha256(content).digest() != digest:
            _LOG.warning("%s is damaged or of another version, it is made anew", path)
            return None
        with contextlib.suppress(OSError):  # of a folder that may only be read
            os.utime(path)
        return content

    def write(self, name: str, content: bytes) -> None:
        """See `core.engines.Store`. A file is whole or not there, also where two processes write it."""
        part = ""
        try:
            os.makedirs(self.folder, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=_PART, delete=False) as file:
                part = file.name
                file.write(hashlib.sha256(content).digest())
                file.write(content)
            os.replace(part, Path(self.folder, name))
        except OSError as error:
            _LOG.warning("the network cannot be kept for the next start: %s", error)
            if part:
                Path(part).unlink(missing_ok=True)
            return
        try:
            self._tidy(name)
        except OSError as error:  # no locks on this file system, or files of somebody else
            _LOG.warning("%s cannot be kept small, delete it now and then: %s", self.folder, error)

    def _tidy(self, newest: str) -> None:
        """Deletes what is too old, then what was used longest ago until the rest fits.

        One process at a time: two would each delete for the other's files too. A program that another one is
        reading stays readable to it.
        """
        with Path(self.folder, _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now, files = time.time(), []
            for file in Path(self.folder).iterdir():
                with contextlib.suppress(FileNotFoundError):  # it has another name now, or none
                    if file.is_file() and file.name != _LOCK:
                        about = file.stat()
                        # TensorRT reads its own files, of which only the system knows.
                        used = max(about.st_mtime, about.st_atime)
                        files.append((file.name == newest, used, about.st_size, file))
            total = sum(size for _, _, size, _ in files)
            for is_newest, used, size, file in sorted(files):
                days = (now - used) / 86400
                if file.name.startswith(_PART):
                    unwanted = days > 1  # of a process that was killed
                else:
                    unwanted = not is_newest and (days > self.most_days or total > self.most_bytes)
                if unwanted:
                    file.unlink(missing_ok=True)
                    total -= size


def engine_parts(runtime: str) -> tuple[EngineFolder | None, tuple[npt.NDArray[np.uint8], ...]]:
    """What a network in that runtime is kept in, and photographs to check it on; for torch neither."""
    return (None, ()) if runtime == "torch" else (EngineFolder(), bundled_photographs())


@functools.lru_cache(maxsize=1)
def bundled_photographs() -> tuple[npt.NDArray[np.uint8], ...]:
    """The package's photographs (H, W, 3) uint8 RGB, by name; none where they are not installed."""
    package = Path(__file__).resolve().parents[1]
    shares = [Path(p, "share", "ovseg_ros") for p in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if p]
    for root in (package.parent, package, *shares):
        pictures = []
        for file in sorted((root / _PHOTOGRAPHS).glob("*.jpg")):
            try:
                pictures.append(read_image(file))
            except InvalidInputError as error:
                _LOG.warning("engines are checked without a photograph: %s", error)
        if pictures:
            return tuple(pictures)
    return ()
