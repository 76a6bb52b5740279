"""Scripts of benchmark: what soak.py calls a leak and puts a tracker through; what costs.py counts."""

from __future__ import annotations

import importlib.util
import itertools

import numpy as np
import pytest
import torch
from clip_layout import TINY
from repository import ROOT

from ovseg_ros.app.bench.scene import made_up_frame
from ovseg_ros.models.clip import build_network

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


def test_costs_are_counted_on_the_network_itself():
    costs, shape = script("costs"), TINY.as_open_clip()
    cost = costs.cost_of(shape, batch=2, runs=1)
    network = build_network(shape, "tiny")
    image = sum(parameter.numel() for parameter in network.visual.parameters())
    assert cost["image_parameters_m"] == pytest.approx(image / 1e6)
    assert cost["text_parameters_m"] == pytest.approx(
        (sum(p.numel() for p in network.parameters()) - image) / 1e6
    )
    assert costs._flop(lambda: torch.ones(3, 4) @ torch.ones(4, 5)) == 2 * 3 * 4 * 5
    tokens, attention = torch.ones(1, 5, 8), torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    with torch.no_grad():  # projections in and out, scores, and what they weigh
        counted = costs._flop(lambda: attention(tokens, tokens, tokens, need_weights=False))
    assert counted == 2 * (4 * 5 * 8 * 8 + 2 * 5 * 5 * 8)
    conv = network.visual.conv1
    patches = (cost["side"] // conv.kernel_size[0]) ** 2
    assert cost["gflop_crop"] * 1e9 > 2 * patches * conv.weight.numel()
    assert min(cost["crop_s"], cost["sentence_s"]) > 0
    row = costs.table({"one": {"model": "Tiny", **cost}}, 2).splitlines()[2]
    assert row.startswith(f"| `one` | Tiny | {cost['side']} | ")


def test_costs_are_those_of_every_preset_with_a_clip_each_network_once():
    models = script("costs").clip_presets()
    assert {"siglip2", "pecore", "mobileclip2", "vitb16", "convnext"} <= set(models)
    assert len(set(models.values())) == len(models)
