"""Where programs are kept, what they are checked on, and `ovseg export`."""

import logging
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
import yaml
from public_maskformer import tiny
from sam2_fixtures import save_tiny_sam2
from sam_fixtures import TINY_SAM, save_tiny_sam

from ovseg_ros.app.weights.export import _within
from ovseg_ros.core.encoders.accelerate import AcceleratedEncoder
from ovseg_ros.core.engines import has_openvino, measured, programs
from ovseg_ros.models.engines import EngineFolder, bundled_photographs, engine_parts
from ovseg_ros.models.preset_parts import ENCODERS, PROPOSERS, with_runtime

accelerate = sys.modules[AcceleratedEncoder.__module__]  # its name is also that of a function


def test_what_is_kept_comes_back_whole(tmp_path):
    store = EngineFolder(tmp_path / "engines")
    assert store.read("a.onnx") is None
    store.write("a.onnx", b"one")
    store.write("a.onnx", b"two")
    assert EngineFolder(tmp_path / "engines").read("a.onnx") == b"two"
    assert sorted(file.name for file in (tmp_path / "engines").iterdir()) == [".lock", "a.onnx"]


@pytest.mark.parametrize("at", [0, 31, 32, -1])
def test_what_is_damaged_is_not_there(tmp_path, at, caplog):
    store = EngineFolder(tmp_path)
    store.write("a.onnx", b"one")
    content = bytearray((tmp_path / "a.onnx").read_bytes())
    content[at] ^= 1
    (tmp_path / "a.onnx").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert store.read("a.onnx") is None
    assert "it is made anew" in caplog.text
    (tmp_path / "a.onnx").write_bytes(b"")
    assert store.read("a.onnx") is None


def test_a_folder_that_cannot_be_tidied_still_keeps(tmp_path, monkeypatch, caplog):
    def refused(*_):
        raise OSError("no locks here")

    monkeypatch.setattr("ovseg_ros.models.engines.fcntl.flock", refused)
    with caplog.at_level(logging.WARNING):
        EngineFolder(tmp_path).write("a", b"one")
    assert "cannot be kept small, delete it now and then: no locks here" in caplog.text
    assert EngineFolder(tmp_path).read("a") == b"one"


def names(folder):
    return sorted(file.name for file in folder.iterdir() if file.name != ".lock")


def used(file, days_ago):
    then = time.time() - 86400 * days_ago
    os.utime(file, (then, then))


def test_what_was_used_longest_ago_goes_first(tmp_path):
    store = EngineFolder(tmp_path, most_bytes=300)
    for days_ago, name in ((3, "a"), (2, "b"), (1, "c")):
        store.write(name, bytes(60))  # and 32 of its digest
        used(tmp_path / name, days_ago)
    assert names(tmp_path) == ["a", "b", "c"]
    assert store.read("a") == bytes(60)  # which is a use
    store.write("d", bytes(60))
    assert names(tmp_path) == ["a", "c", "d"]
    store.write("e", bytes(400))  # alone more than may be
    assert names(tmp_path) == ["e"]


def test_what_nobody_used_for_months_goes(tmp_path):
    store = EngineFolder(tmp_path, most_days=90)
    for days_ago, name in ((91, "a"), (89, "b"), (2, ".part-killed"), (0, ".part-being-written")):
        (tmp_path / name).write_bytes(bytes(10))
        used(tmp_path / name, days_ago)
    store.write("c", b"")
    assert names(tmp_path) == [".part-being-written", "b", "c"]


def test_processes_that_write_at_once_delete_no_more_than_they_must(tmp_path):
    """Each leaves as much as fits, and none fails of what another deletes."""
    script = (
        "import sys; from pathlib import Path; from ovseg_ros.models.engines import EngineFolder\n"
        "store = EngineFolder(Path(sys.argv[1]), most_bytes=10 * 132)\n"
        "for n in range(40): store.write(f'{sys.argv[2]}{n}', bytes(100)); store.read(f'{sys.argv[2]}{n}')"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), who], stderr=subprocess.PIPE, text=True
        )
        for who in "xyz"
    ]
    for process in running:
        said = process.communicate(timeout=120)[1]
        assert (process.returncode, said) == (0, "")
    assert len(names(tmp_path)) == 10
    assert all(EngineFolder(tmp_path).read(name) == bytes(100) for name in names(tmp_path))


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
    boxed = with_runtime({"kind": "sam2", "weights": "w", "boxes_from": union}, PROPOSERS, "openvino")
    options = {"runtime": "openvino"}
    assert boxed == {"kind": "sam2", "weights": "w", "boxes_from": changed, "options": options}
    for kind in ("sam", "maskformer", "ovseg_maskformer"):
        assert with_runtime({"kind": kind}, PROPOSERS, "openvino") == {"kind": kind, "options": options}
    encoder = with_runtime({"kind": "mini", "options": {"precision": "bf16"}}, ENCODERS, "torch")
    assert encoder["options"] == {"precision": "bf16", "runtime": "torch"}


def test_export_finds_networks_wherever_they_are_inside():
    one, two = (SimpleNamespace(programs=name) for name in "ab")
    union = SimpleNamespace(members=(object(), one, two))
    boxed = SimpleNamespace(boxes_from=union, programs="c")
    assert list(_within(boxed)) == [boxed, one, two]
    assert list(_within(SimpleNamespace(cutter=boxed, members=()))) == [boxed, one, two]
    assert list(_within(SimpleNamespace(boxes_from=None))) == []


def save_preset(folder):
    """Two Segment Anything networks, a MaskFormer and `mini`."""
    save_tiny_sam(folder / "sam.pth")
    save_tiny_sam2(folder / "sam2")
    tiny("maskformer", "swin").save_pretrained(folder / "maskformer")
    members = [
        {"kind": "sam", "model": TINY_SAM, "weights": "sam.pth", "options": {"image_size": 96}},
        {"kind": "sam2", "weights": "sam2/model.safetensors", "options": {"precision": "fp32"}},
        {
            "kind": "maskformer",
            "weights": "maskformer/model.safetensors",
            "options": {"short_side": 64, "long_side": 96},
        },
    ]
    preset = {"proposer": {"kind": "union", "members": members}, "encoder": {"kind": "mini"}}
    (folder / "several.yaml").write_text(yaml.safe_dump(preset))
    return str(folder / "several.yaml")


def test_export_asks_every_network_of_a_preset(tmp_path, monkeypatch, capsys):
    """By a made-up runtime, which runs each as it is, but for SAM 2, of which it gives something else."""
    from ovseg_ros.app.cli import main

    def run_elsewhere(runtime, job, store, what):
        wrong = "Sam2Model" in what
        return lambda pixels: tuple(map(torch.neg, job.module(pixels))) if wrong else job.module(pixels)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(programs, "choose_runtime", lambda asked, *_: asked)
    monkeypatch.setattr(programs, "run_elsewhere", run_elsewhere)
    monkeypatch.setattr(accelerate, "choose_runtime", lambda *_: "torch")
    preset = save_preset(tmp_path)
    command = ["export", preset, "--runtime", "onnxruntime", "--size", "640x480", "480x480"]
    monkeypatch.setattr(measured.onnx_runtime, "version", lambda: ("1",))
    assert main(command) == 1
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert {what: said.split(";")[0] for what, said in lines.items()} == {
        "image tower": "torch",
        "Segment Anything's image encoder, input of 96x96": "onnxruntime",
        "the image encoder of Sam2Model, input of 64x64": "torch",
        "MaskFormer, input of 96x64": "onnxruntime",
        "MaskFormer, input of 64x64": "onnxruntime",
    }
    assert "does not agree with fp32" in lines["the image encoder of Sam2Model, input of 64x64"]
    assert "100.00 % of labels agree" in lines["MaskFormer, input of 64x64"]


@pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")
def test_export_keeps_what_the_next_start_takes(tmp_path, monkeypatch, capsys):
    from ovseg_ros.app.cli import main

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["export", "mini", "--runtime", "openvino"]) == 0
    # In 16 bits where the processor computes in them: the preset says auto.
    assert re.search("image tower: openvino; (fp32|bf16) in openvino agrees", capsys.readouterr().out)
    assert sorted(name.rpartition(".")[2] for name in names(tmp_path / "ovseg" / "engines")) == [
        "measured",
        "openvino",
    ]
    assert main(["export", "mini", "--runtime", "tensorrt"]) == 1
    assert "image tower: torch" in capsys.readouterr().out
    assert main(["export", "mini", "--size", "640"]) == 2
    assert "expected --size WxH" in capsys.readouterr().err
