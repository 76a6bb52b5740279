"""benchmark/soak.py: what it calls a leak, and what it puts a tracker through."""

from __future__ import annotations

import importlib.util
import itertools

import numpy as np
import pytest
from repository import ROOT

from ovseg_ros.app.bench.scene import made_up_frame

MIB = 1 << 20


def script(name: str):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmark" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_leak_is_told_from_noise_and_from_caches_that_fill():
    soak = script("soak")
    at = list(range(50, 10_001, 50))
    noise = np.random.default_rng(0).integers(-MIB, MIB, len(at))
    filling = [500 * MIB + 80 * MIB * min(one, 4000) // 4000 for one in at]
    flat = soak.verdict(at, [one + int(n) for one, n in zip(filling, noise, strict=True)])
    assert flat["flat"] is True
    assert abs(flat["growth_bytes"]) < 1 * MIB
    leak = soak.verdict(at, [500 * MIB + 2048 * one + int(n) for one, n in zip(at, noise, strict=True)])
    assert leak["flat"] is False
    assert leak["growth_bytes"] == pytest.approx(20_480_000, rel=0.1)
    assert soak.verdict(at[:20], [500 * MIB] * 20)["flat"] is None
    assert soak.slope_per_frame([1], [5]) == 0.0


def test_frames_are_fresh_and_upset_a_tracker():
    soak = script("soak")
    frames = list(itertools.islice(soak.endless([made_up_frame((12, 16))]), 1000))
    stamps = [frame.stamp_ns for frame in frames]
    assert len({id(frame.image_rgb) for frame in frames}) == 1000
    assert {frame.frame_id for frame in frames} == {"left", "right"}
    assert any(b < a for a, b in itertools.pairwise(stamps))
    assert any(not frame.image_rgb.any() for frame in frames)
