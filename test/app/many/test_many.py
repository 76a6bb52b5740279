"""Shards, their places and their turns, and what is said without Ray: no cluster is needed for these."""

from __future__ import annotations

import sys

import pytest

from ovseg_ros.app.many import Cursor, pace, ranges
from ovseg_ros.app.many.cluster import Cluster, _Row, _shares, connected
from ovseg_ros.errors import ConfigError, InvalidInputError


def test_ranges_cover_everything_once() -> None:
    assert list(ranges(25, 10)) == [(0, 10), (10, 20), (20, None)]
    assert list(ranges(20, 10, end=20)) == [(0, 10), (10, 20)]
    assert list(ranges(0, 10)) == [(0, None)]
    assert list(ranges(0, 10, end=0)) == [(0, 0)]


def test_the_pace_in_words() -> None:
    assert pace(50, 200, 10.0) == "5.0 per second, 30 s left"
    assert pace(1, 1001, 10.0) == "0.1 per second, 3 h left"
    assert pace(10, 10, 1.0) == "10.0 per second"
    assert pace(10, 3, 1.0) == "10.0 per second", "there are more than anybody knew"


def test_a_cursor_reads_its_inputs_once_as_long_as_it_goes_forwards() -> None:
    starts = []

    def inputs():
        starts.append(1)
        yield from "abcdefgh"

    cursor = Cursor(inputs)
    assert "".join(cursor.take(1, 3)) == "bc"
    assert "".join(cursor.take(5, 6)) == "f"
    assert "".join(cursor.take(6, None)) == "gh"
    assert "".join(cursor.take(8, None)) == ""
    assert len(starts) == 1
    assert "".join(cursor.take(0, 2)) == "ab"
    assert len(starts) == 2


def test_inputs_that_break_off_say_so_to_each_who_asks() -> None:
    def inputs():
        yield from "ab"
        raise InvalidInputError("breaks off")

    cursor = Cursor(inputs)
    assert "".join(cursor.take(0, 2)) == "ab"
    for first in (2, 4, 4):
        with pytest.raises(InvalidInputError, match="breaks off"):
            list(cursor.take(first, first + 2))


def test_a_row_hands_out_in_order_waits_its_turn_and_asks_twice_at_the_end() -> None:
    row = _Row(enumerate("abcdef"), most_ahead=2)
    assert [row.next([]), row.next([0]), row.next([0, 1])] == [0, 1, 2]
    row.settle(1, "B")
    row.settle(2, "C")
    assert row.next([0]) == 0, "two are done ahead of the first: it is tried elsewhere too"
    assert row.next([0, 0]) is None
    row.settle(0, "A")
    assert row.turn in row.done
    assert [row.take(), row.take(), row.take()] == ["A", "B", "C"]
    assert [row.next([]), row.next([]), row.next([])] == [3, 4, 5]
    assert row.next([3, 3, 4, 5]) == 4
    for number in (3, 4, 5):
        assert not row.is_over
        row.settle(number, "")
        row.take()
    assert row.next([]) is None
    assert row.is_over
    assert not _Row(enumerate("a"), most_ahead=2).is_over, "nobody was free to take it yet"


def test_what_each_worker_holds() -> None:
    assert _shares({"CPU": 8.0}, None, "auto") == (8, {"num_cpus": 1, "num_gpus": 0})
    assert _shares({"CPU": 8.0, "GPU": 2.0}, None, "auto") == (2, {"num_cpus": 1, "num_gpus": 1})
    assert _shares({"CPU": 8.0, "GPU": 2.0}, 5, "cuda") == (5, {"num_cpus": 1, "num_gpus": 1 / 3})
    assert _shares({"CPU": 8.0, "GPU": 2.0}, None, "cpu") == (8, {"num_cpus": 1, "num_gpus": 0})
    with pytest.raises(ConfigError, match="Ray knows of none"):
        _shares({"CPU": 8.0}, None, "cuda")
    with pytest.raises(ConfigError, match="no processor"):
        _shares({}, None, "auto")


def test_without_ray_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[ray\]'"):
        connected("auto")


@pytest.mark.parametrize(
    ("workers", "device", "said"),
    [(0, "cpu", "--ray-workers at least 1"), (1, "cuda:1", "hands out the GPUs")],
)
def test_what_a_cluster_is_not_asked(workers: int, device: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Cluster(list, "auto", workers, device=device)
