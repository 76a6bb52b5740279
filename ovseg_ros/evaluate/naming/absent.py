"""Words for things that are not there, near ones and far ones.

A giraffe on a table is easily told from a teapot; a kettle is not. Near words are what a thing in view is
taken for, so that they are what a planner pays for.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ovseg_ros.evaluate.naming.trials import Kind

ABSENT_KINDS: tuple[Kind, ...] = ("near", "far", "elsewhere")

CONFUSED: tuple[tuple[str, ...], ...] = (
    # COCO's supercategories, those of one word joined with what they are taken for
    ("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    ("traffic light", "fire hydrant", "stop sign", "parking meter", "bench"),
    ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    ("backpack", "umbrella", "handbag", "tie", "suitcase"),
    ("frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard",
     "surfboard", "tennis racket"),
    ("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl"),
    ("banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake"),
    ("chair", "couch", "potted plant", "bed", "dining table", "toilet"),
    ("tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    ("microwave", "oven", "toaster", "sink", "refrigerator"),
    ("book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
    ("person", "teddy bear"),
)  # fmt: skip
"""Words of one group are near each other."""

TAKEN_FOR: Mapping[str, tuple[str, ...]] = {
    "teapot": ("kettle", "vase", "jug", "watering can"),
    "moka pot": ("kettle", "blender", "thermos", "jug"),
    "red mug": ("drinking glass", "jar", "vase", "bucket"),
    "white mug": ("drinking glass", "jar", "vase", "candle"),
    "mug": ("drinking glass", "jar", "vase", "bowl"),
    "cup": ("drinking glass", "jar", "vase", "bowl"),
    "bowl": ("cup", "colander", "plate", "ashtray"),
    "plate": ("frisbee", "tray", "bowl", "clock"),
    "saucer": ("frisbee", "bowl", "ashtray"),
    "ramekin": ("cup", "candle", "ashtray", "jar"),
    "frying pan": ("wok", "ladle", "tennis racket", "pot lid"),
    "milk carton": ("juice carton", "cereal box", "tea box", "yogurt"),
    "orange juice": ("milk carton", "cereal box", "lemonade", "yogurt"),
    "wine bottle": ("water bottle", "vase", "thermos", "soda bottle"),
    "ketchup bottle": ("mustard bottle", "shampoo bottle", "soda bottle", "glue bottle"),
    "barbecue sauce": ("mustard bottle", "soy sauce", "syrup", "shampoo bottle"),
    "soup can": ("soda can", "paint can", "jar", "battery"),
    "cookies": ("crackers", "cereal box", "chocolate bar", "tea box"),
    "macaroni and cheese": ("cereal box", "crackers", "rice", "tea box"),
    "book": ("laptop", "notepad", "picture frame", "magazine"),
    "basket": ("bucket", "backpack", "trash can", "cardboard box"),
    "wooden tray": ("cutting board", "drawer", "picture frame", "laptop"),
    "motorcycle": ("scooter", "wheelchair", "lawn mower", "tricycle"),
    "bicycle": ("scooter", "wheelchair", "motorcycle", "stroller"),
    "bench": ("couch", "stool", "bed", "sawhorse"),
    "shelf": ("wardrobe", "ladder", "refrigerator", "bed"),
    "door": ("window", "curtain", "refrigerator", "mirror"),
    "cat": ("dog", "rabbit", "fox", "teddy bear"),
    "spoon": ("fork", "knife", "ladle", "screwdriver"),
    "camera": ("telescope", "binoculars", "projector", "microphone"),
    "tripod": ("ladder", "microphone stand", "crutch", "easel"),
    "helmet": ("fishbowl", "lamp", "hat", "ball"),
    "flag": ("curtain", "towel", "kite", "scarf"),
    "rocket": ("missile", "crane", "chimney", "lighthouse"),
    "space shuttle": ("airplane", "helicopter", "boat", "train"),
    "tower": ("crane", "lighthouse", "chimney", "windmill"),
    "man": ("statue", "scarecrow", "mannequin", "bear"),
    "astronaut": ("diver", "statue", "mannequin", "robot"),
    # what stands on the tables of RGB-D data sets
    "cracker box": ("book", "milk carton", "toaster", "brick"),
    "sugar box": ("book", "milk carton", "toaster", "brick"),
    "box": ("book", "toaster", "speaker", "brick"),
    "carton": ("book", "toaster", "speaker", "brick"),
    "mustard bottle": ("shampoo bottle", "wine bottle", "vase", "glue bottle"),
    "bleach bottle": ("water bottle", "jug", "vase", "milk carton"),
    "bottle": ("vase", "thermos", "candle", "flashlight"),
    "coffee can": ("jar", "paint can", "bucket", "candle"),
    "tuna can": ("jar", "hockey puck", "candle", "ashtray"),
    "spam can": ("jar", "book", "stapler", "wallet"),
    "can": ("jar", "battery", "candle", "drinking glass"),
    "power drill": ("hair dryer", "pistol", "hammer", "stapler"),
    "banana": ("pepper", "cucumber", "corn", "hot dog"),
    "scissors": ("pliers", "knife", "eyeglasses", "wrench"),
    "pitcher": ("vase", "kettle", "bucket", "watering can"),
    "ball": ("orange", "apple", "balloon", "egg"),
    "clamp": ("pliers", "stapler", "scissors", "wrench"),
    "toy block": ("dice", "eraser", "soap", "sponge"),
    "wooden block": ("dice", "eraser", "soap", "sponge"),
    "keyboard": ("laptop", "piano", "remote", "calculator"),
    "battery": ("lighter", "lipstick", "can", "flashlight"),
}  # fmt: skip
"""What a thing is taken for, by eye and by what networks said; none of it is another word for the thing."""


def near_words(
    word: str, known: Collection[str] | None = None, groups: Sequence[Collection[str]] = CONFUSED
) -> tuple[str, ...]:
    """What a thing of this word is taken for; () where nobody knows.

    Args:
        word: of a thing.
        known: only these words, such as a data set's categories, by `groups` alone; words of `TAKEN_FOR` as
            they are when None.
        groups: words of one group are near each other.
    """
    if known is None:
        return TAKEN_FOR.get(word, ())
    near = [other for group in groups if word in group for other in group]
    return tuple(dict.fromkeys(other for other in near if other != word and other in known))


def far_words(
    present: Collection[str], known: Collection[str], groups: Sequence[Collection[str]] = CONFUSED
) -> tuple[str, ...]:
    """The words of `known` that are neither present nor near to one that is, in their order."""
    left_out = set(present).union(*(near_words(word, known, groups) for word in present))
    return tuple(word for word in known if word not in left_out)


@dataclass(frozen=True)
class AskedWord:
    """One word to ask of a picture, and in which way it is there or not."""

    word: str
    kind: Kind


def one_to_one(
    present: Sequence[str],
    in_view: Collection[str],
    known: Sequence[str],
    seed: str,
    groups: Sequence[Collection[str]] = CONFUSED,
) -> list[AskedWord]:
    """As many absent words as present ones: near and far in turn, of either kind while there are any.

    Args:
        present: words to ask that are there.
        in_view: all words that are there, those included of which nothing large enough shows.
        known: words to take absent ones from.
        seed: of the sample; the same for the same picture.
        groups: words of one group are near each other.
    """
    draw = random.Random(seed)
    near = sorted({other for word in in_view for other in near_words(word, known, groups)} - set(in_view))
    far = sorted(far_words(in_view, known, groups))
    draw.shuffle(near)
    draw.shuffle(far)
    asked = [AskedWord(word, "present") for word in present]
    for turn in range(len(present)):
        kind: Kind = "near" if (turn % 2 == 0 and near) or not far else "far"
        pool = near if kind == "near" else far
        if not pool:
            break
        asked.append(AskedWord(pool.pop(), kind))
    return asked
