"""What a search gives: values, indexing, pictures and the forms of other packages."""

from __future__ import annotations

import dataclasses
import json
import sys
import types

import numpy as np
import pytest
from door_fixtures import CAMERA, GREEN, HEIGHT, RED, SMALL_RED, WIDTH, colour_finder, depth_m, picture
from PIL import Image
from pycocotools import mask as coco_mask

import ovseg_ros
from ovseg_ros.core.overlay import draw_overlay


@pytest.fixture(scope="module")
def result() -> ovseg_ros.Result:
    return colour_finder()(picture(), ["green", "red", "blue"], depth=depth_m(), intrinsics=CAMERA)


def test_things_carry_plain_values(result):
    red, green, small = result
    assert [thing.label for thing in result] == ["red", "green", "red"]  # by how sure their masks are
    assert red.box_xyxy == (4, 5, 24, 25)
    assert all(type(number) is int for number in red.box_xyxy)
    assert (red.area_px, green.area_px, small.area_px) == (400, 400, 36)
    assert red.mask.dtype == bool
    assert red.mask.shape == (HEIGHT, WIDTH)
    assert red.mask[RED].all()
    assert red.mask.sum() == 400
    assert red.track_id is None
    assert type(red.score) is float
    assert 0.5 < red.score <= 1


def test_the_runner_up_and_the_margin_are_of_the_second_best_word(result):
    near = colour_finder()(picture(), ["red", "green", "crimson"], threshold=0.1)["red"][
        0
    ]  # crimson is red here
    assert near.runner_up == "crimson"
    assert near.margin == pytest.approx(0.0, abs=1e-6)
    assert near.runner_up_score == pytest.approx(near.score, abs=1e-6)
    assert f"{near.score:.2f}, close to crimson {near.score:.2f}, box" in repr(near)
    assert result[0].margin == pytest.approx(result[0].score, abs=0.01)  # far from green and blue
    assert "close" not in repr(result[0])
    alone = colour_finder()(picture(), ["red"])[0]
    assert alone.runner_up == "others"  # nobody asked for it, but it competes with a word alone
    assert alone.margin == pytest.approx(alone.score - alone.runner_up_score)
    finder = colour_finder()
    finder.segmenter.options = dataclasses.replace(finder.segmenter.options, others="")
    unrivalled = finder(picture(), ["red"])[0]
    assert (unrivalled.runner_up, unrivalled.runner_up_score) == (None, 0.0)
    assert unrivalled.margin == unrivalled.score


def test_places_are_those_of_depth_and_camera(result):
    red, green, _ = result
    # columns 34..53 and rows 10..29 at 1 m: x from (34-30)/50 to (53-30)/50, y from (10-20)/50 to (29-20)/50
    assert green.centroid_m == pytest.approx(((4 + 23) / 100, (-10 + 9) / 100, 1.0), abs=0.02)
    assert green.centre_m == pytest.approx(green.centroid_m, abs=0.02)
    assert green.size_m == pytest.approx((19 / 50, 0.0, 19 / 50), abs=0.02)  # upright: the height comes last
    assert green.rotation[:, 2] == pytest.approx((0, -1, 0))  # a level camera, nothing to stand on
    assert green.distance_m == pytest.approx(np.linalg.norm(green.centroid_m))
    assert (np.linalg.eigvalsh(green.centroid_covariance) > 0).all()
    assert red.centroid_m[2] == pytest.approx(2.0)
    flat = colour_finder()(picture(), ["red"])[0]
    assert flat.in_space is None
    assert flat.centroid_m is flat.centroid_covariance is flat.distance_m is None
    assert flat.centre_m is flat.size_m is flat.rotation is None
    unknown = colour_finder()(
        picture(), ["red"], depth=np.zeros((HEIGHT, WIDTH), np.float32), intrinsics=CAMERA
    )
    assert unknown[0].centroid_m is None


def test_it_is_indexed_by_number_slice_and_word(result):
    assert len(result) == 3
    assert result[0] is next(iter(result))
    assert result[-1] is result[2]
    assert result[:2] == [result[0], result[1]]
    assert result["red"] == [result[0], result[2]]
    assert result["Green"] == [result[1]]
    assert result["blue"] == []
    assert "red" in result
    assert "GREEN" in result
    assert "blue" not in result
    assert "teapot" not in result
    assert result[0] in result
    assert result.words == ("green", "red", "blue")
    assert result.found == ("green", "red")
    assert result.missing == ("blue",)


def test_a_word_that_was_not_asked_names_those_that_were(result):
    with pytest.raises(KeyError, match="'cup' was not asked for; the words were: green, red, blue"):
        result["cup"]
    with pytest.raises(IndexError, match=r"expected one of the 3 things found, got \[3\]"):
        result[3]


def test_an_empty_result_is_false(result):
    nothing = colour_finder()(picture(), ["blue"])
    assert result
    assert not nothing
    assert list(nothing) == nothing.to_coco() == []
    assert "nothing found; missing: blue" in repr(nothing)


def test_reprs_are_short(result):
    assert repr(result) == "<Result on 60x40: red 1.00, green 1.00, red 1.00; missing: blue>"
    assert "\n" not in repr(result[0])
    assert "array" not in repr(result[0])
    many = colour_finder()(picture(), ["red", *(f"a rather long word {i}" for i in range(100))])
    assert len(repr(many)) < 200
    assert repr(many).endswith("…>")
    assert all(
        len(repr(one)) < 200 for one in (result, result[1], colour_finder(), colour_finder().masks(picture()))
    )


def test_the_label_map_counts_the_words(result):
    assert result.label_map.dtype == np.uint8
    expected = np.full((HEIGHT, WIDTH), 255, np.uint8)
    expected[GREEN], expected[RED], expected[SMALL_RED] = 0, 1, 1
    assert (result.label_map == expected).all()
    assert (result.image == picture()).all()


def test_it_is_drawn_and_saved(result, tmp_path):
    drawn = result.plot()
    assert isinstance(drawn, Image.Image)
    assert (np.asarray(drawn) == draw_overlay(picture(), result.segmentation)).all()
    path = result.save(tmp_path / "found.png")
    assert path == tmp_path / "found.png"
    assert (np.asarray(Image.open(path)) == np.asarray(drawn)).all()
    assert result.save(str(tmp_path / "found.jpg")).stat().st_size > 0


def test_it_is_saved_only_where_that_can_be_done(result, tmp_path):
    with pytest.raises(ovseg_ros.InvalidInputError, match=r"ends in .png, .jpg or the like, got 'found'"):
        result.save("found")
    with pytest.raises(ovseg_ros.InvalidInputError, match="expected a folder that is there"):
        result.save(tmp_path / "nowhere" / "found.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ovseg_ros.OvsegError, match="cannot write"):
        result.save(tmp_path / "folder.png")


def test_coco_annotations_are_what_cocos_tools_read(result):
    rows = result.to_coco(image_id=7)
    assert json.loads(json.dumps(rows)) == rows
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert {row["image_id"] for row in rows} == {7}
    assert [row["category_id"] for row in rows] == [1, 0, 1]
    assert [row["label"] for row in rows] == ["red", "green", "red"]
    assert rows[0]["bbox"] == [4, 5, 20, 20]
    assert rows[0]["area"] == 400
    for row, thing in zip(rows, result):
        assert row["score"] == pytest.approx(thing.score, abs=1e-6)
        assert row["runner_up"] == (thing.runner_up or "")
        assert row["margin"] == pytest.approx(row["score"] - row["runner_up_score"], abs=2e-6)
        assert (coco_mask.decode(row["segmentation"]) == thing.mask).all()


class Detections:
    """As supervision's, as far as it is used here."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)

    @classmethod
    def empty(cls) -> Detections:
        return cls(xyxy=np.empty((0, 4)))


@pytest.fixture
def supervision(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", types.SimpleNamespace(Detections=Detections))


@pytest.mark.usefixtures("supervision")
def test_supervision_gets_boxes_masks_and_names(result):
    detections = result.to_supervision()
    assert detections.xyxy.tolist()[0] == [4, 5, 24, 25]
    assert detections.xyxy.dtype == np.float32
    assert detections.mask.shape == (3, HEIGHT, WIDTH)
    assert detections.mask.dtype == bool
    assert detections.confidence == pytest.approx([thing.score for thing in result])
    assert detections.class_id.tolist() == [1, 0, 1]
    assert detections.tracker_id is None
    assert detections.data["class_name"].tolist() == ["red", "green", "red"]
    assert len(colour_finder()(picture(), ["blue"]).to_supervision().xyxy) == 0
    _, second = colour_finder().video([picture(), picture()], ["green", "red"])
    tracks = [thing.track_id for thing in second]
    assert second.to_supervision().tracker_id.tolist() == tracks


def test_the_real_supervision_takes_it(result):
    supervision = pytest.importorskip("supervision")
    detections = result.to_supervision()
    assert isinstance(detections, supervision.Detections)
    assert detections["class_name"].tolist() == ["red", "green", "red"]
    assert detections.area.tolist() == [400, 400, 36]


def test_without_supervision_the_cure_is_named(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ovseg_ros.OvsegError, match="pip install supervision"):
        result.to_supervision()
