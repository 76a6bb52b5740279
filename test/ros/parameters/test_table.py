"""The table of parameters: what it takes and refuses, and that the files written from it are up to date."""

from __future__ import annotations

import array
import re

import pytest
from repository import ROOT

from ovseg_ros.errors import ConfigError
from ovseg_ros.ros.parameters.docs import with_table, yaml_text
from ovseg_ros.ros.parameters.table import Settings, changed, coerce, rows, type_name


def row(name):
    return next(r for r in rows() if r.name == name)


def test_every_default_is_a_value_of_its_own_row():
    for each in rows():
        assert coerce(each, each.default) == each.default
        assert each.metadata["description"].endswith(".")


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("threshold", 1, 1.0),
        ("max_rate", 7, 7.0),
        ("vocabulary", "teapot, red mug", ("teapot", "red mug")),
        ("vocabulary", ["teapot"], ("teapot",)),
        ("vocabulary", [], ()),
        ("vocabulary", array.array("q"), ()),  # an empty list of whatever type ROS makes of it
        ("background_labels", array.array("d"), ()),
        ("image_transport", "compressed", "compressed"),
    ],
)
def test_values_that_are_taken(name, given, taken):
    assert getattr(changed(Settings(), {name: given}), name) == taken


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("threshold", 1.5, "0 to 1"),
        ("threshold", float("nan"), "0 to 1"),
        ("threshold", "high", "expected double"),
        ("threshold", True, "expected double"),
        ("max_masks", 2.0, "expected integer"),
        ("max_pending", 0, "1 to 100"),
        ("offline", 1, "expected bool"),
        ("image_transport", "theora", "raw, compressed"),
        ("vocabulary", [1, 2], "expected string array"),
        ("vocabulary", None, "expected string array"),
    ],
)
def test_values_that_are_refused_with_a_reason(name, value, reason):
    with pytest.raises(ConfigError, match=re.escape(reason)) as error:
        changed(Settings(), {name: value})
    assert name in str(error.value)


def test_other_nodes_parameters_are_passed_over():
    assert changed(Settings(), {"use_sim_time": True, "qos_overrides./x.depth": 3}) == Settings()


def test_type_names():
    assert [type_name(row(n)) for n in ("preset", "offline", "threshold", "max_masks", "vocabulary")] == [
        "string", "bool", "double", "integer", "string array",
    ]  # fmt: skip


def test_every_parameter_is_used_outside_the_table():
    sources = (ROOT / "ovseg_ros" / "ros").rglob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.name != "table.py")
    unused = [each.name for each in rows() if not re.search(rf"\.{each.name}\b|\"{each.name}\"", text)]
    assert unused == []


def test_config_file_is_the_table():
    written = (ROOT / "config" / "ovseg.yaml").read_text(encoding="utf-8")
    assert written == yaml_text(), "run python -m ovseg_ros.ros.parameters.docs"


def test_documentation_is_the_table():
    document = (ROOT / "docs" / "interfaces.md").read_text(encoding="utf-8")
    assert document == with_table(document), "run python -m ovseg_ros.ros.parameters.docs"


def test_documentation_names_every_code():
    document = (ROOT / "docs" / "interfaces.md").read_text(encoding="utf-8")
    codes = re.findall(r"^uint8 (\w+)=(\d+)", (ROOT / "msg" / "ResultCode.msg").read_text("utf-8"), re.M)
    assert len(codes) == 12
    assert [code for code in codes if f"| {code[1]} | {code[0]} |" not in document] == []
