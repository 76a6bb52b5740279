"""Masks that wait as bits where they were made: the library's, and none of them on the CPU in between."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sam_fixtures import disc_sam, library_says, picture, tiny_options

from ovseg_ros.core.frame import Frame
from ovseg_ros.proposals.sam import bits
from ovseg_ros.proposals.sam.bits import MaskBits, from_bits, pack, pack_on_device, unpack, unpack_on_device
from ovseg_ros.proposals.sam.images import enlarged, enlarged_on_device
from ovseg_ros.proposals.sam.proposer import SamOptions, SamProposals


def random_masks(count, height, width, seed=0):
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(seed)) > 0.5


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 5), (4, 8), (7, 9), (16, 16)])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_bits_and_back(count, size_hw):
    pixels = random_masks(count, *size_hw).flatten(1)
    packed = pack_on_device(pixels)
    assert (packed.shape, packed.dtype) == ((count, -(-pixels.shape[1] // 8)), torch.uint8)
    assert torch.equal(packed, pack(pixels))
    assert torch.equal(unpack(packed, pixels.shape[1]), pixels)
    assert torch.equal(unpack_on_device(packed, pixels.shape[1]), pixels)


def test_the_first_pixel_is_the_lowest_bit():
    pixels = torch.tensor([[True, False, False, False, False, False, False, False, False, True]])
    assert pack_on_device(pixels).tolist() == [[1, 2]]


def test_no_masks_still_have_a_size():
    assert from_bits([], (3, 4), (6, 8), torch.device("cpu")).shape == (0, 6, 8)


def test_bits_are_not_copied_with_what_holds_them():
    one = MaskBits(torch.zeros(3, dtype=torch.uint8))
    assert copy.deepcopy([one])[0] is one


@pytest.mark.parametrize("size_hw", [(80, 120), (61, 97), (40, 60), (20, 30)])
def test_masks_grow_on_any_device_as_they_do_on_the_cpu(size_hw):
    """OpenCV counts in 2048ths: on the very edge a pixel in a thousand may fall to the other side."""
    y, x = torch.meshgrid(torch.arange(40), torch.arange(60), indexing="ij")
    masks = torch.stack([(x - 30) ** 2 + (y - 20) ** 2 < 150, (x > 12) & (y < 33), x * 2 < y * 3])
    large = enlarged(masks, size_hw)
    assert large.shape == (3, *size_hw)
    for mask, wanted in zip(masks, large):
        assert (enlarged_on_device(mask, size_hw) == wanted).float().mean() > 0.999


@pytest.fixture
def elsewhere(monkeypatch):
    """As on another device: torch's operations alone; gives the pixels of whatever comes to the CPU."""
    came = []

    def watched(own):
        def call(self, *args, **kwargs):
            came.append(self.numel())
            return own(self, *args, **kwargs)

        return call

    monkeypatch.setattr(bits, "pack", pack_on_device)
    monkeypatch.setattr(bits, "unpack", unpack_on_device)
    monkeypatch.setattr(
        bits, "enlarged", lambda m, size_hw: torch.stack([enlarged_on_device(one, size_hw) for one in m])
    )
    for name in ("cpu", "numpy", "tolist", "__array__"):
        monkeypatch.setattr(torch.Tensor, name, watched(getattr(torch.Tensor, name)))
    return came


@pytest.mark.parametrize("options", [{}, {"crop_n_layers": 1}, {"long_side": 100}])
def test_masks_stay_on_the_device(elsewhere, options):
    sam, frame = disc_sam(seed=2), Frame(picture(200, 160))
    options = {"points_per_side": 8, "stability_score_thresh": 0.6, **options}
    proposals = SamProposals(sam, SamOptions(**options)).propose(frame)
    came = list(elsewhere)
    assert len(proposals) > 3
    assert came, "boxes and scores do come: the watch works"
    assert max(came) < 100 * 80 / 8, "nothing of a mask's size, not even its bits"
    if "long_side" not in options:
        defaults = {"pred_iou_thresh": 0.88, "stability_score_offset": 1.0, "box_nms_thresh": 0.7}
        masks, scores = library_says(sam, frame.image_rgb, **defaults, **options)
        assert np.array_equal(proposals.masks.numpy(), masks)
        assert np.allclose(proposals.scores.numpy(), scores)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, True), ({"min_mask_region_area": 9}, False), ({"points_per_side": 700}, False)],
)
def test_run_lengths_where_bits_do_not_do(options, expected):
    """Small regions are mended on the CPU, and of very many masks even the bits would be too many."""
    generator = SamProposals(disc_sam(seed=2), tiny_options())._generator(
        (72, 96), **{"points_per_side": 6} | options
    )
    assert generator.can_generate_bits((72, 96)) == expected
    assert not generator.can_generate_bits((100_000, 100_000))


def test_run_lengths_give_the_same(monkeypatch):
    sam, frame = disc_sam(seed=2), Frame(picture(200, 160))
    proposer = SamProposals(sam, SamOptions(points_per_side=8, stability_score_thresh=0.6, long_side=100))
    got = proposer.propose(frame)
    assert len(got) > 3
    monkeypatch.setattr("ovseg_ros.proposals.sam.generator._MOST_BITS", 0)
    other = proposer.propose(frame)
    assert torch.equal(got.masks, other.masks)
    assert torch.equal(got.scores, other.scores)
