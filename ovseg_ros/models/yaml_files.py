"""What people write in YAML, presets and recipes: found by name or path, read, and checked."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovseg_ros.errors import ConfigError
from ovseg_ros.files import yaml_texts

_LARGEST = 1_000_000
"""Of a network's sizes; the largest has some thousands."""

_TRUTH = {"yes": True, "on": True, "no": False, "off": False}
"""What YAML 1.1 took for true and false, and people still write; as a word to look for it is text."""


def yaml_file(name_or_path: str | Path, folder: Path, what: str) -> Path:
    """A YAML file of the package by its name, or any other by its path.

    Args:
        name_or_path: the name of a file in `folder`, without its ending, or a path.
        folder: of the package.
        what: it is, for messages: "a preset name".

    Raises:
        ConfigError: no such name or file; the message lists the names.
    """
    text, path = str(name_or_path), Path(name_or_path).expanduser()
    known = yaml_names(folder)
    if text in known:
        return folder / f"{text}.yaml"
    meant = ""
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        meant = ", which is not there"
    elif near := difflib.get_close_matches(text.lower(), known, n=1):
        meant = f"; did you mean {near[0]!r}?"
    raise ConfigError(
        f"expected {what} ({', '.join(known)}) or the path of a .yaml file, got {text!r}{meant}"
    )


def yaml_names(folder: Path) -> tuple[str, ...]:
    """The names `yaml_file` finds in a folder, sorted."""
    return tuple(sorted(file.stem for file in folder.glob("*.yaml")))


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; see `files.yaml_texts`.

    Raises:
        ConfigError: it is none, or one that refers to itself, nests deeply or holds NaN, say; names the line.
    """
    return yaml_texts.read_yaml(path, refuse=ConfigError)


def setting(text: str, option: str) -> tuple[str, Any]:
    """KEY=VALUE, as people type it: the key, and the value read as YAML.

    Args:
        text: what was typed.
        option: where, for messages: "--set".

    Raises:
        ConfigError: no "=", no key, or a value that is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"expected {option} KEY=VALUE, got {text[:80]!r}")
    return key.strip(), yaml_texts.parse_yaml(value, f"{option} {key.strip()[:80]}", refuse=ConfigError)


def check_keys(path: Path, what: str, value: object, known: set[str]) -> None:
    """Refuses keys that are not known, so a slip of the pen cannot go unnoticed.

    Raises:
        ConfigError: the keys, and those that are known.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: expected {what} as key: value pairs, got {value!r:.80}")
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        raise ConfigError(
            f"{path}: {what} does not know {', '.join(unknown)}; it knows {', '.join(sorted(known))}"
        )


def from_mapping(path: Path, kind: type, values: Mapping[str, Any]) -> Any:
    """An options dataclass from YAML values; lists become tuples, and no other kind of value is bent.

    Raises:
        ConfigError: an unknown name, one that was removed, another kind of value than the default's, or one
            out of range.
    """
    removed: Mapping[str, str] = getattr(kind, "removed", {})
    for name in values if isinstance(values, Mapping) else ():
        if name in removed:
            raise ConfigError(f"{path}: there is no option {name} any more; {removed[name]}")
    check_keys(path, "options", values, {f.name for f in dataclasses.fields(kind)})
    defaults, values = kind(), dict(values)
    for name, value in values.items():
        default = getattr(defaults, name)
        if value is None and name in _may_be_none(kind):
            continue
        if isinstance(default, bool) and isinstance(value, str):
            value = values[name] = _TRUTH.get(value.lower(), value)
        wanted: tuple[type, ...] = (type(default),)
        if isinstance(default, float):
            wanted = (float, int)
        elif isinstance(default, tuple):
            wanted = (list, tuple)
        if default is not None and (
            not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool)
        ):
            raise ConfigError(f"{path}: expected {name} as {wanted[0].__name__}, got {value!r:.80}")
    tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return kind(**tuples)
    except (ConfigError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def sizes_from(kind: type, values: Mapping[str, Any], what: str) -> Any:
    """A network's sizes from plain values, some of which it has to be given; lists become tuples.

    Args:
        kind: a dataclass.
        values: its fields.
        what: the network, for messages.

    Raises:
        ConfigError: a field that is unknown or missing, or sizes that do not go together.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(str(key) for key in values if key not in fields)
    if unknown:
        raise ConfigError(f"{what} does not know {', '.join(unknown)}; it knows {', '.join(sorted(fields))}")
    missing = [n for n, field in fields.items() if field.default is dataclasses.MISSING and n not in values]
    if missing:
        got = ", ".join(map(str, values)) or "nothing"
        raise ConfigError(f"expected {', '.join(missing)} for {what} of its own size, got {got}")
    sizes = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    for name, value in sizes.items():
        _check_size(what, name, value, str(fields[name].type))
    try:
        return kind(**sizes)
    except ZeroDivisionError as error:
        raise ConfigError(f"expected sizes above 0 for {what}, got {sizes!r:.200}") from error


def _check_size(what: str, name: str, value: object, kind: str) -> None:
    if kind == "int" and (type(value) is not int or not 1 <= value <= _LARGEST):
        raise ConfigError(f"expected {what}'s {name} as a whole number >= 1, got {value!r:.80}")
    if kind == "float" and not _is_number(value):
        raise ConfigError(f"expected {what}'s {name} as a number, got {value!r:.80}")
    if kind.startswith("tuple[") and not (isinstance(value, tuple) and all(map(_is_number, value))):
        raise ConfigError(f"expected {what}'s {name} as a list of numbers, got {value!r:.80}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _may_be_none(kind: type) -> set[str]:
    return {f.name for f in dataclasses.fields(kind) if "None" in str(f.type)}
