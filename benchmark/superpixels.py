"""Masks from colour without learning: superpixels, merged until one is left, every region on the way a mask.

`MergedSuperpixels().propose(frame)` is the baseline that a learned generator has to beat. As a script it is
scored as `ovseg evaluate masks` scores a preset, and masks.json and masks.md are written.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from skimage.graph import RAG, merge_hierarchical, rag_boundary
from skimage.segmentation import felzenszwalb

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from ovseg_ros.app.evaluate_commands import show_progress  # noqa: E402
from ovseg_ros.core.frame import Frame, Proposals  # noqa: E402
from ovseg_ros.evaluate.masks import read_instances, score_masks  # noqa: E402
from ovseg_ros.evaluate.masks.reports import summary_line, table, write_masks  # noqa: E402
from ovseg_ros.evaluate.scores.provenance import made_with  # noqa: E402

_BACKGROUND = 0.9
"""A region with this share of the picture or more is no thing in it."""


@dataclass(frozen=True)
class Options:
    """How regions grow and which come first.

    Attributes:
        long_side: larger pictures are shrunk to it, in pixels; masks come back at the picture's own size.
        scale, sigma, min_size: of Felzenszwalb's superpixels.
        edge_weight: how much the edge between two regions keeps them apart, beside their colours' difference.
        size_power: how much sooner small regions merge; 0.5 is nearly Ward's criterion.
        duplicate_iou: of two masks of this IoU or more the better-ranked one stays.
        max_masks: most masks per picture.
    """

    long_side: int = 480
    scale: float = 40.0
    sigma: float = 0.8
    min_size: int = 20
    edge_weight: float = 4.0
    size_power: float = 0.3
    duplicate_iou: float = 0.85
    max_masks: int = 1000


@dataclass(frozen=True)
class Superpixels:
    """The finest regions: S of them, S >= 1.

    Attributes:
        labels: (h, w) int64 in 0…S-1, at the size they were computed at.
        areas: (S,) float64 pixels.
        colours: (S, B) float64 histograms of Lab, not normalised.
        border: (S,) float64, how many pixels of the picture's border each has.
        graph: which touch; each edge has "weight", the mean strength of the edge between them in [0, 1], and
            "count" of pixels.
    """

    labels: npt.NDArray[np.int64]
    areas: npt.NDArray[np.float64]
    colours: npt.NDArray[np.float64]
    border: npt.NDArray[np.float64]
    graph: RAG


@dataclass(frozen=True)
class Tree:
    """N = 2S - 1 regions: the superpixels, then each merge, the whole picture last.

    Attributes:
        members: (N, S) bool, which superpixels a region has.
        born: (N,) the weight at which it came to be, 0 for superpixels; never falls from part to whole.
        died: (N,) the weight at which it was merged.
    """

    members: npt.NDArray[np.bool_]
    born: npt.NDArray[np.float64]
    died: npt.NDArray[np.float64]


def superpixels(image_rgb: npt.NDArray[np.uint8], options: Options) -> Superpixels:
    """Superpixels of a picture (H, W, 3) uint8, and what merging has to know of them."""
    height, width = image_rgb.shape[:2]
    factor = min(1.0, options.long_side / max(height, width))
    size_wh = max(round(width * factor), 1), max(round(height * factor), 1)
    small = cv2.resize(image_rgb, size_wh, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)  # 0…100, -127…127 twice
    labels = felzenszwalb(lab / 100, options.scale, options.sigma, options.min_size).astype(np.int64)
    count = int(labels.max()) + 1
    areas = np.bincount(labels.ravel(), minlength=count).astype(float)
    bins = [
        np.clip((lab[..., 0] / 100 * 12).astype(int), 0, 11),
        12 + np.clip(((lab[..., 1] + 60) / 120 * 12).astype(int), 0, 11),
        24 + np.clip(((lab[..., 2] + 60) / 120 * 12).astype(int), 0, 11),
    ]
    colours = np.zeros((count, 36))
    for channel in bins:
        np.add.at(colours, (labels.ravel(), channel.ravel()), 1.0)
    sides = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    border = np.bincount(sides, minlength=count).astype(float)
    # scikit-image's own refuses a picture without edges.
    graph = RAG() if count == 1 else rag_boundary(labels, edge_strength(lab), connectivity=1)
    return Superpixels(labels, areas, colours, border, graph)


def edge_strength(lab: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(h, w) in [0, 1): how much Lab changes across a pixel, half for a change of 10 per pixel."""
    smooth = cv2.GaussianBlur(lab, (0, 0), 1.0)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *d, ksize=3, scale=1 / 8) for d in ((1, 0), (0, 1)))
    change = np.sqrt((across**2 + down**2).sum(axis=2)).astype(float)
    return change / (change + 10.0)


def merge(found: Superpixels, options: Options) -> Tree:
    """Merges the two most alike neighbours until the whole picture is one region."""
    count, total = len(found.areas), found.areas.sum()
    graph = found.graph.copy()
    for n, node in graph.nodes(data=True):
        node |= {"area": found.areas[n], "colours": found.colours[n], "region": n}
    members = np.zeros((2 * count - 1, count), bool)
    members[np.arange(count), np.arange(count)] = True
    born, died = np.zeros(2 * count - 1), np.full(2 * count - 1, np.inf)
    made = count

    def apart(one: dict, other: dict, edge: float) -> float:
        a, b = one["area"], other["area"]
        colour = np.abs(one["colours"] / a - other["colours"] / b).sum() / 6  # in [0, 1]: three histograms
        size = (a * b / (a + b) / total) ** options.size_power
        return float((colour + options.edge_weight * edge) / (1.0 + options.edge_weight) * size)  # < 1

    def join(graph: RAG, source: int, target: int) -> None:
        nonlocal made
        one, other = graph.nodes[source], graph.nodes[target]
        parts = [one["region"], other["region"]]
        members[made] = members[parts].any(axis=0)
        born[made] = max(graph[source][target]["weight"], *born[parts])
        died[parts] = born[made]
        other["area"] += one["area"]
        other["colours"] = other["colours"] + one["colours"]
        other["region"] = made
        made += 1

    def weight(graph: RAG, source: int, target: int, neighbour: int) -> dict[str, float]:
        edges = [graph[n][neighbour] for n in (source, target) if graph.has_edge(n, neighbour)]
        pixels = sum(edge["count"] for edge in edges)
        edge = sum(edge["count"] * edge["edge"] for edge in edges) / pixels
        between = apart(graph.nodes[target], graph.nodes[neighbour], edge)
        return {"weight": between, "edge": edge, "count": pixels}

    for a, b, edge in graph.edges(data=True):
        edge["edge"] = edge["weight"]
        edge["weight"] = apart(graph.nodes[a], graph.nodes[b], edge["edge"])
    merge_hierarchical(found.labels, graph, np.inf, False, True, join, weight)
    return Tree(members[:made], born[:made], died[:made])


def rank(found: Superpixels, tree: Tree) -> npt.NDArray[np.float64]:
    """How likely each region is a thing, (N,) in [0, 1].

    The product of how unlike its most similar neighbour it is, of the strength of the edge around it, and of
    the root of its compactness, which is largest for a disc. The picture's border is no edge, and long.
    """
    edges = list(found.graph.edges(data=True))
    one, other = (np.array([edge[i] for edge in edges], np.int64) for i in (0, 1))  # (E,) each
    pixels = np.array([data["count"] for _, _, data in edges], float)
    strength = np.array([data["weight"] for _, _, data in edges], float)
    crossed = (tree.members[:, one] != tree.members[:, other]).astype(float)  # (N,E)
    around = crossed @ pixels
    edge = crossed @ (strength * pixels) / np.maximum(around, 1.0)
    areas = tree.members @ found.areas
    outline = np.maximum(around + tree.members @ found.border, 1.0)
    compact = np.minimum(4 * np.pi * areas / outline**2, 1.0)
    unlike = np.where(areas < _BACKGROUND * areas[-1], tree.died, 0.0)
    return unlike * edge * np.sqrt(compact)


def distinct(found: Superpixels, tree: Tree, scores: npt.NDArray[np.float64], options: Options) -> list[int]:
    """The regions that stay, best first: no two with `duplicate_iou` or more."""
    areas = tree.members @ found.areas  # (N,)
    has_first = tree.members[:, tree.members.argmax(axis=1)]  # (N,N): two regions are nested or disjoint
    iou = np.minimum.outer(areas, areas) / np.maximum.outer(areas, areas)  # of nested ones
    is_copy = (has_first | has_first.T) & (iou >= options.duplicate_iou)
    is_left, kept = scores > 0.0, []
    for i in np.argsort(-scores, kind="stable"):
        if is_left[i]:
            kept.append(int(i))
            is_left &= ~is_copy[i]
    return kept[: options.max_masks]


class MergedSuperpixels:
    """The baseline as a generator; see the module."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = Options() if options is None else options

    def propose(self, frame: Frame) -> Proposals:
        """Regions of every level, best first; none on a picture of one colour."""
        found = superpixels(frame.image_rgb, self.options)
        if len(found.areas) == 1:
            return Proposals.empty(*frame.size_hw)
        tree = merge(found, self.options)
        scores = rank(found, tree)
        kept = distinct(found, tree, scores, self.options)
        height, width = frame.size_hw
        labels = cv2.resize(found.labels.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)
        masks = np.zeros((len(kept), height, width), bool)
        for mask, i in zip(masks, kept):
            np.take(tree.members[i], labels, out=mask)
        return Proposals(torch.from_numpy(masks), torch.from_numpy(scores[kept].astype(np.float32)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("json", type=Path, help="a COCO instance file")
    parser.add_argument("--limit", type=int, help="only the first so many pictures")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "superpixels")
    arguments = parser.parse_args()
    dataset = read_instances(arguments.json)
    if arguments.limit is not None:
        dataset = dataset.take(arguments.limit)
    scores = score_masks(dataset, MergedSuperpixels().propose, progress=show_progress("picture"))
    write_masks(
        arguments.out, scores, made_with(command=["python", *sys.argv]) | {"options": vars(Options())}
    )
    print(table(scores))
    print(summary_line(scores))


if __name__ == "__main__":
    main()
