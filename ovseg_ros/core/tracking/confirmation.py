"""A thing is there when several frames agree that it is: k of the last n."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ovseg_ros.core.maps import BoxedMask, mask_iou
from ovseg_ros.errors import ConfigError

SAME_THING_IOU = 0.5
"""From which overlap two masks of one word are the same thing where no track says so."""


@dataclass(frozen=True)
class Sighting:
    """A mask that got a word in one frame.

    Attributes:
        label: the word.
        track_id: of the thing, 0 where it is not tracked.
        mask: of the thing, to be known again by where its track does not go on; None: by its track alone.
    """

    label: str
    track_id: int
    mask: BoxedMask | None = None

    def agrees(self, earlier: Sighting) -> bool:
        """Whether both are one thing under one word: one track, or masks that overlap.

        Tracks begin anew where images are far apart in time, as they are on a machine that takes seconds for
        each.
        """
        if self.label != earlier.label:
            return False
        if self.track_id and self.track_id == earlier.track_id:
            return True
        if self.mask is None or earlier.mask is None:
            return False
        return bool(mask_iou([self.mask], [earlier.mask])[0, 0] >= SAME_THING_IOU)


class Confirmation:
    """Counts in how many of the last frames things had their words. One thread at a time."""

    def __init__(self, wanted: int, of: int) -> None:
        """Without any frame.

        Args:
            wanted: k, frames that have to agree, at least 1.
            of: n, the last frames that count, at least k.

        Raises:
            ConfigError: it is not 1 <= k <= n.
        """
        if not 1 <= wanted <= of:
            raise ConfigError(f"expected 1 <= k <= n frames that agree, got k={wanted}, n={of}")
        self.wanted, self.of = wanted, of
        self.frames = 0
        self.best = 0
        self._earlier: deque[tuple[Sighting, ...]] = deque(maxlen=of - 1)

    def add(self, seen: Sequence[Sighting]) -> list[int]:
        """Notes the next frame.

        Args:
            seen: its masks that got a word.

        Returns:
            For each, in how many of the last n frames, this one included, the thing carried its word.
        """
        counts = [1 + sum(any(s.agrees(e) for e in frame) for frame in self._earlier) for s in seen]
        self._earlier.append(tuple(seen))
        self.frames += 1
        self.best = max([self.best, *counts])
        return counts
