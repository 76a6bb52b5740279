"""Preset files: found, checked key by key, and built."""

from __future__ import annotations

import pytest
import torch

from ovseg_ros.core.segmenter import SegmenterOptions
from ovseg_ros.core.templates import BARE_TEMPLATE
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models import presets

GOOD = """
description: a test
proposer: {kind: depth_clusters}
encoder: {kind: mini}
"""


class FakeEncoder:
    size, embedding_dim, logit_scale = 8, 4, 10.0


@pytest.fixture
def built(monkeypatch):
    """Replaces what loads weights; collects what it was asked for."""
    asked = []

    def build(given, weights_dir):
        asked.append((given, weights_dir))
        return FakeEncoder()

    monkeypatch.setattr(presets, "_ENCODERS", {"mini": build, "lite": build})
    monkeypatch.setattr(presets, "_PROPOSERS", {"depth_clusters": lambda path, options: options})
    return asked


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_bundled_presets_are_well_formed():
    assert {"mini", "lite"} <= set(presets.list_presets())
    for name in presets.list_presets():
        assert presets.read_preset(presets.preset_path(name))["description"]


def test_unknown_preset_lists_the_known(tmp_path):
    for wrong in ("vitb99", tmp_path / "absent.yaml", ""):
        with pytest.raises(ConfigError, match=r"want a preset name \(lite, mini\) or the path"):
            presets.load_preset(wrong)


def test_own_file_is_built(tmp_path, built):
    text = GOOD.replace("{kind: mini}", "{kind: lite, weights: w.pth}") + (
        "logit_scale: 42\n"
        "options: {threshold: 0.25, background: [wall, floor], templates: bare, max_masks: 7}\n"
    )
    segmenter = presets.load_preset(write(tmp_path, text), weights_dir=tmp_path)
    assert segmenter.name == "mine"
    assert segmenter.device == torch.device("cpu")
    assert segmenter.clip.logit_scale == 42.0
    assert segmenter.options == SegmenterOptions(
        threshold=0.25, background=("wall", "floor"), templates=BARE_TEMPLATE, max_masks=7
    )
    assert built == [(tmp_path / "w.pth", tmp_path)]


def test_own_logit_scale_stays_without_override(tmp_path, built):
    assert presets.load_preset(write(tmp_path, GOOD)).clip.logit_scale == 10.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour: red\n", r"the preset does not know colour; it knows description, encoder, logit_scale"),
        ("options: {treshold: 0.5}\n", r"options does not know treshold; it knows background, .*threshold"),
        ("options: {threshold: high}\n", r"want threshold as float, got 'high'"),
        ("options: {threshold: true}\n", r"want threshold as float, got True"),
        ("options: {threshold: 1.5}\n", r"want threshold in \[0, 1\], got 1.5"),
        ("options: {max_masks: 2.5}\n", r"want max_masks as int, got 2.5"),
        ("options: {background: wall}\n", r"want background as list, got 'wall'"),
        ("options: {templates: vilt}\n", r"want templates one of bare, single, vild, got 'vilt'"),
        ("options: {fill: pink}\n", r"want fill one of .*got 'pink'"),
        ("options: [1]\n", r"want options as key: value pairs"),
        ("logit_scale: -1\n", r"want logit_scale > 0, got -1"),
        ("logit_scale: much\n", r"want logit_scale > 0, got 'much'"),
    ],
)
def test_wrong_values_are_named(tmp_path, built, text, message):
    with pytest.raises(ConfigError, match=message):
        presets.load_preset(write(tmp_path, GOOD + text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proposer: {kind: depth_clusters}", "want a 'encoder' part"),
        ("encoder: {kind: mini}", "want a 'proposer' part"),
        (GOOD.replace("mini", "maxi"), "want encoder kind one of lite, mini, got 'maxi'"),
        (GOOD.replace("depth_clusters", "magic"), "want proposer kind one of depth_clusters, got 'magic'"),
        (GOOD.replace("{kind: mini}", "{kind: mini, wights: x}"), "encoder does not know wights"),
        (GOOD.replace("{kind: mini}", "mini"), "want encoder as key: value pairs, got 'mini'"),
        ("- 1", "want the preset as key: value pairs"),
        ("a: [", "is not YAML"),
    ],
)
def test_wrong_structure_is_named(tmp_path, built, text, message):
    with pytest.raises(ConfigError, match=message):
        presets.load_preset(write(tmp_path, text))


def test_unknown_device(tmp_path, built):
    for device in ("quantum", "cuda:99"):
        with pytest.raises(ConfigError, match=f"device '{device}' cannot be used.*try cpu"):
            presets.load_preset(write(tmp_path, GOOD), device=device)


def test_weights_dir_comes_before_the_installed_file(tmp_path):
    (tmp_path / "efficientnet-lite2-9656183e.pth").write_bytes(b"not these")
    with pytest.raises(WeightsError, match=str(tmp_path)):
        presets._lite(None, tmp_path)
    (tmp_path / "mini.json").write_text('{"sha256": "0"}')
    (tmp_path / "mini.safetensors").write_bytes(b"not these")
    with pytest.raises(WeightsError, match=str(tmp_path)):
        presets._mini(None, tmp_path)
