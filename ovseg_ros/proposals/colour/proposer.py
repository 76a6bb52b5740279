"""`ColourMasks`: the masks that a `ColourMaskNetwork` finds, best first, without duplicates."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.core.device import DTYPES, PRECISIONS, Network, check_device, is_finite
from ovseg_ros.core.encoders import AgreementReport
from ovseg_ros.core.engines import (
    Job,
    Programs,
    Store,
    check_runtime,
    measurement_name,
    precision_elsewhere,
)
from ovseg_ros.core.frame import NO_HINTS, Frame, Hints, Proposals
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.proposals.agreement import check_masks
from ovseg_ros.proposals.colour.agreement import check_image, of_cells
from ovseg_ros.proposals.colour.network import Cells, ColourMaskNetwork, WithBackbone, said_cells

_LOOKED = 4  # images whose features are kept: as many as cameras that are followed at a time
_STRIDE = 32  # both sides of the input are multiples of it
_LONGEST_OVER_SHORTEST = 4
_CRUMB = 0.2  # of a mask's largest piece: smaller ones are mistakes more often than parts behind something
_HOLE = 0.02  # of a mask's pixels: smaller holes are mistakes; a mug's handle has a larger one


@dataclass(frozen=True)
class ColourMasksOptions:
    """How `ColourMasks` asks the network.

    Attributes:
        short_side: the image is scaled, up or down, so that its shorter side has about so many pixels, unless
            the longer one then had more than four times as many; both are rounded to multiples of 32.
        min_score: masks whose predicted IoU is lower are left out, in [0, 1].
        max_masks: at most so many, the best ones, >= 1.
        duplicate_iou: of two masks of this IoU or more the better one stays, in (0, 1].
        candidates: so many cells' masks are looked at before duplicates are taken out, >= max_masks.
        precision: "fp32", "bf16", "fp16" (not on a CPU), or "auto": 16 bits where the hardware computes in
            them, but float32 in another runtime on a CPU: bf16 in OpenVINO gives 1.4 % of the pixels to other
            masks.
        runtime: "torch"; "openvino", on a CPU; "onnxruntime"; "tensorrt", on an NVIDIA card; "auto" is
            OpenVINO on a CPU where it is installed, from the eighth image of a shape on, else torch. One that
            cannot be had, or does not find the same masks, gives way to torch.
        min_agreement: share of pixels that another runtime must give to the same mask as torch in float32
            does, in [0, 1].
        max_mask_pixels: refuse images for which the masks together would hold more pixels (bytes) than this.
    """

    short_side: int = 480
    min_score: float = 0.05
    max_masks: int = 100
    duplicate_iou: float = 0.7
    candidates: int = 600
    precision: str = "auto"
    runtime: str = "torch"
    min_agreement: float = 0.995
    max_mask_pixels: int = 1 << 32

    def __post_init__(self) -> None:
        if self.short_side < _STRIDE:
            raise ConfigError(f"expected short_side >= {_STRIDE} pixels, got {self.short_side}")
        if not 0 <= self.min_score <= 1:
            raise ConfigError(f"expected min_score in [0, 1], got {self.min_score}")
        if not 1 <= self.max_masks <= self.candidates:
            raise ConfigError(
                f"expected 1 <= max_masks <= candidates, got {self.max_masks}, {self.candidates}"
            )
        if not 0 < self.duplicate_iou <= 1:
            raise ConfigError(f"expected duplicate_iou in (0, 1], got {self.duplicate_iou}")
        if self.precision not in ("auto", *PRECISIONS):
            raise ConfigError(
                f"expected precision one of auto, {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        check_runtime(self.runtime)
        if not 0 <= self.min_agreement <= 1:
            raise ConfigError(f"expected min_agreement in [0, 1], got {self.min_agreement}")
        if self.max_mask_pixels < 1:
            raise ConfigError(f"expected max_mask_pixels >= 1, got {self.max_mask_pixels}")


class ColourMasks:
    """Proposes masks of things from colour alone.

    Args:
        backbone: timm's EfficientNet with the weights the network was trained on.
        network: the trained part.
        options: see `ColourMasksOptions`.
        device: where both run; they are moved there.
        store: keeps what another runtime makes of the network; None makes it anew at each start.
        pictures: photographs (H, W, 3) uint8 RGB on which another runtime is held against torch, beside a
            made-up image.

    Attributes:
        programs: what runs the network where it is not torch, and how that agreed.
    """

    needs_depth: ClassVar[bool] = False
    classifies: ClassVar[bool] = False
    grid_points: ClassVar[int | None] = None

    def __init__(
        self,
        backbone: nn.Module,
        network: ColourMaskNetwork,
        options: ColourMasksOptions | None = None,
        device: str | torch.device = "cpu",
        store: Store | None = None,
        pictures: Sequence[npt.NDArray[np.uint8]] = (),
    ) -> None:
        """See the class.

        Raises:
            ConfigError: a precision the device does not have.
        """
        self.options = options or ColourMasksOptions()
        self.device = torch.device(device)
        self.precision = check_device(self.options.precision, self.device)
        layout = torch.channels_last
        self.backbone = backbone.to(self.device, memory_format=layout).eval().requires_grad_(False)
        self.network = network.to(self.device, memory_format=layout).eval().requires_grad_(False)
        self.programs = Programs(
            "the colour mask network",
            lambda: self._whole,
            self._check,
            runtime=self.options.runtime,
            precision=precision_elsewhere(self.options.precision, self.precision, self.device),
            device=self.device,
            store=store,
        )
        self._store, self._pictures = store, pictures
        self._whole = WithBackbone(self.backbone, self.network)
        self._looked: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=_LOOKED)

    @torch.no_grad()
    def propose(self, frame: Frame, hints: Hints = NO_HINTS) -> Proposals:
        """The masks of things in the frame's colour image, surest first; depth is not used.

        A mask's score is the IoU that the network expects of it, times the mean probability of its pixels.

        Args:
            frame: of any size.
            hints: not used.

        Returns:
            At most `max_masks` masks on the CPU, none empty; they may overlap.

        Raises:
            InvalidInputError: the masks could be larger than `max_mask_pixels` together.
            torch.OutOfMemoryError: the device's memory is full.
        """
        height, width = frame.size_hw
        if self.options.max_masks * height * width > self.options.max_mask_pixels:
            raise InvalidInputError(
                f"expected {self.options.max_masks} masks of at most {self.options.max_mask_pixels} pixels "
                f"together, got an image of {width} x {height}; scale it down, or lower max_masks"
            )
        cells = self.cells(frame.image_rgb)
        logits, scores = best_masks(cells, self.options)
        masks = np.zeros((len(logits), height, width), bool)
        for mask, coarse in zip(masks, logits.cpu().numpy(), strict=True):
            mask[:] = cv2.resize(tidied(coarse), (width, height), interpolation=cv2.INTER_LINEAR) > 0
        proposals = Proposals(torch.from_numpy(masks), scores.cpu())
        filled = torch.from_numpy(masks.any(axis=(1, 2)))  # a thing may be less than a pixel of a small image
        return proposals if filled.all() else proposals.take(filled)

    def cells(self, image_rgb: npt.NDArray[np.uint8]) -> Cells:
        """What the network says about an image (H, W, 3) uint8; again in float32 where 16 bits overflow.

        Another runtime is given the network at the first image of each shape, under "auto" where a camera
        sends them; see `prepare`.
        """
        pixels = network_input(image_rgb, self.options.short_side).to(self.device)
        program = self.programs.of(pixels.shape)
        precision = self.precision if program is None else self.programs.precision
        said = self._said(pixels, DTYPES[precision]) if program is None else program(pixels)
        if not is_finite(said):
            precision, said = "fp32", self._said(pixels, torch.float32)
        if precision == "fp32":
            self._looked.append((pixels, said[-1]))
        return said_cells(said)

    def features_of(self, pixels: torch.Tensor) -> torch.Tensor | None:
        """What the backbone says before its average of one of the images that were looked at last.

        Args:
            pixels: (1, 3, h, w) as `network_input` makes them.

        Returns:
            (1, F, h / 32, w / 32) float32; None for other pixels, and where they were looked at in 16 bits.
        """
        for seen, features in reversed(tuple(self._looked)):
            if seen.device == pixels.device and torch.equal(seen, pixels):
                return features
        return None

    @torch.no_grad()
    def prepare(self, size_hw: tuple[int, int]) -> None:
        """Has another runtime make its program for images of that size now; torch needs none."""
        self.programs.prepare(network_input(np.zeros((*size_hw, 3), np.uint8), self.options.short_side).shape)

    def _check(self, program: Network, job: Job) -> AgreementReport:
        """Whether it gives pixels to the masks to which torch in float32 gives them."""
        height, width = job.example[0].shape[-2:]
        pictures = [
            check_image((height, width)),
            *(cv2.resize(one, (width, height)) for one in self._pictures),
        ]
        images = [_normalised(picture).to(self.device) for picture in pictures]
        runtime = self.programs.runtime
        return check_masks(
            of_cells(
                lambda pixels: self._run(pixels, torch.float32), lambda pixels: said_cells(program(pixels))
            ),
            images,
            what=f"{job.precision} in {runtime}",
            least=self.options.min_agreement,
            store=self._store,
            name="" if self._store is None else measurement_name(job, runtime, "masks 1", images),
        )

    def _run(self, pixels: torch.Tensor, dtype: torch.dtype) -> Cells:
        return said_cells(self._said(pixels, dtype))

    def _said(self, pixels: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            return self._whole(pixels)  # type: ignore[no-any-return]


def network_input(image_rgb: npt.NDArray[np.uint8], short_side: int) -> torch.Tensor:
    """(1, 3, h, w) float32 in [-1, 1], scaled so that sides are multiples of 32; see `ColourMasksOptions`."""
    height, width = image_rgb.shape[:2]
    scale = min(short_side / min(height, width), _LONGEST_OVER_SHORTEST * short_side / max(height, width))
    size_wh = tuple(max(1, int(side * scale / _STRIDE + 0.5)) * _STRIDE for side in (width, height))
    if size_wh != (width, height):
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image_rgb = cv2.resize(image_rgb, size_wh, interpolation=how)
    return _normalised(image_rgb)


def _normalised(image_rgb: npt.NDArray[np.uint8]) -> torch.Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(image_rgb)).permute(2, 0, 1)[None].float()
    return ((pixels - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)


def best_masks(cells: Cells, options: ColourMasksOptions) -> tuple[torch.Tensor, torch.Tensor]:
    """The masks that stay.

    Args:
        cells: of one image.
        options: see `ColourMasksOptions`.

    Returns:
        (M, h, w) float32 logits on the grid of the pixel embeddings and (M,) float32 scores, best first.
    """
    expected = cells.scores.float().sigmoid()
    expected, index = expected.topk(min(options.candidates, len(expected)))
    index = index[expected >= options.min_score]
    logits = cells.mask_logits(index, every=2)  # (K,h/2,w/2): a quarter of the work, and as good to compare
    inside = logits > 0
    areas = inside.sum((1, 2))
    sureness = (logits.sigmoid() * inside).sum((1, 2)) / areas.clamp(min=1)
    scores = expected[: len(index)] * sureness
    order = scores.argsort(descending=True, stable=True)
    order = order[(areas[order] > 0) & (scores[order] >= options.min_score)]
    order = order[_distinct(inside[order], options.duplicate_iou)[: options.max_masks]]
    return cells.mask_logits(index[order]), scores[order]


def tidied(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A mask (h, w) without small pieces and small holes: the sign of their logits is turned round."""
    rows, columns = np.flatnonzero((logits > 0).any(axis=1)), np.flatnonzero((logits > 0).any(axis=0))
    if not len(rows):
        return logits
    out = logits.copy()
    box = out[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    pieces, areas = _pieces(box > 0)
    is_crumb = (areas > 0) & (areas < _CRUMB * areas.max())
    if is_crumb.any():
        np.negative(box, out=box, where=is_crumb[pieces])
    around, areas = _pieces(box <= 0)
    is_hole = (areas > 0) & (areas < _HOLE * np.count_nonzero(box > 0))
    for edge in (around[0], around[-1], around[:, 0], around[:, -1]):
        is_hole[edge] = False  # open to the outside
    if is_hole.any():
        np.negative(box, out=box, where=is_hole[around])
    return out


def _pieces(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """(h, w) the number of each pixel's connected piece, 0 outside; and pixels of each number, 0 for 0."""
    _, pieces, boxes, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = boxes[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return pieces, areas  # type: ignore[return-value]


def _distinct(masks: torch.Tensor, duplicate_iou: float) -> torch.Tensor:
    """(M,) int64: which of (K, h, w) bool masks stay, each compared with the better ones that stayed."""
    flat = masks.flatten(1).float()
    both = flat @ flat.T
    areas = both.diagonal()
    iou = (both / (areas[:, None] + areas - both).clamp(min=1)).cpu().numpy()
    kept: list[int] = []
    for i in range(len(iou)):
        if not (iou[i, kept] >= duplicate_iou).any():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.int64, device=masks.device)
