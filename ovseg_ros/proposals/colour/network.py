"""A small one-stage mask network: every cell of three grids says which thing covers it.

On an ImageNet backbone whose weights stay as they are sits a feature pyramid (Lin et al., CVPR 2017). Each
cell of its levels gives a score, a box and a kernel; the kernel, multiplied with the pixel embeddings of a
fourth, finer map, is the mask (SOLOv2, Wang et al., NeurIPS 2020). A convolution does not know where it is,
so things that look alike would share a mask: the distance of a pixel from the cell's own box is part of the
product, as relative coordinates are in CondInst (Tian et al., ECCV 2020), here as a paraboloid and a slope.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

STRIDES = (8, 16, 32)
"""Pixels of the input per cell of each level, fine to coarse."""

PIXEL_STRIDE = 4
"""Pixels of the input per pixel embedding, and so per pixel of a mask's logits."""

TAPS = ((1, 4), (2, 8), (4, 16), (6, 32))
"""(stage of timm's EfficientNet, stride) of the four maps that are taken from the backbone."""

_GROUPS = 8
_FARTHEST = 12.0  # cells: a box's centre lies within so many cells of its own, and far sides within exp(4)


@dataclass(frozen=True)
class Cells:
    """What the cells of an image say, all levels one after another; A cells in all.

    Attributes:
        scores: (A,) logits: how well the cell's mask fits a thing, as an IoU.
        boxes: (A, 4) float32 centre x, centre y, half width, half height in pixels of the input.
        kernels: (A, E + 3) multiplied with pixel embeddings, slope in x, slope in y, and a constant.
        pixels: (E, h, w) pixel embeddings, one per `PIXEL_STRIDE` pixels.
    """

    scores: torch.Tensor
    boxes: torch.Tensor
    kernels: torch.Tensor
    pixels: torch.Tensor

    def mask_logits(self, index: torch.Tensor, every: int = 1) -> torch.Tensor:
        """The masks of some cells.

        Args:
            index: (M,) int64.
            every: 1, or only every second, third … row and column of the grid.

        Returns:
            (M, h, w) float32 logits on the grid of `pixels`, or on the part of it that is looked at.
        """
        pixels = self.pixels[:, ::every, ::every].float()
        count, height, width = pixels.shape
        kernels, boxes = self.kernels[index].float(), self.boxes[index]  # (M,E+3), (M,4)
        alike = kernels[:, :count] @ pixels.flatten(1)  # (M,h*w)
        device = alike.device
        xs = (torch.arange(width, device=device) * every + 0.5) * PIXEL_STRIDE
        ys = (torch.arange(height, device=device) * every + 0.5) * PIXEL_STRIDE
        across = (xs - boxes[:, 0, None]) / boxes[:, 2, None]  # (M,w), 1 at the box's side
        down = (ys - boxes[:, 1, None]) / boxes[:, 3, None]  # (M,h)
        columns = kernels[:, count, None] * across - across.square().clamp(max=_FARTHEST)
        rows = kernels[:, count + 1, None] * down - down.square().clamp(max=_FARTHEST)
        where = rows[:, :, None] + columns[:, None, :] + kernels[:, count + 2, None, None]  # (M,h,w)
        return alike.view(-1, height, width) + where


class ColourMaskNetwork(nn.Module):
    """The learned part: (maps of the backbone, the image) -> `Cells`.

    Args:
        channels: of the backbone's four maps, fine to coarse.
        width: channels of the pyramid.
        pixel_width: channels of the finest map.
        embedding: E, numbers per pixel embedding.
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int] = (24, 48, 120, 352),
        width: int = 96,
        pixel_width: int = 48,
        embedding: int = 32,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.sideways = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels[1:])
        self.context = nn.Linear(channels[3], width)
        self.smooth = nn.ModuleList(_convolution(width, width) for _ in STRIDES)
        self.tower = nn.Sequential(*(_convolution(width, width) for _ in range(3)))
        self.says = nn.Conv2d(width, 1 + 4 + embedding + 3, 1)
        self.level_scale = nn.Parameter(torch.ones(len(STRIDES)))
        self.from_image = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, pixel_width, 3, 2, 1)
        )
        self.from_fine = nn.Conv2d(channels[0], pixel_width, 1)
        self.from_pyramid = _convolution(width, pixel_width)
        self.pixels = nn.Sequential(
            _convolution(pixel_width, pixel_width),
            _convolution(pixel_width, pixel_width),
            nn.Conv2d(pixel_width, embedding, 1),
        )
        nn.init.normal_(self.says.weight, std=0.01)
        nn.init.zeros_(self.says.bias)
        with torch.no_grad():
            self.says.bias[
                0
            ] = -4.0  # few cells have a thing: without this the first steps unlearn everything
            self.says.bias[3:5] = 1.0  # boxes begin some cells wide
            self.says.bias[-1] = 1.0  # and masks as ellipses that fill their box

    def forward(self, maps: list[torch.Tensor], pixels: torch.Tensor) -> list[Cells]:
        """Looks at a batch.

        Args:
            maps: four (B, C, h, w), see `backbone_maps`.
            pixels: (B, 3, H, W) the normalised image, sides multiples of 32.

        Returns:
            B times what the cells say.
        """
        fine, *coarse = maps
        context = self.context(coarse[-1].mean((2, 3)))[:, :, None, None]
        level = self.sideways[-1](coarse[-1]) + context
        levels = [level]
        for sideways, finer in zip(self.sideways[-2::-1], coarse[-2::-1], strict=True):
            level = sideways(finer) + F.interpolate(level, scale_factor=2.0, mode="nearest")
            levels.insert(0, level)
        levels = [smooth(level) for smooth, level in zip(self.smooth, levels, strict=True)]
        embedded = self._pixel_embeddings(fine, levels[0], pixels)
        said = [
            self._said(level, stride, scale)
            for level, stride, scale in zip(levels, STRIDES, self.level_scale, strict=True)
        ]
        scores, boxes, kernels = (torch.cat(part, dim=1) for part in zip(*said, strict=True))
        return [Cells(*image) for image in zip(scores, boxes, kernels, embedded, strict=True)]

    def _pixel_embeddings(
        self, fine: torch.Tensor, level: torch.Tensor, pixels: torch.Tensor
    ) -> torch.Tensor:
        upper = F.interpolate(
            self.from_pyramid(level), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        embedded: torch.Tensor = self.pixels(upper + self.from_fine(fine) + self.from_image(pixels))
        return embedded

    def _said(
        self, level: torch.Tensor, stride: int, scale: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        said = self.says(self.tower(level)).float().flatten(2).transpose(1, 2)  # (B,A,1+4+E+3)
        centres = cell_centres(level.shape[-2:], stride, level.device)  # (A,2)
        middle = centres + stride * (scale * said[..., 1:3]).clamp(-_FARTHEST, _FARTHEST)
        half = stride * (scale * said[..., 3:5]).clamp(-2.0, 4.0).exp()
        return said[..., 0], torch.cat([middle, half], dim=2), said[..., 5:]


class WithBackbone(nn.Module):
    """Both in one pass, and what the backbone says before its average, which costs a fiftieth more."""

    def __init__(self, backbone: nn.Module, network: ColourMaskNetwork) -> None:
        """With timm's EfficientNet; nothing is copied."""
        super().__init__()
        self.backbone, self.network = backbone, network

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(1, 3, H, W) pixels -> what `Cells` holds, then features (F, H / 32, W / 32), each with one row."""
        maps = backbone_maps(self.backbone, pixels)
        (cells,) = self.network(maps, pixels)
        features = self.backbone.bn2(self.backbone.conv_head(maps[-1]))  # type: ignore[operator]
        return cells.scores[None], cells.boxes[None], cells.kernels[None], cells.pixels[None], features


def said_cells(said: tuple[torch.Tensor, ...]) -> Cells:
    """The first row of what `WithBackbone` gives, without the features."""
    return Cells(*(part[0] for part in said[:-1]))


def cell_centres(size_hw: torch.Size | tuple[int, int], stride: int, device: torch.device) -> torch.Tensor:
    """(h * w, 2) float32 x, y in pixels of the input, row by row."""
    ys = (torch.arange(size_hw[0], device=device) + 0.5) * stride
    xs = (torch.arange(size_hw[1], device=device) + 0.5) * stride
    return torch.stack([xs.repeat(len(ys)), ys.repeat_interleave(len(xs))], dim=1)


def backbone_maps(backbone: nn.Module, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Four maps of timm's EfficientNet, at strides 4, 8, 16 and 32.

    Args:
        backbone: with `conv_stem`, `bn1` and `blocks`.
        pixels: (B, 3, H, W) normalised, sides multiples of 32.
    """
    taps = {stage for stage, _ in TAPS}
    maps, level = [], backbone.bn1(backbone.conv_stem(pixels))  # type: ignore[operator]
    for stage, block in enumerate(backbone.blocks):  # type: ignore[arg-type]
        level = block(level)
        if stage in taps:
            maps.append(level)
    return maps


def _convolution(inward: int, outward: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, padding=1, bias=False), nn.GroupNorm(_GROUPS, outward), nn.ReLU()
    )
