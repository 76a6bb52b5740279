"""Opening a store, what it is told, and what it answers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ovseg_ros.errors import ConfigError, install_cure
from ovseg_ros.memory.entry import Entry

if TYPE_CHECKING:
    from ovseg_ros.memory.store.store import Store


@dataclass(frozen=True)
class Retention:
    """What `prune` leaves; None: no limit.

    Attributes:
        max_age_s: seconds since an entry was last seen.
        max_count: entries.
        max_bytes: vectors, pictures and 500 bytes of the rest of each entry; the file is somewhat larger.
    """

    max_age_s: float | None = None
    max_count: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_age_s", "max_count", "max_bytes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"expected {name} above 0, got {value}; give None for no limit")


class Saved(NamedTuple):
    """What became of entries that were given to `save`.

    Attributes:
        revision: of the store now; what was saved has it.
        conflicts: what the store holds in place of those not saved, since another wrote them in between:
            merge yours into it and save that.
        forgotten: keys not saved, since they were forgotten in between: let go of them.
    """

    revision: int
    conflicts: tuple[Entry, ...] = ()
    forgotten: tuple[str, ...] = ()


class Changes(NamedTuple):
    """What happened since a revision.

    Attributes:
        revision: to ask from next time.
        entries: those written since, without pictures, whoever wrote them.
        forgotten: keys forgotten since.
        everything: `entries` is all there is: let go of any other. So it is where the revision is of another
            life of the database, or all was forgotten.
    """

    revision: int
    entries: tuple[Entry, ...]
    forgotten: tuple[str, ...]
    everything: bool


NO_LIMIT = Retention()


def open_store(
    url_or_path: str | os.PathLike[str],
    *,
    robot: str = "",
    retention: Retention = NO_LIMIT,
    crops: bool = True,
) -> Store:
    """Opens a store, makes it where there is none, and brings its tables up to date.

    Args:
        url_or_path: a file ("~/memory.sqlite", "sqlite:///memory.sqlite"), or "postgresql://user@host/name".
        robot: whose store this is: entries without a robot of their own are saved under it.
        retention: what `Store.prune` leaves.
        crops: whether pictures are kept; with False none is written or read.

    Raises:
        ConfigError: a package is missing, or this is no store, cannot be one, or is of a newer ovseg_ros.
        StoreError: the database cannot be reached now.
    """
    try:
        from ovseg_ros.memory.store.store import Store
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "ovseg_ros":
            raise
        raise ConfigError(f"memory needs {error.name}; {install_cure('memory')}") from error
    return Store(os.fspath(url_or_path), robot=robot, retention=retention, crops=crops)
