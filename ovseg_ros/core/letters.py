"""Text of any script as pixels: names of things are written in the languages of those who ask for them."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

FONTS = ("DejaVuSans.ttf", "unifont.otf")
"""Those in the folder `fonts`, in order of preference; the last has a sign for nearly every character."""

_NO_CHARACTER = "\U0010ffff"  # a font draws its sign for what it lacks


@lru_cache(maxsize=1024)
def letters(text: str, height: int) -> npt.NDArray[np.uint8]:
    """A line of text.

    Args:
        text: of any script, from right to left where it is written so; "" gives one empty column.
        height: of the line in pixels, from the highest letters to below the deepest ones.

    Returns:
        (height, W) uint8, how far each pixel is covered by the text: 0 to 255. Kept: do not write.
    """
    em = max(int(height / 1.25), 1)  # the font's size: a line is a quarter higher than that
    runs = [(part, _font(name, em)) for part, name in _runs(text)]
    width = sum(font.getlength(part) for part, font in runs)
    line = Image.new("L", (max(round(width), 1), height))
    draw, x = ImageDraw.Draw(line), 0.0
    for part, font in runs:
        draw.text((x, 0.94 * em), part, fill=255, font=font, anchor="ls")
        x += font.getlength(part)
    return np.asarray(line)


def _runs(text: str) -> list[tuple[str, str]]:
    """The text in pieces, each with the first font that has all of it."""
    runs: list[tuple[str, str]] = []
    for character in text:
        name = next((one for one in FONTS if _has(one, character)), FONTS[-1])
        joins = character == " " or unicodedata.category(character).startswith(
            "M"
        )  # a sign on the letter before
        if runs and (joins or name == runs[-1][1]):
            runs[-1] = runs[-1][0] + character, runs[-1][1]
        else:
            runs.append((character, name))
    return runs


@lru_cache(maxsize=4096)
def _has(name: str, character: str) -> bool:
    """Whether a font has a sign of its own for a character."""
    font = _font(name, 16)
    sign, none = (font.getmask(one) for one in (character, _NO_CHARACTER))
    return sign.size != none.size or bytes(sign) != bytes(none)


@lru_cache(maxsize=64)
def _font(name: str, em: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(resources.files(__package__) / "fonts" / name), em)
