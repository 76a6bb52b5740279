"""Fetching what presets need, and telling people what no program can fetch; the work of `ovseg download`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models.downloads.download import download
from ovseg_ros.models.downloads.files import (
    KnownFile,
    cache_dir,
    convert_command,
    files_of,
    find_file,
    known_file,
    known_files,
    size_text,
    verify,
)
from ovseg_ros.models.presets import list_presets, preset_path, preset_weights

_RULE = "!" * 78


@dataclass(frozen=True)
class _Places:
    """Where files are looked for, and where a fetched one goes."""

    weights_dir: Path | None
    beside: Path | None = None

    @property
    def target(self) -> Path:
        return self.weights_dir or cache_dir()

    def find(self, name: str) -> Path | None:
        return find_file(name, self.weights_dir, self.beside)


def fetch_presets(
    presets: Sequence[str], weights_dir: Path | None, *, offline: bool = False, list_only: bool = False
) -> bool:
    """Prints what each preset needs, then fetches and verifies it.

    Args:
        presets: names, or paths of preset files; none for the whole table, with `list_only`.
        weights_dir: where files are looked for and kept; None is the cache.
        offline: only checks what is there.
        list_only: prints the tables alone.

    Returns:
        True when every file is there and verified; with `list_only` always.

    Raises:
        ConfigError: a preset that is not known.
    """
    if list_only and not presets:
        print(_table(known_files(), _Places(weights_dir)))
    elif not presets:
        raise ConfigError(
            f"expected the name of a preset ({', '.join(list_presets())}), or --list, got neither"
        )
    complete = True
    needed = {preset: _needed(preset) for preset in dict.fromkeys(presets)}
    for preset, files in needed.items():
        if not files:
            print(f"{preset}: nothing to fetch, its weights come with this package and those it requires")
            continue
        places = _Places(weights_dir, preset_path(preset).parent)
        print(f"{preset}:\n{_table(files, places)}\n{_to_fetch(files, places)}", end="", flush=True)
        _warn_non_commercial(preset, files)
        if not list_only:
            complete &= _fetch_all(preset, files, places, offline)
    return complete


def _needed(preset: str) -> tuple[KnownFile, ...]:
    """The files a preset reads; also those of the user's own, of which the table knows nothing."""
    if preset in list_presets():
        return files_of(preset)
    own = {"licence": "licence unknown", "source_page": "the preset's author"}
    return tuple(known_file(name) or KnownFile(name, **own) for name in preset_weights(preset))


def _table(files: Sequence[KnownFile], places: _Places) -> str:
    """Name, size, licence, source, check and whereabouts of each file."""
    rows = [("file", "size", "licence", "from", "checked by", "here")]
    for file in files:
        path = places.find(file.name)
        here = "no" if path is None else str(path)
        source = f"made from {file.converted_from}" if file.converted_from else file.source_page
        rows.append((file.name, size_text(file.size), file.licence, source, file.checked_by, here))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths)), row[5]]).rstrip() for row in rows]
    return "\n".join(lines)


def _to_fetch(files: Sequence[KnownFile], places: _Places) -> str:
    """How much is still to come: one line, or nothing."""
    missing = [file for file in files if file.url and places.find(file.name) is None]
    if not missing:
        return ""
    unstated = sum(file.size is None for file in missing)
    more = f" and {unstated} of unstated size" if unstated else ""
    total = size_text(sum(file.size or 0 for file in missing))
    return f"to fetch: {_count(len(missing))}, {total}{more}, into {places.target}\n"


_LICENCE_TEXTS = {
    "Apple-AMLR": "https://github.com/apple/ml-mobileclip/blob/main/LICENSE_MODELS",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
}


def _warn_non_commercial(preset: str, files: Sequence[KnownFile]) -> None:
    bound = [file for file in files if file.non_commercial]
    if not bound:
        return
    names = sorted({file.licence for file in bound})
    licences, texts = ", ".join(names), "".join(f"!! {_LICENCE_TEXTS[name]}\n" for name in names)
    _say(
        f"{_RULE}\n!! NON-COMMERCIAL: {licences} is the licence of {_count(len(bound))} of {preset}.\n"
        "!! You may not use that for commercial purposes, and must name its authors:\n"
        f"{texts}"
        f"!! It is no part of this package, whose own licence (Apache-2.0) does not reach it.\n{_RULE}"
    )


def _fetch_all(preset: str, files: Sequence[KnownFile], places: _Places, offline: bool) -> bool:
    """Fetches and verifies; says what is wrong. True when every file is there."""
    faults = 0
    by_hand: dict[KnownFile, None] = {}  # each once, in order
    for file in files:
        path = places.find(file.name)
        if path is None and file.url is None:
            by_hand.setdefault(known_file(file.converted_from or "") or file)
            faults += 1
            continue
        try:
            if path is not None:
                _say(f"checking {path}")
                verify(path, file)
            else:
                if file.sha256 is None and not offline:
                    _say(
                        f"no public source states the SHA-256 of {file.name}: what the server says of it is "
                        f"believed now, and kept in {file.name}.sha256 for every check from then on"
                    )
                download(file, places.target, offline=offline)
        except WeightsError as error:
            _say(f"ovseg: {error}")
            faults += 1
    for file in by_hand:
        _say(f"ovseg: {_by_hand(file, places)}")
    if faults:
        return False
    print(f"{preset}: {_count(len(files))} there and verified", flush=True)
    return True


def _by_hand(file: KnownFile, places: _Places) -> str:
    """What a person has to do for a file without URL: get it, put it somewhere, convert it."""
    path = places.find(file.name)
    if path is not None:  # so it is what the missing files are made from
        try:
            command = convert_command(verify(path, file), places.target)
            return f"{path} is here but not converted yet. Run:\n  {command}"
        except WeightsError as error:
            return str(error)
    target = places.target / file.name
    check = f" (its MD5 begins with {file.md5_prefix})" if file.md5_prefix else ""
    steps = [f"get {file.name} from {file.source_page}{check}", f"put it at {target}"]
    if any(other.converted_from == file.name for other in known_files()):
        steps.append(f"run: {convert_command(target, places.target)}")
    numbered = "\n".join(f"  {number}. {step}" for number, step in enumerate(steps, 1))
    return f"no program can fetch {file.name}{f' ({file.note})' if file.note else ''}. By hand:\n{numbered}"


def _count(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
