"""`ovseg segment` says what is wrong, and what to do, before torch is imported; and where results go."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from repository import ROOT
from segment_fixtures import BLOBS_PRESET, blob_segmenter, masks_in, ovseg_segment, save, summary_of

from ovseg_ros.app.segment.outputs import OutputFolder
from ovseg_ros.app.segment.setup import presets_without_depth
from ovseg_ros.app.segment.summary import found_text
from ovseg_ros.errors import OvsegError

# Runs each command of a list in one process in which torch cannot be imported.
WITHOUT_TORCH = """
import contextlib, io, json, sys
sys.modules["torch"] = None
from ovseg_ros.app.cli import main
told = []
for arguments in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            status = main(["segment", *arguments])
        except SystemExit as end:
            status = end.code
    told.append((status, said.getvalue()))
json.dump(told, sys.stdout)
"""
TABLETOP = str(ROOT / "demo/tabletop")
DEPTH = ("a.png", "--depth", "depth.png", "--intrinsics", "70,70,40,30")
BLOBS = ("--preset", str(BLOBS_PRESET))
MINI = ("--preset", "mini")
WRONG = {  # arguments -> what is said; the words are "teapot" where none are given
    (TABLETOP, "-l", " "): 'expected a word to look for, as in --labels "teapot, red mug"; got none',
    (TABLETOP, "-l", "find the"): "say for example 'find teapot'",
    (TABLETOP, "-l", "x" * 200): "at most 128 bytes",
    (TABLETOP, "--preset", "lit"): "did you mean 'lite'?",
    (TABLETOP, "--preset", "nowhere.yaml"): "which is not there",
    (TABLETOP, "--preset", "text.yaml"): "expected the preset as key: value pairs",
    (TABLETOP, "--preset", "vitb16"): "run `ovseg download vitb16`",
    (TABLETOP, "--proposals-from", "vitb16"): "run `ovseg download vitb16`",
    (TABLETOP, "--threshold", "2"): "expected threshold in [0, 1]",
    (TABLETOP, "--set", "colour=1"): "does not know colour; it knows",
    (TABLETOP, "--set", "max_masks=many"): "expected max_masks as int",
    (TABLETOP, "--set", "max_masks"): "KEY=VALUE",
    (TABLETOP, "--set", "fill=[1"): "YAML",
    (TABLETOP, "--every", "0"): "--every at least 1",
    (TABLETOP, "--max-frames", "0"): "--max-frames at least 1",
    (TABLETOP, "--max-pixels", "nan"): "--max-pixels",
    (TABLETOP, "--depth-tolerance", "-1"): "--depth-tolerance",
    (TABLETOP, *MINI, "--depth-topic", "none"): "name one with --depth-topic",
    (TABLETOP, *MINI, "--camera-info-topic", "none"): "name its topic with --camera-info-topic",
    (TABLETOP, "--image-topic", "/up"): "--image-topic",
    (TABLETOP, "--resume", "--overwrite"): "not allowed with",
    (TABLETOP, "--offline", "--download"): "not allowed with",
    (
        TABLETOP,
        "--out",
        "text.yaml",
    ): "cannot write to text.yaml: Not a directory; make room, or name another",
    (TABLETOP, "--out", "/proc/ovseg"): "name another folder with --out",
    (TABLETOP, "--out", "full"): "--resume goes on where an earlier run stopped, --overwrite starts again",
    (TABLETOP, "--out", "full", "--resume"): "no frames.jsonl of an earlier run",
    (
        "a.png",
        *MINI,
    ): "--depth and --intrinsics; or take a preset that needs no depth: convnext, ",
    ("nowhere.png",): "nowhere.png is not there",
    ("empty",): "no picture in the folder empty",
    ("deep",): "--recursive looks there too",
    ("bag",): "a.mcap is empty (0 bytes)",
    ("old.bag",): "rosbags-convert",
    ("none.mp4",): "none.mp4 is empty (0 bytes)",
    ("text.mp4",): "cannot be opened",
    ("x" * 300,): "File name too long",
    (
        "nowhere.png",
        "text.yaml",
        *BLOBS,
    ): "nowhere.png is not there; expected a picture, text.yaml is in no format",
    ("text.yaml", *BLOBS): "text.yaml is in no format that is read here",
    ("cut.png", *BLOBS): "damaged or cut off",
    ("cut.png", "text.yaml", *BLOBS): "text.yaml is in no format",
    ("a.png", *BLOBS, "--max-pixels", "0.001"): "raise --max-pixels",
    ("a.png", *BLOBS, "--depth", "nowhere"): "nowhere is not there",
    (*DEPTH[:3],): "give them with --intrinsics",
    (*DEPTH[:3], "--intrinsics", "1,2"): "four numbers, pixels",
    (*DEPTH[:3], "--intrinsics", "nowhere.yaml"): "the camera file nowhere.yaml cannot be read",
    (*DEPTH[:3], "--intrinsics", "0,0,1,1"): "focal lengths > 0",
    (*DEPTH, "--depth-scale", "1000"): "1000 units per metre are 0.001",
    ("a.png", *BLOBS, "--depth-scale", "0.001"): "--depth-scale is for depth, and no input has any",
    (*DEPTH, "--depth", "small.png"): "80x60, got 8x6 in small.png",
    (*DEPTH, "--depth", "full"): "none of a.png, a.npy, a.tif, a.tiff is there",
    (*DEPTH, "--depth", "a.png"): "expected depth (H,W)",
}


def test_what_is_wrong_is_said_without_torch(tmp_path):
    data = save(tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.yaml").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    save(tmp_path / "deep/deeper/a.png")
    (tmp_path / "bag").mkdir()
    for name in ("full/notes.txt", "bag/a.mcap", "old.bag", "none.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "text.mp4").write_text("no video")
    cv2.imwrite(str(tmp_path / "depth.png"), np.full((60, 80), 1500, np.uint16))
    cv2.imwrite(str(tmp_path / "small.png"), np.full((6, 8), 1500, np.uint16))
    there = sorted(tmp_path.rglob("*"))
    asked = [[*arguments] if "-l" in arguments else [*arguments, "-l", "teapot"] for arguments in WRONG]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input=json.dumps(asked),
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    for (status, said), words, arguments in zip(json.loads(done.stdout), WRONG.values(), asked, strict=True):
        assert (status, words in said) == (2, True), (arguments, said)
    assert sorted(tmp_path.rglob("*")) == there, "a refused run leaves nothing"


def test_presets_that_need_no_depth():
    names = presets_without_depth()
    assert "lite" in names
    assert "mini" not in names


def test_results_go_to_the_first_free_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png")
    assert [ovseg_segment("a.png", "-l", "red, green") for _ in range(3)] == [0, 0, 0]
    shown = capsys.readouterr().out.splitlines()
    assert [line.rsplit("see ")[1] for line in shown] == ["out/segment", "out/segment-2", "out/segment-3"]
    assert ovseg_segment("a.png", "-l", "red, green", "--resume") == 0
    assert summary_of(tmp_path / "out/segment-3")["frames"]["kept"] == 1
    assert ovseg_segment("a.png", "-l", "red", "--overwrite") == 0
    assert [label["name"] for label in masks_in(tmp_path / "out/segment-3")["categories"]] == ["red"]
    assert sorted(os.listdir("out")) == ["segment", "segment-2", "segment-3"]
    assert ovseg_segment(".", "--recursive", "-l", "red", "-o", "all") == 0
    assert [image["name"] for image in masks_in(tmp_path / "all")["images"]] == ["a"], "no earlier outputs"


def test_two_runs_that_start_at_once_do_not_share_a_folder(tmp_path):
    out = tmp_path / "out"
    OutputFolder(out, {}, overwrite=False, resume=False)
    with pytest.raises(OvsegError, match="File exists; make room, or name another folder"):
        OutputFolder(out, {}, overwrite=False, resume=False)


def test_the_last_line_says_why_a_mask_did_not_get_its_word():
    labels = [{"name": "mug", "frames": 2}, {"name": "red mug", "frames": 0}]
    remarks = {"a mask looks like a mug of another colour (white)": 2, "a mask looks like a mug (blue)": 1}
    summary = {"frames": {"segmented": 2}, "labels": labels, "mask_remarks": remarks, "out": {"folder": "o"}}
    assert found_text(summary, "picture") == (
        "mug in 2 of 2 pictures; red mug in none (a mask looks like a mug of another colour (white)); see o"
    )
    labels[1]["frames"] = 1
    assert "colour" not in found_text(summary, "picture")


@pytest.mark.parametrize(
    ("frames", "total", "noun", "line"),
    [
        (
            {"teapot": 45, "mug": 16, "giraffe": 0},
            45,
            "frame",
            "teapot in 45 of 45 frames, mug in 16; giraffe in none",
        ),
        ({"teapot": 1}, 1, "picture", "teapot in 1 of 1 picture"),
        ({"teapot": 0, "mug": 2}, 3, "picture", "mug in 2 of 3 pictures; teapot in none"),
        ({"teapot": 0, "mug": 0}, 2, "frame", "teapot, mug in none of 2 frames"),
    ],
)
def test_the_last_line_says_what_was_found(frames, total, noun, line):
    labels = [{"name": name, "frames": number} for name, number in frames.items()]
    summary = {"frames": {"segmented": total}, "labels": labels, "out": {"folder": "out/segment"}}
    assert found_text(summary, noun) == f"{line}; see out/segment"


def test_json_is_all_that_stdout_holds(tmp_path, capsys):
    save(tmp_path / "a.png")
    words = "find the red and the green, and blue"
    assert ovseg_segment(tmp_path / "a.png", "-l", words, "-o", tmp_path / "out", "--json") == 0
    shown, said = capsys.readouterr()
    told = json.loads(shown)
    assert {label["name"]: label["frames"] for label in told["labels"]} == {"red": 1, "green": 1, "blue": 0}
    assert {**summary_of(tmp_path / "out"), "out": told["out"]} == told
    assert all(os.path.exists(path) for path in told["out"].values())
    assert said.splitlines()[-1].startswith("red in 1 of 1 picture, green in 1; blue in none; see ")
    segmenter = blob_segmenter()
    save(tmp_path / "b.png", ((slice(0, 5), slice(0, 5)), (0, 0, 0)))
    assert (
        ovseg_segment(tmp_path / "b.png", "-l", "red", "-o", tmp_path / "b", "--json", segmenter=segmenter)
        == 2
    )
    told = json.loads(capsys.readouterr().out)
    assert (told["out"], told["failures"][0]["reason"]) == (None, "black corner")
