"""Where the chain loses: its masks or its classifier, as the paper's figure asks.

| variant | masks | named by |
|---|---|---|
| clip | the generator's | CLIP on regions with their background blanked |
| clip, not blanked | the generator's | CLIP on the same boxes with their background |
| maskformer, ensemble | the generator's | the generator, or both; only where it classifies |
| oracle masks | the truth's regions | CLIP on regions with their background blanked |
| oracle masks, not blanked | the truth's regions | CLIP on the same boxes with their background |
| oracle classes | the generator's | the truth: each mask's most frequent class |
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame, Proposals, Proposer, as_proposer
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.evaluate.datasets.dataset import IGNORE, Sample, SegmentationDataset
from ovseg_ros.evaluate.scores.predict import (
    Names,
    benchmark_options,
    named_map,
    predicted_map,
    text_rows,
)
from ovseg_ros.evaluate.scores.run import Prediction, Progress, Result, score_each

CLIP, CLIP_CONTEXT = "clip", "clip, not blanked"
MASKFORMER, ENSEMBLE = "maskformer", "ensemble"
ORACLE_MASKS, ORACLE_MASKS_CONTEXT = "oracle masks", "oracle masks, not blanked"
ORACLE_CLASSES = "oracle classes"

MASKS = ("all", "true")
"""Which variants are measured: all, or those with true masks, for which no generator is needed."""

REGIONS = ("class", "instance")
"""What an oracle mask is: all of one class in the picture, as in the benchmarks, or one object."""

_ALL_MASKS = 65535


def bottleneck(
    segmenter: OpenVocabularySegmenter,
    dataset: SegmentationDataset,
    *,
    options: SegmenterOptions | None = None,
    names: Names = "first",
    regions: str = "class",
    masks: str = "all",
    progress: Progress = lambda done, total: None,
) -> dict[str, Result]:
    """Scores every variant of the module's table in one pass.

    Args:
        segmenter: what is taken apart.
        dataset: with the truth that stands in for masks or classes.
        options: how pictures are segmented; None: the segmenter's under the benchmarks' rules. The variants
            change the classifier and what CLIP sees, nothing else.
        names: see `evaluate_dataset`.
        regions: "class" or "instance"; the latter needs a data set with instances.
        masks: one of `MASKS`; with "true" the segmenter's generator is never asked, see `no_proposer`.
        progress: see `run.Progress`.

    Returns:
        variant -> result, in the table's order.

    Raises:
        ConfigError: other regions, or instances where there are none.
        InvalidInputError: no picture could be scored.
    """
    check_variants(dataset, regions, masks)
    base = benchmark_options(segmenter.options) if options is None else options
    once = _Once(segmenter.proposer)
    chain = segmenter.rebuilt(proposer=once)
    oracle = _Oracle(regions)
    told = segmenter.rebuilt(proposer=oracle, options=replace(segmenter.options, classifier="clip"))
    rows = text_rows(segmenter, dataset.classes, base, names)
    plain = replace(base, classifier="clip", region_view="masked")
    whole = replace(plain, max_masks=_ALL_MASKS, min_mask_pixels=1, threshold=0.0, granularity=0.0)
    steps: dict[str, tuple[OpenVocabularySegmenter, SegmenterOptions]] = {}
    if masks == "all":
        steps[CLIP] = (chain, plain)
        steps[CLIP_CONTEXT] = (chain, replace(plain, region_view="context"))
        if once.classifies:
            steps[MASKFORMER] = (chain, replace(base, classifier="maskformer"))
            steps[ENSEMBLE] = (chain, replace(base, classifier="ensemble", region_view="masked"))
    steps[ORACLE_MASKS] = (told, whole)
    steps[ORACLE_MASKS_CONTEXT] = (told, replace(whole, region_view="context"))

    def predict(sample: Sample) -> dict[str, Prediction]:
        oracle.sample = sample
        maps: dict[str, Prediction] = {}
        for name, (used, chosen) in steps.items():
            maps[name] = named_map(used, used.embed(sample.frame, chosen), rows, chosen)
        if masks == "all":
            own = replace(base, classifier="maskformer" if once.classifies else "clip")
            found = chain.embed(sample.frame, own)
            maps[ORACLE_CLASSES] = oracle_classes_map(found, sample, len(dataset.class_names), base)
        return maps

    return score_each(dataset, predict, (*steps, *((ORACLE_CLASSES,) if masks == "all" else ())), progress)


def check_variants(dataset: SegmentationDataset, regions: str, masks: str) -> None:
    """Refuses variants that are none, or that the data set has not the truth for.

    Raises:
        ConfigError: other regions or masks, or instances where there are none.
    """
    if masks not in MASKS:
        raise ConfigError(f"expected masks of {', '.join(MASKS)}, got {masks!r}")
    if regions not in REGIONS or (regions == "instance" and dataset.instances is None):
        raise ConfigError(
            f"expected regions of {', '.join(REGIONS)}, the latter with instances, got {regions!r}"
        )


def oracle_regions(sample: Sample, regions: str = "class") -> Proposals:
    """The truth's own regions as proposals, each of score 1.

    Args:
        sample: with its truth.
        regions: "class": one mask per class; "instance": one per object, of its counted pixels.

    Raises:
        InvalidInputError: no instances in the sample.
    """
    counted = sample.truth != IGNORE
    if regions == "instance":
        if sample.instances is None:
            raise InvalidInputError(f"{sample.name} has no instances")
        source, ids = sample.instances, np.unique(sample.instances[counted])
        ids = ids[ids > 0]
    else:
        source, ids = sample.truth, np.unique(sample.truth[counted])
    if ids.size == 0:
        return Proposals.empty(*sample.truth.shape)
    masks = torch.from_numpy((source[None] == ids[:, None, None]) & counted[None])  # (N,H,W)
    return Proposals(masks, torch.ones(len(masks)))


def majority_classes(masks: torch.Tensor, sample: Sample, classes: int) -> torch.Tensor:
    """(N, K) float32: each mask's most frequent true class with the share of counted pixels it has.

    The first class on ties; a row of zeros for masks without any counted pixel. Where masks overlap, the
    purer then wins.
    """
    probs = torch.zeros((len(masks), classes))
    for row, mask in zip(probs, masks.numpy(), strict=True):
        inside = sample.truth[mask]
        counts = np.bincount(inside[inside != IGNORE], minlength=classes)
        if counts.sum() > 0:
            best = int(counts.argmax())
            row[best] = float(counts[best] / counts.sum())
    return probs


def oracle_classes_map(
    embedded: EmbeddedFrame, sample: Sample, classes: int, options: SegmenterOptions
) -> Prediction:
    """The generator's masks painted with their most frequent true class; masks without one are left out."""
    probs = majority_classes(embedded.masks, sample, classes)
    known = probs.sum(dim=1) > 0
    kept = EmbeddedFrame(
        embedded.frame,
        embedded.masks[known],
        embedded.mask_scores[known],
        embedded.embeddings[known.to(embedded.embeddings.device)],
        soft=None if embedded.soft is None else embedded.soft.take(known),
    )
    return predicted_map(kept, probs[known], replace(options, threshold=0.0, granularity=0.0))


class _Once:
    """A generator that looks at each picture once, however many variants ask."""

    def __init__(self, proposer: Proposer) -> None:
        self._proposer = proposer
        self._last: tuple[Frame, Proposals] | None = None
        self.classifies = as_proposer(proposer).classifies

    def propose(self, frame: Frame) -> Proposals:
        """The wrapped generator's masks."""
        if self._last is None or self._last[0] is not frame:
            self._last = (frame, self._proposer.propose(frame))
        return self._last[1]


class _Oracle:
    """A generator that is told the truth."""

    classifies = False

    def __init__(self, regions: str) -> None:
        self._regions = regions
        self.sample: Sample | None = None

    def propose(self, frame: Frame) -> Proposals:
        """The regions of the sample that was set."""
        assert self.sample is not None
        return oracle_regions(self.sample, self._regions)
