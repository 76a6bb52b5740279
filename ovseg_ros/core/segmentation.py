"""What is known about one frame once words were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.classify import label_thresholds, name_masks
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.maps import LabelMap, box_slices, label_map, paint_instances
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.runners_up import RunnersUp, find_runners_up
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.core.words import UNLABELLED_ID, Vocabulary
from ovseg_ros.errors import InvalidInputError


@dataclass(frozen=True)
class Segmentation:
    """An embedded frame under one vocabulary. All tensors that it gives are on the CPU.

    Attributes:
        embedded: the frame, its N masks, which may overlap, and their embeddings.
        vocabulary: the words, with the version that produced this.
        probs: (N, K) float32 in [0, 1]; rows sum to 1 less what went to background words, and to less still
            in an ensemble. Where the generator's scores are absolute each word stands by itself.
        options: how it was labelled.
        similarities: (N, K) float32 cosines of masks and labels, None where they were not kept.
        timings: seconds per stage, those of embedding and those of labelling.
        runners_up: what came second for each mask among all that competed; None: among the labels alone,
            found by `probs`.
        remarks: N sentences, each why a mask did not get a word it looks like, "" where there is nothing to
            say: it is a mug, but white where a red one was asked for.

    Raises:
        InvalidInputError: runners-up or remarks of another number of masks.
    """

    embedded: EmbeddedFrame
    vocabulary: Vocabulary
    probs: torch.Tensor
    options: SegmenterOptions = field(default_factory=SegmenterOptions)
    similarities: torch.Tensor | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    runners_up: RunnersUp | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.remarks:
            object.__setattr__(self, "remarks", ("",) * len(self))
        second = len(self) if self.runners_up is None else len(self.runners_up)
        if (len(self.remarks), second) != (len(self), len(self)):
            raise InvalidInputError(
                f"expected runners-up and remarks of {len(self)} masks, got {second} and {len(self.remarks)}"
            )

    def __len__(self) -> int:
        return len(self.embedded)

    def take(self, index: Sequence[int]) -> Segmentation:
        """The same of some of the masks, in the order of their indices."""
        chosen = torch.tensor(list(index), dtype=torch.int64)
        second = self.runners_up
        return replace(
            self,
            embedded=self.embedded.take(chosen),
            probs=self.probs[chosen],
            similarities=None if self.similarities is None else self.similarities[chosen],
            runners_up=second and RunnersUp(tuple(second.names[i] for i in index), second.scores[chosen]),
            remarks=tuple(self.remarks[i] for i in index),
        )

    @property
    def frame(self) -> Frame:
        """The input."""
        return self.embedded.frame

    @property
    def masks(self) -> torch.Tensor:
        """(N, H, W) bool, N >= 0; may overlap."""
        return self.embedded.masks

    @property
    def mask_scores(self) -> torch.Tensor:
        """(N,) float32 in [0, 1], how sure the proposer is."""
        return self.embedded.mask_scores

    @property
    def soft(self) -> SoftMasks | None:
        """The N masks before the threshold, None from generators that have none."""
        return self.embedded.soft

    @property
    def track_ids(self) -> torch.Tensor:
        """(N,) int64, the same for the same thing from frame to frame, 0 for a mask that is not tracked."""
        return self.embedded.track_ids

    @property
    def boxes_xyxy(self) -> torch.Tensor:
        """(N, 4) int64, the tight box of each mask, the last two exclusive, zeros for an empty mask."""
        return self.embedded.boxes_xyxy

    @cached_property
    def embeddings(self) -> torch.Tensor:
        """(N, D) float32 unit rows; zeros for masks CLIP has not seen."""
        return self.embedded.embeddings.cpu()

    @cached_property
    def label_index(self) -> torch.Tensor:
        """(N,) int64 into `vocabulary.labels`, -1 for none."""
        return self._named[0]

    @cached_property
    def label_ids(self) -> torch.Tensor:
        """(N,) uint8, the labels' ids, 255 for none."""
        return torch.tensor([*self.vocabulary.ids, UNLABELLED_ID], dtype=torch.uint8)[self.label_index]

    @cached_property
    def scores(self) -> torch.Tensor:
        """(N,) float32, probability of each mask's best label, labelled or not."""
        return self._named[1]

    @property
    def runner_up(self) -> tuple[str, ...]:
        """N words, each what fits the mask second best, asked for or not; "" where nothing competed."""
        return self._second.names

    @property
    def runner_up_score(self) -> torch.Tensor:
        """(N,) float32 in [0, 1], probability of each runner-up, 0 where nothing competed."""
        return self._second.scores

    @cached_property
    def margin(self) -> torch.Tensor:
        """(N,) float32, `scores` less `runner_up_score`; below 0 where what nobody asked for fits better."""
        return self.scores - self._second.scores

    @cached_property
    def _second(self) -> RunnersUp:
        if self.runners_up is not None:
            return self.runners_up
        return find_runners_up(self.probs, self.vocabulary.names)

    @cached_property
    def _named(self) -> tuple[torch.Tensor, torch.Tensor]:
        """See `name_masks`."""
        thresholds = label_thresholds(self.vocabulary, self.options)
        return name_masks(self.embedded, self.probs, thresholds, self.options)

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
        """(H, W) uint8 label ids, 255 where nothing is painted, and (H, W) float32 confidence in [0, 1].

        See `compose.label_map` for what `options.semantic` and `options.granularity` change.
        """
        return self.label_image(), self._label_map.confidence

    def label_image(self) -> npt.NDArray[np.uint8]:
        """(H, W) uint8: the labels of `semantic`, without the price of the confidence."""
        labels: npt.NDArray[np.uint8] = self._label_map.labels  # type: ignore[assignment]  # of bytes, as ids
        return labels

    def confidence_bytes(self) -> npt.NDArray[np.uint8]:
        """(H, W) uint8: the confidence of `semantic`, 0 to 255 for 0 to 1, without the price of floats."""
        return self._label_map.confidence_bytes()

    @cached_property
    def _label_map(self) -> LabelMap:
        ids = np.array(self.vocabulary.ids, np.uint8)
        return label_map(
            self.masks, self.soft, self.boxes_xyxy, self.probs, self.label_index, ids, self.options
        )

    def instances(self) -> npt.NDArray[np.uint16]:
        """(H, W) uint16: 0 for none, i + 1 for mask i, labelled or not.

        Where masks overlap the more probable wins, labelled ones before the rest.
        """
        priority = self.scores + 2 * (self.label_index >= 0)
        return paint_instances(self.masks.numpy(), priority.numpy(), box_slices(self.boxes_xyxy.tolist()))

    def _column(self, name: str) -> int:
        column = self.vocabulary.index(name)
        if column is None:
            raise InvalidInputError(f"{name!r} is not in the vocabulary {list(self.vocabulary.names)}")
        return column
