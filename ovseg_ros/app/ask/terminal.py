"""Pictures in terminals: by the protocol that the terminal says it knows, else as coloured half blocks."""

from __future__ import annotations

import base64
import os
import re
import select
import shutil
import sys
import time
from collections.abc import Mapping
from typing import TextIO

import numpy as np

KITTY, ITERM, SIXEL, BLOCKS = "kitty", "iterm", "sixel", "blocks"
ANSWER_S = 0.5  # even a terminal behind a slow ssh has answered then
MOST_COLUMNS, MOST_OF_ROWS = 80, 0.6
CELL_WH = (8, 16)  # pixels of a character, where the terminal does not tell
_KITTY_CHUNK = 4096
_QUESTIONS = (
    "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"  # kitty: may I send this pixel?
    "\x1b[>q"  # XTVERSION: what are you called?
    "\x1b[c"  # DA1: what can you do? All terminals answer this one: what was not said before it is not known
)


def protocol(environment: Mapping[str, str] | None = None) -> str | None:
    """How this terminal shows pictures; None where it cannot, or nobody would see them.

    Args:
        environment: None: the process'.
    """
    told = os.environ if environment is None else environment
    if not sys.stdout.isatty() or told.get("TERM", "dumb") in ("", "dumb"):
        return None
    known = protocol_of(_ask_terminal())
    if known == BLOCKS and told.get("NO_COLOR"):
        return None
    return known


def protocol_of(answer: str) -> str:
    """What the answer to `_QUESTIONS` announces, the best first."""
    if re.search(r"\x1b_G[^\x1b]*i=31[^\x1b]*;OK", answer):
        return KITTY
    if re.search(r"\x1bP>\|(iTerm2|WezTerm)", answer):
        return ITERM
    attributes = re.search(r"\x1b\[\?([\d;]+)c", answer)
    return SIXEL if attributes and "4" in attributes[1].split(";")[1:] else BLOCKS


def _ask_terminal() -> str:
    """What the terminal answers; "" where there is none to ask, or it keeps silent."""
    try:
        import termios
        import tty

        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except (ImportError, OSError):
        return ""
    try:
        before = termios.tcgetattr(terminal)
        tty.setcbreak(terminal)
        try:
            os.write(terminal, _QUESTIONS.encode())
            return _answer(terminal)
        finally:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)  # what comes late was not typed
    except (termios.error, OSError):
        return ""
    finally:
        os.close(terminal)


def _answer(terminal: int) -> str:
    answer, deadline = b"", time.monotonic() + ANSWER_S
    while not re.search(rb"\x1b\[\?[\d;]*c", answer):
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0.0))
        more = os.read(terminal, 1024) if ready else b""
        if not more:
            break
        answer += more
    return answer.decode("ascii", errors="replace")


def show(image_rgb: np.ndarray, how: str, out: TextIO) -> None:
    """Writes a picture as wide as fits.

    Args:
        image_rgb: (H, W, 3) uint8.
        how: what `protocol` says.
        out: the terminal.
    """
    columns, rows = _cells(image_rgb.shape[:2])
    if how == BLOCKS:
        deep = os.environ.get("COLORTERM", "") in ("truecolor", "24bit")
        text = half_blocks(_resized(image_rgb, columns, 2 * rows), deep=deep)
    elif how == SIXEL:
        text = sixels(_resized(image_rgb, columns * CELL_WH[0], rows * CELL_WH[1]))
    else:
        fine = _resized(image_rgb, 2 * columns * CELL_WH[0], 2 * rows * CELL_WH[1])
        png = base64.b64encode(_png(fine)).decode()
        text = kitty(png, columns) if how == KITTY else iterm(png, columns)
    out.write(text + "\n")
    out.flush()


def _cells(size_hw: tuple[int, int]) -> tuple[int, int]:
    """(columns, rows) of characters for a picture, its shape kept: a character is twice as high as wide."""
    height, width = size_hw
    there = shutil.get_terminal_size()
    columns = min(there.columns, MOST_COLUMNS)
    rows = columns * height / width / 2
    most = max(there.lines * MOST_OF_ROWS, 1)
    if rows > most:
        columns, rows = int(columns * most / rows), most
    return max(columns, 1), max(round(rows), 1)


def half_blocks(image_rgb: np.ndarray, *, deep: bool) -> str:
    """Two pixels a character: the upper one as its colour, the lower one as its background's.

    Args:
        image_rgb: (2 R, C, 3) uint8, for R rows of C characters.
        deep: the terminal knows 24-bit colours; else the 6x6x6 colours of the 256 are used.
    """

    def code(pixel: np.ndarray) -> str:
        if deep:
            return f"2;{pixel[0]};{pixel[1]};{pixel[2]}"
        red, green, blue = ((int(value) * 5 + 127) // 255 for value in pixel)
        return f"5;{16 + 36 * red + 6 * green + blue}"

    lines = []
    for upper, lower in zip(image_rgb[0::2], image_rgb[1::2], strict=True):
        cells = [f"\x1b[38;{code(u)};48;{code(v)}m▀" for u, v in zip(upper, lower, strict=True)]
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def sixels(image_rgb: np.ndarray) -> str:
    """DEC's sixels in 6x6x6 colours: strips of six rows, colour by colour, equal columns counted.

    Args:
        image_rgb: (H, W, 3) uint8.
    """
    height, width = image_rgb.shape[:2]
    sixths = (image_rgb.astype(np.int32) * 5 + 127) // 255
    colours = sixths @ np.array([36, 6, 1])  # (H, W)
    palette = [f"#{c};2;{c // 36 * 20};{c // 6 % 6 * 20};{c % 6 * 20}" for c in np.unique(colours)]
    strips = []
    for top in range(0, height, 6):
        strip = colours[top : top + 6]
        bits = 1 << np.arange(len(strip))
        painted = [f"#{c}{_counted(bits @ (strip == c))}" for c in np.unique(strip)]
        strips.append("$".join(painted))
    return f'\x1bPq"1;1;{width};{height}{"".join(palette)}{"-".join(strips)}\x1b\\'


def _counted(columns: np.ndarray) -> str:
    """A row of sixels, (W,) of six bits each, with runs of four and more written as a number."""
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    lengths = np.diff(starts, append=len(columns))
    characters = [chr(63 + int(columns[start])) for start in starts]
    return "".join(f"!{n}{c}" if n > 3 else c * int(n) for c, n in zip(characters, lengths, strict=True))


def kitty(png: str, columns: int) -> str:
    """Kitty's protocol: a PNG in base64, in chunks."""
    chunks = [png[start : start + _KITTY_CHUNK] for start in range(0, len(png), _KITTY_CHUNK)]
    first = f"a=T,f=100,c={columns},q=2,"
    return "".join(
        f"\x1b_G{first if n == 0 else ''}m={int(n + 1 < len(chunks))};{chunk}\x1b\\"
        for n, chunk in enumerate(chunks)
    )


def iterm(png: str, columns: int) -> str:
    """ITerm2's protocol: a file in base64."""
    size = len(base64.b64decode(png))
    return f"\x1b]1337;File=inline=1;size={size};width={columns};preserveAspectRatio=1:{png}\x07"


def _resized(image_rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    return cv2.resize(image_rgb, (width, height), interpolation=cv2.INTER_AREA)


def _png(image_rgb: np.ndarray) -> bytes:
    from ovseg_ros.app.ask.picture import png

    return png(image_rgb)
