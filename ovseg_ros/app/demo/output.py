"""What the demo leaves behind: pictures, an animation, a table, a JSON file."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

MAX_ANIMATION_BYTES = 3_000_000


@dataclass(frozen=True)
class Answer:
    """One row of the table.

    `iou` and `score` are None where there is nothing to give, `correct` where the truth cannot tell.
    """

    query: str
    word: str
    interface: str
    recording: str
    preset: str
    code: str
    expected: str
    score: float | None
    iou: float | None
    latency_ms: float | None
    correct: bool | None
    note: str = ""


def write_result(path: Path, answers: Sequence[Answer], ok: bool, about: Mapping[str, Any]) -> None:
    """Writes `{"ok", "answers": [...], …about}`."""
    result = {"ok": ok, **about, "answers": [asdict(answer) for answer in answers]}
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table(answers: Sequence[Answer]) -> str:
    """The answers as aligned columns."""
    head = ("", "query", "word", "interface", "recording", "code", "score", "IoU", "ms", "")
    rows = [head]
    for answer in answers:
        rows.append(
            (
                {True: "ok", False: "WRONG", None: "-"}[answer.correct],
                answer.query,
                answer.word,
                answer.interface,
                f"{answer.recording} ({answer.preset})",
                answer.code,
                _number(answer.score, 2),
                _number(answer.iou, 2),
                _number(answer.latency_ms, 0),
                answer.note,
            )
        )
    widths = [max(_columns(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(_padded(cell, w) for cell, w in zip(row, widths)).rstrip() for row in rows)


def verdict(answers: Sequence[Answer]) -> tuple[bool, str]:
    """Whether nothing that is judged is wrong (and anything was answered at all), and that in words."""
    judged = [answer for answer in answers if answer.correct is not None]
    right = sum(bool(answer.correct) for answer in judged)
    text = f"{right} of {len(judged)} answers are right"
    if len(judged) < len(answers):
        text += f", {len(answers) - len(judged)} not judged"
    return bool(answers) and right == len(judged), text


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def write_image(path: Path, image_rgb: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 RGB as PNG."""
    encoded, data = cv2.imencode(".png", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise OSError(f"cannot encode {path}")
    path.write_bytes(data.tobytes())


def file_name(text: str) -> str:
    """A text as part of a file name, in any script: "find the red mug" -> "find_the_red_mug"."""
    return re.sub(r"\W+", "_", unicodedata.normalize("NFC", text).casefold()).strip("_")[:40] or "query"


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


def in_words(ask: str, answers: Sequence[Answer]) -> list[str]:
    """What stands above a picture, such as `find mug?` and `FOUND mug 0.93: right`.

    Where nothing was found, "best" is the highest probability that any mask had, if the interface tells it.
    """
    parts = [f"{ask.removesuffix('?')}?"]
    for answer in answers:
        best = "" if answer.code == "FOUND" else ", best"
        score = "" if answer.score is None else f"{best} {answer.score:.2f}"
        judged = {True: "right", False: "WRONG", None: "not judged"}[answer.correct]
        parts.append(f"{answer.code} {answer.word}{score}: {judged}")
    return parts


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
