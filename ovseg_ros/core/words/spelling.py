"""How words are written: case, separators, articles, brackets, plurals, and where the head of a phrase is."""

from __future__ import annotations

import re

MAX_WORDS = 16
"""A phrase is read from its end: the head noun stands there. What is further to the front is left out."""


def words_in(text: str) -> frozenset[str]:
    """The words of a list written as text with spaces between them."""
    return frozenset(text.split())


ARTICLES = words_in("a an the this that my your our his her their some")

BREAKS = words_in("of with without on in at for from near under behind beside between over into by")
"""Words after which no head noun comes: "placemat with cutlery" is a placemat."""

PORTIONS = words_in(
    "piece slice pair bunch pile stack heap group set bit sheet loaf row bundle handful lot kind type"
)
"""Before "of" these say how much, not what: "slice of pizza" is pizza, but "cup of tea" is a cup."""

_COLOURS = (
    "red orange yellow green blue purple violet pink brown black white grey silver golden beige "
    "turquoise cyan magenta maroon navy tan cream coloured colored colorful colourful transparent clear"
)
_SIZES = "big large huge small little tiny tall short long wide narrow thick thin giant mini heavy"
_STATES = (
    "old new young empty full open closed dirty clean broken dark bright shiny striped dotted round square "
    "flat wet dry folded used left right other same common ordinary"
)
_MATERIALS = "wooden metal metallic plastic ceramic steel porcelain leather cardboard woollen"
DESCRIBING = words_in(f"{_COLOURS} {_SIZES} {_STATES} {_MATERIALS}")
"""Before a noun these say how a thing looks, not which kind of thing it is: a "red mug" is a mug."""

NO_SINGULAR = words_in(
    "scissors pants jeans shorts trousers tights leggings pajamas pyjamas overalls pliers tongs tweezers "
    "glasses sunglasses eyeglasses goggles binoculars headphones earphones clothes stairs series species"
)
"""Nouns that are plurals only, or mean something else without their s."""

IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot",
    "teeth": "tooth", "geese": "goose", "mice": "mouse", "oxen": "ox", "buses": "bus", "gases": "gas",
    "lenses": "lens", "shoes": "shoe", "toes": "toe", "canoes": "canoe", "knives": "knife",
    "wives": "wife", "shelves": "shelf", "wolves": "wolf", "leaves": "leaf", "loaves": "loaf",
    "scarves": "scarf", "halves": "half", "calves": "calf", "hooves": "hoof", "elves": "elf",
    "thieves": "thief", "cookies": "cookie", "movies": "movie", "ties": "tie", "pies": "pie",
    "brownies": "brownie", "smoothies": "smoothie", "hoodies": "hoodie", "quizzes": "quiz",
}  # fmt: skip
"""Plurals that the endings do not tell."""

BRITISH = {"gray": "grey"}
"""American spellings, read as the British ones: else a "gray mug" and a "grey mug" would be two things."""

_BRACKETS = re.compile(r"[(\[][^()\[\]]*[)\]]")
_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015]+")


def words_of(text: str) -> tuple[str, ...]:
    """The words of a phrase: lower case, without separators, articles in front and what stands in brackets.

    Of two spellings the British one. At most `MAX_WORDS`, the last ones. A text that is all brackets or
    articles gives these; an empty one ().

    Examples:
        >>> words_of("A  red-coffee_Mug (ceramic)")
        ('red', 'coffee', 'mug')
    """
    everything = _split(text)
    words = _split(_BRACKETS.sub(" ", text)) or everything
    while len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    return words[-MAX_WORDS:]


def _split(text: str) -> tuple[str, ...]:
    parts = (part.strip("()[].,;:!?\"'") for part in _SEPARATORS.split(text.lower()))
    return tuple(BRITISH.get(part, part) for part in parts if part)


def singulars(noun: str) -> tuple[str, ...]:
    """What a noun may be the plural of, by its ending, likeliest first; () if it does not look like a plural.

    Examples:
        >>> singulars("boxes"), singulars("vases"), singulars("knives"), singulars("glass")
        (('box', 'boxe'), ('vase', 'vas'), ('knife',), ())
    """
    if noun in IRREGULAR:
        return (IRREGULAR[noun],)
    for end, irregular in (("men", "man"), ("women", "woman")):  # "policemen", "chairwomen"
        if noun.endswith(end) and len(noun) > len(end) + 2:
            return (noun.removesuffix(end) + irregular,)
    if len(noun) < 4 or noun in NO_SINGULAR or not noun.endswith("s") or noun.endswith(("ss", "us", "is")):
        return ()
    if noun.endswith("ies"):
        return (noun[:-3] + "y", noun[:-1])
    if noun.endswith(("sses", "xes", "ches", "shes", "oes")):
        return (noun[:-2], noun[:-1])
    if noun.endswith(("ses", "zes")):
        return (noun[:-1], noun[:-2])
    return (noun[:-1],)


def without_what_follows(words: tuple[str, ...]) -> tuple[str, ...]:
    """A phrase up to its head noun: ("cup", "of", "tea") -> ("cup",), ("slice", "of", "pizza") -> ("pizza",).

    A phrase without such a preposition comes back as it is, and so does one that begins with one.
    """
    for position, word in enumerate(words[:-1]):
        if word in BREAKS and position > 0:
            portion = word == "of" and any(name in PORTIONS for name in _noun_forms(words[position - 1]))
            return without_what_follows(words[position + 1 :]) if portion else words[:position]
    return words


def _noun_forms(word: str) -> tuple[str, ...]:
    return (word, *singulars(word))


def is_plural(name: str) -> bool:
    """Whether the noun at the end of a name looks like several."""
    words = name.split()
    return bool(words) and bool(singulars(words[-1].casefold()))


def is_called(label: str, name: str) -> bool:
    """Whether a label means the name, or says only more of how the thing looks: a red mug is a mug.

    Singular and plural are one.

    Examples:
        >>> is_called("red mug", "mugs"), is_called("mug", "red mug"), is_called("hot dog", "dog")
        (True, False, False)
    """
    if label == name:
        return True
    words, wanted = label.casefold().split(), name.casefold().split()
    more = len(words) - len(wanted)
    if more < 0 or not wanted or words[more:-1] != wanted[:-1]:
        return False
    if {words[-1], *singulars(words[-1])}.isdisjoint({wanted[-1], *singulars(wanted[-1])}):
        return False
    return all(word in DESCRIBING for word in words[:more])
