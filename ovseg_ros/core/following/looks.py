"""What things looked like: a few different embeddings and colours of each, to tell them apart later."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.colours import colour_codes, inner, mean_lab
from ovseg_ros.core.maps import BoxedMask

FloatArray = npt.NDArray[np.float32]

_MOST_LOOKS = 16
_MOST_THINGS = 64
_NOTHING_NEW = 0.99  # cosine from which a look says nothing that is not known
_SAME_COLOUR = 5.0  # distance up to which a colour says nothing that is not known
_LIGHTNESS = 0.5  # what a difference in lightness counts: light changes it more than hue and chroma
_MOST_PIXELS = 4096  # of a larger mask each second, third … is looked at


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


class Colours:
    """The mean colours of one thing, as different from each other as they came."""

    def __init__(self) -> None:
        """Without any."""
        self._known: list[FloatArray] = []

    def add(self, colour: FloatArray) -> None:
        """Takes a colour of `colour_of`; of too many the oldest but the first goes."""
        if self.distance(colour) > _SAME_COLOUR:
            self._known = [*self._known[:1], *self._known[1:][-(_MOST_LOOKS - 2) :], colour]

    def distance(self, colour: FloatArray) -> float:
        """To the nearest that is known, in Lab with lightness counted half; infinite without any."""
        return min((float(np.linalg.norm(colour - known)) for known in self._known), default=np.inf)


def colour_of(image_rgb: npt.NDArray[np.uint8], mask: BoxedMask) -> FloatArray:
    """(3,) the mean colour of a mask, not empty, without its rim: Lab with lightness counted half."""
    x0, y0, x1, y1 = mask.box_xyxy
    pixels = image_rgb[y0:y1, x0:x1][inner(mask.crop)]
    lab = mean_lab(colour_codes(pixels[:: len(pixels) // _MOST_PIXELS + 1]))
    return lab * np.array([_LIGHTNESS, 1, 1], np.float32)
