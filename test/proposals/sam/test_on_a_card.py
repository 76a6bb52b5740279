"""From SAM's masks to CLIP's crops on a graphics card that is not there: shapes and devices without numbers.

torch's fake tensors go through the operations that a card would be given, and have no values to look at:
whatever asked for one, or came to the CPU, shows.
"""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ovseg_ros.core.candidates import choose
from ovseg_ros.core.frame import Proposals
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions import crop_regions
from ovseg_ros.proposals.sam.bits import as_bits, from_bits

CARD = torch.device("cuda")
COUNT, HEIGHT, WIDTH = 5, 45, 60


class ToCpu(TorchDispatchMode):
    """Keeps the shapes of all that is copied from the card."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if isinstance(out, torch.Tensor) and given is not None and given.is_cuda and not out.is_cuda:
            self.shapes.append(tuple(out.shape))
        return out


@pytest.fixture
def came():
    with FakeTensorMode(), ToCpu() as watched:
        yield watched.shapes


def some_masks(height=HEIGHT, width=WIDTH):
    return torch.empty(COUNT, height, width, dtype=torch.bool, device=CARD)


def test_the_watch_sees_what_comes(came):
    some_masks().cpu()
    assert came == [(COUNT, HEIGHT, WIDTH)]


@pytest.mark.parametrize("size_hw", [(HEIGHT, WIDTH), (90, 121)])
def test_no_mask_comes_to_the_cpu_between_sam_and_the_crops(came, size_hw):
    masks = from_bits(as_bits(some_masks()), (HEIGHT, WIDTH), size_hw, CARD)
    assert (masks.shape, masks.dtype, masks.is_cuda) == ((COUNT, *size_hw), torch.bool, True)
    image = torch.empty(3, *size_hw, dtype=torch.uint8, device=CARD)
    for fill in ("mean", "none"):
        regions = crop_regions(image, masks, size=32, fill=fill, expand_ratio=1.3)
        assert regions.pixels.shape == (COUNT, 3, 32, 32)
        assert regions.pixels.is_cuda
    assert came == []


def test_masks_are_counted_and_chosen_where_they_are(came):
    """How many pixels each has comes all at once. Which of them stay needs values, so it ends there."""
    with pytest.raises(DynamicOutputShapeException):
        choose(Proposals(some_masks(), torch.empty(COUNT, device=CARD)), SegmenterOptions())
    assert came[0] == (COUNT,)
    assert (COUNT, HEIGHT, WIDTH) not in came
