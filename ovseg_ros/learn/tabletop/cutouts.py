"""Named cut-outs for breadth: Microsoft's Fluent 3D emoji (MIT), named by Unicode.

    npm pack @lobehub/fluent-emoji-3d
    tar xzf lobehub-fluent-emoji-3d-*.tgz     # gives package/assets/*.webp

Only single-character emoji that show a thing, an animal or a plain face are taken: no hands, symbols, flags
or clocks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ovseg_ros.errors import ConfigError
from ovseg_ros.files.pictures import opened


@dataclass(frozen=True)
class Picture:
    """A cut-out: its noun and the tight picture (h, w, 4) uint8 RGBA."""

    noun: str
    rgba: np.ndarray


_NOT_A_THING = re.compile(
    r"\b(face|faces|hand|hands|person|people|symbol|sign|arrow|arrows|square|circle|squared|circled|heart|hearts|"
    r"button|moon|index|finger|fist|oclock|thirty|ideograph|latin|letter|mark|triangle|diamond|keycap|"
    r"man|men|woman|women|boy|girl|couple|family|bust|busts|kiss|aries|taurus|gemini|cancer|leo|virgo|libra|"
    r"scorpius|sagittarius|capricorn|aquarius|pisces|ophiuchus|silhouette|plus|minus|division|loop|star|chart|medical|"
    r"sleeping|nose|mouth|tongue|eyes|eye|ear|horns|compression|accommodation|equals|selfie|shrug|"
    r"muscle|hole|dash|fog|foggy|wind|cross|cloud|sun|speech|hamsa|fairy|mage|elf|genie|zombie|vampire|adult|child|"
    r"person|runner|swimmer|golfer|surfer|older|pregnant|breast|handball|water polo|juggling|wrestlers|"
    r"fencer)\b"
)
_PLAINER = {
    "lady beetle": "ladybug",
    "automobile": "car",
    "hocho": "kitchen knife",
    "aubergine": "eggplant",
    "ear of maize": "corn",
    "electric torch": "flashlight",
    "beverage box": "juice box",
    "mantelpiece clock": "clock",
    "shopping trolley": "shopping cart",
    "black scissors": "scissors",
    "black telephone": "telephone",
    "personal computer": "laptop",
    "hot beverage": "hot drink",
    "lower left paintbrush": "paintbrush",
    "lower left crayon": "crayon",
    "lower left ballpoint pen": "ballpoint pen",
    "wastebasket": "waste bin",
    "lower left fountain pen": "fountain pen",
    "racing motorcycle": "motorcycle",
}


def holds_word(caption: str, word: str) -> bool:
    """True where `word` stands in `caption` as whole words, case aside.

    >>> holds_word("a red coffee cup", "coffee cup"), holds_word("a buttercup", "cup")
    (True, False)
    """
    return re.search(rf"(?<![\w]){re.escape(word)}(?![\w])", caption, re.IGNORECASE) is not None


def emoji_name(file_stem: str) -> str | None:
    """The plain name of an emoji file such as `1fad6.webp`; None where it shows no single thing."""
    codes = [int(part, 16) for part in file_stem.split("-") if part != "fe0f"]
    if len(codes) != 1 or codes[0] < 0x231A:
        return None
    name = unicodedata.name(chr(codes[0]), "").lower().removesuffix(" face").replace("-", " ")
    name = _PLAINER.get(name, name)
    return None if not name or _NOT_A_THING.search(name) else name


def load_pictures(
    folder: Path, nouns: Iterable[str] | None = None, *, banned: Iterable[str] = (), size: int = 128
) -> list[Picture]:
    """The pictures of single things in a folder of emoji.

    Args:
        folder: holds `<codepoint>.webp` with transparency.
        nouns: which to take; None for every one that is not a face with a mood.
        banned: words that no name may hold.
        size: longer side in pixels.

    Raises:
        ConfigError: no picture, or none for one of `nouns`; the message says where they come from.
    """
    wanted, words = None if nouns is None else set(nouns), tuple(banned)
    out = []
    for file in sorted(folder.glob("*.webp")):
        name = emoji_name(file.stem)
        if name is None or any(holds_word(name, word) for word in words):
            continue
        if _is_mood(file.stem) if wanted is None else name not in wanted:
            continue
        with opened(file) as emoji:
            image = np.array(emoji) if emoji.mode == "RGBA" else np.zeros((1, 1, 4), np.uint8)
        if not (image[..., 3] > 127).any():
            continue
        ys, xs = np.flatnonzero((image[..., 3] > 127).any(1)), np.flatnonzero((image[..., 3] > 127).any(0))
        tight = image[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
        scale = size / max(tight.shape[:2])
        size_wh = max(1, round(tight.shape[1] * scale)), max(1, round(tight.shape[0] * scale))
        out.append(Picture(name, cv2.resize(tight, size_wh, interpolation=cv2.INTER_AREA)))
    missing = (wanted or set()) - {picture.noun for picture in out}
    if not out or missing:
        lacking = ", ".join(sorted(missing)) or "anything"
        raise ConfigError(
            f"no cut-outs for {lacking} in {folder}; run: npm pack @lobehub/fluent-emoji-3d, unpack, give "
            "package/assets"
        )
    return out


def paste(
    picture: Picture, background_rgb: np.ndarray, rng: np.random.Generator, turn_deg: float = 25.0
) -> tuple[np.ndarray, np.ndarray]:
    """The picture, turned a little, before a background that is stretched to a square around it.

    Args:
        picture: what is pasted.
        background_rgb: (h, w, 3) uint8.
        rng: source of randomness.
        turn_deg: largest rotation either way.

    Returns:
        (S, S, 3) uint8 and where the picture is, (S, S) bool.
    """
    height, width = picture.rgba.shape[:2]
    side = round(1.25 * max(height, width))
    matrix = cv2.getRotationMatrix2D(
        (width / 2, height / 2), rng.uniform(-turn_deg, turn_deg), rng.uniform(0.7, 1.05)
    )
    matrix[:, 2] += (np.array([side - width, side - height])) / 2 + rng.uniform(-0.06, 0.06, 2) * side
    turned = cv2.warpAffine(picture.rgba, matrix, (side, side), flags=cv2.INTER_LINEAR)
    back = cv2.resize(background_rgb, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = cv2.GaussianBlur(turned[..., 3], (0, 0), 0.8)[..., None].astype(np.float32) / 255
    mixed = back + (turned[..., :3].astype(np.float32) - back) * alpha
    return mixed.astype(np.uint8), turned[..., 3] > 127


def _is_mood(file_stem: str) -> bool:
    """True for yellow faces: their names are adjectives."""
    code = int(file_stem.split("-")[0], 16)
    named_face = unicodedata.name(chr(code), "").endswith("FACE")
    animal = 0x1F400 <= code <= 0x1F43F or 0x1F980 <= code <= 0x1F9AF
    return (named_face and not animal) or 0x1F600 <= code <= 0x1F64F
