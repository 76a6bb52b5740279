"""Preset files: found, checked key by key, and built."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from no_network import forbid_network

from ovseg_ros.core.segmenter import SegmenterOptions
from ovseg_ros.core.words.templates import BARE_TEMPLATE
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models import presets
from ovseg_ros.models.downloads.files import known_file
from ovseg_ros.models.rivals import rival_list

GOOD = """
description: a test
proposer: {kind: depth_clusters}
encoder: {kind: mini}
"""


def encoder(part):
    return GOOD.replace("{kind: mini}", part)


def proposer(part):
    return GOOD.replace("{kind: depth_clusters}", part)


def sam(options):
    return proposer(f"{{kind: sam, model: vit_b, weights: a.pth, options: {options}}}")


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
        known = ", ".join(presets.list_presets())
        with pytest.raises(ConfigError, match=rf"expected a preset name \({known}\) or the path"):
            presets.load_preset(wrong)


def test_own_file_is_built(tmp_path, built):
    text = encoder("{kind: lite, weights: w.pth}") + (
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
        (
            GOOD + "colour: red",
            r"the preset does not know colour; it knows calibration, description, encoder",
        ),
        (GOOD + "options: {treshold: 0.5}", r"does not know treshold; it knows background, .*threshold"),
        (GOOD + "options: {threshold: high}", r"expected threshold as float, got 'high'"),
        (GOOD + "options: {threshold: true}", r"expected threshold as float, got True"),
        (GOOD + "options: {threshold: 1.5}", r"expected threshold in \[0, 1\], got 1.5"),
        (GOOD + "options: {max_masks: 2.5}", r"expected max_masks as int, got 2.5"),
        (GOOD + "options: {background: wall}", r"expected background as list, got 'wall'"),
        (
            GOOD + "options: {templates: vilt}",
            r"expected templates one of bare, single, vild, imagenet, got 'vilt'",
        ),
        (GOOD + "options: {fill: pink}", r"expected fill one of .*got 'pink'"),
        (GOOD + "options: [1]", r"expected options as key: value pairs"),
        (GOOD + "logit_scale: -1", r"expected logit_scale > 0, got -1"),
        (GOOD + "logit_scale: much", r"expected logit_scale > 0, got 'much'"),
        ("proposer: {kind: depth_clusters}", "expected a 'encoder' part"),
        ("encoder: {kind: mini}", "expected a 'proposer' part"),
        ("- 1", "expected the preset as key: value pairs"),
        ("a: [", "is not YAML"),
        ("encoder: &a {kind: *a}", r"line 1: \*a stands inside"),
        ("logit_scale: .inf", "expected a finite number"),
        (encoder("{kind: maxi}"), "expected encoder kind one of clip, lite, mini, owlv2, sam3, got 'maxi'"),
        (encoder("{kind: mini, wights: x}"), "encoder mini does not know wights"),
        (encoder("mini"), "expected encoder as key: value pairs, got 'mini'"),
        (encoder("{kind: clip, model: ViT-B-16}"), "encoder clip needs weights"),
        (encoder("{kind: clip, weights: a.safetensors}"), "encoder clip needs model"),
        (proposer("{kind: magic}"), "expected proposer kind one of colour_masks, .*union, got 'magic'"),
        (proposer("{kind: [sam]}"), "expected proposer kind one of"),
        (proposer("{kind: sam, model: vit_b}"), "proposer sam needs weights"),
        (proposer("{kind: sam, weights: a.pth}"), "proposer sam needs model"),
        (proposer("{kind: sam, model: vit_b, weights: [a]}"), "expected weights as a file name, got"),
        (sam("{point_grid: 3}"), "does not know point_grid"),
        (sam("[3]"), "expected options as key: value pairs"),
        (sam("{points_per_side: 0}"), "points_per_side"),
        (sam("{points_per_side: null}"), "expected points_per_side as int, got None"),
        (proposer("{kind: ovseg_maskformer, model: r101c, weights: a}"), "ovseg_maskformer needs non_object"),
        (proposer("{kind: maskformer, weights: a, options: {mask_threshold: 2.0}}"), "mask_threshold"),
        (proposer("{kind: union}"), "union needs members"),
        (proposer("{kind: union, members: []}"), "expected members as a list of proposers"),
        (proposer("{kind: union, members: sam}"), "expected members as a list of proposers"),
        (proposer("{kind: union, members: [{kind: saw}]}"), "expected union member kind one of .* got 'saw'"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_loaded(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        presets.read_preset(write(tmp_path, text))


def test_options_that_may_be_none_may_be_null(tmp_path):
    presets.read_preset(write(tmp_path, sam("{long_side: null}")))


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
        text = encoder(f"{{kind: mini, weights: {name}}}")
        presets.load_preset(write(tmp_path, text), weights_dir=other)
        assert built[-1] == ("mini", folder / name)


def test_activations_agree_with_the_table_of_files():
    for name in presets.list_presets():
        part = presets.read_preset(presets.preset_path(name))["encoder"]
        if part["kind"] == "clip":
            assert part["activation"] == known_file(part["weights"]).activation


@pytest.mark.parametrize("name", presets.list_presets())
def test_a_plain_clip_sees_surroundings_and_an_adapted_one_does_not(name):
    """A tower that was never shown blanked crops is poor at them; one made for them has no use for more."""
    preset = presets.read_preset(presets.preset_path(name))
    options = presets.build_options(presets.preset_path(name), preset["options"])
    weights = preset["encoder"].get("weights", "")
    if preset["encoder"]["kind"] != "clip" or weights.startswith("ovseg_"):  # our own are adapted too
        assert options.region_view == "masked"
    else:
        assert options.region_view == "both"
        assert options.expand_ratio > 1, "so that there are some"


@pytest.mark.parametrize("name", presets.list_presets())
def test_segment_anything_runs_in_16_bits_where_that_agrees(name):
    preset = presets.read_preset(presets.preset_path(name))
    if preset["proposer"]["kind"] == "sam":
        assert preset["proposer"]["options"]["precision"] == "auto"


def test_an_image_tower_of_its_own_is_looked_for_too(tmp_path):
    text = encoder("{kind: clip, model: ViT-B-16, weights: a.pth, image_weights: b.safetensors}")
    assert presets.preset_weights(write(tmp_path, text)) == ("a.pth", "b.safetensors")


@pytest.mark.parametrize("name", sorted(set(presets.list_presets()) - {"lite", "mini"}))
def test_without_weights_the_cure_is_named(tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forbid_network(monkeypatch)  # offline means offline
    with pytest.raises(
        WeightsError, match=r"expected the weights file .*(ovseg download|convert-checkpoint)"
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


def test_members_are_checked_and_their_weights_named(tmp_path):
    part = "{kind: owlv2, weights: w.safetensors, members: [{kind: sam, model: vit_b, weights: s.pth}]}"
    assert presets.preset_weights(write(tmp_path, proposer(part))) == ("w.safetensors", "s.pth")
    for wrong, told in (("[]", "expected members as a list"), ("[{kind: nil}]", "owlv2 member kind one of")):
        path = write(tmp_path, proposer(f"{{kind: owlv2, weights: w.safetensors, members: {wrong}}}"))
        with pytest.raises(ConfigError, match=told):
            presets.read_preset(path)


def test_absolute_scores_are_judged_by_no_rule():
    for name in ABSOLUTE:
        options = presets.build_options(
            presets.preset_path(name), presets.read_preset(presets.preset_path(name))["options"]
        )
        assert (options.classifier, options.decision, options.others) == ("maskformer", "softmax", "")
        assert not options.uses_clip


def test_imagenet_templates(tmp_path, built):
    options = presets.load_preset(write(tmp_path, GOOD + "options: {templates: imagenet}\n")).options
    assert len(options.templates) == 80
    assert all(sentence.count("{}") == 1 for sentence in options.templates)
    assert "a bad photo of a {}." in options.templates


class Stage:
    """Stands in for whatever has weights; `classifies` and pools whatever a preset asks for."""

    size, embedding_dim, logit_scale = 8, 384, 10.0
    needs_depth, classifies, grid_points = False, True, None

    def propose(self, frame, hints=None):
        raise AssertionError("nothing is looked at")

    def encode_pooled(self, image, masks):
        raise AssertionError("nothing is looked at")


ABSOLUTE = ("owlv2", "sam3")
"""Presets whose generator's own scores are absolute: no rule of absence judges them."""


@pytest.mark.parametrize("name", [name for name in presets.list_presets() if name not in ABSOLUTE])
def test_every_bundled_preset_brings_what_it_is_judged_by(monkeypatch, name):
    for part in ("ENCODERS", "PROPOSERS"):
        specs = getattr(presets, part)
        fakes = {kind: dataclasses.replace(spec, build=lambda *_: Stage()) for kind, spec in specs.items()}
        monkeypatch.setattr(presets, part, fakes)
    monkeypatch.setattr(presets, "encoder_options", lambda *_: None)  # nothing to accelerate
    segmenter = presets.load_preset(name)
    assert segmenter.options.decision == "trust"
    assert segmenter.options.colour_check == (name != "ovseg"), "as docs/modes.md says"
    trust, written = segmenter.trust, presets.read_preset(presets.preset_path(name))
    assert trust.rivals == rival_list()
    assert len(trust.rivals) > 900
    assert trust.meanings.same("sofa", "couch"), "by WordNet"
    assert not trust.meanings.same("sofa", "table")
    assert written["calibration"] == {key: getattr(trust.calibration, key) for key in written["calibration"]}
    assert (trust.reference is not None) == ("reference" in written)
    # a weight for a past that is not there would never be noticed
    assert (trust.calibration.past > 0) == (trust.reference is not None)
