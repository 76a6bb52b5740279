"""The whole chain on one frame: propose, embed, label."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ovseg_ros.core.classify import assign_labels, mask_probabilities, select_background
from ovseg_ros.core.frame import Frame, Proposals, Proposer, RegionEncoder
from ovseg_ros.core.regions import FILLS, Fill, Regions, crop_regions
from ovseg_ros.core.segmentation import EmbeddedFrame, Segmentation
from ovseg_ros.core.templates import VILD_TEMPLATES
from ovseg_ros.core.vocabulary import UNLABELLED_ID, Vocabulary
from ovseg_ros.errors import ConfigError, InvalidInputError, OutOfMemoryError

__all__ = ["EmbeddedFrame", "OpenVocabularySegmenter", "Segmentation", "SegmenterOptions"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

LONE_LABEL_RIVAL = "others"
"""Stands in where nothing else would compete with a single label, which would then always win."""


@dataclass(frozen=True)
class SegmenterOptions:
    """What may change between frames.

    Attributes:
        threshold: probability a mask needs to get a label that has no threshold of its own, in [0, 1].
        background: words that compete with the labels but are never reported.
        background_max_similarity: cosine to any asked label at which a background word steps aside.
        templates: sentences each word is put into.
        fill: what replaces the background of a crop, see `crop_regions`.
        expand_ratio: growth of the box around a mask, at least 1.
        max_masks: most masks embedded per frame, the best-scored ones; bounds time and memory.
        min_mask_pixels: smaller masks are dropped before they are embedded.
        batch_size: most masks per forward pass.
    """

    threshold: float = 0.5
    background: tuple[str, ...] = ()
    background_max_similarity: float = 0.9
    templates: tuple[str, ...] = VILD_TEMPLATES
    fill: Fill = "mean"
    expand_ratio: float = 1.0
    max_masks: int = 100
    min_mask_pixels: int = 64
    batch_size: int = 64

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"want threshold in [0, 1], got {self.threshold}")
        if not -1.0 <= self.background_max_similarity <= 1.0:
            raise ConfigError(
                f"want background_max_similarity in [-1, 1], got {self.background_max_similarity}"
            )
        if isinstance(self.background, str) or isinstance(self.templates, str):
            raise ConfigError("want tuples of background words and of templates, got a single string")
        if not self.templates or any("{}" not in template for template in self.templates):
            raise ConfigError(f"want templates with {{}} in each, got {self.templates}")
        if self.fill not in FILLS:
            raise ConfigError(f"want fill one of {', '.join(FILLS)}, got {self.fill!r}")
        if not self.expand_ratio >= 1.0:
            raise ConfigError(f"want expand_ratio at least 1, got {self.expand_ratio}")
        for name in ("max_masks", "min_mask_pixels", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"want {name} at least 1, got {getattr(self, name)}")


class OpenVocabularySegmenter:
    """Finds things by name in single frames.

    `embed` is the costly half and does not know the words; `label` costs one text encoding per new word and
    one matrix product. One thread may embed while others label. `options` may be swapped at any time; each
    call reads it once.
    """

    def __init__(
        self,
        proposer: Proposer,
        clip: RegionEncoder,
        options: SegmenterOptions | None = None,
        device: str | torch.device = "cpu",
        name: str = "",
    ) -> None:
        """Puts a chain together.

        Args:
            proposer: gives class-agnostic masks.
            clip: embeds regions and words; already on `device` and in evaluation mode.
            options: see `SegmenterOptions`.
            device: where crops are made and encoded.
            name: for logs and diagnostics, usually the preset's.
        """
        self.proposer = proposer
        self.clip = clip
        self.options = SegmenterOptions() if options is None else options
        self.device = torch.device(device)
        self.name = name

    def segment(
        self, frame: Frame, vocabulary: Vocabulary, options: SegmenterOptions | None = None
    ) -> Segmentation:
        """`label(embed(frame))`; see there for what is raised."""
        chosen = self.options if options is None else options
        return self.label(self.embed(frame, chosen), vocabulary, chosen)

    def embed(self, frame: Frame, options: SegmenterOptions | None = None) -> EmbeddedFrame:
        """Proposes masks and embeds each.

        Args:
            frame: any size; what else it must hold is the proposer's to say.
            options: for this frame; `self.options` when None.

        Returns:
            At most `max_masks` masks of at least `min_mask_pixels`, possibly none; seconds spent in
            "propose", "crop" and "encode".

        Raises:
            InvalidInputError: the proposer cannot use this frame, or gave masks of another size.
            OutOfMemoryError: the device's memory did not hold half a batch either.
        """
        options = self.options if options is None else options
        start = time.perf_counter()
        proposals = self.proposer.propose(frame)
        if proposals.masks.shape[1:] != frame.size_hw:
            raise InvalidInputError(
                f"want proposals of size {frame.size_hw}, got {tuple(proposals.masks.shape[1:])} from "
                f"{type(self.proposer).__name__}"
            )
        masks, scores = _worth_embedding(proposals, options)
        proposed = time.perf_counter()
        regions = self._with_memory(lambda _: self._crop(frame, masks, options), options.batch_size)
        cropped = time.perf_counter()
        embeddings = self._with_memory(lambda batch: self._encode(regions, batch), options.batch_size)
        timings = {
            "propose": proposed - start,
            "crop": cropped - proposed,
            "encode": time.perf_counter() - cropped,
        }
        return EmbeddedFrame(frame, masks.cpu(), scores.cpu(), embeddings, timings)

    def label(
        self, embedded: EmbeddedFrame, vocabulary: Vocabulary, options: SegmenterOptions | None = None
    ) -> Segmentation:
        """Names the masks of an embedded frame.

        Args:
            embedded: from `embed`; not changed, may be labelled again with other words.
            vocabulary: the words; none is valid and leaves everything unlabelled.
            options: for this call; `self.options` when None.

        Returns:
            The result, all tensors on the CPU; timings gain "text" and "classify" in seconds.

        Raises:
            OutOfMemoryError: the text tower does not fit.
        """
        options = self.options if options is None else options
        start = time.perf_counter()
        text = self.encode_text(vocabulary.names, options)
        background = self._background(vocabulary, text, options)
        encoded = time.perf_counter()
        embeddings = embedded.embeddings.to(text.device)
        probs = mask_probabilities(
            embeddings, text, logit_scale=self.clip.logit_scale, non_object=background
        ).cpu()
        index, scores = assign_labels(probs, _thresholds(vocabulary, options.threshold))
        ids = torch.tensor([*vocabulary.ids, UNLABELLED_ID], dtype=torch.uint8)[index]  # -1 is the last
        timings = {
            **embedded.timings,
            "text": encoded - start,
            "classify": time.perf_counter() - encoded,
        }
        return Segmentation(
            frame=embedded.frame,
            vocabulary=vocabulary,
            masks=embedded.masks,
            mask_scores=embedded.mask_scores,
            embeddings=embedded.embeddings.cpu(),
            probs=probs,
            label_index=index,
            label_ids=ids,
            scores=scores,
            timings=timings,
            similarities=(embeddings.float() @ text.float().T).cpu(),  # (N,K)
        )

    def encode_text(self, labels: Sequence[str], options: SegmenterOptions | None = None) -> torch.Tensor:
        """(K, D) unit rows of words, in the options' templates, cached by the encoder."""
        options = self.options if options is None else options
        words = list(labels)
        return self._with_memory(lambda _: self.clip.encode_text(words, options.templates), 2)

    def warm_up(self) -> None:
        """Runs the networks once on a blank region and the background words, so the first frame is quick."""
        side = self.clip.size
        blank = Regions(
            torch.zeros(1, 3, side, side, device=self.device),
            torch.ones(1, 1, side, side, device=self.device),
            torch.ones(1, dtype=torch.bool, device=self.device),
        )
        self._with_memory(lambda batch: self._encode(blank, batch), 2)
        self.encode_text(("thing", LONE_LABEL_RIVAL, *self.options.background))

    def _crop(self, frame: Frame, masks: torch.Tensor, options: SegmenterOptions) -> Regions:
        image = torch.from_numpy(np.require(frame.image_rgb, requirements=("C", "W")))  # (H,W,3)
        return crop_regions(
            image.to(self.device).permute(2, 0, 1),
            masks.to(self.device),
            size=self.clip.size,
            fill=options.fill,
            expand_ratio=options.expand_ratio,
        )

    @torch.no_grad()
    def _encode(self, regions: Regions, batch: int) -> torch.Tensor:
        if len(regions) == 0:
            return torch.zeros((0, self.clip.embedding_dim), device=self.device)
        parts = [
            self.clip.encode_regions(regions.pixels[i : i + batch], regions.masks[i : i + batch])
            for i in range(0, len(regions), batch)
        ]
        return torch.cat(parts)  # (N,D)

    def _background(
        self, vocabulary: Vocabulary, text: torch.Tensor, options: SegmenterOptions
    ) -> torch.Tensor | None:
        """(B, D) rows of the background words that compete with these labels."""
        if not vocabulary.labels:
            return None
        asked = {name.casefold() for name in vocabulary.names}
        words = [word for word in options.background if word.casefold() not in asked]
        rows = self.encode_text(words, options) if words else text[:0]
        rows = rows[select_background(text, rows, options.background_max_similarity)]
        if len(rows) == 0 and len(vocabulary) == 1:
            rows = self.encode_text((LONE_LABEL_RIVAL,), options)
        return rows

    def _with_memory(self, work: Callable[[int], _T], batch: int) -> _T:
        """Runs `work(batch)`; when the device's memory is full, frees it and tries once with half."""
        try:
            return work(batch)
        except torch.OutOfMemoryError:
            _log.warning("out of memory on %s with %d at once; one more try with half", self.device, batch)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            return work(max(batch // 2, 1))
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"{self.device} ran out of memory twice; lower max_masks or batch_size, or take a smaller "
                f"preset ({error})"
            ) from error


def _worth_embedding(proposals: Proposals, options: SegmenterOptions) -> tuple[torch.Tensor, torch.Tensor]:
    """Drops masks that are too small, then all but the best `max_masks`; the order stays."""
    # Counted in NumPy where that is possible: ten times faster than a sum over bool, and in one thread.
    on_cpu = proposals.masks.device.type == "cpu"
    areas = [
        np.count_nonzero(mask.numpy()) if on_cpu else int(mask.count_nonzero()) for mask in proposals.masks
    ]
    large = torch.tensor(
        [i for i, area in enumerate(areas) if area >= options.min_mask_pixels],
        dtype=torch.int64,
        device=proposals.masks.device,
    )
    best = proposals.scores[large].argsort(descending=True, stable=True)[: options.max_masks]
    kept = large[best].sort().values
    return proposals.masks[kept], proposals.scores[kept].float()


def _thresholds(vocabulary: Vocabulary, default: float) -> torch.Tensor:
    """(K,) the labels' own thresholds or the default."""
    return torch.tensor([default if label.threshold is None else label.threshold for label in vocabulary])
