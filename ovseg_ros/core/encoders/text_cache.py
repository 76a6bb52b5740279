"""A bounded cache of text embeddings, shared by every encoder."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ovseg_ros.core.device import check_finite
from ovseg_ros.errors import InvalidInputError

SENTENCES_AT_ONCE = 256
"""That the text tower is given, at most."""

TextEncoder = Callable[[list[str]], torch.Tensor]


class TextCache:
    """Remembers the embedding of each (label, templates) pair, the least recently used going first.

    Rows are kept in float32 on the CPU, so the cache survives a change of device and holds no GPU memory.
    Safe to use from several threads; two threads that miss the same word both encode it, and agree.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._capacity = capacity
        self._rows: OrderedDict[tuple[str, tuple[str, ...]], torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def encode(
        self,
        labels: Sequence[str],
        templates: Sequence[str],
        encode: TextEncoder,
    ) -> torch.Tensor:
        """Embeds labels, encoding only those not seen before.

        Per label: every template filled in, "_" as a blank, each embedding normalised, averaged, normalised.

        Args:
            labels: K words or phrases.
            templates: sentences with one `{}` each.
            encode: list of M sentences -> (M, D), of any length and on any device; it is given
                `SENTENCES_AT_ONCE` at most, but all those around a word at once.

        Returns:
            (K, D) float32 unit rows on the CPU; (0, 0) for no labels.

        Raises:
            InvalidInputError: no template, one without `{}`, or a list given as one string.
            NotFiniteError: the tower gave NaN or infinity; no word of this call is kept then.
        """
        if isinstance(labels, str) or isinstance(templates, str):
            raise InvalidInputError("expected lists of labels and of templates, got a single string")
        if not templates or any("{}" not in template for template in templates):
            raise InvalidInputError(f"expected templates with {{}} in each, got {list(templates)}")
        if not labels:
            return torch.zeros((0, 0))
        sentences = tuple(templates)
        found = self._lookup(labels, sentences)
        missing = [label for label in dict.fromkeys(labels) if label not in found]
        if missing:
            # As texts have them: data sets write "mouse_(computer_equipment)"
            spoken = [label.replace("_", " ") for label in missing]
            filled = [template.replace("{}", label) for label in spoken for template in sentences]
            step = max(SENTENCES_AT_ONCE // len(sentences), 1) * len(sentences)
            parts = [encode(filled[i : i + step]) for i in range(0, len(filled), step)]
            rows = F.normalize(torch.cat([part.detach().float().cpu() for part in parts]), dim=-1)
            check_finite(rows, f"the embeddings of {len(missing)} words, {missing[0]!r} the first")
            rows = rows.reshape(len(missing), len(sentences), -1).mean(dim=1)  # (M,T,D) -> (M,D)
            found.update(zip(missing, F.normalize(rows, dim=-1), strict=True))
            with self._lock:
                self._rows.update({(label, sentences): found[label].clone() for label in missing})
                while len(self._rows) > self._capacity:
                    self._rows.popitem(last=False)
        return torch.stack([found[label] for label in labels])

    def clear(self) -> None:
        """Forgets everything; call it after the text tower's weights have changed."""
        with self._lock:
            self._rows.clear()

    def _lookup(self, labels: Sequence[str], templates: tuple[str, ...]) -> dict[str, torch.Tensor]:
        found = {}
        with self._lock:
            for label in labels:
                row = self._rows.get((label, templates))
                if row is not None:
                    self._rows.move_to_end((label, templates))
                    found[label] = row
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"_capacity": self._capacity}  # a copy starts empty: locks cannot be copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_capacity"])  # type: ignore[misc]
