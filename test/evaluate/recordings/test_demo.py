"""`ovseg evaluate demo` on a tiny recording whose figures are known beforehand."""

from __future__ import annotations

import json

import pytest
from evaluate_fixtures import recorded, segmenter
from tiny_presets import write_owlv2, write_sam3

from ovseg_ros.app import cli
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings import demo, measures, tables
from ovseg_ros.evaluate.recordings.demo import (
    Suite,
    Target,
    judge,
    recording_folder,
    summarise,
)
from ovseg_ros.evaluate.recordings.measures import measure
from ovseg_ros.evaluate.recordings.recording import RecordedFrame
from ovseg_ros.evaluate.recordings.writing import write_recording


def test_every_trial_is_counted():
    frames = [recorded(0), recorded(1, shown=(2, 3)), recorded(2, shown=(1,)), recorded(3, shown=())]
    told = []
    counts = measure(segmenter(), frames, absent_words=("Crimson", "yak"), progress=lambda *a: told.append(a))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (counts.frames, counts.objects, counts.words) == (4, 3, ("red", "green", "blue"))
    assert counts.masks == [3, 2, 1, 0]
    # blue shows 100 pixels only: proposed, never asked for; frame 3 has nothing to ask
    assert dict(counts.asked) == {"red": [1.0, 1.0], "green": [1.0, 1.0]}
    assert counts.proposal_iou == [1.0, 1.0, 1.0, 1.0]
    assert dict(counts.scene) == {"red": [True, True], "green": [True, True]}
    # "scarlet" is no word for the green box: never right; "blue" is another object's own word, not tried
    assert dict(counts.unseen) == {"crimson": [True, True], "scarlet": [False, False]}
    assert dict(counts.absent) == {"yak": [True] * 4}
    assert counts.unmatched == 0
    assert {"propose", "encode", "classify"} <= set(counts.seconds)


@pytest.mark.parametrize(("rows", "iou", "unmatched"), [(15, 0.6, 0), (5, 0.2, 1)])
def test_a_mask_too_small_is_no_right_mask(rows, iou, unmatched):
    counts = measure(segmenter(rows), [recorded(0)], absent_words=())
    assert counts.asked["red"] == pytest.approx([iou])
    assert counts.unmatched == unmatched
    assert len(counts.scene["red"]) == 1 - unmatched
    summary = summarise(counts)
    assert summary["asked"]["right"] == 0.5
    assert summary["proposals"]["mean_iou"] == pytest.approx((iou + 1) / 2)
    assert summary["absent"]["not_found"] is None


def test_any_instance_of_a_shared_word_counts():
    counts = measure(segmenter(), [recorded(0, names={1: "red", 2: "red", 3: "blue"})], absent_words=())
    assert counts.asked["red"] == [1.0]  # one trial, not one per instance
    assert counts.scene["red"] == [True, False]  # the green box is no red one: classification is per object


def test_a_synonym_stands_for_every_thing_it_names():
    names, shared = {1: "red", 2: "rouge"}, {1: ("crimson",), 2: ("crimson",)}
    frame = recorded(0, names=names)
    frame = RecordedFrame(frame.frame, frame.instances, names, shared)
    counts = measure(segmenter(), [frame], absent_words=())
    # asked as "crimson" too, the second thing may not meet "red", the name of another crimson thing
    assert counts.unseen["crimson"] == [True, True]


def test_what_is_found_but_absent_counts_against(monkeypatch):
    counts = measure(segmenter(), [recorded(0, names={1: "thing", 2: "stuff"})], absent_words=("red", "yak"))
    assert dict(counts.absent) == {"red": [False], "yak": [True]}
    assert counts.asked["thing"] == [0.0]


def test_a_recording_without_truth_is_refused():
    with pytest.raises(InvalidInputError, match="ground truth"):
        measure(segmenter(), [RecordedFrame(recorded(0).frame)])


def test_targets_are_judged_and_what_was_not_measured_is_missed():
    targets = (
        Target("a", 0.9, lambda s: s["a"]),
        Target("b", 0.9, lambda s: s["b"]),
        Target("c", 3, lambda s: s["c"]),
    )
    judged = judge({"a": 0.9, "b": 0.89, "c": None}, targets)
    assert [one["met"] for one in judged] == [True, False, False]


def test_the_bundled_suites_ask_for_what_a_summary_holds():
    summary = summarise(measures.Counts())
    for suite in demo.SUITES.values():
        assert not any(one["met"] for one in judge(summary, suite.targets))
    frames = [recorded(0, names={1: "motorcycle", 2: "shelf", 3: "door"})]
    summary = summarise(measure(segmenter(), frames))
    assert {t["text"]: t["value"] for t in judge(summary, demo.GARAGE.targets)}['"motorcycle": IoU'] == 0.0


def test_the_command_measures_prints_and_writes(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "tabletop"
    write_recording(folder, [recorded(i) for i in range(2)])
    targets = (
        Target("asked", 0.9, lambda s: s["asked"]["right"]),
        Target("unseen", 0.9, lambda s: s["unseen"]["top1"]),
    )
    monkeypatch.setattr(demo, "SUITES", {"tabletop": Suite("demo/tabletop", "mini", targets)})
    loaded = []

    class Presets:
        @staticmethod
        def load_preset(name, device="cpu"):
            loaded.append((name, device))
            return segmenter()

    monkeypatch.setitem(__import__("sys").modules, "ovseg_ros.models.presets", Presets)
    out = tmp_path / "out" / "figures.json"
    command = ["evaluate", "demo", "--recording", str(folder), "--preset", "tiny", "--json", str(out)]
    assert cli.main(command) == 1  # "scarlet" is never right
    assert cli.main([*command, "--report-only", "--summary"]) == 0
    assert loaded == [("tiny", "cpu")] * 2
    said = capsys.readouterr()
    assert "missed: unseen" in said.out
    assert "| crimson" in said.out
    assert "frame 2/2" in said.err
    result = json.loads(out.read_text())
    assert result["ok"] is False
    assert result["suites"]["tabletop"]["preset"] == "tiny"
    assert [t["met"] for t in result["suites"]["tabletop"]["targets"]] == [True, False]


def test_two_stages_and_one_are_rows_of_one_table(tmp_path, capsys):
    """Real presets, the networks of one stage with random weights: one command, one table, one JSON file."""
    folder = tmp_path / "attic"
    write_recording(folder, [recorded(i) for i in range(2)])
    written = []
    for write in (write_owlv2, write_sam3):
        own = tmp_path / write.__name__
        own.mkdir()
        preset = write(own)
        written.append(str(preset.rename(preset.with_name(f"{write.__name__}.yaml"))))
    out = tmp_path / "figures.json"
    presets = [word for preset in ("mini", *written) for word in ("--preset", preset)]
    assert cli.main(["evaluate", "demo", "--recording", str(folder), *presets, "--json", str(out)]) == 0
    said = capsys.readouterr().out
    table = said[said.index("by preset") :].splitlines()
    assert [line.split("|")[1].strip() for line in table[2:7] if line.startswith("|")] == [
        "preset",
        "-" * len(table[3].split("|")[1]),
        "mini",
        *written,
    ]
    suites = json.loads(out.read_text())["suites"]
    assert list(suites) == ["attic_mini", "attic_write_owlv2", "attic_write_sam3"]
    for suite in suites.values():
        assert suite["frames"] == 2
        assert suite["absent"]["trials"] == 24
    assert suites["attic_write_sam3"]["proposals"]["masks_per_frame"] > 0
    assert suites["attic_write_sam3"]["median_ms"]["find"] > 0
    assert suites["attic_mini"]["asked"] != suites["attic_write_sam3"]["asked"]


def test_no_recording_is_one_line_and_exit_2(capsys):
    assert cli.main(["evaluate", "demo", "--recording", "nowhere/at_all"]) == 2
    said = capsys.readouterr().err
    assert "nowhere/at_all" in said
    assert "Traceback" not in said


def test_recordings_are_found_in_share_folders(tmp_path, monkeypatch):
    share = tmp_path / "overlay" / "share" / "ovseg_ros" / "demo" / "attic"
    share.mkdir(parents=True)
    (share / "metadata.yaml").touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nonexistent:{tmp_path / 'overlay'}")
    assert recording_folder("demo/attic") == share
    with pytest.raises(InvalidInputError, match="demo/cellar"):
        recording_folder("demo/cellar")


def test_tables_line_up_and_say_what_was_missed():
    table = tables.markdown_table(("a", "bb"), [("long one", "1"), ("x", "22.5")])
    assert table.splitlines() == [
        "| a        |   bb |",
        "|----------|-----:|",
        "| long one |    1 |",
        "| x        | 22.5 |",
    ]
    frames = [recorded(0)]
    result = {"tiny": Suite("x", "y", (Target("t", 0.9, lambda s: None),))}
    summary = summarise(measure(segmenter(), frames))
    suite = {"recording": "x", "preset": "y", "targets": judge(summary, result["tiny"].targets), **summary}
    text = tables.report({"suites": {"tiny": suite}, "machine": demo.machine()})
    assert "| t       | >= 90.0 % |        - | MISSED |" in text
    assert "preset y" in text
