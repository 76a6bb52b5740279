"""Which names a visitor's queries know: those taught in the memory of the page, or by the visitor alone."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from ovseg_ros.errors import InvalidInputError, StoreError

if TYPE_CHECKING:
    from ovseg_ros.memory import Example
    from ovseg_ros.memory.store.store import Store

MAX_NAME_BYTES = 128
MOST_EACH = 16
"""Examples of one visitor, where there is no memory: an example of `lite` takes 134 KB."""
MOST_VISITORS = 32
"""Visitors whose names are kept; those of who was away for longest go."""
MOST_STORED = 500
"""Examples in a memory from which on none is taken from the page, which asks for no password."""

_LOG = logging.getLogger(__name__)


class Names:
    """Names that were taught on the page. Any thread may use it."""

    def __init__(self, store: Store | None) -> None:
        """`store` keeps them for everybody, also beyond the page; None: each visitor has names of his own."""
        self._store = store
        self._lock = threading.Lock()
        self._own: OrderedDict[str, list[Example]] = OrderedDict()

    @property
    def is_kept(self) -> bool:
        """Whether names outlast the page."""
        return self._store is not None

    def examples(self, visitor: str) -> list[Example]:
        """What a visitor's queries know; without the memory's names while it cannot be read."""
        if self._store is not None:
            try:
                return self._store.examples()
            except StoreError as error:
                _LOG.warning("taught names cannot be read: %s", error)
                return []
        with self._lock:
            if visitor not in self._own:
                return []
            self._own.move_to_end(visitor)
            return list(self._own[visitor])

    def counts(self, visitor: str) -> dict[str, int]:
        """How many examples each name has."""
        counts: dict[str, tuple[str, int]] = {}
        for example in self.examples(visitor):
            name, count = counts.get(example.name.casefold(), (example.name, 0))
            counts[example.name.casefold()] = name, count + 1
        return dict(counts.values())

    def keep(self, visitor: str, example: Example) -> None:
        """One more example.

        Raises:
            InvalidInputError: there are too many.
            StoreError: the memory cannot be written.
        """
        count = len(self.examples(visitor))
        if self._store is not None:
            if count >= MOST_STORED:
                raise InvalidInputError(
                    f"the memory holds {count} examples, from {MOST_STORED} on the page adds none: forget "
                    "some with `ovseg teach NAME --forget`"
                )
            self._store.save_example(example)
            return
        if count >= MOST_EACH:
            raise InvalidInputError(f"you have taught {count} examples: forget a name first")
        with self._lock:
            self._own.setdefault(visitor, []).append(example)
            self._own.move_to_end(visitor)
            while len(self._own) > MOST_VISITORS:
                self._own.popitem(last=False)

    def forget(self, visitor: str, name: str) -> int:
        """Forgets a name of the visitor's own; how many examples it had.

        Raises:
            InvalidInputError: names belong to a memory, where the page forgets nothing.
        """
        if self._store is not None:
            raise InvalidInputError("the page forgets nothing of a memory: `ovseg teach NAME --forget` does")
        with self._lock:
            before = self._own.get(visitor, [])
            left = [example for example in before if example.name.casefold() != name.casefold()]
            if before:
                self._own[visitor] = left
        return len(before) - len(left)


def checked_name(text: str) -> str:
    """A name as a visitor typed it.

    Raises:
        InvalidInputError: it is none.
    """
    name = " ".join(text.split())
    if not name or '"' in name or len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidInputError(f"type a name of 1 to {MAX_NAME_BYTES} bytes without quotation marks: my mug")
    return name
