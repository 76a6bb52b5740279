"""What the demo leaves behind to look at: overlays of answers and of masks, an animation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ovseg_ros.app.demo.truth import BestMask

MAX_ANIMATION_BYTES = 3_000_000


def write_image(path: Path, image_rgb: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 RGB as PNG."""
    encoded, data = cv2.imencode(".png", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise OSError(f"cannot encode {path}")
    path.write_bytes(data.tobytes())


def overlay(
    image_rgb: np.ndarray, words: Sequence[str], found: Sequence[tuple[str, float, np.ndarray]]
) -> np.ndarray:
    """The core's overlay of an answer.

    Args:
        image_rgb: (H, W, 3) uint8, the frame that was searched.
        words: what was asked.
        found: (word, score, mask (H, W) bool) of each segment of the answer.
    """
    import torch

    from ovseg_ros.core.embedded_frame import EmbeddedFrame
    from ovseg_ros.core.frame import Frame
    from ovseg_ros.core.options import SegmenterOptions
    from ovseg_ros.core.overlay import draw_overlay
    from ovseg_ros.core.segmentation import Segmentation
    from ovseg_ros.core.words import Vocabulary

    vocabulary, _ = Vocabulary.empty().replace(list(words))
    places = [vocabulary.index(word) for word, _, _ in found]
    known = [(place, score, mask) for place, (_, score, mask) in zip(places, found) if place is not None]
    masks = np.stack([mask for _, _, mask in known]) if known else np.zeros((0, *image_rgb.shape[:2]), bool)
    probs = torch.zeros(len(known), len(vocabulary))
    for row, (place, score, _) in zip(probs, known):
        row[place] = score
    embedded = EmbeddedFrame(
        Frame(image_rgb), torch.from_numpy(masks), torch.ones(len(known)), torch.zeros(len(known), 1)
    )
    found_before = SegmenterOptions(threshold=0.0)
    return draw_overlay(image_rgb, Segmentation(embedded, vocabulary, probs, found_before))


def draw_masks(
    image_rgb: np.ndarray, masks: Sequence[np.ndarray], best: Sequence[BestMask], good_iou: float
) -> np.ndarray:
    """The best mask of each thing under the thing's true name, with its IoU in place of a score.

    Args:
        image_rgb: (H, W, 3) uint8.
        masks: (H, W) bool, those of the frame.
        best: which of them is whose.
        good_iou: worse ones are not drawn; the line above the picture says how good they are.
    """
    good = [one for one in best if one.iou >= good_iou]
    names = list(dict.fromkeys(one.thing for one in best))
    picture = overlay(image_rgb, names, [(one.thing, one.iou, masks[one.mask]) for one in good])
    poor = [f"{one.thing} {one.iou:.2f}" for one in best if one.iou < good_iou]
    parts = [f"the best of {len(masks)} masks for each thing, and its IoU"]
    return captioned(picture, parts + ([f"below {good_iou:.2f}:", *poor] if poor else []))


def in_rows(pictures: Sequence[np.ndarray], columns: int = 3, width: int = 1280) -> np.ndarray:
    """Pictures (H, W, 3) uint8 of any sizes in rows of about `width` pixels, each row of one height."""
    rows = []
    for start in range(0, len(pictures), columns):
        several = pictures[start : start + columns]
        height = round(width / sum(one.shape[1] / one.shape[0] for one in several))
        small = [
            cv2.resize(p, (round(p.shape[1] * height / p.shape[0]), height), interpolation=cv2.INTER_AREA)
            for p in several
        ]
        row = np.hstack(small)
        rows.append(np.pad(row[:, :width], ((0, 0), (0, max(width - row.shape[1], 0)), (0, 0))))
    return np.vstack(rows)


def captioned(picture_rgb: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB under lines of text; what does not fit begins a new one."""
    from ovseg_ros.core.letters import letters

    height, margin = max(round(picture_rgb.shape[0] / 22), 14), 6
    room = picture_rgb.shape[1] - 2 * margin
    lines: list[list[np.ndarray]] = [[]]
    for part in parts:
        text = letters(part, height)[:, :room]
        if lines[-1] and sum(one.shape[1] + height for one in lines[-1]) + text.shape[1] > room:
            lines.append([])
        lines[-1].append(text)
    strip = np.zeros((len(lines) * (height + 4) + 4, picture_rgb.shape[1]), np.uint8)
    for number, line in enumerate(lines):
        x, y = margin, 4 + number * (height + 4)
        for text in line:
            strip[y : y + height, x : x + text.shape[1]] = text
            x += text.shape[1] + height
    return np.vstack([np.repeat(strip[:, :, None], 3, axis=2), picture_rgb])


def write_animation(path: Path, frames: Sequence[np.ndarray], rate_hz: float) -> int:
    """Writes RGB frames as a GIF that loops, made smaller until it is `MAX_ANIMATION_BYTES` at most.

    Returns:
        Its size in bytes.
    """
    for width, colours in ((480, 128), (400, 96), (320, 64), (240, 48)):
        size = _write_gif(path, frames, rate_hz, width, colours)
        if size <= MAX_ANIMATION_BYTES:
            break
    return size


def contact_sheet(frames: Sequence[np.ndarray], columns: int = 3, width: int = 1280) -> np.ndarray:
    """Some frames of a film, evenly spaced, side by side in one picture of about `width` pixels."""
    chosen = [frames[(2 * i + 1) * len(frames) // (2 * columns)] for i in range(columns)]
    each = width // columns
    height = round(chosen[0].shape[0] * each / chosen[0].shape[1])
    return np.hstack([cv2.resize(frame, (each, height), interpolation=cv2.INTER_AREA) for frame in chosen])


def _write_gif(path: Path, frames: Sequence[np.ndarray], rate_hz: float, width: int, colours: int) -> int:
    from PIL import Image

    height = round(frames[0].shape[0] * width / frames[0].shape[1])
    small = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames]
    pictures = [
        Image.fromarray(frame).quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        for frame in small
    ]
    duration_ms = round(1000 / rate_hz)
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=duration_ms, loop=0, optimize=False
    )
    return path.stat().st_size
