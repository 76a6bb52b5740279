"""Oracles and sweeps on coloured quarters, where every figure can be worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate_trees import QuarterProposer, segmenter, values, write_folder, write_image
from PIL import Image

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError
from ovseg_ros.evaluate.datasets.dataset import IGNORE, Sample, open_dataset
from ovseg_ros.evaluate.scores.bottleneck import (
    bottleneck,
    majority_classes,
    oracle_classes_map,
    oracle_regions,
)
from ovseg_ros.evaluate.scores.charts import Bar, bar_chart, class_chart, line_chart
from ovseg_ros.evaluate.scores.predict import benchmark_options
from ovseg_ros.evaluate.scores.run import evaluate_dataset
from ovseg_ros.evaluate.scores.sweeps import DEFAULT_VALUES, sweep


def sample(truth, instances=None) -> Sample:
    return Sample("s", Frame(np.zeros((16, 16, 3), np.uint8)), truth, instances)


class HalfProposer(QuarterProposer):
    """Two masks: the upper half of the picture, and the lower."""

    def propose(self, frame: Frame) -> Proposals:
        masks = torch.zeros((2, *frame.size_hw), dtype=torch.bool)
        masks[0, : frame.size_hw[0] // 2] = True
        masks[1, frame.size_hw[0] // 2 :] = True
        return Proposals(masks, torch.ones(2))


def test_regions_of_classes_and_of_instances() -> None:
    truth = values((0, 0, IGNORE, 2), dtype=np.uint16)
    regions = oracle_regions(sample(truth))
    assert [int(mask.sum()) for mask in regions.masks] == [128, 64]
    instances = values((1, 2, 3, 0), dtype=np.uint16)  # 3 is nowhere counted, 0 is no object
    instances[8:10] = 2  # a part of it that is not counted, and one that is
    regions = oracle_regions(sample(truth, instances), "instance")
    assert [int(mask.sum()) for mask in regions.masks] == [64, 64 + 16]
    assert len(oracle_regions(sample(np.full((16, 16), IGNORE, np.uint16)))) == 0


def test_the_most_frequent_true_class_and_its_share() -> None:
    truth = values((0, 1, IGNORE, 2), dtype=np.uint16)
    truth[:2, :2] = 1
    masks = torch.zeros((4, 16, 16), dtype=torch.bool)
    masks[0, :8] = True  # 60 of class 0, 68 of class 1
    masks[1, 8:, :8] = True  # ignored alone
    masks[3] = True
    probs = majority_classes(masks, sample(truth), 3)
    assert probs[0].tolist() == pytest.approx([0, 68 / 128, 0])
    assert probs[1].tolist() == probs[2].tolist() == [0, 0, 0]
    assert probs[3].tolist() == pytest.approx([0, 68 / 192, 0])


def test_masks_without_a_true_class_paint_nothing() -> None:
    chain = OpenVocabularySegmenter(HalfProposer(), segmenter().clip, segmenter().options)
    truth = values((1, 1, IGNORE, IGNORE), dtype=np.uint16)
    for semantic in ("binary", "soft"):
        options = replace(chain.options, semantic=semantic)
        painted = oracle_classes_map(chain.embed(sample(truth).frame, options), sample(truth), 3, options)
        assert np.array_equal(painted, values((1, 1, -1, -1), dtype=np.int32))


def test_every_variant_worked_by_hand(tmp_path: Path) -> None:
    """The truth has three quarters that are a class, the colours tell which; the halves mix two each.

    Oracle masks: all three right. Oracle classes: the upper half is red or green (64 each, the first: red),
    the lower is blue alone, since its other quarter is ignored.
    """
    folder = write_folder(tmp_path, {"a": (("red", "green", "blue", ""), (1, 2, 3, 0))})
    base = segmenter()
    chain = OpenVocabularySegmenter(HalfProposer(), base.clip, base.options)
    results = bottleneck(chain, open_dataset("folder", folder))
    assert list(results) == [
        "clip", "clip, not blanked", "oracle masks", "oracle masks, not blanked", "oracle classes",
    ]  # fmt: skip
    assert results["oracle masks"].miou == 1.0
    classes = results["oracle classes"]
    assert [entry.iou for entry in classes.per_class] == [0.5, 0.0, 1.0]
    assert (
        results["clip"].miou
        == evaluate_dataset(
            chain, open_dataset("folder", folder), options=benchmark_options(chain.options)
        ).miou
    )
    assert results["clip"].miou < 1.0


def test_blanking_is_what_the_variants_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path, {"a": (("red", "green", "blue", ""), (1, 2, 3, 0))})
    chain = segmenter()
    seen = []
    real = OpenVocabularySegmenter.embed

    def embed(self, frame, options=None):
        seen.append((options.classifier, options.region_view))
        return real(self, frame, options)

    monkeypatch.setattr(OpenVocabularySegmenter, "embed", embed)
    monkeypatch.setattr(
        type(chain.clip), "encode_regions", lambda self, pixels, masks=None: torch.ones(len(pixels), 4)
    )
    bottleneck(chain, open_dataset("folder", folder))
    assert seen[:4] == [("clip", "masked"), ("clip", "context"), ("clip", "masked"), ("clip", "context")]


class Classifying(QuarterProposer):
    """Quarters that come with a class embedding of their own, always green's."""

    classifies = True

    def __init__(self, clip) -> None:
        self.clip, self.calls = clip, 0

    def propose(self, frame: Frame) -> Proposals:
        self.calls += 1
        found = super().propose(frame)
        return replace(found, class_embeddings=self.clip.encode_text(["green"]).expand(len(found), -1))


def test_generators_that_classify_have_two_variants_more(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, dict.fromkeys("ab", (("red", "green", "blue", ""), (1, 2, 3, 0))))
    base = segmenter()
    proposer = Classifying(base.clip)
    chain = OpenVocabularySegmenter(proposer, base.clip, base.options)
    results = bottleneck(chain, open_dataset("folder", folder))
    assert {"maskformer", "ensemble"} <= set(results)
    assert [entry.iou for entry in results["maskformer"].per_class] == [0.0, 1 / 3, 0.0]
    assert results["clip"].miou == 1.0
    assert proposer.calls == 2, "each picture is looked at once"


def test_instances_as_oracle_regions(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"a": (("red", "red", "blue", ""), (1, 1, 3, 0))})
    with pytest.raises(ConfigError, match="with instances, got 'instance'"):
        bottleneck(segmenter(), open_dataset("folder", folder), regions="instance")
    write_image(folder / "instances/validation/a.png", values((1, 2, 3, 0), dtype=np.uint16))
    results = bottleneck(segmenter(), open_dataset("folder", folder), regions="instance")
    assert results["oracle masks"].miou == 1.0
    with pytest.raises(ConfigError, match="expected regions of class, instance"):
        bottleneck(segmenter(), open_dataset("folder", folder), regions="pixel")


def test_a_threshold_swept_embeds_each_picture_once(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, dict.fromkeys("ab", (("red", "green", "blue", ""), (1, 2, 3, 0))))
    chain = segmenter()
    chain.clip.logit_scale = 1.0  # probabilities near 0.6
    dataset = open_dataset("folder", folder)
    results = sweep(chain, dataset, "threshold", [0.0, 0.3, 0.99])
    assert [results[v].miou for v in (0.0, 0.3, 0.99)] == [1.0, 1.0, 0.0]
    assert results[0.99].unpredicted == 1.0
    assert len(chain.clip.batches) == 2
    for name in ("threshold", "granularity"):
        assert list(sweep(chain, dataset, name)) == list(DEFAULT_VALUES[name])


def test_the_ensembles_weight_from_one_classifier_to_the_other(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"a": (("red", "green", "blue", ""), (1, 2, 3, 0))})
    base = segmenter()
    chain = OpenVocabularySegmenter(Classifying(base.clip), base.clip, base.options)
    results = sweep(chain, open_dataset("folder", folder), "clip_weight", [0.0, 1.0])
    assert [entry.iou for entry in results[0.0].per_class] == [0.0, 1 / 3, 0.0]
    assert results[1.0].miou == 1.0


@dataclass(frozen=True)
class CutOptions:
    mask_threshold: float = 0.5


class CutProposer:
    """One red mask whose pixels have probabilities from 0 to 1, left to right."""

    classifies = False
    options = CutOptions()

    def propose(self, frame: Frame) -> Proposals:
        masks = torch.linspace(0, 1, 16).expand(1, 16, 16) >= self.options.mask_threshold
        return Proposals(masks, torch.ones(1))


def test_the_mask_threshold_proposes_anew(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"a": (("red",) * 4, (1, 1, 1, 1))})
    base = segmenter()
    proposer = CutProposer()
    chain = OpenVocabularySegmenter(proposer, base.clip, base.options)
    results = sweep(chain, open_dataset("folder", folder), "mask_threshold", [0.5, 0.0])
    assert [result.pixel_accuracy for result in results.values()] == [0.5, 1.0]
    assert proposer.options == CutOptions(), "the chain itself is not changed"


def test_sweeps_that_cannot_be(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write_folder(tmp_path, {"a": (("red",) * 4, (1, 1, 1, 1))}))
    for name, chosen, message in (
        ("fill", None, "expected an option of"),
        ("threshold", [], "expected values of threshold, got none"),
        ("threshold", [1.5], "expected threshold in"),
        ("clip_weight", [0.5], "class embedding"),
        ("mask_threshold", [0.5], "QuarterProposer has no mask_threshold"),
    ):
        with pytest.raises(ConfigError, match=message):
            sweep(segmenter(), dataset, name, chosen)


def painted(path: Path) -> int:
    """How many pixels of a figure are not white."""
    pixels = np.array(Image.open(path).convert("L"))
    assert min(pixels.shape) > 200
    return int((pixels < 250).sum())


def test_figures_are_drawn(tmp_path: Path) -> None:
    bar_chart(tmp_path / "b.png", "bars", [Bar("one", 0.2), Bar("two", 0.6, spread=0.05)])
    bar_chart(tmp_path / "e.png", "no bars", [])
    assert painted(tmp_path / "b.png") > painted(tmp_path / "e.png")
    line_chart(tmp_path / "l.png", "lines", "x", [1, 0], {"a": [0.2, 0.1], "b": [None, 0.3]})
    line_chart(tmp_path / "n.png", "nothing", "x", [0], {"a": [None]})
    class_chart(tmp_path / "c.png", "classes", [(f"class {i}", i / 100, i % 2 == 0) for i in range(80)])
    assert min(painted(tmp_path / name) for name in ("l.png", "n.png", "c.png")) > 500
