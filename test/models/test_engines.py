"""Where programs are kept, what they are checked on, and `ovseg export`."""

import logging

import pytest

from ovseg_ros.core.engines import has_openvino
from ovseg_ros.models.engines import EngineFolder, bundled_photographs, engine_parts
from ovseg_ros.models.preset_parts import ENCODERS, PROPOSERS, with_runtime


def test_what_is_kept_comes_back_whole(tmp_path):
    store = EngineFolder(tmp_path / "engines")
    assert store.read("a.onnx") is None
    store.write("a.onnx", b"one")
    store.write("a.onnx", b"two")
    assert EngineFolder(tmp_path / "engines").read("a.onnx") == b"two"
    assert [file.name for file in (tmp_path / "engines").iterdir()] == ["a.onnx"]


def test_a_folder_that_takes_nothing_is_said(tmp_path, caplog):
    (tmp_path / "engines").write_text("a file in its place")
    store = EngineFolder(tmp_path / "engines")
    with caplog.at_level(logging.WARNING):
        store.write("a.onnx", b"one")
    assert "cannot be kept for the next start" in caplog.text
    assert store.read("a.onnx") is None


def test_it_is_the_cache_and_torch_needs_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store, pictures = engine_parts("openvino")
    assert store.folder == str(tmp_path / "ovseg" / "engines")
    assert len(pictures) == len(bundled_photographs()) == 5
    assert engine_parts("torch") == (None, ())


def test_a_runtime_reaches_every_part_that_has_one():
    union = {"kind": "union", "members": [{"kind": "depth_clusters"}, {"kind": "colour_masks"}]}
    changed = with_runtime(union, PROPOSERS, "openvino")
    assert changed["members"] == [
        {"kind": "depth_clusters"},
        {"kind": "colour_masks", "options": {"runtime": "openvino"}},
    ]
    assert union["members"][1] == {"kind": "colour_masks"}
    encoder = with_runtime({"kind": "mini", "options": {"precision": "bf16"}}, ENCODERS, "torch")
    assert encoder["options"] == {"precision": "bf16", "runtime": "torch"}


@pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")
def test_export_keeps_what_the_next_start_takes(tmp_path, monkeypatch, capsys):
    from ovseg_ros.app.cli import main

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["export", "mini", "--runtime", "openvino"]) == 0
    assert "image tower: openvino; fp32 in openvino agrees" in capsys.readouterr().out
    (kept,) = (tmp_path / "ovseg" / "engines").iterdir()
    assert kept.suffix == ".openvino"
    assert main(["export", "mini", "--runtime", "tensorrt"]) == 1
    assert "image tower: torch" in capsys.readouterr().out
    assert main(["export", "mini", "--size", "640"]) == 2
    assert "want --size WxH" in capsys.readouterr().err
