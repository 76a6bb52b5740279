"""docs/reliability.md: a row for each fault, and each test that it names exists."""

from __future__ import annotations

import ast
import re

import pytest
from repository import ROOT

TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("|") and not line.startswith(("| fault", "|---"))
]
LEAST_ROWS = 40


def found_in(path: str) -> set[str]:
    """The tests of a file, those of classes included."""
    tree = ast.parse((ROOT / "test" / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_there_is_a_row_for_each_fault():
    assert len(ROWS) >= LEAST_ROWS
    assert len({row[0] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:50])
def test_each_row_is_whole_and_its_tests_exist(row):
    assert len(row) == 4, "fault, what the user sees, recovery, test"
    assert all(row)
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", row[3])
    assert named, "no test"
    assert row[3].count("::") == len(named)
    for path, name in named:
        assert (ROOT / "test" / path).is_file(), path
        assert name in found_in(path), f"{path} has no {name}"
