"""English colour words: which part of CIE Lab each means, and where in a name they stand for a colour.

Lab is that of sRGB under D65; hue is atan2(b, a) in degrees, chroma the length of (a, b). The regions are
wide and overlap, as people use the words and as light changes: a white mug in the shade is as dark as
a grey one in the sun. Berlin and Kay's eleven basic colours (1969) are all here.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

_HUE_EDGE = 12.0  # degrees over which a hue ceases to be one


@dataclass(frozen=True)
class Region:
    """A part of Lab, with soft edges.

    Attributes:
        hue: from and to in degrees, counted upwards, across 360 where from > to; None: any.
        chroma: from none of it to all of it, and from all of it to none.
        lightness: the same for L, 0 to 100.
    """

    hue: tuple[float, float] | None
    chroma: tuple[float, float, float, float]
    lightness: tuple[float, float, float, float]

    @property
    def is_hue(self) -> bool:
        """Whether it is a matter of hue, which deep shade and glare hide."""
        return self.hue is not None


_ANY = (-2.0, -1.0, 1000.0, 1001.0)


def _hue(
    start: float, stop: float, chroma: tuple[float, float] = (7, 14), light: tuple[float, ...] = ()
) -> Region:
    lightness = (light[0], light[1], light[2], light[3]) if light else _ANY
    return Region((start, stop), (*chroma, 1000.0, 1001.0), lightness)


def _grey(chroma: tuple[float, float], lightness: tuple[float, float, float, float]) -> Region:
    return Region(None, (-2.0, -1.0, *chroma), lightness)


_GREY = _grey((12, 20), (12, 22, 88, 96))
_PURPLE = _hue(292, 352)
_TURQUOISE = _hue(168, 245)
_DARK_RED = _hue(355, 52, light=(-2, -1, 50, 60))

COLOURS = MappingProxyType(
    {
        "red": _hue(345, 52, (9, 16), (-2, -1, 78, 88)),
        "orange": _hue(42, 84, (20, 32), (28, 38, 1000, 1001)),
        "yellow": _hue(74, 114, (18, 28), (38, 48, 1000, 1001)),
        "green": _hue(100, 200),
        "blue": _hue(205, 312),
        "purple": _PURPLE,
        "pink": _hue(325, 46, (8, 14), (38, 48, 1000, 1001)),
        "brown": Region((15, 95), (5, 10, 60, 75), (-2, -1, 60, 72)),
        "black": _grey((16, 28), (-2, -1, 32, 44)),
        "white": _grey((14, 24), (42, 56, 1000, 1001)),
        "grey": _GREY,
        "violet": _PURPLE,
        "magenta": _hue(318, 5, (16, 26)),
        "beige": Region((40, 115), (3, 6, 32, 44), (44, 54, 1000, 1001)),
        "tan": Region((40, 100), (6, 10, 45, 58), (35, 45, 92, 97)),
        "cyan": _TURQUOISE,
        "turquoise": _TURQUOISE,
        "teal": _TURQUOISE,
        "navy": _hue(245, 312, light=(-2, -1, 42, 52)),
        "maroon": _DARK_RED,
        "burgundy": _DARK_RED,
        "silver": _grey((14, 24), (22, 34, 1000, 1001)),
        "gold": _hue(55, 108, (12, 20), (28, 38, 1000, 1001)),
    }
)
"""Colour word -> region. British spelling; the American one is read as well."""

BASIC = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")
"""The basic colour words, in which a mask's own colour is told."""

_SPELLINGS = {"gray": "grey", "golden": "gold"}
_SHADES = frozenset(
    ("dark", "light", "bright", "pale", "deep", "vivid", "pastel", "neon", "shiny", "matte", "matt", "plain")
)

_NOT_A_COLOUR = {
    "red": "bean brick bull cabbage cap carpet cent cross currant deer flag fox hat herring light meat"
    " onion panda planet river sea snapper squirrel tape wine wood",
    "orange": "blossom cake county crush drink grove jam jelly juice lemonade liqueur marmalade peel pekoe"
    " rind segment slice soda squash tree wedge zest",
    "yellow": "card fever jacket jackets line pages squash stone tang",
    "green": "bay bean beans card house houses man onion onions room salad screen tea thumb",
    "blue": "bird book cheese chip jay jean jeans print ray ribbon tit tooth whale",
    "purple": "cabbage heart onion",
    "pink": "grapefruit lady panther salmon salt slip wine",
    "brown": "ale bear bread coal rice sauce sugar",
    "black": "bass bean beans bear belt berry bird board book box bread cab cherry coffee currant diamond"
    " eye forest hole ice light market olive panther pepper pudding rhino rhinoceros rice sea"
    " sheep swan tea tie widow",
    "white": "asparagus bean beans board bread cane cell chocolate coffee gold goods house lie meat noise"
    " oak onion pages pepper pine potato rhino rhinoceros rice sauce sugar tea water wine",
    "grey": "area fox heron matter seal squirrel water whale wolf",
    "violet": "flower flowers",
    "tan": "lines",
    "navy": "bean beans officer seal ship yard",
    "silver": "back birch chain coin coins cutlery dollar earring earrings fish fork fox jewellery jewelry"
    " knife knives medal necklace plate ring screen spoon spoons star tray ware",
    "gold": "bar bars bracelet chain coin coins digger earring earrings fish gate hamster jewellery"
    " jewelry leaf medal mine necklace nugget plate retriever ring rings rush star syrup watch",
}
"""After each colour word, the words that make a name with it whose things have any colour, or another."""

_NAMES = {colour: frozenset(words.split()) for colour, words in _NOT_A_COLOUR.items()}


@dataclass(frozen=True)
class NamedColours:
    """What a name says of a thing's colour.

    Attributes:
        colours: words of `COLOURS`, several for "black and white".
        thing: the name without them.
    """

    colours: tuple[str, ...]
    thing: str

    @property
    def spoken(self) -> str:
        """The colours for people: "black and white"."""
        return " and ".join(self.colours)


def named_colours(name: str) -> NamedColours | None:
    """The colours that a name begins with; None where it names none, or is the name of a thing of its own.

    Examples:
        >>> named_colours("dark red mug")
        NamedColours(colours=('red',), thing='mug')
        >>> named_colours("black and white cat").colours
        ('black', 'white')
        >>> named_colours("orange"), named_colours("red wine"), named_colours("mug")
        (None, None, None)
    """
    typed = name.replace("_", " ").split()
    colours: list[str] = []
    at = 0
    while at < len(typed):
        parts = typed[at].casefold().rstrip(",").split("-")
        found = [_SPELLINGS.get(part, part) for part in parts if part != "and" or len(parts) == 1]
        if all(part in COLOURS or part in _SHADES for part in found):
            colours += [part for part in found if part in COLOURS and part not in colours]
        elif not (colours and found in (["and"], ["&"])):
            break
        at += 1
    thing = typed[at:]
    if not colours or not thing or thing[0][0] in "([":  # "orange_(fruit)" is no fruit of that colour
        return None
    if thing[0].casefold() in _NAMES.get(colours[-1], frozenset()):
        return None
    return NamedColours(tuple(colours), " ".join(thing))


def memberships(lab: npt.NDArray[np.float32], colour: str) -> npt.NDArray[np.float32]:
    """How much each pixel is of a colour.

    Args:
        lab: (..., 3) float32 CIE Lab, L 0 to 100.
        colour: one of `COLOURS`.

    Returns:
        (...) float32 in [0, 1]: the product of what hue, chroma and lightness say, each 1 inside of its range
        and falling in a straight line to 0 at its outer edge.
    """
    region = COLOURS[colour]
    lightness, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    share = _inside(np.hypot(a, b), region.chroma) * _inside(lightness, region.lightness)
    if region.hue is not None:
        start, stop = region.hue
        half = ((stop - start) % 360) / 2
        away = np.abs((np.degrees(np.arctan2(b, a)) - (start + half) + 180) % 360 - 180) - half
        share = share * np.clip(1 - away / _HUE_EDGE, 0, 1)
    result: npt.NDArray[np.float32] = share.astype(np.float32)
    return result


def _inside(
    values: npt.NDArray[np.float32], edges: tuple[float, float, float, float]
) -> npt.NDArray[np.float32]:
    """1 between the middle two edges, 0 beyond the outer two, straight between."""
    none, all_, until, gone = edges
    rising = (values - none) / (all_ - none)
    falling = (gone - values) / (gone - until)
    inside: npt.NDArray[np.float32] = np.clip(np.minimum(rising, falling), 0, 1)
    return inside
