"""Frames with known truth, embedded once, and the questions that are asked about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.maps import mask_iou
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.trust import TrustModel

SAME_THING = 0.5
"""From this IoU on a mask is the object."""

NEAREST = 20
"""Absent words are drawn from so many that lie nearest to a present one, as well as from all."""


@dataclass(frozen=True)
class TrueFrame:
    """A frame and what is on it.

    Attributes:
        frame: the input.
        masks: (M, H, W) bool of the true objects; all that one of `words` could be said of.
        names: M sets of words, each of which is right.
        words: that were looked for when the truth was made, shown or not: those of no object are absent.
    """

    frame: Frame
    masks: npt.NDArray[np.bool_]
    names: tuple[frozenset[str], ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class SeenFrame:
    """What an encoder made of a `TrueFrame`.

    Attributes:
        embeddings: (N, D) float32 unit rows of N proposed masks.
        mask_scores: (N,) in [0, 1], their own.
        right: N sets of words that are right, empty for a mask of nothing known.
        present: words of the objects in view.
        words: see `TrueFrame`.
    """

    embeddings: torch.Tensor
    mask_scores: torch.Tensor
    right: tuple[frozenset[str], ...]
    present: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """Words that are asked together of one frame. `kind`: of question, each of which counts the same."""

    kind: str
    words: tuple[str, ...]


def look(segmenter: OpenVocabularySegmenter, frames: Iterable[TrueFrame]) -> list[SeenFrame]:
    """Embeds every frame once."""
    seen = []
    for one in frames:
        embedded = segmenter.embed(one.frame)
        iou = mask_iou(embedded.masks, torch.from_numpy(one.masks))  # (N,M)
        right: list[frozenset[str]] = []
        for row in iou:
            best = int(row.argmax()) if len(row) else -1
            right.append(one.names[best] if best >= 0 and row[best] >= SAME_THING else frozenset())
        own = dict.fromkeys(word for word in one.words if any(word in names for names in one.names))
        seen.append(
            SeenFrame(embedded.embeddings.cpu(), embedded.mask_scores, tuple(right), tuple(own), one.words)
        )
    return seen


def questions(
    seen: SeenFrame, trust: TrustModel, nearest: Sequence[str], rng: np.random.Generator
) -> list[Question]:
    """What is asked of one frame: all words, any two, present and absent ones alone and one to one.

    Args:
        seen: the frame.
        trust: its meanings say what is absent; its rivals are absent words too.
        nearest: words that lie near to those of the frame's set, see `near_words`.
        rng: source of randomness.
    """
    known = set().union(*seen.right, seen.present)
    absent = [word for word in seen.words if word not in seen.present]
    # What the truth does not speak of: a word that can mean the same as one in view might be right.
    strange = [
        word
        for word in dict.fromkeys(
            (*nearest, *rng.choice(trust.rivals, min(40, len(trust.rivals)), False).tolist())
        )
        if not any(trust.meanings.same(word, other) for other in known)
    ]
    rng.shuffle(strange)
    count = len(seen.present)
    asked = [Question("all", seen.words)] if len(seen.words) <= 40 else []
    asked += [
        Question("two", tuple(rng.choice(seen.words, 2, replace=False).tolist()))
        for _ in range(count if len(seen.words) > 1 else 0)
    ]
    few = rng.permutation(absent)[:count].tolist()
    asked += [Question("even", (*seen.present, *few))] if few and count else []
    asked += [Question("alone", (word,)) for word in (*seen.present, *few)]
    asked += [Question("absent", (word,)) for word in strange[: max(count, 1)]]
    return asked


def near_words(
    words: Sequence[str], trust: TrustModel, text: torch.Tensor, rivals: torch.Tensor
) -> tuple[str, ...]:
    """Of each word the rivals that lie nearest to it but do not mean the same.

    Args:
        words: K of them.
        trust: rivals and meanings.
        text: (K, D) unit rows of the words.
        rivals: (R, D) unit rows of the model's rivals.
    """
    order = (text @ rivals.T).argsort(dim=1, descending=True)
    near: list[str] = []
    for word, row in zip(words, order.tolist(), strict=True):
        others = (trust.rivals[i] for i in row if not trust.meanings.same(word, trust.rivals[i]))
        near += [rival for _, rival in zip(range(NEAREST), others, strict=False)]
    return tuple(dict.fromkeys(near))
