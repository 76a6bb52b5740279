"""What memory allows: how many prompts are decoded at once, and how many masks of a frame are kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ovseg_ros.core.device import ran_out

_LOG = logging.getLogger(__name__)


class Limits:
    """Kept from call to call of one generator.

    Attributes:
        share: batches are divided by it: 2 in the call after one that ran out of memory, else 1.
        max_mask_pixels: so many pixels all masks of a frame may hold together.
    """

    def __init__(self, max_mask_pixels: int) -> None:
        self.share, self.max_mask_pixels = 1, max_mask_pixels
        self._warned = False

    @contextmanager
    def halved_after_running_out(self) -> Iterator[None]:
        """Around one call from outside: sees to how many prompts the next one decodes at once."""
        try:
            yield
        except Exception as error:
            self.share = 2 if ran_out(error) else 1
            raise
        self.share = 1

    def most_masks(self, size_hw: tuple[int, int]) -> int:
        """How many masks of an image may be kept, at least one."""
        return max(1, self.max_mask_pixels // (size_hw[0] * size_hw[1]))

    def warn(self, count: int, size_hw: tuple[int, int]) -> None:
        """Says the first time that of so many masks only the best are kept."""
        if self._warned:
            return
        _LOG.warning(
            "of %d masks on %d x %d pixels the best %d are kept: see max_mask_pixels",
            count,
            *size_hw[::-1],
            self.most_masks(size_hw),
        )
        self._warned = True
