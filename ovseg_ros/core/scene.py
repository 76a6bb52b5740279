"""Things found anew for each word: frames whose masks are not known before the words are."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from ovseg_ros.core.classify import label_thresholds
from ovseg_ros.core.colours import fit_colours
from ovseg_ros.core.device import PROPOSE_LESS, check_finite, retry_on_oom
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions import mask_boxes
from ovseg_ros.core.runners_up import find_runners_up
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import InvalidInputError


@dataclass(frozen=True)
class Found:
    """What some words found in a frame, each thing once; all on the CPU.

    Attributes:
        masks: (N, H, W) bool.
        probs: (N, K) float32 in [0, 1], absolute: each word by itself.
        scores: (N,) float32 in [0, 1], how sure the network is that the mask is one thing.
        looks: (N, D) float32, what the mask looks like, whatever it was found by.
        track_ids: (N,) int64, see `EmbeddedFrame`; None where nothing is followed.
    """

    masks: torch.Tensor
    probs: torch.Tensor
    scores: torch.Tensor
    looks: torch.Tensor
    track_ids: torch.Tensor | None = None

    def take(self, index: torch.Tensor) -> Found:
        """Some of the masks, by (M,) int64 index."""
        ids = None if self.track_ids is None else self.track_ids[index]
        return Found(self.masks[index], self.probs[index], self.scores[index], self.looks[index], ids)


class Scene(Protocol):
    """What a network keeps of one image, so that a word costs its head alone."""

    def find(self, words: Sequence[str], encoder: Any) -> Found:
        """Looks for K words; `encoder` is the one that reads them, of the same network."""
        ...


@dataclass(frozen=True)
class SettledScene:
    """A scene whose masks stay, whatever is asked: those of words that are known beforehand.

    Attributes:
        words: W words.
        found: what they found.
    """

    words: tuple[str, ...]
    found: Found

    def find(self, words: Sequence[str], encoder: Any) -> Found:
        """The same masks with the columns of K of the words.

        Raises:
            InvalidInputError: another word: what it would find is not known.
        """
        others = [word for word in words if word not in self.words]
        if others:
            raise InvalidInputError(
                f"expected words that the masks were found by, got {others}: embed it again"
            )
        columns = torch.tensor([self.words.index(word) for word in words], dtype=torch.int64)
        return dataclasses.replace(self.found, probs=self.found.probs[:, columns])


def label_by_scene(
    embedded: EmbeddedFrame,
    vocabulary: Vocabulary,
    options: SegmenterOptions,
    encoder: Any,
    device: torch.device,
) -> Segmentation:
    """What the words of a vocabulary find in a frame that has a scene.

    Args:
        embedded: with a scene; it may have no masks yet.
        vocabulary: the words; none finds nothing.
        options: `threshold`, `max_masks`, `min_mask_pixels` and `colour_check` count.
        encoder: reads the words.
        device: where this is computed, for messages.

    Returns:
        The masks that were found, each with its words; timings gain "classify" in seconds, "text" among it.

    Raises:
        NotFiniteError: a probability is NaN or infinite.
        OutOfMemoryError: it does not fit.
    """
    start = time.perf_counter()
    seen = settled(embedded, vocabulary.names, options, encoder, device)
    assert isinstance(seen.scene, SettledScene), "as it was made"
    thresholds = label_thresholds(vocabulary, options)
    probs, remarks = fit_colours(
        seen.frame, seen.masks, seen.scene.found.probs, vocabulary.names, options, thresholds
    )
    timings = {**embedded.timings, "text": 0.0, "classify": time.perf_counter() - start}
    second = find_runners_up(probs, vocabulary.names)
    return Segmentation(seen, vocabulary, probs, options, None, timings, second, remarks)


def settled(
    embedded: EmbeddedFrame,
    words: Sequence[str],
    options: SegmenterOptions,
    encoder: Any,
    device: torch.device,
) -> EmbeddedFrame:
    """The frame with the masks that some words find in its scene; as it is where it has none.

    Args:
        embedded: see `label_by_scene`.
        words: any number.
        options: `max_masks` best masks of at least `min_mask_pixels` stay; a settled scene keeps all it has.
        encoder: reads the words.
        device: where this is computed, for messages.

    Raises:
        NotFiniteError, OutOfMemoryError: see `label_by_scene`.
    """
    scene = embedded.scene
    if scene is None:
        return embedded
    start = time.perf_counter()
    found = find_in(scene, words, options, encoder, device)
    count, (boxes_xyxy, filled) = len(found.masks), mask_boxes(found.masks)
    return dataclasses.replace(
        embedded,
        masks=found.masks,
        mask_scores=found.scores,
        embeddings=torch.zeros((count, embedded.embeddings.shape[1]), device=embedded.embeddings.device),
        has_clip_embedding=torch.zeros(count, dtype=torch.bool),
        class_embeddings=found.looks,
        filled=filled,
        boxes_xyxy=boxes_xyxy,
        track_ids=torch.zeros(count, dtype=torch.int64) if found.track_ids is None else found.track_ids,
        timings={**embedded.timings, "find": time.perf_counter() - start},
        scene=SettledScene(tuple(words), found),
    )


def find_in(
    scene: Scene, words: Sequence[str], options: SegmenterOptions, encoder: Any, device: torch.device
) -> Found:
    """What some words find in a scene, of that what stays; see `settled`.

    Raises:
        NotFiniteError, OutOfMemoryError: see `label_by_scene`.
    """
    found = retry_on_oom(
        lambda _: scene.find(words, encoder), 1, device, stage="finding words", hint=PROPOSE_LESS
    )
    check_finite(found.probs, "the masks' probabilities")
    if isinstance(scene, SettledScene):
        return found
    large = (found.masks.flatten(1).sum(dim=1) >= options.min_mask_pixels).nonzero()[:, 0]
    best = found.probs.amax(dim=1) if found.probs.shape[1] else found.scores
    order = best[large].argsort(descending=True, stable=True)[: options.max_masks]
    return found.take(large[order].sort().values)
