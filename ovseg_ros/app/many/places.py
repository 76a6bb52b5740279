"""Shards as places in a row of inputs, and taking them from inputs that can only be read from the start."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


def ranges(count: int, size: int, end: int | None = None) -> Iterator[tuple[int, int | None]]:
    """Places first…last - 1 of each shard.

    Args:
        count: inputs that are expected; there may be fewer or more.
        size: of a shard.
        end: where the last shard ends; None: where the inputs do.

    Example:
        >>> list(ranges(25, 10)), list(ranges(25, 10, end=25)), list(ranges(0, 10))
        ([(0, 10), (10, 20), (20, None)], [(0, 10), (10, 20), (20, 25)], [(0, None)])
    """
    starts = range(0, max(count if end is None else min(count, end), 1), size)
    for first in starts:
        yield first, end if first == starts[-1] else first + size


class Cursor(Generic[T]):
    """Inputs of which a worker takes range after range: going forwards it reads them once, not once each."""

    def __init__(self, start: Callable[[], Iterable[T]]) -> None:
        """Takes what begins the inputs anew; nothing is read yet."""
        self._start = start
        self._inputs: Iterator[T] | None = None
        self._at = 0

    def take(self, first: int, last: int | None) -> Iterator[T]:
        """The inputs of these places, as many as there are; whatever reading them raises."""
        if self._inputs is None or self._at > first:
            self._inputs, self._at = iter(self._start()), 0
        inputs = self._inputs
        try:
            for _ in itertools.islice(inputs, first - self._at):
                self._at += 1
            while last is None or self._at < last:
                one = next(inputs, None)
                if one is None:
                    return
                self._at += 1
                yield one
        except Exception:
            self._inputs = None  # it would seem to have ended: whoever asks next shall hear of it too
            raise
