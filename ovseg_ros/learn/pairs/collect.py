"""Mask-category pairs from captions (OVSeg section 3.3): each noun of a caption and the mask it fits best.

For the nouns t_k of an image's captions and its N proposed masks m_i, shown to a plain CLIP (no mask prompts)
with their background blanked, the pair of t_k is the mask argmax_i cos(CLIP(m_i), CLIP(t_k)). The paper keeps
all of them; the filters here are off unless asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.camera import DepthDoubt
from ovseg_ros.core.frame import Frame, Proposals, Proposer, RegionEncoder
from ovseg_ros.core.maps import boxed_masks, mask_iou
from ovseg_ros.core.options import Fill, RegionView, SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import VILD_TEMPLATES
from ovseg_ros.errors import ConfigError, InvalidInputError, OutOfMemoryError
from ovseg_ros.learn.pairs.captions import CaptionedImage
from ovseg_ros.learn.pairs.crop import make_pair
from ovseg_ros.learn.pairs.nouns import NounFinder
from ovseg_ros.learn.pairs.store import Pair, PairWriter, encoded_pairs

_LOG = logging.getLogger(__name__)

REST = "(the rest)"
"""Stands for the images behind the place where a source breaks off."""


@dataclass(frozen=True)
class PairOptions:
    """How nouns are matched with masks, and which pairs are kept.

    Attributes:
        min_score: cosine a pair needs, in [-1, 1]; None keeps all.
        min_area: part of the image a mask needs, in [0, 1]; None keeps all that are not empty.
        max_overlap: where the masks of two nouns have a greater IoU, the noun with the lower score goes;
            None keeps both.
        one_noun_per_mask: of the nouns that chose the very same mask only the best-scored keeps it.
        region_view: what CLIP sees of a mask, see SegmenterOptions.
        fill: what replaces the background there.
        expand_ratio: growth of the box around a mask there, at least 1.
        templates: sentences each noun is put into.
        max_masks: most masks looked at per image, those the generator is surest of.
        batch_size: most masks per forward pass.
        crop_size: longer side of the stored crop in pixels, at most.
    """

    min_score: float | None = None
    min_area: float | None = None
    max_overlap: float | None = None
    one_noun_per_mask: bool = False
    region_view: RegionView = "masked"
    fill: Fill = "mean"
    expand_ratio: float = 1.0
    templates: tuple[str, ...] = VILD_TEMPLATES
    max_masks: int = 100
    batch_size: int = 64
    crop_size: int = 256

    def __post_init__(self) -> None:
        for name, low, high in (("min_score", -1, 1), ("min_area", 0, 1), ("max_overlap", 0, 1)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"expected {name} in [{low}, {high}] or none, got {value}")
        if self.crop_size < 8:
            raise ConfigError(f"expected crop_size at least 8, got {self.crop_size}")
        self.of_segmenter()

    def of_segmenter(self) -> SegmenterOptions:
        """The same for `OpenVocabularySegmenter.embed`: a plain CLIP, every mask that is not empty."""
        return SegmenterOptions(
            classifier="clip",
            mask_prompts=False,
            min_mask_pixels=1,
            region_view=self.region_view,
            fill=self.fill,
            expand_ratio=self.expand_ratio,
            templates=self.templates,
            max_masks=self.max_masks,
            batch_size=self.batch_size,
        )


@dataclass
class PairTally:
    """How far one call of `collect` has come; what became of each image is in the writer's manifest.

    Attributes:
        images: gone through, those of an earlier run left out.
        kept: images of an earlier run.
        pairs: found.
        failed: images that could not be used.
        failures: (image id, reason) of the first hundred of them.
    """

    images: int = 0
    kept: int = 0
    pairs: int = 0
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    Attributes:
        image: its id; `REST` of what comes after a source broke off.
        kept: an earlier run dealt with it.
        failed: why it cannot be used, or "".
        pairs: noun and tar members of each pair, in order.
        skipped: why nouns have no pair.
    """

    image: str
    kept: bool = False
    failed: str = ""
    pairs: tuple[tuple[str, bytes], ...] = ()
    skipped: tuple[Mapping[str, Any], ...] = ()


def collect(
    source: Iterable[CaptionedImage],
    proposer: Proposer,
    clip: RegionEncoder,
    nouns: NounFinder,
    options: PairOptions,
    writer: PairWriter,
    *,
    device: str | torch.device = "cpu",
    progress: Callable[[PairTally], None] | None = None,
) -> PairTally:
    """Makes pairs of all images that the writer does not have yet; one image is in memory at a time.

    Args:
        source: images with captions.
        proposer: gives the masks.
        clip: embeds masks and nouns; on `device`. Its mask prompts, if it has any, are not used.
        nouns: finds the nouns of captions.
        options: see there.
        writer: where the pairs go. It is not finished here.
        device: where crops are encoded.
        progress: called after each image.

    Returns:
        What became of them. A bad image is named in the log and in the journal, counted and left out; so is
        the rest of a source that breaks off.

    Raises:
        OvsegError: the pairs cannot be written.
    """
    look = Look(proposer, clip, nouns, options, device=device)
    return store(look.at(source, writer), writer, progress)


class Look:
    """Looks at images, and writes nothing."""

    def __init__(
        self,
        proposer: Proposer,
        clip: RegionEncoder,
        nouns: NounFinder,
        options: PairOptions,
        *,
        device: str | torch.device = "cpu",
    ) -> None:
        """See `collect`."""
        self._counted = _Watched(proposer)
        self._segmenter = OpenVocabularySegmenter(self._counted, clip, options.of_segmenter(), device)
        self._nouns, self._options = nouns, options

    def at(self, images: Iterable[CaptionedImage], kept: Container[str]) -> Iterator[Outcome]:
        """What becomes of each image, up to the end or to where a recording breaks off.

        Args:
            images: with captions.
            kept: ids of those that an earlier run dealt with.
        """
        try:
            for image in images:
                yield Outcome(image.id, kept=True) if image.id in kept else self._one(image)
        except InvalidInputError as error:
            yield Outcome(REST, failed=str(error))

    def _one(self, image: CaptionedImage) -> Outcome:
        self._counted.empty = 0
        try:
            pairs, skipped = pairs_of(image, self._segmenter, self._nouns, self._options)
        except (InvalidInputError, OutOfMemoryError) as error:
            return Outcome(image.id, failed=str(error))
        except MemoryError:
            return Outcome(image.id, failed="it does not fit into memory")
        if self._counted.empty:
            skipped.append({"reason": "mask of zero area", "count": self._counted.empty})
        return Outcome(image.id, pairs=encoded_pairs(image.id, pairs), skipped=tuple(skipped))


def store(
    outcomes: Iterable[Outcome], writer: PairWriter, progress: Callable[[PairTally], None] | None = None
) -> PairTally:
    """Writes what became of images, in the order they come; see `collect`."""
    tally = PairTally()
    for outcome in outcomes:
        if outcome.failed:
            _fail(outcome.image, outcome.failed, tally, writer)
            if outcome.image == REST:
                break
        elif outcome.kept or outcome.image in writer:
            tally.kept += 1
        else:
            notes = {"skipped": list(outcome.skipped)} if outcome.skipped else None
            writer.add_encoded(outcome.image, outcome.pairs, notes)
            tally.images += 1
            tally.pairs += len(outcome.pairs)
        if progress is not None:
            progress(tally)
    return tally


def pairs_of(
    image: CaptionedImage, segmenter: OpenVocabularySegmenter, nouns: NounFinder, options: PairOptions
) -> tuple[list[Pair], list[dict[str, Any]]]:
    """The pairs of one image, in the order its nouns are named, and why other nouns have none.

    Raises:
        InvalidInputError: the image cannot be read or used.
    """
    caption_of: dict[str, str] = {}
    skipped: list[dict[str, Any]] = []
    if not any(caption.strip() for caption in image.captions):
        return [], [{"reason": "image without a caption"}]
    for caption in image.captions:
        found = nouns.find(caption)
        if not found:
            skipped.append({"reason": "caption without nouns", "caption": caption[:200]})
        for noun in found:
            caption_of.setdefault(noun, caption)
    if not caption_of:
        return [], skipped
    embedded = segmenter.embed(image.load())
    words = list(caption_of)
    if len(embedded) == 0:
        return [], [*skipped, *({"noun": word, "reason": "no mask was proposed"} for word in words)]
    text = segmenter.encode_text(words)
    cosines = (embedded.embeddings.float().to(text.device) @ text.float().T).cpu()  # (N,K)
    scores, best = cosines.max(dim=0)  # (K,), the first of equals
    dropped = _filtered(scores.numpy(), best.numpy(), embedded.masks, options)
    pairs = []
    for k, noun in enumerate(words):
        reason = dropped.get(k)
        if reason is None:
            i = int(best[k])
            meta = {
                "noun": noun,
                "image": image.id,
                "caption": caption_of[noun],
                "score": round(float(scores[k]), 6),
                "mask_score": round(float(embedded.mask_scores[i]), 6),
                "source": dict(image.source),
            }
            pairs.append(make_pair(embedded.frame, embedded.masks[i].numpy(), meta, options.crop_size))
        else:
            skipped.append({"noun": noun, "reason": reason})
    return pairs, skipped


class _Watched:
    """A proposer that counts its masks of zero area, and says once that depth seems to be in another unit."""

    def __init__(self, proposer: Proposer) -> None:
        self._proposer = proposer
        self._doubt = DepthDoubt()
        self.empty = 0

    def propose(self, frame: Frame) -> Proposals:
        if doubt := self._doubt(frame.depth_m):
            _LOG.warning("%s", doubt)
        proposals = self._proposer.propose(frame)
        if len(proposals):
            self.empty += int((~proposals.masks.flatten(1).any(dim=1)).sum())
        return proposals


def _filtered(
    scores: npt.NDArray[np.float32], best: npt.NDArray[np.int64], masks: torch.Tensor, options: PairOptions
) -> dict[int, str]:
    """Index of each noun whose pair is not kept -> why; better-scored nouns are asked first."""
    dropped: dict[int, str] = {}
    kept: list[int] = []
    used, place = np.unique(best, return_inverse=True)
    boxed = boxed_masks(masks[used])
    iou = mask_iou(boxed, boxed)[place][:, place]  # (K,K)
    least_pixels = (options.min_area or 0) * masks[0].numel() if len(masks) else 0
    for k in np.argsort(-scores, kind="stable").tolist():
        if options.min_score is not None and scores[k] < options.min_score:
            dropped[k] = "score too low"
        elif boxed[place[k]].area < least_pixels:
            dropped[k] = "mask too small"
        elif options.one_noun_per_mask and any(best[k] == best[other] for other in kept):
            dropped[k] = "a better noun has the mask"
        elif options.max_overlap is not None and (iou[k, kept] > options.max_overlap).any():
            dropped[k] = "mask overlaps that of a better noun"
        else:
            kept.append(k)
    return dropped


def _fail(image: str, reason: str, tally: PairTally, writer: PairWriter) -> None:
    _LOG.warning("%s left out: %s", image, reason)
    writer.fail(image, reason)
    tally.images += 1
    tally.failed += 1
    if len(tally.failures) < 100:
        tally.failures.append((image, reason))
