"""The step of labelling that holds a colour that a name says against the mask's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.core.colours.measure import (
    MAX_RIM_PIXELS,
    colour_codes,
    colour_share,
    inner,
    is_neutral,
    seen_colour,
    vivid_share,
)
from ovseg_ros.core.colours.names import NamedColours, named_colours
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions import mask_boxes

MISFIT, FIT = 0.08, 0.25
"""The share of a mask's pixels at and below which a colour is clearly absent, and from which nothing is said
against it: a mug with a red pattern may be called red, and light from one side hides half of what is red."""

SOME_HUE, MUCH_HUE = 0.25, 0.45
"""The share of vivid pixels up to which a thing may be called white, grey or black, and from which it may
not: a red mug is white inside and a white one may bear a print, but a thing is named by the hue it has."""

MAX_PIXELS = 4096
"""Of a mask with more pixels each second, third … is looked at, so that a large one costs no more."""


def fit_of(share: float | None, vivid: float = 0.0) -> float:
    """What a probability is multiplied by: 0 for a clear misfit, 1 where the colour is there or not known.

    Args:
        share: of the mask's pixels that are of the colour; None: not known.
        vivid: of its pixels that have a hue, where the colour asked for has none.
    """
    if share is None:
        return 1.0
    there = min(max((share - MISFIT) / (FIT - MISFIT), 0.0), 1.0)
    return there * min(max((MUCH_HUE - vivid) / (MUCH_HUE - SOME_HUE), 0.0), 1.0)


def fit_colours(
    frame: Frame,
    masks: torch.Tensor,
    probs: torch.Tensor,
    names: Sequence[str],
    options: SegmenterOptions,
    thresholds: torch.Tensor | None = None,
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Takes probability from names whose colour a mask has not.

    Args:
        frame: the image the masks are on.
        masks: (N, H, W) bool on the CPU.
        probs: (N, K) float32 in [0, 1] on the CPU; not changed.
        names: K names as asked; those that begin with a colour are held against it, see `named_colours`.
        options: `colour_check` turns the step on.
        thresholds: (K,) from which each name is given, so that of what loses one there is a remark;
            `options.threshold` for all when None.

    Returns:
        (N, K) the probabilities times `fit_of`, and N remarks: "a mask looks like a mug, but it is white, not
        red" where a mask lost its best name that way, else "".
    """
    coloured = [(k, said) for k, name in enumerate(names) if (said := named_colours(name)) is not None]
    remarks = [""] * len(masks)
    if not options.colour_check or not coloured or len(masks) == 0:
        return probs, tuple(remarks)
    fitted = probs.clone()
    given = torch.full((len(names),), options.threshold) if thresholds is None else thresholds
    best = probs.argmax(dim=1)
    boxes = mask_boxes(masks)[0].tolist()
    for i, (left, top, right, bottom) in enumerate(boxes):
        if right <= left or not any(probs[i, k] > 0 for k, _ in coloured):
            continue
        rows = slice(max(top - MAX_RIM_PIXELS, 0), bottom + MAX_RIM_PIXELS)
        columns = slice(max(left - MAX_RIM_PIXELS, 0), right + MAX_RIM_PIXELS)
        pixels = frame.image_rgb[rows, columns][inner(masks[i, rows, columns].numpy())]
        codes = colour_codes(pixels[:: len(pixels) // MAX_PIXELS + 1])
        for k, said in coloured:
            fit = fit_of(
                colour_share(codes, said.colours), vivid_share(codes) if is_neutral(said.colours) else 0.0
            )
            fitted[i, k] *= fit
            was_named = best[i] == k and probs[i, k] >= given[k]
            if was_named and fitted[i, k] < given[k]:
                remarks[i] = remark_of(said, seen_colour(codes))
    return fitted, tuple(remarks)


def remark_of(said: NamedColours, seen: str) -> str:
    """Why a mask did not get its word."""
    article = "an" if said.thing[:1].casefold() in "aeiou" else "a"
    but = f"{seen}, not {said.spoken}" if seen else f"not {said.spoken}"
    return f"a mask looks like {article} {said.thing}, but it is {but}"
