"""The benchmarks of open-vocabulary segmentation: classes, layouts, sizes and sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ovseg_ros.evaluate.datasets.benchmark_layouts import (
    ade20k_150,
    ade20k_full,
    coco_stuff,
    pascal_context_59,
    pascal_context_459,
    voc,
)
from ovseg_ros.evaluate.datasets.class_names import ClassList, shipped
from ovseg_ros.evaluate.datasets.layouts import Layout


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        kind: what the command line calls it.
        title: for people.
        root: what its folder is usually called.
        classes: gives its class list.
        layouts: gives the layouts it may lie in, the preferred one first; told the folder, because one is
            read from a file in it.
        pictures: split -> the numbers of pictures that published splits have.
        source: where to get it, and under what conditions.
    """

    kind: str
    title: str
    root: str
    classes: Callable[[], ClassList]
    layouts: Callable[[Path], tuple[Layout, ...]]
    pictures: Mapping[str, tuple[int, ...]]
    source: str


def _voc_21_classes() -> ClassList:
    return ClassList((("background",), *shipped("voc_20", 20).synonyms))


_VOC_SOURCE = "http://host.robots.ox.ac.uk/pascal/VOC (Flickr's terms for the pictures)"
_CONTEXT_SOURCE = (
    "pictures: VOC 2010, http://host.robots.ox.ac.uk/pascal/VOC/voc2010; labels: trainval.tar.gz of "
    "https://www.cs.stanford.edu/~roozbeh/pascal-context"
)

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.kind: benchmark
    for benchmark in (
        Benchmark(
            "ade20k-150",
            "ADE20K, 150 classes",
            "ADEChallengeData2016",
            partial(shipped, "ade20k_150", 150),
            ade20k_150,
            {"training": (20210,), "validation": (2000,)},
            "ADEChallengeData2016.zip of http://sceneparsing.csail.mit.edu (ADE20K's terms)",
        ),
        Benchmark(
            "ade20k-full-847",
            "ADE20K-Full, 847 classes",
            "ADE20K_2021_17_01",
            partial(shipped, "ade20k_full_847", 847),
            ade20k_full,
            {"training": (25574,), "validation": (2000,)},
            "https://groups.csail.mit.edu/vision/datasets/ADE20K (on request, ADE20K's terms)",
        ),
        Benchmark(
            "pascal-context-59",
            "Pascal-Context, 59 classes",
            "VOCdevkit/VOC2010",
            partial(shipped, "pascal_context_59", 59),
            pascal_context_59,
            {"training": (4998, 4996), "validation": (5105, 5104)},
            _CONTEXT_SOURCE,
        ),
        Benchmark(
            "pascal-context-459",
            "Pascal-Context, 459 classes",
            "VOCdevkit/VOC2010",
            partial(shipped, "pascal_context_459", 459),
            pascal_context_459,
            {"training": (4998, 4996), "validation": (5105, 5104)},
            _CONTEXT_SOURCE,
        ),
        Benchmark(
            "voc-20",
            "VOC 2012, 20 classes",
            "VOCdevkit/VOC2012",
            partial(shipped, "voc_20", 20),
            partial(voc, False),
            {"training": (1464,), "validation": (1449,)},
            "VOCtrainval_11-May-2012.tar of " + _VOC_SOURCE,
        ),
        Benchmark(
            "voc-21",
            "VOC 2012, 20 classes and background",
            "VOCdevkit/VOC2012",
            _voc_21_classes,
            partial(voc, True),
            {"training": (1464,), "validation": (1449,)},
            "VOCtrainval_11-May-2012.tar of " + _VOC_SOURCE,
        ),
        Benchmark(
            "coco-stuff-171",
            "COCO-Stuff, 171 classes",
            "coco",
            partial(shipped, "coco_stuff_171", 171),
            coco_stuff,
            {"training": (118287,), "validation": (5000,)},
            "val2017.zip of https://cocodataset.org, stuffthingmaps_trainval2017.zip of "
            "https://github.com/nightrome/cocostuff (CC BY 4.0; Flickr's terms for the pictures)",
        ),
    )
}
