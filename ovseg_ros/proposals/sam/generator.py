"""segment-anything's mask generator, made safe for crops without masks and for crops too small.

Imported only where a network is at hand: segment-anything imports torchvision, which takes a second.
"""

from __future__ import annotations

from typing import Any

from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.utils.amg import MaskData, generate_crop_boxes


class MaskGenerator(SamAutomaticMaskGenerator):
    """Differs from the library's only where that one fails: on crops in all of which no mask is found."""

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
