"""`ovseg evaluate photos`: files, exit codes and messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from photo_fixtures import colour_segmenter, write_photos
from tiny_presets import write_owlv2, write_sam3

from ovseg_ros.app.cli import main
from ovseg_ros.models import presets


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "data")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch):
    """`load_preset` gives a segmenter of colours; the preset's file is hashed all the same."""
    asked = []

    def load(name, **options):
        asked.append((name, options))
        return colour_segmenter()

    monkeypatch.setattr(presets, "load_preset", load)
    return asked


def ran(*words) -> int:
    return main(["evaluate", "photos", *map(str, words)])


def test_a_report_and_no_file(boxes, tmp_path, stand_in, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ran(boxes) == 0
    said = capsys.readouterr()
    assert "3 pictures, own masks" in said.out
    assert "83.3 / 80.0 / 81.6 %" in said.out
    assert "picture 3/3" in said.err
    assert stand_in == [("lite", {"device": "cpu", "weights_dir": None})]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_json_charts_and_every_option(boxes, tmp_path, stand_in, capsys) -> None:
    out = tmp_path / "out/figures.json"
    more = ("--masks", "true", "--words", "present", "--min-pixels", 20, "--limit", 2, "--preset", "vitb16")
    assert ran(boxes, *more, "--json", out, "--charts", tmp_path / "charts", "--set", "threshold=0.5") == 0
    content = json.loads(out.read_text())
    assert content["options"] == {"masks": "true", "words": "present", "min_pixels": 20, "seed": 0}
    assert content["images"] == 2
    assert content["naming"]["objects"] == len(content["trials"]["masks"]) == 5
    assert {"word", "kind", "found", "score", "right", "in_view", "picture"} == set(
        content["trials"]["answers"][0]
    )
    assert content["made_with"]["preset"]["name"] == "vitb16"
    assert content["made_with"]["options"]["threshold"] == 0.5
    assert content["made_with"]["data"]["name"] == "boxes.json"
    assert len(list((tmp_path / "charts").iterdir())) == 2


def test_true_masks_need_no_proposer(boxes, tmp_path, capsys) -> None:
    """A preset whose proposals' weights are nowhere; its encoder comes with the package."""
    preset = tmp_path / "preset.yaml"
    preset.write_text(
        "description: x\nproposer: {kind: sam, model: vit_b, weights: nowhere.pth}\nencoder: {kind: mini}\n"
    )
    assert ran(boxes, "--preset", preset) == 2
    assert "nowhere.pth" in capsys.readouterr().err
    assert ran(boxes, "--preset", preset, "--masks", "true") == 0
    assert "3 pictures, true masks" in capsys.readouterr().out


@pytest.mark.parametrize("write", [write_owlv2, write_sam3])
def test_one_stage_is_measured_in_the_same_way(boxes, tmp_path, capsys, write) -> None:
    preset = write(tmp_path)
    assert ran(boxes, "--preset", preset, "--json", tmp_path / "out.json") == 0, capsys.readouterr().err
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["images"] == 3
    assert len(content["trials"]["masks"]) > 3
    assert {one["found"] for one in content["trials"]["answers"]} == {True}, "with a threshold of 0"
    assert ran(boxes, "--preset", preset, "--masks", "true") == 2
    assert "names only masks that its own generator made" in capsys.readouterr().err


def test_several_presets_are_rows_of_one_table(boxes, tmp_path, stand_in, capsys) -> None:
    files = ("--json", tmp_path / "out.json", "--charts", tmp_path / "charts")
    second = tmp_path / "mine.yaml"
    second.write_text(presets.preset_path("lite").read_text())
    assert ran(boxes, "--preset", "lite", "--preset", second, *files) == 0
    assert [name for name, _ in stand_in] == ["lite", str(second)]
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("| lite", "| mine"))]
    assert len(rows) == 2
    assert all(row.split("|")[2:5] == rows[0].split("|")[2:5] for row in rows), "the same stand-in"
    assert [cell.strip() for cell in rows[0].split("|")[2:5]] == ["83.3 %", "80.0 %", "81.6 %"]
    content = json.loads((tmp_path / "out.json").read_text())["presets"]
    assert content["lite"]["made_with"]["preset"]["name"] == "lite"
    assert content["lite"]["naming"] == content["mine"]["naming"]
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == ["lite", "mine"]


def test_presets_that_cannot_be_compared_are_refused_first(boxes, stand_in, capsys) -> None:
    assert ran(boxes, "--preset", "lite", "--preset", "vitb16") == 2
    assert "weights are not here of vitb16 (" in capsys.readouterr().err
    assert ran(boxes, "--preset", "lite", "--preset", "lite") == 2
    assert "expected each preset once" in capsys.readouterr().err
    assert ran(boxes, "--preset", "lite", "--preset", "mini") == 2
    assert "the masks of mini need depth" in capsys.readouterr().err
    assert not stand_in, "nothing was loaded"


def test_pictures_are_found_elsewhere(boxes, tmp_path, stand_in) -> None:
    elsewhere = tmp_path / "pictures"
    elsewhere.mkdir()
    for path in boxes.parent.glob("*.png"):
        path.rename(elsewhere / path.name)
    assert ran(boxes, "--images", elsewhere) == 0


def test_a_missing_picture_is_said_and_exit_1(boxes, stand_in, capsys) -> None:
    (boxes.parent / "p1.png").unlink()
    assert ran(boxes) == 1
    assert "p1.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words", "what"),
    [
        ("no json", (), "expected a COCO instance file"),
        ("[]", (), "list of images"),
        (None, ("--masks", "some"), "masks one of true, own"),
        (None, ("--limit", 0), "at least 1 picture"),
        (None, ("--set", "colour=1"), "colour"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_2(boxes, stand_in, capsys, content, words, what) -> None:
    if content is not None:
        boxes.write_text(content)
    assert ran(boxes, *words) == 2
    said = capsys.readouterr().err
    assert what in said
    assert "Traceback" not in said
    assert stand_in == []


def test_no_such_file(tmp_path, stand_in, capsys) -> None:
    assert ran(tmp_path / "nowhere.json") == 2
    assert "nowhere.json" in capsys.readouterr().err
