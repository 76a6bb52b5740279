"""What things looked like: a few different embeddings of each, enough to tell them apart later."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

_MOST_LOOKS = 16
_MOST_THINGS = 64
_NOTHING_NEW = 0.99  # cosine from which a look says nothing that is not known


class Looks:
    """A few looks of one thing, as different from each other as they came."""

    def __init__(self) -> None:
        """Without any."""
        self._rows: FloatArray | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return self._rows is None

    def add(self, row: FloatArray) -> None:
        """Takes a look, (D,) unit; of too many, the later of the two most alike goes, never the first."""
        if self._rows is None:
            self._rows = row[None].astype(np.float32)
            return
        if self.likeness(row[None])[0] >= _NOTHING_NEW:
            return
        self._rows = np.concatenate([self._rows, row[None].astype(np.float32)])  # (V,D)
        if len(self._rows) > _MOST_LOOKS:
            alike = np.tril(self._rows @ self._rows.T, -1) - np.triu(np.full((len(self._rows),) * 2, 2.0))
            self._rows = np.delete(self._rows, alike.max(axis=1).argmax(), axis=0)

    def likeness(self, rows: FloatArray) -> FloatArray:
        """(N,) cosine of each of (N, D) unit rows with the look that is most like it; -1 without looks."""
        if self._rows is None or not len(rows):
            return np.full(len(rows), -1, np.float32)
        return np.asarray((rows @ self._rows.T).max(axis=1), dtype=np.float32)


class OtherThings:
    """The looks of things that are certainly not the one that is followed, by their tracks."""

    def __init__(self) -> None:
        """Without any."""
        self._looks: OrderedDict[int, Looks] = OrderedDict()

    def add(self, track_id: int, row: FloatArray) -> None:
        """Takes how a thing looks, (D,) unit; of too many the one not seen for longest goes."""
        looks = self._looks.setdefault(track_id, Looks())
        self._looks.move_to_end(track_id)
        looks.add(row)
        while len(self._looks) > _MOST_THINGS:
            self._looks.popitem(last=False)

    def of(self, track_id: int) -> Looks | None:
        """The looks of a track, None where it is not known."""
        return self._looks.get(track_id)

    def likeness(self, rows: FloatArray, *, besides: set[int] | None = None) -> FloatArray:
        """(N,) cosine of each row with the most alike look of any thing but those `besides`; -1 without."""
        best: FloatArray = np.full(len(rows), -1, np.float32)
        for track_id, looks in self._looks.items():
            if track_id not in (besides or ()):
                best = np.maximum(best, looks.likeness(rows))
        return best
