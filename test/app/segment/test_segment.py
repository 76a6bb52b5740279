"""`ovseg segment` on pictures and videos: what it writes is what the segmenter said, whatever comes in."""

from __future__ import annotations

import gc
import json
import os
import weakref
from types import SimpleNamespace
from unittest import mock

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from segment_fixtures import (
    BLOBS_PRESET,
    BLUE,
    GREEN,
    GREEN_BOX,
    RED,
    RED_BOX,
    blob_segmenter,
    files_in,
    masks_in,
    ovseg_segment,
    picture,
    save,
    summary_of,
    write_video,
)

from ovseg_ros.app.segment import run as segment_run
from ovseg_ros.app.segment.inputs import InputOptions
from ovseg_ros.app.segment.plan import plan_inputs
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.overlay import draw_overlay, label_colour
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.errors import ConfigError, InvalidInputError, NotFiniteError, OutOfMemoryError
from ovseg_ros.files.pictures import STORED
from ovseg_ros.models.downloads.verify import sha256_of

WORDS = ("--labels", "red, green, blue")


def wanted(image):
    vocabulary, _ = Vocabulary.empty().replace(["red", "green", "blue"])
    return blob_segmenter().segment(Frame(image), vocabulary)


def test_the_outputs_are_what_the_segmenter_says(tmp_path):
    image = picture((RED_BOX, RED), (GREEN_BOX, GREEN), ((slice(40, 52), slice(5, 17)), BLUE))
    Image.fromarray(image).save(tmp_path / "a.png")
    assert ovseg_segment(tmp_path / "a.png", *WORDS, "--out", tmp_path / "out") == 0
    out = tmp_path / "out"
    assert files_in(out) == {
        "overlay/a.png",
        "labels/a.png",
        "instances/a.png",
        "frames.jsonl",
        "masks.json",
        "summary.json",
        "summary.md",
    }
    result = wanted(image)
    with Image.open(out / "labels/a.png") as labels:
        assert labels.mode == "P"
        np.testing.assert_array_equal(np.array(labels), result.semantic()[0])
        shown = np.array(labels.convert("RGB"))
    assert set(np.unique(result.semantic()[0])) == {0, 1, 2, 255}
    assert tuple(shown[10, 10]) == label_colour(0)
    assert tuple(shown[0, 0]) == (0, 0, 0)
    numbers = cv2.imread(str(out / "instances/a.png"), cv2.IMREAD_UNCHANGED)
    assert numbers.dtype == np.uint16
    np.testing.assert_array_equal(numbers, result.instances())
    overlay = cv2.imread(str(out / "overlay/a.png"))[..., ::-1]
    np.testing.assert_array_equal(overlay, draw_overlay(image, result))


def test_masks_json_is_read_by_coco_and_holds_the_masks(tmp_path):
    for name, boxes in (("a", ((RED_BOX, RED),)), ("b", ((RED_BOX, RED), (GREEN_BOX, GREEN))), ("c", ())):
        save(tmp_path / "in" / f"{name}.png", *boxes, size_hw=(60, 80))
    Image.fromarray(np.full((60, 80, 3), 128, np.uint8)).save(tmp_path / "in/c.png")  # nothing to see
    assert ovseg_segment(tmp_path / "in", *WORDS, "--out", tmp_path / "out") == 0
    coco = COCO(str(tmp_path / "out/masks.json"))
    assert [coco.imgs[i]["name"] for i in coco.getImgIds()] == ["a", "b", "c"]
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["red", "green", "blue"]
    assert coco.imgs[2]["file_name"] == str(tmp_path / "in/b.png")
    rows = coco.loadAnns(coco.getAnnIds())
    assert [(r["image_id"], r["category_id"], r["instance"]) for r in rows] == [
        (1, 0, 1),
        (2, 0, 1),
        (2, 1, 2),
    ]
    result = wanted(picture((RED_BOX, RED), (GREEN_BOX, GREEN)))
    for row, mask, score in zip(rows[1:], result.masks, result.scores, strict=True):
        np.testing.assert_array_equal(coco_mask.decode(row["segmentation"]).astype(bool), mask.numpy())
        np.testing.assert_array_equal(coco.annToMask(row).astype(bool), mask.numpy())
        assert row["score"] == pytest.approx(float(score), abs=1e-5)
        assert row["area"] == int(mask.sum()) == 625
        assert row["runner_up"] in {"red", "green", "blue", *result.options.background}
        assert row["margin"] == pytest.approx(row["score"] - row["runner_up_score"], abs=2e-6)
    assert rows[1]["bbox"] == [5, 5, 25, 25]
    assert rows[2]["bbox"] == [50, 30, 25, 25]
    results = coco.loadRes(
        masks_in(tmp_path / "out")["annotations"]
    )  # the list alone is COCO's results format
    assert len(results.anns) == 3
    assert isinstance(rows[0]["segmentation"]["counts"], str)


def test_the_summary_counts(tmp_path):
    save(tmp_path / "a.png", (RED_BOX, RED), (GREEN_BOX, RED))
    save(tmp_path / "b.png", (RED_BOX, RED), (GREEN_BOX, GREEN))
    inputs = (tmp_path / "a.png", tmp_path / "b.png")
    labels = ("--labels", 'red, green, blue, "Red"')
    assert ovseg_segment(*inputs, *labels, "--out", tmp_path / "out", "--set", "max_masks=7") == 0
    summary = summary_of(tmp_path / "out")
    assert summary["status"] == "complete"
    assert summary["frames"] == {"segmented": 2, "kept": 0, "failed": 0}
    found = {label["name"]: (label["frames"], label["instances"]) for label in summary["labels"]}
    assert found == {"red": (2, 3), "green": (1, 1), "blue": (0, 0)}
    assert summary["labels"][0]["mean_score"] > 0.6
    assert summary["labels"][2]["mean_score"] is None
    margins = [label["mean_margin"] for label in summary["labels"]]
    assert 0 < margins[0] <= summary["labels"][0]["mean_score"]
    assert margins[2] is None
    assert summary["mask_remarks"] == {}
    assert set(summary["median_ms"]) == {"read", "propose", "crop", "encode", "text", "classify"}
    assert summary["options"]["max_masks"] == 7
    assert summary["preset"]["name"] == str(BLOBS_PRESET)
    assert summary["preset"]["sha256"] == summary["weights"]["blobs.yaml"] == sha256_of(BLOBS_PRESET)
    assert {"python", "torch", "ovseg_ros", "pycocotools"} <= set(summary["versions"])
    text = (tmp_path / "out/summary.md").read_text(encoding="utf-8")
    assert "| red" in text
    assert "2 frames, 0 failed" in text


def test_options_reach_the_segmenter(tmp_path):
    save(tmp_path / "a.png")
    segmenter = blob_segmenter()
    changes = ("--threshold", 0.99, "--granularity", 0.5, "--set", "background=[dust]", "--set", "fill=none")
    out = ("--out", tmp_path / "out")
    assert ovseg_segment(tmp_path / "a.png", *WORDS, *out, *changes, segmenter=segmenter) == 0
    options = segmenter.options
    assert (options.threshold, options.granularity) == (0.99, 0.5)
    assert (options.background, options.fill) == (("dust",), "none")
    assert options.background_max_similarity == 1.0  # the preset's own stays


def test_a_word_that_is_not_taken_is_said(tmp_path, capsys):
    save(tmp_path / "a.png")
    labels = ("--labels", f"red, {'x' * 200}")
    assert ovseg_segment(tmp_path / "a.png", *labels, "--out", tmp_path / "out") == 0
    assert "word not taken" in capsys.readouterr().err
    assert "at most 128 bytes" in summary_of(tmp_path / "out")["rejected_labels"][0]["reason"]


def test_relations_and_unknown_words_are_refused(tmp_path, capsys):
    save(tmp_path / "a.png")
    out = ("--out", tmp_path / "out")
    with pytest.raises(InvalidInputError, match="ask for 'red'"):
        ovseg_segment(tmp_path / "a.png", "--labels", "blue, red near the blue", *out)
    segmenter = blob_segmenter()
    segmenter.clip.tokenizer = SimpleNamespace(unknown_words=lambda words: [w for w in words if w != "red"])
    assert ovseg_segment(tmp_path / "a.png", "--labels", "red, 茶壶", *out, segmenter=segmenter) == 0
    assert "word not taken: '茶壶': unknown: English is the language of" in capsys.readouterr().err
    assert [word["name"] for word in summary_of(tmp_path / "out")["labels"]] == ["red"]
    with pytest.raises(InvalidInputError, match="unknown"):
        ovseg_segment(tmp_path / "a.png", "--labels", "茶壶", "--out", tmp_path / "none", segmenter=segmenter)


def test_bad_pictures_are_named_and_the_rest_is_done(tmp_path, capsys):
    save(tmp_path / "in/good.png")
    (tmp_path / "in/bad.png").write_bytes(b"no picture")
    (tmp_path / "in/empty.jpg").touch()
    save(tmp_path / "in/refused.png", ((slice(0, 5), slice(0, 5)), (0, 0, 0)))
    arguments = (tmp_path / "in", tmp_path / "missing.png", *WORDS, "--out", tmp_path / "out")
    assert ovseg_segment(*arguments) == 1
    said = capsys.readouterr().err
    for name in ("bad.png", "empty.jpg", "refused.png: black corner", "missing.png is not there"):
        assert name in said
    summary = summary_of(tmp_path / "out")
    assert summary["frames"] == {"segmented": 1, "kept": 0, "failed": 4}
    assert {os.path.basename(f["source"]) for f in summary["failures"]} == {
        "bad.png",
        "empty.jpg",
        "refused.png",
        "missing.png",
    }
    assert "bad.png" in (tmp_path / "out/summary.md").read_text()
    assert [image["name"] for image in masks_in(tmp_path / "out")["images"]] == ["good"]


@pytest.mark.parametrize("error", [InvalidInputError("black corner"), KeyboardInterrupt, ZeroDivisionError])
def test_a_run_without_a_frame_leaves_nothing_that_blocks_the_next(tmp_path, capsys, error):
    arguments = (save(tmp_path / "a.png"), *WORDS, "--out", tmp_path / "new/out")
    segmenter = blob_segmenter(before=mock.Mock(side_effect=error))
    if error is ZeroDivisionError:
        with pytest.raises(error):
            ovseg_segment(*arguments, segmenter=segmenter)
    else:
        status, reason = (130, "interrupted") if error is KeyboardInterrupt else (2, "black corner")
        assert ovseg_segment(*arguments, segmenter=segmenter) == status
        assert f"nothing was segmented: {reason}; nothing is left behind" in capsys.readouterr().out
    assert not (tmp_path / "new/out").exists()
    assert ovseg_segment(*arguments) == 0


def test_names_are_unique_and_keep_their_letters(tmp_path):
    for name in ("x/a.png", "y/a.png", "y/A.jpg", "y/sub/a.png", "茶壶 é.png", "x/.hidden.png", "a_2.png"):
        save(tmp_path / name)
    inputs = (tmp_path / "x", tmp_path / "y", tmp_path / "茶壶 é.png", tmp_path / "a_2.png")
    assert ovseg_segment(*inputs, "--recursive", *WORDS, "--out", tmp_path / "out") == 0
    names = [image["name"] for image in masks_in(tmp_path / "out")["images"]]
    assert names == ["a", "A_2", "a_3", "sub/a", "茶壶 é", "a_2_2"]
    for folder in ("overlay", "labels", "instances"):
        assert files_in(tmp_path / "out" / folder) == {f"{name}.png" for name in names}


def test_a_video_and_a_folder_of_its_name_do_not_meet(tmp_path):
    save(tmp_path / "in/clip/000000.png")
    save(tmp_path / "in/clip.png")
    write_video(tmp_path / "clip.avi", [picture()] * 2)
    inputs = [str(tmp_path / "in"), str(tmp_path / "clip.avi"), str(tmp_path / "clip.avi")]
    for order, names in (
        (1, ["clip/000000", "clip", "clip_2", "clip_3"]),
        (-1, ["clip", "clip_2", "clip_3/000000", "clip_3"]),
    ):
        sources, failures = plan_inputs(inputs[::order], InputOptions(recursive=True))
        assert not failures
        assert [source.name for source in sources] == names
        assert len({frame.name for source in sources for frame in source.frames()}) == 6


def test_long_and_undecodable_names(tmp_path):
    long = save(tmp_path / ("ä" * 120 + ".png"))
    odd = os.fsencode(tmp_path) + b"/odd\xff.png"
    with open(odd, "wb") as file:
        Image.fromarray(picture()).save(file, "PNG")
    missing = os.fsdecode(odd.replace(b"odd", b"not there"))
    assert ovseg_segment(long, os.fsdecode(odd), missing, *WORDS, "--out", tmp_path / "out") == 1
    assert "not there\ufffd.png" in summary_of(tmp_path / "out")["failures"][0]["reason"]
    first, second = (image["name"] for image in masks_in(tmp_path / "out")["images"])
    assert len(first.encode()) <= 180
    assert second == "odd\ufffd"


def test_links_that_go_round_in_circles_cost_themselves_alone(tmp_path):
    save(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").symlink_to("b.png")
    os.mkfifo(tmp_path / "in/c.png")
    assert ovseg_segment(tmp_path / "in", *WORDS, "--out", tmp_path / "out") == 1
    reasons = [failure["reason"] for failure in summary_of(tmp_path / "out")["failures"]]
    assert "symbolic links" in reasons[0]
    assert "is a pipe" in reasons[1]


def test_what_lies_in_a_folder_without_pictures_is_said(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.svg").touch()
    with pytest.raises(InvalidInputError, match=r"no picture in the folder .*; there is \.svg"):
        ovseg_segment(tmp_path / "in", *WORDS, "--out", tmp_path / "out")


def test_pictures_with_depth_are_taken_as_stored_and_it_is_said_once(tmp_path):
    """Depth has no EXIF orientation: turned under it, every distance would be another pixel's."""
    exif = Image.Exif()
    exif[0x0112] = 3
    for name in "ab":
        save(tmp_path / f"in/{name}.png")
        Image.fromarray(picture()).save(tmp_path / f"in/{name}.png", exif=exif)
    cv2.imwrite(str(tmp_path / "depth.png"), np.full(picture().shape[:2], 900, np.uint16))
    depth = ("--depth", tmp_path / "depth.png", "--intrinsics", "70,70,40,30")
    assert ovseg_segment(tmp_path / "in", *WORDS, *depth, "--out", tmp_path / "stored") == 0
    assert summary_of(tmp_path / "stored")["remarks"] == [STORED]
    assert ovseg_segment(tmp_path / "in", *WORDS, "--out", tmp_path / "turned") == 0
    assert summary_of(tmp_path / "turned")["remarks"] == []
    stored, turned = (
        np.array(Image.open(tmp_path / f"{name}/overlay/a.png").convert("RGB")).astype(int)
        for name in ("stored", "turned")
    )
    shown = picture().astype(int)
    assert np.abs(stored - shown).mean() < np.abs(turned - shown).mean()


def test_a_video_whose_name_is_not_utf_8_is_refused(tmp_path):
    odd = os.fsdecode(
        os.fsencode(write_video(tmp_path / "v.avi", [picture()])).replace(b"v.avi", b"v\xff.avi")
    )
    os.rename(tmp_path / "v.avi", odd)
    with pytest.raises(InvalidInputError, match=r"UTF-8, got .*v\ufffd\.avi; rename it"):
        ovseg_segment(odd, *WORDS, "--out", tmp_path / "out")


def test_outputs_of_an_earlier_run_are_no_inputs(tmp_path):
    save(tmp_path / "in/a.png")
    arguments = (tmp_path / "in", "--recursive", *WORDS, "--out", tmp_path / "in")
    with pytest.raises(ConfigError, match="holds files"):
        ovseg_segment(*arguments)
    assert ovseg_segment(*arguments, "--overwrite") == 0
    assert ovseg_segment(*arguments, "--overwrite") == 0
    assert summary_of(tmp_path / "in")["frames"]["segmented"] == 1
    assert (tmp_path / "in/a.png").is_file()


def test_overwrite_removes_what_was_made_and_nothing_else(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    write_video(tmp_path / "v.avi", [picture()] * 2)
    inputs = (tmp_path / "a.png", tmp_path / "b.png", tmp_path / "v.avi")
    assert ovseg_segment(*inputs, *WORDS, "--out", out) == 0
    (out / "labels/mine.png").touch()
    (out / "notes.txt").touch()
    assert ovseg_segment(tmp_path / "b.png", *WORDS, "--out", out, "--overwrite") == 0
    made = {"overlay/b.png", "labels/b.png", "instances/b.png", "frames.jsonl", "masks.json"}
    assert files_in(out) == made | {"summary.json", "summary.md", "labels/mine.png", "notes.txt"}
    assert [image["name"] for image in masks_in(out)["images"]] == ["b"]


def test_resume_does_what_is_missing_or_has_changed(tmp_path):
    for name in ("a", "b", "c"):
        save(tmp_path / f"in/{name}.png")
    arguments = (tmp_path / "in", *WORDS, "--out", tmp_path / "out")
    assert ovseg_segment(*arguments) == 0
    with pytest.raises(ConfigError, match="--resume goes on"):
        ovseg_segment(*arguments)
    save(tmp_path / "in/a.png", (RED_BOX, BLUE))  # changed
    os.utime(tmp_path / "in/a.png", (1, 1))
    (tmp_path / "out/labels/b.png").unlink()  # lost
    save(tmp_path / "in/d.png")  # new
    with (tmp_path / "out/frames.jsonl").open("a") as journal:
        journal.write('{"name": "broken off')
    segmenter = blob_segmenter()
    assert ovseg_segment(*arguments, "--resume", segmenter=segmenter) == 0
    assert len(segmenter.proposer.frames) == 3
    summary = summary_of(tmp_path / "out")
    assert summary["frames"] == {"segmented": 4, "kept": 1, "failed": 0}
    assert {label["name"]: label["instances"] for label in summary["labels"]} == {
        "red": 3,
        "green": 3,
        "blue": 1,
    }
    coco = COCO(str(tmp_path / "out/masks.json"))
    assert sorted(image["name"] for image in coco.imgs.values()) == ["a", "b", "c", "d"]
    segmenter = blob_segmenter()
    assert ovseg_segment(*arguments, "--resume", segmenter=segmenter) == 0
    assert segmenter.proposer.frames == []
    assert len(masks_in(tmp_path / "out")["images"]) == 4


def test_a_changed_picture_that_cannot_be_done_again_leaves_nothing_old(tmp_path):
    save(tmp_path / "in/a.png")
    save(tmp_path / "in/b.png")
    arguments = (tmp_path / "in", *WORDS, "--out", tmp_path / "out")
    assert ovseg_segment(*arguments) == 0
    (tmp_path / "in/a.png").write_bytes(b"broken")
    assert ovseg_segment(*arguments, "--resume") == 1
    assert [image["name"] for image in masks_in(tmp_path / "out")["images"]] == ["b"]
    assert files_in(tmp_path / "out/labels") == {"b.png"}
    save(tmp_path / "in/a.png")
    assert ovseg_segment(*arguments, "--resume") == 0
    assert [image["name"] for image in masks_in(tmp_path / "out")["images"]] == ["b", "a"]


def test_resume_with_other_settings_is_refused(tmp_path):
    save(tmp_path / "a.png")
    out = ("--out", tmp_path / "out")
    assert ovseg_segment(tmp_path / "a.png", *WORDS, *out) == 0
    with pytest.raises(ConfigError, match=r"other settings \(labels"):
        ovseg_segment(tmp_path / "a.png", "--labels", "red", *out, "--resume")
    with pytest.raises(ConfigError, match=r"other settings \(options"):
        ovseg_segment(tmp_path / "a.png", *WORDS, *out, "--resume", "--threshold", "0.7")


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt, "interrupted"), (ZeroDivisionError, "failed")]
)
def test_what_ends_a_run_leaves_what_is_done_and_resume_goes_on(tmp_path, error, status):
    for i in range(4):
        save(tmp_path / f"in/{i}.png")
    arguments = (tmp_path / "in", *WORDS, "--out", tmp_path / "out")
    segmenter = blob_segmenter(before=mock.Mock(side_effect=[None, None, error]))
    if error is KeyboardInterrupt:
        assert ovseg_segment(*arguments, segmenter=segmenter) == 130
    else:  # a bug is loud
        with pytest.raises(error):
            ovseg_segment(*arguments, segmenter=segmenter)
    assert summary_of(tmp_path / "out")["status"] == status
    assert len(COCO(str(tmp_path / "out/masks.json")).getImgIds()) == 2
    assert not [name for name in files_in(tmp_path / "out") if "part" in name]
    assert ovseg_segment(*arguments, "--resume") == 0
    assert summary_of(tmp_path / "out")["frames"] == {"segmented": 4, "kept": 2, "failed": 0}


@pytest.mark.parametrize(
    "error", [OutOfMemoryError("the device is full"), MemoryError(), NotFiniteError("1 of 8 numbers are NaN")]
)
def test_a_frame_that_does_not_fit_costs_itself(tmp_path, error):
    save(tmp_path / "in/a.png", size_hw=(61, 80))
    save(tmp_path / "in/b.png")

    def before(frame):  # it is tried twice
        if frame.size_hw == (61, 80):
            raise error

    arguments = (tmp_path / "in", *WORDS, "--out", tmp_path / "out")
    assert ovseg_segment(*arguments, segmenter=blob_segmenter(before=before)) == 1
    assert summary_of(tmp_path / "out")["frames"] == {"segmented": 1, "kept": 0, "failed": 1}


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_a_video(tmp_path, suffix):
    shown = [(RED_BOX, RED), (GREEN_BOX, GREEN)]
    write_video(tmp_path / f"clip.{suffix}", [picture(shown[i % 2], size_hw=(60, 81)) for i in range(10)])
    segmenter = blob_segmenter()
    arguments = (tmp_path / f"clip.{suffix}", *WORDS, "--out", tmp_path / "out", "--every", "3")
    assert ovseg_segment(*arguments, segmenter=segmenter) == 0
    names = [f"clip/{i:06d}" for i in (0, 3, 6, 9)]
    coco = COCO(str(tmp_path / "out/masks.json"))
    assert [coco.imgs[i]["name"] for i in coco.getImgIds()] == names
    assert coco.imgs[2]["file_name"].endswith(f"clip.{suffix}#3")
    assert [row["category_id"] for row in coco.loadAnns(coco.getAnnIds())] == [0, 1, 0, 1]
    assert files_in(tmp_path / "out/labels") == {f"{name}.png" for name in names}
    if suffix == "mp4":
        assert [f.stamp_ns / 1e9 for f in segmenter.proposer.frames] == pytest.approx([0, 0.3, 0.6, 0.9])
    film = cv2.VideoCapture(str(tmp_path / "out/overlay/clip.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(10 / 3, rel=0.01)
    good, image_bgr = film.read()
    assert good
    assert image_bgr.shape == (60, 80, 3)
    overlay = cv2.imread(str(tmp_path / "out/overlay/clip/000000.png"))[:, :80]
    assert np.abs(image_bgr.astype(int) - overlay).mean() < 8


def test_max_frames_and_resume_of_a_video(tmp_path):
    write_video(tmp_path / "v.avi", [picture() for _ in range(6)])
    arguments = (tmp_path / "v.avi", *WORDS, "--out", tmp_path / "out")
    assert ovseg_segment(*arguments, "--max-frames", "2") == 0
    assert len(masks_in(tmp_path / "out")["images"]) == 2
    segmenter = blob_segmenter()
    assert ovseg_segment(*arguments, "--resume", segmenter=segmenter) == 0
    assert len(segmenter.proposer.frames) == 4
    film = cv2.VideoCapture(str(tmp_path / "out/overlay/v.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 6


def test_an_overlay_that_is_gone_is_left_out_of_the_film(tmp_path):
    write_video(tmp_path / "v.avi", [picture() for _ in range(3)])
    first = tmp_path / "out/overlay/v/000000.png"
    segmenter = blob_segmenter(before=lambda _: first.unlink(missing_ok=True))
    assert ovseg_segment(tmp_path / "v.avi", *WORDS, "--out", tmp_path / "out", segmenter=segmenter) == 0
    film = cv2.VideoCapture(str(tmp_path / "out/overlay/v.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_a_video_that_is_cut_off_gives_what_it_has(tmp_path):
    rng = np.random.default_rng(0)
    frames = [rng.integers(100, 156, (60, 80, 3), dtype=np.uint8) for _ in range(20)]
    data = write_video(tmp_path / "whole.avi", frames).read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    (tmp_path / "stub.avi").write_bytes(data[:3000])
    assert ovseg_segment(tmp_path / "cut.avi", *WORDS, "--out", tmp_path / "out") == 0
    assert 5 <= len(masks_in(tmp_path / "out")["images"]) < 15
    assert "cut.avi" in " ".join(summary_of(tmp_path / "out")["remarks"])


def test_progress_where_there_is_no_terminal(tmp_path, capsys, monkeypatch):
    for i in range(3):
        save(tmp_path / f"in/{i}.png")
    assert ovseg_segment(tmp_path / "in", *WORDS, "--out", tmp_path / "out") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "per second" in line]
    assert len(lines) == 1
    assert "3/3 frames" in lines[0]
    monkeypatch.setattr(segment_run, "LINE_EVERY_S", 0.0)
    assert ovseg_segment(tmp_path / "in", *WORDS, "--out", tmp_path / "out", "--overwrite") == 0
    said = capsys.readouterr().err
    assert [line.split()[1] for line in said.splitlines() if "per second" in line] == ["1/3", "2/3", "3/3"]
    assert "\r" not in said


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), RED).save(tmp_path / "a.png")
    assert ovseg_segment(tmp_path / "a.png", *WORDS, "--out", tmp_path / "out") == 0
    assert cv2.imread(str(tmp_path / "out/instances/a.png"), cv2.IMREAD_UNCHANGED).shape == (1, 1)


def test_depth_beside_pictures_reaches_the_segmenter(tmp_path):
    save(tmp_path / "rgb/a.png")
    save(tmp_path / "rgb/b.png")
    (tmp_path / "rgb/depth").mkdir()
    cv2.imwrite(str(tmp_path / "rgb/depth/a.png"), np.full((60, 80), 1500, np.uint16))
    cv2.imwrite(str(tmp_path / "rgb/depth/b.png"), np.full((6, 8), 1500, np.uint16))
    segmenter = blob_segmenter(needs_depth=True)
    arguments = (tmp_path / "rgb", "--recursive", *WORDS, "--depth", tmp_path / "rgb/depth")
    camera = ("--intrinsics", "70,71,40,30", "--out", tmp_path / "out")
    assert ovseg_segment(*arguments, *camera, segmenter=segmenter) == 1
    (frame,) = segmenter.proposer.frames
    assert frame.depth_m[0, 0] == pytest.approx(1.5)
    assert (frame.intrinsics.fy, frame.intrinsics.width) == (71, 80)
    assert "80x60, got 8x6" in summary_of(tmp_path / "out")["failures"][0]["reason"]


def test_memory_holds_no_frame_after_it_is_done(tmp_path):
    write_video(tmp_path / "v.avi", [picture()] * 5)
    segmenter = blob_segmenter()
    propose, alive = segmenter.proposer.propose, []

    def counted(frame):
        gc.collect()
        alive.append(weakref.ref(frame))
        assert sum(ref() is not None for ref in alive) <= 2
        result = propose(frame)
        segmenter.proposer.frames.clear()
        return result

    segmenter.proposer.propose = counted
    assert ovseg_segment(tmp_path / "v.avi", *WORDS, "--out", tmp_path / "out", segmenter=segmenter) == 0
    assert len(alive) == 5


def test_json_lines_are_one_per_frame(tmp_path):
    save(tmp_path / "a.png")
    assert ovseg_segment(tmp_path / "a.png", *WORDS, "--out", tmp_path / "out") == 0
    settings, entry = map(json.loads, (tmp_path / "out/frames.jsonl").read_text().splitlines())
    assert settings["settings"]["labels"] == ["red", "green", "blue"]
    assert (entry["name"], entry["height"], entry["width"], entry["proposals"]) == ("a", 60, 80, 2)
