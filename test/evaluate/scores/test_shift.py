"""Whether numbers are one apart: proved by many classes at once, and never by bad predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluate_trees import values, write_folder, write_image

from ovseg_ros.evaluate.datasets.dataset import Sample, open_dataset
from ovseg_ros.evaluate.scores.predictions import score_predictions
from ovseg_ros.evaluate.scores.run import score_each
from ovseg_ros.evaluate.scores.shift import shift_of, shift_remark


def counts(rows) -> np.ndarray:
    """(K, K + 1) of rows of K, nothing unpredicted."""
    given = np.asarray(rows, np.int64)
    return np.concatenate([given, np.zeros((len(given), 1), np.int64)], axis=1)


def shifted(matrix: np.ndarray, by: int) -> np.ndarray:
    """The same predictions with other numbers; what falls off is no prediction."""
    moved = np.zeros_like(matrix)
    classes = len(matrix)
    moved[:, -1] = matrix[:, -1]
    for column in range(classes):
        moved[:, column + by if 0 <= column + by < classes else classes] += matrix[:, column]
    return moved


def model(classes: int, accuracy: float, rng: np.random.Generator, spread: float = 1.0) -> np.ndarray:
    """A model that is right about so often on each class; its mistakes are any, some much likelier."""
    pixels = rng.pareto(1.0, classes) * 1000 + 10
    liking = rng.pareto(spread, classes) + 0.01
    rows = []
    for k in range(classes):
        wrong = liking * rng.random(classes)
        wrong[k] = 0
        right = np.clip(rng.normal(accuracy, 0.2), 0, 1)
        shares = (1 - right) * wrong / max(wrong.sum(), 1e-9)
        shares[k] = right
        rows.append(rng.multinomial(int(pixels[k]), shares / shares.sum()))
    return counts(rows)


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize(("accuracy", "least"), [(0.4, 0.7), (0.6, 0.9), (0.9, 0.95)])
def test_a_shift_of_a_usable_model_is_seen(accuracy: float, least: float, by: int) -> None:
    rng = np.random.default_rng(0)
    seen = [shift_of(shifted(model(k, accuracy, rng), by)) == by for k in (5, 20, 59, 150) for _ in range(20)]
    assert np.mean(seen) >= least


def test_no_model_however_bad_is_called_shifted() -> None:
    rng = np.random.default_rng(1)
    for accuracy in (0.0, 0.05, 0.1, 0.3, 0.6, 0.95):
        for classes in (12, 20, 59, 150):
            for spread in (0.5, 3.0):
                for _ in range(10):
                    assert shift_of(model(classes, accuracy, rng, spread)) == 0
    for accuracy in (0.5, 0.7, 0.95):  # a useless one of three classes may err alike in all of them
        for _ in range(100):
            assert shift_of(model(int(rng.integers(2, 12)), accuracy, rng)) == 0


@pytest.mark.parametrize(
    "rows",
    [
        np.eye(4) * 9,
        [[0, 9, 0, 0]] * 4,  # one class everywhere
        [[0, 9], [9, 0]],  # two taken for each other
        [[0, 9, 0, 0], [9, 0, 0, 0], [0, 0, 0, 9], [0, 0, 9, 0]],  # two pairs of them
        [[5, 9, 0, 0], [0, 5, 9, 0], [0, 0, 5, 9], [0, 0, 0, 14]],  # neighbours, and as often right
        np.zeros((4, 4)),
        [[3]],
    ],
)
def test_what_is_no_shift(rows) -> None:
    assert shift_of(counts(rows)) == 0
    assert shift_remark(counts(rows)) == ""


def test_the_remark_says_what_would_be_right() -> None:
    remark = shift_remark(counts([[0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9], [0, 0, 0, 1]]))
    assert "3.6 % of the pixels are right, 96.4 % would be" in remark
    assert "one less" in remark
    assert "--first-id" in remark


def test_ades_own_label_images_as_predictions(tmp_path: Path) -> None:
    """150 classes from 1, 0 unlabelled, as the challenge distributes them: the truth scores 100 %."""
    numbers = {"a": (1, 13, 150, 0), "b": (2, 13, 21, 0), "c": (1, 2, 3, 4)}
    for name, four in numbers.items():
        write_image(tmp_path / f"images/validation/{name}.jpg", np.zeros((16, 16, 3), np.uint8))
        write_image(tmp_path / f"annotations/validation/{name}.png", values(four))
    dataset, labels = open_dataset("ade20k-150", tmp_path), tmp_path / "annotations/validation"
    assert score_predictions(dataset, labels).miou == 1.0
    scored = score_predictions(dataset, labels, first_id=1)
    assert (scored.miou, scored.failed, scored.remarks) == (1.0, (), ())
    write_image(labels / "c.png", values((1, 2, 3, 4)))
    for name in "bc":  # where the last class is nowhere, only the agreement tells
        write_image(tmp_path / f"p/{name}.png", values(numbers[name]))
    apart = score_predictions(dataset.take(slice(1, 3)), tmp_path / "p")
    assert apart.pixel_accuracy == 0.0
    assert "would be if each predicted number were one less" in apart.remarks[0]
    assert apart.to_dict()["remarks"] == list(apart.remarks)


def test_zero_is_a_class_where_classes_begin_with_it(tmp_path: Path) -> None:
    dataset = open_dataset("folder", write_folder(tmp_path, {"a": (("red",) * 4, (1, 2, 3, 0))}))
    write_image(tmp_path / "p/a.png", values((0, 1, 2, 0)))
    scored = score_predictions(dataset, tmp_path / "p")
    assert (scored.miou, scored.unpredicted) == (1.0, 0.0)
    write_image(tmp_path / "p/a.png", values((1, 0, 3, 0)))  # 3 of three classes: they begin at 1
    scored = score_predictions(dataset, tmp_path / "p")
    assert scored.unpredicted == pytest.approx(1 / 3)
    assert scored.pixel_accuracy == pytest.approx(2 / 3)


def test_a_truth_that_begins_at_zero_is_noticed_too(tmp_path: Path) -> None:
    """Label images from 0 in a data set of one's own: the first class is ignored, the others are one off."""
    samples = {"a": (("red",) * 4, (0, 1, 2, 3)), "b": (("red",) * 4, (0, 2, 4, 3))}
    dataset = open_dataset("folder", write_folder(tmp_path, samples, classes=list("abcde")))

    def predict(sample: Sample) -> dict[str, np.ndarray]:
        return {"": values(samples[sample.name][1], dtype=np.int32)}

    result = score_each(dataset, predict, ("",))[""]
    assert result.pixel_accuracy == 0.0
    assert "0 is ignored and k is line k of classes.txt" in result.remarks[0]
