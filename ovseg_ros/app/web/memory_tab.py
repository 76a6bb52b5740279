"""The tab of `ovseg web` that shows a robot's memory. Imports Gradio."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from ovseg_ros.app.web.html import hint_html
from ovseg_ros.app.web.memory import MAX_TEXT, look_up

if TYPE_CHECKING:
    from ovseg_ros.memory.store.store import Store


def fill_memory_tab(store: Store, tab: gr.Tab) -> None:
    """Lays out the tab, within it, and what happens there; it is looked up when the tab is opened."""
    with gr.Row(equal_height=True):
        words = gr.Textbox(
            label="What was seen",
            info="a part of its name; several with commas; empty for everything",
            placeholder="mug, key",
            max_lines=1,
            max_length=MAX_TEXT,
            scale=6,
            elem_id="memory-words",
        )
        look = gr.Button("Look up", variant="primary", scale=1, min_width=120, elem_id="memory-look")
    message = gr.HTML(hint_html("Press Look up."), elem_id="memory-message")
    drawing = gr.Image(
        label="Seen from above",
        show_label=False,  # it would lie on the drawing's own title
        format="png",
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_id="memory-map",
    )
    table = gr.HTML("", elem_id="memory-table")

    def answer(text: str | None) -> list[Any]:
        shown = look_up(store, (text or "")[:MAX_TEXT])
        if shown.is_error:
            return [f'<div class="ov-error" role="alert">{escape(shown.sentence)}</div>', None, ""]
        return [hint_html(shown.sentence), shown.drawing, shown.table]

    gr.on(
        [tab.select, look.click, words.submit],
        answer,
        words,
        [message, drawing, table],
        concurrency_id="memory",
        concurrency_limit=1,
        show_progress_on=drawing,
        api_visibility="private",
    )
