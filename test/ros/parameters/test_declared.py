"""The table's parameters on a node: types and ranges, and what command lines and files may say."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from domains import fresh_domains
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from ovseg_ros.errors import ConfigError
from ovseg_ros.ros.parameters.declared import NodeParameters, declare
from ovseg_ros.ros.parameters.table import rows

pytestmark = pytest.mark.ros
_domains = fresh_domains()
TYPES = {bool: "BOOL", int: "INTEGER", float: "DOUBLE", str: "STRING", tuple: "STRING_ARRAY"}


def table_of(*arguments):
    """The parameters of a node that was started with these arguments."""
    context = Context()
    given = [word for argument in arguments for word in ("-p", argument)]
    rclpy.init(args=["--ros-args", *given] if given else [], context=context, domain_id=next(_domains))
    node = Node("ovseg", context=context)
    try:
        table = NodeParameters(node, lambda new: None, lambda old, new: None)
        shown = {name: parameter.value for name, parameter in node._parameters.items()}
        return node, table.settings, shown
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_every_parameter_is_described_with_its_type_and_range():
    node, _, _ = table_of()
    for row in rows():
        descriptor = node.describe_parameter(row.name)
        assert descriptor.description == row.metadata["description"]
        assert not descriptor.dynamic_typing, row.name
        assert Parameter.Type(descriptor.type).name == TYPES[type(row.default)], row.name
        assert descriptor.read_only == row.metadata["read_only"]
        ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
        wanted = [] if row.metadata["low"] is None else [(row.metadata["low"], row.metadata["high"])]
        assert [(limits.from_value, limits.to_value) for limits in ranges] == wanted, row.name
        for choice in row.metadata["choices"]:
            assert choice in descriptor.additional_constraints


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("threshold:=1", "threshold", 1.0),
        ("max_rate:=7.5", "max_rate", 7.5),
        ("vocabulary:=teapot", "vocabulary", ("teapot",)),
        ("vocabulary:=teapot, red mug", "vocabulary", ("teapot", "red mug")),
        ("vocabulary:=[teapot, red mug]", "vocabulary", ("teapot", "red mug")),
        ("vocabulary:=[]", "vocabulary", ()),
        ("max_masks:=9", "max_masks", 9),
        ("offline:=false", "offline", False),
    ],
)
def test_a_command_line_is_taken_as_people_write_it(argument, name, value):
    node, settings, shown = table_of(argument)
    assert getattr(settings, name) == value
    assert type(shown[name]) is (list if isinstance(value, tuple) else type(value))
    assert shown[name] == (list(value) if isinstance(value, tuple) else value)
    assert not node.describe_parameter(name).dynamic_typing


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("threshold:=high", "parameter threshold: expected double, got 'high'"),
        ("threshold:=1.5", "parameter threshold: expected 0 to 1, got 1.5"),
        ("max_masks:=2.5", "parameter max_masks: expected integer, got 2.5"),
        ("vocabulary:=[1, 2]", "parameter vocabulary: expected string array"),
    ],
)
def test_a_command_line_that_cannot_be_is_said_by_name(argument, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        table_of(argument)


def test_a_read_only_parameter_stays_so():
    context = Context()
    rclpy.init(args=["--ros-args", "-p", "rate:=5"], context=context, domain_id=next(_domains))
    node = Node("camera", context=context)
    try:
        assert declare(node, "rate", 1.0, ParameterDescriptor(read_only=True), float) == 5.0
        result = node.set_parameters([Parameter("rate", value=6.0)])[0]
        assert not result.successful
        assert "read-only" in result.reason
    finally:
        node.destroy_node()
        context.try_shutdown()
