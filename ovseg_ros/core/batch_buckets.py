"""A few fixed batch sizes instead of any, for what is compiled or recorded once per size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

Run = Callable[[torch.Tensor, "torch.Tensor | None"], torch.Tensor]
"""(n,3,S,S) pixels, (n,1,S,S) masks or None -> (n,D) rows."""

_WASTE = 0.25  # of a bucket may be padding before two smaller ones are taken instead
_WARM_UP = 2  # runs before recording: libraries choose their kernels and take their memory in them


def plan(count: int, buckets: Sequence[int]) -> list[tuple[int, int]]:
    """Splits a batch into fixed sizes.

    Args:
        count: N >= 0.
        buckets: the sizes there are, each at least 1, ascending.

    Returns:
        (how many, size) of each part in order; the last may be padded, at most a quarter of it where a
        smaller size exists.

    >>> plan(70, (1, 8, 64))
    [(64, 64), (6, 8)]
    >>> plan(33, (1, 8, 32, 64))
    [(32, 32), (1, 1)]
    """
    parts = []
    while count:
        enough = next((size for size in buckets if size >= count), None)
        fitting = max((size for size in buckets if size <= count), default=None)
        if enough is not None and (fitting is None or enough - count <= _WASTE * enough):
            size, taken = enough, count
        else:
            assert fitting is not None  # one of the two always is
            size = taken = fitting
        parts.append((taken, size))
        count -= taken
    return parts


def run_in_buckets(
    run: Run, pixels: torch.Tensor, masks: torch.Tensor | None, buckets: Sequence[int]
) -> torch.Tensor:
    """Runs (N,3,S,S) pixels and (N,1,S,S) masks through `run` in batches of the given sizes; N >= 1."""
    rows, start = [], 0
    for taken, size in plan(pixels.shape[0], buckets):
        part = slice(start, start + taken)
        padded = (_pad(pixels[part], size), None if masks is None else _pad(masks[part], size))
        rows.append(run(*padded)[:taken])
        start += taken
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def _pad(batch: torch.Tensor, size: int) -> torch.Tensor:
    missing = size - batch.shape[0]
    return batch if missing == 0 else F.pad(batch, (0, 0) * (batch.ndim - 1) + (0, missing))


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    pixels: torch.Tensor
    masks: torch.Tensor | None
    rows: torch.Tensor


class CudaGraphs:
    """Records a forward pass once per batch size and replays it: no launching of kernels one by one.

    Inputs are copied into the recording's own, results out of it. All recordings share one pool of memory;
    they are replayed one after the other, by one thread.
    """

    def __init__(self, run: Run) -> None:
        """Records `run`, which must not wait for the device nor look at values."""
        self._run = run
        self._recordings: dict[tuple[torch.Size, bool], _Recording] = {}
        self._pool: Any = None  # a handle that all recordings share

    def __len__(self) -> int:
        return len(self._recordings)

    def __call__(self, pixels: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        """As `run`, for CUDA tensors."""
        key = (pixels.shape, masks is not None)
        if key not in self._recordings:
            self._recordings[key] = self._record(pixels, masks)
        recording = self._recordings[key]
        recording.pixels.copy_(pixels)
        if recording.masks is not None and masks is not None:
            recording.masks.copy_(masks)
        recording.graph.replay()
        return recording.rows.clone()

    def clear(self) -> None:
        """Lets go of all recordings and their memory."""
        self._recordings.clear()
        self._pool = None

    def _record(self, pixels: torch.Tensor, masks: torch.Tensor | None) -> _Recording:
        own_pixels = pixels.clone()
        own_masks = None if masks is None else masks.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._run(own_pixels, own_masks)
        torch.cuda.current_stream().wait_stream(aside)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            rows = self._run(own_pixels, own_masks)
        return _Recording(graph, own_pixels, own_masks, rows)
