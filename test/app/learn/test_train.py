"""`ovseg learn finetune` and `ovseg learn prompts` as a user types them, in one process and in two."""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from learn_fixtures import write_clip_preset, write_pairs
from safetensors.torch import load_file

from ovseg_ros.app.learn import train as learn_train
from ovseg_ros.core.camera.geometry import CameraIntrinsics
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.presets import load_preset

SETTINGS = ("batch=24", "epochs=2", "learning_rate=3e-3", "precision=fp32", "workers=0", "held_out=0.2")
RUN = """
import argparse
from ovseg_ros.app.learn import train as learn_train
parser = argparse.ArgumentParser()
learn_train.add_parser(parser.add_subparsers())
options = parser.parse_args()
raise SystemExit(options.run(options))
"""


def arguments(stage: str, pairs, preset, out, *more: str) -> list[str]:
    settings = [part for change in SETTINGS for part in ("--set", change)]
    return [stage, str(pairs), "--preset", str(preset), "--out", str(out), *settings, *more]


def ovseg_learn(*words: str) -> int:
    parser = argparse.ArgumentParser()
    learn_train.add_parser(parser.add_subparsers(required=True))
    options = parser.parse_args([*words])
    return options.run(options)


def test_both_stages_one_after_the_other(tmp_path, capsys):
    write_pairs(tmp_path / "pairs", 120, per_shard=40)
    preset = write_clip_preset(tmp_path / "clip")
    assert ovseg_learn(*arguments("finetune", tmp_path / "pairs", preset, tmp_path / "tower")) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == str(tmp_path / "tower" / "preset.yaml")
    assert said.out.startswith("top1 ")
    assert "pairs to train on" in said.err
    assert "held out: top-1" in said.err
    assert "pairs/s" in said.err
    words = arguments("prompts", tmp_path / "pairs", tmp_path / "tower" / "preset.yaml", tmp_path / "both")
    assert ovseg_learn(*words, "--set", "depth=2") == 0
    segmenter = load_preset(tmp_path / "both" / "preset.yaml")
    assert segmenter.clip.mask_prompts.shape[0] == 2
    depth_m = np.full((96, 128), 0.9, np.float32)
    depth_m[30:60, 40:80] = 0.7  # a box before a wall
    intrinsics = CameraIntrinsics(120.0, 120.0, 64.0, 48.0, 128, 96)
    frame = Frame(np.full((96, 128, 3), 90, np.uint8), depth_m, intrinsics)
    segmentation = segmenter.segment(frame, Vocabulary.empty().replace(["plate", "book"])[0])
    assert len(segmentation.masks) > 0


def test_a_slip_of_the_pen_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not know epoch;"):
        ovseg_learn("finetune", "x", "--out", str(tmp_path), "--set", "epoch=2")


def test_building_the_parser_imports_nothing_heavy():
    code = (
        "import argparse, sys; from ovseg_ros.app.learn import commands; "
        "commands.add_parser(argparse.ArgumentParser().add_subparsers()); "
        "print([m for m in ('torch', 'numpy', 'cv2', 'accelerate', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["finetune", "prompts"])
def test_two_processes_learn_what_one_does(tmp_path, stage):
    write_pairs(tmp_path / "pairs", 120, per_shard=40)
    preset = write_clip_preset(tmp_path / "clip")
    program = tmp_path / "learn.py"
    program.write_text(RUN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        str(port),
    ]
    for name, start in (("one", [sys.executable]), ("two", both)):
        words = arguments(stage, tmp_path / "pairs", preset, tmp_path / name, "--set", "average=0.5")
        done = subprocess.run([*start, str(program), *words], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("preset.yaml") == 1
    histories = [
        [json.loads(line) for line in (tmp_path / name / "history.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert len(histories[0]) == len(histories[1])
    for alone, shared in zip(*histories, strict=True):
        assert alone.keys() == shared.keys()
        assert alone.get("loss", 0) == pytest.approx(shared.get("loss", 0), rel=1e-4)
        assert alone.get("cosine", 0) == pytest.approx(shared.get("cosine", 0), abs=1e-4)
    file = "model.safetensors" if stage == "finetune" else "prompts.safetensors"
    one, two = (load_file(tmp_path / name / file) for name in ("one", "two"))
    for key, value in one.items():
        assert torch.allclose(value.float(), two[key].float(), atol=2e-3), key
    words = arguments(stage, tmp_path / "pairs", preset, tmp_path / "two", "--set", "average=0.5", "--resume")
    done = subprocess.run([*both, str(program), *words], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
