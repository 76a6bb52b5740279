"""COCO labels, as labelling tools write them, read back as masks."""

import json

import numpy as np
import pytest

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.coco import coco_mask_fields, read_labelled_pictures


def labels(*annotations):
    return {
        "images": [{"id": 4, "file_name": "a/rgb/1.jpg", "height": 6, "width": 8}],
        "categories": [{"id": 2, "name": "mug"}, {"id": 9, "name": "unsaid"}],
        "annotations": [
            {"id": n, "image_id": 4, "category_id": 2, **one} for n, one in enumerate(annotations, 1)
        ],
    }


def read(tmp_path, content):
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return read_labelled_pictures(file)


SQUARE = [[1, 2, 4, 2, 4, 5, 1, 5]]


def test_polygons_of_several_parts_run_lengths_and_crowds(tmp_path):
    true = np.zeros((6, 8), bool)
    true[2:5, 1:4] = True
    packed = coco_mask_fields(true)
    unpacked = {"size": [6, 8], "counts": [8, 3, 37]}
    content = labels(
        {"segmentation": SQUARE},
        packed,
        {"segmentation": unpacked},
        {"segmentation": [*SQUARE, [6, 0, 8, 0, 8, 2, 6, 2]]},
        {"segmentation": [[5, 4, 8, 4, 8, 6, 5, 6]], "iscrowd": 1, "category_id": 9},
    )
    (picture,) = read(tmp_path, content)
    assert picture.file_name == "a/rgb/1.jpg"
    assert picture.names == ("mug",) * 4
    assert np.array_equal(picture.masks[0], true)
    assert np.array_equal(picture.masks[1], true)
    assert np.argwhere(picture.masks[2]).tolist() == [[2, 1], [3, 1], [4, 1]]
    assert picture.masks[3].sum() == 9 + 4
    assert picture.ignored.sum() == 6
    assert picture.ignored[4:, 5:].all()


def test_a_picture_without_labels_has_none(tmp_path):
    (picture,) = read(tmp_path, labels())
    assert picture.masks.shape == (0, 6, 8)
    assert not picture.ignored.any()


def test_what_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"labels\.json"):
        read_labelled_pictures(tmp_path / "labels.json")
    with pytest.raises(InvalidInputError, match="of that form"):
        read(tmp_path, {"images": []})
    with pytest.raises(InvalidInputError, match=r"'mug' in a/rgb/1\.jpg"):
        read(tmp_path, labels({"segmentation": [[1, 1, 1, 1, 1, 1]]}))
