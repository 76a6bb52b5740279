"""Photographs as a recording: the layout `folder` in general, and the bundled ones with their truth."""

from __future__ import annotations

import json
import runpy

import numpy as np
import pytest
from evaluate_fixtures import BOXES, write_photographs
from evaluate_trees import write_image
from repository import ROOT

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.demo import recording_folder
from ovseg_ros.evaluate.recordings.photographs import is_photographs, read_frames, read_photographs

BUNDLED = ROOT / "demo" / "photographs"


def test_each_picture_is_a_scene_with_things_of_its_own(tmp_path):
    folder = write_photographs(tmp_path, {"first": (1, 2), "second": (2, 1)})
    first, second = read_photographs(folder)
    assert [one.title for one in (first, second)] == ["first", "second"]
    assert [one.frame.size_hw for one in (first, second)] == [(60, 80), (70, 100)]
    assert (first.frame.depth_m, first.frame.intrinsics) == (None, None)
    assert 0 < first.frame.stamp_ns < second.frame.stamp_ns
    assert first.frame.frame_id == second.frame.frame_id != ""
    assert (first.names, second.names) == ({1: "red", 2: "green"}, {3: "green", 4: "red"})
    assert second.synonyms == {3: ("emerald",), 4: ("crimson",)}
    for one in (first, second):
        assert set(np.unique(one.instances)) == {0, *one.names}
        for thing, name in one.names.items():
            box = {"red": 1, "green": 2}[name]
            assert one.mask(thing)[BOXES[box]].all()
            assert one.mask(thing).sum() == 25 * 25


def test_what_is_no_photograph_with_things_is_refused(tmp_path):
    folder = write_photographs(tmp_path / "pictures", {"first": (1,)})
    write_image(folder / "annotations" / "validation" / "first.png", np.zeros((60, 80), np.uint8))
    with pytest.raises(InvalidInputError, match="first has no class"):
        list(read_photographs(folder))
    (folder / "instances" / "validation" / "first.png").unlink()
    (folder / "instances" / "validation").rmdir()
    with pytest.raises(InvalidInputError, match="instances"):
        list(read_photographs(folder))
    assert not is_photographs(tmp_path)
    with pytest.raises(InvalidInputError, match="rosbag2"):
        list(read_frames(tmp_path))


def test_both_kinds_of_recording_are_read(tmp_path, monkeypatch):
    write_photographs(tmp_path / "demo" / "attic", {"first": (1,)})
    monkeypatch.chdir(tmp_path)
    folder = recording_folder("demo/attic")
    assert [one.title for one in read_frames(folder)] == ["first"]
    assert [one.title for one in read_frames(ROOT / "demo" / "garage")] == [""]


@pytest.fixture(scope="module")
def bundled():
    return {one.title: one for one in read_photographs(BUNDLED)}


def test_the_bundled_photographs_show_what_they_name(bundled):
    named = {title: list(one.names.values()) for title, one in bundled.items()}
    assert named == {
        "astronaut": ["helmet", "astronaut", "flag", "space shuttle"],
        "camera": ["camera", "tripod", "man", "tower"],
        "chelsea": ["cat"],
        "coffee": ["spoon", "cup", "saucer"],
        "rocket": ["rocket", *["tower"] * 4],
    }
    for title, thing, inside, outside in (
        ("astronaut", "astronaut", (100, 225), (150, 90)),  # the face; the wall
        ("astronaut", "helmet", (430, 400), (330, 200)),  # the visor; the suit behind it
        ("camera", "tripod", (400, 293), (400, 330)),  # the column; the lawn between the legs
        ("chelsea", "cat", (230, 265), (30, 420)),  # the nose; the wall
        ("coffee", "spoon", (290, 360), (290, 300)),  # the bowl; the cup
        ("coffee", "saucer", (370, 280), (100, 290)),  # the rim; the cup stands in front
        ("rocket", "rocket", (300, 322), (300, 250)),  # the sky beside it
    ):
        one = bundled[title]
        mask = np.any([one.mask(i) for i, name in one.names.items() if name == thing], axis=0)
        assert mask[inside], (title, thing)
        assert not mask[outside], (title, thing)
    assert len({i for one in bundled.values() for i in one.names}) == 17


def test_the_bundled_photographs_are_those_of_scikit_image_with_the_outlines_drawn(bundled):
    pytest.importorskip("skimage.data", reason="the source images come with scikit-image")
    maker = runpy.run_path(str(ROOT / "demo" / "make_photographs.py"))
    truth = json.loads((BUNDLED / "ground_truth.json").read_text(encoding="utf-8"))
    names = [line.split(",")[0] for line in (BUNDLED / "classes.txt").read_text().splitlines()]
    before = 0
    for picture in truth["pictures"]:
        one = bundled[picture["name"]]
        original = np.asarray(maker["photograph"](picture["name"]).convert("RGB")).astype(int)
        assert np.abs(one.frame.image_rgb - original).mean() < 4, "JPEG costs little"
        _, things = maker["draw"](picture, names)
        np.testing.assert_array_equal(np.where(things > 0, things + before, 0), one.instances)
        before += len(picture["objects"])


def test_all_recordings_together_are_small():
    files = [
        path
        for name in ("tabletop", "garage", "photographs")
        for path in (ROOT / "demo" / name).rglob("*")
        if path.is_file()
    ]
    assert sum(path.stat().st_size for path in files) < 10_000_000
