"""benchmark/sam_video.py: its made-up scene is found, its stages and prompts are those of the calls."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sam_fixtures import TINY_SAM

ROOT = Path(os.environ.get("OVSEG_SOURCE_DIR") or Path(__file__).resolve().parents[1])
SIZE_HW = (96, 128)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("sam_video", ROOT / "benchmark" / "sam_video.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_way_finds_the_things_and_is_counted(script):
    rows = script.measure(TINY_SAM | {"image_size": 128}, 4, 2, SIZE_HW, (6, 12))
    assert list(rows) == ["grid 6x6", "grid 12x12", "4 boxes, grid 8x8"]
    assert [row["prompts"] for row in rows.values()] == [36, 144, 4 + 64]
    assert all(row["masks"] >= 4 for row in rows.values())
    for row in rows.values():
        assert 0 < row["encoder"] < row["total"]
        assert 0 < row["decoder"] < row["total"]
        assert row["total"] == pytest.approx(row["encoder"] + row["decoder"] + row["rest"])
    assert rows["grid 6x6"]["times_less"] == 1
    assert rows["grid 12x12"]["times_less"] < 1
    lines = script.table(rows).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| 4 boxes, grid 8x8 | 68 | ")


@pytest.mark.parametrize("count", [1, 8, 32])
def test_things_are_on_the_image_apart_and_hit_where_they_are(script, count):
    things = script.Things(count, (480, 640))
    assert (things.centres - things.radii[:, None] >= 0).all()
    assert (things.centres + things.radii[:, None] <= (640, 480)).all()
    apart = np.linalg.norm(things.centres[:, None] - things.centres[None], axis=2)
    touching = things.radii[:, None] + things.radii[None]
    assert (apart + 1e9 * np.eye(count) > touching).all()
    assert things.hit(torch.from_numpy(things.centres)).tolist() == list(range(count))
    assert things.hit(torch.tensor([[-500.0, -500.0]])).tolist() == [-1]
    assert (things.boxes_xyxy()[:, 2:] > things.boxes_xyxy()[:, :2]).all()
