"""What other runtimes make of networks, kept in the cache; and photographs to check them on."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.pictures import read_image
from ovseg_ros.models.downloads.files import cache_dir

_LOG = logging.getLogger(__name__)
_PHOTOGRAPHS = Path("demo", "photographs", "images", "validation")


class EngineFolder:
    """A folder of programs, each under the hash of all it was made from; see `core.engines.Store`.

    Attributes:
        folder: where they lie; anything in it may be deleted at any time, and is made again when needed.
        made: names of those written by this one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Makes nothing yet; `cache_dir()`/engines by default."""
        self.folder = str(cache_dir() / "engines" if folder is None else folder)
        self.made: list[str] = []

    def read(self, name: str) -> bytes | None:
        """See `core.engines.Store`."""
        try:
            return Path(self.folder, name).read_bytes()
        except OSError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """See `core.engines.Store`. A file is whole or not there, also where two processes write it."""
        part = ""
        try:
            os.makedirs(self.folder, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".part-", delete=False) as file:
                part = file.name
                file.write(content)
            os.replace(part, Path(self.folder, name))
        except OSError as error:
            _LOG.warning("the network cannot be kept for the next start: %s", error)
            if part:
                Path(part).unlink(missing_ok=True)
            return
        self.made.append(name)


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
