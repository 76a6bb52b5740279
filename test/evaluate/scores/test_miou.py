"""The confusion matrix against counting pixel by pixel, and its conventions by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.datasets.annotation_files import IGNORE
from ovseg_ros.evaluate.scores.miou import NO_PREDICTION, ConfusionMatrix


def naive(pairs, classes):
    """Scores by sets of pixels: slow, and written without looking at the matrix."""
    pixels = [
        (int(t), int(p))
        for truth, predicted in pairs
        for t, p in zip(truth.ravel(), predicted.ravel(), strict=True)
        if t != IGNORE
    ]
    ious, accuracies, weights, with_absent = [], [], [], []
    for c in range(classes):
        true = sum(t == c for t, _ in pixels)
        given = sum(p == c for _, p in pixels)
        hits = sum(t == p == c for t, p in pixels)
        if true:
            ious.append(hits / (true + given - hits))
            accuracies.append(hits / true)
            weights.append(true / len(pixels))
        if true + given:
            with_absent.append(hits / (true + given - hits))
    return {
        "miou": sum(ious) / len(ious),
        "miou_with_absent": sum(with_absent) / len(with_absent),
        "fwiou": sum(i * w for i, w in zip(ious, weights, strict=True)),
        "mean_accuracy": sum(accuracies) / len(accuracies),
        "pixel_accuracy": sum(t == p for t, p in pixels) / len(pixels),
        "unpredicted": sum(p in (NO_PREDICTION, IGNORE) for _, p in pixels) / len(pixels),
    }


def random_pairs(seed, classes, count=5):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        size = rng.integers(1, 12, 2)
        truth = rng.integers(0, classes, size).astype(np.uint16)
        predicted = rng.integers(-1, classes, size).astype(np.int32)
        predicted[rng.random(size) < 0.5] = 0  # classes that are rarely or never right
        truth[rng.random(size) < 0.2] = IGNORE
        yield truth, predicted


@pytest.mark.parametrize(("seed", "classes"), [(0, 1), (1, 2), (2, 7), (3, 40), (4, 847)])
def test_equals_counting_pixel_by_pixel(seed: int, classes: int) -> None:
    pairs = list(random_pairs(seed, classes))
    matrix = ConfusionMatrix(classes)
    part = ConfusionMatrix(classes)
    for i, (truth, predicted) in enumerate(pairs):
        one = part if i % 2 else matrix
        one.counts += one.count(truth, predicted)
    matrix.merge(part)
    scores = matrix.scores([f"c{i}" for i in range(classes)])
    for name, value in naive(pairs, classes).items():
        assert getattr(scores, name) == pytest.approx(value, abs=1e-12), name


def test_equals_torchmetrics_where_it_is_installed() -> None:
    import torch

    segmentation = pytest.importorskip("torchmetrics.classification")

    pairs = list(random_pairs(5, 9, 20))
    matrix = ConfusionMatrix(9)
    other = segmentation.MulticlassJaccardIndex(9, average="none", ignore_index=IGNORE)
    for truth, predicted in pairs:
        predicted = np.maximum(predicted, 0)
        matrix.counts += matrix.count(truth, predicted)
        other.update(torch.from_numpy(predicted), torch.from_numpy(truth.astype(np.int64)))
    ours = [entry.iou for entry in matrix.scores([str(i) for i in range(9)]).per_class]
    assert ours == pytest.approx(other.compute().double().tolist(), abs=1e-6)  # its result is float32


def test_worked_by_hand() -> None:
    """Class 0: 3 true, 2 hit, 1 taken for 1. Class 1: 2 true, 1 hit, 1 missed. Class 2 is only predicted."""
    truth = np.array([[0, 0, 0, 1, 1, IGNORE, IGNORE]], np.uint16)
    predicted = np.array([[0, 0, 1, 1, -1, 2, 0]])
    matrix = ConfusionMatrix(3)
    matrix.counts += matrix.count(truth, predicted)
    matrix.counts += matrix.count(np.array([[0]], np.uint16), np.array([[2]]))
    scores = matrix.scores(("a", "b", "c"))
    assert [entry.iou for entry in scores.per_class] == [2 / 4, 1 / 3, None]
    assert [entry.accuracy for entry in scores.per_class] == [2 / 4, 1 / 2, None]
    assert [entry.true_pixels for entry in scores.per_class] == [4, 2, 0]
    assert [entry.predicted_pixels for entry in scores.per_class] == [2, 2, 1]
    assert scores.miou == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert scores.miou_with_absent == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    assert scores.pixel_accuracy == 3 / 6
    assert scores.unpredicted == 1 / 6
    assert (scores.pixels, scores.classes_present) == (6, 2)
    assert (scores.seen_miou, scores.unseen_miou, scores.harmonic_miou) == (None, None, None)


def test_seen_and_unseen_apart() -> None:
    matrix = ConfusionMatrix(3)
    matrix.counts += np.array([[8, 2, 0, 0], [0, 4, 0, 0], [0, 0, 0, 6]])
    scores = matrix.scores(("a", "b", "c"), unseen=("b",))
    assert scores.seen_miou == pytest.approx((0.8 + 0.0) / 2)
    assert scores.unseen_miou == pytest.approx(4 / 6)
    assert scores.harmonic_miou == pytest.approx(2 * 0.4 * (4 / 6) / (0.4 + 4 / 6))
    assert [entry.unseen for entry in scores.per_class] == [False, True, False]
    none_shown = ConfusionMatrix(2)
    none_shown.counts[0, 0] = 3
    scores = none_shown.scores(("a", "b"), unseen=("b",))
    assert (scores.seen_miou, scores.unseen_miou, scores.harmonic_miou) == (1.0, None, None)
    nothing_right = ConfusionMatrix(2)
    nothing_right.counts += np.array([[0, 1, 0], [1, 0, 0]])
    assert nothing_right.scores(("a", "b"), unseen=("b",)).harmonic_miou == 0.0


def test_counts_hold_more_than_32_bits() -> None:
    matrix = ConfusionMatrix(2)
    matrix.counts[0, 0] = 2**40
    matrix.counts += matrix.count(np.zeros((2, 2), np.uint16), np.zeros((2, 2), np.uint8))
    assert matrix.counts[0, 0] == 2**40 + 4


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        (np.zeros((2, 2), np.uint16), np.zeros((2, 3), int), "expected a prediction of the truth's size"),
        (np.full((1, 1), 3, np.uint16), np.zeros((1, 1), int), r"0…2 in the truth, got \[3\]"),
        (np.zeros((1, 1), np.uint16), np.full((1, 1), 4), r"in the prediction, got \[4\]"),
        (np.zeros((1, 1), np.uint16), np.full((1, 1), -2), r"in the prediction, got \[-2\]"),
    ],
)
def test_what_cannot_be_counted_changes_nothing(truth, predicted, message: str) -> None:
    matrix = ConfusionMatrix(3)
    with pytest.raises(InvalidInputError, match=message):
        matrix.counts += matrix.count(truth, predicted)
    assert matrix.counts.sum() == 0


def test_other_bad_input() -> None:
    for classes in (0, IGNORE):
        with pytest.raises(InvalidInputError, match="classes"):
            ConfusionMatrix(classes)
    matrix = ConfusionMatrix(2)
    with pytest.raises(InvalidInputError, match="expected 2 classes, got 3"):
        matrix.merge(ConfusionMatrix(3))
    with pytest.raises(InvalidInputError, match="nothing to score"):
        matrix.scores(("a", "b"))
    matrix.counts[0, 0] = 1
    with pytest.raises(InvalidInputError, match="expected 2 names"):
        matrix.scores(("a",))
    with pytest.raises(InvalidInputError, match="unseen classes that are none: c"):
        matrix.scores(("a", "b"), unseen=("c",))
