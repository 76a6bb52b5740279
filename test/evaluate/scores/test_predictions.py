"""Predictions from files: label images, COCO's results and `ovseg segment`'s JSON, and bad ones."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from evaluate_trees import values, write_folder, write_image
from pycocotools import mask as coco_mask

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.datasets.dataset import open_dataset
from ovseg_ros.evaluate.scores.predictions import score_predictions

NAMES = ("000000000007", "000000000012")


@pytest.fixture
def dataset(tmp_path: Path):
    """Two pictures: red, green, blue and ignored; and the same the other way round."""
    samples = {NAMES[0]: (("red",) * 4, (1, 2, 3, 0)), NAMES[1]: (("red",) * 4, (0, 3, 2, 1))}
    return open_dataset("folder", write_folder(tmp_path / "data", samples))


def rle(numbers) -> dict:
    """Run lengths of the quarters that are 1."""
    found = coco_mask.encode(np.asfortranarray(values(numbers)))
    return {"size": found["size"], "counts": found["counts"].decode()}


def result(image_id: int, category: int, numbers, **more) -> dict:
    return {"image_id": image_id, "category_id": category, "segmentation": rle(numbers), **more}


def write(path: Path, content) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_label_images(dataset, tmp_path: Path) -> None:
    """First: all right. Second: blue for red, nothing where green is, red right."""
    folder = tmp_path / "predicted"
    write_image(folder / f"{NAMES[0]}.png", values((0, 1, 2, 2)))
    write_image(folder / f"{NAMES[1]}.png", values((0, 2, 255, 2)))
    scored = score_predictions(dataset, folder)
    assert [entry.iou for entry in scored.per_class] == [1 / 2, 1 / 2, 2 / 3]
    assert scored.unpredicted == pytest.approx(1 / 6)
    write_image(folder / f"{NAMES[0]}.png", values((1, 2, 3, 3)))
    write_image(folder / f"{NAMES[1]}.tif", values((1, 3, 65535, 3), dtype=np.uint16))
    (folder / f"{NAMES[1]}.png").unlink()
    again = score_predictions(dataset, folder, first_id=1)
    assert replace(again, seconds=scored.seconds) == scored


def test_a_data_sets_255th_class_is_no_gap(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(300)]
    folder = write_folder(tmp_path / "data", {"a": (("red",) * 4, (0, 0, 0, 0))}, classes=names)
    write_image(folder / "annotations/validation/a.png", values((256, 256, 300, 0), dtype=np.uint16))
    dataset = open_dataset("folder", folder)
    write_image(tmp_path / "p/a.png", values((255, 255, 299, 65535), dtype=np.uint16))
    assert score_predictions(dataset, tmp_path / "p").miou == 1.0
    write_image(folder / "annotations/validation/a.png", values((256, 256, 0, 0), dtype=np.uint16))
    write_image(tmp_path / "p/a.png", values((255, 255, 1, 1)))  # in 8 bit it is a class there too
    assert score_predictions(dataset, tmp_path / "p").miou == 1.0


def test_cocos_results(dataset, tmp_path: Path) -> None:
    """Overlaps: the higher score wins, whatever the order."""
    path = write(
        tmp_path / "results.json",
        [
            result(7, 0, (1, 0, 0, 0), score=0.9),
            result(7, 1, (1, 1, 0, 0), score=0.5),
            result(7, 2, (0, 0, 1, 1), score=0.5),
            result(12, 2, (0, 1, 1, 0), score=0.5),
            result(12, 1, (0, 0, 1, 0), score=0.5),
            result(12, 0, (0, 0, 0, 1)),
        ],
    )
    assert score_predictions(dataset, path).miou == 1.0


def test_detectron2s_results_by_file_name_and_uncompressed(dataset, tmp_path: Path) -> None:
    rows = []
    for name, numbers in zip(NAMES, ((1, 2, 3, 0), (0, 3, 2, 1)), strict=True):
        for category in (1, 2, 3):
            flat = values([int(number == category) for number in numbers]).ravel(order="F")
            runs = [len(list(same)) for _, same in itertools.groupby(flat)]
            segmentation = {"size": [16, 16], "counts": [0, *runs] if flat[0] else runs}
            rows.append({"file_name": f"x/{name}.jpg", "category_id": category, "segmentation": segmentation})
    assert score_predictions(dataset, write(tmp_path / "r.json", rows), first_id=1).miou == 1.0


def test_names_from_other_machines(tmp_path: Path) -> None:
    composed, decomposed = (normalize(form, "Küche") for form in ("NFC", "NFD"))
    dataset = open_dataset(
        "folder", write_folder(tmp_path / "data", {decomposed: (("red",) * 4, (1, 0, 0, 0))})
    )
    row = {"file_name": f"in\\{composed}.jpg", "category_id": 0, "segmentation": rle((1, 0, 0, 0))}
    assert score_predictions(dataset, write(tmp_path / "r.json", [row])).miou == 1.0
    write_image(tmp_path / f"p/{composed}.PNG", values((0, 0, 0, 0)))
    assert score_predictions(dataset, tmp_path / "p").miou == 1.0


def test_a_coco_data_set_is_matched_by_name(dataset, tmp_path: Path) -> None:
    """Categories in another order, one that is no class and is not used; one picture without masks."""
    content = {
        "images": [{"id": 1, "file_name": f"in/{NAMES[0]}.jpg", "name": NAMES[0]},
                   {"id": 2, "file_name": f"in/{NAMES[1]}.jpg", "name": NAMES[1]}],
        "categories": [{"id": 4, "name": "Blue"}, {"id": 9, "name": "red"}, {"id": 1, "name": "green"},
                       {"id": 2, "name": "giraffe"}],
        "annotations": [result(1, 9, (1, 0, 0, 0)), result(1, 1, (0, 1, 0, 0)), result(1, 4, (0, 0, 1, 0))],
    }  # fmt: skip
    scored = score_predictions(dataset, write(tmp_path / "masks.json", content))
    assert (scored.images, scored.pixel_accuracy, scored.unpredicted) == (2, 0.5, 0.5)
    content["annotations"].append(result(2, 2, (1, 0, 0, 0)))
    scored = score_predictions(dataset, write(tmp_path / "masks.json", content))
    assert scored.failed == ((NAMES[1], "masks of categories that are no class of the data set: 2 giraffe"),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.json", None, "is not there"),
        ("bad.json", "{", "expected a COCO file"),
        ("a.json", "3", "expected a list of results"),
        ("b.json", "[3]", "expected category_id, segmentation in each"),
        ("c.json", "{}", "expected a list of images"),
        ("e.json", '[{"image_id": 7, "category_id": [0], "segmentation": []}]', "category_id as a number"),
        ("f.json", "[" * 100_000, "too deep"),
        ("d.json", '{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "x"}]}',
         "no category of .* has the name"),
    ],
)  # fmt: skip
def test_files_that_are_no_predictions(dataset, tmp_path: Path, name: str, content, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        score_predictions(dataset, tmp_path / name)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([result(12, 0, (1, 0, 0, 0))], "says nothing of"),
        ([result(7, 5, (1, 0, 0, 0))], "categories that are no class of the data set: 5"),
        ([{"image_id": 7, "category_id": 0, "segmentation": [[0, 0, 1, 1]]}], "run lengths"),
        ([result(7, 0, (1, 0, 0, 0), score=float("nan"))], "expected the score"),
        ([result(7, 0, (1, 0, 0, 0), score="high")], "expected the score"),
        (
            [{"image_id": 7, "category_id": 0, "segmentation": {"size": [16, 16], "counts": [5]}}],
            "that fill 16x16 pixels",
        ),
        (
            [{"image_id": 7, "category_id": 0, "segmentation": {"size": [8, 8], "counts": [64]}}],
            "expected a mask of",
        ),
    ],
)
def test_pictures_whose_masks_cannot_be_used_are_named(dataset, tmp_path: Path, rows, message: str) -> None:
    good = [result(12, 0, (0, 0, 0, 1))]
    scored = score_predictions(dataset, write(tmp_path / "r.json", rows + good))
    assert scored.images == 1
    ((name, reason),) = scored.failed
    assert name == NAMES[0]
    assert message in reason


def test_label_images_that_cannot_be_used_are_named(dataset, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    write_image(folder / f"{NAMES[0]}.png", values((0, 1, 7, 0)))
    with pytest.raises(InvalidInputError, match=r"expected numbers 0…2 or 255 in .*, got \[7\]"):
        score_predictions(dataset, folder)
    write_image(folder / f"{NAMES[0]}.png", values((0, 1, 2, 0)))
    ((name, reason),) = score_predictions(dataset, folder).failed
    assert name == NAMES[1]
    assert "is not there" in reason
    write_image(folder / f"{NAMES[1]}.png", values((0, 1, 2, 0), side=8))
    assert "truth's size" in score_predictions(dataset, folder).failed[0][1]
    write_image(folder / f"{NAMES[1]}.png", np.zeros((16, 16, 3), np.uint8))
    assert "one number per pixel" in score_predictions(dataset, folder).failed[0][1]
