"""The layout of `ovseg web`: fields, buttons, what happens on which event. Imports Gradio.

What is computed is in `inference`, how it looks as HTML in `html`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ovseg_ros.app.web.choices import Example, PresetChoice, generator_field, public_name
from ovseg_ros.app.web.fields import Fields, inputs_of, lay_out_fields, presets_on_offer
from ovseg_ros.app.web.html import hint_html, legend_html, message_html, table_html
from ovseg_ros.app.web.inference import Inference
from ovseg_ros.app.web.memory_tab import fill_memory_tab
from ovseg_ros.app.web.teach.names import Names
from ovseg_ros.app.web.teach.panel import add_panel, visitor_of

if TYPE_CHECKING:
    from ovseg_ros.memory.store.store import Store

TITLE = "ovseg: find things by name"
_ABOUT = (
    "# Find things by name\n"
    "Upload a picture and type what to look for, in any words: the proposal generator cuts out whatever "
    "stands out, and a CLIP adapted to masked images says which word each mask is."
)
MAX_WAITING = 32
"""Requests that may wait for the networks; more are told that the page is busy."""
NETWORKS: dict[str, Any] = {
    "concurrency_id": "networks",
    "concurrency_limit": 1,
    "api_visibility": "private",
}
"""What events have in common that need the networks, and so wait for each other."""
_HINT = "Press an example, or upload an image, type class names and press Submit."


def build_page(
    inference: Inference,
    choices: Sequence[PresetChoice],
    *,
    missing: Sequence[PresetChoice] = (),
    examples: Sequence[Example] = (),
    memory: Store | None = None,
) -> gr.Blocks:
    """Lays out the page.

    Args:
        inference: answers the requests.
        choices: presets on offer, at least one; the first is chosen at the start.
        missing: presets that lack weights here, named with the command that gets them.
        examples: what can be pressed; its presets must be among `choices`.
        memory: what a robot remembers, shown on a tab of its own, where names that are taught are kept; None:
            there are no tabs, and each visitor has names of his own.

    Returns:
        The page, to be served; analytics are off.
    """
    names = Names(memory)
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(_ABOUT, elem_id="title")
        if memory is None:
            _lay_out(inference, names, choices, missing, examples)
        else:
            with gr.Tab("Find"):
                _lay_out(inference, names, choices, missing, examples)
            with gr.Tab("Memory", elem_id="memory") as tab:
                fill_memory_tab(memory, tab)
    # Closed to requests that would go round the queue: it alone keeps the networks' work to one at a time.
    page.queue(default_concurrency_limit=1, max_size=MAX_WAITING, api_open=False)
    return page


def _lay_out(
    inference: Inference,
    names: Names,
    choices: Sequence[PresetChoice],
    missing: Sequence[PresetChoice],
    examples: Sequence[Example],
) -> None:
    """All that finds things in pictures; arguments as for `build_page`."""
    buttons = _examples(examples)
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            fields, submit = lay_out_fields(choices, missing)
        with gr.Column(scale=9, min_width=320):
            answer = _answer_fields()
            by_name = presets_on_offer(choices)
            shown = answer[1:3]
            add_panel(
                inference,
                names,
                shown,
                fields.inputs(),
                lambda *values: inputs_of(by_name, *values),
                NETWORKS,
            )
            outputs = [*answer, gr.HTML("", elem_id="table"), gr.State(False)]
    _wire(inference, names, choices, examples, fields, submit, buttons, outputs)


def _examples(examples: Sequence[Example]) -> list[gr.Button]:
    if not examples:
        return []
    with gr.Row(elem_id="examples", equal_height=True):
        return [
            gr.Button(example.title, icon=example.image, size="md", elem_id=f"example-{number}")
            for number, example in enumerate(examples)
        ]


def _answer_fields() -> list[Any]:
    """Message, map, overlay and legend."""
    message = gr.HTML(hint_html(_HINT), elem_id="message")
    with gr.Row():
        pictures = [
            gr.Image(
                label=label,
                format="png",
                interactive=False,
                buttons=["download", "fullscreen"],
                min_width=260,
                elem_id=name,
            )
            for label, name in (("Segmentation map", "map"), ("Overlay", "overlay"))
        ]
    legend = gr.HTML("", elem_id="legend")
    return [message, *pictures, legend]


def _wire(
    inference: Inference,
    names: Names,
    choices: Sequence[PresetChoice],
    examples: Sequence[Example],
    fields: Fields,
    submit: gr.Button,
    buttons: Sequence[gr.Button],
    outputs: list[Any],
) -> None:
    """Connects events with functions; those that need the networks wait for each other."""
    by_name = {public_name(choice.name): choice for choice in choices}
    presets = presets_on_offer(choices)
    answered = outputs[-1]

    def answer(request: gr.Request, *values: Any) -> list[Any]:
        given = inference.answer(inputs_of(presets, *values), names.examples(visitor_of(request)))
        return [
            message_html(given),
            given.map_rgb,
            given.overlay_rgb,
            legend_html(given.legend),
            table_html(given.masks),
            not given.error,
        ]

    def answer_again(request: gr.Request, was_answered: bool, *values: Any) -> list[Any]:
        return answer(request, *values) if was_answered else [gr.skip()] * len(outputs)

    def of_preset(name: str) -> list[Any]:
        choice = by_name[name]
        return [gr.Dropdown(**generator_field(choice)), choice.threshold]

    networks = {"outputs": outputs, "show_progress_on": outputs[1:3], **NETWORKS}
    at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    gr.on([submit.click, fields.words.submit], answer, fields.inputs(), **networks)
    gr.on(
        [fields.threshold.input, fields.granularity.input],
        answer_again,
        [answered, *fields.inputs()],
        trigger_mode="always_last",
        **networks,
    )
    of_the_preset = [fields.generator, fields.threshold]
    fields.preset.input(of_preset, fields.preset, of_the_preset, **at_once)
    filled = [fields.image, fields.words, fields.preset, fields.depth, fields.camera, *of_the_preset]
    for button, example in zip(buttons, examples, strict=True):

        def fill(example: Example = example) -> list[Any]:
            files = [str(example.image), example.words, public_name(example.preset), str(example.depth)]
            return [*files, example.camera, *of_preset(public_name(example.preset))]

        button.click(fill, None, filled, **at_once).then(answer, fields.inputs(), **networks)

    of_examples = {example.depth.name for example in examples}

    def forget_example(depth: str | None, camera: str) -> list[Any]:
        """An example's depth does not belong to a picture that is uploaded after it."""
        return [None, ""] if depth and Path(depth).name in of_examples else [depth, camera]

    belonging = [fields.depth, fields.camera]
    fields.image.upload(forget_example, belonging, belonging, **at_once)
