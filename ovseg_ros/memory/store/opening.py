"""Opening a store: which database is meant, and what is missing for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ovseg_ros.errors import ConfigError, install_cure
from ovseg_ros.memory.store.values import Retention

if TYPE_CHECKING:
    from ovseg_ros.memory.store.store import Store

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
