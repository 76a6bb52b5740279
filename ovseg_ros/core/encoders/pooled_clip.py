"""One dense forward pass for all masks: a convolutional CLIP whose features are averaged over each mask.

FC-CLIP's form (Yu et al., NeurIPS 2023, arXiv 2308.02487, section 3.3): the features before CLIP's own
average are averaged over the mask instead of over the image, and what follows in CLIP (norm, projection) is
applied to that. A convolution sees the same neighbourhood at any input size, so the features stay CLIP's own;
a frozen ViT's do not. The same goes for any convolutional network that averages: see `MaskPooling`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip, Tokenizer
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.errors import ConfigError, InvalidInputError

POOLED_SIDE = 640
"""Shorter side in pixels at which an image is looked at, as FC-CLIP does on ADE20K."""

LONGEST_OVER_SHORTEST = 4
"""The longer side is at most so many times `pooled_side`, as in FC-CLIP (640 and 2560)."""

POOLING_BUDGET = 1 << 26
"""Bytes of masks as float32 that are compared with the grid of cells at once."""


_TRUNKS = ("ConvNeXt", "FastVit")
"""timm's classes of networks that average over cells; FastVit is MobileCLIP's."""


def can_pool(clip_model: Any) -> bool:
    """Whether an open_clip model's image tower is a ConvNeXt or a FastVit, which `PooledClip` takes."""
    return type(getattr(getattr(clip_model, "visual", None), "trunk", None)).__name__ in _TRUNKS


class OnePass(ABC):
    """`encode_pooled` for an encoder whose network looks at the image once, whatever the masks are.

    Attributes:
        embedding_dim: D.
        pooled_mean: the network's own normalisation of RGB in [0, 1], subtracted.
        pooled_std: and divided by.
    """

    embedding_dim: int
    pooled_mean: tuple[float, ...] = CLIP_MEAN
    pooled_std: tuple[float, ...] = CLIP_STD

    @torch.no_grad()
    def encode_pooled(
        self,
        image_rgb: npt.NDArray[np.uint8],
        masks: torch.Tensor,
        *,
        memory_budget: int = POOLING_BUDGET,
    ) -> torch.Tensor:
        """Embeds the masks of an image.

        One pass over the image, whatever N is; then a product of matrices and the head on N vectors.

        Args:
            image_rgb: (H, W, 3) uint8.
            masks: (N, H, W) bool, on any device.
            memory_budget: bytes of masks as float32 on the network's device at once; at least one mask is
                always done. The pass itself does not depend on it.

        Returns:
            (N, D) float32 unit rows on the network's device; zeros for an empty mask, (0, D) for N = 0.

        Raises:
            InvalidInputError: shapes or dtypes are not as above.
        """
        if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
            raise InvalidInputError(
                f"expected image_rgb (H,W,3) uint8, got {image_rgb.shape} {image_rgb.dtype}"
            )
        if masks.ndim != 3 or masks.dtype != torch.bool or masks.shape[1:] != image_rgb.shape[:2]:
            raise InvalidInputError(
                f"expected masks (N,{image_rgb.shape[0]},{image_rgb.shape[1]}) bool, got "
                f"{tuple(masks.shape)} "
                f"{masks.dtype}"
            )
        device = self._pooled_weight().device
        if len(masks) == 0:
            return torch.zeros((0, self.embedding_dim), device=device)
        rows, filled = self._pooled_rows(self._dense_pixels(image_rgb), masks, memory_budget)
        return F.normalize(rows.float(), dim=-1) * filled[:, None]

    def _dense_pixels(self, image_rgb: npt.NDArray[np.uint8]) -> torch.Tensor:
        """(H,W,3) uint8 -> (1,3,h,w), scaled (bicubic, antialiased) and normalised, as the weights' type."""
        weight = self._pooled_weight()
        image = torch.from_numpy(np.require(image_rgb, requirements=("C", "W"))).to(weight.device)
        pixels = image.permute(2, 0, 1)[None].float()  # (1,3,H,W)
        size_hw = self.dense_hw(image_rgb.shape[:2])
        if size_hw != image_rgb.shape[:2]:
            pixels = F.interpolate(pixels, size=size_hw, mode="bicubic", antialias=True)
        mean, std = (
            255.0 * torch.tensor(c, device=pixels.device)[:, None, None]
            for c in (self.pooled_mean, self.pooled_std)
        )
        return ((pixels - mean) / std).to(weight.dtype, memory_format=torch.channels_last)

    @abstractmethod
    def dense_hw(self, size_hw: tuple[int, ...]) -> tuple[int, int]:
        """(h, w) in pixels at which an image of (H, W) is looked at."""

    @abstractmethod
    def _pooled_rows(
        self, pixels: torch.Tensor, masks: torch.Tensor, memory_budget: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows (N, D) of any length for (N, H, W) masks on (1, 3, h, w) pixels; and (N,) bool, not empty."""

    @abstractmethod
    def _pooled_weight(self) -> torch.Tensor:
        """A weight of the network: says where and in which precision it runs."""


class MaskPooling(OnePass):
    """`encode_pooled` for an encoder whose network convolves, averages over cells, and then has a head.

    Attributes:
        stride: pixels of the network's input per feature cell.
        looked: (1, 3, H, W) pixels -> what the network says of them before its average, where another part
            of the chain runs the same one and has looked at them already; else None.
    """

    stride: int
    looked: Callable[[torch.Tensor], torch.Tensor | None] = staticmethod(lambda pixels: None)

    @property
    def pooled_side(self) -> int:
        """Pixels to which an image's shorter side is scaled before the one pass, up or down, at least 1."""
        return self._pooled_side

    @pooled_side.setter
    def pooled_side(self, side: int) -> None:
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise ConfigError(f"expected pooled_side as a whole number of pixels >= 1, got {side!r}")
        self._pooled_side = side

    def dense_features(self, image_rgb: npt.NDArray[np.uint8]) -> torch.Tensor:
        """The network's features before its average; (C, h, w), one vector per cell.

        The image is scaled to `dense_hw`, so that cells cover it exactly.

        Args:
            image_rgb: (H, W, 3) uint8.
        """
        return self._features(self._dense_pixels(image_rgb))

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        seen = self.looked(pixels)
        return (self._pooled_features(pixels) if seen is None else seen)[0]

    def dense_hw(self, size_hw: tuple[int, ...]) -> tuple[int, int]:
        """See `dense_size`."""
        return dense_size(size_hw, self.pooled_side, self.stride)

    def _pooled_rows(
        self, pixels: torch.Tensor, masks: torch.Tensor, memory_budget: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        features = self._features(pixels)  # (C,h,w)
        cells_hw = (features.shape[1], features.shape[2])
        shares = cell_shares(masks, cells_hw, device=features.device, memory_budget=memory_budget)
        pooled = shares.flatten(1) @ features.flatten(1).float().T  # (N,C)
        return self._pooled_head(pooled.to(features.dtype)), shares.sum(dim=(1, 2)) > 0

    @abstractmethod
    def _pooled_features(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 3, H, W) normalised -> (1, C, h, w), before the average."""

    @abstractmethod
    def _pooled_head(self, pooled: torch.Tensor) -> torch.Tensor:
        """(N, C) averages of features -> (N, D), of any length: what the network does after its average."""


class PooledClip(MaskPooling, MaskPromptedClip):
    """An open_clip model that convolves and averages: embeds masks as crops, or all in one pass.

    A FastVit convolves but for its last stage, where cells attend to each other: of an image with more cells
    than it was trained on, what is said there is less its own. So it looks at its own side unless told.
    """

    def __init__(
        self,
        clip_model: nn.Module,
        tokenizer: Tokenizer,
        mask_prompts: torch.Tensor | None = None,
        *,
        pooled_side: int | None = None,
        **others: Any,
    ) -> None:
        """Wraps a model; nothing is copied.

        Args:
            clip_model: an open_clip `CLIP` or `CustomTextCLIP` with a ConvNeXt or FastVit of timm's as image
                tower.
            tokenizer: see `MaskPromptedClip`.
            mask_prompts: always refused, these have no tokens; here so that the message is the same.
            pooled_side: see there; `POOLED_SIDE` of a ConvNeXt, its own side of a FastVit when None.
            others: see `MaskPromptedClip`.

        Raises:
            ConfigError: another image tower, prompts, or a side that cannot be.
        """
        if not can_pool(clip_model):
            tower = getattr(clip_model, "visual", None)
            name = type(getattr(tower, "trunk", tower)).__name__
            raise ConfigError(
                f"pooling over masks needs a ConvNeXt or FastVit of open_clip as image tower, got {name}: "
                "take the classifier clip, or an encoder such as convnext_base_w"
            )
        super().__init__(clip_model, tokenizer, mask_prompts, **others)
        trunk = self.clip_model.visual.trunk
        self.stride = int(trunk.feature_info[-1]["reduction"])
        own = self.size if type(trunk).__name__ == "FastVit" else POOLED_SIDE
        self.pooled_side = own if pooled_side is None else pooled_side
        self.pooled_mean, self.pooled_std = self.mean, self.std

    def _pooled_weight(self) -> torch.Tensor:
        weight: torch.Tensor = next(self.clip_model.visual.parameters())
        return weight

    def _pooled_features(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.clip_model.visual.trunk.forward_features(pixels)
        return features

    def _pooled_head(self, pooled: torch.Tensor) -> torch.Tensor:
        visual = self.clip_model.visual
        rows: torch.Tensor = visual.head(visual.trunk.forward_head(pooled[:, :, None, None]))
        return rows


def dense_size(size_hw: tuple[int, ...], short_side: int, stride: int) -> tuple[int, int]:
    """(h, w) at which an image is looked at: whole cells, the aspect kept to half a cell.

    Args:
        size_hw: (H, W) of the image.
        short_side: pixels to which the shorter side is scaled, unless the longer one then had more than
            `LONGEST_OVER_SHORTEST` times as many.
        stride: pixels per cell, to which both sides are rounded; at least one cell.

    >>> dense_size((480, 640), 640, 32), dense_size((10, 1000), 640, 32)
    ((640, 864), (32, 2560))
    """
    scale = min(short_side / min(size_hw), LONGEST_OVER_SHORTEST * short_side / max(size_hw))
    height, width = (max(1, int(side * scale / stride + 0.5)) * stride for side in size_hw)
    return height, width


def cell_shares(
    masks: torch.Tensor,
    cells_hw: tuple[int, int],
    *,
    device: torch.device | None = None,
    memory_budget: int = POOLING_BUDGET,
) -> torch.Tensor:
    """How much of each mask lies in each cell of a grid laid over the image.

    A pixel counts in every cell by the part of its area that lies there, so that a mask smaller than a cell
    has the cells it touches and no mask with a pixel has none.

    Args:
        masks: (N, H, W) bool.
        cells_hw: rows and columns of the grid; more than there are pixels is fine.
        device: of the result; the masks' own when None.
        memory_budget: bytes of masks as float32 at once; one mask at a time where it is small.

    Returns:
        (N, h, w) float32 whose sum is 1 for each mask, 0 for an empty one.
    """
    device = masks.device if device is None else device
    count, height, width = masks.shape
    rows = _overlaps(cells_hw[0], height).to(device)  # (h,H)
    columns = _overlaps(cells_hw[1], width).T.contiguous().to(device)  # (W,w)
    shares = torch.empty((count, *cells_hw), device=device)
    step = max(1, memory_budget // max(1, mask_bytes(masks[:1])))
    for start in range(0, count, step):
        part = masks[start : start + step].to(device).float()
        shares[start : start + step] = rows @ (part @ columns)
    return shares / shares.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)


def mask_bytes(masks: torch.Tensor) -> int:
    """Of masks as float32."""
    return 4 * masks.numel()


def _overlaps(cells: int, pixels: int) -> torch.Tensor:
    """(cells, pixels) float32: the part of each pixel that lies in each of `cells` equal parts of a line."""
    edges = torch.arange(cells + 1, dtype=torch.float64) * (pixels / cells)
    left = torch.arange(pixels, dtype=torch.float64)
    shared = torch.minimum(edges[1:, None], left + 1) - torch.maximum(edges[:-1, None], left)
    return shared.clamp(min=0).float()
