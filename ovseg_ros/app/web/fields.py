"""What a person fills in on the page of `ovseg web`: the fields of its left side. Imports Gradio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from ovseg_ros.app.web.choices import PresetChoice, generator_field, missing_text, public_name
from ovseg_ros.app.web.images import DEFAULT_FIELD_OF_VIEW_DEG
from ovseg_ros.app.web.inference import Inputs
from ovseg_ros.core.words import MAX_QUERY_BYTES


@dataclass(frozen=True)
class Fields:
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


def lay_out_fields(
    choices: Sequence[PresetChoice], missing: Sequence[PresetChoice]
) -> tuple[Fields, gr.Button]:
    """The fields and the button Submit; arguments as for `page.build_page`."""
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
    return Fields(image, words, *model_fields, *depth_fields), submit


def _as_it_is(field: gr.Image | gr.File) -> None:
    """Uploads reach us as they are.

    Gradio would decode a picture, with a message of its own on files that are none, and makes an empty file
    for each request with any other. (Not by a subclass: Gradio writes a .pyi file beside its module.)
    """
    field.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore[method-assign]


def _model_fields(
    first: PresetChoice, choices: Sequence[PresetChoice], missing: Sequence[PresetChoice]
) -> tuple[gr.Dropdown, gr.Dropdown, gr.Slider, gr.Slider]:
    """Preset, proposal generator, granularity, threshold, in the order of `Fields`."""
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
    """Depth image, field of view, intrinsics, in the order of `Fields`."""
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


def presets_on_offer(choices: Sequence[PresetChoice]) -> dict[str, str]:
    """Presets on offer by their public names."""
    offered = {choice.name for choice in choices} | {
        g.preset for choice in choices for g in choice.generators
    }
    return {public_name(name): name for name in offered}


def inputs_of(names: Mapping[str, str], *values: Any) -> Inputs:
    """What was filled in, from the values in the order of `Fields`; `names`: presets by public names."""
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
