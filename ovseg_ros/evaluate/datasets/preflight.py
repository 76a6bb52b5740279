"""What will go wrong on a data set, found before networks are loaded and the first picture is waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.evaluate.datasets.dataset import SegmentationDataset

_READ = 10
"""So many pictures are read whole, spread over the split: enough to see labels that no class has."""

_LISTED = 10


@dataclass(frozen=True)
class Outlook:
    """What the files' headers, and some of the files, say of a data set.

    Attributes:
        failing: (name, reason) of each picture that cannot be scored.
        stored: names of pictures whose EXIF orientation is not heeded, since labels lie in the stored pixels.
    """

    failing: tuple[tuple[str, str], ...]
    stored: tuple[str, ...]


def look_ahead(
    dataset: SegmentationDataset, progress: Callable[[int, int], None] = lambda done, total: None
) -> Outlook:
    """Reads every header and some whole pictures; what is damaged further inside, scoring finds."""
    failing: dict[str, str] = {}
    stored: list[str] = []
    for i, item in enumerate(dataset.items):
        try:
            if dataset.check(i):
                stored.append(item.name)
        except InvalidInputError as error:
            failing[item.name] = str(error)
        progress(i + 1, len(dataset))
    for i in range(0, len(dataset), max(len(dataset) // _READ, 1)):
        if (name := dataset.items[i].name) not in failing:
            try:
                dataset.load(i)
            except InvalidInputError as error:
                failing[name] = str(error)
    return Outlook(tuple(failing.items()), tuple(stored))


def refuse_failing(dataset: SegmentationDataset, outlook: Outlook, *, partial: bool) -> None:
    """Refuses a data set with pictures that cannot be scored, as figures of the rest are no figures of it.

    Args:
        dataset: which was looked at.
        outlook: what was found.
        partial: the rest shall be scored, if there is one.

    Raises:
        InvalidInputError: names the pictures.
    """
    failing = outlook.failing
    if not failing or (partial and len(failing) < len(dataset)):
        return
    shown = "; ".join(f"{name}: {reason}" for name, reason in failing[:_LISTED])
    more = f"; and {len(failing) - _LISTED} more" if len(failing) > _LISTED else ""
    cure = "" if len(failing) == len(dataset) else "; mend them, or give --partial to score the others"
    raise InvalidInputError(
        f"{len(failing)} of {len(dataset)} pictures of {dataset.name} cannot be scored: {shown}{more}{cure}"
    )


def refuse_without_depth(dataset: SegmentationDataset, preset: str) -> None:
    """Refuses a data set for a preset that needs depth, if it has none or no camera.

    Raises:
        ConfigError: names what is missing, and where it belongs.
    """
    lacking = [
        what
        for what, there in (
            ("depth images (depth/SPLIT/NAME.png)", dataset.depth),
            ("the camera's intrinsics (camera.json)", dataset.camera),
        )
        if there is None
    ]
    if lacking:
        raise ConfigError(
            f"preset {preset} needs depth, and {dataset.name} lacks {' and '.join(lacking)}: data sets of "
            "the kind folder can have them; or take a preset that takes colour alone (ovseg presets --json "
            "lists needs_depth)"
        )


def refuse_unwritable(out: Path) -> None:
    """Refuses a folder that results cannot be written to; makes none.

    Raises:
        InvalidInputError: a file is in its place, or it may not be written.
    """
    there = next(path for path in (out, *out.absolute().parents) if path.exists() or path.is_symlink())
    if not there.is_dir():
        raise InvalidInputError(f"expected --out as a folder, {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidInputError(f"expected --out as a folder that can be written, {there} cannot")
