"""Draws the figures of docs/concepts into docs/images, from a frame of demo/tabletop as `mini` sees it.

`scripts/env.sh env -u PYTHONSAFEPATH python scripts/docs/figures.py`
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from drawing import AMBER, GREY, INDIGO, TEAL, Drawing

import ovseg_ros
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD, crop_regions
from ovseg_ros.evaluate.recordings.recording import RecordedFrame, read_recording

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
WORDS = ("teapot", "moka pot", "red mug", "giraffe")
SIDE, PATCH = 112, 16  # what `mini` looks at, pixels
COLOURS = ((0, 150, 136), (63, 81, 181), (230, 126, 34), (192, 57, 43), (142, 68, 173), (39, 174, 96))


def main() -> None:
    """Writes all figures."""
    frame = next(read_recording(ROOT / "demo" / "tabletop"))
    for name, drawing in {
        "method": method(frame),
        "mask_prompts": mask_prompts(frame),
        "node_pipeline": node_pipeline(),
    }.items():
        (IMAGES / f"{name}.svg").write_text(drawing.svg(), encoding="utf-8")


def looked_at(frame: RecordedFrame) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], Any]:
    """The picture, its masks as `mini` proposes them, largest first, and the finder that did."""
    finder = ovseg_ros.load("mini", "cpu")
    image = frame.frame.image_rgb
    masks = finder.masks(image, depth=frame.frame.depth_m, intrinsics=frame.frame.intrinsics).masks
    return image, masks[np.argsort(-masks.sum((1, 2)))], finder


def crops(image: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.uint8], Any]:
    """What the encoder gets of each mask: (N, S, S, 3) uint8 RGB, and the masks of these squares."""
    regions = crop_regions(
        torch.from_numpy(image.copy()).permute(2, 0, 1).float(), torch.from_numpy(masks), size=SIDE
    )
    mean, std = (torch.tensor(value)[None, :, None, None] for value in (CLIP_MEAN, CLIP_STD))
    pixels = ((regions.pixels * std + mean) * 255).clamp(0, 255).byte().permute(0, 2, 3, 1)
    return pixels.numpy(), regions.masks[:, 0].bool().numpy()


def painted(image: npt.NDArray[np.uint8], masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The picture with each mask in a colour of its own."""
    out = image.astype(np.float32) * 0.8
    for n, mask in enumerate(masks):
        out[mask] = 0.35 * image[mask] + 0.65 * np.float32(COLOURS[n % len(COLOURS)])
    return out.astype(np.uint8)


def method(frame: RecordedFrame) -> Drawing:
    """Two stages: masks without names, and a CLIP that names each."""
    image, masks, finder = looked_at(frame)
    names = finder.name(image, masks, list(WORDS))  # (N, K)
    shown = np.argsort(-names.max(1))[:4]
    pictures, _ = crops(image, masks[shown])
    d = Drawing(980, 400, "Masks are proposed, each is cut out and compared with the words")
    d.text(10, 24, "1  Which things are there?", at="start", kind="title")
    d.image(10, 40, 200, 150, image)
    d.text(110, 208, "an image (and depth)", kind="small")
    d.arrow((110, 216), (110, 240))
    d.image(10, 244, 200, 150, painted(image, masks))
    d.text(304, 24, "2  What is each of them?", at="start", kind="title")
    d.text(256, 288, f"{len(masks)} masks,", kind="small")
    d.text(256, 304, "no names", kind="small")
    d.arrow((214, 318), (296, 318))
    for row, picture in enumerate(pictures):
        d.image(304, 44 + 88 * row, 80, 80, picture)
        d.arrow((390, 84 + 88 * row), (424, 84 + 88 * row))
    d.box(428, 44, 96, 344, TEAL, "CLIP,", "image side,", "adapted to", "what is", "blanked")
    _table(d, names[shown])
    return d


def _table(d: Drawing, rows: npt.NDArray[np.float32]) -> None:
    """Words over a table of how probable each is for each of four masks."""
    d.box(574, 8, 396, 28, INDIGO, "CLIP, text side: the words that are asked for")
    for column, word in enumerate(WORDS):
        d.text(624 + 99 * column, 58, word)
    for row, values in enumerate(rows):
        y = 68 + 84 * row
        d.arrow((528, y + 20 + 4 * row - 4), (570, y + 32))
        for column, value in enumerate(values):
            best = value == values.max()
            d.cell(576 + 99 * column, y, 96, 64, TEAL, 0.08 + 0.75 * float(value))
            d.text(624 + 99 * column, y + 37, f"{value:.2f}", kind="title" if best else "small")


def mask_prompts(frame: RecordedFrame) -> Drawing:
    """Which tokens of a masked crop are replaced, and where."""
    image, masks, _ = looked_at(frame)
    pictures, inside = crops(image, masks)
    kept = inside.reshape(len(inside), SIDE // PATCH, PATCH, SIDE // PATCH, PATCH).any((2, 4))  # M, (N, 7, 7)
    shown = next(
        n for n, mask in enumerate(kept) if (~mask).sum() >= 10
    )  # the largest thing with some to replace
    patches = kept[shown]
    side = 32
    d = Drawing(980, 330, "Tokens of patches that are background alone are replaced by learned ones")
    d.text(122, 24, "what the encoder gets", kind="title")
    d.image(10, 40, 7 * side, 7 * side, pictures[shown])
    for n in range(8):
        for x, y, w, h in ((10 + n * side, 40, 0.6, 7 * side), (10, 40 + n * side, 7 * side, 0.6)):
            d.cell(x, y, w, h, "#ffffff")
    d.arrow((242, 152), (290, 152))
    d.text(410, 24, "its tokens", kind="title")
    for (row, column), is_kept in np.ndenumerate(patches):
        d.cell(298 + column * side, 40 + row * side, side - 2, side - 2, TEAL if is_kept else AMBER)
    d.cell(298, 282, 14, 14, TEAL)
    d.text(318, 294, f"{int(patches.sum())} of the image, T", at="start", kind="small")
    d.cell(298, 304, 14, 14, AMBER)
    d.text(
        318, 316, f"{int((~patches).sum())} learned instead, P: all pixels blank", at="start", kind="small"
    )
    d.arrow((530, 152), (578, 152))
    d.text(770, 24, "T⊗M + P⊗(1\N{MINUS SIGN}M), three times", kind="title")
    stages = (
        "patch embedding",
        "class token, positions",
        "transformer block 1",
        "transformer block 2",
        "the blocks after",
    )
    for n, name in enumerate(stages):
        d.box(586, 40 + 52 * n, 190, 32, GREY if n < 2 else TEAL, name)
        if n:
            d.arrow((681, 20 + 52 * n), (681, 39 + 52 * n))
    for depth, n in ((1, 1), (2, 3), (3, 4)):
        y = 30 + 52 * n
        d.box(826, y - 16, 144, 32, AMBER, f"P of depth {depth}")
        d.arrow((826, y), (686, y))
    d.text(681, 312, "only P is learned; everything else is frozen", kind="small")
    return d


def node_pipeline() -> Drawing:
    """Threads of the node: what hears, what waits, what computes, what is published."""
    d = Drawing(980, 360, "The executor's thread hears and answers, one thread computes")
    d.text(10, 24, "executor's thread: hears, answers", at="start", kind="title")
    d.box(10, 40, 260, 56, GREY, "image, depth, camera_info", "best effort, depth 1")
    d.box(
        10,
        250,
        260,
        74,
        GREY,
        "services, actions, ~/query",
        "read and refused here,",
        "answered when the job is done",
    )
    d.text(395, 24, "waits", kind="title")
    d.arrow((270, 68), (308, 68))
    d.box(312, 40, 166, 56, AMBER, "one slot", "newest wins; drops count")
    d.arrow((270, 287), (308, 287))
    d.box(312, 250, 166, 74, AMBER, "queue of requests", "full: BUSY")
    d.text(650, 24, "inference thread: computes", kind="title")
    steps = (
        "too old: not searched",
        "propose masks",
        "encode what is new",
        "compare with the words",
        "track",
    )
    d.box(530, 40, 240, 284, TEAL, "one request, one frame, …", "", *steps, "3D in the frame wanted")
    d.arrow((478, 68), (526, 68))
    d.arrow((478, 287), (526, 287))
    d.text(890, 24, "out", kind="title")
    d.arrow((770, 100), (806, 100))
    d.box(810, 62, 160, 76, INDIGO, "topics", "only those with", "a subscriber")
    d.arrow((770, 190), (806, 190))
    d.box(810, 162, 160, 56, INDIGO, "memory", "if remember is true")
    d.arrow((770, 284), (806, 284))
    d.box(810, 246, 160, 76, INDIGO, "answers", "each with a code")
    d.box(312, 140, 166, 66, GREY, "watchdog", "hangs? say so,", "answer INTERNAL")
    d.arrow((478, 173), (526, 173))
    return d


if __name__ == "__main__":
    main()
