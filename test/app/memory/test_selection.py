"""Times, keys and regions as people write them."""

from __future__ import annotations

from datetime import datetime

import pytest

from ovseg_ros.app.memory.selection import short_keys, time_of
from ovseg_ros.errors import ConfigError

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("text", "ago_s"),
    [
        ("90s", 90),
        ("20min", 1200),
        ("5m", 300),
        ("2h", 7200),
        ("1.5 h", 5400),
        ("3d", 259200),
        ("1w", 604800),
    ],
)
def test_times_that_are_so_long_ago(text, ago_s):
    assert time_of(text, NOW) == NOW - ago_s


def test_dates_are_local_unless_they_name_a_zone():
    assert time_of("2026-11-30T14:05", NOW) == datetime(2026, 11, 30, 14, 5).timestamp()
    assert time_of("2026-11-30", NOW) == datetime(2026, 11, 30).timestamp()
    assert time_of("2001-09-09T01:46:40+00:00", NOW) == 1e9


@pytest.mark.parametrize("text", ["", "yesterday", "2 fortnights", "-2h", "2026-13-01"])
def test_what_is_no_time_is_told_what_one_looks_like(text):
    with pytest.raises(ConfigError, match=r"2h, 3d or 1w .* 2026-11-30"):
        time_of(text, NOW)


def test_short_keys_tell_keys_apart_and_are_not_too_short():
    keys = ["abcdefgh1", "abcdefgh2", "abcdxxxx", "12", "zzzzzzzzz"]
    short = short_keys(keys)
    assert short == {
        "abcdefgh1": "abcdefgh1",
        "abcdefgh2": "abcdefgh2",
        "abcdxxxx": "abcdxx",
        "12": "12",
        "zzzzzzzzz": "zzzzzz",
    }
    for key in keys:
        assert [one for one in keys if one.startswith(short[key])] == [key]


def test_no_keys():
    assert short_keys([]) == {}
