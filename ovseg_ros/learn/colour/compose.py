"""New pictures from old ones: scale jitter, mosaics, cut-outs pasted in, other light.

Scale jitter and copy-paste as in Ghiasi et al. (CVPR 2021, arXiv 2012.07177), mosaics as in YOLOv4
(Bochkovskiy et al., 2020, arXiv 2004.10934).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.learn.colour.pictures import LONGEST, Picture, Sample, Shape

_LEAST_VISIBLE = 0.25  # of a thing: with less of it left it is no thing to be found any more
_LEAST_PIXELS = 16


@dataclass(frozen=True)
class Composition:
    """How training pictures are composed.

    Attributes:
        size: their side in pixels, a multiple of 64.
        scale: least and greatest factor by which a photograph is scaled.
        mosaic: share of pictures made of four.
        paste: share of pictures that get cut-outs of others.
        most_pasted: cut-outs per picture.
    """

    size: int = 512
    scale: tuple[float, float] = (0.7, 1.7)
    mosaic: float = 0.3
    paste: float = 0.5
    most_pasted: int = 5


class Composer:
    """Composes pictures from sets of photographs.

    Args:
        sets: of photographs, none empty.
        shares: how often a photograph comes from each set; any positive numbers.
        options: see `Composition`.
    """

    def __init__(
        self,
        sets: Sequence[Sequence[Picture]],
        shares: Sequence[float],
        options: Composition = Composition(),  # frozen
    ) -> None:
        self._sets, self.options = sets, options
        self._shares = np.asarray(shares, float) / sum(shares)
        self._with_things = [[p for p in pictures if p.things] for pictures in sets]

    def __call__(self, rng: np.random.Generator) -> Sample:
        """A new picture of `size` x `size`."""
        side = self.options.size
        if rng.random() < self.options.mosaic:
            sample = self._mosaic(rng)
        else:
            sample = self._fitted(self._drawn(rng), (side, side), rng)
        if rng.random() < self.options.paste:
            for _ in range(rng.integers(1, self.options.most_pasted + 1)):
                sample = self._pasted(sample, rng)
        visible = [mask for mask in sample.masks if mask.any()]
        masks = np.stack(visible) if visible else np.zeros((0, side, side), bool)
        return Sample(other_light(sample.image, rng), masks, sample.unknown)

    def _drawn(self, rng: np.random.Generator) -> Picture:
        pictures = self._sets[rng.choice(len(self._sets), p=self._shares)]
        return pictures[rng.integers(len(pictures))]

    def _mosaic(self, rng: np.random.Generator) -> Sample:
        half = self.options.size // 2
        tiles = [self._fitted(self._drawn(rng), (half, half), rng, 0.6) for _ in range(4)]
        whole = 2 * half
        masks = np.zeros((sum(len(tile.masks) for tile in tiles), whole, whole), bool)
        image, unknown = np.zeros((whole, whole, 3), np.uint8), np.zeros((whole, whole), bool)
        first = 0
        for number, tile in enumerate(tiles):
            where = np.s_[
                number // 2 * half : number // 2 * half + half, number % 2 * half : number % 2 * half + half
            ]
            image[where], unknown[where] = tile.image, tile.unknown
            masks[first : first + len(tile.masks)][:, where[0], where[1]] = tile.masks
            first += len(tile.masks)
        return Sample(image, masks, unknown)

    def _fitted(
        self, picture: Picture, size_hw: tuple[int, int], rng: np.random.Generator, smaller: float = 1.0
    ) -> Sample:
        """Scaled by chance and cut or padded to a size; mirrored half the time."""
        image = picture.image()
        low, high = self.options.scale
        scale = smaller * np.exp(rng.uniform(np.log(low), np.log(high))) * LONGEST
        scale /= max(LONGEST * 3 // 4, *image.shape[:2])  # small pictures are looked at a little larger
        height, width = size_hw
        x = _offset(image.shape[1] * scale, width, rng)
        y = _offset(image.shape[0] * scale, height, rng)
        matrix = np.array([[scale, 0, -x], [0, scale, -y]])
        if rng.random() < 0.5:
            matrix[0] = [-scale, 0, width - 1 + x]
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        fitted = _scaled_into(image, matrix, size_hw, colour)
        masks, lost = [], np.full(size_hw, 0 if picture.complete else 255, np.uint8)
        for thing in picture.things:
            warped = _warped(thing, matrix, size_hw)
            whole = np.count_nonzero(thing.mask) * scale**2
            if np.count_nonzero(warped) >= max(_LEAST_PIXELS, _LEAST_VISIBLE * whole):
                masks.append(warped)
            else:  # what is left of it is neither found nor missed
                lost |= warped
        for group in picture.groups:
            lost |= _warped(group, matrix, size_hw)
        stacked = np.stack(masks).view(bool) if masks else np.zeros((0, *size_hw), bool)
        return Sample(fitted, stacked, (lost > 0) & ~stacked.any(axis=0))

    def _pasted(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """A thing of another photograph laid over the picture, its edge softened."""
        pictures = self._with_things[rng.choice(len(self._sets), p=self._shares)]
        if not pictures:
            return sample
        other = pictures[rng.integers(len(pictures))]
        thing = other.things[rng.integers(len(other.things))]
        shape = thing.mask
        cut = other.image()[thing.y : thing.y + shape.shape[0], thing.x : thing.x + shape.shape[1]]
        side = self.options.size
        wanted = side * np.exp(rng.uniform(np.log(0.06), np.log(0.6)))
        scale = float(np.clip(wanted / max(shape.shape), 0.1, 2.0))
        size = (max(4, round(shape.shape[1] * scale)), max(4, round(shape.shape[0] * scale)))
        cut = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        alpha = cv2.resize(shape.astype(np.float32) / 255, size, interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            cut, alpha = cut[:, ::-1], alpha[:, ::-1]
        x, y = (
            rng.integers(-size[0] // 3, side - size[0] // 2),
            rng.integers(-size[1] // 3, side - size[1] // 2),
        )
        return laid_over(sample, cut, alpha, int(x), int(y))


def laid_over(
    sample: Sample,
    cut: npt.NDArray[np.uint8],
    alpha: npt.NDArray[np.float32],
    x: int,
    y: int,
) -> Sample:
    """The picture with a cut-out over it; what it hides is cut out of the other masks.

    Args:
        sample: see there.
        cut: (h, w, 3) uint8.
        alpha: (h, w) in [0, 1].
        x: of the cut-out's left edge in the picture; may be outside.
        y: of its upper edge.
    """
    side_h, side_w = sample.image.shape[:2]
    top, left = max(0, -y), max(0, -x)
    bottom, right = min(cut.shape[0], side_h - y), min(cut.shape[1], side_w - x)
    if bottom <= top or right <= left:
        return sample
    where = np.s_[y + top : y + bottom, x + left : x + right]
    part = np.s_[top:bottom, left:right]
    soft = alpha[part][..., None]
    image = sample.image.copy()
    image[where] = (cut[part] * soft + image[where] * (1 - soft)).astype(np.uint8)
    new = np.zeros((side_h, side_w), bool)
    new[where] = alpha[part] >= 0.5
    if np.count_nonzero(new) < max(_LEAST_PIXELS, _LEAST_VISIBLE * np.count_nonzero(alpha >= 0.5)):
        return Sample(image, sample.masks & ~new, sample.unknown | new)
    before = sample.masks.sum(axis=(1, 2))
    masks = sample.masks & ~new
    after = masks.sum(axis=(1, 2))
    gone = after < np.maximum(_LEAST_PIXELS, _LEAST_VISIBLE * before)
    unknown = (sample.unknown | masks[gone].any(axis=0)) & ~new
    return Sample(image, np.concatenate([masks[~gone], new[None]]), unknown)


def other_light(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Brightness, contrast, tint and saturation changed by chance; sometimes blurred, noisy or grey."""
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.9, 1.1, 3)
    table = np.arange(256, dtype=np.float32)[:, None] / 255
    curved = (table ** rng.uniform(0.75, 1.35)) * gain
    lit = cv2.LUT(image, (curved * 255).clip(0, 255).astype(np.uint8)[None])
    grey = cv2.cvtColor(cv2.cvtColor(lit, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    colour = 0.0 if rng.random() < 0.04 else rng.uniform(0.6, 1.4)
    lit = cv2.addWeighted(lit, colour, grey, 1 - colour, 0)
    if rng.random() < 0.15:
        lit = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.4, 1.4))
    if rng.random() < 0.15:
        noise = rng.normal(0, rng.uniform(2, 8), lit.shape).astype(np.float32)
        lit = (lit + noise).clip(0, 255).astype(np.uint8)
    return lit


def _offset(length: float, window: int, rng: np.random.Generator) -> float:
    """Where the window begins: inside a longer picture, or before a shorter one."""
    spare = length - window
    return float(rng.uniform(min(spare, 0.0), max(spare, 0.0)))


def _warped(shape: Shape, matrix: npt.NDArray[np.float64], size_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W) uint8, 1 inside."""
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ (shape.x, shape.y)
    warped = cv2.warpAffine(shape.mask, moved, size_hw[::-1], flags=cv2.INTER_LINEAR, borderValue=0)
    return cv2.threshold(warped, 127, 1, cv2.THRESH_BINARY)[1]  # type: ignore[return-value]


def _scaled_into(
    image: npt.NDArray[np.uint8],
    matrix: npt.NDArray[np.float64],
    size_hw: tuple[int, int],
    colour: tuple[int, ...],
) -> npt.NDArray[np.uint8]:
    """The image moved by a matrix; what it does not cover is of one colour."""
    scale = abs(matrix[0, 0])
    if scale < 0.7:  # warpAffine does not average: what becomes small is made small first
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        fx, fy = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
        image, matrix = small, matrix @ np.diag([1 / fx, 1 / fy, 1])
    warped = cv2.warpAffine(
        image,
        matrix,
        size_hw[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=colour,
    )
    return warped  # type: ignore[return-value]
