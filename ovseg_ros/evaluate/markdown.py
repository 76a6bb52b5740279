"""What every report of a measurement has in common: JSON for programs, Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def row(cells: Sequence[str]) -> str:
    """One line of a table; see `cell` for text that is not ours."""
    return f"| {' | '.join(cells)} |"


def cell(text: str) -> str:
    """Text that cannot end its cell."""
    return " ".join(text.split()).replace("|", "\\|")


def write_report(
    out: Path,
    name: str,
    content: Mapping[str, Any],
    made_with: Mapping[str, Any],
    title: str,
    body: Sequence[str],
) -> None:
    """NAME.json with the content, and NAME.md with title and body; both say what they were made with.

    Args:
        out: the folder, made where needed.
        name: of the files, without their ending.
        content: for JSON; no NaN.
        made_with: see `scores.provenance.made_with`.
        title: of the page.
        body: its lines.
    """
    out.mkdir(parents=True, exist_ok=True)
    document = {**content, "made_with": dict(made_with)}
    text = [f"# {title}", "", *body, "", *_provenance(made_with)]
    (out / f"{name}.json").write_text(
        json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    (out / f"{name}.md").write_text("\n".join(text) + "\n", encoding="utf-8")


def _provenance(made_with: Mapping[str, Any]) -> list[str]:
    lines = ["## Made with", "", row(["", ""]), row(["---", "---"])]
    for name, value in made_with.items():
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(row([name, f"`{cell(shown)}`"]))
    return lines
