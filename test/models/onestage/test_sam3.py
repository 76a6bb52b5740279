"""SAM 3 behind our segmenter against transformers' own model, processors and post-processing."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from core_fixtures import words
from evaluate_fixtures import recorded
from no_network import forbid_network
from safetensors.torch import load_file, save_file
from tiny_sam3 import DIM, SETTINGS, said_by_transformers, save_tiny_sam3

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking import VideoSegmenter
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.evaluate.recordings.measures import measure
from ovseg_ros.models.onestage.sam3 import SIZES, load_sam3_network, load_sam3_words
from ovseg_ros.models.presets import load_preset, preset_path, read_preset
from ovseg_ros.proposals.concepts import ConceptOptions, ConceptProposals

WORDS = ("teapot", "red mug")
OPEN = SegmenterOptions(threshold=0.0, classifier="maskformer", others="", min_mask_pixels=1)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_network(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sam3")


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return save_tiny_sam3(folder)


@pytest.fixture(scope="module")
def weights(folder: Path, reference: Any) -> Path:
    return folder / "model.safetensors"


def frame(height: int = 48, width: int = 80) -> Frame:
    return Frame(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def segmenter_of(weights: Path, min_score: float = 0.0) -> OpenVocabularySegmenter:
    options = ConceptOptions(min_score=min_score, duplicate_iou=1.0, precision="fp32")
    return OpenVocabularySegmenter(
        ConceptProposals(load_sam3_network(weights), options), load_sam3_words(weights), OPEN
    )


@pytest.mark.parametrize("size_hw", [(48, 80), (120, 90)])
@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_masks_and_scores_are_transformers(reference, weights, size_hw, kept) -> None:
    given = frame(*size_hw)
    every = [said_by_transformers(reference, given.image_rgb, word, 0.0)["scores"] for word in WORDS]
    min_score = min(float(scores.quantile(1 - kept)) for scores in every) if kept < 1 else 0.0
    segmenter = segmenter_of(weights, min_score)
    embedded = segmenter.embed(given)
    for word in WORDS:
        want = said_by_transformers(reference, given.image_rgb, word, min_score)
        assert len(want["scores"]) > 0
        result = segmenter.label(embedded, words(word))
        torch.testing.assert_close(result.probs[:, 0], want["scores"], atol=1e-5, rtol=0)
        assert torch.equal(result.masks, want["masks"].bool())
        sure = result.mask_scores * want["presence"]
        torch.testing.assert_close(sure, want["scores"], atol=1e-5, rtol=0)
    both = segmenter.label(embedded, words(*WORDS))
    alone = [len(segmenter.label(embedded, words(word))) for word in WORDS]
    assert len(both) <= sum(alone)
    for word in WORDS:
        assert both.probs[:, both.vocabulary.index(word)].max() == pytest.approx(
            float(segmenter.label(embedded, words(word)).probs.max())
        )


def test_a_word_that_finds_nothing(weights) -> None:
    result = segmenter_of(weights, min_score=0.99).segment(frame(), words("teapot"))
    assert result.masks.shape == (0, 48, 80)
    assert result.best("teapot") == (None, 0.0)


def test_the_image_is_looked_at_once_and_a_new_word_runs_the_head(weights) -> None:
    segmenter, calls = segmenter_of(weights), Counter()

    def counted(module: torch.nn.Module, name: str) -> None:
        module.register_forward_hook(lambda *_: calls.update([name]))

    network = segmenter.proposer.network.model
    counted(network.vision_encoder, "image")
    counted(network.detr_decoder, "head")
    counted(segmenter.clip.text_encoder, "text")
    embedded = segmenter.embed(frame())
    assert calls == {"image": 1}
    segmenter.label(embedded, words("teapot", "mug"))
    segmenter.label(embedded, words("mug"))
    assert calls == {"image": 1, "head": 2, "text": 2}
    segmenter.label(embedded, words("mug", "spoon"))
    assert calls == {"image": 1, "head": 3, "text": 3}
    segmenter.label(segmenter.embed(frame(64, 64)), words("mug"))
    assert calls == {"image": 2, "head": 4, "text": 3}, "tokens are remembered from frame to frame"


def test_what_masks_look_like(weights) -> None:
    segmenter = segmenter_of(weights)
    result = segmenter.segment(frame(), words("teapot"))
    looks = result.embedded.class_embeddings
    assert looks.shape == (len(result), DIM)
    torch.testing.assert_close(looks.norm(dim=1), torch.ones(len(result)))
    whole = segmenter.proposer.network
    features = whole.look(frame().image_rgb)
    every = whole.looks(features, torch.ones(1, 48, 80, dtype=torch.bool))[0]
    mean = features.fpn_hidden_states[-2][0].mean(dim=(1, 2))
    torch.testing.assert_close(every, mean / mean.norm(), atol=1e-5, rtol=0)


def test_each_half_keeps_its_own_tower(weights) -> None:
    network, spoken = load_sam3_network(weights), load_sam3_words(weights)
    assert not [name for name, _ in network.named_parameters() if "text_encoder" in name]
    assert not [name for name, _ in spoken.named_parameters() if "vision" in name]
    rows = spoken.encode_text(["teapot", "red_mug", "red mug"])
    assert rows.shape == (3, DIM)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))
    assert torch.equal(rows[1], rows[2])
    with pytest.raises(ConfigError, match="encodes no regions"):
        spoken.encode_regions(torch.zeros(0))


def test_the_published_file_holds_a_tracker_too(weights, tmp_path) -> None:
    tensors = {f"detector_model.{key}": value for key, value in load_file(weights).items()}
    save_file(tensors | {"tracker_model.mask.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    config = {"model_type": "sam3_video", "detector_config": SETTINGS, "tracker_config": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    got = segmenter_of(tmp_path / "model.safetensors").segment(frame(), words("teapot"))
    torch.testing.assert_close(got.probs, segmenter_of(weights).segment(frame(), words("teapot")).probs)


def test_a_folder_that_is_not_whole_is_refused(weights, tmp_path) -> None:
    alone = tmp_path / "model.safetensors"
    with pytest.raises(WeightsError, match=r"expected the weights file .*does not exist; ask for access at"):
        load_sam3_words(alone)
    tensors = load_file(weights)
    tensors.pop("text_projection.bias")
    save_file(tensors, alone)
    with pytest.raises(WeightsError, match=r"config.json beside model.safetensors, it does not exist"):
        load_sam3_words(alone)
    with pytest.raises(WeightsError, match=r"missing .*text_projection.bias"):
        load_sam3_words(alone, SETTINGS)
    with pytest.raises(ConfigError, match="expected model one of base"):
        load_sam3_words(alone, "huge")


def test_a_preset_alone_is_enough(weights) -> None:
    part = {"kind": "sam3", "weights": "model.safetensors"}
    options = {"min_score": 0.0, "duplicate_iou": 1.0, "precision": "fp32"}
    text = {"proposer": part | {"options": options}, "encoder": part}
    text["options"] = {"classifier": "maskformer", "threshold": 0.0, "others": "", "min_mask_pixels": 1}
    path = weights.parent / "mine.yaml"
    path.write_text(json.dumps(text))
    segmenter = load_preset(path)
    assert "runs SAM 3 on the CPU" in segmenter.warning
    segmenter.warm_up()
    want = segmenter_of(weights).segment(frame(), words(*WORDS))
    torch.testing.assert_close(segmenter.segment(frame(), words(*WORDS)).probs, want.probs)
    union = {"kind": "union", "members": [part]}
    path.write_text(json.dumps(text | {"proposer": union}))
    with pytest.raises(ConfigError, match="sam3 finds masks by words and is no member of union"):
        read_preset(path)


def test_tracks_on_video(weights) -> None:
    video = VideoSegmenter(segmenter_of(weights))
    first, second = (
        video.segment(dataclasses.replace(frame(), stamp_ns=stamp * 10**8), words(*WORDS)) for stamp in (1, 2)
    )
    assert len(first) > 1
    some = first.embedded.filled
    assert torch.equal(first.track_ids[some].sort().values, torch.arange(1, int(some.sum()) + 1))
    assert torch.equal(second.masks, first.masks)
    assert len(set(second.track_ids[some].tolist()) & set(first.track_ids.tolist())) == int(some.sum())


def test_it_is_measured_on_a_recording_as_any_other(weights) -> None:
    frames = [recorded(0), recorded(1, shown=(2, 3))]
    segmenter, looked = segmenter_of(weights), []
    segmenter.proposer.network.model.vision_encoder.register_forward_hook(lambda *_: looked.append(1))
    counts = measure(segmenter, frames, absent_words=("yak",))
    assert len(looked) == 2, "each frame once"
    assert counts.words == ("red", "green", "blue")
    assert min(counts.masks) > 0
    assert len(counts.proposal_iou) == 3
    assert {word: len(trials) for word, trials in counts.asked.items()} == {"red": 1, "green": 2}
    assert len(counts.absent["yak"]) == 2
    assert "find" in counts.seconds
    wanted = segmenter.label(segmenter.embed(frames[0].frame), words("red"))
    best, _ = wanted.best("red")
    mask = wanted.masks[best].numpy()
    true = frames[0].instances == 1
    assert counts.asked["red"][0] == pytest.approx((mask & true).sum() / (mask | true).sum(), abs=1e-6)


def test_the_bundled_preset_is_of_the_published_size() -> None:
    from transformers import Sam3Config

    assert read_preset(preset_path("sam3"))["proposer"]["model"] in SIZES
    config = Sam3Config.from_dict(dict(SIZES["base"]))
    vision = config.vision_config.backbone_config
    assert (vision.image_size, vision.patch_size, vision.hidden_size, vision.num_hidden_layers) == (
        1008,
        14,
        1024,
        32,
    )
    assert (config.text_config.max_position_embeddings, config.detr_decoder_config.num_queries) == (32, 200)
