"""benchmark/memory_hours.py: a morning of it, in which nothing but the day's things may grow."""

from __future__ import annotations

import sys

import pytest
from repository import ROOT

pytest.importorskip("sqlalchemy", reason="memory needs SQLAlchemy: pip install '.[memory]'")

sys.path[:0] = [str(ROOT / "benchmark")]
import memory_hours  # noqa: E402


def test_memory_is_level_through_a_morning(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_hours, "THINGS", 40)
    monkeypatch.setattr(memory_hours, "ROOMS", 4)
    rows = memory_hours.simulate(tmp_path / "memory.sqlite", 1600, 2.0, report_s=900.0)
    assert [row["hours"] for row in rows] == pytest.approx([0.25 * n for n in range(1, 9)], abs=0.05)
    assert rows[-1]["sightings"] == pytest.approx(1600, rel=0.05)
    for row in rows:  # what was carried away and is not yet missed there is known twice for a while
        assert 36 <= row["there"] <= 52
        assert row["gone"] <= 12
        assert row["held"] <= 60  # with those forgotten in the store of which it has not heard yet
    assert len({row["threads"] for row in rows}) == 1
    assert max(row["file_mb"] for row in rows) < 5  # the log takes up to 4; all pictures of a sighting each 6
