"""Crops against a naive loop in NumPy that follows the paper's code pixel by pixel."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovseg_ros.core.regions import crop as regions_module
from ovseg_ros.core.regions.crop import (
    CLIP_MEAN,
    CLIP_STD,
    MEMORY_BUDGET,
    crop_regions,
    grow_boxes,
    mask_boxes,
)
from ovseg_ros.errors import ConfigError, InvalidInputError

MEAN, STD = np.array(CLIP_MEAN) * 255, np.array(CLIP_STD) * 255


def cubic(t, a=-0.75):
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def taps(i, side, size):
    """(index, weight) of the four source pixels of output pixel i; indices clamped to the crop."""
    at = (i + 0.5) * side / size - 0.5
    base = math.floor(at)
    return [(min(max(base + k, 0), side - 1), cubic(at - base - k)) for k in (-1, 0, 1, 2)]


def naive_crop(image, mask, size, fill):
    ys, xs = np.nonzero(mask)
    y0, y1, x0, x1 = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    crop, inside = image[:, y0:y1, x0:x1].astype(np.float64), mask[y0:y1, x0:x1]
    if fill is not None:
        crop = np.where(inside, crop, np.reshape(fill, (3, 1, 1)))
    crop = (crop - MEAN[:, None, None]) / STD[:, None, None]
    pixels, small = np.zeros((3, size, size)), np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            for y, wy in taps(i, y1 - y0, size):
                for x, wx in taps(j, x1 - x0, size):
                    pixels[:, i, j] += wy * wx * crop[:, y, x]
            small[i, j] = inside[i * (y1 - y0) // size, j * (x1 - x0) // size]
    return pixels, small


@pytest.fixture(params=["one by one", "together", "together, little memory"])
def path(request, monkeypatch):
    """Both ways of cropping, on the CPU; the second is what other devices do."""
    if request.param == "one by one":
        return
    budget = 1 if "little" in request.param else MEMORY_BUDGET

    def crop(*arguments):
        return regions_module._crop_together(*arguments, budget)

    monkeypatch.setattr(regions_module, "_crop_one_by_one", crop)


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 30, 40)).astype(np.float32)
    masks = np.zeros((5, 30, 40), dtype=bool)
    masks[0, 3:20, 5:31] = rng.random((17, 26)) > 0.4
    masks[1, 0:4, 36:40] = True  # at the corner, enlarged
    masks[2, 12, 7] = True  # one pixel
    masks[3] = rng.random((30, 40)) > 0.1  # everything
    return torch.from_numpy(image), torch.from_numpy(masks)  # masks[4] is empty


@pytest.mark.parametrize(
    ("fill", "colour"), [("mean", MEAN), ("none", None), ("black", np.zeros(3)), ("grey", np.full(3, 127.5))]
)
def test_agrees_with_the_naive_loop(scene, fill, colour, path):
    image, masks = scene
    regions = crop_regions(image, masks, size=12, fill=fill)
    assert regions.keep.tolist() == [True, True, True, True, False]
    assert regions.pixels.shape == (5, 3, 12, 12)
    assert regions.masks.shape == (5, 1, 12, 12)
    for i in range(4):
        pixels, small = naive_crop(image.numpy(), masks[i].numpy(), 12, colour)
        np.testing.assert_allclose(regions.pixels[i], pixels, atol=1e-3)
        np.testing.assert_array_equal(regions.masks[i, 0], small)
    assert regions.pixels[4].abs().sum() == 0
    assert regions.masks[4].sum() == 0


def test_mask_is_the_nearest_of_interpolate(path):
    generator = torch.Generator().manual_seed(0)
    for side in range(1, 80, 3):
        mask = torch.rand(1, side, side, generator=generator) > 0.5
        mask[:, 0] = mask[:, -1] = mask[:, :, 0] = mask[:, :, -1] = True
        expected = F.interpolate(mask[None].float(), size=(37, 37), mode="nearest")
        assert torch.equal(crop_regions(torch.zeros(3, side, side), mask, size=37).masks, expected)


def test_expanded_box_keeps_its_centre_and_is_clipped(path):
    image = torch.arange(400.0).reshape(1, 20, 20).expand(3, 20, 20) % 256
    mask = torch.zeros(2, 20, 20, dtype=torch.bool)
    mask[0, 8:12, 6:14] = True
    mask[1, 0:4, 16:20] = True
    regions = crop_regions(image, mask, size=8, fill="none", expand_ratio=1.5)
    for i, (y0, y1, x0, x1) in enumerate([(7, 13, 4, 16), (0, 5, 15, 20)]):
        crop = image[None, :, y0:y1, x0:x1]
        expected = F.interpolate(crop, size=(8, 8), mode="bicubic", align_corners=False)[0].numpy()
        expected = (expected - MEAN[:, None, None]) / STD[:, None, None]
        np.testing.assert_allclose(regions.pixels[i], expected, atol=1e-3)


def test_uint8_and_views_give_the_same(scene, path):
    image, masks = scene
    reference = crop_regions(image, masks, size=12)
    interleaved = image.byte().permute(1, 2, 0).contiguous().permute(2, 0, 1)
    again = crop_regions(interleaved, masks.transpose(1, 2).contiguous().transpose(1, 2), size=12)
    torch.testing.assert_close(again.pixels, reference.pixels)
    torch.testing.assert_close(again.masks, reference.masks)


def test_no_masks_and_only_empty_ones(path):
    for count, height, width in ((0, 4, 5), (2, 4, 5), (2, 0, 5)):
        masks = torch.zeros(count, height, width, dtype=torch.bool)
        regions = crop_regions(torch.rand(3, height, width), masks, size=7, fill="grey")
        assert regions.keep.tolist() == [False] * count
        assert len(regions) == count
        assert (regions.pixels.shape, regions.masks.shape) == ((count, 3, 7, 7), (count, 1, 7, 7))
        assert regions.pixels.abs().sum() == regions.masks.sum() == 0


def test_long_boxes_are_as_exact_as_short_ones():
    """In float32 the place of a pixel 8000 to the right would be off by half a thousandth of a pixel."""
    row = (255 * (torch.arange(8001) % 2)).expand(3, 1, 8001).float()
    mask = torch.ones(1, 1, 8001, dtype=torch.bool)
    together = regions_module._crop_together(row, mask, *mask_boxes(mask), 47, "mean", MEMORY_BUDGET)
    expected, _ = naive_crop(row.numpy(), mask[0].numpy(), 47, MEAN)
    np.testing.assert_allclose(together.pixels[0], expected, atol=1e-4)


def test_grown_boxes_round_half_to_even_as_python_does():
    boxes = torch.tensor([[4, 4, 7, 9], [0, 0, 20, 30], [0, 0, 0, 0]])
    assert grow_boxes(boxes, 1.0, size_hw=(30, 20)) is boxes
    expected = [[4 - round(0.75), 4 - round(1.25), 7 + round(0.75), 9 + round(1.25)], [0, 0, 20, 30], [0] * 4]
    assert grow_boxes(boxes, 1.5, size_hw=(30, 20)).tolist() == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_nothing_waits_for_the_device(scene):
    image, masks = scene
    expected = crop_regions(image, masks, size=12, fill="grey", expand_ratio=1.3)
    image, masks = image.cuda(), masks.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        regions = crop_regions(image, masks, size=12, fill="grey", expand_ratio=1.3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(regions.pixels.cpu(), expected.pixels, atol=1e-3, rtol=0)
    assert torch.equal(regions.masks.cpu(), expected.masks)


def test_boxes(scene):
    boxes, keep = mask_boxes(scene[1])
    for mask, box, kept in zip(scene[1], boxes.tolist(), keep.tolist(), strict=True):
        ys, xs = np.nonzero(mask.numpy())
        assert box == ([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if kept else [0, 0, 0, 0])
    assert mask_boxes(torch.zeros(2, 0, 5, dtype=torch.bool))[1].tolist() == [False, False]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"image": torch.zeros(1, 30, 40)}, InvalidInputError),
        ({"image": torch.zeros(3, 30, 41)}, InvalidInputError),
        ({"image": torch.zeros(3, 30, 40, dtype=torch.int64)}, InvalidInputError),
        ({"masks": torch.zeros(1, 30, 40)}, InvalidInputError),
        ({"masks": torch.zeros(30, 40, dtype=torch.bool)}, InvalidInputError),
        ({"size": 0}, ConfigError),
        ({"fill": "pink"}, ConfigError),
        ({"expand_ratio": 0.9}, ConfigError),
        ({"expand_ratio": float("nan")}, ConfigError),
    ],
)
def test_refuses(scene, change, error):
    arguments = {"image": scene[0], "masks": scene[1], "size": 12} | change
    with pytest.raises(error, match="expected"):
        crop_regions(arguments.pop("image"), arguments.pop("masks"), **arguments)
