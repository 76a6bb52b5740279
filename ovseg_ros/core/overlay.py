"""A picture for people: colours, outlines, names and scores over the camera image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.letters import letters
from ovseg_ros.core.runners_up import close_runner_up
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.errors import InvalidInputError

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

FILL_OPACITY = 0.38
UNLABELLED_COLOUR: Colour = (170, 170, 170)

_EDGE_SLACK_PX = 0.7  # how far an outline may be off its mask's edge
_SUPERSAMPLE = 4  # tags are drawn this much larger and shrunk: smoother letters and corners
_GOLDEN_ANGLE = 0.6180339887  # of a full turn of hue: neighbours in id are far apart in colour


def label_colour(label_id: int) -> Colour:
    """The RGB colour of a label id in 0…254: always the same, far from those of neighbouring ids."""
    hue = (0.02 + label_id * _GOLDEN_ANGLE) % 1.0
    saturation = (0.85, 0.62)[label_id // 5 % 2]
    value = (1.0, 0.82, 0.92)[label_id // 3 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_overlay(image_rgb: Image, segmentation: Segmentation) -> Image:
    """Paints a segmentation over its image.

    Labelled masks get a translucent fill, a crisp outline and a tag such as "teapot 0.97" in their label's
    colour, the most probable on top; where the runner-up comes close,
    "teapot 0.97 / kettle 0.85". Masks without a label get a thin grey outline.

    Args:
        image_rgb: (H, W, 3) uint8 of the size that was segmented; not changed.
        segmentation: what to paint.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InvalidInputError: the image and the masks differ in size.
    """
    canvas: Image = image_rgb.copy()
    draw_on(canvas, segmentation)
    return canvas


def draw_on(canvas: Image, segmentation: Segmentation) -> None:
    """`draw_overlay` over the image itself, (H, W, 3) uint8 RGB, without a copy.

    Raises:
        InvalidInputError: the image and the masks differ in size.
    """
    size_hw = canvas.shape[:2]
    if tuple(segmentation.masks.shape[1:]) != size_hw or canvas.dtype != np.uint8:
        raise InvalidInputError(
            f"expected an image {tuple(segmentation.masks.shape[1:])} uint8, got {canvas.shape} "
            f"{canvas.dtype}"
        )
    masks = segmentation.masks.numpy().view(np.uint8)  # (N,H,W)
    boxes = [_Box(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in segmentation.boxes_xyxy.tolist()]
    ids, scores = segmentation.label_ids.tolist(), segmentation.scores.tolist()
    seconds = segmentation.runner_up, segmentation.runner_up_score.tolist()
    labelled = (segmentation.label_index >= 0).tolist()
    worst_first = [i for i in segmentation.scores.argsort(stable=True).tolist() if boxes[i].width]
    unit = max(min(size_hw) / 480.0, 0.5)  # 1 on a 640x480 image
    contours = {i: _contours(masks[i], boxes[i]) for i in worst_first}
    for i in worst_first:
        if not labelled[i]:
            _outline(canvas, contours[i], UNLABELLED_COLOUR, max(round(unit), 1))
    tags = []
    scratch = np.empty(3 * max((box.width * box.height for box in boxes), default=0), np.uint8)
    for i in worst_first:
        if labelled[i]:
            colour = label_colour(ids[i])
            _fill(canvas, masks[i], boxes[i], colour, scratch)
            _outline(canvas, contours[i], _ink(colour), max(round(5 * unit), 3))
            _outline(canvas, contours[i], colour, max(round(2.6 * unit), 1))
            second = close_runner_up(scores[i], seconds[0][i], seconds[1][i])
            tags.append((i, (segmentation.name_of(i), f"{scores[i]:.2f}", second), colour))
    taken: list[_Box] = []
    for i, words, colour in reversed(tags):  # the best tag chooses its place first
        taken.append(_draw_tag(canvas, (masks[i], boxes[i]), words, colour, unit, taken))


@dataclass(frozen=True)
class _Box:
    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def overlaps(self, other: _Box) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


def _fill(canvas: Image, mask: Image, box: _Box, colour: Colour, scratch: Image) -> None:
    """Tints a mask; `scratch` has room for the pixels of its box, and stays in the processor's cache."""
    part = canvas[box.slices]
    mixed = scratch[: part.size].reshape(part.shape)
    mixed[0] = colour  # a plane of it: to add a scalar takes OpenCV longer than all of this
    mixed.reshape(box.height, -1)[1:] = mixed[0].reshape(-1)
    cv2.addWeighted(part, 1.0 - FILL_OPACITY, mixed, FILL_OPACITY, 0.0, mixed)
    cv2.copyTo(mixed, mask[box.slices], part)


def _contours(mask: Image, box: _Box) -> Sequence[Any]:
    """The edges of a mask; with fewer corners, as drawing a thick line takes its time by the corner."""
    edges = cv2.findContours(
        mask[box.slices], cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(box.x, box.y)
    )[0]
    return [cv2.approxPolyDP(edge, _EDGE_SLACK_PX, True) for edge in edges]


def _outline(canvas: Image, contours: Sequence[Any], colour: Colour, thickness: int) -> None:
    cv2.drawContours(
        canvas, contours, -1, colour, thickness, cv2.LINE_8
    )  # smooth lines take six times as long


def _draw_tag(
    canvas: Image,
    mask_and_box: tuple[Image, _Box],
    words: tuple[str, str, str],
    colour: Colour,
    unit: float,
    taken: list[_Box],
) -> _Box:
    """Draws one tag near the top of its mask, inside the image and off the tags drawn before."""
    mask, around = mask_and_box
    tag, shape = _render_tag(words, colour, unit, canvas.shape[1])
    tag, shape = tag[: canvas.shape[0]], shape[: canvas.shape[0]]
    height, width = shape.shape
    top_row = np.flatnonzero(mask[around.y])  # centre the tag over the mask's highest pixels
    image_hw = canvas.shape[0], canvas.shape[1]
    box = _place(int(top_row.mean()) - width // 2, around.y - height - 2, (height, width), image_hw, taken)
    part = canvas[box.slices]
    part[:] = cv2.blendLinear(tag, np.ascontiguousarray(part), shape, 1.0 - shape)
    return box


def _place(x: int, y: int, tag_hw: tuple[int, int], image_hw: tuple[int, int], taken: list[_Box]) -> _Box:
    """The free place nearest to (x, y), searched up and down; (x, y) itself where none is free."""
    height, width = tag_hw
    x = min(max(x, 0), max(image_hw[1] - width, 0))
    lowest = max(image_hw[0] - height, 0)
    first = _Box(x, min(max(y, 0), lowest), width, height)
    for offset in range(0, image_hw[0], max(height // 3, 1)):
        for candidate_y in (first.y + offset, first.y - offset):
            box = _Box(x, candidate_y, width, height)
            if 0 <= candidate_y <= lowest and not any(box.overlaps(other) for other in taken):
                return box
    return first


@lru_cache(maxsize=512)
def _render_tag(
    words: tuple[str, str, str], colour: Colour, unit: float, max_width: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """A rounded tag (h, w, 3) with a name, its score and what came close, and its opacity (h, w) in [0, 1].

    It is at most `max_width` wide: what came close gives way, then the name. Kept, as a camera shows the
    same things again: do not write.
    """
    name, score, second = words
    pad, height = round(5 * unit), round(21 * unit)
    left, right = letters(name, height), letters(f" {score}{second and ' / '}{second}", height)
    if second and left.shape[1] + right.shape[1] + 2 * pad > max_width:
        right = letters(f" {score}", height)
    while left.shape[1] + right.shape[1] + 2 * pad > max_width and len(name) > 1:
        name = f"{name[:-2]}…"
        left = letters(name, height)
    split, end = pad + left.shape[1], pad + left.shape[1] + right.shape[1]
    padded = np.zeros((left.shape[0], end + pad), np.uint8)
    padded[:, pad:split], padded[:, split:end] = left, right
    cover = padded[:, :max_width]
    tag = cv2.LUT(cv2.merge((cover, cover, cover)), _shades(colour))
    return tag, _rounded_rectangle((cover.shape[0], cover.shape[1]), pad)


def _ink(colour: Colour) -> Colour:
    """Black or white, whichever is far from a colour: its letters, and the rim of its outlines.

    A line and its rim so differ from each other, and one of them from any picture.
    """
    red, green, blue = colour
    return (16, 16, 16) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


@lru_cache(maxsize=255)
def _shades(colour: Colour) -> Image:
    """(1, 256, 3) from a tag's colour to that of its letters, by coverage."""
    shades: Image = np.linspace(colour, _ink(colour), 256).round().astype(np.uint8)[None]
    return shades


@lru_cache(maxsize=256)
def _rounded_rectangle(size_hw: tuple[int, int], radius: int) -> npt.NDArray[np.float32]:
    """(h, w) in [0, 1]: 1 inside, less where a corner cuts a pixel. Kept: do not write."""
    height, width = (side * _SUPERSAMPLE for side in size_hw)
    radius = min(radius * _SUPERSAMPLE, height // 2, width // 2)
    shape = np.zeros((height, width), dtype=np.uint8)
    cv2.rectangle(shape, (radius, 0), (width - 1 - radius, height - 1), 255, -1)
    cv2.rectangle(shape, (0, radius), (width - 1, height - 1 - radius), 255, -1)
    for x in (radius, width - 1 - radius):
        for y in (radius, height - 1 - radius):
            cv2.circle(shape, (x, y), radius, 255, -1)
    small = cv2.resize(shape, size_hw[::-1], interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255.0)
