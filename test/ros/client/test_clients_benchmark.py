"""benchmark/clients.py: what it calls growth."""

from __future__ import annotations

import sys

import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

sys.path[:0] = [str(ROOT / "benchmark")]
from clients import grown, held  # noqa: E402
from soak_node.process import Sample  # noqa: E402

pytestmark = pytest.mark.ros


def samples(mib=lambda i: 100.0, files=lambda i: 30, threads=lambda i: 12):
    return [Sample(5.0 * i, mib(i), files(i), threads(i)) for i in range(100)]


def test_what_is_level_does_not_grow_however_it_began_and_jumped():
    found = held(samples(mib=lambda i: 20 + 4 * min(i, 20) + (300 if i % 10 == 0 else 0)))
    assert (found["resident_mib"]["first"], found["resident_mib"]["last"]) == (320.0, 100.0)
    assert found["resident_mib"]["growth"] == 0
    assert grown(found) == []


@pytest.mark.parametrize(
    ("leak", "thing"),
    [
        ({"mib": lambda i: 100 + 0.5 * i}, "resident_mib"),
        ({"files": lambda i: 30 + i // 10}, "files"),
        ({"threads": lambda i: 12 + i // 10}, "threads"),
    ],
)
def test_what_grows_is_named(leak, thing):
    assert grown(held(samples(**leak))) == [thing]


def test_a_single_sample_is_held():
    assert held(samples()[:1])["files"] == {"first": 30, "last": 30, "growth": 0}
