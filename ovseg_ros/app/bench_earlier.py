"""Cases that were measured before: `ovseg bench --add` keeps them beside those of now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovseg_ros.app.bench_plan import CASES
from ovseg_ros.errors import ConfigError

_SAME = ("model", "device", "threads", "size_hw", "masks", "labels", "quick")
"""Settings that must be the same: figures of one page are of one thing."""


def read_earlier(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The result that lies in a folder.

    Args:
        folder: `--out` of the run before.
        settings: of the run to come.

    Raises:
        ConfigError: there is none, it cannot be read, or it was measured with other settings.
    """
    file = folder / "result.json"
    try:
        earlier: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        before = {name: earlier["settings"][name] for name in _SAME}
        _ = earlier["cases"], earlier["made_with"]["cases"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--add wants an earlier result in {file}: {error}; leave --add out") from error
    now = json.loads(json.dumps({name: settings[name] for name in _SAME}))
    other = [name for name in _SAME if before[name] != now[name]]
    if other:
        told = ", ".join(f"{name} {before[name]!r} and now {now[name]!r}" for name in other)
        raise ConfigError(f"--add wants the settings of {file}, got {told}; take another --out")
    return earlier


def with_earlier(result: dict[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """A result with the cases of an earlier one that were not measured again.

    `made_with` gains "earlier": how each of the kept cases was made.
    """
    kept = [name for name in earlier["cases"] if name not in result["cases"]]
    runs = [earlier["made_with"], *earlier["made_with"].get("earlier", [])]
    found = {**result["cases"], **{name: earlier["cases"][name] for name in kept}}
    return {
        **result,
        "made_with": {
            **result["made_with"],
            "earlier": [told for run in runs if (told := _of_cases(run, kept))["cases"]],
        },
        "cases": {name: found[name] for name in CASES if name in found},
    }


def _of_cases(run: Mapping[str, Any], kept: Sequence[str]) -> dict[str, Any]:
    """How a run was made, with those of its cases that are kept."""
    cases = [name for name in run["cases"] if name in kept]
    return {**{key: value for key, value in run.items() if key != "earlier"}, "cases": cases}
