"""`ovseg convert-checkpoint` as a user runs it."""

from __future__ import annotations

import os

import pytest
import torch
from ovseg_files import tiny_model

from ovseg_ros.app.cli import main


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "ovseg_swinbase_vitL14_ft_mpt.pth"
    torch.save({"model": tiny_model()}, path)
    return path


def test_converts_and_says_so(checkpoint, tmp_path, capsys):
    assert main(["convert-checkpoint", str(checkpoint), "--out", str(tmp_path / "parts")]) == 0
    out, err = capsys.readouterr()
    assert [line.split("  ")[0] for line in out.splitlines()] == [
        str(tmp_path / "parts" / f"{part}.safetensors")
        for part in ("proposals", "clip", "prompts", "non_object")
    ]
    assert "clip, custom, quick_gelu, " in out
    assert "NON-COMMERCIAL USE ONLY" in err
    assert "CC-BY-NC 4.0" in err
    assert f"reading {checkpoint}" in err
    assert "WARNING: expected ovseg_swinbase_vitL14_ft_mpt.pth with an MD5 that begins 526080" in err


def test_the_cache_folder_is_the_default(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["convert-checkpoint", str(checkpoint)]) == 0
    folder = tmp_path / "cache" / "ovseg" / "ovseg_swinbase_vitL14_ft_mpt"
    names = ["clip.safetensors", "non_object.safetensors", "prompts.safetensors", "proposals.safetensors"]
    assert sorted(os.listdir(folder)) == names
    capsys.readouterr()
    assert main(["convert-checkpoint", str(checkpoint)]) == 0
    assert capsys.readouterr().err.count("is there already, with the same content") == 4


def test_refusals_exit_2_with_one_line(checkpoint, tmp_path, capsys):
    parts = str(tmp_path / "parts")
    assert main(["convert-checkpoint", str(checkpoint), "--out", parts]) == 0
    changed = tiny_model() | {"clip_adapter.non_object_embedding": torch.ones(1, 12)}
    torch.save({"model": changed}, checkpoint)
    capsys.readouterr()
    assert main(["convert-checkpoint", str(checkpoint), "--out", parts]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("ovseg: cannot write ")
    assert "--force" in err
    assert "Traceback" not in err
    assert main(["convert-checkpoint", str(checkpoint), "--out", parts, "--force"]) == 0
    assert main(["convert-checkpoint", str(tmp_path / "none.pth")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_plain_clip_asks_for_the_activation(tmp_path, capsys):
    clip = {
        k.removeprefix("clip_adapter.clip_model."): v for k, v in tiny_model().items() if "clip_model" in k
    }
    del clip["visual.mask_embedding"]
    torch.save(clip, tmp_path / "x.pth")
    arguments = ["convert-checkpoint", str(tmp_path / "x.pth"), "--out", str(tmp_path / "parts")]
    assert main(arguments) == 2
    assert "--activation quick_gelu" in capsys.readouterr().err
    assert main([*arguments, "--activation", "quick_gelu"]) == 0
    out, err = capsys.readouterr()
    assert "clip, custom, quick_gelu" in out
    assert "WARNING: x.pth holds no proposals: the preset ovseg cannot run on it" in err
