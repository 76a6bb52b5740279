"""A picture of some of the pairs, for a person to look at: crops with their mask, noun and score."""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.learn.pair_shards import Pair, decode_pair, read_manifest

TILE = 176
_CAPTION, _GAP, _COLUMNS = 40, 8, 8
_PAPER, _INK, _FAINT, _LINE = (250, 250, 250), (20, 20, 20), (105, 105, 105), (255, 90, 0)
_MOST_SHARDS = 8


def write_contact_sheet(folder: Path, out: Path, *, pairs: int = 64, seed: int = 0) -> int:
    """Draws pairs of as many different nouns as there is room for.

    Args:
        folder: of the pairs, with a manifest.
        out: a PNG file.
        pairs: most pairs on the sheet.
        seed: of the choice.

    Returns:
        How many were drawn; with none, nothing is written.

    Raises:
        InvalidInputError: the pairs cannot be read.
    """
    chosen = _read(_choose(folder, pairs, random.Random(seed)))
    if not chosen:
        return 0
    temporary = out.with_name(f".{out.name}.part")
    draw_sheet(chosen).save(temporary, format="PNG")
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


def _choose(folder: Path, count: int, chance: random.Random) -> list[tuple[Path, dict[str, Any]]]:
    """(shard, {kind: (offset, size)}) of the pairs to draw: round after round one of each noun."""
    listed = read_manifest(folder)["shards"]
    step = max(len(listed) / _MOST_SHARDS, 1)  # of a large collection some shards, evenly spread
    files = [folder / listed[int(i * step)]["file"] for i in range(min(len(listed), _MOST_SHARDS))]
    by_noun: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for file in files:
        for noun, places in _places(file):
            by_noun.setdefault(noun, []).append((file, places))
    nouns = sorted(by_noun)
    chance.shuffle(nouns)
    for noun in nouns:
        chance.shuffle(by_noun[noun])
    chosen: dict[str, list[tuple[Path, dict[str, Any]]]] = {noun: [] for noun in sorted(by_noun)}
    left = min(count, sum(map(len, by_noun.values())))
    while left:
        for noun in nouns:
            if left and by_noun[noun]:
                chosen[noun].append(by_noun[noun].pop())
                left -= 1
    return [pair for noun in sorted(chosen) for pair in chosen[noun]]


def _places(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Noun and where the three files lie, of each pair of a shard; no pixels are read."""
    found = []
    places: dict[str, Any] = {}
    try:
        with tarfile.open(file, "r:") as tar:
            for info in tar:
                places[info.name.partition(".")[2]] = (info.offset_data, info.size)
                if info.name.endswith(".json"):
                    content = tar.extractfile(info)
                    found.append((str(json.loads(content.read())["noun"]) if content else "", places))
                    places = {}
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        raise InvalidInputError(f"the shard {file} cannot be read: {error!r}") from error
    return found


def _read(chosen: Sequence[tuple[Path, dict[str, Any]]]) -> list[Pair]:
    pairs = []
    for file, places in chosen:
        with file.open("rb") as data:
            members = {}
            for kind, (offset, size) in places.items():
                data.seek(offset)
                members[kind] = data.read(size)
        pairs.append(decode_pair(members, str(file)))
    return pairs


def _fitting(draw: ImageDraw.ImageDraw, text: str, font: Any) -> str:
    """The text, shortened until it fits under a tile."""
    if draw.textlength(text, font) <= TILE:
        return text
    while text and draw.textlength(f"{text}…", font) > TILE:
        text = text[:-1]
    return f"{text}…"
