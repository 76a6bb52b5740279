"""True masks of photographs as the features `lite` has of them: what the map to words is learned from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ovseg_ros.core.encoders import cell_shares
from ovseg_ros.core.regions import crop_regions, grow_boxes, mask_boxes
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.instances import Picture, read_instances
from ovseg_ros.models.bundled.adapted import AdaptedClassifier

GROWN = 1.1
"""Sides of a crop over those of the mask's box, as in the preset."""

_AT_ONCE = 8  # crops


@dataclass(frozen=True)
class Examples:
    """N masks.

    Attributes:
        crop: (N, F) float32, the classifier's features of a crop of each.
        pooled: (N, F) float32, its features of the picture averaged over each.
        words: N names.
        pixels: (N,) int64, the masks' sizes.
        pictures: N names of pictures, unique among sets.
        mirrored: (N,) bool: the same again, its crop mirrored.
    """

    crop: torch.Tensor
    pooled: torch.Tensor
    words: tuple[str, ...]
    pixels: torch.Tensor
    pictures: tuple[str, ...]
    mirrored: torch.Tensor

    def __len__(self) -> int:
        return len(self.words)

    def take(self, keep: torch.Tensor) -> Examples:
        """Those of an (N,) bool."""
        places = keep.nonzero()[:, 0].tolist()
        words, pictures = (tuple(part[i] for i in places) for part in (self.words, self.pictures))
        return Examples(
            self.crop[keep], self.pooled[keep], words, self.pixels[keep], pictures, self.mirrored[keep]
        )

    @staticmethod
    def join(parts: Sequence[Examples]) -> Examples:
        """All of them, in order."""
        return Examples(
            torch.cat([part.crop for part in parts]),
            torch.cat([part.pooled for part in parts]),
            tuple(word for part in parts for word in part.words),
            torch.cat([part.pixels for part in parts]),
            tuple(name for part in parts for name in part.pictures),
            torch.cat([part.mirrored for part in parts]),
        )


def examples_of(
    encoder: AdaptedClassifier,
    path: Path,
    *,
    blanked: bool = True,
    mirrored: bool = True,
    least_pixels: int = 100,
    renamed: Mapping[str, str] | None = None,
    cache: Path | None = None,
) -> Examples:
    """All masks of a COCO instance file that are no groups.

    Args:
        encoder: on the CPU; its map does not matter.
        path: see `read_instances`.
        blanked: False shows the crop's background, and averages over the mask's box instead of the mask: what
            is seen when nobody says where the thing is.
        mirrored: each mask a second time with its crop mirrored.
        least_pixels: smaller masks are left out.
        renamed: categories' names and what they shall be called.
        cache: folder where the features are kept for the next time.

    Raises:
        InvalidInputError: see `read_instances`, or no mask is left.
    """
    data = read_instances(path)
    kept = _cached(cache, encoder, data.sha256, blanked, least_pixels)
    if kept is not None and kept.exists():
        found = Examples(**torch.load(kept, weights_only=True))
    else:
        parts = [_of_picture(encoder, data.name, one, blanked, least_pixels) for one in data.pictures]
        parts = [part for part in parts if part is not None]
        if not parts:
            raise InvalidInputError(
                f"expected masks of at least {least_pixels} pixels in {path}, there are none"
            )
        found = Examples.join(parts)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            torch.save(dict(vars(found)), kept)
    names = {} if renamed is None else renamed
    found = replace(found, words=tuple(names.get(word, word) for word in found.words))
    return found if mirrored else found.take(~found.mirrored)


def _cached(
    folder: Path | None, encoder: AdaptedClassifier, sha256: str, blanked: bool, least_pixels: int
) -> Path | None:
    if folder is None:
        return None
    key = (sha256, encoder.size, encoder.rim, encoder.pooled_side, GROWN, blanked, least_pixels)
    return folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.pt"


@torch.no_grad()
def _of_picture(
    encoder: AdaptedClassifier, dataset: str, picture: Picture, blanked: bool, least_pixels: int
) -> Examples | None:
    """Each mask and then each mirrored; None where there are none."""
    things = [(one.category, one.mask()) for one in picture.instances if not one.is_crowd]
    things = [(name, mask) for name, mask in things if mask.sum() >= least_pixels]
    if not things:
        return None
    rgb = picture.read()
    masks = torch.from_numpy(np.stack([mask for _, mask in things]))  # (N,H,W)
    image = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)
    regions = crop_regions(image, masks, size=encoder.size, fill="none", expand_ratio=GROWN)
    pixels, small = regions.pixels, regions.masks if blanked else None
    straight = _features(encoder, pixels, small)
    mirrored = _features(encoder, pixels.flip(-1), None if small is None else small.flip(-1))
    dense = encoder.dense_features(rgb)  # (F,h,w)
    where = masks if blanked else _boxes(masks)
    shares = cell_shares(where, (dense.shape[1], dense.shape[2]))
    pooled = shares.flatten(1) @ dense.flatten(1).float().T
    count, name = len(things), f"{dataset}/{picture.name}"
    return Examples(
        torch.cat([straight, mirrored]),
        pooled.repeat(2, 1),
        tuple(word for word, _ in things) * 2,
        masks.flatten(1).sum(dim=1).repeat(2),
        (name,) * (2 * count),
        torch.arange(2 * count) >= count,
    )


def _features(encoder: AdaptedClassifier, pixels: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
    parts: list[Any] = [slice(at, at + _AT_ONCE) for at in range(0, len(pixels), _AT_ONCE)]
    rows = [encoder.crop_features(pixels[p], None if masks is None else masks[p]) for p in parts]
    return torch.cat(rows)


def _boxes(masks: torch.Tensor) -> torch.Tensor:
    """(N, H, W) bool: the grown boxes around the masks, filled."""
    boxes, _ = mask_boxes(masks)
    filled = torch.zeros_like(masks)
    grown = grow_boxes(boxes, GROWN, size_hw=(masks.shape[1], masks.shape[2]))
    for mask, (x0, y0, x1, y1) in zip(filled, grown.tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    return filled
