"""The answer's legend, table and messages as HTML, everything escaped; and the page's style sheet."""

from __future__ import annotations

from html import escape

from ovseg_ros.app.web.results import Answer, LegendRow, MaskRow, counted_masks
from ovseg_ros.core.overlay import UNLABELLED_COLOUR, Colour

NONE = "-"
"""Stands in a table's cell that has nothing to say."""

STYLE = """
.gradio-container { max-width: 1360px !important; margin: 0 auto !important; }
footer { display: none !important; }
#title h1 { margin: 0 0 2px; font-size: 26px; }
#title p { margin: 0; color: var(--body-text-color-subdued); font-size: 15px; }
#examples { align-items: center; flex-wrap: wrap; }
#examples button { font-weight: 500; flex: 0 1 auto; padding: 5px 14px 5px 6px; }
#examples button img { width: 64px; height: 48px; object-fit: cover; border-radius: 5px; }
.ov-error { padding: 10px 14px; border-radius: 8px; border-left: 5px solid #c62828; background: #fdecea;
  color: #7f1d1d; font-size: 15px; }
.ov-done { padding: 8px 14px; border-radius: 8px; border-left: 5px solid #2e7d32; background: #edf7ee;
  color: #1b3d1d; font-size: 15px; }
.ov-done b { color: inherit !important; }
.ov-done ul { margin: 4px 0 0; padding-left: 20px; }
.ov-done .ov-timing { color: #47604a; font-size: 13px; margin-top: 2px; }
.ov-hint { padding: 8px 14px; color: var(--body-text-color-subdued); font-size: 15px; }
.ov-legend { display: flex; flex-wrap: wrap; gap: 8px 22px; padding: 2px 4px; font-size: 15px; }
.ov-legend .ov-absent { opacity: 0.6; }
.ov-swatch { display: inline-block; width: 15px; height: 15px; border-radius: 4px; margin-right: 7px;
  vertical-align: -2px; border: 1px solid rgba(0, 0, 0, 0.25); }
.ov-legend small { color: var(--body-text-color-subdued); margin-left: 5px; font-size: 13px; }
.ov-scroll { overflow-x: auto; max-height: 420px; overflow-y: auto; }
table.ov-masks { border-collapse: collapse; width: 100%; font-size: 13.5px; margin: 0;
  border: 0 !important; }
table.ov-masks thead, table.ov-masks tbody, table.ov-masks tr { border: 0 !important; }
table.ov-masks th, table.ov-masks td { padding: 5px 7px; text-align: right; white-space: nowrap;
  border: 0 !important; border-bottom: 1px solid var(--border-color-primary) !important;
  font-variant-numeric: tabular-nums; }
table.ov-masks th { font-weight: 600; position: sticky; top: 0;
  background: var(--background-fill-secondary); }
table.ov-masks .ov-text { text-align: left; }
table.ov-masks tr.ov-unlabelled td { color: var(--body-text-color-subdued); }
"""


def message_html(answer: Answer) -> str:
    """The error, or what was found in one sentence with remarks and timing."""
    if answer.error:
        sentence = answer.error[:1].upper() + answer.error[1:]
        return f'<div class="ov-error" role="alert">{escape(sentence)}</div>'
    labelled = [row for row in answer.legend if row.masks]
    found = ", ".join(f"{escape(row.name)} ({row.masks})" for row in labelled)
    sentence = f"Found: {found}." if found else "Nothing found."
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in answer.remarks)
    return (
        f'<div class="ov-done" role="status"><b>{sentence}</b>{f"<ul>{remarks}</ul>" if remarks else ""}'
        f'<div class="ov-timing">{escape(answer.timing)}</div></div>'
    )


def hint_html(text: str) -> str:
    """What stands where the answer will be."""
    return f'<div class="ov-hint">{escape(text)}</div>'


def legend_html(rows: tuple[LegendRow, ...]) -> str:
    """Each word with its colour and the share of the picture it covers; "" without rows."""
    if not rows:
        return ""
    return f'<div class="ov-legend">{"".join(_legend_entry(row) for row in rows)}</div>'


def _legend_entry(row: LegendRow) -> str:
    note = f"{counted_masks(row.masks)}, {100 * row.share:.1f} %" if row.masks else "not found"
    return (
        f'<span class="{"ov-entry" if row.masks else "ov-entry ov-absent"}">{_swatch(row.colour)}'
        f"<b>{escape(row.name)}</b><small>{note}</small></span>"
    )


def table_html(rows: tuple[MaskRow, ...]) -> str:
    """One line per mask; "" without rows."""
    if not rows:
        return ""
    heads = (
        ("mask", "the mask's number among those proposed", False),
        ("label", "the word whose probability reaches the threshold", True),
        ("score", "probability of the best word", False),
        ("margin", "how far that is above what came second; near 0 the word is a guess", False),
        ("runner-up", "what came second, asked for or not; without a label, the nearest word asked", True),
        ("area (pixels)", "and share of the picture", False),
        ("box (x, y to x, y)", "first and last column and row inside", False),
        ("proposal score", "how sure the generator is that this is one thing", False),
    )
    head = "".join(
        f'<th title="{escape(hint)}"{_text(is_text)}>{escape(name)}</th>' for name, hint, is_text in heads
    )
    body = "".join(_table_line(row) for row in rows)
    return (
        '<div class="ov-scroll"><table class="ov-masks"><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _table_line(row: MaskRow) -> str:
    x0, y0, x1, y1 = row.box_xyxy
    cells = (
        (str(row.number), False),
        (
            _swatch(row.colour if row.colour and row.painted else UNLABELLED_COLOUR) + _label(row),
            True,
        ),
        (NONE if row.score is None else f"{row.score:.2f}", False),
        (NONE if row.margin is None else f"{row.margin:.2f}", False),
        (f"{escape(row.runner_up)} {row.runner_up_score:.2f}" if row.runner_up else NONE, True),
        (f"{row.area_px:,} ({100 * row.area_share:.1f} %)", False),
        (f"{x0}, {y0} to {x1}, {y1}", False),
        (f"{row.proposal_score:.2f}", False),
    )
    line = "".join(f"<td{_text(is_text)}>{cell}</td>" for cell, is_text in cells)
    unlabelled = "" if row.label else ' class="ov-unlabelled"'
    return f"<tr{unlabelled}>{line}</tr>"


def _label(row: MaskRow) -> str:
    if not row.label:
        return f"{NONE} {escape(row.remark)}" if row.remark else NONE
    return f"<b>{escape(row.label)}</b>{'' if row.painted else ' (left out by granularity)'}"


def _text(is_text: bool) -> str:
    return ' class="ov-text"' if is_text else ""


def _swatch(colour: Colour) -> str:
    return f'<span class="ov-swatch" style="background: #{"".join(f"{part:02x}" for part in colour)}"></span>'
