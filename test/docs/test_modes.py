"""docs/modes.md says what the options are."""

from __future__ import annotations

import dataclasses
import re

import pytest
from repository import ROOT

from ovseg_ros.core.options import (
    CLASSIFIERS,
    DECISIONS,
    FILLS,
    REGION_VIEWS,
    SEMANTIC_KINDS,
    SegmenterOptions,
)
from ovseg_ros.models.template_sets import TEMPLATE_SETS

DOCUMENT = ROOT / "docs" / "modes.md"
ROWS = {
    match[1]: (match[2], match[3])
    for match in re.finditer(r"^\| `(\w+)` \| (.*) \| (.*?) ?\|$", DOCUMENT.read_text(encoding="utf-8"), re.M)
}


def test_every_option_has_its_row():
    assert set(ROWS) == {field.name for field in dataclasses.fields(SegmenterOptions)}


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("classifier", CLASSIFIERS),
        ("region_view", REGION_VIEWS),
        ("semantic", SEMANTIC_KINDS),
        ("decision", DECISIONS),
        ("fill", FILLS),
        ("templates", TEMPLATE_SETS),
    ],
)
def test_choices_are_complete(option, choices):
    named = re.findall(r"`(\w+)`", ROWS[option][0])
    assert set(named) == set(choices)
    if option != "templates":
        assert named[0] == getattr(SegmenterOptions(), option), "the default stands first"


@pytest.mark.parametrize(
    "option",
    ["clip_weight", "expand_ratio", "background_max_similarity", "threshold", "granularity", "max_masks"],
)
def test_defaults_are_true(option):
    assert str(getattr(SegmenterOptions(), option)) in ROWS[option][0]


def test_live_parameters_are_named():
    parameters = pytest.importorskip("ovseg_ros.ros.parameters.table")
    names = {row.name for row in parameters.rows()}
    for option, (_, said) in ROWS.items():
        renamed = re.search(r"\(`(\w+)`\)", said)
        assert said.startswith("yes") == ((renamed[1] if renamed else option) in names), option
