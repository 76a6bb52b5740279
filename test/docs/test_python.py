"""The snippets of the README, docs/python.md and docs/start.md run exactly as they are pasted."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from pages import blocks, commands_of
from PIL import Image
from repository import ROOT

import ovseg_ros
from ovseg_ros import finder
from ovseg_ros.app import cli
from ovseg_ros.app.segment import setup

README, PAGE = ROOT / "README.md", ROOT / "docs" / "python.md"


def snippets(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def garage(tmp_path_factory):
    """photo.jpg, depth.png, camera.yaml and recording/, of scikit-image's motorcycle."""
    from ovseg_ros.evaluate.recordings.recording import read_recording

    folder = tmp_path_factory.mktemp("garage")
    frame = next(iter(read_recording(ROOT / "demo" / "garage"))).frame
    height, width = frame.size_hw
    Image.fromarray(frame.image_rgb).save(folder / "photo.jpg", quality=95)
    cv2.imwrite(str(folder / "depth.png"), np.round(frame.depth_m * 1000).astype(np.uint16))
    camera = frame.intrinsics
    matrix = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    (folder / "camera.yaml").write_text(yaml.safe_dump({"width": width, "height": height, "k": matrix}))
    shutil.copytree(ROOT / "demo" / "garage", folder / "recording")
    return folder


@pytest.fixture
def in_garage(garage, monkeypatch, load_preset_once):
    """Where the snippets run."""
    monkeypatch.chdir(garage)
    monkeypatch.setattr(finder, "load_preset", load_preset_once)
    return garage


def run(path: Path) -> dict[str, object]:
    """Every snippet of a page in turn, in one namespace, as in one session."""
    names: dict[str, object] = {}
    for number, text in enumerate(snippets(path)):
        exec(compile(text, f"{path.name}, snippet {number}", "exec"), names)
    return names


def test_the_readmes_snippets_run(in_garage, capsys):
    assert "import ovseg_ros\n" in snippets(README)[0]
    Path("demo").symlink_to(ROOT / "demo")
    result = run(README)["result"]
    assert f"  # {capsys.readouterr().out.strip()}\n" in README.read_text(encoding="utf-8")
    assert (result.found, result.missing) == (("cat",), ("dog",))
    assert Image.open("found.png").size == (451, 300)


def test_the_pages_snippets_run(in_garage, capsys):
    names = run(PAGE)
    assert 2.0 < names["best"].centroid_m[2] < 3.0
    said = capsys.readouterr().out
    page = PAGE.read_text(encoding="utf-8")
    assert "intrinsics= ((fx, fy, cx, cy), a 3x3 matrix" in said  # what the refusal says
    assert repr(names["find"]) in page
    assert "('motorcycle',) missing ('shelf', 'giraffe')" in said
    assert names["best"].label == "motorcycle"
    assert names["same"].found == ("motorcycle",)
    assert names["same"][0].box_xyxy == names["best"].box_xyxy
    assert names["probs"].shape == (len(names["proposals"]), 3)
    assert names["probs"].max(axis=0)[0] > 0.3
    assert {row["category_id"] for row in json.loads(Path("found.json").read_text())} == {0}
    assert set(np.unique(Image.open("labels.png"))) == {0, 255}


def test_the_page_names_every_field():
    page = PAGE.read_text(encoding="utf-8")
    fields = ovseg_ros.Thing.__dataclass_fields__
    methods = [name for name in vars(ovseg_ros.Result) if not name.startswith("_")]
    assert [name for name in (*fields, *methods, "segmentation") if name not in page] == []
    assert [name for name in ovseg_ros.__all__ if name.endswith("Error") and name not in page] == []


def test_the_first_steps_find_the_cat(tmp_path, monkeypatch, load_preset_once, capsys):
    """docs/start.md, without ROS: the command with a picture, and Python."""
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finder, "load_preset", load_preset_once)
    monkeypatch.setattr(setup, "load_preset", load_preset_once)
    first = next(words for words in commands_of("start.md", "ovseg") if words[1] == "segment")
    assert cli.main(first[1:]) == 0
    assert capsys.readouterr().out == blocks("start.md")[0]
    assert Path("out/segment/overlay/chelsea.png").is_file()
    names: dict[str, object] = {}
    (snippet,) = blocks("start.md", "python")
    exec(compile(snippet, "start.md", "exec"), names)
    assert f"  # {capsys.readouterr().out.strip()}\n" in snippet
    assert names["result"]["cat"][0].mask.any()
