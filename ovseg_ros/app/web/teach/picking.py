"""Which mask a click means, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.memory.teaching import regions_at

NEAR_PX = 6
"""A click no further from the last one means the same place: the next mask there is taken."""
_MARGIN = 0.15
_LEAST_MARGIN_PX = 12
_OUTLINE = (255, 220, 0)


@dataclass(frozen=True)
class Picked:
    """A mask that was clicked at.

    Attributes:
        picture: content of the picture, see `inference.content_hash`.
        at: (column, row) of the click.
        region: index of the mask.
        place: from 0, which of those under the click it is.
        count: how many these are.
        size: (width, height) of its box in pixels.
    """

    picture: str
    at: tuple[int, int]
    region: int
    place: int
    count: int
    size: tuple[int, int]

    @property
    def sentence(self) -> str:
        """For people."""
        more = f"; click there again for the next of {self.count} masks" if self.count > 1 else ""
        return f"mask {self.region + 1}, {self.size[0]} by {self.size[1]} pixels{more}"


def pick(embedded: EmbeddedFrame, picture: str, at: tuple[int, int], before: Picked | None) -> Picked:
    """The mask under a click: the surest to be one thing, at the same place again the next.

    Args:
        embedded: the frame.
        picture: its content.
        at: (column, row) in its pixels.
        before: what was picked last.

    Raises:
        InvalidInputError: no mask is there.
    """
    under = [i for i in regions_at(embedded, *at) if bool(embedded.has_clip_embedding[i])]
    if not under:
        raise InvalidInputError("no mask is there: click on something that has an outline in the overlay")
    place = 0
    if before is not None and before.picture == picture and _is_near(before.at, at):
        place = (before.place + 1) % len(under)
    x0, y0, x1, y1 = embedded.boxes_xyxy[under[place]].tolist()
    return Picked(picture, at, under[place], place, len(under), (x1 - x0, y1 - y0))


def _is_near(one: Sequence[int], other: Sequence[int]) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) <= NEAR_PX


def shown(embedded: EmbeddedFrame, region: int) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8 RGB: a mask and a little around it, which is darker, with its outline."""
    x0, y0, x1, y1 = embedded.boxes_xyxy[region].tolist()
    margin = max(round(_MARGIN * max(x1 - x0, y1 - y0)), _LEAST_MARGIN_PX)
    rows, columns = slice(max(y0 - margin, 0), y1 + margin), slice(max(x0 - margin, 0), x1 + margin)
    picture = embedded.frame.image_rgb[rows, columns].copy()
    mask = embedded.masks[region].numpy()[rows, columns]
    picture[~mask] = picture[~mask] // 3
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, _OUTLINE, 1)
    return picture
