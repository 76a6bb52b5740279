"""SAM 2.1 and EdgeTAM: built in the published sizes, filled from the hub's files, wrong files named."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from no_network import forbid_network
from safetensors.torch import load_file, save_file
from sam2_fixtures import CONFIGS, LENIENT, SIDE, library_says, save_tiny_sam2, tiny_sam2
from sam_fixtures import picture

from ovseg_ros.core.frame import Frame, Hints
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models.downloads.files import known_file
from ovseg_ros.models.preset_parts import PROPOSERS, check_part, needs_depth, uses_sam, weights_named
from ovseg_ros.models.presets import list_presets, load_proposer, preset_path, preset_weights, read_preset
from ovseg_ros.models.sam2 import MODELS, PAGES, build_sam2, load_sam2
from ovseg_ros.proposals.colour import ColourMasks
from ovseg_ros.proposals.sam2.proposer import Sam2Options, Sam2Proposals
from ovseg_ros.proposals.union import UnionProposals


def as_video(folder):
    """Rewrites a folder as the hub's are: the whole network for video, with that for images in it."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {
        "model_type": f"{config['model_type']}_video",
        "num_maskmem": 7,
        "memory_attention_rope_theta": 1e4,
    }
    path.write_text(json.dumps(config), encoding="utf-8")
    state = load_file(folder / "model.safetensors")
    for name in (
        "memory_attention.layer_norm.weight",
        "mask_downsample.bias",
        "object_pointer_proj.proj_in.bias",
    ):
        state[name] = torch.zeros(4)
    state |= {
        "no_object_pointer": torch.zeros(1, 4),
        "occlusion_spatial_embedding_parameter": torch.zeros(1, 4),
    }
    save_file(state, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("kind", ["sam2_video", "edgetam_video"])
def test_a_folder_of_the_hub_fills_the_whole_network(tmp_path, monkeypatch, kind):
    forbid_network(monkeypatch)
    weights = save_tiny_sam2(tmp_path, kind, seed=3)
    wanted, loaded = tiny_sam2(kind, seed=3).state_dict(), load_sam2(weights, memory=True)
    assert "memory_temporal_positional_encoding" in wanted
    assert loaded.state_dict().keys() == wanted.keys()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in loaded.state_dict().items())
    larger = load_sam2(weights, image_size=2 * SIDE, memory=True).config
    assert (larger.image_size, larger.memory_attention_rope_feat_sizes) == (2 * SIDE, [8, 8])
    preset = tmp_path / "mine.yaml"
    part = {"kind": "sam2", "weights": "model.safetensors", "options": {"video_memory": True}}
    preset.write_text(json.dumps({"proposer": part, "encoder": {"kind": "mini"}}), encoding="utf-8")
    proposals, memory = load_proposer(preset), {}
    proposals.propose(Frame(picture(48, 64)), Hints(memory=memory))
    assert list(memory) == [proposals]
    save_tiny_sam2(tmp_path, kind.removesuffix("_video"))
    with pytest.raises(ConfigError, match="model_type of sam2_video, edgetam_video"):
        load_sam2(weights, memory=True)


def test_the_published_networks_for_video_are_of_the_published_size():
    with torch.device("meta"):
        built = build_sam2("tiny", memory=True)
    held = {name.partition(".")[0] for name, _ in built.named_parameters()}
    assert {"memory_attention", "memory_encoder", "object_pointer_proj", "no_object_pointer"} <= held
    assert round(sum(weight.numel() for weight in built.parameters()) / 1e6, 1) == 39.0


@pytest.mark.parametrize("kind", ["sam2", "edgetam"])
def test_a_folder_of_the_hub_fills_the_network(tmp_path, monkeypatch, kind):
    forbid_network(monkeypatch)
    weights = save_tiny_sam2(tmp_path, kind, seed=3)
    wanted = tiny_sam2(kind, seed=3).state_dict()
    for video in (False, True):
        if video:
            as_video(tmp_path)
        loaded = load_sam2(weights)
        assert loaded.state_dict().keys() == wanted.keys()
        assert all(torch.equal(value, wanted[key]) for key, value in loaded.state_dict().items())
        assert not loaded.training
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_numbers_of_16_bits_and_wrapped_names_are_read(tmp_path):
    weights = save_tiny_sam2(tmp_path, seed=3)
    state = {f"module.{key}": value.half() for key, value in load_file(weights).items()}
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    loaded = load_sam2(tmp_path / "other.pth")
    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
    key = "mask_decoder.iou_token.weight"
    assert torch.equal(loaded.state_dict()[key], state[f"module.{key}"].float())


@pytest.mark.parametrize("name", MODELS)
def test_the_published_sizes(name):
    """Parameters of the parts for images; the README of facebookresearch/sam2 counts those for video too."""
    with torch.device("meta"):
        model = build_sam2(name)
    published = {"tiny": 38.9, "small": 46.0, "base_plus": 80.8, "large": 224.4}
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    if name in published:
        video = 7.5  # memory attention and encoder, and the projection of pointers: the same in all four
        assert count + video == pytest.approx(published[name], abs=0.15)
    assert model.config.prompt_encoder_config.image_size == 1024
    assert name in PAGES


def test_tiny_is_what_transformers_takes_for_it():
    from transformers import Sam2Config, Sam2Model

    with torch.device("meta"):
        ours, theirs = build_sam2("tiny"), Sam2Model(Sam2Config())
    assert str(ours) == str(theirs)
    a, b = (copy.deepcopy(model.config).to_dict() for model in (ours, theirs))
    for config in (a, b):
        config.pop("architectures", None)
    assert a == b


@pytest.mark.parametrize("kind", ["sam2", "edgetam"])
def test_another_image_size_has_the_same_weights(tmp_path, kind):
    weights = save_tiny_sam2(tmp_path, kind)
    model = load_sam2(weights, image_size=96)
    own = load_sam2(weights).state_dict()
    assert all(torch.equal(value, own[key]) for key, value in model.state_dict().items())
    larger = copy.deepcopy(CONFIGS[kind])
    larger["prompt_encoder_config"]["image_size"] = 96
    larger["vision_config"]["backbone_feature_sizes"] = [[24, 24], [12, 12], [6, 6]]
    built = build_sam2(larger)
    built.load_state_dict(own)
    image, boxes = picture(96, 80), [[10.0, 10.0, 50.0, 60.0]]
    theirs, ours = (library_says(one, image, multimask=True, input_boxes=boxes) for one in (built, model))
    torch.testing.assert_close(theirs[1], ours[1])
    assert (theirs[0] == ours[0]).float().mean() > 0.999
    asked = Sam2Proposals(model, Sam2Options(**LENIENT)).propose_at(
        Frame(image), boxes_xyxy=boxes, multimask="all"
    )
    masks = ours[0].flatten(0, 1)
    assert torch.equal(asked.masks, masks[masks.flatten(1).any(dim=1)])
    with pytest.raises(ConfigError, match=r"image_size as a multiple of 32"):
        load_sam2(weights, image_size=100)


def test_files_that_do_not_fit_are_named(tmp_path):
    weights = save_tiny_sam2(tmp_path)
    with pytest.raises(
        WeightsError, match=r"does not hold the Sam2Model of small.*facebook/sam2.1-hiera-small"
    ):
        load_sam2(weights, "small")
    state = load_file(weights)
    extra = {**state, "mask_decoder.another.weight": torch.zeros(2)}
    save_file(extra, tmp_path / "extra.safetensors")
    with pytest.raises(WeightsError, match=r"unexpected .*mask_decoder.another.weight"):
        load_sam2(tmp_path / "extra.safetensors")
    del state["mask_decoder.iou_token.weight"]
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(WeightsError, match=r"missing .*mask_decoder.iou_token.weight"):
        load_sam2(tmp_path / "less.safetensors")
    state["mask_decoder.iou_token.weight"] = torch.full((1, 32), torch.nan)
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(WeightsError, match=r"mask_decoder.iou_token.weight"):
        load_sam2(tmp_path / "nan.safetensors")
    torch.save(
        {"model": {"image_encoder.trunk.pos_embed": torch.zeros(1)}}, tmp_path / "sam2.1_hiera_tiny.pt"
    )
    with pytest.raises(
        WeightsError, match=r"names of its authors' own code.*take model.safetensors of https"
    ):
        load_sam2(tmp_path / "sam2.1_hiera_tiny.pt", "tiny")
    with pytest.raises(WeightsError, match=r"EdgeTAM-hf"):
        load_sam2(tmp_path / "absent.safetensors", "edgetam")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (None, WeightsError, "expected .*config.json beside the weights, or model: one of tiny, small"),
        ("[1]", WeightsError, "expected a mapping"),
        ("{", WeightsError, "as JSON"),
        ({"model_type": "sam"}, ConfigError, "model_type of sam2, sam2_video, edgetam.*got 'sam'"),
        ({"vision_config": {"backbone_config": {"model_type": "swin"}}}, ConfigError, "with 'swin'"),
        ({"vision_config": 3}, ConfigError, "with None"),
        ({"mask_decoder_config": {"hidden_size": "many"}}, ConfigError, "expected a configuration of sam2"),
    ],
)
def test_bad_configurations_are_refused(tmp_path, change, error, message):
    weights = save_tiny_sam2(tmp_path)
    path = tmp_path / "config.json"
    if change is None:
        path.unlink()
    elif isinstance(change, str):
        path.write_text(change, encoding="utf-8")
    else:
        config = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(error, match=message):
        load_sam2(weights)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ConfigError, match=r"tiny, small, base_plus, large, edgetam.*got 'huge'"):
        build_sam2("huge")


def test_a_preset_builds_it_on_another_generators_boxes(tmp_path, monkeypatch):
    forbid_network(monkeypatch)
    save_tiny_sam2(tmp_path / "net")
    path = tmp_path / "mine.yaml"
    text = (
        "description: mine\n"
        "proposer:\n"
        "  kind: sam2\n"
        "  weights: net/model.safetensors\n"
        "  boxes_from: {kind: union, members: [{kind: colour_masks}, {kind: depth_clusters}]}\n"
        "  options: {precision: fp32, points_per_side: 3, image_size: 96}\n"
        "encoder: {kind: lite}\n"
    )
    path.write_text(text, encoding="utf-8")
    assert preset_weights(path) == ("net/model.safetensors",)
    built = load_proposer(path)
    assert isinstance(built, Sam2Proposals)
    assert (built.network.side, built.options.points_per_side) == (96, 3)
    assert isinstance(built.boxes_from, UnionProposals)
    assert isinstance(built.boxes_from.members[0], ColourMasks)
    assert not built.needs_depth
    frame = Frame(np.full((60, 80, 3), 128, np.uint8))
    assert built.propose(frame).masks.shape[1:] == (60, 80)
    path.write_text(text.replace("{kind: depth_clusters}", "{kind: depth_blusters}"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"expected union member kind one of"):
        read_preset(path)
    path.write_text(text.replace("boxes_from: {", "boxes_from: {colour: red, "), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"colour"):
        read_preset(path)
    assert SIDE != 96


def test_what_a_part_with_another_inside_says_of_itself(tmp_path):
    depth, sam = {"kind": "depth_clusters"}, {"kind": "sam", "model": "vit_b", "weights": "a.pth"}
    boxed = {"kind": "sam2", "weights": "b/model.safetensors", "boxes_from": depth}
    assert not needs_depth(boxed), "a grid stands in"
    assert needs_depth({**boxed, "options": {"points_per_side": 0}})
    assert not needs_depth(
        {**boxed, "options": {"points_per_side": 0}, "boxes_from": {"kind": "colour_masks"}}
    )
    assert not uses_sam(boxed)
    assert uses_sam({**boxed, "boxes_from": sam})
    assert uses_sam({"kind": "sam2", "weights": "b"}), "a grid on a CPU"
    assert weights_named({**boxed, "boxes_from": sam}, PROPOSERS) == ("b/model.safetensors", "a.pth")
    with pytest.raises(ConfigError, match=r"expected boxes_from as key: value pairs"):
        check_part(tmp_path, "proposer", {**boxed, "boxes_from": "depth_clusters"}, PROPOSERS)


def test_bundled_presets_name_the_file_that_fills_their_network():
    for name in list_presets():
        part = read_preset(preset_path(name))["proposer"]
        if part["kind"] == "sam2":
            file = known_file(part["weights"])
            assert PAGES[part["model"]] in file.url
            assert file.licence == "Apache-2.0"
    folders = {page.split("/")[1] for page in PAGES.values()}
    assert all(known_file(f"{folder}/model.safetensors").url for folder in folders)
