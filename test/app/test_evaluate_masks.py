"""`ovseg evaluate masks`: files, exit codes and messages."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from mask_fixtures import Shaken, write_instances
from PIL import Image
from repository import ROOT
from tiny_presets import make_tiny_presets

from ovseg_ros.app.cli import main
from ovseg_ros.evaluate.masks import read_instances, score_masks
from ovseg_ros.models import presets


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_instances(tmp_path / "data")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch):
    """`load_proposer` gives shaken masks; the preset's file is hashed all the same."""
    asked = []

    def load(name, **options):
        asked.append((name, options))
        return presets.as_proposer(Shaken())

    monkeypatch.setattr(presets, "load_proposer", load)
    return asked


def ran(*words) -> int:
    return main(["evaluate", "masks", *map(str, words)])


def test_a_table_and_no_file(tiny: Path, tmp_path: Path, stand_in, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ran(tiny) == 0
    out = capsys.readouterr().out
    want = score_masks(read_instances(tiny), Shaken().propose).average_recall(100)
    assert f"AR@100 {want:.3f}, " in out
    assert out.splitlines()[2].startswith("| all    |           10 | ")
    assert stand_in == [("lite", {"device": "cpu", "weights_dir": None})]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_results_and_overlays(tiny: Path, tmp_path: Path, stand_in, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ovseg", "evaluate", "masks", "data/tiny.json", "--out", "out"])
    assert ran("data/tiny.json", "--out", "out", "--overlays", "--limit", 2, "--preset", "vitb16") == 0
    content = json.loads((tmp_path / "out/masks.json").read_text())
    result, made = content["result"], content["made_with"]
    assert result["images"] == 2
    assert set(result["at"]) == {"10", "100", "1000"}
    assert len(result["objects"]) == result["true_objects"]["all"] == 8
    assert set(result["objects"][0]) == {"picture", "category", "area", "best_iou", "found"}
    assert {"command", "versions", "hardware", "preset", "weights", "device", "data"} <= set(made)
    assert made["preset"]["name"] == "vitb16"
    assert made["data"] == {"name": "tiny.json", "pictures": 2, "sha256": read_instances(tiny).sha256}
    text = (tmp_path / "out/masks.md").read_text()
    assert f"{result['at']['100']['average_recall']['all']:.3f}" in text
    assert str(tmp_path) not in text
    names = sorted(path.name for path in (tmp_path / "out/overlays").iterdir())
    assert names == ["pictures_p0.jpg", "pictures_p1.jpg"]
    assert Image.open(tmp_path / "out/overlays" / names[0]).size == (320, 240)


def test_pictures_that_fail_are_named_and_the_exit_code_says_so(tiny, tmp_path, stand_in, capsys) -> None:
    (tiny.parent / "pictures/p2.png").unlink()
    assert ran(tiny, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "expected the picture 'pictures/p2.png' in " in said
    assert "it is not there" in said
    assert "**1 pictures could not be scored:**" in (tmp_path / "out/masks.md").read_text()
    for i in (0, 1, 3):
        (tiny.parent / f"pictures/p{i}.png").unlink()
    assert ran(tiny, "--out", tmp_path / "none") == 2
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_measured(tiny: Path, tmp_path: Path, stand_in, capsys) -> None:
    assert ran(tmp_path / "none.json") == 2
    assert ran(tiny, "--limit", "0") == 2
    assert ran(tiny, "--overlays") == 2
    assert "expected --out DIR beside --overlays" in capsys.readouterr().err


def test_depth_is_refused_before_any_picture_is_read(tiny: Path, capsys) -> None:
    assert ran(tiny, "--preset", "mini") == 2
    assert "the masks of mini need depth" in capsys.readouterr().err


def test_the_generator_of_a_preset_file_alone(tiny: Path, tmp_path: Path, capsys) -> None:
    """Segment Anything in small; the encoder's weights are not even there."""
    (tmp_path / "presets").mkdir()
    preset = make_tiny_presets(tmp_path / "presets")["sam"]
    (tmp_path / "presets/swin/clip.safetensors").unlink()
    assert ran(tiny, "--preset", preset, "--limit", 1, "--out", tmp_path / "out") == 0
    made = json.loads((tmp_path / "out/masks.json").read_text())["made_with"]
    assert set(made["weights"]) >= {"sam.pth"}
    assert "on 1 pictures" in capsys.readouterr().out


def test_the_python_example_runs(tiny: Path, stand_in, monkeypatch, capsys) -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    code = next(c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "score_masks" in c)
    tiny.rename(tiny.parent / "objects.json")
    tiny.parent.rename(tiny.parents[1] / "my_data")
    monkeypatch.chdir(tiny.parents[1])
    exec(compile(code, "docs/benchmarks.md", "exec"), {})
    all_sizes, small = map(float, capsys.readouterr().out.split())
    assert 0.0 < all_sizes <= 1.0
    assert 0.0 < small <= 1.0
