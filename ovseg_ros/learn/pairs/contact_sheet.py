"""A picture of some of the pairs, for a person to look at: crops with their mask, noun and score."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ovseg_ros.learn.pairs.index import PairIndex, open_pairs
from ovseg_ros.learn.pairs.shards import Pair

TILE = 176
_CAPTION, _GAP, _COLUMNS = 40, 8, 8
_PAPER, _INK, _FAINT, _LINE = (250, 250, 250), (20, 20, 20), (105, 105, 105), (255, 90, 0)
_MOST_SHARDS = 8


def write_contact_sheet(folder: Path, out: Path, *, pairs: int = 64, seed: int = 0) -> int:
    """Draws pairs of as many different nouns as there is room for.

    Args:
        folder: of the pairs, with a manifest and at least one pair.
        out: a PNG file.
        pairs: most pairs on the sheet.
        seed: of the choice.

    Returns:
        How many were drawn.

    Raises:
        InvalidInputError: the pairs cannot be read, or there are none.
    """
    index = open_pairs(folder, most_shards=_MOST_SHARDS)
    chosen = _choose(index, pairs, random.Random(seed))
    temporary = out.with_name(f".{out.name}.part")
    draw_sheet([index.read(i) for i in chosen]).save(temporary, format="PNG")
    temporary.replace(out)
    return len(chosen)


def draw_sheet(pairs: Sequence[Pair]) -> Image.Image:
    """A grid of the pairs, in the order given, at least one."""
    columns = min(_COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    size = columns * (TILE + _GAP) + _GAP, rows * (TILE + _CAPTION + _GAP) + _GAP
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(15), ImageFont.load_default(12)
    for number, pair in enumerate(pairs):
        x = _GAP + number % columns * (TILE + _GAP)
        y = _GAP + number // columns * (TILE + _CAPTION + _GAP)
        sheet.paste(Image.fromarray(draw_pair(pair)), (x, y))
        draw.text((x, y + TILE + 3), _fitting(draw, pair.noun, large), _INK, large)
        score, sure = pair.meta.get("score"), pair.meta.get("mask_score")
        numbers = "  ".join(
            f"{name} {value:.3f}" for name, value in (("cos", score), ("mask", sure)) if value is not None
        )
        draw.text((x, y + TILE + 22), numbers, _FAINT, small)
    return sheet


def draw_pair(pair: Pair) -> npt.NDArray[np.uint8]:
    """(TILE, TILE, 3) uint8: the crop, dimmed off the mask, which has an outline."""
    height, width = pair.mask.shape
    scale = TILE / max(height, width)
    size_wh = max(round(width * scale), 1), max(round(height * scale), 1)
    image = cv2.resize(pair.image_rgb, size_wh, interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(pair.mask.astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST)
    grey = image.mean(axis=2, keepdims=True) * 0.45 + 70.0
    image = np.where(mask[:, :, None] > 0, image, grey.astype(np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    image = cv2.drawContours(np.ascontiguousarray(image), outlines, -1, _LINE, 2)
    tile = np.full((TILE, TILE, 3), 225, np.uint8)
    y, x = (TILE - size_wh[1]) // 2, (TILE - size_wh[0]) // 2
    tile[y : y + size_wh[1], x : x + size_wh[0]] = image
    return tile


def _choose(index: PairIndex, count: int, chance: random.Random) -> list[int]:
    """The pairs to draw: round after round one of each noun, put together by nouns in the end."""
    noun_of = [index.noun(i) for i in range(len(index))]
    by_noun: dict[str, list[int]] = {}
    for i, noun in enumerate(noun_of):
        by_noun.setdefault(noun, []).append(i)
    nouns = sorted(by_noun)
    chance.shuffle(nouns)
    for noun in nouns:
        chance.shuffle(by_noun[noun])
    rounds = itertools.zip_longest(*(reversed(by_noun[noun]) for noun in nouns))
    chosen = itertools.islice((i for one_each in rounds for i in one_each if i is not None), count)
    return sorted(chosen, key=noun_of.__getitem__)  # stable: those of one noun stay in their order


def _fitting(draw: ImageDraw.ImageDraw, text: str, font: Any) -> str:
    """The text, shortened until it fits under a tile."""
    if draw.textlength(text, font) <= TILE:
        return text
    while text and draw.textlength(f"{text}…", font) > TILE:
        text = text[:-1]
    return f"{text}…"
