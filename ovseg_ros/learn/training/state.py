"""Checkpoints of a training run: written whole or not at all, the newest few kept."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ovseg_ros.errors import ConfigError, WeightsError

FORMAT = "ovseg-training"
_NAME = re.compile(r"step_(\d+)\.pt")


class Checkpoints:
    """The folder `checkpoints` of a run.

    Args:
        run: the run's folder.
        keep: so many stay.
    """

    def __init__(self, run: Path, keep: int) -> None:
        self.folder, self._keep = Path(run) / "checkpoints", keep

    def files(self) -> list[Path]:
        """Whole checkpoints, by step."""
        found = {
            int(match[1]): path for path in self.folder.glob("*.pt") if (match := _NAME.fullmatch(path.name))
        }
        return [found[step] for step in sorted(found)]

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Writes `state` beside its name first, then renames it, then deletes what is too old."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step_{step:08d}.pt"
        partial = path.with_suffix(".tmp")
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        for old in self.files()[: -self._keep]:
            old.unlink()
        return path

    def load_newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint that can be read, or None where there is none at all.

        Raises:
            WeightsError: there are some, and none can be read.
        """
        reasons = []
        for path in reversed(self.files()):
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # a damaged file can raise anything
                reasons.append(f"{path.name}: {str(error).splitlines()[0][:100]}")
                continue
            if isinstance(state, dict) and state.get("format") == FORMAT:
                return path, state
            reasons.append(f"{path.name}: not of this program")
        if reasons:
            raise WeightsError(
                f"expected a checkpoint in {self.folder}, none can be read ({'; '.join(reasons)}); delete "
                "the folder to begin anew"
            )
        return None


class History:
    """`history.jsonl`: one JSON object a line, in order of steps."""

    def __init__(self, run: Path) -> None:
        self.path = Path(run) / "history.jsonl"

    def add(self, record: Mapping[str, Any]) -> None:
        """Appends a record."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All whole records; a last line cut off by a kill is none."""
        if not self.path.exists():
            return []
        records = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
        return records

    def cut(self, step: int) -> None:
        """Drops what was written after `step`: a run that goes on from there writes it again."""
        kept = [record for record in self.read() if record.get("step", 0) <= step]
        self.path.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")


MAY_CHANGE = {
    "learning_rate",
    "clip_gradient_norm",
    "precision",
    "gradient_checkpointing",
    "workers",
    "save_every",
    "keep_checkpoints",
    "log_every",
}
"""Values of a recipe that may differ when a run goes on."""


def check_same(path: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses to go on with something else than what was begun.

    Args:
        path: the checkpoint, for messages.
        saved: what it was written with.
        now: what is asked for.

    Raises:
        ConfigError: names what differs.
    """
    keys = (set(saved) | set(now)) - MAY_CHANGE
    differ = sorted(key for key in keys if saved.get(key) != now.get(key))
    if differ:
        what = ", ".join(f"{key} {saved.get(key)!r} before and {now.get(key)!r} now" for key in differ[:5])
        raise ConfigError(
            f"{path} is of a run with {what}; resume it with the same, or begin in another folder"
        )
