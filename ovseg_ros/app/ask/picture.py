"""The image that was searched, with what was found in it: to look at, and in files."""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ovseg_ros.core.letters import letters

if TYPE_CHECKING:
    from ovseg_ros.ros.client import FoundSegment, Reply

TINT = 0.4


def drawn(image_rgb: np.ndarray, segments: Sequence[FoundSegment]) -> np.ndarray:
    """The image with each thing tinted and outlined in a colour of its own, and its name and score.

    Args:
        image_rgb: (H, W, 3) uint8; not changed.
        segments: with their masks; those without get their boxes.

    Returns:
        (H, W, 3) uint8.
    """
    picture = image_rgb.copy()
    height = picture.shape[0]
    line = max(height // 240, 1)
    for number, segment in enumerate(segments):
        colour = np.array(colorsys.hsv_to_rgb((0.02 + 0.618 * number) % 1.0, 0.85, 1.0)) * 255
        if not segment.inside.size:  # the node's parameter publish_masks is false
            x, y, w, h = segment.box
            cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), colour.tolist(), line)
            continue
        mask = segment.mask(picture.shape[:2])
        picture[mask] = (1 - TINT) * picture[mask] + TINT * colour
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, colour.tolist(), line)
    for segment in segments:
        _write(picture, f" {segment.label} {segment.score:.2f} ", segment.box[:2], max(height // 24, 12))
    return picture


def _write(picture: np.ndarray, text: str, place_xy: tuple[int, int], size: int) -> None:
    """White letters on black, their lower left corner at a place, moved into the picture."""
    cover = letters(text, size)[:, : picture.shape[1]]
    x = min(max(place_xy[0], 0), picture.shape[1] - cover.shape[1])
    y = min(max(place_xy[1] - size, 0), max(picture.shape[0] - size, 0))
    under = picture[y : y + size, x : x + cover.shape[1]]
    under[:] = np.maximum(under // 4, cover[: under.shape[0], :, None])


def png(pixels: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB, or (H, W) uint8, as a PNG file."""
    encoded, data = cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    assert encoded
    return bytes(data)


def save(folder: Path, query: str, reply: Reply, image_rgb: np.ndarray | None) -> list[Path]:
    """Writes answer.json, picture.png, and of each thing its mask (PNG) and points (PLY), if any.

    Args:
        folder: made where it is not there.
        query: what was asked.
        reply: the answer.
        image_rgb: (H, W, 3) uint8, the image that was searched; None: it is not there.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    answer = json.dumps({"query": query, **reply.as_dict()}, indent=2, ensure_ascii=False) + "\n"
    files = {"answer.json": answer.encode()}
    if image_rgb is not None:
        files["picture.png"] = png(drawn(image_rgb, reply.segments))
    for number, segment in enumerate(reply.segments, start=1):
        word = re.sub(r"[^\w-]+", "_", segment.label)
        name = f"{number:02d}_{word}"
        if image_rgb is not None and segment.inside.size:
            files[f"mask_{name}.png"] = png(segment.mask(image_rgb.shape[:2]).astype(np.uint8) * 255)
        if len(segment.points_m):
            files[f"points_{name}.ply"] = ply(segment.points_m)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    return [folder / file for file in files]


def ply(points_m: np.ndarray) -> bytes:
    """(M, 3) float32 as a PLY file."""
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points_m)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    return head.encode() + points_m.astype("<f4").tobytes()
