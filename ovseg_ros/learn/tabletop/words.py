"""The words of the tabletop benchmark: its classes, which of them are held out, and training captions.

A class is a plain noun. Two sorts of things stand on the tables: rendered household objects (`household`) and
*figures*, upright boards with the picture of an animal, a food or a thing (`cutouts`), which give training
captions the breadth of words that captions of photographs have.

Held out is a fixed third: of each kind's nouns in alphabetical order every third, from the third on. Neither
a held-out noun nor a word of `HELD_OUT_WORDS` (its synonyms and near kin) is in a training image or caption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ovseg_ros.learn.tabletop.cutouts import holds_word
from ovseg_ros.learn.tabletop.household import OBJECTS, HouseholdObject

_PLAINER = {  # nouns where the objects' first name is not the plain one
    "yellow moka pot": "moka pot", "white mug": "mug", "red mug": "mug", "patterned mug": "mug",
    "yellow and white mug": "mug", "beige mug": "mug", "black bowl": "bowl", "red bowl": "bowl",
    "white bowl": "bowl", "yellow bowl": "bowl", "white storage box": "storage box", "wooden tray": "tray",
    "wooden shelf": "shelf", "plastic bin": "bin", "placemat with cutlery": "placemat",
    "ketchup bottle": "ketchup", "green ketchup bottle": "ketchup", "blue bottle": "ketchup",
    "chocolate pudding": "pudding", "macaroni and cheese": "macaroni",
}  # fmt: skip
KINDS: Mapping[str, tuple[str, ...]] = {
    "vessel": ("moka pot", "mug", "teapot", "wine bottle"),
    "dish": ("bowl", "frying pan", "placemat", "plate", "ramekin", "tray"),
    "holder": ("basket", "bin", "book", "desk caddy", "dish rack", "shelf", "storage box", "wine rack"),
    "package": ("barbecue sauce", "butter", "cookies", "cream cheese", "ketchup", "macaroni", "milk carton",
                "orange juice", "popcorn", "pudding", "salad dressing", "soup can", "tomato sauce"),
    "animal figure": ("bear", "cat", "dog", "duck", "elephant", "frog", "horse", "lion", "penguin", "rabbit",
                      "tiger", "turtle"),
    "food figure": ("banana", "bread", "broccoli", "carrot", "hamburger", "pear", "pineapple", "strawberry",
                    "watermelon"),
    "thing figure": ("bicycle", "bus", "camera", "guitar", "hammer", "key", "laptop", "telephone",
                     "umbrella"),
}  # fmt: skip
HELD_OUT_WORDS = (
    "teapot", "tea pot", "kettle", "placemat", "cutlery", "silverware", "fork", "fork and knife", "tray",
    "crate", "book", "books", "notebook", "novel", "ledger", "bookmark", "shelf", "bookshelf", "sideboard",
    "cookie", "cookies", "biscuit", "biscuits", "macaroni", "pasta", "spaghetti", "popcorn", "soup",
    "canned food", "dog", "poodle", "puppy", "frog", "toad", "penguin", "turtle", "tortoise", "broccoli",
    "pear", "watermelon", "melon", "camera", "key", "umbrella", "parasol",
)  # fmt: skip
BACKGROUND_WORDS = ("background", "empty table top", "wall")
_MASS = {"barbecue sauce", "butter", "cream cheese", "ketchup", "orange juice", "pudding", "salad dressing",
         "tomato sauce", "broccoli", "bread"}  # fmt: skip
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}
_PATTERNS = (
    "There {are} {things} on the table.",
    "{Things} {stand} on a table.",
    "A table with {things} on it.",
    "{Things} on a table.",
    "A photo of {things}.",
    "On the table {are} {things}.",
    "This picture shows {things} on a table.",
    "We see {things}.",
)


def noun_of(thing: HouseholdObject) -> str:
    """The plain noun that is the object's class."""
    return _PLAINER.get(thing.names[0], thing.names[0])


def household_nouns() -> tuple[str, ...]:
    """The classes of rendered objects."""
    return tuple(noun for kind, nouns in KINDS.items() if "figure" not in kind for noun in nouns)


def class_names() -> tuple[str, ...]:
    """All classes, kind by kind; class k of an annotation is the (k-1)-th."""
    return tuple(noun for nouns in KINDS.values() for noun in nouns)


def unseen_names() -> tuple[str, ...]:
    """The held-out classes: of each kind's nouns in alphabetical order every third, from the third on."""
    return tuple(noun for nouns in KINDS.values() for noun in sorted(nouns)[2::3])


def is_banned(name: str) -> bool:
    """True for a word that nothing in training may hold.

    >>> is_banned("open book"), is_banned("facebook"), is_banned("mug")
    (True, False, False)
    """
    return any(holds_word(name, word) for word in HELD_OUT_WORDS)


def training_objects() -> tuple[HouseholdObject, ...]:
    """The household objects of seen classes."""
    unseen = set(unseen_names())
    return tuple(thing for thing in OBJECTS if noun_of(thing) not in unseen)


def is_figure_name(name: str) -> bool:
    """True for cut-outs that may stand as figures in training scenes: one or two words, seen, unambiguous."""
    words = name.split()
    is_class = any(holds_word(name, noun) for noun in household_nouns())
    return len(words) <= 2 and name.replace(" ", "").isalpha() and not is_class and not is_banned(name)


def spoken(names: Sequence[str]) -> list[str]:
    """Names with article or number: equal ones are counted.

    >>> spoken(["mug", "butter", "mug", "elephant"])
    ['two mugs', 'some butter', 'an elephant']
    """
    out = []
    for name, count in Counter(names).items():
        if name in _MASS or name.endswith(("sauce", "ketchup", "cheese", "juice", "pudding", "butter")):
            out.append(f"some {name}")
        elif count > 1:
            out.append(f"{_NUMBERS.get(count, 'many')} {_plural(name)}")
        elif name.endswith("s") and not name.endswith("ss") and name not in ("bus",):
            out.append(f"some {name}")
        else:
            out.append(f"{'an' if name[0] in 'aeio' or name.startswith('umb') else 'a'} {name}")
    return out


def caption(names: Sequence[str], rng: np.random.Generator) -> str:
    """One sentence that names everything, in random order and one of several patterns.

    Args:
        names: at least one; equal names are counted ("two mugs").
        rng: source of randomness.
    """
    things = spoken([names[i] for i in rng.permutation(len(names))])
    text = things[0] if len(things) == 1 else ", ".join(things[:-1]) + " and " + things[-1]
    single = len(things) == 1 and not things[0].startswith(tuple(_NUMBERS.values()))
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))]
    stand = "stands" if single else "stand"
    return pattern.format(
        things=text, Things=text[0].upper() + text[1:], stand=stand, are="is" if single else "are"
    )


def caption_name(thing: HouseholdObject, rng: np.random.Generator) -> str:
    """What a caption calls a household object: mostly the noun, now and then one of its fuller names."""
    return noun_of(thing) if rng.random() < 0.65 else str(rng.choice(thing.names))


def _plural(name: str) -> str:
    head, _, tail = name.partition(" of ")
    ending = "es" if head.endswith(("s", "x", "ch", "sh")) else "s"
    plural = head[:-1] + "ies" if head.endswith("y") and head[-2] not in "aeiou" else head + ending
    return plural + (f" of {tail}" if tail else "")
