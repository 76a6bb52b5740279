"""`ovseg doctor` as a user runs it: exit status, JSON, weights that are missing or damaged."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest
from machines import CU130, MACHINES

from ovseg_ros.app.cli import main
from ovseg_ros.app.doctor import look
from ovseg_ros.app.doctor.software import CvBridge, Ros
from ovseg_ros.core.camera import CameraLook, Heard, InputState
from ovseg_ros.models import nvidia
from ovseg_ros.models.downloads.files import known_file

SAM = "sam_vit_b_01ec64.pth"


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """One without a GPU, with ROS, and with no weights; what takes seconds is not looked at."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(look, "look_at_ros", lambda: (Ros("jazzy", True, True), None))
    monkeypatch.setattr(look, "look_at_cv_bridge", lambda: CvBridge(True, "", "1.26.4"))
    monkeypatch.setattr(look, "look_for_torch", lambda: (CU130, ""))
    monkeypatch.setattr(look, "try_bundled", lambda *_: {"encoder lite": ""})
    monkeypatch.setattr(nvidia, "look_at_nvidia", lambda: MACHINES["no GPU"].look(tmp_path / "root"))


def doctor(capsys, *options):
    status = main(["doctor", "--json", *options])
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] == (status == 0)
    return status, {check["name"]: check for check in result["checks"]}


def test_a_machine_that_is_well(capsys):
    status, checks = doctor(capsys)
    assert status == 0
    assert checks["version"]["found"].endswith(f"({sys.executable})")
    assert checks["choice"]["found"].startswith("auto is lite: ")
    assert checks["encoder lite"]["level"] == "OK"


def test_weights_that_are_missing_or_damaged_are_errors(capsys, tmp_path):
    status, checks = doctor(capsys, "--preset", "vitb16", "--device", "cpu")
    assert status == 1
    assert checks[SAM]["level"] == "ERROR"
    assert "run `ovseg download vitb16`" in checks[SAM]["cure"]
    assert (checks["choice"]["level"], "take a GPU" in checks["choice"]["cure"]) == ("WARN", True)
    (tmp_path / SAM).write_bytes(b"half of it")
    _, checks = doctor(capsys, "--preset", "vitb16", "--weights-dir", str(tmp_path))
    assert f"with {known_file(SAM).size} bytes, got 10" in checks[SAM]["found"]
    assert checks[SAM]["cure"].startswith("delete it, then run `ovseg download vitb16`")


def test_a_gpu_that_torch_does_not_see_is_an_error(capsys, monkeypatch, tmp_path):
    there = MACHINES["RTX 4090, driver 550"].look(tmp_path / "pc")
    monkeypatch.setattr(nvidia, "look_at_nvidia", lambda: there)
    status = main(["doctor"])
    out = " ".join(capsys.readouterr().out.split())
    assert status == 1
    assert (
        "ERROR torch: torch 2.14.1+cu130 was built with CUDA 13.0 and wants a driver of 580 or newer" in out
    )
    assert "-> update NVIDIA's driver to 580 or newer; or run: pip install --force-reinstall" in out
    assert "1 error" in out
    assert main(["doctor", "--device", "cpu"]) == 0


def test_a_gpu_that_fails_at_the_first_product_is_an_error(capsys, monkeypatch, tmp_path):
    seen = dataclasses.replace(CU130, sees=(("NVIDIA GeForce RTX 4090", (8, 9)),))
    monkeypatch.setattr(look, "look_for_torch", lambda: (seen, ""))
    monkeypatch.setattr(look, "try_gpu", lambda device: f"RuntimeError: {device} is busy")
    status, checks = doctor(capsys)
    assert status == 1
    assert checks["trial"]["found"] == "torch sees the GPU and cannot use it: RuntimeError: cuda is busy"


def test_without_torch_the_rest_is_still_looked_at(capsys, monkeypatch):
    monkeypatch.setattr(look, "look_for_torch", lambda: (None, "cannot be imported: No module named 'torch'"))
    status, checks = doctor(capsys)
    assert status == 1
    assert checks["torch"]["level"] == "ERROR"
    assert checks["distribution"]["level"] == "OK"


def test_without_ros_a_camera_is_an_error_and_the_rest_is_not(capsys, monkeypatch):
    monkeypatch.setattr(look, "look_at_ros", lambda: (Ros(), None))
    status, checks = doctor(capsys)
    assert (status, checks["rclpy"]["level"]) == (0, "WARN")
    status, checks = doctor(capsys, "--camera")
    assert (status, checks["rclpy"]["level"]) == (1, "ERROR")


def test_a_camera_is_listened_to_on_the_topics_that_are_named(capsys, monkeypatch):
    asked = []

    def listen(topics, seconds):
        asked.append((topics, seconds))
        heard = Heard(InputState("image", topics["image"], publishers=0, messages=0))
        return CameraLook({"image": heard}, 0.02, 1.0)

    monkeypatch.setattr(look, "look_at_ros", lambda: (Ros("jazzy", True, True), listen))
    status, checks = doctor(capsys, "--image-topic", "/head/rgb", "--depth-topic", "", "--seconds", "1")
    assert asked == [({"image": "/head/rgb", "depth": "", "camera_info": "/camera/color/camera_info"}, 1.0)]
    assert (status, checks["image"]["found"]) == (1, "image on /head/rgb (0 publishers): nobody publishes it")


@pytest.mark.parametrize("options", [["--preset", "vit16"], ["--image-topic", ""]])
def test_slips_of_the_pen_are_said_before_anything_is_looked_at(options, capsys):
    assert main(["doctor", *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith("ovseg: expected ")) == ("", True)


def test_the_profiles_and_topics_are_those_of_the_launch_files():
    pytest.importorskip("rclpy")
    from repository import ROOT

    from ovseg_ros.app.doctor import command, dds
    from ovseg_ros.ros import launching

    assert (dds.PROFILES, dds.FAST_DDS) == (launching.PROFILES, launching.FAST_DDS)
    launch = (ROOT / "launch" / "ovseg.launch.py").read_text(encoding="utf-8")
    assert all(f'"{topic}"' in launch for topic in command.TOPICS.values())


def test_cv_bridge_is_tried_in_a_process_of_its_own(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(look, "_is_here", lambda module: True)
    monkeypatch.setattr(
        look, "_TRY_CV_BRIDGE", "print('2.2.6', flush=True); raise ImportError('no multiarray')"
    )
    assert look.look_at_cv_bridge() == CvBridge(True, "ImportError: no multiarray", "2.2.6")
    monkeypatch.setattr(look, "_TRY_CV_BRIDGE", "print('2.2.6', flush=True); import os; os.abort()")
    assert look.look_at_cv_bridge() == CvBridge(True, "it ended with status -6", "2.2.6")
