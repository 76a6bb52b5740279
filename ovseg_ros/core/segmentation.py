"""What is known about one frame: before the words (`EmbeddedFrame`) and after (`Segmentation`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.compose import instance_map, label_map
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.vocabulary import Vocabulary
from ovseg_ros.errors import InvalidInputError


@dataclass(frozen=True)
class EmbeddedFrame:
    """Masks of one frame and their embeddings; knows nothing of words.

    Attributes:
        frame: the input.
        masks: (N, H, W) bool on the CPU, N >= 0; may overlap.
        mask_scores: (N,) float32 in [0, 1], how sure the proposer is.
        embeddings: (N, D) float32 unit rows, on the encoder's device.
        timings: seconds per stage.
    """

    frame: Frame
    masks: torch.Tensor
    mask_scores: torch.Tensor
    embeddings: torch.Tensor
    timings: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.masks.shape[0]


@dataclass(frozen=True)
class Segmentation:
    """Everything about one frame under one vocabulary. All tensors are on the CPU.

    Attributes:
        frame: the input.
        vocabulary: the words, with the version that produced this.
        masks: (N, H, W) bool, N >= 0; may overlap.
        mask_scores: (N,) float32 in [0, 1], how sure the proposer is.
        embeddings: (N, D) float32 unit rows.
        probs: (N, K) float32; rows sum to 1 less what went to background words.
        label_index: (N,) int64 into `vocabulary.labels`, -1 for none.
        label_ids: (N,) uint8, the labels' ids, 255 for none.
        scores: (N,) float32, probability of each mask's best label, labelled or not.
        timings: seconds per stage.
        similarities: (N, K) float32 cosines of masks and labels, None where they were not kept.
    """

    frame: Frame
    vocabulary: Vocabulary
    masks: torch.Tensor
    mask_scores: torch.Tensor
    embeddings: torch.Tensor
    probs: torch.Tensor
    label_index: torch.Tensor
    label_ids: torch.Tensor
    scores: torch.Tensor
    timings: Mapping[str, float] = field(default_factory=dict)
    similarities: torch.Tensor | None = None

    def __len__(self) -> int:
        return self.masks.shape[0]

    @property
    def ranking(self) -> torch.Tensor:
        """(N,) similarity to the best label · mask score: the better of two answers has more of it.

        A handle that came apart from its pot looks like a pot too; its mask score tells them apart, as where
        MaskFormer ranks instances. The cosine stands in for the probability because that saturates: asked
        for a "coffee pot", teapot and moka pot both come near 1. Where no similarities were kept, it is
        score · mask score.
        """
        if self.similarities is None or self.probs.shape[1] == 0:
            return self.scores * self.mask_scores
        best = self.probs.argmax(dim=1, keepdim=True)  # (N,1)
        return self.similarities.gather(1, best).squeeze(1).clamp(min=0) * self.mask_scores

    def found(self, name: str) -> list[int]:
        """Indices of the masks labelled `name`, best `ranking` first, the earlier on ties.

        Raises:
            InvalidInputError: the name is not in the vocabulary.
        """
        column = self._column(name)
        order = self.ranking.argsort(descending=True, stable=True)
        return [int(i) for i in order[self.label_index[order] == column]]

    def best(self, name: str) -> tuple[int | None, float]:
        """The mask labelled `name` that ranks first, and its probability.

        Where no mask has the label: None, and the highest probability any mask gives the name (0.0 without
        masks), to tell a near miss from nothing at all.

        Raises:
            InvalidInputError: the name is not in the vocabulary.
        """
        column = self._column(name)
        found = self.found(name)
        if found:
            return found[0], float(self.probs[found[0], column])
        return None, float(self.probs[:, column].max()) if len(self) else 0.0

    def name_of(self, mask: int) -> str:
        """The label of one mask, "" for none."""
        index = int(self.label_index[mask])
        return self.vocabulary.labels[index].name if index >= 0 else ""

    def semantic(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """(H, W) uint8 label ids, 255 where no labelled mask is, and (H, W) float32 confidence in [0, 1]."""
        labelled = self.label_index >= 0
        result = label_map(self.masks[labelled], self.probs[labelled], self.vocabulary.ids)
        return result.labels.numpy(), result.confidence.numpy()

    def instances(self) -> npt.NDArray[np.uint16]:
        """(H, W) uint16: 0 for none, i + 1 for mask i, labelled or not.

        Where masks overlap the more probable wins, labelled ones before the rest.
        """
        priority = self.scores + (self.label_index >= 0)
        numbers: npt.NDArray[np.uint16] = instance_map(self.masks, priority).numpy().astype(np.uint16)
        return numbers

    def _column(self, name: str) -> int:
        column = self.vocabulary.index(name)
        if column is None:
            raise InvalidInputError(f"{name!r} is not in the vocabulary {list(self.vocabulary.names)}")
        return column
