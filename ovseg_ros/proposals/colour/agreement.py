"""Whether the colour mask network in another runtime still finds the masks that it finds in torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.proposals.agreement import Answer, Ask
from ovseg_ros.proposals.colour.network import Cells

BEST = 100
"""So many cells of an image are compared: those with the best scores in torch."""

Look = Callable[[torch.Tensor], Cells]


def of_cells(exact: Look, other: Look) -> Ask:
    """What `check_masks` compares: the masks of the cells that torch is surest of.

    Args:
        exact: (1, 3, h, w) pixels -> cells, by torch in float32.
        other: the same, by what is to be trusted.
    """

    def ask(pixels: torch.Tensor) -> tuple[Answer, Answer]:
        cells, others = exact(pixels), other(pixels)
        index = cells.scores.topk(min(BEST, len(cells.scores))).indices
        answer, found = (
            Answer(one.scores[index].float().sigmoid(), one.mask_logits(index, every=2))
            for one in (cells, others)
        )
        return answer, found

    return ask


def check_image(size_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8: discs of many colours on a shaded ground; the same every time."""
    generator = np.random.default_rng(0)
    height, width = size_hw
    y, x = np.mgrid[:height, :width]
    image = np.stack([90 + 80 * y / height, 120 + 40 * x / width, 100 + 0 * y], axis=-1)
    for _ in range(12):
        middle_y, middle_x, radius = generator.random(3) * (height, width, 0.2 * height)
        inside = (y - middle_y) ** 2 + (x - middle_x) ** 2 < radius**2
        image[inside] = generator.integers(0, 255, 3) * (0.8 + 0.2 * y[inside, None] / height)
    return image.clip(0, 255).astype(np.uint8)
