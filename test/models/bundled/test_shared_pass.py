"""One pass for the masks and for naming them, where it is the same network on the same pixels."""

import numpy as np
import pytest
import torch

from ovseg_ros.core.frame import Frame
from ovseg_ros.models.bundled.colour_masks import load_colour_masks, share_pass
from ovseg_ros.models.bundled.lite import load_lite
from ovseg_ros.proposals.colour import ColourMasks, ColourMasksOptions
from ovseg_ros.proposals.colour.agreement import check_image
from ovseg_ros.proposals.union import UnionProposals

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def lite():
    encoder = load_lite()
    encoder.pooled_side = 64
    return encoder


@pytest.fixture
def colour():
    options = ColourMasksOptions(short_side=64, precision="fp32")
    return ColourMasks(*load_colour_masks(), options)


def halves(size_hw):
    masks = torch.zeros((2, *size_hw), dtype=torch.bool)
    masks[0, : size_hw[0] // 2] = True
    masks[1, :, : size_hw[1] // 2] = True
    return masks


@pytest.mark.parametrize(("size_hw", "passes"), [((64, 96), 0), ((70, 100), 1)])
def test_embeddings_are_those_of_a_pass_of_its_own(lite, colour, size_hw, passes, monkeypatch):
    """Of a frame that has to be scaled, which the two do differently, the encoder makes its own pass."""
    image, masks = check_image(size_hw), halves(size_hw)
    alone = lite.encode_pooled(image, masks)
    assert share_pass(UnionProposals([colour]), lite)
    colour.propose(Frame(image))
    calls, own = [], lite._pooled_features
    monkeypatch.setattr(lite, "_pooled_features", lambda pixels: calls.append(1) or own(pixels))
    torch.testing.assert_close(lite.encode_pooled(image, masks), alone, atol=1e-4, rtol=0)
    assert len(calls) == passes
    colour.propose(Frame(np.zeros((64, 96, 3), np.uint8)))
    image[:] = image[::-1]  # a camera's driver may write every frame into the same memory
    assert not torch.allclose(lite.encode_pooled(image, masks), alone, atol=1e-2)


def test_other_networks_do_not_share(lite, colour):
    assert not share_pass(object(), lite)
    assert not share_pass(colour, object())
    with torch.no_grad():
        colour.backbone.conv_stem.weight.mul_(1.1)
    assert not share_pass(colour, lite)
    assert lite.looked(torch.zeros(1, 3, 64, 64)) is None
