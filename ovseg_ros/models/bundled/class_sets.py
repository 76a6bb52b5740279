"""Words as soft sets of ImageNet's classes: by WordNet where it knows them, by likeness of names always.

    w(word) = (1 − λ) · e / Σe + λ · s / Σs,    s_c = exp((cos_c − max cos) / τ)

e_c is 1 for the classes that the word's commonest sense with any class means (its own synset or one below:
"dog" has 118), 1/2 for those of the next such sense, and so on; cos_c is the cosine between the word and the
likest of the class's names. A word that WordNet does not place above any class has s alone: no word is empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from ovseg_ros.errors import WeightsError

TAIL = 0.2
"""λ: the part of a word's weight that goes by likeness alone. docs/lite.md has what these were chosen by."""

TEMPERATURE = 0.05
"""τ, of cosines."""

CURE = "restore imagenet_words.json from the repository or reinstall ovseg_ros"


class ClassSets:
    """Which classes words mean."""

    def __init__(
        self,
        words: Mapping[str, Sequence[Sequence[int]]],
        names: Sequence[Sequence[str]],
        name_rows: torch.Tensor,
        *,
        tail: float = TAIL,
        temperature: float = TEMPERATURE,
    ) -> None:
        """Keeps the tables.

        Args:
            words: per word and sense the classes it means, see `read_words`.
            names: C lists of names, each with at least one.
            name_rows: (M, D) unit rows, the embeddings of all names in order.
            tail: λ, in (0, 1].
            temperature: τ, above 0.
        """
        self.words = words
        self.count = len(names)
        self.tail, self.temperature = tail, temperature
        self._rows = name_rows
        self._owner = torch.tensor([number for number, row in enumerate(names) for _ in row])  # (M,)

    def weights(self, labels: Sequence[str], rows: torch.Tensor) -> torch.Tensor:
        """What labels mean.

        Args:
            labels: K words or phrases.
            rows: (K, D) unit rows, their embeddings, on the CPU.

        Returns:
            (K, C) float32 that sum to 1, none below 0.
        """
        cosines = rows @ self._rows.T  # (K,M)
        likest = torch.full((len(labels), self.count), -1.0)
        likest.scatter_reduce_(1, self._owner.expand(len(labels), -1), cosines, "amax")  # (K,C)
        soft = ((likest - likest.amax(dim=1, keepdim=True)) / self.temperature).exp()
        soft = soft / soft.sum(dim=1, keepdim=True)
        known = [self._exact(label) for label in labels]
        return torch.stack(
            [
                row if exact is None else (1 - self.tail) * exact + self.tail * row
                for row, exact in zip(soft, known, strict=True)
            ]
        )

    def class_rows(self) -> torch.Tensor:
        """(C, D) unit rows: of each class the mean of its names' embeddings."""
        sums = torch.zeros(self.count, self._rows.shape[1]).index_add_(0, self._owner, self._rows)
        return F.normalize(sums, dim=-1)

    def _exact(self, label: str) -> torch.Tensor | None:
        """(C,) weights that sum to 1 by WordNet; None where it places the label above no class."""
        senses = self.words.get(" ".join(label.lower().split()))
        if senses is None:
            return None
        weights, share = torch.zeros(self.count), 1.0
        for classes in senses:
            if classes:
                weights[list(classes)] = weights[list(classes)].clamp(min=share)
                share /= 2
        return weights / weights.sum()


def read_words(path: Path) -> dict[str, list[list[int]]]:
    """The table that `ovseg_ros.learn.names.class_sets` writes.

    Raises:
        WeightsError: missing or damaged; names the cure.
    """
    try:
        words: dict[str, list[list[int]]] = json.loads(path.read_text(encoding="utf-8"))["words"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"expected ImageNet's words in {path}: {error!r}; {CURE}") from error
    return words


def unit_rows(features: torch.Tensor) -> torch.Tensor:
    """(K, D) of any length -> unit rows, float32 on the CPU."""
    return F.normalize(features.detach().float().cpu(), dim=-1)
