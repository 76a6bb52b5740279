"""Our way through a frame, the plain one with the same parts, and whether they agree."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F

from ovseg_ros.app.bench_clock import Stages, Watch
from ovseg_ros.app.bench_naive import NaivePath
from ovseg_ros.core.accelerate import AccelerateOptions, accelerate
from ovseg_ros.core.frame import Frame, Proposer
from ovseg_ros.core.mask_clip import MaskPromptedClip
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmentation import EmbeddedFrame, Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.vocabulary import Vocabulary
from ovseg_ros.errors import ConfigError
from ovseg_ros.evaluate.class_names import ClassList
from ovseg_ros.evaluate.predict import class_probabilities, predicted_map, text_rows

STAGES = ("propose", "crop", "encode", "text", "label", "compose", "convert", "publish")


def naive_of(
    segmenter: OpenVocabularySegmenter,
    *,
    text: Literal["cached", "anew"] = "cached",
    proposer: Proposer | None = None,
) -> NaivePath:
    """The plain way with a segmenter's proposals, weights and words; the weights copied, in float32.

    Raises:
        ConfigError: an encoder that is no CLIP.
    """
    clip = in_32_bits(segmenter.clip)
    if not isinstance(clip, MaskPromptedClip):
        raise ConfigError(
            f"the plain way needs a CLIP to run, got {type(clip).__name__}; take the preset mini, or "
            "one whose encoder is of kind clip"
        )
    prompts = clip.mask_prompts
    return NaivePath(
        segmenter.proposer if proposer is None else proposer,
        copy.deepcopy(clip.clip_model).float(),
        clip.tokenizer,
        size=clip.size,
        logit_scale=segmenter.clip.logit_scale,
        templates=segmenter.options.templates,
        background=segmenter.options.background,
        mask_prompts=None if prompts is None else prompts.detach().clone().float(),
        text=text,
        device=segmenter.device,
    )


def in_32_bits(clip: Any) -> Any:
    """The encoder itself, without what runs its image tower in another way."""
    return getattr(clip, "encoder", clip)


def in_16_bits(clip: Any, device: torch.device, **options: Any) -> Any:
    """The encoder with its image tower in 16 bits; None where the device does not compute in them.

    Unless `check_regions` says so it is not looked whether labels agree: that has a meaning with trained
    weights alone.
    """
    clip = in_32_bits(clip)
    faster = accelerate(
        clip, AccelerateOptions(**{"precision": "auto", "check_regions": 0, **options}), device
    )
    return None if faster is clip else faster


def vocabulary_of(names: Sequence[str]) -> Vocabulary:
    """A vocabulary of at most 255 names.

    Raises:
        ConfigError: names that a vocabulary does not take.
    """
    vocabulary, rejected = Vocabulary.empty().replace(list(names))
    if rejected:
        raise ConfigError(f"not taken as a word: {rejected[0]}")
    return vocabulary


def our_frame(
    segmenter: Any, frame: Frame, vocabulary: Vocabulary, **how: Any
) -> tuple[Segmentation, EmbeddedFrame, Stages]:
    """One frame from pixels to label map, and the seconds of each stage.

    Args:
        segmenter: an OpenVocabularySegmenter, or what stands in for one.
        frame: the image.
        vocabulary: the words.
        how: handed on to `embed`.
    """
    start = time.perf_counter()
    embedded = segmenter.embed(frame, **how)
    embed_s = time.perf_counter() - start
    segmentation = segmenter.label(embedded, vocabulary)
    watch = Watch(segmenter.device)
    segmentation.semantic()
    watch("compose")
    stages = stages_of(segmentation.timings, embed_s)
    return segmentation, embedded, {**stages, **watch.stages}


def stages_of(timings: Any, embed_s: float) -> dict[str, float]:
    """The segmenter's own times under the benchmark's names; what embedding spends elsewhere is "track"."""
    stages = {name: timings.get(name, 0.0) for name in ("propose", "crop", "encode", "text")}
    stages["label"] = timings.get("classify", 0.0)
    other = embed_s - sum(stages[name] for name in ("propose", "crop", "encode"))
    if other > 0.0005:
        stages["track"] = other
    return stages


def our_frame_of_many_words(
    segmenter: OpenVocabularySegmenter, frame: Frame, classes: ClassList, options: SegmenterOptions
) -> Stages:
    """The same for more words than a vocabulary holds, as `ovseg evaluate` labels benchmarks."""
    embedded = segmenter.embed(frame, options)
    watch = Watch(segmenter.device)
    rows = text_rows(segmenter, classes, options)
    watch("text")
    probs = class_probabilities(segmenter, embedded, rows, options)
    watch("label")
    predicted_map(embedded, probs, options)
    watch("compose")
    return {**embedded.timings, **watch.stages}


def cosines(one: torch.Tensor, other: torch.Tensor) -> dict[str, float]:
    """How alike two ways embed the same N > 0 masks: (N, D) against (N, D)."""
    similar = F.cosine_similarity(one.float().cpu(), other.float().cpu(), dim=1)
    return {"mean": float(similar.mean()), "min": float(similar.min())}


def equal_labels(reference: Segmentation, other: Segmentation) -> tuple[int, int]:
    """How many masks of `reference` are labelled alike in `other`, and how many there are.

    A mask's counterpart is the one it overlaps most; one without a counterpart of IoU >= 0.5 is not alike.
    """
    count = len(reference)
    if not count or not len(other):
        return 0, count
    one = reference.masks.flatten(1).float()
    two = other.masks.flatten(1).float()
    both = one @ two.T  # (N,M)
    either = one.sum(dim=1, keepdim=True) + two.sum(dim=1) - both
    iou, partner = (both / either.clamp(min=1)).max(dim=1)
    alike = (reference.label_ids == other.label_ids[partner]) & (iou >= 0.5)
    return int(alike.sum()), count
