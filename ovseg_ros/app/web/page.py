"""The layout of `ovseg web`: fields, buttons, what happens on which event. Imports Gradio.

What is computed is in `inference`, how it looks as HTML in `html`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from ovseg_ros.app.web.choices import Example, PresetChoice, generator_field, missing_text, public_name
from ovseg_ros.app.web.html import hint_html, legend_html, message_html, table_html
from ovseg_ros.app.web.images import DEFAULT_FIELD_OF_VIEW_DEG
from ovseg_ros.app.web.inference import Inference, Inputs
from ovseg_ros.app.web.memory_tab import fill_memory_tab
from ovseg_ros.core.words import MAX_QUERY_BYTES

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
_HINT = "Press an example, or upload an image, type class names and press Submit."


@dataclass(frozen=True)
class _Fields:
    """What a person fills in, in the order of `Inputs`."""

    image: gr.Image
    words: gr.Textbox
    preset: gr.Dropdown
    generator: gr.Dropdown
    granularity: gr.Slider
    threshold: gr.Slider
    depth: gr.File
    field_of_view: gr.Number
    camera: gr.Textbox

    def inputs(self) -> list[Any]:
        """Those that `Inputs` takes."""
        return list(vars(self).values())


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
        memory: what a robot remembers, shown on a tab of its own; None: there are no tabs.

    Returns:
        The page, to be served; analytics are off.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(_ABOUT, elem_id="title")
        if memory is None:
            _lay_out(inference, choices, missing, examples)
        else:
            with gr.Tab("Find"):
                _lay_out(inference, choices, missing, examples)
            with gr.Tab("Memory", elem_id="memory") as tab:
                fill_memory_tab(memory, tab)
    # Closed to requests that would go round the queue: it alone keeps the networks' work to one at a time.
    page.queue(default_concurrency_limit=1, max_size=MAX_WAITING, api_open=False)
    return page


def _lay_out(
    inference: Inference,
    choices: Sequence[PresetChoice],
    missing: Sequence[PresetChoice],
    examples: Sequence[Example],
) -> None:
    """All that finds things in pictures; arguments as for `build_page`."""
    buttons = _examples(examples)
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            fields, submit = _left(choices, missing)
        with gr.Column(scale=9, min_width=320):
            outputs = _right()
    _wire(inference, choices, examples, fields, submit, buttons, outputs)


def _examples(examples: Sequence[Example]) -> list[gr.Button]:
    if not examples:
        return []
    with gr.Row(elem_id="examples", equal_height=True):
        return [
            gr.Button(example.title, icon=example.image, size="md", elem_id=f"example-{number}")
            for number, example in enumerate(examples)
        ]


def _left(choices: Sequence[PresetChoice], missing: Sequence[PresetChoice]) -> tuple[_Fields, gr.Button]:
    image = gr.Image(
        label="Image",
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        height=240,
        elem_id="image",
    )
    _as_it_is(image)
    words = gr.Textbox(
        label="Class names",
        info="separated by commas; any words",
        placeholder="teapot, mug",
        max_length=MAX_QUERY_BYTES,
        elem_id="words",
    )
    submit = gr.Button("Submit", variant="primary", elem_id="submit")
    model_fields = _model_fields(choices[0], choices, missing)
    depth_fields = _depth_fields()
    return _Fields(image, words, *model_fields, *depth_fields), submit


def _as_it_is(field: gr.Image | gr.File) -> None:
    """Uploads reach us as they are.

    Gradio would decode a picture, with a message of its own on files that are none, and makes an empty file
    for each request with any other. (Not by a subclass: Gradio writes a .pyi file beside its module.)
    """
    field.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore[method-assign]


def _model_fields(
    first: PresetChoice, choices: Sequence[PresetChoice], missing: Sequence[PresetChoice]
) -> tuple[gr.Dropdown, gr.Dropdown, gr.Slider, gr.Slider]:
    """Preset, proposal generator, granularity, threshold, in the order of `_Fields`."""
    preset = gr.Dropdown(
        [(choice.title, public_name(choice.name)) for choice in choices],
        value=public_name(first.name),
        label="Preset",
        info=missing_text(missing),
        interactive=True,
        elem_id="preset",
    )
    generator = gr.Dropdown(
        **generator_field(first),
        label="Proposal generator",
        info="cuts the picture into masks",
        elem_id="generator",
    )
    with gr.Row():
        granularity = gr.Slider(
            0.0,
            1.0,
            value=0.0,
            step=0.01,
            label="Granularity",
            info="0 coarse: all masks; 1 precise: the best mask of each word",
            min_width=150,
            elem_id="granularity",
        )
        threshold = gr.Slider(
            0.0,
            1.0,
            value=first.threshold,
            step=0.01,
            label="Threshold",
            info="probability from which a mask gets a word",
            min_width=150,
            elem_id="threshold",
        )
    return preset, generator, granularity, threshold


def _depth_fields() -> tuple[gr.File, gr.Number, gr.Textbox]:
    """Depth image, field of view, intrinsics, in the order of `_Fields`."""
    with gr.Accordion("Depth, registered to the image", open=True, elem_id="depth-part"):
        depth = gr.File(
            label="16-bit PNG in millimetres",
            file_types=[".png", ".tif", ".tiff", ".npy"],
            height=135,
            elem_id="depth",
        )
        _as_it_is(depth)
        with gr.Row():
            field_of_view = gr.Number(
                DEFAULT_FIELD_OF_VIEW_DEG,
                label="Field of view (°)",
                info="horizontal, or a guess",
                min_width=130,
                elem_id="field-of-view",
            )
            camera = gr.Textbox(
                label="fx, fy, cx, cy (pixels)",
                info="instead, where known",
                max_lines=1,
                placeholder="580, 580, 320, 240",
                max_length=200,
                min_width=130,
                elem_id="camera",
            )
    return depth, field_of_view, camera


def _right() -> list[Any]:
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
    table = gr.HTML("", elem_id="table")
    return [message, *pictures, legend, table, gr.State(False)]


def _wire(
    inference: Inference,
    choices: Sequence[PresetChoice],
    examples: Sequence[Example],
    fields: _Fields,
    submit: gr.Button,
    buttons: Sequence[gr.Button],
    outputs: list[Any],
) -> None:
    """Connects events with functions; those that need the networks wait for each other."""
    by_name = {public_name(choice.name): choice for choice in choices}
    offered = {choice.name for choice in choices} | {
        g.preset for choice in choices for g in choice.generators
    }
    names = {public_name(name): name for name in offered}
    answered = outputs[-1]

    def answer(*values: Any) -> list[Any]:
        given = inference.answer(_inputs(names, *values))
        return [
            message_html(given),
            given.map_rgb,
            given.overlay_rgb,
            legend_html(given.legend),
            table_html(given.masks),
            not given.error,
        ]

    def answer_again(was_answered: bool, *values: Any) -> list[Any]:
        return answer(*values) if was_answered else [gr.skip()] * len(outputs)

    def of_preset(name: str) -> list[Any]:
        choice = by_name[name]
        return [gr.Dropdown(**generator_field(choice)), choice.threshold]

    networks: dict[str, Any] = {
        "outputs": outputs,
        "concurrency_id": "networks",
        "concurrency_limit": 1,
        "show_progress_on": outputs[1:3],
        "api_visibility": "private",
    }
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


def _inputs(names: Mapping[str, str], *values: Any) -> Inputs:
    """What was filled in, from the values in the order of `_Fields`; `names`: presets by public names."""
    image, words, preset, generator, granularity, threshold, depth, field_of_view, camera = values
    return Inputs(
        image=None if image is None else Path(image),
        words=words or "",
        preset=names[preset],
        proposals_from=None if generator == preset else names[generator],
        granularity=granularity,
        threshold=threshold,
        depth=None if depth is None else Path(depth),
        field_of_view_deg=field_of_view,
        camera=camera or "",
    )
