"""What of a frame is shown: the mask of a box, at a point or drawn by hand, and the example it becomes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.memory.entry import Example
from ovseg_ros.memory.frames import crop_jpeg
from ovseg_ros.memory.teaching.looks import looks_of

FITS = 0.3
"""IoU from which a mask's box is the one that was drawn."""


def check_box(box_xywh: Sequence[int], size_hw: tuple[int, int]) -> None:
    """Refuses a box that is none of this picture.

    Args:
        box_xywh: left, top, width and height in pixels.
        size_hw: of the picture.

    Raises:
        InvalidInputError: it is empty or leaves the picture.
    """
    x, y, width, height = box_xywh
    if width < 1 or height < 1:
        raise InvalidInputError(f"expected a box with width and height, got {width}x{height}")
    if x < 0 or y < 0 or x + width > size_hw[1] or y + height > size_hw[0]:
        raise InvalidInputError(
            f"expected a box within the picture of {size_hw[1]}x{size_hw[0]} pixels, got one from ({x}, {y}) "
            f"to ({x + width}, {y + height}); a box is X,Y,W,H: left, top, width, height"
        )


def region_in_box(embedded: EmbeddedFrame, box_xywh: Sequence[int]) -> tuple[int, float]:
    """The mask whose box fits one that was drawn best.

    Args:
        embedded: N masks.
        box_xywh: left, top, width and height in pixels.

    Returns:
        Its index, and the IoU of the two boxes, to be held against `FITS`; (-1, 0.0) without masks.
    """
    from torchvision.ops import box_iou

    x, y, width, height = box_xywh
    if not len(embedded):
        return -1, 0.0
    drawn = torch.tensor([[x, y, x + width, y + height]], dtype=torch.float64)
    fit = box_iou(embedded.boxes_xyxy.double(), drawn)[:, 0]  # (N,)
    return int(fit.argmax()), float(fit.max())


def no_fit(fit: float) -> str:
    """Why a box shows nothing, with the cure."""
    best = f"; the best fits by {fit:.2f}" if fit > 0 else ""
    return f"no mask fits this box (IoU of boxes from {FITS}){best}; draw it closer"


def regions_at(embedded: EmbeddedFrame, x: int, y: int) -> list[int]:
    """The masks under a point, (column, row) in pixels, the surest to be one thing first."""
    height, width = embedded.frame.size_hw
    if not (0 <= x < width and 0 <= y < height):
        return []
    under = torch.nonzero(embedded.masks[:, y, x]).flatten().tolist()
    return sorted(under, key=lambda i: -float(embedded.mask_scores[i]))


def with_mask(
    embedded: EmbeddedFrame,
    mask: npt.NDArray[np.bool_],
    segmenter: OpenVocabularySegmenter,
    options: SegmenterOptions | None = None,
) -> EmbeddedFrame:
    """A frame with one more mask, the last, drawn by hand; the others go on standing beside it.

    Args:
        embedded: N masks.
        mask: (H, W) bool on the image.
        segmenter: the one that embedded the frame.
        options: as for `OpenVocabularySegmenter.embed`.

    Raises:
        InvalidInputError: it is of another size, or nothing is in it.
    """
    if mask.shape != embedded.frame.size_hw or not mask.any():
        height, width = embedded.frame.size_hw
        got = "nothing in it" if mask.shape == embedded.frame.size_hw else f"{mask.shape[1]}x{mask.shape[0]}"
        raise InvalidInputError(
            f"expected a mask of the picture's size, {width}x{height}, not 0 inside, got {got}"
        )
    drawn = torch.from_numpy(np.array(mask, bool))[None]
    rows = segmenter.encode_masks(embedded.frame, drawn, options)
    return EmbeddedFrame(
        embedded.frame,
        torch.cat([embedded.masks, drawn]),
        torch.cat([embedded.mask_scores, torch.ones(1).to(embedded.mask_scores)]),
        torch.cat([embedded.embeddings, rows.to(embedded.embeddings)]),
        embedded.timings,
        torch.cat([embedded.has_clip_embedding, torch.ones(1, dtype=torch.bool)]),
        embedding_key=embedded.embedding_key,
    )


def example_of(embedded: EmbeddedFrame, region: int, name: str, space: str, *, crops: bool = True) -> Example:
    """A mask of a frame as an example of a name.

    Args:
        embedded: the frame.
        region: which of its masks.
        name: "my mug".
        space: whose embeddings these are.
        crops: whether a picture of it is kept.

    Raises:
        InvalidInputError: the mask was not embedded.
    """
    crop = None
    if crops:
        x0, y0, x1, y1 = embedded.boxes_xyxy[region].tolist()
        crop = crop_jpeg(embedded.frame.image_rgb, (x0, y0, x1, y1))
    shown = embedded.frame.stamp_ns * 1e-9 or time.time()
    return dataclasses.replace(looks_of(embedded, space).example(region, name, shown), crop=crop)
