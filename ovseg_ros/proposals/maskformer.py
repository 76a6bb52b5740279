"""Masks from a MaskFormer: the paper's own network, or public weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ovseg_ros.core.device import DTYPES, is_finite
from ovseg_ros.core.engines import Store, check_runtime
from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.proposals.maskformer_runtime import named, network_programs

_FLOATS_AT_ONCE = 1 << 24  # probabilities held at full size: 64 MiB of them


@dataclass(frozen=True)
class MaskFormerOutput:
    """What a MaskFormer says about one image.

    Attributes:
        mask_logits: (Q, h, w) before the sigmoid, on a coarse grid over all of the input.
        class_embeddings: (Q, C) unit rows in the space of the text tower the network was trained with; None
            from networks with a fixed list of classes.
        objectness: (Q,) in [0, 1], how probably the query found anything; None where the network does
            not say.
    """

    mask_logits: torch.Tensor
    class_embeddings: torch.Tensor | None = None
    objectness: torch.Tensor | None = None


class MaskFormerNetwork(Protocol):
    """A built network: how it wants its image, and what it gives.

    Attributes:
        pixel_mean, pixel_std: of R, G and B in [0, 255].
        size_divisor: height and width of the input are multiples of it, in pixels.
        short_side, long_side: to what the image was scaled when the network was evaluated, in pixels.
        classifies: whether it gives class embeddings.
        non_object: (1, C) unit row that competes with the words, or None.
    """

    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    size_divisor: int
    short_side: int
    long_side: int
    classifies: bool
    non_object: torch.Tensor | None

    def __call__(self, pixels: torch.Tensor) -> MaskFormerOutput:
        """(1, 3, h, w) float32, normalised and padded -> what it finds."""
        ...


@dataclass(frozen=True)
class MaskFormerOptions:
    """How `MaskFormerProposals` asks the network.

    Attributes:
        mask_threshold: a pixel belongs to the mask if its probability is greater, in (0, 1). The paper's
            Swin-B takes 0.4 (0.35 in its demo), its R101c 0.5.
        short_side: the image is scaled so that its shorter side has so many pixels, >= 32; None takes what
            the network was evaluated with.
        long_side: but never so that the longer side has more than this, >= short_side; None as above.
        precision: "fp32", or "bf16" or "fp16" by autocast.
        runtime: "torch"; "openvino", on a CPU; "onnxruntime"; "tensorrt", on an NVIDIA card; "auto" is
            OpenVINO on a CPU where it is installed, from the eighth image of a shape on, else torch. One that
            cannot be had, or does not find the same masks, gives way to torch.
        min_agreement: share of pixels that another runtime must give to the same mask as torch in float32
            does, and of masks whose class embedding must stay, in [0, 1].
        max_mask_pixels: refuse images for which the masks together would hold more pixels (bytes) than this.
    """

    mask_threshold: float = 0.4
    short_side: int | None = None
    long_side: int | None = None
    precision: str = "fp32"
    runtime: str = "torch"
    min_agreement: float = 0.995
    max_mask_pixels: int = 1 << 32

    def __post_init__(self) -> None:
        if not 0 < self.mask_threshold < 1:
            raise ConfigError(f"expected mask_threshold in (0, 1), got {self.mask_threshold}")
        if self.short_side is not None and self.short_side < 32:
            raise ConfigError(f"expected short_side >= 32 pixels, got {self.short_side}")
        if self.long_side is not None and self.long_side < (self.short_side or 32):
            raise ConfigError(f"expected long_side >= {self.short_side or 32} pixels, got {self.long_side}")
        if self.precision not in DTYPES:
            raise ConfigError(f"expected precision of {list(DTYPES)}, got {self.precision!r}")
        check_runtime(self.runtime)
        if not 0 <= self.min_agreement <= 1:
            raise ConfigError(f"expected min_agreement in [0, 1], got {self.min_agreement}")
        if self.max_mask_pixels < 1:
            raise ConfigError(f"expected max_mask_pixels >= 1, got {self.max_mask_pixels}")


class MaskFormerProposals:
    """One mask per query, all of them, in the network's order; masks may overlap or be empty.

    Args:
        network: built and loaded; moved to `device`, in evaluation mode.
        options: see `MaskFormerOptions`.
        device: where the network runs.
        store: keeps what another runtime makes of the network; None makes it anew at each start.
        pictures: photographs (H, W, 3) uint8 RGB on which that is held against torch, beside a made-up image.

    Attributes:
        classifies: whether proposals carry class embeddings.
        programs: what runs the network where it is not torch, and how that agreed.
    """

    needs_depth: ClassVar[bool] = False

    def __init__(
        self,
        network: MaskFormerNetwork,
        options: MaskFormerOptions | None = None,
        device: str | torch.device = "cpu",
        store: Store | None = None,
        pictures: Sequence[npt.NDArray[np.uint8]] = (),
    ) -> None:
        self.options = options or MaskFormerOptions()
        self.device = torch.device(device)
        self.network = network.to(self.device).eval() if isinstance(network, nn.Module) else network
        self.classifies = bool(network.classifies)
        self.programs = network_programs(
            self.network, self.options, self.device, self._normalised, store, pictures
        )

    def warm_up(self, frame: Frame) -> None:
        """Proposes once, so that the next time is quicker."""
        self.propose(frame)

    @torch.no_grad()
    def propose(self, frame: Frame) -> Proposals:
        """Runs the network on the frame's colour image.

        The score of a mask is the mean probability over its pixels, 0 for an empty mask, times the
        objectness where the network has one: sure outlines of something come first.

        Args:
            frame: of any size; depth is not used.

        Returns:
            Q proposals on the CPU, each with its soft mask; with class embeddings and the no-object row from
            the paper's network.

        Raises:
            InvalidInputError: the masks would be larger than `max_mask_pixels` together.
            ConfigError: the network overflows in the chosen precision.
            torch.OutOfMemoryError: the device's memory is full.

        Source: MaskFormer's evaluation (facebookresearch/MaskFormer), which OVSeg keeps.
        """
        pixels, valid_hw = self._prepare(frame.image_rgb)
        output = self._output(pixels)
        self._check_finite(output)
        logits = output.mask_logits.float()  # (Q,h,w)
        soft = SoftMasks(logits, tuple(pixels.shape[-2:]), valid_hw)
        self._check_size(len(soft), frame.size_hw)
        masks, scores = binarise(soft, frame.size_hw, self.options.mask_threshold)
        if output.objectness is not None:
            scores = scores * output.objectness.float().cpu()
        embeddings, rivals = output.class_embeddings, self.network.non_object
        return Proposals(
            masks,
            scores.clamp(0, 1),
            soft.cpu(),
            None if embeddings is None else embeddings.float().cpu(),
            None if embeddings is None or rivals is None else rivals.float().cpu(),
        )

    @torch.no_grad()
    def prepare(self, size_hw: tuple[int, int]) -> None:
        """Has another runtime make its program for images of that size now; torch needs none."""
        pixels, _ = self._prepare(np.zeros((*size_hw, 3), np.uint8))
        self.programs.prepare(pixels.shape)

    def _output(self, pixels: torch.Tensor) -> MaskFormerOutput:
        program = self.programs.of(pixels.shape)
        if program is not None:
            return MaskFormerOutput(**named(program(pixels), self.classifies))
        dtype = DTYPES[self.options.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            return self.network(pixels)

    def _prepare(self, image_rgb: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, tuple[int, int]]:
        """Scaled, normalised, padded with zeros: (1,3,h,w) float32, and the size of the image in it."""
        short = self.options.short_side or self.network.short_side
        long = self.options.long_side or max(self.network.long_side, short)
        height, width = scaled_hw(image_rgb.shape[:2], short, long)
        image = image_rgb
        if (height, width) != image.shape[
            :2
        ]:  # Pillow's antialiased bilinear, rounded to uint8: as evaluated
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        divisor = self.network.size_divisor
        pixels = F.pad(self._normalised(image), (0, -width % divisor, 0, -height % divisor))
        return pixels, (height, width)

    def _normalised(self, image_rgb: npt.NDArray[np.uint8]) -> torch.Tensor:
        pixels = torch.from_numpy(np.array(image_rgb)).to(self.device).permute(2, 0, 1)[None].float()
        mean = torch.tensor(self.network.pixel_mean, device=self.device).view(1, 3, 1, 1)
        std = torch.tensor(self.network.pixel_std, device=self.device).view(1, 3, 1, 1)
        return (pixels - mean) / std

    def _check_finite(self, output: MaskFormerOutput) -> None:
        values = (output.mask_logits, output.class_embeddings, output.objectness)
        if not is_finite(tuple(value for value in values if value is not None)):
            chosen = self.options.precision
            cure = "look after its weights" if chosen == "fp32" else "take precision fp32"
            raise ConfigError(
                f"expected finite masks and embeddings, the network overflows in {chosen}; {cure}"
            )

    def _check_size(self, count: int, size_hw: tuple[int, int]) -> None:
        pixels = count * size_hw[0] * size_hw[1]
        if pixels > self.options.max_mask_pixels:
            side = math.isqrt(self.options.max_mask_pixels // max(count, 1))
            raise InvalidInputError(
                f"expected {count} masks of at most {self.options.max_mask_pixels} pixels together, got "
                f"an image of {size_hw[0]} x {size_hw[1]}; scale it down to about {side} x {side}, or raise "
                "max_mask_pixels"
            )


def scaled_hw(size_hw: tuple[int, int], short_side: int, long_side: int) -> tuple[int, int]:
    """Size an image is scaled to: its shorter side `short_side`, its longer at most `long_side`.

    The ratio of the sides stays, but for rounding and for images so thin that a side would vanish.

    >>> scaled_hw((480, 640), 640, 2560), scaled_hw((100, 1000), 640, 2560), scaled_hw((1, 9999), 640, 2560)
    ((640, 853), (256, 2560), (1, 2560))

    Source: detectron2's ResizeShortestEdge.
    """
    scale = short_side / min(size_hw)
    if max(size_hw) * scale > long_side:
        scale = long_side / max(size_hw)
    height, width = (max(int(side * scale + 0.5), 1) for side in size_hw)
    return height, width


def check_pixels(pixels: torch.Tensor, size_divisor: int) -> None:
    """That a network's input is one image (1, 3, h, w) with sides that are multiples of `size_divisor`.

    Raises:
        InvalidInputError: another shape.
    """
    if pixels.shape[:2] != (1, 3) or any(side % size_divisor for side in pixels.shape[2:]):
        raise InvalidInputError(
            f"expected pixels (1,3,h,w) with sides that are multiples of {size_divisor}, "
            f"got {tuple(pixels.shape)}"
        )


def binarise(
    soft: SoftMasks, size_hw: tuple[int, int], threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cuts soft masks at a threshold, a few at a time: never are all of them at full size at once.

    Args:
        soft: N soft masks.
        size_hw: (H, W) of the image.
        threshold: a pixel is in if its probability is greater.

    Returns:
        (N, H, W) bool on the CPU, and (N,) float32: the mean probability of the pixels that are in, 0 where
        none is.
    """
    masks = torch.zeros((len(soft), *size_hw), dtype=torch.bool)
    scores = torch.zeros(len(soft))
    largest = max(math.prod(size_hw), math.prod(soft.padded_hw))
    step = max(_FLOATS_AT_ONCE // largest, 1)
    for start in range(0, len(soft), step):
        rows = torch.arange(start, min(start + step, len(soft)))
        probabilities = soft.take(rows).probabilities(size_hw)  # (n,H,W)
        inside = probabilities > threshold
        masks[rows] = inside.cpu()
        total = probabilities.mul_(inside).sum((1, 2), dtype=torch.float64)
        scores[rows] = (total / inside.sum((1, 2)).clamp(min=1)).float().cpu()
    return masks, scores
