"""The whole chain on one frame: propose, embed, label."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from ovseg_ros.core.classify import assign_labels, ensemble, mask_probabilities, select_background
from ovseg_ros.core.frame import Frame, Proposals, Proposer, RegionEncoder
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.region_views import View, encode_views, region_views
from ovseg_ros.core.segmentation import EmbeddedFrame, Segmentation
from ovseg_ros.core.vocabulary import UNLABELLED_ID, Vocabulary
from ovseg_ros.errors import ConfigError, InvalidInputError, OutOfMemoryError

__all__ = ["EmbeddedFrame", "OpenVocabularySegmenter", "Segmentation", "SegmenterOptions"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


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

        Raises:
            ConfigError: the options ask for what the proposer cannot do.
        """
        self.proposer = proposer
        self.clip = clip
        self.options = SegmenterOptions() if options is None else options
        self.device = torch.device(device)
        self.name = name
        self.check(self.options)

    def check(self, options: SegmenterOptions) -> None:
        """Refuses options that this chain cannot follow.

        Raises:
            ConfigError: a classifier that needs the generator's own class embeddings, which it has not.
        """
        if options.uses_generator and not getattr(self.proposer, "classifies", False):
            raise ConfigError(
                f"classifier {options.classifier!r} needs masks that come with a class embedding; those of "
                f"{type(self.proposer).__name__} have none: take the classifier clip, or proposals of kind "
                "ovseg_maskformer"
            )

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
            At most `max_masks` masks, possibly none; of at least `min_mask_pixels` where CLIP alone names
            them. Seconds spent in "propose", "crop" and "encode".

        Raises:
            ConfigError: see `check`.
            InvalidInputError: the proposer cannot use this frame, or gave masks of another size.
            OutOfMemoryError: the device's memory did not hold half a batch either.
        """
        options = self.options if options is None else options
        self.check(options)
        start = time.perf_counter()
        proposals = self._with_memory(lambda _: self.proposer.propose(frame), 2)
        if proposals.masks.shape[1:] != frame.size_hw:
            raise InvalidInputError(
                f"want proposals of size {frame.size_hw}, got {tuple(proposals.masks.shape[1:])} from "
                f"{type(self.proposer).__name__}"
            )
        kept, seen = _worth_looking_at(proposals, options)
        proposed = time.perf_counter()
        views: list[View] = []
        if options.uses_clip:
            shown = kept.masks[seen].to(self.device)
            views = self._with_memory(lambda _: region_views(frame, shown, self.clip.size, options), 2)
        cropped = time.perf_counter()
        embeddings = torch.zeros((len(kept), self.clip.embedding_dim), device=self.device)
        if views:
            seen_rows = self._with_memory(
                lambda batch: encode_views(self.clip, views, batch), options.batch_size
            )
            embeddings[seen.to(self.device)] = seen_rows.to(self.device, embeddings.dtype)
        timings = {
            "propose": proposed - start,
            "crop": cropped - proposed,
            "encode": time.perf_counter() - cropped,
        }
        return EmbeddedFrame(
            frame=frame,
            masks=kept.masks.cpu(),
            mask_scores=kept.scores.cpu().float(),
            embeddings=embeddings,
            timings=timings,
            seen=seen.cpu() & options.uses_clip,
            soft=None if kept.soft is None else kept.soft.cpu(),
            class_embeddings=kept.class_embeddings,
            non_object=kept.non_object,
            embedding_key=options.embedding_key,
        )

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
            ConfigError: see `check`.
            InvalidInputError: the frame was embedded without what the classifier needs: embed it again.
            OutOfMemoryError: the text tower does not fit.
        """
        options = self.options if options is None else options
        self.check(options)
        start = time.perf_counter()
        text = self.encode_text(vocabulary.names, options)
        background = self._background(vocabulary, text, options)
        encoded = time.perf_counter()
        probs = self._probabilities(embedded, text, background, options).cpu()
        index, scores = assign_labels(probs, _thresholds(vocabulary, options.threshold))
        index = torch.where(embedded.filled, index, -1)  # nothing to point at in an empty mask
        ids = torch.tensor([*vocabulary.ids, UNLABELLED_ID], dtype=torch.uint8)[index]  # -1 is the last
        similarities = None
        if not options.uses_generator:
            similarities = (embedded.embeddings.float().to(text.device) @ text.float().T).cpu()  # (N,K)
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
            similarities=similarities,
            soft=embedded.soft,
            options=options,
        )

    def encode_text(self, labels: Sequence[str], options: SegmenterOptions | None = None) -> torch.Tensor:
        """(K, D) unit rows of words, in the options' templates, cached by the encoder."""
        options = self.options if options is None else options
        words = list(labels)
        return self._with_memory(lambda _: self.clip.encode_text(words, options.templates), 2)

    def warm_up(self) -> None:
        """Runs the networks once on a blank region and the background words, so the first frame is quick."""
        side = self.clip.size
        blank = torch.zeros(1, 3, side, side, device=self.device)
        all_of_it = torch.ones(1, 1, side, side, device=self.device)
        self._with_memory(lambda batch: encode_views(self.clip, [(blank, all_of_it)], batch), 2)
        words = ("thing", self.options.others, *self.options.background)
        self.encode_text([word for word in words if word])

    def _probabilities(
        self,
        embedded: EmbeddedFrame,
        text: torch.Tensor,
        background: torch.Tensor | None,
        options: SegmenterOptions,
    ) -> torch.Tensor:
        """(N, K) by the chosen classifier, on the text's device."""
        if len(embedded) == 0 or text.shape[0] == 0:
            return torch.zeros((len(embedded), text.shape[0]), device=text.device)
        key = embedded.embedding_key
        if key is not None and key[:2] != options.embedding_key[:2]:
            raise InvalidInputError(
                f"this frame was not embedded for the classifier {options.classifier!r}: embed it again"
            )
        p_clip = mask_probabilities(
            embedded.embeddings.to(text.device),
            text,
            logit_scale=self.clip.logit_scale,
            non_object=background,
        )
        if not options.uses_generator:
            return p_clip
        own = embedded.class_embeddings
        if own is None:
            raise ConfigError(
                f"classifier {options.classifier!r} wants class embeddings, these masks have none: members "
                "of a union that were trained apart cannot be compared; take the classifier clip"
            )
        if own.shape[1] != text.shape[1]:
            raise ConfigError(
                f"want class embeddings as wide as the text's {text.shape[1]}, got {own.shape[1]}: generator "
                "and CLIP are not of one pair (Swin-B goes with ViT-L/14, R101c with ViT-B/16)"
            )
        rivals = [rows.to(text) for rows in (background, embedded.non_object) if rows is not None]
        p_maskformer = mask_probabilities(
            F.normalize(own.to(text), dim=-1), text, non_object=torch.cat(rivals) if rivals else None
        )
        if not options.uses_clip:
            return p_maskformer
        return ensemble(p_maskformer, p_clip, options.clip_weight, embedded.seen.to(text.device))

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
        if len(rows) == 0 and len(vocabulary) == 1 and options.others:
            rows = self.encode_text((options.others,), options)
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


def _worth_looking_at(proposals: Proposals, options: SegmenterOptions) -> tuple[Proposals, torch.Tensor]:
    """The masks that stay, at most `max_masks`, in their order; and (N,) bool which of them CLIP may see.

    Where CLIP alone names masks, those too small are dropped. Where the generator has a say, an empty mask
    stays, as in the paper: its soft values still count in the soft semantic map.
    """
    # Counted in NumPy where that is possible: ten times faster than a sum over bool, and in one thread.
    on_cpu = proposals.masks.device.type == "cpu"
    areas = [
        np.count_nonzero(mask.numpy()) if on_cpu else int(mask.count_nonzero()) for mask in proposals.masks
    ]
    large = torch.tensor([area >= options.min_mask_pixels for area in areas], dtype=torch.bool)
    candidates = torch.arange(len(large)) if options.uses_generator else large.nonzero()[:, 0]
    scores = proposals.scores.cpu()
    best = scores[candidates].argsort(descending=True, stable=True)[: options.max_masks]
    kept = candidates[best].sort().values
    return proposals.take(kept.to(proposals.masks.device)), large[kept]


def _thresholds(vocabulary: Vocabulary, default: float) -> torch.Tensor:
    """(K,) the labels' own thresholds, or the default."""
    return torch.tensor(
        [default if label.threshold is None else label.threshold for label in vocabulary.labels],
        dtype=torch.float32,
    )
