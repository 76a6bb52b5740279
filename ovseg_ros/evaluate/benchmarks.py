"""The benchmarks of open-vocabulary segmentation: their classes, and where their files lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ovseg_ros.evaluate.class_names import ClassList
from ovseg_ros.evaluate.layouts import Layout


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        kind: what the command line calls it.
        title: for people.
        classes: gives its class list.
        layouts: gives the layouts it may lie in, the preferred one first; told the folder, because some are
            read from a file in it.
        pictures: split -> how many pictures the whole split has.
    """

    kind: str
    title: str
    classes: Callable[[], ClassList]
    layouts: Callable[[Path], tuple[Layout, ...]]
    pictures: Mapping[str, int]


BENCHMARKS: dict[str, Benchmark] = {}
