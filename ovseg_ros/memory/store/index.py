"""Which vectors of one space are nearest, in memory: a byte per number, compared with all of them."""

from __future__ import annotations

import numkong
import numpy as np
import numpy.typing as npt

BLOCK = 4096
"""Rows that are made at a time: growing copies nothing."""


class Index:
    """Vectors of entries at one byte per number; finds candidates, whose true cosine the caller works out.

    A cosine here is off by 0.0005 (standard deviation, D = 512, evenly spread vectors), by less the larger D.

    Args:
        dims: D.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.revision = -1
        self._blocks: list[npt.NDArray[np.int8]] = []
        self._owners = np.empty(0, np.int64)
        self._free: list[int] = []

    def __len__(self) -> int:
        """Vectors."""
        return len(self._owners) - len(self._free)

    def add(self, owners: npt.ArrayLike, vectors: npt.NDArray[np.float32]) -> None:
        """Adds (N, D) vectors of the entries `owners` (N,)."""
        while len(self._free) < len(vectors):
            start = len(self._owners)
            self._blocks.append(np.zeros((BLOCK, self.dims), np.int8))
            self._owners = np.concatenate([self._owners, np.full(BLOCK, -1)])
            self._free += range(start + BLOCK - 1, start - 1, -1)
        rows = [self._free.pop() for _ in range(len(vectors))]
        self._owners[rows] = owners
        for row, code in zip(rows, _codes(vectors), strict=True):
            self._blocks[row // BLOCK][row % BLOCK] = code

    def remove(self, owners: npt.ArrayLike) -> None:
        """Lets go of all vectors of these entries."""
        rows = np.flatnonzero(np.isin(self._owners, owners) & (self._owners >= 0))
        self._owners[rows] = -1
        self._free += rows.tolist()

    def nearest(
        self, embedding: npt.NDArray[np.float32], count: int, allowed: npt.NDArray[np.int64] | None = None
    ) -> list[int]:
        """The `count` nearest entries, the nearest first.

        Args:
            embedding: (D,).
            count: entries at most.
            allowed: only these entries; None: all.
        """
        query = _codes(embedding[None])
        distances = [np.asarray(numkong.cdist(block, query, "angular"))[:, 0] for block in self._blocks]
        if not distances:
            return []
        far = np.concatenate(distances)
        meant = self._owners >= 0
        if allowed is not None:
            flags = np.zeros(max(int(self._owners.max()), int(allowed.max(initial=0))) + 1, bool)
            flags[allowed] = True
            meant &= flags[self._owners]  # -1 is left out above
        far[~meant] = np.inf
        vectors, wanted = int(meant.sum()), 2 * count
        while True:
            wanted = min(wanted, vectors)
            rows = np.argpartition(far, wanted - 1)[:wanted] if wanted else np.empty(0, np.int64)
            rows = rows[np.argsort(far[rows], kind="stable")]
            found = list(dict.fromkeys(self._owners[rows].tolist()))
            if len(found) >= count or wanted == vectors:
                return found[:count]
            wanted *= 2  # many of them are of the same entries


def _codes(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """(N, D) -> int8: each row so that its largest number is 127; a cosine does not ask for its length."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.rint(vectors * (127 / np.maximum(largest, np.finfo(np.float32).tiny))).astype(np.int8)
