"""COCO instance files: masks in three forms, and what is said of files that are none."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from mask_fixtures import SIZES_HW, true_masks, write_instances
from PIL import Image
from pycocotools import mask as coco_mask

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.coco import coco_mask_fields, run_lengths
from ovseg_ros.files.instances import read_categories, read_instances


def test_masks_in_every_form_are_read_as_they_are(tmp_path: Path) -> None:
    dataset = read_instances(write_instances(tmp_path))
    assert (dataset.name, len(dataset), len(dataset.sha256)) == ("tiny", 4, 64)
    for picture, size_hw, masks in zip(dataset.pictures, SIZES_HW, true_masks(), strict=True):
        assert picture.size_hw == size_hw == picture.read().shape[:2]
        own = [one for one in picture.instances if not one.is_crowd]
        assert len(own) == len(masks)
        for one, mask in zip(own, masks, strict=True):
            np.testing.assert_array_equal(one.mask(), mask)
            assert one.area == mask.sum()
    (crowd,) = (one for one in dataset.pictures[0].instances if one.is_crowd)
    things, groups = dataset.pictures[0].masks()
    assert len(things) == len(dataset.pictures[0].instances) - 1
    assert groups.sum() == 5000 == groups[180:230, 200:300].sum() == crowd.mask().sum()
    assert all(picture.complete for picture in dataset.pictures)


def changed(path: Path, **values) -> Path:
    """The file with a list, or a value of its first annotation, changed; "-" leaves it out."""
    content = json.loads(path.read_text())
    row = content["annotations"][0]
    for key, value in values.items():
        target = content if key in content else row
        target[key] = value
        if value == "-":
            del target[key]
    path.write_text(json.dumps(content))
    return path


def test_what_may_be_missing(tmp_path: Path) -> None:
    path = changed(write_instances(tmp_path), area="-", iscrowd="-", category_id="-", categories="-", id="-")
    first = read_instances(path).pictures[0].instances[0]
    assert (first.area, first.is_crowd, first.category) == (120 * 110, False, "None")
    assert read_instances(path).pictures[1].instances[0].category == "3"
    none = read_instances(changed(path, annotations=[]))
    assert all(picture.instances == () for picture in none.pictures)


def test_coco_s_own_area_is_kept(tmp_path: Path) -> None:
    path = changed(write_instances(tmp_path), area=17.5)
    assert read_instances(path).pictures[0].instances[0].area == 17.5


def test_pictures_may_lie_elsewhere(tmp_path: Path) -> None:
    path = write_instances(tmp_path / "a")
    (tmp_path / "a/pictures").rename(tmp_path / "pictures")
    assert read_instances(path, tmp_path).pictures[0].read().shape == (240, 320, 3)
    with pytest.raises(InvalidInputError, match="is not there"):
        read_instances(path).pictures[0].read()


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    dataset = read_instances(write_instances(tmp_path))
    picture = dataset.pictures[1]
    Image.fromarray(np.zeros((160, 120, 3), np.uint8)).save(picture.path)
    with pytest.raises(
        InvalidInputError, match=r"p1.png as 160x120, as the masks are, it is 120x160; .*EXIF"
    ):
        picture.read()


def test_polygons_belong_to_the_stored_pixels(tmp_path: Path) -> None:
    """Turned by EXIF, a picture of the same size would put every mask at the wrong end, and say nothing."""
    picture = read_instances(write_instances(tmp_path)).pictures[0]
    stored = picture.read()
    exif = Image.Exif()
    for orientation in (3, 6):  # upside down, and a quarter turn that would not fit
        exif[0x0112] = orientation
        Image.fromarray(stored).save(picture.path, exif=exif)
        np.testing.assert_array_equal(picture.read(), stored)
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(stored))).save(picture.path, exif=exif)
    np.testing.assert_array_equal(picture.read(), stored)  # labelled as a viewer shows it: only so it fits


@pytest.mark.parametrize(
    "written", ["pictures\\p0.png", "./pictures/p0.PNG", "/elsewhere/pictures/p0.png", "pictures/p%30.png"]
)
def test_file_names_as_other_machines_write_them(tmp_path: Path, written: str) -> None:
    path = write_instances(tmp_path)
    content = json.loads(path.read_text())
    assert content["images"][0]["file_name"] == "pictures/p0.png"
    content["images"][0]["file_name"] = written
    path.write_text(json.dumps(content))
    picture = read_instances(path).pictures[0]
    assert picture.read().shape[:2] == SIZES_HW[0]
    assert (picture.name, picture.path) == (written, tmp_path / "pictures/p0.png")


def test_no_file_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    path = changed(write_instances(tmp_path / "a"))
    content = json.loads(path.read_text())
    (tmp_path / "a/pictures/p0.png").rename(tmp_path / "p0.png")
    content["images"][0]["file_name"] = "../p0.png"
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match="leads out of it"):
        read_instances(path).pictures[0].read()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"segmentation": []}, "expected a mask for annotation 0 .*boxes alone"),
        ({"segmentation": [[1, 2, 3, 4]]}, "three corners or more in annotation 0"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "three corners or more in annotation 0"),
        (
            {"segmentation": {"size": [9, 9], "counts": [81]}},
            r"a size of \[240, 320\], got the size \[9, 9\]",
        ),
        ({"segmentation": {"size": [240, 320]}}, "with counts"),
        ({"segmentation": "-"}, "expected image_id, segmentation in each of the annotations"),
        ({"image_id": 5}, "belongs to picture 5, which the file has not"),
        ({"images": []}, "names no pictures"),
        ({"images": "-"}, "expected a list of images in .* as COCO's instance files have"),
        ({"annotations": {}}, "expected a list of annotations"),
        ({"images": [{"id": 0, "file_name": "a"}]}, "expected id, file_name, width, height"),
        ({"images": [{"id": 0, "file_name": "a", "width": 3, "height": 3}] * 2}, "have the same id"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, values, message: str) -> None:
    path = changed(write_instances(tmp_path), **values)
    with pytest.raises(InvalidInputError, match=message):
        read_instances(path)


ODD = [None, "abc", [], {}, -1, 0, 1.5, float("nan"), float("inf"), 10**30, True, "5", [1], {"a": 1}]
PLACES = [
    *(("images", 0, key) for key in ("width", "height", "id", "file_name", "complete")),
    *(
        ("annotations", 0, key)
        for key in ("image_id", "category_id", "area", "iscrowd", "segmentation", "id")
    ),
    *(("categories", 0, key) for key in ("id", "name", "supercategory")),
    *(("images",), ("annotations",), ("categories",)),
]
BROKEN_MASKS = [
    *([[0, 0, far, 0, 5, 5]] for far in (float("nan"), float("inf"), 1e30, -1e9, 21, "a", None)),
    [[0, 0, 5, 0, 5, 5], []],
    *(
        {"size": [8, 10], "counts": [*counts]}
        for counts in ([-5, 85], [1000], [5], [], "a", [1.5, 78.5], [2**40])
    ),
    *({"size": [8, 10], "counts": text} for text in ("", "ä", "zzzz", "oooooooooooo", "R2o", 5, None)),
    *({"size": size, "counts": [80]} for size in (["8", "10"], 5, None, [10, 8], [8, 10, 1])),
]


def tiny(folder: Path, place, value) -> Path:
    """A file with one picture and one triangle, one of whose values is odd."""
    Image.new("RGB", (10, 8)).save(folder / "a.png")
    triangle = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 5, 0, 5, 5]]}
    target = content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 10, "height": 8}],
        "annotations": [triangle],
        "categories": [{"id": 1, "name": "x"}],
    }
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_odd_values_are_read_or_refused(tmp_path: Path, place) -> None:
    read = 0
    for value in ODD:
        path = tiny(tmp_path, place, value)
        try:
            for picture in read_instances(path).pictures:
                assert picture.masks()[0].shape[1:] == picture.size_hw
                picture.read()
            read += 1
        except InvalidInputError:
            pass
        with contextlib.suppress(InvalidInputError):
            assert all(isinstance(name, str) for name in read_categories(path))
    assert read < len(ODD) or place[-1] in ("complete", "iscrowd", "supercategory", "id")


@pytest.mark.parametrize("mask", BROKEN_MASKS, ids=str)
def test_masks_that_cannot_be_are_refused(tmp_path: Path, mask) -> None:
    """pycocotools ran out of memory on far corners, and showed memory that nobody wrote for short counts."""
    path = tiny(tmp_path, ("annotations", 0, "segmentation"), mask)
    with pytest.raises(InvalidInputError, match=r"annotation 1 in .*a\.json"):
        read_instances(path)


def test_packed_run_lengths_are_read_as_pycocotools_writes_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = rng.random((8, 10)) < share
        fields = coco_mask_fields(np.asfortranarray(mask))
        path = tiny(tmp_path, ("annotations", 0, "segmentation"), fields["segmentation"])
        np.testing.assert_array_equal(read_instances(path).pictures[0].instances[0].mask(), mask)
    wide = np.zeros((500, 900), bool)
    wide[3, 4] = wide[100:400, 200:850] = True
    packed = coco_mask_fields(np.asfortranarray(wide))["segmentation"]
    np.testing.assert_array_equal(coco_mask.decode(dict(run_lengths(packed, (500, 900), "it"))), wide)


def test_json_that_nests_without_end_or_never_ends(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(InvalidInputError, match="too deep"):
        read_instances(tmp_path / "deep.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    with pytest.raises(InvalidInputError, match="is a device"):
        read_instances(tmp_path / "zero.json")


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("[]")
    for name in ("a.json", "b.json", "c.json"):
        with pytest.raises(InvalidInputError, match=name):
            read_instances(tmp_path / name)
    with pytest.raises(InvalidInputError, match="at least 1 picture, got 0"):
        read_instances(write_instances(tmp_path)).take(0)
