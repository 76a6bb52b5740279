"""Writes config/ovseg.yaml and the table in docs/interfaces.md from the table of parameters.

`python -m ovseg_ros.ros.parameters.docs` in the repository's root; a test compares both with the table.
"""

from __future__ import annotations

import dataclasses
import json
import textwrap
from pathlib import Path
from typing import Any

from ovseg_ros.ros.parameters.table import rows, type_name

BEGIN, END = "<!-- parameters: begin -->", "<!-- parameters: end -->"


def yaml_text() -> str:
    """config/ovseg.yaml: every parameter with its default and its description."""
    lines = [
        "# Every parameter of the node `ovseg` with its default.",
        "# Written from the table in ovseg_ros/ros/parameters/table.py",
        "# by python -m ovseg_ros.ros.parameters.docs",
        "/**:",
        "  ros__parameters:",
    ]
    for row in rows():
        lines += textwrap.wrap(
            f"{row.metadata['description']} {_limits(row)}".strip(),
            96,
            initial_indent="    # ",
            subsequent_indent="    # ",
        )
        lines.append(f"    {row.name}: {_value(row.default)}")
    return "\n".join(lines) + "\n"


def markdown_table() -> str:
    """The table of docs/interfaces.md."""
    lines = ["| parameter | type | default | range | change | meaning |", "|---|---|---|---|---|---|"]
    for row in rows():
        cells = (f"`{row.name}`", type_name(row), f"`{_value(row.default)}`", _range(row), _change(row))
        lines.append("| " + " | ".join((*cells, row.metadata["description"].replace("|", "\\|"))) + " |")
    return "\n".join(lines)


def with_table(document: str) -> str:
    """The document with the text between the two marks replaced by the table."""
    before, _, rest = document.partition(BEGIN)
    return f"{before}{BEGIN}\n{markdown_table()}\n{END}{rest.partition(END)[2]}"


def _value(default: Any) -> str:
    return json.dumps(list(default) if isinstance(default, tuple) else default, ensure_ascii=False)


def _range(row: dataclasses.Field[Any]) -> str:
    meta = row.metadata
    if meta["choices"]:
        return ", ".join(meta["choices"])
    return "" if meta["low"] is None else f"{meta['low']} to {meta['high']}"


def _change(row: dataclasses.Field[Any]) -> str:
    meta = row.metadata
    return "at start" if meta["read_only"] else "at configure" if meta["at_configure"] else "live"


def _limits(row: dataclasses.Field[Any]) -> str:
    parts = [f"Range: {_range(row)}."] if _range(row) else []
    return " ".join([*parts, f"Read {_change(row)}." if _change(row) != "live" else ""]).strip()


def main() -> None:
    """Writes both files under the working directory."""
    Path("config/ovseg.yaml").write_text(yaml_text(), encoding="utf-8")
    document = Path("docs/interfaces.md")
    document.write_text(with_table(document.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
