"""Where names are kept, as `ovseg teach` needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ovseg_ros.app.teach.shown import Shown


class Place(Protocol):
    """A running node, or a memory."""

    def names(self) -> Mapping[str, int]:
        """All names as they were taught, and how many examples each has."""

    def teach(self, name: str, shown: Sequence[Shown]) -> str:
        """Keeps what is shown, all of it or nothing; why nothing of it is the thing, "" where it is kept."""

    def forget(self, name: str) -> None:
        """Forgets all examples of a name that there is."""
