"""Scoring a segmenter on small data sets: by hand, with pictures that fail, and with 847 classes."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate_trees import quarters, segmenter, values, write_folder, write_image

from ovseg_ros.core.frame import Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.evaluate.datasets.dataset import open_dataset
from ovseg_ros.evaluate.scores import run
from ovseg_ros.evaluate.scores.predict import (
    benchmark_options,
    class_probabilities,
    predicted_map,
    text_rows,
)
from ovseg_ros.evaluate.scores.run import evaluate_dataset, score_each

SAMPLES = {
    "a": (("red", "green", "blue", ""), (1, 2, 3, 0)),  # all right, grey is ignored
    "b": (("red", "red", "", "blue"), (1, 2, 1, 3)),  # a red that is green, a grey that is red
}


def test_scores_worked_by_hand(tmp_path: Path) -> None:
    """64 pixels a quarter. red: 3 true, 3 given, 2 hit; green: 2 true, 1 given, 1 hit; blue: all right."""
    dataset = open_dataset("folder", write_folder(tmp_path, SAMPLES, unseen=["blue"]))
    seen = []
    result = evaluate_dataset(segmenter(), dataset, progress=lambda *at: seen.append(at))
    red, green, blue = (entry.iou for entry in result.per_class)
    assert red == 2 / 4
    assert (green, blue) == (1 / 2, 1.0)
    assert result.pixel_accuracy == pytest.approx(5 / 7)
    assert result.unpredicted == pytest.approx(1 / 7)
    assert result.unseen_miou == 1.0
    assert (result.images, result.failed, seen) == (2, (), [(1, 2), (2, 2)])


def test_a_picture_that_fails_is_named_and_the_rest_is_scored(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, SAMPLES)
    write_image(folder / "images/validation/c.png", np.zeros((16, 16, 3), np.uint8))
    (folder / "annotations/validation/c.png").write_bytes(b"\x89PNG no")
    write_image(folder / "annotations/validation/d.png", values((1, 1, 1, 1)))
    result = evaluate_dataset(segmenter(), open_dataset("folder", folder))
    assert result.images == 2
    assert [name for name, _ in result.failed] == ["c", "d"]
    assert "c.png begins like PNG and is damaged" in result.failed[0][1]
    assert "d.jpg is not there" in result.failed[1][1]
    assert result.to_dict()["failed"][1]["name"] == "d"


def test_nothing_is_added_by_a_picture_that_fails_in_the_last_variant(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write_folder(tmp_path, SAMPLES))

    def predict(sample):
        good = sample.truth.astype(np.int32)
        return {"one": good, "two": good if sample.name == "a" else good[:3]}

    results = score_each(dataset, predict, ("one", "two"))
    assert results["one"].pixels == results["two"].pixels == 3 * 64
    assert [name for name, _ in results["one"].failed] == ["b"]


def test_no_success_after_skipping_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path, {str(i): SAMPLES["a"] for i in range(5)})
    dataset = open_dataset("folder", folder)
    calls = []

    def broken(sample):
        calls.append(sample.name)
        raise RuntimeError("no luck")

    with pytest.raises(InvalidInputError, match=r"none of the 5 pictures .* 0: RuntimeError: no luck"):
        score_each(dataset, broken, ("",))
    monkeypatch.setattr(run, "GIVE_UP_AFTER", 3)
    calls.clear()
    with pytest.raises(InvalidInputError, match="none of the 3 pictures"):
        score_each(dataset, broken, ("",))
    assert calls == ["0", "1", "2"]


def test_what_concerns_every_picture_ends_the_run(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write_folder(tmp_path, SAMPLES))
    chain = segmenter()
    with pytest.raises(ConfigError, match="class embedding"):
        evaluate_dataset(chain, dataset, options=replace(chain.options, classifier="maskformer"))
    with pytest.raises(ConfigError, match="names first or average"):
        evaluate_dataset(chain, dataset, names="all")


class RandomSoft:
    """Overlapping soft masks with class embeddings and a rival, as MaskFormer gives them."""

    classifies = True

    def __init__(self, soft: bool = True) -> None:
        self.soft = soft

    def propose(self, frame) -> Proposals:
        generator = torch.Generator().manual_seed(int(frame.image_rgb[0, 0, 0]))
        logits = 4 * torch.randn(7, 4, 4, generator=generator)
        soft = SoftMasks(logits, (16, 16), (16, 16))
        own = torch.randn(7, 4, generator=generator)
        return Proposals(
            soft.probabilities((16, 16)) > 0.5,
            torch.rand(7, generator=generator),
            soft if self.soft else None,
            own,
            torch.nn.functional.normalize(torch.ones(1, 4), dim=1),
        )


@pytest.mark.parametrize(("semantic", "granularity"), [("binary", 0.0), ("binary", 0.6), ("soft", 0.6)])
@pytest.mark.parametrize(
    ("classifier", "background"), [("clip", ()), ("maskformer", ()), ("ensemble", ("dust", "crimson"))]
)
def test_the_map_is_the_segmenters_own(semantic, granularity, classifier, background, tmp_path: Path) -> None:
    dataset = open_dataset("folder", write_folder(tmp_path, SAMPLES))
    base = segmenter(
        semantic=semantic,
        granularity=granularity,
        classifier="clip",
        background=background,
        threshold=0.4,
        background_max_similarity=1.0,
    )
    options = replace(base.options, classifier=classifier)
    chain = OpenVocabularySegmenter(RandomSoft(), base.clip, options)
    vocabulary, _ = Vocabulary.empty().replace(dataset.class_names)
    rows = text_rows(chain, dataset.classes, options)
    for sample in dataset:
        embedded = chain.embed(sample.frame)
        expected = chain.label(embedded, vocabulary)
        probs = class_probabilities(chain, embedded, rows, options)
        assert torch.equal(probs, expected.probs)
        labels, _ = expected.semantic()
        ours = predicted_map(embedded, probs, options)
        assert np.array_equal(np.where(ours < 0, 255, ours), labels)
        assert (labels != 255).any()


def test_847_classes_do_not_pass_through_a_byte(tmp_path: Path) -> None:
    """The three words stand at 300, 600 and 846, where a byte would wrap."""
    names = [f"thing {i}" for i in range(847)]
    places = {"red": 300, "green": 600, "blue": 846}
    for name, at in places.items():
        names[at] = name
    folder = write_folder(tmp_path, {"a": (("red", "green", "blue", ""), (0, 0, 0, 0))}, classes=names)
    truth = values((301, 601, 847, 0), dtype=np.uint16)
    write_image(folder / "annotations/validation/a.png", truth)
    dataset = open_dataset("folder", folder)
    for semantic in ("binary", "soft"):
        chain = segmenter(semantic=semantic, threshold=0.0)
        result = evaluate_dataset(chain, dataset)
        assert (result.miou, result.pixel_accuracy, result.classes_present) == (1.0, 1.0, 3)


def test_names_averaged(tmp_path: Path) -> None:
    samples = {"a": (("red", "red", "red", "red"), (2, 2, 2, 2))}
    dataset = open_dataset("folder", write_folder(tmp_path, samples, ["dust", "what, red, crimson"]))
    first = evaluate_dataset(segmenter(threshold=0.0), dataset)
    averaged = evaluate_dataset(segmenter(threshold=0.0), dataset, names="average")
    assert dataset.class_names == ("dust", "what")
    assert (first.miou, averaged.miou) == (0.0, 1.0)  # by first names alone dust and what are the same


def test_benchmark_rules_count_every_mask_and_no_other_word(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write_folder(tmp_path, SAMPLES))
    chain = segmenter(threshold=0.99, background=("dust",), granularity=0.9)
    chain.clip.logit_scale = 1.0  # nothing is certain
    assert len(text_rows(chain, dataset.classes, chain.options).background) == 1
    assert len(text_rows(chain, dataset.classes, benchmark_options(chain.options)).background) == 0
    assert evaluate_dataset(chain, dataset).unpredicted == 1.0
    assert evaluate_dataset(chain, dataset, options=benchmark_options(chain.options)).pixel_accuracy == (
        pytest.approx(5 / 7)
    )


def test_a_picture_without_masks_is_missed_not_failed(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write_folder(tmp_path, {"a": (("", "", "", ""), (1, 1, 1, 1))}))
    for options in (segmenter().options, benchmark_options(segmenter().options)):
        result = evaluate_dataset(segmenter(), dataset, options=options)
        assert (result.images, result.miou, result.unpredicted) == (1, 0.0, 1.0)


def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    """A picture with its truth takes 80 kB; what stays of one is the text of its paths."""
    folder = write_folder(tmp_path, {})
    for i in range(60):
        write_image(folder / f"images/validation/{i:02}.png", quarters(("red",) * 4, side=128))
        write_image(folder / f"annotations/validation/{i:02}.png", values((1, 2, 3, 0), side=128))
    dataset = open_dataset("folder", folder)
    peaks = []
    for count in (10, 60):
        tracemalloc.start()
        score_each(dataset.take(slice(count)), lambda sample: {"": sample.truth.astype(np.int32)}, ("",))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 50 * 2000
