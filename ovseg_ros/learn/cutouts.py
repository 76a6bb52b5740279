"""Named cut-outs for breadth: Microsoft's Fluent 3D emoji (MIT), named by Unicode.

    npm pack @lobehub/fluent-emoji-3d
    tar xzf lobehub-fluent-emoji-3d-*.tgz     # gives package/assets/*.webp

Only single-character emoji that show a thing, an animal or a plain face are taken: no hands, symbols, flags
or clocks. Names that hold a word kept for measuring (`household` synonyms) are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.stored_crop import GROWTH, STORED_SIZE

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


def load_cutouts(folder: Path, banned: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """Reads all usable cut-outs of a folder.

    Args:
        folder: holds `<codepoint>.webp` with transparency.
        banned: words that no name may hold.

    Returns:
        names, one per cut-out; crops (M, S, S, 4) uint8 laid out as the rendered ones.

    Raises:
        ConfigError: the folder holds none; the message says where they come from.
    """
    words = list(banned)
    names, crops = [], []
    for file in sorted(folder.glob("*.webp")):
        name = emoji_name(file.stem)
        if name is None or any(holds_word(name, word) for word in words):
            continue
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3 or image.shape[2] != 4 or not (image[..., 3] > 127).any():
            continue
        names.append(name)
        crops.append(_as_crop(image))
    if not names:
        raise ConfigError(
            f"no cut-outs in {folder}; run: npm pack @lobehub/fluent-emoji-3d, unpack, give package/assets"
        )
    return names, np.stack(crops)


def _as_crop(bgra: np.ndarray) -> np.ndarray:
    mask = bgra[..., 3] > 127
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    tight = bgra[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    inner = round(STORED_SIZE / GROWTH)
    small = cv2.resize(tight, (inner, inner), interpolation=cv2.INTER_AREA)
    out = np.zeros((STORED_SIZE, STORED_SIZE, 4), np.uint8)
    out[..., :3] = (122, 116, 104)
    at = (STORED_SIZE - inner) // 2
    out[at : at + inner, at : at + inner, :3] = small[..., 2::-1]
    out[at : at + inner, at : at + inner, 3] = np.where(small[..., 3] > 127, 255, 0)
    return out
