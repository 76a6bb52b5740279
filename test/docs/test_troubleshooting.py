"""docs/troubleshooting.md: the package can say each text that is quoted there, with its cause and cure."""

from __future__ import annotations

import re

import pytest
from repository import ROOT
from said import templates

TEXT = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
OWN, OTHERS = TEXT.split("## Texts of other programs")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in OWN.splitlines()
    if line.startswith("| `")
]
LEAST_ROWS = 45


@pytest.fixture(scope="module")
def said():
    return templates(ROOT / "ovseg_ros")


def test_there_is_a_row_for_each_text():
    assert len(ROWS) >= LEAST_ROWS
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][1:50])
def test_the_package_says_it(row, said):
    assert len(row) == 3, "text, cause, cure"
    assert all(row)
    quoted = re.match(r"`([^`]+)`", row[0])[1]
    assert any(quoted in template for template in said), quoted
