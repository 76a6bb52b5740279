"""How much `ovseg bench` measures. Light: nothing here imports a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CASES = ("cold", "query", "video", "masks", "labels", "size", "cuda")
"""In the order in which they are run; see docs/speed.md."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often.

    Attributes:
        model: an open_clip architecture, or its configuration.
        device: where networks run.
        threads: of torch and OpenCV.
        runs: most counted rounds per point.
        budget_s: seconds a point may take before its rounds end.
        size_hw: of the made-up frame.
        masks: on it, where their number is not what varies.
        labels: asked for, where their number is not what varies.
        mask_counts: of the case `masks`.
        label_counts: of the case `labels`.
        sizes_hw: of the case `size`.
        recording: of the case `video`.
        preset: of the case `video`.
        frames: most frames of the recording; None for all.
        repeats: how often the recording is gone through.
        quick: a check that everything runs; the figures mean nothing.
    """

    model: str | Mapping[str, Any] = "ViT-B-16"
    device: str = "cpu"
    threads: int = 2
    runs: int = 7
    budget_s: float = 60.0
    size_hw: tuple[int, int] = (480, 640)
    masks: int = 64
    labels: int = 8
    mask_counts: tuple[int, ...] = (1, 4, 16, 64, 100, 200, 400)
    label_counts: tuple[int, ...] = (1, 8, 64, 254, 500, 847, 1000)
    sizes_hw: tuple[tuple[int, int], ...] = ((240, 320), (480, 640), (720, 1280), (1080, 1920))
    recording: Path = Path("demo/tabletop")
    preset: str = "mini"
    frames: int | None = None
    repeats: int = 2
    quick: bool = False


QUICK: Mapping[str, Any] = {
    "runs": 2,
    "budget_s": 2.0,
    "size_hw": (48, 64),
    "masks": 4,
    "labels": 3,
    "mask_counts": (1, 5),
    "label_counts": (1, 300),
    "sizes_hw": ((24, 32), (48, 64)),
    "frames": 3,
    "repeats": 1,
    "quick": True,
}
"""Changes of a plan for `--quick`; the model becomes a tiny one too."""
