"""Names on a tiny COCO file whose figures are known beforehand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from photo_fixtures import CATEGORIES, LEFT, H, W, colour_segmenter, write_photos

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.evaluate.photos import PhotoOptions, score_photos
from ovseg_ros.evaluate.photos.reports import report, write_charts
from ovseg_ros.evaluate.photos.truth import embed_given, own_iou, truth_of
from ovseg_ros.files.instances import read_instances


@pytest.fixture
def dataset(tmp_path):
    return read_instances(write_photos(tmp_path / "data"))


def test_own_masks(dataset):
    told = []
    scores = score_photos(colour_segmenter(), dataset, progress=lambda *a: told.append(a))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert (scores.images, scores.words, scores.failed) == (3, 4, ())
    naming = scores.naming
    # Seven masks; the one of the crowd counts for nothing, the small green one is named and not to be found.
    assert (naming.masks, naming.named, naming.objects, naming.matched) == (6, 6, 5, 5)
    assert naming.precision == 5 / 6  # the red box that is called green
    assert naming.recall == 4 / 5
    assert naming.top1 == 4 / 5
    assert naming.per_word["green"] == {"objects": 2, "found": 1, "named": 2, "right": 2, "top1": 0.5}
    answers = scores.answers
    assert answers.trials["present"] == 5
    assert (answers.trials["near"], answers.trials["far"]) == (3, 2)
    # "green" asked of picture two finds the small one, which is right, and is in view
    assert answers.recall == 5 / 5


def test_absent_words_are_those_that_are_in_no_part_of_the_picture(dataset):
    rows = score_photos(colour_segmenter(), dataset).trials["answers"]
    asked = {(row["picture"], row["word"], row["kind"]) for row in rows if row["kind"] != "present"}
    # red is in the third picture, as a crowd; green in the second, too small to be asked for
    assert (
        asked
        == {
            ("p0.png", "blue", "near"),
            ("p0.png", "yak", "far"),
            ("p1.png", "red", "near"),
            ("p1.png", "yak", "far"),
            ("p2.png", "green", "near"),
        }
        & asked
    )
    assert ("p1.png", "red", "near") in asked
    assert [row["found"] for row in rows if row["word"] == "red" and row["kind"] == "near"] == [True]


def test_true_masks(dataset):
    scores = score_photos(colour_segmenter(), dataset, PhotoOptions("true"))
    naming = scores.naming
    assert (naming.masks, naming.objects, naming.matched) == (5, 5, 5)
    assert (naming.precision, naming.recall, naming.top1) == (4 / 5, 4 / 5, 4 / 5)
    # asked for "green" in picture two nothing is found: the small one is no mask here
    assert scores.answers.recall == 4 / 5
    assert scores.answers.precision == 4 / 5  # "red", absent there, is found
    assert scores.answers.precision_in_view == 4 / 5


def test_a_smaller_least_size_counts_the_small_one(dataset):
    scores = score_photos(colour_segmenter(), dataset, PhotoOptions("true", min_pixels=20))
    assert (scores.naming.objects, scores.naming.recall) == (6, 5 / 6)


def test_named_by_the_words_in_view(dataset):
    scores = score_photos(colour_segmenter(), dataset, PhotoOptions("true", "present"))
    # picture two holds green and blue: the red box, called green, gets neither
    assert scores.naming.named == 4
    assert scores.naming.precision == 1.0


def test_what_is_not_labelled_to_the_end_says_nothing_of_absent_words(tmp_path):
    dataset = read_instances(write_photos(tmp_path / "data", complete=False))
    scores = score_photos(colour_segmenter(), dataset)
    assert {kind: scores.answers.trials[kind] for kind in ("near", "far")} == {"near": 0, "far": 0}
    assert scores.naming.masks == 6


def test_without_supercategories_everything_is_far(tmp_path):
    dataset = read_instances(write_photos(tmp_path / "data", supercategories=False))
    assert dict(dataset.categories) == dict.fromkeys(CATEGORIES, "")
    assert score_photos(colour_segmenter(), dataset).answers.trials["near"] == 0


def test_given_masks_are_embedded_as_they_are():
    image = np.full((H, W, 3), 128, np.uint8)
    image[LEFT] = (230, 20, 20)
    mask = np.zeros((1, H, W), bool)
    mask[0][LEFT] = True
    chain = colour_segmenter(min_mask_pixels=10**6)  # which holds for proposals, not for these
    embedded = embed_given(chain, Frame(image), mask)
    assert len(embedded) == 1
    assert embedded.embeddings.norm(dim=1).tolist() == pytest.approx([1.0])
    with pytest.raises(InvalidInputError, match="empty"):
        embed_given(chain, Frame(image), np.zeros((1, H, W), bool))
    assert len(embed_given(chain, Frame(image), np.zeros((0, H, W), bool))) == 0


def test_the_truth_of_a_picture(dataset):
    truth = truth_of(dataset.pictures[1], 400)
    assert [(one.names, one.counts) for one in truth.objects] == [
        (("green",), True),
        (("blue",), True),
        (("green",), False),
    ]
    assert truth.present == ("green", "blue")
    crowd = truth_of(dataset.pictures[2], 400)
    assert crowd.in_view == {"red", "blue"}
    assert crowd.crowd.sum() == 625
    assert own_iou([2, 0], 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_picture_that_is_missing_is_named(dataset, tmp_path):
    (tmp_path / "data/p1.png").unlink()
    scores = score_photos(colour_segmenter(), dataset)
    assert scores.images == 2
    assert scores.failed[0][0] == "p1.png"
    for name in ("p0.png", "p2.png"):
        (tmp_path / "data" / name).unlink()
    with pytest.raises(InvalidInputError, match="none of the 3 pictures"):
        score_photos(colour_segmenter(), dataset)


@pytest.mark.parametrize(
    ("options", "error", "what"),
    [
        (lambda: PhotoOptions("false"), ConfigError, "masks one of true, own"),
        (lambda: PhotoOptions(words="few"), ConfigError, "words one of all, present"),
        (lambda: PhotoOptions(min_pixels=0), ConfigError, "at least 1 pixel"),
        (lambda: PhotoOptions(min_pixels=10**6), InvalidInputError, "--min-pixels"),
    ],
)
def test_what_cannot_be_measured(dataset, options, error, what):
    with pytest.raises(error, match=what):
        score_photos(colour_segmenter(), dataset, options())


def test_a_file_without_categories_or_with_too_many(tmp_path):
    path = write_photos(tmp_path / "data")
    content = json.loads(path.read_text())
    path.write_text(json.dumps({key: content[key] for key in ("images", "annotations")}))
    with pytest.raises(InvalidInputError, match="categories with names"):
        score_photos(colour_segmenter(), read_instances(path))
    content["categories"] += [{"id": 100 + k, "name": f"word {k}"} for k in range(300)]
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match="--words present"):
        score_photos(colour_segmenter(), read_instances(path))
    assert score_photos(colour_segmenter(), read_instances(path), PhotoOptions("true", "present")).images == 3


def test_the_report_and_the_charts(dataset, tmp_path):
    scores = score_photos(colour_segmenter(), dataset)
    text = report(scores, "colours", details=True)
    assert "83.3 / 80.0 / 81.6 %" in text
    assert "own masks, objects of at least 400 pixels, preset colours" in text
    assert "| green " in text
    write_charts(tmp_path / "charts", scores, "colours")
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == [
        "precision_recall.png",
        "reliability.png",
    ]
    json.dumps(scores.to_dict(), allow_nan=False)
