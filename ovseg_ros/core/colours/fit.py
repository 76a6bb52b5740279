"""The step of labelling that holds a colour that a name says against the mask's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.core.colours.measure import colour_codes, colour_share, inner, seen_colour
from ovseg_ros.core.colours.names import NamedColours, named_colours
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions import mask_boxes

MISFIT, FIT = 0.08, 0.25
"""The share of a mask's pixels at and below which a colour is clearly absent, and from which nothing is said
against it: a mug with a red pattern may be called red, and light from one side hides half of what is red."""


def fit_of(share: float | None) -> float:
    """What a probability is multiplied by: 0 for a clear misfit, 1 where the colour is there or not known."""
    return 1.0 if share is None else min(max((share - MISFIT) / (FIT - MISFIT), 0.0), 1.0)


def fit_colours(
    frame: Frame,
    masks: torch.Tensor,
    probs: torch.Tensor,
    names: Sequence[str],
    options: SegmenterOptions,
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Takes probability from names whose colour a mask has not.

    Args:
        frame: the image the masks are on.
        masks: (N, H, W) bool on the CPU.
        probs: (N, K) float32 in [0, 1] on the CPU; not changed.
        names: K names as asked; those that begin with a colour are held against it, see `named_colours`.
        options: `colour_check` turns the step on, `threshold` is what a remark is worth making from.

    Returns:
        (N, K) the probabilities times `fit_of`, and N remarks: "looks like a mug, but white, not red" where a
        mask lost its best name that way, else "".
    """
    coloured = [(k, said) for k, name in enumerate(names) if (said := named_colours(name)) is not None]
    remarks = [""] * len(masks)
    if not options.colour_check or not coloured or len(masks) == 0:
        return probs, tuple(remarks)
    fitted = probs.clone()
    best = probs.argmax(dim=1)
    boxes = mask_boxes(masks)[0].tolist()
    for i, (left, top, right, bottom) in enumerate(boxes):
        if right <= left or not any(probs[i, k] > 0 for k, _ in coloured):
            continue
        inside = inner(masks[i, top:bottom, left:right].numpy())
        codes = colour_codes(frame.image_rgb[top:bottom, left:right][inside])
        for k, said in coloured:
            fit = fit_of(colour_share(codes, said.colours))
            fitted[i, k] *= fit
            was_named = best[i] == k and probs[i, k] >= options.threshold
            if was_named and fitted[i, k] < options.threshold:
                remarks[i] = remark_of(said, seen_colour(codes))
    return fitted, tuple(remarks)


def remark_of(said: NamedColours, seen: str) -> str:
    """Why a mask did not get its word."""
    article = "an" if said.thing[:1].casefold() in "aeiou" else "a"
    but = f"{seen}, not {said.spoken}" if seen else f"not {said.spoken}"
    return f"looks like {article} {said.thing}, but {but}"
