"""What is chosen from, and what was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ovseg_ros.core.space import Object3d

DecidedFrom = Literal["depth", "image", ""]


@dataclass(frozen=True, eq=False)
class Item:
    """One labelled mask of an image.

    Attributes:
        label: the word it has, of those that were looked for.
        score: at least 0; the better of two masks of one word has more of it (`Segmentation.ranking`).
        box_xyxy: the mask's tight box in pixels, the last two exclusive.
        solid: where it is in space, in the camera's optical frame; None where depth does not tell.
        mask: (H, W) bool; None: not to be held against others. Two masks of one word that mostly cover each
            other are one thing, of which the better is kept.
    """

    label: str
    score: float
    box_xyxy: tuple[int, int, int, int]
    solid: Object3d | None = None
    mask: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Choice:
    """What of the items was meant.

    Attributes:
        indices: of the items, the best first; () where nothing fits, or fewer than were asked for.
        count: how many things fit, those included that "two mugs" leaves out.
        decided_from: "depth", "image"; "" where nothing had to be decided: a plain name.
        reason: for people: what was decided and from what, or why there is nothing; "" for a plain name.
    """

    indices: tuple[int, ...]
    count: int
    decided_from: DecidedFrom = ""
    reason: str = ""

    @property
    def found(self) -> bool:
        """Whether what was asked for is there."""
        return bool(self.indices)
