"""Masks as bits, on the device where the network made them, until it is known which of them stay.

segment-anything packs every mask that passes its thresholds into run lengths, counted on the CPU, mask
by mask, before it drops copies. A bit per pixel is as good for waiting, takes an eighth of the masks' memory,
and on a graphics card nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ovseg_ros.proposals.sam.images import enlarged

_BITS = 8


@dataclass(frozen=True, eq=False)
class MaskBits:
    """One mask.

    Attributes:
        bits: (ceil(H W / 8),) uint8, the first pixel in the lowest bit of the first byte.
    """

    bits: torch.Tensor

    def __deepcopy__(self, _: object) -> MaskBits:
        return self  # the library copies what it gathers; nothing ever writes to these


def as_bits(masks: torch.Tensor) -> list[MaskBits]:
    """Masks (N, H, W) bool packed, on their device."""
    return [MaskBits(row) for row in pack(masks.flatten(1))]


def pack(pixels: torch.Tensor) -> torch.Tensor:
    """(N, P) bool -> (N, ceil(P / 8)) uint8 on the same device."""
    if pixels.device.type == "cpu":
        return torch.from_numpy(np.packbits(pixels.numpy(), axis=1, bitorder="little"))
    return pack_on_device(pixels)


def pack_on_device(pixels: torch.Tensor) -> torch.Tensor:
    """`pack` in torch's own operations, which run anywhere."""
    padded = F.pad(pixels.to(torch.uint8), (0, -pixels.shape[1] % _BITS))
    bytes_of = padded.reshape(len(padded), padded.shape[1] // _BITS, _BITS)  # (N,B,8)
    packed = bytes_of[..., 0].clone()
    for bit in range(1, _BITS):
        packed |= bytes_of[..., bit] << bit
    return packed


def unpack(bits: torch.Tensor, pixels: int) -> torch.Tensor:
    """(N, ceil(P / 8)) uint8 -> (N, P) bool on the same device."""
    if bits.device.type == "cpu":
        flat = np.unpackbits(bits.numpy(), axis=1, count=pixels, bitorder="little")
        return torch.from_numpy(flat.view(np.bool_))
    return unpack_on_device(bits, pixels)


def unpack_on_device(bits: torch.Tensor, pixels: int) -> torch.Tensor:
    """`unpack` in torch's own operations, which run anywhere."""
    apart = torch.empty((*bits.shape, _BITS), dtype=torch.bool, device=bits.device)  # (N,B,8)
    for bit in range(_BITS):
        torch.ne(bits & (1 << bit), 0, out=apart[..., bit])
    return apart.flatten(1)[:, :pixels]


def from_bits(
    kept: Sequence[MaskBits], working_hw: tuple[int, int], size_hw: tuple[int, int], device: torch.device
) -> torch.Tensor:
    """(N, H, W) bool on the device: masks of a picture of `working_hw` at the image's own `size_hw`."""
    if not kept:
        return torch.zeros((0, *size_hw), dtype=torch.bool, device=device)
    small = unpack(torch.stack([mask.bits for mask in kept]), working_hw[0] * working_hw[1])
    small = small.reshape(len(kept), *working_hw)
    return small if working_hw == size_hw else enlarged(small, size_hw)
