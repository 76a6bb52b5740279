"""Which weights files there are, where they come from, and where they lie on this machine.

The table itself is `files.yaml`. A file is looked for beside the preset that names it, then in `weights_dir`,
then in the cache; it is verified each time before it is handed out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models.downloads.verify import check_digest, digest_of, sha256_of
from ovseg_ros.models.yaml_files import read_yaml

FILES_TABLE = Path(__file__).with_name("files.yaml")


@dataclass(frozen=True)
class KnownFile:
    """One row of the table.

    Attributes:
        name: as presets call it, and its path in a weights folder; "folder/file" for parts of a checkpoint.
        url: where a program can fetch it; None where only a person can, or where it is made from another.
        sha256: 64 lower-case hex digits, or None where no public source states it.
        md5_prefix: first hex digits of its MD5, where its authors state no more than that.
        stated_by: who states the SHA-256 or MD5; "" where nobody does.
        size: bytes, or None.
        licence: SPDX name; Apple-AMLR, Apple's for research models, has none.
        non_commercial: the licence allows no commercial use.
        source_page: page for people.
        presets: names of the bundled presets that read it.
        activation: "gelu" or "quick_gelu" of CLIP files, None of others.
        note: what it is, one line.
        converted_from: name of the file `ovseg convert-checkpoint` makes it from, or None.
    """

    name: str
    url: str | None = None
    sha256: str | None = None
    md5_prefix: str | None = None
    stated_by: str = ""
    size: int | None = None
    licence: str = ""
    non_commercial: bool = False
    source_page: str = ""
    presets: tuple[str, ...] = ()
    activation: str | None = None
    note: str = ""
    converted_from: str | None = None

    @property
    def checked_by(self) -> str:
        """By what its content is known, in a few words."""
        if self.sha256:
            return f"SHA-256 {self.sha256[:12]}…"
        if self.md5_prefix:
            return f"MD5 {self.md5_prefix}…"
        return "the server's SHA-256" if self.url else "loading"


@lru_cache(maxsize=1)
def known_files() -> tuple[KnownFile, ...]:
    """Every file of the table, in its order."""
    return read_table(FILES_TABLE)


def known_file(name: str) -> KnownFile | None:
    """The row of that name, or None."""
    return next((file for file in known_files() if file.name == name), None)


def known_by_sha256(sha256: str) -> KnownFile | None:
    """The row with that SHA-256, or None: a renamed file is still known by its content."""
    return next((file for file in known_files() if file.sha256 == sha256.lower()), None)


def files_of(preset: str) -> tuple[KnownFile, ...]:
    """The files a bundled preset reads; none where weights come with packages, none for an unknown name."""
    return tuple(file for file in known_files() if preset in file.presets)


def read_table(path: Path) -> tuple[KnownFile, ...]:
    """Reads and checks a table such as `files.yaml`.

    Raises:
        ConfigError: a row that cannot be right; names it.
    """
    rows = read_yaml(path)["files"]
    by_name = {str(row.get("name")): row for row in rows}
    if len(by_name) != len(rows):
        raise ConfigError(f"{path}: expected each name once, got {len(rows)} rows with {len(by_name)} names")
    return tuple(_row(path, row, by_name) for row in rows)


def _row(path: Path, row: Mapping[str, Any], by_name: Mapping[str, Mapping[str, Any]]) -> KnownFile:
    values = dict(row)
    name = str(values.get("name") or "")
    where = f"{path}: {name or row!r}"
    unknown = sorted(set(values) - ({field.name for field in fields(KnownFile)} - {"non_commercial"}))
    if unknown:
        raise ConfigError(f"{where} does not know {', '.join(unknown)}")
    parts = PurePosixPath(name).parts
    if not name or name.startswith("/") or ".." in parts or len(parts) > 2:
        raise ConfigError(f"{where}: expected a file name, at most one folder deep")
    source = values.get("converted_from")
    if source is not None:
        if source not in by_name:
            raise ConfigError(f"{where} is converted from {source!r}, which is not in the table")
        for key in ("licence", "source_page", "activation"):
            values.setdefault(key, by_name[source].get(key))
        if PurePosixPath(name).stem != "clip":
            values["activation"] = None
    for key, pattern in (("sha256", "[0-9a-f]{64}"), ("md5_prefix", "[0-9a-f]{6,32}")):
        if values.get(key) is not None and not re.fullmatch(pattern, str(values[key])):
            raise ConfigError(f"{where}: expected {key} as {pattern}, got {values[key]!r}")
    if values.get("activation") not in (None, "gelu", "quick_gelu"):
        raise ConfigError(f"{where}: expected activation gelu or quick_gelu, got {values['activation']!r}")
    if not values.get("licence") or not values.get("source_page"):
        raise ConfigError(f"{where}: expected a licence and a source_page")
    values["presets"] = tuple(values.get("presets") or ())
    limited = "-NC" in values["licence"] or values["licence"] == "Apple-AMLR"
    return KnownFile(**values, non_commercial=limited)


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/ovseg`, or `~/.cache/ovseg` where that is no absolute path; made when needed."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    return (base if base.is_absolute() else Path.home() / ".cache") / "ovseg"


def weights_folders(weights_dir: str | Path | None = None, beside: Path | None = None) -> tuple[Path, ...]:
    """The folders a file is looked for in, in this order: beside the preset, `weights_dir`, the cache."""
    given = None if weights_dir is None else Path(weights_dir).expanduser()
    return tuple(folder for folder in (beside, given, cache_dir()) if folder is not None)


def find_file(name: str, weights_dir: str | Path | None = None, beside: Path | None = None) -> Path | None:
    """The first file of that name in `weights_folders`; not verified. An absolute or `~` path is itself.

    Args:
        name: see `KnownFile.name`; any other file name or path works too.
        weights_dir: the user's folder of weights.
        beside: the folder of the preset that names the file.
    """
    given = Path(name).expanduser()
    for folder in weights_folders(weights_dir, beside):
        path = folder / given  # an absolute path stays itself
        if path.is_file():
            return path
    return None


def size_text(size: int | None) -> str:
    """Bytes for people; "?" where unknown.

    >>> size_text(375042383), size_text(2564550879), size_text(0), size_text(None)
    ('375 MB', '2.56 GB', '0 MB', '?')
    """
    if size is None:
        return "?"
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def cure(file: KnownFile, folder: Path) -> str:
    """What to do about a file that is missing or wrong: where to get it, where to put it, what to run then.

    Args:
        file: a row of the table.
        folder: the weights folder it shall go to.
    """
    target = folder / file.name
    if file.converted_from is not None:
        source = known_file(file.converted_from)
        page = source.source_page if source is not None else file.source_page
        checkpoint = folder / file.converted_from
        return (
            f"get {file.converted_from} by hand from {page} ({file.licence}), put it at {checkpoint} and run "
            f"`{convert_command(checkpoint, folder)}`, which makes {target}"
        )
    if file.url is None:
        return f"get it by hand from {file.source_page} ({file.licence}) and put it at {target}"
    command = f"run `ovseg download {file.presets[0]}`, or " if file.presets else ""
    return f"{command}get it by hand from {file.url} ({file.licence}) and put it at {target}"


def convert_command(checkpoint: Path, folder: Path) -> str:
    """What to type so that the parts of a checkpoint come to lie in a weights folder."""
    out = "" if folder == cache_dir() else f" --out {folder / checkpoint.stem}"
    return f"ovseg convert-checkpoint {checkpoint}{out}"


def verify(path: Path, file: KnownFile | None = None) -> Path:
    """Returns `path` if its content is what is known of it.

    Checked are size, SHA-256 and MD5 prefix as far as the table has them, else the SHA-256 that was recorded
    beside it when it was downloaded. A file of which nothing is known passes: the loaders execute none of it.

    Args:
        path: an existing file.
        file: its row of the table; None for a file that has none.

    Raises:
        WeightsError: other content; names the file, both values and the cure.
    """
    recorded, advice = recorded_sha256(path), "get it again"
    if file is None:
        file = KnownFile(path.name)
    else:
        advice = f"delete it, then {cure(file, path.parents[file.name.count('/')])}"
    check_content(path, file, file.sha256 or recorded, advice)
    return path


def check_content(
    path: Path, file: KnownFile, sha256: str | None, advice: str, called: Path | None = None
) -> None:
    """Compares a file with what is known of it; errors name it `called` where `path` is a passing name.

    Raises:
        WeightsError: another size, SHA-256 or MD5; both values, then the advice.
    """
    called = called or path
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise WeightsError(f"expected {called} with {file.size} bytes, got {size}; {advice}")
    if sha256 is not None:
        check_digest(called, "SHA-256", sha256, sha256_of(path), advice)
    if file.md5_prefix is not None:
        check_digest(called, "MD5", file.md5_prefix, digest_of(path, "md5"), advice)


def sha256_record(path: Path) -> Path:
    """Where the SHA-256 of a downloaded file is kept: `<file>.sha256`, in sha256sum's format."""
    return path.with_name(f"{path.name}.sha256")


def recorded_sha256(path: Path) -> str | None:
    """The SHA-256 recorded beside a file, or None where there is no record.

    Raises:
        WeightsError: a record that is none.
    """
    record = sha256_record(path)
    if not record.is_file():
        return None
    words = record.read_text(encoding="utf-8", errors="replace").split()
    if not words or not re.fullmatch("[0-9a-fA-F]{64}", words[0]):
        raise WeightsError(
            f"expected a SHA-256 in {record}, got {words[:1]}; delete it if you trust {path.name}"
        )
    return words[0].lower()
