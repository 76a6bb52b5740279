"""The mask network: what its cells say, against a naive reading of the same numbers."""

import numpy as np
import torch

from ovseg_ros.models.bundled.lite import load_classifier
from ovseg_ros.proposals.colour.network import (
    PIXEL_STRIDE,
    STRIDES,
    Cells,
    ColourMaskNetwork,
    backbone_maps,
    cell_centres,
)


def naive_logits(cells: Cells, index: int) -> np.ndarray:
    """One cell's mask, pixel by pixel."""
    count, height, width = cells.pixels.shape
    kernel, box = cells.kernels[index].tolist(), cells.boxes[index].tolist()
    logits = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            across = ((column + 0.5) * PIXEL_STRIDE - box[0]) / box[2]
            down = ((row + 0.5) * PIXEL_STRIDE - box[1]) / box[3]
            alike = sum(kernel[c] * float(cells.pixels[c, row, column]) for c in range(count))
            slope = kernel[count] * across + kernel[count + 1] * down
            logits[row, column] = alike + slope + kernel[count + 2] - min(across**2, 12) - min(down**2, 12)
    return logits


def test_mask_logits_are_embeddings_times_kernel_plus_where_the_box_is():
    generator = torch.Generator().manual_seed(0)
    cells = Cells(
        torch.zeros(5),
        torch.rand((5, 4), generator=generator) * 20 + 4,
        torch.randn((5, 3 + 3), generator=generator),
        torch.randn((3, 6, 9), generator=generator),
    )
    logits = cells.mask_logits(torch.tensor([3, 0]))
    assert logits.shape == (2, 6, 9)
    np.testing.assert_allclose(logits[0], naive_logits(cells, 3), atol=1e-5)
    np.testing.assert_allclose(logits[1], naive_logits(cells, 0), atol=1e-5)
    torch.testing.assert_close(cells.mask_logits(torch.tensor([3, 0]), every=2), logits[:, ::2, ::2])
    assert cells.mask_logits(torch.zeros(0, dtype=torch.int64)).shape == (0, 6, 9)


def test_cells_of_all_levels_come_row_by_row_from_fine_to_coarse():
    torch.manual_seed(0)
    network, pixels = ColourMaskNetwork().eval(), torch.rand(2, 3, 64, 96) * 2 - 1
    with torch.no_grad():
        cells = network(backbone_maps(load_classifier(), pixels), pixels)
    count = sum((64 // stride) * (96 // stride) for stride in STRIDES)
    assert len(cells) == 2
    for image in cells:
        assert image.scores.shape == (count,)
        assert image.boxes.shape == (count, 4)
        assert (image.boxes[:, 2:] > 0).all()
        assert image.kernels.shape == (count, 32 + 3)
        assert image.pixels.shape == (32, 16, 24)
    # Untrained, every cell's box lies about the cell itself.
    centres = torch.cat([cell_centres((64 // s, 96 // s), s, torch.device("cpu")) for s in STRIDES])
    assert (cells[0].boxes[:, :2] - centres).abs().max() < 32


def test_pictures_of_a_batch_do_not_touch_each_other():
    torch.manual_seed(0)
    network, pixels = ColourMaskNetwork().eval(), torch.rand(2, 3, 64, 64) * 2 - 1
    backbone = load_classifier()
    with torch.no_grad():
        both = network(backbone_maps(backbone, pixels), pixels)
        alone = network(backbone_maps(backbone, pixels[1:]), pixels[1:])
    torch.testing.assert_close(both[1].kernels, alone[0].kernels, atol=1e-4, rtol=1e-4)
