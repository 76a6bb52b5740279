"""The `ovseg` command as a whole: help, errors, exit codes, and the list of presets."""

from __future__ import annotations

import pytest

from ovseg_ros.app.cli import main
from ovseg_ros.models.presets import list_presets


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for command in ("segment", "demo", "download", "convert-checkpoint", "presets", "web", "evaluate"):
        assert f"    {command} " in shown


def test_presets_are_listed_with_what_they_lack(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["presets"]) == 0
    shown = capsys.readouterr().out
    for name in list_presets():
        assert f"\n{name}: " in f"\n{shown}"
    assert shown.count("weights: ready") == 2
    assert "`ovseg download vitb16`: sam_vit_b_01ec64.pth, clip_vit_b_16_laion2b.safetensors" in shown
    for name in ("sam_vit_b_01ec64.pth", "clip_vit_b_16_laion2b.safetensors"):
        (tmp_path / name).write_bytes(b"")
    assert main(["presets", "vitb16", "--weights-dir", str(tmp_path)]) == 0
    assert "weights: ready" in capsys.readouterr().out


def test_unknown_preset(capsys):
    assert main(["presets", "vitb17"]) == 2
    assert "want a preset name (lite, mini, ovseg, ovseg_sam, vitb16, vitl14)" in capsys.readouterr().err
