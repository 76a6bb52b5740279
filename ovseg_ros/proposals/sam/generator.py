"""segment-anything's mask generator, made safe for crops without masks and for crops too small.

Imported only where a network is at hand: segment-anything imports torchvision, which takes a second.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.utils.amg import MaskData, generate_crop_boxes

from ovseg_ros.proposals.sam.bits import MaskBits, as_bits

_MASKS_PER_POINT = 3
_MOST_BITS = 1 << 33  # of all masks of all points, should every one pass: 1 GiB

_in_run_lengths = SamAutomaticMaskGenerator._process_batch
_in_bits = FunctionType(  # the library's own function, in which masks wait as bits instead of run lengths
    _in_run_lengths.__code__, {**_in_run_lengths.__globals__, "mask_to_rle_pytorch": as_bits}
)


class MaskGenerator(SamAutomaticMaskGenerator):
    """Differs from the library's where that one fails, on crops in all of which no mask is found.

    And it has a second way to give masks, `generate_bits`: the same ones, which never leave the device.
    """

    _keeps_bits = False

    def can_generate_bits(self, size_hw: tuple[int, int]) -> bool:
        """Whether memory holds a bit for each pixel of all masks, and none has to be mended on the CPU."""
        points = sum(4**layer * len(grid) for layer, grid in enumerate(self.point_grids))
        most = _MASKS_PER_POINT * points * size_hw[0] * size_hw[1]
        return self.min_mask_region_area == 0 and most <= _MOST_BITS

    @torch.no_grad()
    def generate_bits(self, image: npt.NDArray[np.uint8]) -> tuple[list[MaskBits], npt.NDArray[np.float32]]:
        """N masks of an image (H, W, 3) RGB, on the network's device, and (N,) predicted IoU."""
        self._keeps_bits = True
        try:
            data = self._generate_masks(image)
        finally:
            self._keeps_bits = False
        return data["rles"], data["iou_preds"]

    def _process_batch(self, *args: Any, **kwargs: Any) -> MaskData:
        if self._keeps_bits:
            return _in_bits(self, *args, **kwargs)
        return super()._process_batch(*args, **kwargs)

    def _process_crop(self, *args: Any, **kwargs: Any) -> MaskData:
        data = super()._process_crop(*args, **kwargs)
        data["crop_boxes"] = data["crop_boxes"].reshape(-1, 4)  # (0,) without masks
        return data


class HeldPredictor(SamPredictor):
    """A predictor that keeps the image it was given: asking it again does not encode it again."""

    def __init__(self, predictor: SamPredictor) -> None:
        """Takes over what a predictor made of its image."""
        self.__dict__.update(predictor.__dict__)

    def set_image(self, image: Any, image_format: str = "RGB") -> None:
        """Does nothing: the image is set."""

    def reset_image(self) -> None:
        """Does nothing: the image is still needed."""


def configured_generator(model: Any, working_hw: tuple[int, int], settings: dict[str, Any]) -> MaskGenerator:
    """A generator for images of one size, with as many crop layers as these have room for.

    Args:
        model: a `Sam`, or what behaves as one.
        working_hw: of the images.
        settings: of `SamAutomaticMaskGenerator`; its `crop_n_layers` may be lowered.
    """
    layers, fewer = settings["crop_n_layers"], settings["crop_n_points_downscale_factor"]
    while layers and settings["points_per_side"] < fewer**layers:
        layers -= 1
    side = model.image_encoder.img_size
    layers = usable_crop_layers(working_hw, layers, settings["crop_overlap_ratio"], side)
    # Of small regions and huge pictures; run lengths take a thousandth of the masks' memory until wanted.
    return MaskGenerator(model, output_mode="uncompressed_rle", **settings | {"crop_n_layers": layers})


def usable_crop_layers(size_hw: tuple[int, int], layers: int, overlap_ratio: float, image_size: int) -> int:
    """As many of the layers, from the first, as have no crop that is empty or thinner than one input pixel.

    Args:
        size_hw: of the image that is cropped.
        layers: wanted.
        overlap_ratio: of the crops, see `SamOptions.crop_overlap_ratio`.
        image_size: side of the network's input.
    """
    for layer in range(layers, 0, -1):
        boxes, _ = generate_crop_boxes(size_hw, layer, overlap_ratio)
        sides = [(right - left, bottom - top) for left, top, right, bottom in boxes]
        if all(min(side) >= 1 and 2 * min(side) * image_size > max(side) for side in sides):
            return layer
    return 0
