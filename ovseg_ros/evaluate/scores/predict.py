"""From an embedded frame to one class per pixel, for any number of classes.

A `Vocabulary` holds 255 words, as many as a label image of bytes can tell apart; benchmarks have up to 847
classes. Here the words are rows of text and the map holds 32-bit indices; what is computed is the product's:
the functions of `core.classify` and `core.maps.compose` behind `OpenVocabularySegmenter.label` and
`Segmentation.semantic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovseg_ros.core.classify import background_rows, name_masks
from ovseg_ros.core.classify import class_probabilities as core_probabilities
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.maps import label_map
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.scene import SettledScene
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError
from ovseg_ros.evaluate.datasets.class_names import ClassList

Names = Literal["first", "average"]
"""A class as its first name, or as the mean of all its names' text embeddings."""


@dataclass(frozen=True)
class TextRows:
    """The words of a data set in a segmenter's space.

    Attributes:
        names: K, the first of each class; what a network is asked that finds masks by words.
        classes: (K, D) unit rows.
        background: (B, D) unit rows that compete but are never reported, B >= 0.
    """

    names: tuple[str, ...]
    classes: torch.Tensor
    background: torch.Tensor


def benchmark_options(options: SegmenterOptions) -> SegmenterOptions:
    """The same chain under the benchmarks' rules: every mask counts and no word competes but the classes."""
    return replace(
        options,
        background=(),
        others="",
        threshold=0.0,
        granularity=0.0,
        semantic="soft",
        min_mask_pixels=1,
        decision="softmax",
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
        raise ConfigError(f"expected names first or average, got {names!r}")
    used = [several if names == "average" else several[:1] for several in classes.synonyms]

    def encode(words: Sequence[str]) -> torch.Tensor:
        return segmenter.encode_text(words, options)

    rows = encode([name for several in used for name in several])  # (all names,D)
    parts = rows.split([len(several) for several in used])
    means = torch.stack(
        [F.normalize(part.mean(dim=0), dim=0) if len(part) > 1 else part[0] for part in parts]
    )
    asked = (name for several in classes.synonyms for name in several)
    first = tuple(several[0] for several in classes.synonyms)
    return TextRows(first, means, background_rows(asked, means, options, encode))


def class_probabilities(
    segmenter: OpenVocabularySegmenter, embedded: EmbeddedFrame, rows: TextRows, options: SegmenterOptions
) -> torch.Tensor:
    """(N, K) float32 on the CPU: each mask's probabilities by the chosen classifier.

    Raises:
        ConfigError: a classifier that needs class embeddings that these masks have not.
        InvalidInputError: the frame was embedded for another classifier.
    """
    segmenter.check(options)
    return core_probabilities(
        embedded, rows.classes, rows.background, options, logit_scale=segmenter.clip.logit_scale
    ).cpu()


def named_map(
    segmenter: OpenVocabularySegmenter, embedded: EmbeddedFrame, rows: TextRows, options: SegmenterOptions
) -> npt.NDArray[np.int32]:
    """`predicted_map` of the `class_probabilities`; see these for what is raised."""
    if embedded.scene is not None:
        embedded = segmenter.settled(embedded, rows.names, options)
        assert isinstance(embedded.scene, SettledScene), "as it was made"
        return predicted_map(embedded, embedded.scene.found.probs, options)
    return predicted_map(embedded, class_probabilities(segmenter, embedded, rows, options), options)


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
    count = probs.shape[1]
    index, _ = name_masks(embedded, probs, torch.full((count,), options.threshold), options)
    found = label_map(
        embedded.masks,
        embedded.soft,
        embedded.boxes_xyxy,
        probs,
        index,
        np.arange(count, dtype=np.int32),
        options,
    )
    result: npt.NDArray[np.int32] = found.labels
    return result
