"""Masks before they are cut at a threshold: what a mask-predicting network gives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ovseg_ros.errors import InvalidInputError


@dataclass(frozen=True)
class SoftMasks:
    """Logits on the network's own coarse grid, and how that grid lies on the image.

    A hundred probability maps of a full image take half a gigabyte; the logits take a sixteenth of that, and
    only the rows that are looked at are ever brought to full size.

    Attributes:
        logits: (N, h, w) float, before the sigmoid.
        padded_hw: size in pixels of the network's input, padding included; the logits cover all of it.
        valid_hw: size in pixels of the part of the input, from its upper left corner, that holds the image.
    """

    logits: torch.Tensor
    padded_hw: tuple[int, int]
    valid_hw: tuple[int, int]

    def __post_init__(self) -> None:
        if self.logits.ndim != 3 or not self.logits.is_floating_point() or 0 in self.logits.shape[1:]:
            raise InvalidInputError(
                f"expected logits (N,h,w) float, got {tuple(self.logits.shape)} {self.logits.dtype}"
            )
        if not all(1 <= v <= p for v, p in zip(self.valid_hw, self.padded_hw, strict=True)):
            raise InvalidInputError(
                f"expected 1 <= valid_hw <= padded_hw, got {self.valid_hw}, {self.padded_hw}"
            )

    def __len__(self) -> int:
        return self.logits.shape[0]

    def take(self, index: torch.Tensor) -> SoftMasks:
        """Some of the masks, by (M,) int64 index or (N,) bool."""
        return SoftMasks(self.logits[index.to(self.logits.device)], self.padded_hw, self.valid_hw)

    def cpu(self) -> SoftMasks:
        """The same masks in the CPU's memory."""
        return SoftMasks(self.logits.cpu(), self.padded_hw, self.valid_hw)

    def probabilities(self, size_hw: tuple[int, int]) -> torch.Tensor:
        """Probability of each pixel to belong to each mask.

        Bilinear to the padded input, the padding cut off, bilinear to the image, then the sigmoid.

        Args:
            size_hw: (H, W) of the image.

        Returns:
            (N, H, W) float32 in [0, 1] on the logits' device.

        Source: MaskFormer's inference (facebookresearch/MaskFormer), which OVSeg keeps.
        """
        height, width = self.valid_hw
        if len(self) == 0:
            return torch.zeros((0, *size_hw), device=self.logits.device)
        maps = _resize(self.logits.float()[None], self.padded_hw)[:, :, :height, :width]  # (1,N,h,w)
        return _resize(maps, size_hw)[0].sigmoid()  # (N,H,W)


def _resize(maps: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    if tuple(maps.shape[-2:]) == tuple(size_hw):
        return maps
    return F.interpolate(maps, size=size_hw, mode="bilinear", align_corners=False)
