"""Preset files: found, checked key by key, and built."""

from __future__ import annotations

import dataclasses
import socket

import pytest
import torch

from ovseg_ros.core.segmenter import SegmenterOptions
from ovseg_ros.core.words.templates import BARE_TEMPLATE
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models import presets
from ovseg_ros.models.downloads.files import files_of, known_file

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

    def build(context, part):
        asked.append((part["kind"], context.file(part["weights"]) if "weights" in part else None))
        return FakeEncoder()

    fakes = {name: dataclasses.replace(spec, build=build) for name, spec in presets.ENCODERS.items()}
    monkeypatch.setattr(presets, "ENCODERS", fakes)
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
        known = "convnext, lite, mini, ovseg, ovseg_sam, vitb16, vitl14"
        with pytest.raises(ConfigError, match=rf"want a preset name \({known}\) or the path"):
            presets.load_preset(wrong)


def test_own_file_is_built(tmp_path, built):
    text = GOOD.replace("{kind: mini}", "{kind: lite, weights: w.pth}") + (
        "logit_scale: 42\n"
        "options: {threshold: 0.25, background: [wall, floor], templates: bare, max_masks: 7}\n"
    )
    (tmp_path / "w.pth").write_bytes(b"anything")
    segmenter = presets.load_preset(write(tmp_path, text))
    assert segmenter.name == "mine"
    assert segmenter.device == torch.device("cpu")
    assert segmenter.clip.logit_scale == 42.0
    assert segmenter.options == SegmenterOptions(
        threshold=0.25, background=("wall", "floor"), templates=BARE_TEMPLATE, max_masks=7
    )
    assert built == [("lite", tmp_path / "w.pth")]


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
        ("options: {templates: vilt}\n", r"want templates one of bare, single, vild, imagenet, got 'vilt'"),
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
        (GOOD.replace("mini", "maxi"), "want encoder kind one of clip, lite, mini, got 'maxi'"),
        (
            GOOD.replace("depth_clusters", "magic"),
            "want proposer kind one of depth_clusters, .*union, got 'magic'",
        ),
        (GOOD.replace("{kind: mini}", "{kind: mini, wights: x}"), "encoder mini does not know wights"),
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
    (tmp_path / "mini.json").write_text('{"sha256": "0"}')
    (tmp_path / "mini.safetensors").write_bytes(b"not these")
    for name in ("lite", "mini"):
        with pytest.raises(WeightsError, match=str(tmp_path)):
            presets.load_preset(name, weights_dir=tmp_path)


def test_weights_named_in_a_preset_come_before_those_in_weights_dir(tmp_path, built):
    (tmp_path / "w.pth").write_bytes(b"anything")
    other = tmp_path / "weights"
    other.mkdir()
    (other / "w.pth").write_bytes(b"anything")
    (other / "v.pth").write_bytes(b"anything")
    for name, folder in (("w.pth", tmp_path), ("v.pth", other)):
        text = GOOD.replace("{kind: mini}", f"{{kind: mini, weights: {name}}}")
        presets.load_preset(write(tmp_path, text), weights_dir=other)
        assert built[-1] == ("mini", folder / name)


@pytest.mark.parametrize(
    ("proposer", "message"),
    [
        ("{kind: sam, model: vit_b}", "proposer sam needs weights"),
        ("{kind: sam, weights: a.pth}", "proposer sam needs model"),
        ("{kind: sam, model: vit_b, weights: [a]}", "want weights as a file name, got"),
        ("{kind: sam, model: vit_b, weights: a.pth, options: {point_grid: 3}}", "does not know point_grid"),
        ("{kind: sam, model: vit_b, weights: a.pth, options: [3]}", "want options as key: value pairs"),
        ("{kind: sam, model: vit_b, weights: a.pth, options: {points_per_side: 0}}", "points_per_side"),
        ("{kind: ovseg_maskformer, model: swin_base, weights: a}", "ovseg_maskformer needs non_object"),
        ("{kind: maskformer, weights: a, options: {mask_threshold: 2.0}}", "mask_threshold"),
        ("{kind: union}", "union needs members"),
        ("{kind: union, members: []}", "want members as a list of proposers"),
        ("{kind: union, members: sam}", "want members as a list of proposers"),
        ("{kind: union, members: [{kind: saw}]}", "want union member kind one of .* got 'saw'"),
        ("{kind: [sam]}", "want proposer kind one of"),
    ],
)
def test_wrong_proposers_are_named(tmp_path, proposer, message):
    path = write(tmp_path, GOOD.replace("{kind: depth_clusters}", proposer))
    with pytest.raises(ConfigError, match=message):
        presets.read_preset(path)


@pytest.mark.parametrize("encoder", ["{kind: clip, model: ViT-B-16}", "{kind: clip, weights: a.safetensors}"])
def test_wrong_encoders_are_named(tmp_path, encoder):
    path = write(tmp_path, GOOD.replace("{kind: mini}", encoder))
    with pytest.raises(ConfigError, match="encoder clip needs"):
        presets.read_preset(path)


def test_the_table_of_files_knows_which_preset_reads_what():
    for name in presets.list_presets():
        assert set(presets.preset_weights(name)) == {file.name for file in files_of(name)}
    assert presets.preset_weights("mini") == ()
    assert len(presets.preset_weights("ovseg")) == 4


def test_activations_agree_with_the_table_of_files():
    for name in presets.list_presets():
        encoder = presets.read_preset(presets.preset_path(name))["encoder"]
        if encoder["kind"] == "clip":
            assert encoder["activation"] == known_file(encoder["weights"]).activation


@pytest.mark.parametrize("name", ["convnext", "vitb16", "vitl14", "ovseg_sam", "ovseg"])
def test_without_weights_the_cure_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(socket, "socket", None)  # offline means offline
    with pytest.raises(
        WeightsError, match=r"want the weights file .*(ovseg download|convert-checkpoint)"
    ) as error:
        presets.load_preset(name, weights_dir=tmp_path / "mine")
    assert str(tmp_path / "mine") in str(error.value)


def test_proposals_of_another_preset(tmp_path, built):
    mine = write(tmp_path, GOOD + "options: {threshold: 0.3}\n")
    other = tmp_path / "other.yaml"
    other.write_text(GOOD.replace("depth_clusters}", "depth_clusters, options: {min_height_m: 0.123}}"))
    segmenter = presets.load_preset(mine, proposals_from=other)
    assert segmenter.proposer.options.min_height_m == 0.123
    assert segmenter.options.threshold == 0.3
    assert segmenter.name == "mine"


def test_proposals_that_do_not_classify_leave_it_to_clip(tmp_path, built, caplog):
    mine = write(tmp_path, GOOD + "options: {classifier: ensemble}\n")
    with pytest.raises(ConfigError, match="take the classifier clip"):
        presets.load_preset(mine)
    with caplog.at_level("WARNING"):
        assert presets.load_preset(mine, proposals_from="mini").options.classifier == "clip"
    assert "CLIP alone names masks instead of ensemble" in caplog.text


def test_imagenet_templates(tmp_path, built):
    options = presets.load_preset(write(tmp_path, GOOD + "options: {templates: imagenet}\n")).options
    assert len(options.templates) == 80
    assert all(sentence.count("{}") == 1 for sentence in options.templates)
    assert "a bad photo of a {}." in options.templates


def test_options_that_may_be_none_may_be_null(tmp_path):
    kind = "{kind: sam, model: vit_b, weights: a.pth, options: {%s: null}}"
    presets.read_preset(write(tmp_path, GOOD.replace("{kind: depth_clusters}", kind % "long_side")))
    with pytest.raises(ConfigError, match="want points_per_side as int, got None"):
        presets.read_preset(write(tmp_path, GOOD.replace("{kind: depth_clusters}", kind % "points_per_side")))
