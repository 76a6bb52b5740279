"""docs/tutorials/learn.md: its commands run as they stand, on frames of demo/tabletop and for two steps."""

from __future__ import annotations

import pytest
from bag_fixtures import STORE, write_bag
from pages import commands_of
from pair_fixtures import seen_names, sentence
from repository import ROOT
from rosbags.rosbag2 import Reader

from ovseg_ros.app import cli
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.evaluate.recordings.writing import write_recording

PAGE = "tutorials/learn.md"
EVERY = 22
FEW = ("max_steps=2", "epochs=1", "batch=4", "workers=0", "held_out=0.4", "warmup_steps=1")
"""In place of the recipe's hours."""


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A folder with `run`: three frames, and somebody who says what is in view."""
    frames = list(read_recording(ROOT / "demo" / "tabletop"))[::EVERY]
    write_recording(tmp_path / "frames", frames)
    with Reader(tmp_path / "frames") as recorded:
        messages = [(of.topic, at / 1e9, (of.msgtype, bytes(raw))) for of, at, raw in recorded.messages()]
    text = STORE.types["std_msgs/msg/String"]
    messages += [
        ("/operator/caption", frame.frame.stamp_ns / 1e9 - 0.01, text(data=sentence(seen_names(frame))))
        for frame in frames
    ]
    write_bag(tmp_path / "run", sorted(messages, key=lambda message: message[1]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_run_as_they_stand(room, capsys):
    lines = [words[1:] for words in commands_of(PAGE, "ovseg")]
    assert [" ".join(words[:2]) for words in lines] == [
        "learn pairs", "learn pairs", "learn finetune", "learn prompts", "segment run", "evaluate demo",
    ]  # fmt: skip
    few = [part for setting in FEW for part in ("--set", setting)]
    said = []
    for words in lines[:-1]:  # that the last can be read is tested with all pages'; it takes minutes
        trains = words[1] in ("finetune", "prompts")
        assert cli.main([*words, *(few if trains else ())]) == 0, words
        said.append(capsys.readouterr().out)
    assert (room / "out" / "pairs" / "contact_sheet.png").is_file()
    assert "top1 " in said[2]
    assert "top1 " in said[3]
    assert (room / "runs" / "both" / "prompts.safetensors").is_file()
    assert said[4].startswith("teapot in ")
    assert "runs/both/preset.yaml" in lines[5]
