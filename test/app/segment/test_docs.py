"""docs/segment.md says what the command does: its options, defaults and examples."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest
from repository import ROOT

from ovseg_ros.app.segment import command as segment
from ovseg_ros.core.camera.decode import COLOUR_ENCODINGS
from ovseg_ros.files import pictures, recordings

DOCS = ROOT / "docs" / "segment.md"
IN_WORDS = {"needed", "off", "on", "none", "all", "found", "numbered", "the preset's"}


@pytest.fixture(name="text")
def _text() -> str:
    return DOCS.read_text(encoding="utf-8")


@pytest.fixture(name="parser")
def _parser() -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser().add_subparsers()
    segment.add_parser(commands)
    return commands.choices["segment"]


def test_the_options_table_is_the_parsers(text, parser):
    table = text.split("<!-- options: begin -->")[1].split("<!-- options: end -->")[0]
    rows = dict(re.findall(r"^\| `(--[^`]+)` \| (.+?) \| .+ \|$", table, re.MULTILINE))
    actions = [a for a in parser._actions if a.option_strings and "--help" not in a.option_strings]
    wanted = {}
    for action in actions:
        metavar = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
        wanted[action.option_strings[0] + metavar] = action
    assert list(rows) == list(wanted)
    for name, default in rows.items():
        action = wanted[name]
        if default.startswith("`"):
            assert default.strip("`") == (
                f"{action.default:g}" if isinstance(action.default, float) else str(action.default)
            )
        else:
            assert default in IN_WORDS
            assert action.default in (None, False, [])
            assert (default == "needed") == action.required


def test_the_examples_parse(text, parser):
    lines = re.findall(r"^ovseg segment (.+)$", text, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        options = parser.parse_args(shlex.split(line, comments=True))
        assert options.inputs
        assert options.labels


def test_the_encodings_are_those_that_are_read(text):
    row = next(line for line in text.splitlines() if line.startswith("| recording |"))
    for encoding in {*COLOUR_ENCODINGS, "16UC1", "32FC1"} - {"uyvy", "yuyv"}:
        assert ("bayer" if encoding.startswith("bayer") else encoding) in row


def test_the_limits_stand_once():
    assert segment.MAX_MEGAPIXELS * 1e6 == pictures.MAX_PIXELS
    assert segment.DEPTH_TOLERANCE_S == recordings.DEPTH_TOLERANCE_S
