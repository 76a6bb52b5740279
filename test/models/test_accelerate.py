"""A preset may say how its encoder's image tower is run."""

import dataclasses
import re

import pytest
import torch
import yaml
from repository import ROOT

from ovseg_ros.core.encoders.accelerate import AcceleratedEncoder, AccelerateOptions
from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.presets import list_presets, load_preset, preset_path, read_preset


def preset(folder, **encoder):
    content = {"proposer": {"kind": "depth_clusters"}, "encoder": {"kind": "mini"} | encoder}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_mini_in_bf16_agrees_and_is_used(tmp_path):
    clip = load_preset(preset(tmp_path, options={"precision": "bf16"})).clip
    assert isinstance(clip, AcceleratedEncoder)
    assert clip.precision == "bf16"
    assert clip.report is not None
    assert clip.report.cosine > 0.999
    pixels = torch.randn(3, 3, clip.size, clip.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = clip.encoder.encode_regions(pixels)
    assert (clip.encode_regions(pixels) * exact).sum(dim=1).min() > 0.999


@pytest.mark.parametrize("options", [{}, None, {"precision": "fp32"}])
def test_without_it_the_encoder_is_as_it_was(tmp_path, options):
    assert type(load_preset(preset(tmp_path, options=options)).clip) is MaskPromptedClip


@pytest.mark.parametrize(
    "options", [{"precison": "bf16"}, {"precision": "int8"}, {"compile": 1}, {"check_regions": -1}, "bf16"]
)
def test_slips_are_found_before_anything_is_loaded(tmp_path, options):
    with pytest.raises(ConfigError):
        read_preset(preset(tmp_path, options=options))


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ({"cuda_graphs": True}, "say compile: true"),
        ({"batch_buckets": [1]}, "leave it out"),
        ({"engine": "openvino"}, "say runtime"),
    ],
)
def test_options_there_were_once_name_their_replacement(tmp_path, option, instead):
    with pytest.raises(ConfigError, match=f"mine.yaml: there is no option .* any more; {instead}"):
        read_preset(preset(tmp_path, options=option))


def test_what_the_device_cannot_do_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="fp16"):
        load_preset(preset(tmp_path, options={"precision": "fp16"}))


def test_documentation_names_every_option_with_its_default():
    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    text = text[: text.index("\n## What each costs")]  # whose tables are of presets
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, flags=re.MULTILINE))
    assert set(rows) == {field.name for field in dataclasses.fields(AccelerateOptions)}
    defaults = AccelerateOptions()
    for name, said in rows.items():
        assert said.strip("` ") == str(getattr(defaults, name)).lower()
    encoders = {name: read_preset(preset_path(name))["encoder"] for name in list_presets()}
    automatic = {n for n, part in encoders.items() if part.get("options", {}).get("precision") == "auto"}
    assert automatic == set(re.findall(r"`(\w+)`", re.search(r"The presets (.*?) say", text).group(1)))
