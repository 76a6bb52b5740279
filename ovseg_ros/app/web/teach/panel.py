"""The part of the page that teaches names. Imports Gradio."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from ovseg_ros.app.web.html import hint_html
from ovseg_ros.app.web.inference import Inference, Inputs
from ovseg_ros.app.web.teach.names import MAX_NAME_BYTES, Names, checked_name
from ovseg_ros.app.web.teach.picking import Picked
from ovseg_ros.errors import OvsegError

_HINT = "Click on a thing in the overlay, type a name for it and press Teach; then look for that name."


def add_panel(
    inference: Inference,
    names: Names,
    pictures: Sequence[gr.Image],
    fields: Sequence[Any],
    inputs_of: Callable[..., Inputs],
    networks: Mapping[str, Any],
) -> None:
    """Lays it out and connects it.

    Args:
        inference: answers the requests.
        names: where they are kept.
        pictures: of the answer, in the pixels of its frame: where a click means a thing.
        fields: what a person has filled in, for `inputs_of`.
        inputs_of: makes `Inputs` of their values.
        networks: keyword arguments of events that need the networks.
    """
    with gr.Accordion("Teach a name", open=True, elem_id="teach-part"):
        message = gr.HTML(hint_html(_HINT), elem_id="teach-message")
        with gr.Row(equal_height=True):
            crop = gr.Image(
                label="What is taught",
                format="png",
                interactive=False,
                buttons=[],
                height=130,
                min_width=150,
                scale=2,
                elem_id="teach-crop",
            )
            name = gr.Textbox(
                label="Its name",
                placeholder="my mug",
                max_lines=1,
                max_length=MAX_NAME_BYTES,
                min_width=150,
                scale=3,
                elem_id="teach-name",
            )
            with gr.Column(scale=1, min_width=120):
                teach = gr.Button("Teach", variant="primary", elem_id="teach")
                forget = gr.Button("Forget", visible=not names.is_kept, elem_id="teach-forget")
    picked = gr.State(None)

    def pick(event: gr.SelectData, before: Picked | None, *values: Any) -> list[Any]:
        try:
            found, picture = inference.pick(inputs_of(*values), tuple(event.index), before)
        except OvsegError as error:
            return [_error(error), None, None]
        return [hint_html(f"This is {found.sentence}. Type its name and press Teach."), picture, found]

    def add(request: gr.Request, picked: Picked | None, text: str | None, *values: Any) -> str:
        try:
            name = checked_name(text or "")
            example = inference.example(inputs_of(*values), picked, name)
            names.keep(visitor_of(request), example)
        except OvsegError as error:
            return _error(error)
        return _done(f"Taught: {_counted(names.counts(visitor_of(request)))}. Look for it by its name.")

    def remove(request: gr.Request, text: str | None) -> str:
        try:
            name = checked_name(text or "")
            count = names.forget(visitor_of(request), name)
        except OvsegError as error:
            return _error(error)
        left = _counted(names.counts(visitor_of(request))) or "no name"
        return _done(f"{count} forgotten; known: {left}.")

    work: dict[str, Any] = {"show_progress": "hidden", **networks}
    for one in pictures:
        one.select(pick, [picked, *fields], [message, crop, picked], **work)
    gr.on([teach.click, name.submit], add, [picked, name, *fields], message, **work)
    forget.click(remove, name, message, queue=False, show_progress="hidden", api_visibility="private")


def visitor_of(request: gr.Request | None) -> str:
    """Whose request it is: each open page is a visitor."""
    return "" if request is None else str(request.session_hash or "")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count} example{'s' * (count != 1)})" for name, count in counts.items())


def _error(error: OvsegError) -> str:
    text = str(error)
    return f'<div class="ov-error" role="alert">{escape(text[:1].upper() + text[1:])}</div>'


def _done(text: str) -> str:
    return f'<div class="ov-done" role="status">{escape(text)}</div>'
