"""Public MaskFormer and Mask2Former through transformers: tiny ones with random weights, saved and loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from no_network import forbid_network
from public_maskformer import QUERIES, tiny
from safetensors.torch import load_file, save_file

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError, WeightsError
from ovseg_ros.models.maskformer.public import PublicMaskFormer, load_public_maskformer
from ovseg_ros.proposals.maskformer import MaskFormerOptions, MaskFormerProposals

KINDS = [("maskformer", "swin"), ("maskformer", "resnet"), ("mask2former", "swin"), ("mask2former", "resnet")]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tiny("maskformer", "swin").save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_network(monkeypatch)


@pytest.mark.parametrize(("kind", "body"), KINDS)
def test_what_was_saved_is_what_runs(tmp_path: Path, kind: str, body: str) -> None:
    model = tiny(kind, body)
    model.save_pretrained(tmp_path)
    network = load_public_maskformer(tmp_path)
    assert isinstance(network, PublicMaskFormer)
    assert not network.training
    assert not network.classifies
    assert network.non_object is None
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        want = model(pixel_values=pixels)
    output = network(pixels)
    assert output.mask_logits.shape == (QUERIES, 16, 24)
    torch.testing.assert_close(output.mask_logits, want.masks_queries_logits[0])
    probabilities = want.class_queries_logits[0].softmax(-1)  # (Q,4): three classes and none of them
    torch.testing.assert_close(output.objectness, probabilities[:, :3].sum(-1))
    assert output.class_embeddings is None


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(("kind", "body"), KINDS)
def test_proposals(tmp_path: Path, kind: str, body: str, precision: str) -> None:
    tiny(kind, body).save_pretrained(tmp_path)
    size = {"shortest_edge": 64, "longest_edge": 96}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    options = MaskFormerOptions(precision=precision, mask_threshold=0.5)
    given = Frame(np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8))
    found = MaskFormerProposals(load_public_maskformer(tmp_path), options).propose(given)
    assert found.masks.shape == (QUERIES, 48, 60)
    assert found.soft is not None
    assert (found.soft.padded_hw, found.soft.valid_hw) == ((64, 96), (64, 80))
    assert ((found.scores >= 0) & (found.scores < 1)).all()
    assert found.class_embeddings is None


def apart(folder: Path) -> list[Path]:
    (folder / "elsewhere").mkdir()
    weights = (folder / "model.safetensors").rename(folder / "elsewhere" / "w.safetensors")
    return [folder / "config.json", weights]


def torch_file(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def without_what_nobody_learned(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    absent = ("criterion.empty_weight", "relative_position_index", "num_batches_tracked")
    learned = {key: value for key, value in state.items() if not key.endswith(absent)}
    assert len(learned) < len(state)
    save_file(learned, folder / "model.safetensors")


def called_swin(folder: Path) -> None:
    """As in public files, where transformers has a name of its own."""
    settings = json.loads((folder / "config.json").read_text())
    settings["backbone_config"]["model_type"] = "swin"
    (folder / "config.json").write_text(json.dumps(settings))


def settings_of_training(folder: Path) -> None:
    """And the backbone that DETR's own settings name beside the decoder, which is not fetched."""
    settings = json.loads((folder / "config.json").read_text())
    settings["use_auxiliary_loss"] = True
    settings["decoder_config"] |= {"auxiliary_loss": True, "use_timm_backbone": True, "backbone": "resnet50"}
    settings["decoder_config"] |= {"use_pretrained_backbone": True, "backbone_config": None}
    (folder / "config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("kind", "body", "change"),
    [(*kind, without_what_nobody_learned) for kind in KINDS]
    + [("maskformer", "swin", change) for change in (apart, torch_file, called_swin, settings_of_training)],
)
def test_the_same_network_however_it_lies_there(tmp_path: Path, kind: str, body: str, change) -> None:
    tiny(kind, body).save_pretrained(tmp_path)
    pixels = torch.randn(1, 3, 64, 64)
    want = load_public_maskformer(tmp_path)(pixels).mask_logits
    where = change(tmp_path) or [tmp_path]
    assert torch.equal(load_public_maskformer(*where)(pixels).mask_logits, want)


@pytest.mark.parametrize(
    ("image", "mean", "divisor", "short", "long"),
    [
        (None, 123.675, 32, 640, 2560),
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}, "size_divisor": 32}, 123.675, 32, 800, 1333),
        ({"size": 512, "max_size": 2048, "size_divisibility": 64}, 123.675, 64, 512, 2048),
        ({"size": {"height": 384, "width": 400}, "size_divisor": 0}, 123.675, 32, 384, 1536),
        ({"image_mean": [0.5, 0.4, 0.3], "rescale_factor": 0.01}, 50.0, 32, 640, 2560),
        ({"do_normalize": False}, 0.0, 32, 640, 2560),
    ],
)
def test_how_the_image_is_wanted(
    saved: Path, image: dict | None, mean: float, divisor: int, short: int, long: int
) -> None:
    if image is not None:
        (saved / "preprocessor_config.json").write_text(json.dumps(image))
    network = load_public_maskformer(saved)
    assert network.pixel_mean[0] == pytest.approx(mean)
    assert (network.size_divisor, network.short_side, network.long_side) == (divisor, short, long)
    if image == {"do_normalize": False}:
        assert network.pixel_std == pytest.approx((255, 255, 255))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("class_predictor.bias", None, "missing.*class_predictor.bias"),
        ("model.extra.weight", torch.ones(2), "unexpected.*model.extra.weight"),
        ("class_predictor.bias", torch.ones(9), "other shape.*class_predictor.bias"),
        ("class_predictor.bias", torch.full((4,), float("nan")), "NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    saved: Path, name: str, value: torch.Tensor | None, told: str
) -> None:
    state = load_file(saved / "model.safetensors")
    state |= {name: torch.ones(0) if value is None else value}
    save_file({k: v for k, v in state.items() if v.numel()}, saved / "model.safetensors")
    with pytest.raises(WeightsError, match=told):
        load_public_maskformer(saved)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("{", "as JSON"),
        ("[]", "a mapping"),
        ('{"model_type": "detr"}', "got 'detr'"),
        ('{"model_type": "maskformer"}', "with None"),
        ('{"model_type": "maskformer", "backbone_config": {"model_type": "timm_backbone"}}', "timm_backbone"),
        (
            '{"model_type": "maskformer", "backbone_config": {"model_type": "resnet", "depths": "x"}}',
            "described by",
        ),
    ],
)
def test_another_network_is_refused(saved: Path, settings: str, told: str) -> None:
    (saved / "config.json").write_text(settings)
    with pytest.raises(WeightsError, match=told):
        load_public_maskformer(saved)


def test_missing_files_are_told(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_public_maskformer(tmp_path / "nowhere")
    (saved / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors.*preprocessor_config"):
        load_public_maskformer(saved)


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (1, 3, 64, 65), (1, 4, 64, 64)])
def test_pixels_of_another_shape_are_refused(saved: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInputError, match="multiples of 32"):
        load_public_maskformer(saved)(torch.zeros(shape))
