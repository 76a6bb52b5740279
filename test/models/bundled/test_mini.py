"""`mini`: what is saved comes back, and nothing else is accepted."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save

from ovseg_ros.core.encoders.mask_clip import new_mask_prompts
from ovseg_ros.core.frame import RegionEncoder
from ovseg_ros.errors import WeightsError
from ovseg_ros.models.bundled import mini
from ovseg_ros.models.downloads.verify import sha256_of

SMALL = mini.MiniConfig(image_size=64, patch_size=16, width=64, layers=2, heads=2, mlp_ratio=2.0)


@pytest.fixture(scope="module")
def model_and_prompts():
    torch.manual_seed(0)
    model, _ = mini.build_mini_clip(SMALL)
    return model, new_mask_prompts(model, depth=2, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def saved(model_and_prompts, tmp_path):
    path = tmp_path / "weights" / "mini.safetensors"
    mini.save_mini(path, *model_and_prompts, SMALL, notes={"accuracy": 0.5})
    return path


def rewrite(path, content):
    """Other weights, whose hash is that of the description beside them."""
    path.write_bytes(content)
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "sha256": sha256_of(path)}))


def test_saved_model_comes_back(saved, model_and_prompts):
    model, prompts = model_and_prompts
    clip = mini.load_mini(saved)
    assert isinstance(clip, RegionEncoder)
    assert (clip.size, clip.embedding_dim) == (64, 384)
    assert clip.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()), rel=1e-6)
    torch.testing.assert_close(clip.mask_prompts.detach(), prompts, atol=1e-4, rtol=1e-3)
    assert all(p.dtype == torch.float32 for p in clip.parameters())
    pixels = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    wanted = torch.nn.functional.normalize(model.eval().encode_image(pixels), dim=-1)
    torch.testing.assert_close(clip.encode_regions(pixels), wanted, atol=2e-3, rtol=0)  # half precision
    assert clip.encode_regions(pixels[:0]).shape == (0, 384)


def test_text_comes_from_the_locked_tower(saved):
    kettle, teapot, giraffe = mini.load_mini(saved).encode_text(["kettle", "teapot", "giraffe"], ["{}"])
    assert kettle @ teapot > kettle @ giraffe + 0.2


def test_file_is_small_and_half_precision(saved):
    state = load_file(saved)
    assert {str(v.dtype) for k, v in state.items() if k != "logit_scale"} == {"torch.float16"}
    assert all(k.startswith("visual.") or k in ("mask_prompts", "logit_scale") for k in state)


def test_without_prompts(model_and_prompts, tmp_path):
    mini.save_mini(tmp_path / "m.safetensors", model_and_prompts[0], None, SMALL)
    assert mini.load_mini(tmp_path / "m.safetensors").mask_prompts is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state.update({"visual.extra": state.pop("visual.proj")}),
            r"missing \['visual.proj'\], unexpected \['visual.extra'\]",
        ),
        (
            lambda state: state.update({"visual.proj": torch.zeros(3, 3).half()}),
            r"visual.proj \(3, 3\) instead of \(64, 384\)",
        ),
        (
            lambda state: state.update({"mask_prompts": torch.zeros(1, 5, 64).half()}),
            r"expected mask_prompts \(1…2,16,64\).*got \(1, 5, 64\)",
        ),
        (
            lambda state: state.update({"mask_prompts": torch.full((1, 16, 64), torch.nan).half()}),
            r"NaN or infinity in \['mask prompts'\]",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_listed(saved, change, message):
    state = load_file(saved)
    change(state)
    rewrite(saved, save(state))
    with pytest.raises(WeightsError, match=message):
        mini.load_mini(saved)


def test_changed_truncated_and_missing_files(saved):
    content = saved.read_bytes()
    rewrite(saved, b"no tensors here")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        mini.load_mini(saved)
    saved.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"SHA-256.*restore mini.safetensors"):
        mini.load_mini(saved)
    saved.unlink()
    with pytest.raises(WeightsError, match="does not exist"):
        mini.load_mini(saved)
    saved.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"mini.json"):
        mini.load_mini(saved)


@pytest.mark.parametrize("text", ["{", "[]", '{"image_size": 64}', '{"sha256": "0", "colour": 1}'])
def test_bad_description(saved, text):
    saved.with_suffix(".json").write_text(text)
    with pytest.raises(WeightsError, match=r"mini.json"):
        mini.load_mini(saved)


def test_impossible_shapes():
    with pytest.raises(WeightsError, match="tile"):
        mini.MiniConfig(image_size=100, patch_size=16)
    with pytest.raises(WeightsError, match="384"):
        mini.MiniConfig(embed_dim=512)
