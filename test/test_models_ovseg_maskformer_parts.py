"""Each part of the paper's MaskFormer against the published formulas in float64."""

from __future__ import annotations

import maskformer_reference as reference
import numpy as np
import pytest
import torch
from maskformer_layout import TINY_RESNET, TINY_SWIN, synthetic_state

from ovseg_ros.errors import ConfigError
from ovseg_ros.models.ovseg_maskformer import OvsegMaskFormerConfig, build_ovseg_maskformer
from ovseg_ros.models.ovseg_maskformer_head import PixelDecoder, sine_positions
from ovseg_ros.models.ovseg_maskformer_resnet import ResNetBackbone
from ovseg_ros.models.ovseg_maskformer_swin import (
    SwinBackbone,
    from_windows,
    relative_position_index,
    shifted_apart,
    to_windows,
)

EXACT = 1e-9  # of float64 arithmetic in another order


class Pair:
    """A tiny network in float64, and the same weights for the reference."""

    def __init__(self, sizes: dict, seed: int = 0) -> None:
        self.config = OvsegMaskFormerConfig.from_mapping(sizes)
        state = synthetic_state(self.config, seed)
        self.network = build_ovseg_maskformer(self.config).double()
        learned = {key: value.double() for key, value in state.items() if not key.endswith("_index")}
        self.network.load_state_dict(learned)
        self.state = {key: value.numpy() for key, value in learned.items()}


@pytest.fixture(scope="module")
def swin() -> Pair:
    return Pair(TINY_SWIN)


@pytest.fixture(scope="module")
def resnet() -> Pair:
    return Pair(TINY_RESNET)


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def worst(got: torch.Tensor, want: np.ndarray) -> float:
    assert tuple(got.shape) == want.shape
    assert np.abs(want).max() > 0.01, "a comparison with nothing"
    return float(np.abs(got.numpy() - want).max())


@pytest.mark.parametrize("block", [0, 1], ids=["plain", "shifted"])
@pytest.mark.parametrize("size", [(6, 9), (5, 7), (3, 3), (1, 1), (2, 8)])
def test_swin_block(swin: Pair, block: int, size: tuple[int, int]) -> None:
    x = random(1, *size, 16)
    got = swin.network.backbone.layers[0].blocks[block](x)[0]
    name = f"backbone.layers.0.blocks.{block}"
    want = reference.swin_block(swin.state, name, x[0].numpy(), heads=2, window=3, shift=block)
    assert worst(got, want) < EXACT


def test_swin_block_with_a_wide_window() -> None:
    sizes = TINY_SWIN | {"backbone": TINY_SWIN["backbone"] | {"window": 4}}  # an even one: shifted by 2
    pair = Pair(sizes)
    x = random(1, 7, 9, 16)
    want = reference.swin_block(
        pair.state, "backbone.layers.0.blocks.1", x[0].numpy(), heads=2, window=4, shift=2
    )
    assert worst(pair.network.backbone.layers[0].blocks[1](x)[0], want) < EXACT


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 1)])
def test_patch_merging(swin: Pair, size: tuple[int, int]) -> None:
    x = random(1, *size, 16)
    want = reference.merge_patches(swin.state, "backbone.layers.0.downsample", x[0].numpy())
    assert worst(swin.network.backbone.layers[0].downsample(x)[0], want) < EXACT


def test_swin_backbone(swin: Pair) -> None:
    pixels = random(1, 3, 36, 52)  # odd sizes from the second stage on
    want = reference.swin(swin.state, pixels[0].numpy(), [2, 1, 1, 1], [2, 2, 4, 4], window=3)
    got = swin.network.backbone(pixels)
    assert [tuple(x.shape) for x in got] == [(1, 16, 9, 13), (1, 32, 5, 7), (1, 64, 3, 4), (1, 128, 2, 2)]
    for ours, theirs in zip(got, want):
        assert worst(ours[0], theirs) < EXACT


def test_windows_come_back() -> None:
    x = random(1, 6, 9, 2)
    windows = to_windows(x, 3)
    assert windows.shape == (6, 9, 2)
    assert torch.equal(windows[4].view(3, 3, 2), x[0, 3:6, 3:6])  # row by row
    assert torch.equal(from_windows(windows, 6, 9, 3), x)


def test_relative_positions_by_hand() -> None:
    # of a window of 2: (0,0) (0,1) (1,0) (1,1); straight on is row 4 of 9
    want = [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    assert relative_position_index(2).tolist() == want


def test_only_what_came_round_is_apart() -> None:
    apart = shifted_apart(4, 4, 2, 1, torch.device("cpu"))
    assert apart.shape == (4, 4, 4)
    assert not apart[0].any()
    assert apart[1].tolist() == [[False, True] * 2, [True, False] * 2] * 2  # its right column came round
    assert apart[2].tolist() == [[False, False, True, True]] * 2 + [[True, True, False, False]] * 2
    assert torch.equal(~apart[3], torch.eye(4, dtype=torch.bool))


def test_resnet_backbone(resnet: Pair) -> None:
    pixels = random(1, 3, 64, 96)
    want = reference.resnet(resnet.state, pixels[0].numpy(), [1, 2, 1, 3], [1, 2, 4])
    got = resnet.network.backbone(pixels)
    assert [tuple(x.shape) for x in got] == [(1, 16, 16, 24), (1, 32, 8, 12), (1, 64, 4, 6), (1, 128, 2, 3)]
    for ours, theirs in zip(got, want):
        assert worst(ours[0], theirs) < EXACT


@pytest.mark.parametrize(("block", "dilation"), [(0, 1), (1, 2), (2, 4)])
def test_the_last_stage_dilates_by_the_multi_grid(resnet: Pair, block: int, dilation: int) -> None:
    inputs = 128 if block else 64
    x = random(1, inputs, 9, 11)  # large enough for a dilation of 4 to reach other pixels
    name = f"backbone.res5.{block}"
    want = reference.bottleneck(resnet.state, name, x[0].numpy(), 1 if block else 2, dilation)
    assert worst(resnet.network.backbone.res5[block](x)[0], want) < EXACT


def test_stem(resnet: Pair) -> None:
    pixels = random(1, 3, 33, 46)
    x = pixels[0].numpy()
    for name, stride in (("conv1", 2), ("conv2", 1), ("conv3", 1)):
        x = reference.relu(reference.frozen_conv(resnet.state, f"backbone.stem.{name}", x, stride))
    assert worst(resnet.network.backbone.stem(pixels)[0], reference.max_pool(x)) < EXACT


def test_pixel_decoder(swin: Pair) -> None:
    # sizes that no step doubles exactly, as padded windows never give but the formula allows
    sizes = [(9, 13), (5, 7), (3, 4), (2, 2)]
    features = [random(1, 16 * 2**i, *size, seed=i) for i, size in enumerate(sizes)]
    want = reference.pixel_decoder(swin.state, [x[0].numpy() for x in features])
    got = swin.network.sem_seg_head["pixel_decoder"](features)
    assert got.shape == (1, 12, 9, 13)
    assert worst(got[0], want) < EXACT


def test_pixel_decoder_of_one_level() -> None:
    decoder = PixelDecoder([8], 32, 4)
    assert decoder([torch.ones(1, 8, 3, 5)]).shape == (1, 4, 3, 5)


@pytest.mark.parametrize(("height", "width"), [(3, 5), (1, 1)])
def test_sine_positions(height: int, width: int) -> None:
    got = sine_positions(height, width, 32, torch.float64, torch.device("cpu"))
    want = reference.sine_positions(height, width, 32)
    assert worst(got.view(height, width, 32), want) < EXACT


def test_decoder_layer(swin: Pair) -> None:
    state, memory, position, query = (
        random(5, 32),
        random(6, 32),
        random(6, 32, seed=3),
        random(5, 32, seed=4),
    )
    layer = swin.network.sem_seg_head["predictor"].transformer["decoder"].layers[1]
    got = layer(state[None], memory[None], (memory + position)[None], query[None])[0]
    name = "sem_seg_head.predictor.transformer.decoder.layers.1"
    arrays = (x.numpy() for x in (state, memory, position, query))
    assert worst(got, reference.decoder_layer(swin.state, name, *arrays, heads=4)) < EXACT


def test_predictor(swin: Pair) -> None:
    coarse, mask_features = random(1, 128, 2, 3), random(1, 12, 8, 12)
    embeddings, masks = swin.network.sem_seg_head["predictor"](coarse, mask_features)
    want = reference.predictor(swin.state, coarse[0].numpy(), mask_features[0].numpy(), heads=4, layers=2)
    assert worst(embeddings, want[0]) < EXACT
    assert worst(masks, want[1]) < EXACT


def test_no_projection_where_the_channels_agree() -> None:
    sizes = TINY_SWIN | {"hidden_dim": 128}
    pair = Pair(sizes)
    assert not any("input_proj" in key for key in pair.network.state_dict())
    coarse, mask_features = random(1, 128, 2, 3), random(1, 12, 8, 12)
    _, masks = pair.network.sem_seg_head["predictor"](coarse, mask_features)
    want = reference.predictor(pair.state, coarse[0].numpy(), mask_features[0].numpy(), heads=4, layers=2)
    assert worst(masks, want[1]) < EXACT


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="as many num_heads as depths"):
        SwinBackbone(embed_dim=16, depths=[1, 1], num_heads=[2], window=3)
    with pytest.raises(ConfigError, match="dividing"):
        SwinBackbone(embed_dim=16, depths=[1], num_heads=[3], window=3)
    with pytest.raises(ConfigError, match="multi_grid"):
        ResNetBackbone(depths=[1, 2], stem=8, width=4, outputs=16, multi_grid=[1, 2, 4])
    with pytest.raises(ConfigError, match="even stem"):
        ResNetBackbone(depths=[1], stem=7, width=4, outputs=16, multi_grid=[1])
