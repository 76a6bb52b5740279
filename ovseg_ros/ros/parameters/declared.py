"""The table's parameters on a node: declared with type and range, set, and true to what is in force."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.parameter import Parameter

from ovseg_ros.errors import ConfigError
from ovseg_ros.ros.parameters.table import Settings, changed, coerce, rows

_TYPES = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    tuple: Parameter.Type.STRING_ARRAY,
}


def declare(
    node: Any, name: str, default: Any, descriptor: ParameterDescriptor, coerced: Callable[[Any], Any]
) -> Any:
    """Declares a parameter of its default's type, and gives its value.

    rclpy ends a node whose command line or file has 1 where 1.0 is wanted, or one word where a list is: here
    the value is first taken as it came, and then told its type.

    Args:
        node: Declares it.
        name: Of the parameter.
        default: A bool, int, float, str or tuple of str.
        descriptor: Description and range; the type is filled in.
        coerced: From a value of whatever type to one of the default's.

    Raises:
        ConfigError: by `coerced`, the value cannot be.
    """
    parameter = Parameter(
        name, _TYPES[type(default)], list(default) if isinstance(default, tuple) else default
    )
    as_it_came = ParameterDescriptor(description=descriptor.description, dynamic_typing=True)
    value = coerced(node.declare_parameter(name, parameter.value, as_it_came).value)
    typed = Parameter(name, parameter.type_, list(value) if isinstance(value, tuple) else value)
    descriptor.type = parameter.type_.value
    node.set_descriptor(name, descriptor, typed.get_parameter_value())
    return value


class NodeParameters:
    """Declares the table on a node and keeps `settings` true to it.

    `settings` is one immutable object that is swapped as a whole: a reader on any thread takes it once
    and sees one consistent moment.
    """

    def __init__(
        self,
        node: Any,
        check: Callable[[Settings], None],
        apply: Callable[[Settings, Settings], None],
        *,
        is_configured: Callable[[], bool] = lambda: False,
    ) -> None:
        """Declares every row.

        Args:
            node: Declares the parameters.
            check: Called with new settings before they hold; raises ConfigError to refuse them.
            apply: Called with the old and the new settings once they hold.
            is_configured: Whether there is a model, which a row `at_configure` does not change any more.

        Raises:
            ConfigError: an initial value (command line or file) is wrong.
        """
        self._lock = threading.Lock()
        self._node, self._check, self._apply, self._is_configured = node, check, apply, is_configured
        self.settings = changed(Settings(), {row.name: self._declare(row) for row in rows()})
        node.add_on_set_parameters_callback(self._on_set)

    def set(
        self,
        parameters: Sequence[Parameter],
        set_atomically: Callable[[list[Parameter]], SetParametersResult],
    ) -> SetParametersResult:
        """Sets what a command line, a panel or another node asks for, by the node's own method.

        Values are coerced to the types of the table, of which rclpy would refuse 1 for 1.0. The reason of a
        success says what has to be done for it to take effect, if anything: rclpy's is always empty.
        """
        before = self.settings
        try:
            typed = [self._typed(parameter) for parameter in parameters]
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        result = set_atomically(typed)
        waiting = [row.name for row in rows() if row.metadata["at_configure"] and self._differs(row, before)]
        if result.successful and waiting and self._is_configured():
            result.reason = f"{', '.join(waiting)}: takes effect at the next configure"
            self._node.get_logger().warning(
                f"{result.reason} (ros2 lifecycle set {self._node.get_fully_qualified_name()} deactivate, "
                "cleanup, configure, activate)"
            )
        return result

    def show(self, **values: Any) -> None:
        """Has parameters tell what came into force by another way; nothing is checked or applied again."""
        with self._lock:
            self.settings = dataclasses.replace(self.settings, **values)
        table = {row.name: row for row in rows()}
        self._node.set_parameters([_parameter(table[name], value) for name, value in values.items()])

    def _differs(self, row: dataclasses.Field[Any], before: Settings) -> bool:
        return bool(getattr(self.settings, row.name) != getattr(before, row.name))

    def _typed(self, parameter: Parameter) -> Parameter:
        row = next((row for row in rows() if row.name == parameter.name), None)
        return parameter if row is None else _parameter(row, coerce(row, parameter.value))

    def _declare(self, row: dataclasses.Field[Any]) -> Any:
        meta = row.metadata
        descriptor = ParameterDescriptor(description=meta["description"], read_only=meta["read_only"])
        if meta["choices"]:
            descriptor.additional_constraints = "one of: " + ", ".join(meta["choices"])
        elif isinstance(row.default, tuple):
            descriptor.additional_constraints = "or one string with commas"
        elif isinstance(row.default, float):
            limits = FloatingPointRange(from_value=float(meta["low"]), to_value=float(meta["high"]))
            descriptor.floating_point_range = [limits]
        elif meta["low"] is not None:
            descriptor.integer_range = [IntegerRange(from_value=meta["low"], to_value=meta["high"], step=1)]
        return declare(self._node, row.name, row.default, descriptor, lambda value: _initial(row, value))

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        with self._lock:
            try:
                new = changed(self.settings, {parameter.name: parameter.value for parameter in parameters})
                self._check(new)
            except ConfigError as error:
                return SetParametersResult(successful=False, reason=str(error))
            old, self.settings = self.settings, new
        self._apply(old, new)
        return SetParametersResult(successful=True)


def _initial(row: dataclasses.Field[Any], value: Any) -> Any:
    """As `coerce`; `[]` in a file or on a command line comes as None."""
    return () if value is None and isinstance(row.default, tuple) else coerce(row, value)


def _parameter(row: dataclasses.Field[Any], value: Any) -> Parameter:
    return Parameter(row.name, _TYPES[type(row.default)], list(value) if isinstance(value, tuple) else value)
