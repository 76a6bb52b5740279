"""OWLv2 behind our segmenter against transformers' own model, processors and post-processing."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from core_fixtures import FixedProposer, words
from no_network import forbid_network
from safetensors.torch import load_file, save_file
from tiny_owlv2 import BOXES, DIM, SETTINGS, clip_tokenizer, said_by_transformers, save_tiny_owlv2

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking import VideoSegmenter
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models.onestage.owlv2 import load_owlv2_boxes, load_owlv2_words
from ovseg_ros.models.presets import load_preset
from ovseg_ros.proposals.boxes import BoxOptions, BoxProposals

WORDS = ("teapot", "red mug", "cable")
EVERY_BOX = BoxOptions(max_boxes=BOXES, nms_iou=1.0, precision="fp32")
OPEN = SegmenterOptions(
    threshold=0.0, classifier="maskformer", templates=("a photo of a {}.",), others="", min_mask_pixels=1
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_network(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("owlv2")


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return save_tiny_owlv2(folder)


@pytest.fixture(scope="module")
def weights(folder: Path, reference: Any) -> Path:
    return folder / "model.safetensors"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return clip_tokenizer()


def frame(height: int = 48, width: int = 80, seed: int = 0) -> Frame:
    return Frame(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def segmenter_of(weights: Path, options: BoxOptions = EVERY_BOX) -> OpenVocabularySegmenter:
    boxes = BoxProposals(load_owlv2_boxes(weights), options)
    return OpenVocabularySegmenter(boxes, load_owlv2_words(weights), OPEN)


@pytest.mark.parametrize("size_hw", [(48, 80), (200, 150), (64, 64)])
def test_boxes_and_scores_are_transformers(reference, weights, tokenizer, size_hw) -> None:
    given = frame(*size_hw)
    want = said_by_transformers(reference, tokenizer, given.image_rgb, [f"a photo of a {w}." for w in WORDS])
    output = load_owlv2_boxes(weights)(given.image_rgb)
    torch.testing.assert_close(output.boxes_xyxy, want["boxes"], atol=1e-3, rtol=1e-5)  # pixels
    torch.testing.assert_close(output.objectness, want["objectness"], atol=1e-5, rtol=0)

    segmenter = segmenter_of(weights)
    result = segmenter.segment(given, words(*WORDS))
    # Those of transformers that are on the image, in the order of their objectness.
    height, width = size_hw
    limit = torch.tensor([width, height, width, height])
    pixels = torch.minimum(want["boxes"].round().clamp(min=0), limit)
    there = (pixels[:, 2:] > pixels[:, :2]).all(dim=1).nonzero()[:, 0]
    order = there[want["objectness"][there].argsort(descending=True, stable=True)]
    assert 1 < len(order) == len(result)
    assert torch.equal(result.boxes_xyxy, pixels[order].long())
    torch.testing.assert_close(result.scores, want["scores"][order], atol=1e-5, rtol=0)
    assert torch.equal(result.label_index, want["labels"][order])
    torch.testing.assert_close(result.probs, want["logits"][order].sigmoid(), atol=1e-5, rtol=0)
    torch.testing.assert_close(result.mask_scores, want["objectness"][order], atol=1e-5, rtol=0)
    for mask, (x0, y0, x1, y1) in zip(result.masks, pixels[order].int().tolist(), strict=True):
        assert int(mask.sum()) == (x1 - x0) * (y1 - y0) == int(mask[y0:y1, x0:x1].sum())


def test_words_are_read_as_the_folders_tokenizer_reads_them(reference, weights, tokenizer) -> None:
    texts = [
        "Teapot",
        "a RED mug, chipped",
        "café  au lait",
        "one two three four five six seven eight nine ten" * 2,
    ]
    tokens = tokenizer(texts, padding="max_length", truncation=True, max_length=16, return_tensors="pt")
    with torch.no_grad():
        want = reference.owlv2.get_text_features(**tokens).pooler_output
    got = load_owlv2_words(weights).encode_text(texts, ("{}",))
    torch.testing.assert_close(got, torch.nn.functional.normalize(want, dim=-1), atol=1e-5, rtol=0)


def test_a_word_scores_the_same_alone_and_beside_a_thousand(weights) -> None:
    segmenter = segmenter_of(weights)
    embedded = segmenter.embed(frame())
    alone = segmenter.label(embedded, words("teapot"))
    many = segmenter.label(embedded, words("teapot", *(f"thing {i}" for i in range(200))))
    torch.testing.assert_close(many.probs[:, 0], alone.probs[:, 0])
    assert many.probs.shape == (len(embedded), 201)
    with_wall = dataclasses.replace(OPEN, background=("wall",), background_max_similarity=1.0)
    background = segmenter.label(embedded, words("teapot"), with_wall)
    torch.testing.assert_close(background.probs, alone.probs)
    assert set(background.runner_up) == {"wall"}
    assert float(background.runner_up_score[0]) == pytest.approx(
        float(segmenter.label(embedded, words("wall")).probs[0, 0])
    )


def test_no_word_is_no_label(weights) -> None:
    result = segmenter_of(weights).segment(frame(), words())
    assert len(result) > 0
    assert result.probs.shape == (len(result), 0)
    assert set(result.label_index.tolist()) == {-1}


def test_the_image_is_looked_at_once_and_a_new_word_runs_the_text_tower_alone(weights, monkeypatch) -> None:
    segmenter, calls = segmenter_of(weights), Counter()

    def counted(module: torch.nn.Module, name: str) -> None:
        module.register_forward_hook(lambda *_: calls.update([name]))

    counted(segmenter.proposer.network.model.owlv2.vision_model, "image")
    counted(segmenter.proposer.network.model.class_head.dense0, "head")
    counted(segmenter.clip.text_model, "text")
    embedded = segmenter.embed(frame())
    assert calls == {"image": 1, "head": 1}
    segmenter.label(embedded, words("teapot", "mug"))
    segmenter.label(embedded, words("mug"))
    assert calls == {"image": 1, "head": 1, "text": 1}
    segmenter.label(embedded, words("mug", "spoon"))
    assert calls == {"image": 1, "head": 1, "text": 2}


def test_each_half_keeps_its_own_tower(weights) -> None:
    boxes, spoken = load_owlv2_boxes(weights), load_owlv2_words(weights)
    assert not [name for name, _ in boxes.named_parameters() if "text_model" in name]
    assert not [name for name, _ in spoken.named_parameters() if "vision" in name]
    assert spoken.embedding_dim == DIM


def test_what_is_followed_keeps_its_number_and_scores(weights) -> None:
    segmenter = segmenter_of(weights, BoxOptions(max_boxes=5, nms_iou=0.5, precision="fp32"))
    video, given = VideoSegmenter(segmenter), frame()
    first = video.segment(dataclasses.replace(given, stamp_ns=1), words(*WORDS))
    again = video.segment(dataclasses.replace(given, stamp_ns=100_000_001), words(*WORDS))
    assert 0 < len(first) <= 5
    assert 0 not in first.track_ids
    assert torch.equal(first.track_ids, again.track_ids)
    torch.testing.assert_close(first.probs, again.probs)
    torch.testing.assert_close(first.probs, segmenter.segment(given, words(*WORDS)).probs)


@pytest.mark.parametrize("classifier", ["clip", "ensemble"])
def test_what_looks_at_masks_with_clip_is_refused(weights, classifier) -> None:
    segmenter = segmenter_of(weights)
    with pytest.raises(ConfigError, match=r"reads words alone.*take the classifier maskformer"):
        segmenter.check(dataclasses.replace(OPEN, classifier=classifier))
    with pytest.raises(ConfigError, match="encodes no regions"):
        segmenter.clip.encode_regions(torch.zeros(0))
    segmenter.warm_up()  # which leaves the regions out


def test_words_of_another_network_are_refused(weights) -> None:
    boxes, spoken = BoxProposals(load_owlv2_boxes(weights), EVERY_BOX), load_owlv2_words(weights)
    other = load_owlv2_words(weights)
    other.space, other.words_only = "", False
    with pytest.raises(
        ConfigError, match=r"of one network; the class embeddings are OWLv2's and the words of"
    ):
        OpenVocabularySegmenter(boxes, other, OPEN)
    maskformer = FixedProposer(torch.ones(1, 4, 4, dtype=torch.bool))
    maskformer.classifies = True
    with pytest.raises(ConfigError, match="are of a MaskFormer's and the words OWLv2's"):
        OpenVocabularySegmenter(maskformer, spoken, OPEN)


def preset_file(folder: Path, **proposer: Any) -> Path:
    part = {"kind": "owlv2", "weights": "model.safetensors"}
    boxes = part | {"options": {"nms_iou": 1.0, "precision": "fp32"}} | proposer
    path = folder / "mine.yaml"
    options = {"classifier": "maskformer", "threshold": 0.0, "others": "", "templates": "single"}
    path.write_text(json.dumps({"proposer": boxes, "encoder": part, "options": options}))
    return path


def test_a_preset_alone_is_enough(weights) -> None:
    segmenter = load_preset(preset_file(weights.parent))
    result = segmenter.segment(frame(), words(*WORDS))
    want = segmenter_of(weights).segment(frame(), words(*WORDS))
    torch.testing.assert_close(result.probs, want.probs)
    assert segmenter.name == "mine"


def test_masks_of_members_take_the_place_of_boxes(weights, monkeypatch) -> None:
    plain = load_preset(preset_file(weights.parent)).propose(frame()).proposals
    thing = plain.masks[0].clone()
    middle = thing.nonzero().float().mean(0).long()
    thing[middle[0], middle[1]] = False  # a hole; its box stays
    given: list[Any] = []

    def propose(self: Any, asked: Frame, hints: Any) -> Proposals:
        given.append(hints.boxes_xyxy)
        return Proposals(thing[None], torch.ones(1))

    monkeypatch.setattr("ovseg_ros.proposals.union.UnionProposals.propose", propose)
    segmenter = load_preset(preset_file(weights.parent, members=[{"kind": "depth_clusters"}]))
    assert not segmenter.needs_depth
    cut = segmenter.propose(frame()).proposals
    assert torch.equal(cut.masks[0], thing)
    assert torch.equal(cut.masks[1:], plain.masks[1:])
    assert given[0].shape == (len(plain), 4)


def test_settings_come_from_the_preset_or_from_the_folder(weights, tmp_path) -> None:
    alone = tmp_path / "w.safetensors"
    alone.write_bytes(weights.read_bytes())
    with pytest.raises(
        WeightsError, match=r"expected .*config.json beside w.safetensors, it does not exist; put mod"
    ):
        load_owlv2_words(alone)
    assert load_owlv2_words(alone, SETTINGS).embedding_dim == DIM
    with pytest.raises(ConfigError, match=r"expected model one of base, or settings .*, got 'huge'"):
        load_owlv2_words(alone, "huge")
    with pytest.raises(WeightsError, match=r"does not hold this Owlv2ForObjectDetection: .*other shape"):
        load_owlv2_words(alone, SETTINGS | {"projection_dim": 8})


def test_a_folder_that_is_not_whole_is_refused(weights, tmp_path) -> None:
    with pytest.raises(
        WeightsError, match=r"expected the weights file .*model.safetensors, it does not exist; put"
    ):
        load_owlv2_boxes(tmp_path / "model.safetensors")
    tensors = load_file(weights)
    tensors.pop("objectness_head.dense2.bias")
    save_file(tensors, tmp_path / "model.safetensors")
    config = tmp_path / "config.json"
    config.write_text(json.dumps(SETTINGS))
    with pytest.raises(WeightsError, match=r"missing .*objectness_head.dense2.bias"):
        load_owlv2_boxes(tmp_path / "model.safetensors")
    for text, told in (
        ("{", "as JSON"),
        ('{"model_type": "clip"}', r"\['owlv2'\], got 'clip'"),
        ("[]", "got 'list'"),
    ):
        config.write_text(text)
        with pytest.raises(WeightsError, match=told):
            load_owlv2_boxes(tmp_path / "model.safetensors")


def test_the_published_base_is_what_transformers_takes_for_it() -> None:
    from transformers import Owlv2Config

    from ovseg_ros.models.onestage.owlv2 import SIZES

    config = Owlv2Config.from_dict(dict(SIZES["base"]))
    vision, text = config.vision_config, config.text_config
    assert (vision.image_size, vision.patch_size, vision.hidden_size, vision.num_hidden_layers) == (
        960,
        16,
        768,
        12,
    )
    assert (text.hidden_size, text.max_position_embeddings, config.projection_dim) == (512, 16, 512)
