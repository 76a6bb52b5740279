"""What a store is told and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ovseg_ros.errors import ConfigError
from ovseg_ros.memory.entry import Entry


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
