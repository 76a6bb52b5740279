"""From an embedded frame to one class per pixel, for any number of classes.

A `Vocabulary` holds 255 words, as many as a label image of bytes can tell apart; benchmarks have up to 847
classes. Here the words are rows of text and the map holds 32-bit indices; the arithmetic is that of
`OpenVocabularySegmenter.label` and `Segmentation.semantic`, which a test compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovseg_ros.core.classify import ensemble, mask_probabilities, select_background
from ovseg_ros.core.compose import class_map, select_by_granularity
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmentation import EmbeddedFrame
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.evaluate.class_names import ClassList

Names = Literal["first", "average"]
"""A class as its first name, or as the mean of all its names' text embeddings."""

_TEXT_BATCH = 64  # words handed to the text tower at once, so that 847 classes in 14 sentences fit


@dataclass(frozen=True)
class TextRows:
    """The words of a data set in a segmenter's space.

    Attributes:
        classes: (K, D) unit rows.
        background: (B, D) unit rows that compete but are never reported, B >= 0.
    """

    classes: torch.Tensor
    background: torch.Tensor


def benchmark_options(options: SegmenterOptions) -> SegmenterOptions:
    """The same chain under the benchmarks' rules: every mask counts and no word competes but the classes."""
    return replace(
        options, background=(), others="", threshold=0.0, granularity=0.0, semantic="soft", min_mask_pixels=1
    )


def text_rows(
    segmenter: OpenVocabularySegmenter,
    classes: ClassList,
    options: SegmenterOptions,
    names: Names = "first",
) -> TextRows:
    """Encodes the classes and the background words that may compete with them.

    Raises:
        ConfigError: `names` is neither "first" nor "average".
    """
    if names not in ("first", "average"):
        raise ConfigError(f"want names first or average, got {names!r}")
    used = [several if names == "average" else several[:1] for several in classes.synonyms]
    rows = _encode(segmenter, [name for several in used for name in several], options)  # (all names,D)
    parts = rows.split([len(several) for several in used])
    means = torch.stack(
        [F.normalize(part.mean(dim=0), dim=0) if len(part) > 1 else part[0] for part in parts]
    )
    return TextRows(means, _background(segmenter, classes, means, options))


def class_probabilities(
    segmenter: OpenVocabularySegmenter, embedded: EmbeddedFrame, rows: TextRows, options: SegmenterOptions
) -> torch.Tensor:
    """(N, K) float32 on the CPU: each mask's probabilities by the chosen classifier.

    Raises:
        ConfigError: a classifier that needs class embeddings that these masks have not.
        InvalidInputError: the frame was embedded for another classifier.
    """
    segmenter.check(options)
    text = rows.classes
    key = embedded.embedding_key
    if key is not None and key[:2] != options.embedding_key[:2]:
        raise InvalidInputError(f"the frame was not embedded for the classifier {options.classifier!r}")
    p_clip = mask_probabilities(
        embedded.embeddings.to(text.device),
        text,
        logit_scale=segmenter.clip.logit_scale,
        non_object=rows.background,
    )
    if not options.uses_generator:
        return p_clip.cpu()
    own = embedded.class_embeddings
    if own is None or own.shape[1] != text.shape[1]:
        raise ConfigError(
            f"classifier {options.classifier!r} wants class embeddings of the text's width {text.shape[1]}, "
            f"got {None if own is None else own.shape[1]}; take the classifier clip"
        )
    rivals = rows.background
    if embedded.non_object is not None:
        rivals = torch.cat([rivals, embedded.non_object.to(text)])
    p_maskformer = mask_probabilities(F.normalize(own.to(text), dim=-1), text, non_object=rivals)
    if not options.uses_clip:
        return p_maskformer.cpu()
    valid = embedded.has_clip_embedding.to(text.device)
    return ensemble(p_maskformer, p_clip, options.clip_weight, valid).cpu()


def predicted_map(
    embedded: EmbeddedFrame, probs: torch.Tensor, options: SegmenterOptions
) -> npt.NDArray[np.int32]:
    """(H, W) int32 class index per pixel, -1 where nothing is painted.

    "binary": masks whose best class reaches the threshold, whole; "soft": every mask by its soft values, or
    by its pixels where it has none. Both without the masks that `granularity` leaves out.

    Args:
        embedded: the masks.
        probs: (N, K) on the CPU.
        options: `semantic`, `threshold` and `granularity` count.
    """
    kept = torch.ones(len(embedded), dtype=torch.bool)
    if options.granularity > 0:
        kept = select_by_granularity(probs, options.granularity)
    if options.semantic == "soft":
        soft = None if embedded.soft is None else embedded.soft.take(kept)
        masks = embedded.masks[kept] if soft is None else soft.probabilities(embedded.frame.size_hw)
    else:
        best = probs.max(dim=1).values if probs.shape[1] else torch.zeros(len(probs))
        kept = kept & (best >= options.threshold)
        masks = embedded.masks[kept]
    winners, _ = class_map(masks, probs[kept])
    result: npt.NDArray[np.int32] = winners.numpy()
    return result


def _background(
    segmenter: OpenVocabularySegmenter, classes: ClassList, text: torch.Tensor, options: SegmenterOptions
) -> torch.Tensor:
    """(B, D) as `OpenVocabularySegmenter.label` chooses them."""
    asked = {name.casefold() for several in classes.synonyms for name in several}
    rows = _encode(segmenter, [w for w in options.background if w.casefold() not in asked], options)
    rows = rows.to(text).reshape(-1, text.shape[1])
    rows = rows[select_background(text, rows, options.background_max_similarity)]
    if len(rows) == 0 and len(classes) == 1 and options.others:
        rows = _encode(segmenter, [options.others], options).to(text)
    return rows


def _encode(
    segmenter: OpenVocabularySegmenter, words: Sequence[str], options: SegmenterOptions
) -> torch.Tensor:
    batches = [words[i : i + _TEXT_BATCH] for i in range(0, len(words), _TEXT_BATCH)]
    rows = [segmenter.encode_text(batch, options) for batch in batches]
    return torch.cat(rows) if rows else torch.zeros((0, segmenter.clip.embedding_dim))
