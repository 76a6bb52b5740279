"""How well pairs are told apart that were not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ovseg_ros.core.encoders import MaskPromptedClip
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.learn.pairs.index import PairIndex, UnreadablePair
from ovseg_ros.learn.training.augment_pairs import Augment
from ovseg_ros.learn.training.data import PairBatch, PairDataset, load_batches

_BATCH = 64


class HeldOut:
    """Pairs to measure on, the same in the same order every time.

    Args:
        index: the pairs.
        size: the encoder's input side.
        limit: at most so many, spread evenly.
        view: how they are shown, the same each time: nothing in it is left to chance.
        rank: measures each `ranks`-th pair, beginning here.
        ranks: processes that measure together.

    Attributes:
        nouns: the classes: every noun of the pairs, sorted.
        skipped: name -> reason of pairs that cannot be read.
    """

    def __init__(
        self, index: PairIndex, size: int, *, limit: int, view: Augment, rank: int = 0, ranks: int = 1
    ) -> None:
        """See the class.

        Raises:
            InvalidInputError: not one pair that can be read.
        """
        if len(index) > limit:
            index = index.take(np.linspace(0, len(index) - 1, limit).round().astype(int))
        self.skipped: dict[str, str] = {}
        found: dict[int, str] = {}
        for i in range(len(index)):
            try:
                found[i] = index.read(i).noun
            except UnreadablePair as problem:
                self.skipped[problem.name] = problem.reason
        if not found:
            raise InvalidInputError(
                f"expected pairs to measure on in {index.folder}, none of {len(index)} can be read; "
                "give a held-out data set, a larger share, or 0 for none"
            )
        self.nouns = sorted(set(found.values()))
        self.count = len(found)
        self._data = PairDataset(index, size, view)
        self._mine = list(found)[rank::ranks]

    @torch.no_grad()
    def sums(
        self,
        clip: MaskPromptedClip,
        templates: Sequence[str],
        *,
        use_masks: bool,
        workers: int = 0,
    ) -> torch.Tensor:
        """(3,) float64: this process's pairs, those nearest to their own noun, sum of cosines to it."""
        rows = clip.encode_text(self.nouns, templates)  # (K, D)
        place = {noun: k for k, noun in enumerate(self.nouns)}
        sums = torch.zeros(3, dtype=torch.float64)
        keys = [[(0, i) for i in self._mine[k : k + _BATCH]] for k in range(0, len(self._mine), _BATCH)]
        for part in load_batches(self._data, keys, workers, keep_workers=False):
            assert isinstance(part, PairBatch)
            cosines = clip.encode_regions(part.pixels, part.masks if use_masks else None) @ rows.T
            truth = torch.tensor([place[noun] for noun in part.nouns], device=cosines.device)
            own = cosines.gather(1, truth[:, None])
            right = (cosines.argmax(dim=1) == truth).sum()
            sums += torch.tensor([len(truth), right.item(), own.double().sum().item()])
        return sums
