"""The paper's MaskFormer: the released layout, loading, and the same numbers as other code in float64."""

from __future__ import annotations

from pathlib import Path

import maskformer_oracle as oracle
import numpy as np
import pytest
import torch
from maskformer_layout import TINY_RESNET, TINY_SWIN, released_layout, synthetic_state
from safetensors.torch import save_file

from ovseg_ros.errors import ConfigError, InvalidInputError, WeightsError
from ovseg_ros.models.maskformer.config import R101C, SWIN_BASE, OvsegMaskFormerConfig
from ovseg_ros.models.maskformer.network import OvsegMaskFormer, build_ovseg_maskformer, load_ovseg_maskformer

EXACT = 1e-9  # of float64 arithmetic in another order


def write(
    folder: Path, sizes: dict, change: dict | None = None, row: torch.Tensor | None = None
) -> list[Path]:
    """A synthetic released file, split; `change` adds to it or, with None, takes away."""
    config = OvsegMaskFormerConfig.from_mapping(sizes)
    state = synthetic_state(config) | (change or {})
    weights, non_object = folder / "proposals.safetensors", folder / "non_object.safetensors"
    save_file({key: value.contiguous() for key, value in state.items() if value is not None}, weights)
    row = torch.linspace(-1, 2, config.embedding_dim)[None] if row is None else row
    save_file({"non_object_embedding": row}, non_object)
    return [weights, non_object]


def filled(sizes: dict) -> tuple[OvsegMaskFormer, oracle.State]:
    """A network in float64, and what is learned in it by the released names."""
    config = OvsegMaskFormerConfig.from_mapping(sizes)
    state = {k: v.double() for k, v in synthetic_state(config).items() if not k.endswith("_index")}
    network = build_ovseg_maskformer(config).double()
    network.load_state_dict(state)
    return network, state


def with_backbone(sizes: dict, **changes: object) -> dict:
    return sizes | {"backbone": sizes["backbone"] | changes}


def image(height: int, width: int) -> torch.Tensor:
    return torch.randn((1, 3, height, width), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("hidden_dim", [32, 128], ids=["projected", "as_wide_as_the_features"])
@pytest.mark.parametrize("size", [(64, 96), (32, 32)])
def test_a_released_file_gives_the_published_network(
    tmp_path: Path, size: tuple[int, int], hidden_dim: int
) -> None:
    sizes = TINY_SWIN | {"hidden_dim": hidden_dim}
    network = load_ovseg_maskformer(sizes, *write(tmp_path, sizes))
    assert isinstance(network, OvsegMaskFormer)
    assert not network.training
    pixels = image(*size)
    embeddings, masks = oracle.maskformer(network.config, filled(sizes)[1], pixels.double())
    output = network(pixels)
    assert output.objectness is None
    assert output.mask_logits.shape == masks.shape == (5, size[0] // 4, size[1] // 4)
    scale = masks.abs().max()
    assert scale > 0.1
    assert (output.mask_logits - masks).abs().max() < 2e-5 * scale
    assert (output.class_embeddings - embeddings).abs().max() < 2e-5
    output = network.double()(pixels.double())
    assert (output.mask_logits - masks).abs().max() < EXACT
    assert (output.class_embeddings - embeddings).abs().max() < EXACT


@pytest.mark.parametrize("window", [3, 4], ids=["odd", "even"])
@pytest.mark.parametrize("size", [(36, 52), (64, 96), (4, 4), (8, 132)])
def test_swin_on_images_that_windows_do_not_divide(window: int, size: tuple[int, int]) -> None:
    """Odd grids, grids smaller than a window, and a shifted block in every stage."""
    network, state = filled(with_backbone(TINY_SWIN, window=window, depths=[2, 2, 2, 2]))
    pixels = image(*size).double()
    got, want = network.backbone(pixels), oracle.swin_features(network.config, state, pixels)
    assert [x.shape for x in got] == [x.shape for x in want]
    for ours, theirs in zip(got, want, strict=True):
        assert theirs.abs().max() > 0.01, "a comparison with nothing"
        assert (ours - theirs).abs().max() < EXACT


@pytest.mark.parametrize("size", [(64, 96), (33, 46)])
def test_resnet_strides_and_dilates_as_published(size: tuple[int, int]) -> None:
    network, state = filled(with_backbone(TINY_RESNET, outputs=256))
    pixels = image(*size).double()
    want = oracle.resnet_features(network.config.backbone, state, pixels)
    for ours, theirs in zip(network.backbone(pixels), want, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, atol=EXACT, rtol=1e-12)


def test_the_non_object_row_becomes_a_unit_row(tmp_path: Path) -> None:
    row = torch.zeros(1, 16)
    row[0, 3] = 7.0
    network = load_ovseg_maskformer(TINY_SWIN, *write(tmp_path, TINY_SWIN, row=row))
    assert torch.equal(network.non_object, row / 7)


# Published: Swin-B 86.9 M (its features alone), MaskFormer Swin-B 102 M, MaskFormer R101c 60 M
@pytest.mark.parametrize(
    ("config", "keys", "millions", "classes"),
    [(SWIN_BASE, 479, 102.84, 768), (R101C, 676, 61.28, 512)],
    ids=["swin_base", "r101c"],
)
def test_full_size_layout(config: OvsegMaskFormerConfig, keys: int, millions: float, classes: int) -> None:
    with torch.device("meta"):
        network = build_ovseg_maskformer(config)
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert own == released_layout(config)
    assert len(own) == keys
    assert sum(value.numel() for value in network.state_dict().values()) / 1e6 == pytest.approx(
        millions, abs=0.01
    )
    head = "sem_seg_head.predictor"
    assert own[f"{head}.class_embed.layers.0.weight"] == (1024, 256)
    assert own[f"{head}.class_embed.layers.1.weight"] == (classes, 1024)
    assert own[f"{head}.query_embed.weight"] == (100, 256)
    assert own[f"{head}.transformer.decoder.layers.5.multihead_attn.in_proj_weight"] == (768, 256)
    assert f"{head}.transformer.decoder.layers.6.norm1.weight" not in own
    assert own["sem_seg_head.pixel_decoder.mask_features.weight"] == (256, 256, 3, 3)


def test_full_size_names_of_the_backbones() -> None:
    swin, resnet = released_layout(SWIN_BASE), released_layout(R101C)
    assert swin["backbone.layers.2.blocks.17.attn.relative_position_bias_table"] == (529, 16)
    assert swin["backbone.norm3.weight"] == (1024,)
    assert resnet["backbone.stem.conv3.norm.running_var"] == (128,)
    assert resnet["backbone.res4.22.conv2.weight"] == (256, 256, 3, 3)
    assert resnet["backbone.res2.0.shortcut.weight"] == (256, 128, 1, 1)
    assert sum(np.prod(shape) for key, shape in swin.items() if key.startswith("backbone")) == 86_880_376


TABLE = "backbone.layers.0.blocks.0.attn.relative_position_index"
COUNTER = "backbone.stem.conv1.norm.num_batches_tracked"


@pytest.mark.parametrize(
    ("sizes", "change"),
    [
        (TINY_SWIN, {TABLE: None}),
        (TINY_RESNET, {COUNTER: torch.tensor(7)}),
    ],
)
def test_what_nobody_learned_may_be_absent_or_there(tmp_path: Path, sizes: dict, change: dict) -> None:
    load_ovseg_maskformer(sizes, *write(tmp_path, sizes, change))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"backbone.norm3.bias": None}, "missing.*backbone.norm3.bias"),
        ({"sem_seg_head.predictor.class_embed.layers.2.bias": torch.ones(1)}, "unexpected.*layers.2.bias"),
        ({"clip_adapter.pixel_mean": torch.ones(3)}, "unexpected.*clip_adapter.*convert-checkpoint"),
        ({"sem_seg_head.predictor.query_embed.weight": torch.ones(6, 32)}, r"\(6, 32\)"),
        ({"backbone.norm3.bias": torch.full((128,), float("nan"))}, "NaN"),
        ({TABLE: torch.zeros(9, 9, dtype=torch.int64)}, r"relative_position_index \(window size\)"),
    ],
)
def test_a_file_of_another_network_is_refused(tmp_path: Path, change: dict, told: str) -> None:
    with pytest.raises(WeightsError, match=told):
        load_ovseg_maskformer(TINY_SWIN, *write(tmp_path, TINY_SWIN, change))


def test_the_other_backbone_is_refused_by_name(tmp_path: Path) -> None:
    files = write(tmp_path, TINY_RESNET)
    with pytest.raises(WeightsError, match="does not hold OVSeg's MaskFormer with Swin backbone"):
        load_ovseg_maskformer(TINY_SWIN, *files)


def test_missing_files_are_told(tmp_path: Path) -> None:
    weights, non_object = write(tmp_path, TINY_SWIN)
    with pytest.raises(WeightsError, match=r"absent\.safetensors.*convert-checkpoint"):
        load_ovseg_maskformer(TINY_SWIN, tmp_path / "absent.safetensors", non_object)
    with pytest.raises(WeightsError, match="absent"):
        load_ovseg_maskformer(TINY_SWIN, weights, tmp_path / "absent.safetensors")
    with pytest.raises(WeightsError, match="non_object_embedding"):
        load_ovseg_maskformer(TINY_SWIN, weights, weights)


@pytest.mark.parametrize(
    "row", [torch.zeros(1, 16), torch.full((1, 16), float("inf")), torch.ones(1, 12), torch.ones(16)]
)
def test_a_bad_non_object_row_is_refused(tmp_path: Path, row: torch.Tensor) -> None:
    with pytest.raises(WeightsError, match="non_object_embedding"):
        load_ovseg_maskformer(TINY_SWIN, *write(tmp_path, TINY_SWIN, row=row))


@pytest.mark.parametrize(
    "shape", [(1, 3, 33, 64), (1, 3, 64, 40), (2, 3, 32, 32), (1, 1, 32, 32), (3, 32, 32)]
)
def test_pixels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    network = build_ovseg_maskformer(OvsegMaskFormerConfig.from_mapping(TINY_SWIN))
    with pytest.raises(InvalidInputError, match="multiples of 32"):
        network(torch.zeros(shape))


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ("swin_large", "r101c.*swin_base.*swin_large"),
        ({"embedding_dim": 16}, "kind of .*got None"),
        (TINY_SWIN | {"backbone": {"kind": "vit"}}, "got 'vit'"),
        (TINY_SWIN | {"quaries": 5}, "quaries"),
        (TINY_SWIN | {"backbone": {"kind": "swin", "stem": 8}}, "stem"),
        ({key: value for key, value in TINY_SWIN.items() if key != "embedding_dim"}, "embedding_dim"),
        (with_backbone(TINY_SWIN, num_heads=[2]), "as many num_heads as depths"),
        (with_backbone(TINY_SWIN, num_heads=[2, 2, 3, 4]), "dividing"),
        (with_backbone(TINY_RESNET, depths=[1, 2, 1, 2]), "multi_grid"),
        (with_backbone(TINY_RESNET, stem=7), "even stem"),
        (TINY_SWIN | {"hidden_dim": 30}, "multiple of 4"),
        (TINY_SWIN | {"hidden_dim": "30"}, "hidden_dim as a whole number"),
        (TINY_SWIN | {"queries": 2**62}, "queries as a whole number"),
        (TINY_SWIN | {"pixel_mean": ["a"]}, "pixel_mean as a list of numbers"),
        (TINY_SWIN | {"backbone": "swin"}, "backbone as a mapping"),
        (TINY_SWIN | {"backbone": {"kind": ["swin"]}}, "kind of"),
        (with_backbone(TINY_SWIN, num_heads=[0, 2, 4, 8]), "above 0"),
        (with_backbone(TINY_SWIN, mlp_ratio="x"), "mlp_ratio as a number"),
        (["swin"], "a mapping of sizes"),
        (TINY_SWIN | {"conv_dim": 48}, "multiple of 32"),
    ],
)
def test_unknown_sizes_are_refused(tmp_path: Path, sizes: str | dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_ovseg_maskformer(sizes, tmp_path / "x", tmp_path / "y")


def test_half_precision_stays_close(tmp_path: Path) -> None:
    network = load_ovseg_maskformer(TINY_SWIN, *write(tmp_path, TINY_SWIN))
    pixels = image(64, 96)
    exact = network(pixels)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = network(pixels)
    scale = exact.mask_logits.abs().max()
    assert (coarse.mask_logits - exact.mask_logits).abs().max() < 0.1 * scale
    assert (coarse.class_embeddings - exact.class_embeddings).abs().max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("config", [SWIN_BASE, R101C], ids=["swin_base", "r101c"])
def test_full_size_file_loads_and_runs(tmp_path: Path, config: OvsegMaskFormerConfig) -> None:
    save_file(synthetic_state(config), tmp_path / "proposals.safetensors")
    save_file(
        {"non_object_embedding": torch.ones(1, config.embedding_dim)}, tmp_path / "non_object.safetensors"
    )
    name = "swin_base" if config is SWIN_BASE else "r101c"
    network = load_ovseg_maskformer(
        name, tmp_path / "proposals.safetensors", tmp_path / "non_object.safetensors"
    )
    output = network(image(96, 128))
    assert output.mask_logits.shape == (100, 24, 32)
    assert output.class_embeddings.shape == (100, config.embedding_dim)
    assert torch.isfinite(output.mask_logits).all()
    torch.testing.assert_close(output.class_embeddings.norm(dim=1), torch.ones(100))
