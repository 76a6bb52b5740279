"""YAML as people write it, within limits, or an error that names file, line and cure.

It is read by the rules of YAML 1.2: `5e-6` is a number, `no`, `1:30` and `2024-01-01` are text. What is only
ever a slip or an attack is refused: a key that stands twice or is no text, `*alias` inside of what it names,
nesting deeper than any file of ours, aliases that blow a few lines up to gigabytes.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.texts import Refuse, read_text

MAX_YAML_BYTES = 4 << 20
"""Longest YAML: the parser takes ten seconds for as much."""

MAX_DEPTH = 40
"""Collections in collections; presets have five."""

MAX_VALUES = 200_000
"""Values of a YAML document, each counted as often as aliases repeat it."""


def read_yaml(
    path: Path, *, refuse: Refuse = InvalidInputError, first: bool = False, finite: bool = True
) -> Any:
    """The content of a YAML file; see `parse_yaml`.

    Raises:
        refuse: see `texts.read_text`; or it is not YAML, or such as the module's text refuses.
    """
    text = read_text(path, refuse=refuse, max_bytes=MAX_YAML_BYTES)
    return parse_yaml(text, path, refuse=refuse, first=first, finite=finite)


def parse_yaml(
    text: str,
    where: object,
    *,
    refuse: Refuse = InvalidInputError,
    first: bool = False,
    finite: bool = True,
) -> Any:
    """The content of a YAML text: mappings with text as keys, lists, text, numbers, true, false and null.

    Args:
        text: of one document; None comes of an empty one.
        where: it comes from, for messages.
        refuse: makes the error.
        first: takes the first of several documents, as `ros2 topic echo` prints them.
        finite: refuses infinity, NaN and whole numbers of more than 64 bits.

    Raises:
        refuse: it is not YAML, or such as the module's text refuses.
    """
    try:
        loader = (_Loader if finite else _AnyNumbers)(text)
        if first:
            return loader.get_data() if loader.check_data() else None
        return loader.get_single_data()
    except _Unwanted as error:
        raise refuse(f"{where}, line {error.line}: {error.problem}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise refuse(f"{where} is not YAML: {place}{_plain(error)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise refuse(f"{where} is not YAML: line {line}: {error.reason}") from error
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError) as error:  # such as "\UFFFFFFFF"
        raise refuse(f"{where} is not YAML: {error}") from error


class _Unwanted(yaml.YAMLError):
    """Correct YAML that is refused all the same."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem)
        self.problem, self.line = problem, mark.line + 1


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema, within the module's limits, which are kept while nodes are made."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}
    yaml_constructors: ClassVar[dict[Any, Any]] = {}
    finite = True

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._open: set[str] = set()
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self._open:
                raise _Unwanted(f"*{event.anchor} stands inside of what it names", event.start_mark)
            return super().compose_node(parent, index)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Unwanted(f"expected at most {MAX_DEPTH} levels, it nests deeper", event.start_mark)
        self._open.add(event.anchor)
        node = super().compose_node(parent, index)
        self._open.discard(event.anchor)
        self._depth -= 1
        parts = [] if isinstance(node, yaml.ScalarNode) else node.value
        pairs = [part for pair in parts for part in pair] if isinstance(node, yaml.MappingNode) else parts
        size = self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in pairs)
        if size > MAX_VALUES:
            raise _Unwanted(
                f"expected at most {MAX_VALUES} values, got more with the aliases", event.start_mark
            )
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            merges = key.tag == "tag:yaml.org,2002:merge"
            if not merges and key.tag != "tag:yaml.org,2002:str":
                shown = key.value if isinstance(key, yaml.ScalarNode) else "a collection"
                raise _Unwanted(
                    f"expected text as a key, got {shown}: put it in quotation marks", key.start_mark
                )
            if key.value in seen:
                raise _Unwanted(f"the key {key.value!r:.60} stands twice in one mapping", key.start_mark)
            seen.add(key.value)
        return node


class _AnyNumbers(_Loader):
    finite = False


def _whole_number(loader: _Loader, node: Any) -> int:
    text = str(loader.construct_scalar(node))
    base = {"0x": 16, "0o": 8}.get(text.lstrip("+-")[:2].lower(), 10)
    try:
        value = int(text, base)
    except ValueError as error:  # also where there are thousands of digits
        raise _Unwanted(f"expected a whole number, got {text[:60]!r}", node.start_mark) from error
    if loader.finite and abs(value) >= 2**63:
        raise _Unwanted(f"expected a number of at most 64 bits, got {text[:60]}", node.start_mark)
    return value


def _number(loader: _Loader, node: Any) -> float:
    text = str(loader.construct_scalar(node))
    try:
        value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise _Unwanted(f"expected a number, got {text[:60]!r}", node.start_mark) from error
    if loader.finite and not math.isfinite(value):
        raise _Unwanted(f"expected a finite number, got {text[:60]}", node.start_mark)
    return value


def _truth(loader: _Loader, node: Any) -> bool:
    text = str(loader.construct_scalar(node)).lower()
    if text not in ("true", "false"):
        raise _Unwanted(f"expected true or false, got {text[:60]!r}", node.start_mark)
    return text == "true"


for _tag, _pattern, _starts in (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|[-+]?0o[0-7]+|[-+]?0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("merge", r"<<", "<"),
):
    _starts_with = [*_starts, ""] if _tag == "null" else [*_starts]  # an empty value is null
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _starts_with)
for _tag, _constructor in (
    ("null", yaml.SafeLoader.construct_yaml_null),
    ("bool", _truth),
    ("int", _whole_number),
    ("float", _number),
    ("str", yaml.SafeLoader.construct_yaml_str),
    ("seq", yaml.SafeLoader.construct_yaml_seq),
    ("map", yaml.SafeLoader.construct_yaml_map),
):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _constructor)
_Loader.add_constructor(None, yaml.SafeLoader.construct_undefined)


def _plain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or str(error)
    return f"{problem}; indent by spaces" if "'\\t'" in problem else problem
