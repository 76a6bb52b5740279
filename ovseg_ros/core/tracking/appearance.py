"""What an encoder would see of a mask, very small: enough to tell whether it would say the same again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.maps import BoxedMask
from ovseg_ros.errors import ConfigError

SIDE = 16  # pixels of a thumbnail's side
_ENOUGH = 4 * SIDE  # pixels of a side that are averaged; a larger box is thinned out first
_DARK = 4.0  # grey levels of mean brightness below which no gain is fitted

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ChangeLimits:
    """From where on a region has changed since it was encoded; any one limit is enough.

    Attributes:
        levels: root mean square of the colour differences inside the mask, 8-bit levels, on 16 x 16 blurred
            cells, after one gain for all colours is taken out.
        shape: 1 − IoU of the two masks, both squashed to the square, in [0, 1].
        stretch: factor by which the box's aspect ratio may change, at least 1.
        zoom: factor by which the box's side may change, at least 1.
        gain: factor by which the brightness may change, at least 1.
    """

    levels: float = 20.0
    shape: float = 0.3
    stretch: float = 1.5
    zoom: float = 1.8
    gain: float = 1.5

    def __post_init__(self) -> None:
        for name in ("levels", "shape"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"expected {name} above 0, got {getattr(self, name)}")
        for name in ("stretch", "zoom", "gain"):
            if not getattr(self, name) > 1:
                raise ConfigError(f"expected {name} above 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Thumbnails:
    """N masks of one frame as an encoder sees them: their boxes squashed to squares.

    Attributes:
        colours: (N, 16, 16, 3) float32 in [0, 255], averaged over 3 x 3 cells, so that a texture may shift a
            little within its box.
        cover: (N, 16, 16) float32 in [0, 1], share of each cell that belongs to the mask, averaged likewise.
        sides: (N, 2) float32, height and width of the boxes in pixels, at least 1.
    """

    colours: FloatArray
    cover: FloatArray
    sides: FloatArray

    def __len__(self) -> int:
        return self.cover.shape[0]

    def take(self, index: npt.NDArray[np.int64]) -> Thumbnails:
        """Some of them, by (M,) index."""
        return Thumbnails(self.colours[index], self.cover[index], self.sides[index])

    @staticmethod
    def join(parts: Sequence[Thumbnails]) -> Thumbnails:
        """All thumbnails of at least one part, one after another."""
        return Thumbnails(
            *(np.concatenate([getattr(p, k) for p in parts]) for k in ("colours", "cover", "sides"))
        )


def thumbnails_of(image_rgb: npt.NDArray[np.uint8], masks: Sequence[BoxedMask]) -> Thumbnails:
    """Thumbnails of the masks of an image (H, W, 3); an empty mask gives zeros."""
    count = len(masks)
    colours = np.zeros((count, SIDE, SIDE, 3), np.float32)
    cover = np.zeros((count, SIDE, SIDE), np.float32)
    sides = np.ones((count, 2), np.float32)
    for i, mask in enumerate(masks):
        if not mask.area:
            continue
        x0, y0, x1, y1 = mask.box_xyxy
        thin = max(1, (y1 - y0) // _ENOUGH), max(1, (x1 - x0) // _ENOUGH)
        crop = np.ascontiguousarray(image_rgb[y0 : y1 : thin[0], x0 : x1 : thin[1]])
        inside = np.ascontiguousarray(mask.crop[:: thin[0], :: thin[1]]).view(np.uint8) * np.uint8(255)
        colours[i] = _small(crop)
        cover[i] = _small(inside)
        sides[i] = mask.crop.shape
    return Thumbnails(colours, cover / np.float32(255), sides)


def _small(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    cells = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.blur(cells, (3, 3)), dtype=np.uint8)


def changes(before: Thumbnails, now: Thumbnails, limits: ChangeLimits) -> FloatArray:
    """How far each of N regions has changed.

    Robust against noise, which the cells average out, and against changes of light, of which one gain for
    all colours is taken out. Where in the image a region is does not matter, nor does it to the encoder.

    Args:
        before: N thumbnails when the regions were encoded.
        now: N thumbnails of the same things.
        limits: what a change is.

    Returns:
        (N,) float32 >= 0, the largest of the five measures, each as a share of its limit: 1 and more means
        changed.
    """
    if not len(now):
        return np.zeros(0, np.float32)
    weight = np.minimum(before.cover, now.cover)  # (N,16,16)
    total = weight.sum(axis=(1, 2))
    some = np.maximum(total, 1e-6)
    a, b = before.colours, now.colours
    aa, ab, bb = (np.einsum("nhwc,nhwc,nhw->n", x, y, weight) for x, y in ((a, a), (a, b), (b, b)))
    dark = aa < 3 * some * _DARK**2
    gain = np.where(dark, 1.0, ab / np.maximum(aa, 1e-6))
    squares = np.maximum(bb - 2 * gain * ab + gain * gain * aa, 0.0) / (3 * some)
    shared, either = total, np.maximum(before.cover, now.cover).sum(axis=(1, 2))
    ratio = now.sides / before.sides  # (N,2)
    parts = (
        np.sqrt(squares) / limits.levels,
        (1 - shared / np.maximum(either, 1e-6)) / limits.shape,
        np.abs(np.log(ratio[:, 0] / ratio[:, 1])) / np.log(limits.stretch),
        np.abs(np.log(ratio[:, 0] * ratio[:, 1])) / 2 / np.log(limits.zoom),
        np.abs(np.log(np.maximum(gain, 1e-3))) / np.log(limits.gain),
    )
    return np.asarray(np.max(np.stack(parts), axis=0), dtype=np.float32)
