"""Which files of a folder are the recording: metadata.yaml is heard, the files are believed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.pictures import IMAGE_SUFFIXES
from ovseg_ros.files.recordings.stored import MCAP, SQLITE, content_of, is_storage_name, plain_name
from ovseg_ros.files.yaml_texts import MAX_YAML_BYTES, parse_yaml

METADATA = "metadata.yaml"
_ROOT = "rosbag2_bagfile_information"
_NEVER = {*IMAGE_SUFFIXES, ".yaml", ".yml", ".json", ".txt", ".csv", ".md", ".npy", ".mp4", ".xml"}
_SPLIT = re.compile(r"^(.*?)(_\d+)?$")  # the third file of "run" is "run_2.mcap"


@dataclass
class Folder:
    """A recording's files in the order in which they are to be read, and what should be said of them."""

    files: list[Path]
    compression: str = ""
    remarks: list[str] = field(default_factory=list)


def is_recording_folder(path: Path) -> bool:
    """Whether a folder is a recording, whole or not; one with pictures only where metadata.yaml says so."""
    if (path / METADATA).is_file():
        return bool(_stored_files(path)) or _ROOT in _text_of(path / METADATA)[0] or not _has_pictures(path)
    return bool(_stored_files(path)) and not _has_pictures(path)


def read_folder(path: Path) -> Folder:
    """Chooses the files of the recording in a folder."""
    stored = {file.name: file for file in _stored_files(path)}
    info, remark = _metadata(path / METADATA)
    said = info.get("relative_file_paths")
    listed = [name for name in said if isinstance(name, str)] if isinstance(said, list) else []
    names = [PurePosixPath(name.replace("\\", "/")).name for name in listed]
    by_plain = {plain_name(name): name for name in sorted(stored, key=len, reverse=True)}  # plain ones win
    named = [by_plain[plain_name(name)] for name in names if plain_name(name) in by_plain]
    missing = [name for name in names if plain_name(name) not in by_plain]
    compression = info.get("compression_format")
    found = Folder([], compression if isinstance(compression, str) else "", [remark] if remark else [])
    if missing:
        found.remarks.append(f"{path}: metadata.yaml names {', '.join(missing)}, which is not there")
    rest = [name for name in by_plain.values() if name not in named]
    if named and not missing:
        series = {_series(name) for name in named}
        strangers = [name for name in rest if _series(name) not in series]
        if strangers:
            found.remarks.append(
                f"{path}: {', '.join(sorted(strangers))} is not of the recording that metadata.yaml is of "
                "and is left out; give it by itself"
            )
        rest = [name for name in rest if name not in strangers]
    chosen = _without_twins([*named, *sorted(rest, key=_mcap_first)], found, path)
    if len({_series(name) for name in chosen}) > 1 and not named:
        found.remarks.append(
            f"{path} holds {', '.join(chosen)}: they are read as one recording, in order of time; give a "
            "file by itself to read it alone"
        )
    found.files = [stored[name] for name in chosen]
    return found


def _without_twins(names: Sequence[str], found: Folder, path: Path) -> list[str]:
    """The same recording in two storages (bag_0.mcap beside bag_0.db3) is read once."""
    chosen: dict[str, str] = {}
    for name in names:
        twin = chosen.setdefault(_stem(name), name)
        if twin != name:
            found.remarks.append(f"{path}: {name} is left out, {twin} is of the same name")
    return list(chosen.values())


def _stored_files(path: Path) -> list[Path]:
    """Files that are a part of a recording by their content or, damaged as they may be, by their names."""
    files = []
    for file in sorted(path.iterdir()):
        if file.name.startswith(".") or not file.is_file() or file.suffix.lower() in _NEVER:
            continue
        if file.name.endswith(("-wal", "-shm", "-journal")):
            continue
        if is_storage_name(file.name) or content_of(file) in (MCAP, SQLITE):
            files.append(file)
    return files


def _has_pictures(path: Path) -> bool:
    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.iterdir())


def _metadata(path: Path) -> tuple[dict[str, Any], str]:
    """What metadata.yaml says, as far as it says something, and what is wrong with it."""
    if not path.is_file():
        return {}, ""
    text, wrong = _text_of(path)
    try:
        whole = parse_yaml(text, "it", finite=False)
        info = whole.get(_ROOT) if isinstance(whole, dict) else None
        if isinstance(info, dict):
            return info, ""
        wrong = wrong or (f"it has no {_ROOT}" if text.strip() else "it is empty")
    except InvalidInputError as error:
        wrong = wrong or str(error)
    return {}, f"{path} cannot be read ({wrong}): what the files themselves say counts"


def _text_of(path: Path) -> tuple[str, str]:
    try:
        with path.open("rb") as file:
            return file.read(MAX_YAML_BYTES).decode("utf-8", errors="replace"), ""
    except OSError as error:
        return "", error.strerror or str(error)


def _stem(name: str) -> str:
    return plain_name(name).rsplit(".", 1)[0]


def _series(name: str) -> str:
    found = _SPLIT.match(_stem(name))
    return found.group(1) if found else name


def _mcap_first(name: str) -> tuple[bool, list[tuple[bool, int, str]]]:
    """It has checksums; and bag_2 comes before bag_10."""
    numbers = [
        (part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)
    ]
    return not plain_name(name).lower().endswith(".mcap"), numbers
