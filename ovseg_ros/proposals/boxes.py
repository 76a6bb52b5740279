"""Boxes of a detector with words, as masks: rectangles, or what another generator cut out of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.core.device import DTYPES, PRECISIONS, check_device, is_finite
from ovseg_ros.core.frame import NO_HINTS, Frame, Hints, Proposals, as_proposer
from ovseg_ros.core.regions import mask_boxes
from ovseg_ros.errors import ConfigError


@dataclass(frozen=True)
class BoxOutput:
    """What a detector says about one image before it is asked for anything.

    Attributes:
        boxes_xyxy: (Q, 4) float32 left, top, right, bottom in pixels of the image; may reach beyond it.
        objectness: (Q,) in [0, 1], how probably there is any thing.
        class_embeddings: (Q, C) in the space of the network's own text tower.
        scale_shift: (Q, 2), see `Proposals`.
    """

    boxes_xyxy: torch.Tensor
    objectness: torch.Tensor
    class_embeddings: torch.Tensor
    scale_shift: torch.Tensor


class BoxNetwork(Protocol):
    """A built detector.

    Attributes:
        space: whose text tower its class embeddings are compared with.
    """

    space: str

    def __call__(self, image_rgb: npt.NDArray[np.uint8]) -> BoxOutput:
        """(H, W, 3) uint8 RGB -> all its boxes."""
        ...


@dataclass(frozen=True)
class BoxOptions:
    """How `BoxProposals` makes masks of boxes.

    Attributes:
        max_boxes: at most so many, those that most probably hold a thing, whatever it is; at least 1.
        nms_iou: of two boxes of more than this IoU the surer one stays, in (0, 1]; 1 keeps all.
        mask_iou: least IoU of a box and the tight box of a mask that another generator cut out, for the mask
            to take the box's place, in (0, 1].
        precision: "fp32", or "bf16" or "fp16" by autocast; "auto" takes 16 bits where the hardware computes
            in them.
    """

    max_boxes: int = 100
    nms_iou: float = 0.7
    mask_iou: float = 0.7
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.max_boxes < 1:
            raise ConfigError(f"expected max_boxes >= 1, got {self.max_boxes}")
        for name in ("nms_iou", "mask_iou"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"expected {name} in (0, 1], got {getattr(self, name)}")
        if self.precision not in ("auto", *PRECISIONS):
            raise ConfigError(
                f"expected precision one of auto, {', '.join(PRECISIONS)}, got {self.precision!r}"
            )


class BoxProposals:
    """The boxes that most probably hold a thing, with what the detector will say of them to any word.

    A box is no mask: without a cutter, or where that has nothing of its size, the whole rectangle is one,
    with what stands behind the thing in it.

    Attributes:
        space: of the network; its words have to be of the same.
    """

    needs_depth, classifies, grid_points = False, True, None

    def __init__(
        self,
        network: BoxNetwork,
        options: BoxOptions | None = None,
        device: str | torch.device = "cpu",
        cutter: Any = None,
    ) -> None:
        """Takes a detector.

        Args:
            network: built and loaded; moved to `device`, in evaluation mode.
            options: see `BoxOptions`.
            device: where the network runs.
            cutter: a generator whose masks take the place of boxes; it is given the boxes as hints. None for
                none.

        Raises:
            ConfigError: the device cannot do the precision.
        """
        self.options = BoxOptions() if options is None else options
        self.device = torch.device(device)
        self.network = network.to(self.device).eval() if isinstance(network, nn.Module) else network
        self.cutter = None if cutter is None else as_proposer(cutter)
        self.space = network.space
        self._dtype = DTYPES[check_device(self.options.precision, self.device)]

    @torch.no_grad()
    def propose(self, frame: Frame, hints: Hints = NO_HINTS) -> Proposals:
        """Runs the detector on the frame's colour image.

        Args:
            frame: of any size; depth is the cutter's alone.
            hints: not used.

        Returns:
            At most `max_boxes` masks on the CPU, surest first, none of them empty; scores are the objectness.

        Raises:
            ConfigError: the network overflows in the chosen precision.
            InvalidInputError: the cutter cannot use the frame.
            torch.OutOfMemoryError: the device's memory is full.
        """
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
            output = self.network(frame.image_rgb)
        self._check_finite(output)
        boxes, kept = self._chosen(output, frame.size_hw)
        masks = rectangles(boxes, frame.size_hw)
        if self.cutter is not None and len(boxes):
            cut = self.cutter.propose(frame, Hints(boxes.float()))
            cut.check_size(frame, self.cutter)
            place, mask = matched(boxes, mask_boxes(cut.masks.cpu())[0], self.options.mask_iou)
            masks[place] = cut.masks.cpu()[mask]
        return Proposals(
            masks,
            output.objectness.float().cpu()[kept].clamp(0, 1),
            class_embeddings=output.class_embeddings.float().cpu()[kept],
            scale_shift=output.scale_shift.float().cpu()[kept],
        )

    def _chosen(self, output: BoxOutput, size_hw: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 4) int64 boxes on the image's pixels, the last two exclusive, and (N,) which ones they are."""
        from torchvision.ops import nms

        boxes, scores = output.boxes_xyxy.float().cpu(), output.objectness.float().cpu()
        height, width = size_hw
        pixels = boxes.round().clamp(min=0)
        pixels = torch.minimum(pixels, torch.tensor([width, height, width, height]))
        index = ((pixels[:, 2:] > pixels[:, :2]).all(dim=1)).nonzero()[:, 0]
        if self.options.nms_iou < 1:
            index = index[nms(boxes[index], scores[index], self.options.nms_iou)]
        best = scores[index].argsort(descending=True, stable=True)[: self.options.max_boxes]
        return pixels[index[best]].long(), index[best]

    def _check_finite(self, output: BoxOutput) -> None:
        if not is_finite((output.boxes_xyxy, output.objectness, output.class_embeddings, output.scale_shift)):
            raise ConfigError(
                f"expected finite boxes and embeddings, the network overflows in {self._dtype}; take "
                "precision fp32, or look after its weights"
            )


def rectangles(boxes_xyxy: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """(N, H, W) bool: boxes (N, 4) int64 inside of the image, filled; the last two columns are exclusive."""
    masks = torch.zeros((len(boxes_xyxy), *size_hw), dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes_xyxy.tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def matched(boxes: torch.Tensor, others: torch.Tensor, least_iou: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of boxes that are each other's best.

    Args:
        boxes: (N, 4) left, top, right, bottom; those without area have no pair.
        others: (M, 4), as these.
        least_iou: of a pair.

    Returns:
        (P,) int64 into `boxes` and (P,) into `others`; no index twice.

    Examples:
        >>> boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
        >>> matched(boxes, torch.tensor([[0, 0, 10, 10]]), 0.7)
        (tensor([0]), tensor([0]))
    """
    from torchvision.ops import box_iou

    if len(boxes) == 0 or len(others) == 0:
        none = torch.zeros(0, dtype=torch.int64)
        return none, none
    iou = box_iou(boxes.float(), others.float()).nan_to_num(0.0)  # (N,M)
    best = iou.argmax(dim=1)  # (N,)
    place = torch.arange(len(boxes))
    mutual = (iou.argmax(dim=0)[best] == place) & (iou[place, best] >= least_iou)
    return place[mutual], best[mutual]
