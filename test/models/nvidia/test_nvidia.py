"""A machine's NVIDIA GPU: what is read of it, and why a torch does not see it."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import os

import pytest
from machines import CPU, CU126, CU130, CU130_ARM, JETSON, MACHINES, Machine

from ovseg_ros.models import presets
from ovseg_ros.models.nvidia import Nvidia, NvidiaGpu, facts, kernels_missing, look, why_unseen
from ovseg_ros.models.nvidia.judge import runs_on


@pytest.mark.parametrize("name", ["facts", "judge", "look"])
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(f"ovseg_ros.models.nvidia.{name}"))
    assert failed == 0


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ("RTX 4090, driver 550", "NVIDIA GeForce RTX 4090, driver 550.54.14 for CUDA up to 12.4"),
        ("two cards, driver 610", "NVIDIA H200, NVIDIA H200, driver 610.57.04 for CUDA up to 13.3"),
        ("RTX 2080, driver 450", "GeForce RTX 2080 Ti, driver 450.51.05 for CUDA up to 11.0"),
        ("WSL2, RTX 3060", "NVIDIA GeForce RTX 3060, driver 552.22 for CUDA up to 12.4"),
        (
            "Orin, JetPack 6",
            "NVIDIA Jetson AGX Orin Developer Kit, Jetson Linux 36.4.3 (JetPack 6), driver 540.4.0 for CUDA "
            "up to 12.6",
        ),
        ("Orin, JetPack 5", "NVIDIA Jetson AGX Orin Developer Kit, Jetson Linux 35.4.1 (JetPack 5)"),
        ("nouveau", "an NVIDIA GPU"),
        ("driver updated, not rebooted", "an NVIDIA GPU, driver 550.54.14"),
    ],
)
def test_what_is_here_is_told(machine, said, tmp_path):
    nvidia = MACHINES[machine].look(tmp_path)
    assert (nvidia.is_here, str(nvidia)) == (True, said)


@pytest.mark.parametrize("machine", ["no GPU", "WSL2, no NVIDIA"])
def test_where_there_is_none_nothing_is_asked(machine, tmp_path):
    asked = []
    bare = MACHINES[machine]
    nvidia = Machine(bare.files).look(tmp_path)
    look.look_at_nvidia(tmp_path, lambda command: asked.append(command) or "")
    assert not nvidia.is_here
    assert not asked


def test_capabilities_and_cards_are_read(tmp_path):
    assert MACHINES["Orin, JetPack 6"].look(tmp_path / "a").gpus == (NvidiaGpu("Orin (nvgpu)", (8, 7)),)
    assert MACHINES["RTX 2080, driver 450"].look(tmp_path / "b").gpus == (NvidiaGpu("GeForce RTX 2080 Ti"),)
    assert MACHINES["nouveau"].look(tmp_path / "c").on_bus == 1


@pytest.mark.parametrize(
    ("machine", "torch", "found", "cure"),
    [
        (
            "RTX 4090, driver 550",
            CU130,
            "torch 2.14.1+cu130 was built with CUDA 13.0 and wants a driver of 580 or newer; here is NVIDIA "
            "GeForce RTX 4090, driver 550.54.14 for CUDA up to 12.4",
            "update NVIDIA's driver to 580 or newer; or run: pip install --force-reinstall torch torchvision "
            "--index-url https://download.pytorch.org/whl/cu126 (CUDA 12.6)",
        ),
        (
            "GTX 1080, driver 535",
            CU130,
            "wants a driver of 580",
            "cu126 (CUDA 12.6): newer CUDA leaves GPUs before",
        ),
        ("V100, driver 470", CU130, "wants a driver of 580", "driver to 525 or newer, then run: pip"),
        ("V100, driver 470", CU126, "wants a driver of 525", "driver to 525 or newer, then run: pip"),
        ("RTX 2080, driver 450", CU130, "wants a driver of 580", "update NVIDIA's driver to 580 or newer"),
        (
            "WSL2, RTX 3060",
            CU130,
            "wants a driver of 580",
            "update NVIDIA's driver in Windows to 580 or newer",
        ),
        (
            "RTX 4090, driver 580",
            CPU,
            "was built for CPUs alone",
            "run: pip install --force-reinstall torch tor",
        ),
        (
            "RTX 4090, driver 550",
            CPU,
            "was built for CPUs alone",
            "update NVIDIA's driver to 580 or newer; or run",
        ),
        (
            "GTX 1080, driver 580",
            CPU,
            "was built for CPUs alone",
            "/whl/cu126 (CUDA 12.6): newer CUDA leaves GPUs",
        ),
        ("Orin, JetPack 6", CPU, "was built for CPUs alone", "built for this JetPack in place of PyPI's"),
        ("Orin, JetPack 6", CU130_ARM, "and wants a Jetson with CUDA 13; here is", "built for this JetPack"),
        ("Orin, JetPack 7", CU130_ARM, "sees no GPU", "reboot"),
        ("Orin, JetPack 7", CPU, "was built for CPUs alone", "https://download.pytorch.org/whl/cu132"),
        (
            "Docker without --gpus",
            CU130,
            "this container was started without",
            "start the container with --gpus",
        ),
        ("nouveau", CU130, "no driver of NVIDIA's is loaded", "sudo ubuntu-drivers install"),
        ("driver updated, not rebooted", CU130, "'Failed to initialize NVML: Driver/library", "reboot; if"),
        ("RTX 4090, driver 580", CU130, "sees no GPU: it does not say why", "reboot, see whether nvidia-smi"),
    ],
)
def test_why_it_is_not_seen(machine, torch, found, cure, tmp_path):
    advice = why_unseen(MACHINES[machine].look(tmp_path), torch)
    assert found in advice.found
    assert cure in advice.cure


def test_rocm_is_told_from_a_build_for_cpus(tmp_path):
    nvidia = MACHINES["RTX 4090, driver 580"].look(tmp_path)
    assert "for AMD's GPUs" in why_unseen(nvidia, dataclasses.replace(CPU, is_rocm=True)).found


@pytest.mark.parametrize(("value", "hides"), [("", True), ("-1", True), ("0", False), ("0,1", False)])
def test_hidden_gpus_are_told_from_missing_ones(value, hides, tmp_path):
    nvidia = MACHINES["RTX 4090, driver 580"].look(tmp_path, CUDA_VISIBLE_DEVICES=value)
    advice = why_unseen(nvidia, CU130)
    assert (advice.found == f"CUDA_VISIBLE_DEVICES={value!r} hides every GPU from torch") == hides


def test_device_files_that_are_missing_or_closed(tmp_path, monkeypatch):
    bare = {name: text for name, text in MACHINES["RTX 4090, driver 580"].files.items() if "dev/" not in name}
    machine = dataclasses.replace(MACHINES["RTX 4090, driver 580"], files=bare)
    assert "/dev has no files of it" in why_unseen(machine.look(tmp_path / "a"), CU130).found
    monkeypatch.setattr(os, "access", lambda *_: False)
    closed = why_unseen(MACHINES["Orin, JetPack 6"].look(tmp_path / "b"), JETSON)
    assert closed.found == "this user may not open /dev/nvmap"
    assert "usermod -aG video,render" in closed.cure


@pytest.mark.parametrize(
    ("capability", "arch", "cuda", "runs"),
    [
        ((8, 9), "sm_86", (13, 0), True),
        ((8, 6), "sm_89", (13, 0), False),
        ((9, 0), "sm_86", (13, 0), False),
        ((7, 5), "sm_75", (13, 0), True),
        ((7, 0), "sm_75", (13, 0), False),
        ((6, 1), "sm_60", (12, 6), True),
        ((8, 7), "sm_80", (13, 0), False),  # a Jetson's code is its own
        ((8, 7), "sm_80", (13, 2), True),  # until here
        ((8, 9), "sm_87", (12, 6), False),
        ((8, 7), "sm_87", (12, 6), True),
        ((9, 0), "sm_90a", (12, 6), True),
        ((12, 1), "sm_120a", (13, 0), False),
        ((12, 1), "sm_120f", (13, 0), True),
        ((12, 0), "compute_90", (12, 6), True),
        ((8, 9), "compute_90", (12, 6), False),
        ((8, 9), "gfx90a", (12, 6), False),
    ],
)
def test_which_code_runs_where(capability, arch, cuda, runs):
    assert runs_on(capability, arch, cuda) == runs


def test_code_that_is_missing_is_told_before_the_first_frame_fails(tmp_path):
    pascal = dataclasses.replace(CU130, sees=(("NVIDIA GeForce GTX 1080", (6, 1)),))
    advice = kernels_missing(MACHINES["GTX 1080, driver 580"].look(tmp_path / "a"), pascal)
    assert "holds no code for NVIDIA GeForce GTX 1080 (compute capability 6.1), only sm_75, " in advice.found
    assert "/whl/cu126 (CUDA 12.6)" in advice.cure
    orin = dataclasses.replace(CU130_ARM, sees=(("Orin", (8, 7)),))
    advice = kernels_missing(MACHINES["Orin, JetPack 6"].look(tmp_path / "b"), orin)
    assert "built for this JetPack in place of PyPI's" in advice.cure
    advice = kernels_missing(MACHINES["Orin, JetPack 7"].look(tmp_path / "c"), orin)
    assert advice.cure.startswith("run: pip install --force-reinstall torch torchvision --index-url")
    newer = dataclasses.replace(orin, cuda="13.2")
    assert kernels_missing(MACHINES["Orin, JetPack 7"].look(tmp_path / "d"), newer) is None
    fits = dataclasses.replace(JETSON, sees=(("Orin", (8, 7)),))
    assert kernels_missing(Nvidia(), fits) is None
    assert kernels_missing(Nvidia(), dataclasses.replace(CU130, archs=())) is None


def test_a_gpu_that_auto_does_not_find_is_warned_of_where_a_preset_is_loaded(tmp_path, monkeypatch, caplog):
    nvidia = MACHINES["RTX 4090, driver 550"].look(tmp_path)
    monkeypatch.setattr(look, "look_at_nvidia", lambda: nvidia)
    monkeypatch.setattr(look, "look_at_torch", lambda: CU130)
    preset = tmp_path / "mine.yaml"
    preset.write_text("proposer: {kind: depth_clusters}\nencoder: {kind: mini}\n")
    segmenter = presets.load_preset(preset, device="auto")
    assert segmenter.warning.startswith(
        "the networks run on the CPU, although this machine has NVIDIA GeForce RTX 4090, driver 550.54.14 "
        "for CUDA up to 12.4: torch 2.14.1+cu130 was built with CUDA 13.0 and wants a driver of 580 or newer"
    )
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [segmenter.warning]
    assert presets.load_preset(preset, device="cpu").warning == ""  # asked for


def test_a_gpu_that_torch_sees_is_not_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "look_at_nvidia", lambda: MACHINES["RTX 4090, driver 580"].look(tmp_path))
    monkeypatch.setattr(
        look, "look_at_torch", lambda: dataclasses.replace(CU130, sees=(("RTX 4090", (8, 9)),))
    )
    assert look.overlooked_gpu() == ""


def test_a_preset_that_asks_for_a_gpu_is_warned_of_on_a_cpu(tmp_path):
    preset = tmp_path / "big.yaml"
    preset.write_text("gpu_memory_gb: 6\nproposer: {kind: depth_clusters}\nencoder: {kind: mini}\n")
    warning = presets.load_preset(preset, device="cpu").warning
    assert warning.startswith("big was made for a GPU (6 GB of it) and runs on the CPU")
    assert presets.load_preset(preset, device="cpu", proposals_from="mini").warning == ""


def test_jetpacks_that_are_not_known_have_no_number():
    assert facts.Jetson("", "99.1").jetpack is None
    assert str(facts.Jetson()) == "a Jetson, Jetson Linux of unknown version"
