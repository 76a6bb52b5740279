"""Writes the table of weights files into docs/weights.md anew; a test compares the two.

`python scripts/weights_table.py`
"""

from __future__ import annotations

import re
from pathlib import Path

from ovseg_ros.models.downloads.files import KnownFile, known_files, size_text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "weights.md"
_BEGIN, _END = "<!-- table: begin (python scripts/weights_table.py) -->", "<!-- table: end -->"


def markdown_table() -> str:
    """One line per file of the table, in its order."""
    lines = ["| file | size | licence | from | checked by | presets |", "|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(_cells(file))} |" for file in known_files()]
    return "\n".join(lines)


def _cells(file: KnownFile) -> list[str]:
    source = f"made from `{file.converted_from}`"
    if file.converted_from is None:
        source = f"[page]({file.source_page})" + (f", [file]({file.url})" if file.url else ", by hand")
    return [
        f"`{file.name}`: {file.note}",
        size_text(file.size),
        f"**{file.licence}**" if file.non_commercial else file.licence,
        source,
        re.sub(r"(\S+…)", r"`\1`", file.checked_by),
        ", ".join(f"`{preset}`" for preset in file.presets) or "your own",
    ]


def with_table(document: str) -> str:
    """The document with the lines between its two marks replaced by the table."""
    head, _, rest = document.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    return f"{head}{_BEGIN}\n{markdown_table()}\n{_END}{tail}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
