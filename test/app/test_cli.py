"""The `ovseg` command as a whole: help, errors, exit codes, and the list of presets."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys

import cv2
import pytest

from ovseg_ros.app.cli import _parser, main
from ovseg_ros.app.demo import acts
from ovseg_ros.models import presets
from ovseg_ros.models.presets import list_presets


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for command in (
        "segment",
        "demo",
        "download",
        "convert-checkpoint",
        "presets",
        "web",
        "evaluate",
        "memory",
    ):
        assert re.search(rf"^    {command}\s", shown, re.MULTILINE), command


def test_an_unknown_command_is_told_which_there_are(capsys):
    with pytest.raises(SystemExit) as end:
        main(["find"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "'find'" in said
    for command in (
        "demo",
        "segment",
        "memory",
        "web",
        "presets",
        "download",
        "convert-checkpoint",
        "evaluate",
        "learn",
        "bench",
    ):
        assert command in said, command


def test_a_python_without_the_packages_is_told_to_activate_the_right_one(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ovseg_ros.models.downloads.files", None)
    with pytest.raises(ModuleNotFoundError, match=r"ovseg_ros\.models\.downloads\.files"):
        main(["presets"])
    monkeypatch.delitem(sys.modules, "ovseg_ros.models.downloads.files")
    monkeypatch.delitem(sys.modules, "ovseg_ros.models.downloads.verify", raising=False)
    monkeypatch.setitem(sys.modules, "hashlib", None)
    assert main(["presets"]) == 2
    said = capsys.readouterr().err
    assert f"ovseg: {sys.executable} has no package hashlib; activate" in said


def test_every_command_and_option_is_explained():
    def walk(parser):
        assert parser.description, parser.prog
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                shown = {choice.dest: choice.help for choice in action._choices_actions}
                assert shown.keys() == action.choices.keys()
                assert all(shown.values()), parser.prog
                for command in action.choices.values():
                    walk(command)
            else:
                assert action.help, (parser.prog, action.dest)

    walk(_parser())


def test_presets_are_listed_with_what_they_lack(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["presets"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("auto, the default: here lite; the weights of the larger presets (convnext, ")
    for name in list_presets():
        assert f"\n{name}: " in f"\n{shown}"
    assert shown.count("weights: ready") == 2
    assert "`ovseg download vitb16`: sam_vit_b_01ec64.pth, clip_vit_b_16_laion2b.safetensors" in shown
    for name in ("sam_vit_b_01ec64.pth", "clip_vit_b_16_laion2b.safetensors"):
        (tmp_path / name).write_bytes(b"")
    assert main(["presets", "vitb16", "--weights-dir", str(tmp_path)]) == 0
    assert "weights: ready" in capsys.readouterr().out
    assert main(["presets", "mini", "vitl14", "--json"]) == 0
    mini, large = json.loads(capsys.readouterr().out)
    assert (mini["name"], mini["needs_depth"], mini["missing_weights"]) == ("mini", True, [])
    assert (large["proposals"], large["needs_depth"], len(large["missing_weights"])) == ("sam", False, 2)


def test_unknown_preset(capsys):
    assert main(["presets", "vitb17"]) == 2
    assert f"expected a preset name ({', '.join(list_presets())})" in capsys.readouterr().err


def test_help_waits_for_no_network_to_be_imported():
    code = (
        "import sys\nfrom ovseg_ros.app.cli import _parser\n_parser()\n"
        "print([m for m in ('torch', 'cv2', 'gradio', 'numpy', 'HanTa', 'inflect') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_demo_answers_words_of_the_user_s_own(capsys, tmp_path, monkeypatch, load_preset_once):
    monkeypatch.setattr(presets, "load_preset", load_preset_once)
    monkeypatch.setattr(acts, "ACTS", acts.ACTS[:2])
    assert main(["demo", "find the teapot, motorcycle and zeppelin", "--out", str(tmp_path), "--json"]) == 0
    shown, said = capsys.readouterr()
    result = json.loads(shown)
    assert result == json.loads((tmp_path / "result.json").read_text())
    given = {(a["word"], a["recording"], a["code"], a["correct"]) for a in result["answers"]}
    assert ("teapot", "tabletop", "FOUND", True) in given
    assert ("motorcycle", "garage", "FOUND", True) in given
    assert {correct for word, _, _, correct in given if word == "zeppelin"} == {None}  # nobody can tell
    assert len(result["answers"]) == 3 * 4  # at each of three tables and in the garage
    assert "not judged" in said
    assert cv2.imread(str(tmp_path / "overlay_tabletop_00_find_teapot.png")).shape[1:] == (640, 3)


def test_demo_says_when_an_answer_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(acts, "ACTS", acts.ACTS[:1])  # one act shows it
    preset = tmp_path / "blind.yaml"
    preset.write_text(
        "description: finds nothing\nproposer: {kind: depth_clusters}\nencoder: {kind: mini}\n"
        "options: {threshold: 1.0, background: [teapot]}\n"
    )
    out = tmp_path / "out"
    assert main(["demo", "moka pot", "--preset", str(preset), "--out", str(out)]) == 1
    assert not json.loads((out / "result.json").read_text())["ok"]


def test_demo_refuses_a_query_without_words(capsys, tmp_path):
    assert main(["demo", "?!", "--out", str(tmp_path)]) == 2
    assert "ovseg: " in capsys.readouterr().err
