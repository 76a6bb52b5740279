"""Options and parameters: any value is taken as it is or refused with a word, never bent."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from hostile import any_scalar, any_text, any_value, floats
from hypothesis import strategies as st
from property_cases import answered, cases

from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.tracking import TrackOptions
from ovseg_ros.errors import ConfigError, OvsegError
from ovseg_ros.models.yaml_files import from_mapping
from ovseg_ros.ros.parameters.table import Settings, changed, coerce, rows

KINDS = (SegmenterOptions, TrackOptions)
whole = st.one_of(st.integers(-3, 3), st.integers())
numbers = st.one_of(whole, floats)
names_of = {kind: [field.name for field in dataclasses.fields(kind)] for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_is_in_range(kind):
    of_numbers = {
        f.name: type(f.default) for f in dataclasses.fields(kind) if type(f.default) in (int, float)
    }
    pairs = st.sampled_from(sorted(of_numbers)).flatmap(
        lambda name: st.tuples(st.just(name), numbers if of_numbers[name] is float else whole)
    )

    @cases(100, st.lists(pairs, min_size=1, max_size=3).map(dict))
    def holds(values):
        made = answered(lambda: kind(**values))
        if not isinstance(made, OvsegError):
            assert all(math.isfinite(getattr(made, name)) for name in of_numbers)

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_options_of_a_file_are_of_their_kind(kind):
    keys = st.one_of(st.sampled_from(names_of[kind]), any_text)

    @cases(120, st.one_of(st.dictionaries(keys, any_value, max_size=4), any_value))
    def holds(values):
        made = answered(lambda: from_mapping(Path("my.yaml"), kind, values))
        if isinstance(made, OvsegError):
            assert isinstance(made, ConfigError)
            return
        for field in dataclasses.fields(kind):
            value, default = getattr(made, field.name), getattr(kind(), field.name)
            assert isinstance(value, (int, float) if isinstance(default, float) else type(default))
            assert isinstance(value, bool) == isinstance(default, bool)

    holds()


@cases(200, st.sampled_from(rows()), st.one_of(any_scalar, st.lists(any_scalar, max_size=3), any_value))
def test_a_parameter_is_of_its_kind_and_in_range(row, value):
    found = answered(lambda: coerce(row, value))
    if isinstance(found, OvsegError):
        assert row.name in str(found)
        return
    assert type(found) is type(row.default)
    if row.metadata["low"] is not None:
        assert row.metadata["low"] <= found <= row.metadata["high"]
    if row.metadata["choices"]:
        assert found in row.metadata["choices"]
    if isinstance(found, tuple):
        assert all(isinstance(item, str) for item in found)


@cases(50, st.dictionaries(st.sampled_from([row.name for row in rows()]), any_value, max_size=3))
def test_settings_change_as_a_whole_or_not_at_all(values):
    before = Settings()
    after = answered(lambda: changed(before, values))
    assert before == Settings()
    if not isinstance(after, OvsegError):
        unchanged = {row.name for row in rows()} - {*values}
        assert all(getattr(after, name) == getattr(before, name) for name in unchanged)
