"""What a masked crop may look like to the encoder: augmentation that fits masks, and none at all."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from ovseg_ros.core.options import FILLS
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.pairs.crop import mask_box

MEAN_RGB = (255.0 * np.array(CLIP_MEAN)).astype(np.float32)
STD_RGB = (255.0 * np.array(CLIP_STD)).astype(np.float32)
_FILL_RGB = {"mean": MEAN_RGB, "black": np.zeros(3, np.float32), "grey": np.full(3, 127.5, np.float32)}


@dataclass(frozen=True)
class Augment:
    """How far training crops may stray from what `core.regions.crop.crop_regions` gives.

    Attributes:
        flip: probability of a horizontal flip.
        colour: probability of another exposure, white balance, contrast, saturation, and noise.
        colour_strength: how much of each; 1 is about what cameras and lamps differ by.
        edges: probability that the mask's edge grows, shrinks, or loses a side, as proposals do.
        coarse: probability that the mask is as blocky as one predicted at a quarter of the size or less.
        crop: smallest and largest share of the box's area that is kept (RandomResizedCrop); a crop that
            would cut away more than a quarter of the mask is not made.
        scale: probability of the detail of a thing that is small in its image.
        smallest: the least share of its side that a crop is shrunk to for that.
        fills: what replaces the background -> how often, among mean, none, black, grey; the most frequent
            one is what the trained model wants.
        expand_ratio: sides of the box over those of the tight box, as in `crop_regions`; at most 1.5 is
            stored.
    """

    flip: float = 0.0
    colour: float = 0.0
    colour_strength: float = 1.0
    edges: float = 0.0
    coarse: float = 0.0
    crop: tuple[float, float] = (1.0, 1.0)
    scale: float = 0.0
    smallest: float = 0.25
    fills: dict[str, float] = field(default_factory=lambda: {"mean": 1.0})
    expand_ratio: float = 1.0

    def __post_init__(self) -> None:
        for name in ("flip", "colour", "edges", "coarse", "scale"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"expected augment.{name} as a probability, got {getattr(self, name)}")
        if len(self.crop) != 2 or not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ConfigError(f"expected augment.crop as two rising shares in (0, 1], got {self.crop}")
        if not 0 < self.smallest <= 1 or not 0 <= self.colour_strength <= 3:
            raise ConfigError("expected augment.smallest in (0, 1] and augment.colour_strength in [0, 3]")
        if not 1 <= self.expand_ratio <= 1.5:
            raise ConfigError(f"expected augment.expand_ratio in [1, 1.5], got {self.expand_ratio}")
        bad = [name for name in self.fills if name not in FILLS]
        weights = list(self.fills.values())
        if bad or not all(isinstance(w, (int, float)) and w >= 0 for w in weights) or not sum(weights) > 0:
            raise ConfigError(
                f"expected augment.fills as {{one of {', '.join(FILLS)}: how often}}, got {self.fills}"
            )

    @property
    def fill(self) -> str:
        """What replaces the background most often."""
        return max(self.fills, key=lambda name: self.fills[name])

    @property
    def plain(self) -> Augment:
        """Nothing at random: the most frequent fill, and the box as it is."""
        return Augment(fills={self.fill: 1.0}, expand_ratio=self.expand_ratio)


def training_view(
    image_rgb: np.ndarray, mask: np.ndarray, size: int, augment: Augment, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One random view of a pair, which never loses the mask.

    Args:
        image_rgb: (h, w, 3) uint8.
        mask: (h, w) bool, not empty.
        size: S, side of the result.
        augment: how far it may stray; `Augment.plain` gives what `crop_regions` does.
        rng: source of all randomness.

    Returns:
        Pixels (3, S, S) float32, CLIP-normalised; mask (1, S, S) uint8 in {0, 1}.
    """
    if rng.random() < augment.edges:
        mask = _roughen(mask.astype(np.uint8) * 255, rng) > 127
    if rng.random() < augment.coarse:
        mask = _coarsen(mask, rng)
    image: np.ndarray = image_rgb
    if rng.random() < augment.scale:
        image = _shrink(image, rng.uniform(augment.smallest, 1.0))
    if rng.random() < augment.colour:
        image = _recolour(image, augment.colour_strength, rng)
    x0, y0, x1, y1 = _crop(mask, mask_box(mask, augment.expand_ratio), augment.crop, rng)
    names = list(augment.fills)
    weights = np.array([augment.fills[name] for name in names], float)
    fill = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    pixels, inside = _squash(image[y0:y1, x0:x1], mask[y0:y1, x0:x1], size, fill)
    if rng.random() < augment.flip:
        pixels, inside = np.ascontiguousarray(pixels[..., ::-1]), np.ascontiguousarray(inside[..., ::-1])
    return pixels, inside


def _crop(
    mask: np.ndarray, box: tuple[int, int, int, int], shares: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A part of the box with a random share of its area, the loss split at random over both sides."""
    x0, y0, x1, y1 = box
    share, turn, at_x, at_y = rng.uniform(*shares), rng.random(), rng.random(), rng.random()
    width = max(1, round((x1 - x0) * share**turn))
    height = max(1, round((y1 - y0) * share ** (1 - turn)))
    left, top = x0 + round(at_x * (x1 - x0 - width)), y0 + round(at_y * (y1 - y0 - height))
    kept = np.count_nonzero(mask[top : top + height, left : left + width])
    if kept < 0.75 * np.count_nonzero(mask):
        return box
    return left, top, left + width, top + height


def _squash(crop: np.ndarray, mask: np.ndarray, size: int, fill: str) -> tuple[np.ndarray, np.ndarray]:
    """Blanks, resizes to (S, S) and normalises."""
    image = np.ascontiguousarray(crop, dtype=np.float32)
    if fill != "none":
        image = np.where(mask[:, :, None], image, _FILL_RGB[fill])
    square = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    pixels = ((square - MEAN_RGB) / STD_RGB).transpose(2, 0, 1)
    rows, columns = (
        np.minimum((np.arange(size, dtype=np.float32) * np.float32(n / size)).astype(np.int64), n - 1)
        for n in mask.shape
    )
    return np.ascontiguousarray(pixels), mask[rows[:, None], columns][None].astype(np.uint8)


def _roughen(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grows, shrinks or cuts a mask (uint8 {0, 255}) as a real proposal might; never empties it."""
    out = mask
    if rng.random() < 0.6:
        k = int(rng.integers(1, 6))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (k, k))
        out = cv2.erode(out, kernel) if rng.random() < 0.5 else cv2.dilate(out, kernel)
    if rng.random() < 0.2:
        out = out.copy()
        side, share = int(rng.integers(4)), rng.uniform(0.08, 0.3)
        n = int(share * mask.shape[0])
        out[(np.s_[:n], np.s_[-n:], np.s_[:, :n], np.s_[:, -n:])[side]] = 0
    return out if np.count_nonzero(out) > 80 else mask


def _coarsen(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask as a network predicts it on a coarse grid and brings it up again."""
    height, width = mask.shape
    step = rng.uniform(3.0, 8.0)
    small = cv2.resize(
        mask.astype(np.float32),
        (max(1, round(width / step)), max(1, round(height / step))),
        interpolation=cv2.INTER_AREA,
    )
    out = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
    return out if np.count_nonzero(out) > 0.5 * np.count_nonzero(mask) else mask


def _shrink(image: np.ndarray, share: float) -> np.ndarray:
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (max(1, round(width * share)), max(1, round(height * share))), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _recolour(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Gain per channel, offset, contrast, saturation, sometimes noise; float32 in [0, 255]."""
    gain = 1 + strength * (rng.uniform(-0.25, 0.25) + rng.uniform(-0.06, 0.06, 3))
    x = image.astype(np.float32) * gain.astype(np.float32)
    x += np.float32(strength * rng.uniform(-20, 20))
    centre = x.mean(dtype=np.float64)
    x = np.float32(centre) + (x - np.float32(centre)) * np.float32(1 + strength * rng.uniform(-0.2, 0.2))
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * np.float32(1 + strength * rng.uniform(-0.25, 0.25))
    if rng.random() < 0.2:
        x += rng.normal(0, strength * rng.uniform(1, 8), x.shape).astype(np.float32)
    return np.clip(x, 0, 255)
