"""What was counted on each picture of a data set, a line as it is done: what a resumed run goes by."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_ros.errors import ConfigError, OvsegError
from ovseg_ros.evaluate.scores.run import Scored

JOURNAL = "pictures.jsonl"


class PictureJournal:
    """The journal of one measurement; the command is its only writer. Pictures that failed have no line."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Opens it.

        Args:
            folder: made if it is not there.
            settings: what the counts follow from beside the pictures; JSON.
            resume: go on with what an earlier run counted here; otherwise it begins anew.

        Raises:
            ConfigError: the earlier run had other settings.
            OvsegError: it cannot be written.
        """
        self._path = folder / JOURNAL
        self.done: dict[str, Scored] = {}
        if resume and self._path.is_file():
            self._take_over(json.loads(json.dumps(settings)))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part = self._path.with_name(f".{JOURNAL}.part")  # nothing is lost where this is killed
            with part.open("w", encoding="utf-8") as file:
                file.write(json.dumps({"settings": settings}) + "\n")
                file.writelines(map(_line, self.done.values()))
            os.replace(part, self._path)
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise OvsegError(f"cannot write to {folder}: {error.strerror or error}") from error

    def written(self, outcomes: Iterable[Scored]) -> Iterator[Scored]:
        """The outcomes, each written as it comes.

        Raises:
            OvsegError: the disk is full or the like.
        """
        for one in outcomes:
            if not one.failed:
                try:
                    self._file.write(_line(one))
                except OSError as error:
                    raise OvsegError(f"cannot write {self._path}: {error.strerror or error}") from error
            yield one

    def close(self) -> None:
        """Ends it; it stays for --resume."""
        self._file.close()

    def _take_over(self, settings: Mapping[str, Any]) -> None:
        with self._path.open(encoding="utf-8") as lines:
            earlier = _parsed(next(lines, "")).get("settings", {})
            changed = [
                f"{key}: {earlier.get(key)!r} then, {value!r} now"
                for key, value in settings.items()
                if earlier.get(key) != value
            ]
            if changed:
                raise ConfigError(
                    f"--resume: {self._path} was made with other settings ({'; '.join(changed)[:300]}); "
                    "without --resume the measurement begins anew"
                )
            for entry in filter(None, map(_parsed, lines)):
                counts = {
                    name: (np.array(places, np.int64), np.array(numbers, np.int64))
                    for name, (places, numbers) in entry["counts"].items()
                }
                self.done[entry["picture"]] = Scored(entry["picture"], counts, entry["seconds"])


def _line(one: Scored) -> str:
    counts = {name: [places.tolist(), numbers.tolist()] for name, (places, numbers) in one.counts.items()}
    return json.dumps({"picture": one.name, "seconds": one.seconds, "counts": counts}) + "\n"


def _parsed(line: str) -> dict[str, Any]:
    """One line, {} where it broke off."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
