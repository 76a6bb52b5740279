"""The closed classes of English words that tell how many, which of several, and where."""

from __future__ import annotations

from ovseg_ros.core.words.compounds import words_in

DETERMINERS = words_in(
    """
    a an the my our your his her its their this that these those some any all each every both
    """
)
CARDINALS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
COUNTS = frozenset([*CARDINALS, "thirty", "forty", "fifty", "hundred", "dozen", "several", "few", "many"])
ORDINALS = words_in(
    """
    first second third fourth fifth sixth seventh eighth ninth tenth last next final 1st 2nd 3rd 4th
    5th 6th 7th 8th 9th 10th
    """
)
PLURALS = words_in(
    """
    people men women children mice feet teeth geese sheep fish knives leaves
    """
)
SINGULARS = frozenset(["lens", "gas", "news", "series"])

SUPERLATIVES = words_in(
    """
    nearest closest farthest furthest largest biggest smallest tallest shortest longest widest
    narrowest thickest thinnest heaviest lightest highest lowest oldest newest brightest darkest
    cheapest fullest emptiest cleanest dirtiest leftmost rightmost topmost bottommost uppermost
    lowermost frontmost rearmost innermost outermost
    """
)
COMPARATIVES = words_in(
    """
    larger bigger smaller taller shorter longer wider narrower nearer closer farther further higher
    heavier thicker thinner newer brighter darker cheaper
    """
)
OTHERS = words_in(
    """
    other another same different similar identical remaining most least
    """
)
NEGATIONS = words_in(
    """
    not without except excluding isn't aren't isnt arent neither nor never unlike
    """
)

PHRASES = tuple(
    phrase.split()
    for phrase in (
        "next to",
        "close to",
        "adjacent to",
        "on top of",
        "in front of",
        "to the left",
        "to the right",
        "left of",
        "right of",
        "front of",
        "far from",
        "away from",
        "attached to",
        "connected to",
        "belonging to",
        "instead of",
    )
)
PLACED = words_in(
    """
    above alongside among amongst atop behind below beneath beside between inside near nearby
    opposite outside under underneath within
    """
)
PLACED_FIRST = words_in(
    """
    alongside among amongst atop beneath beside between near nearby underneath within
    """
)
BARE = frozenset({"on", "over", "by"})
WITH_PLACE = words_in(
    """
    across against along around at by from in into off on onto over past through toward towards
    """
)
TRANSITIVE = words_in(
    """
    carrying containing covering facing holding supporting surrounding touching wearing
    """
)
AFTER_THAT = words_in(
    """
    is are was were has have had stands sits lies hangs holds i you we he she they
    """
)
NO_END = words_in(
    """
    with of and or is are what which anything everything something all
    """
)
PHRASAL_COUNTS = tuple(
    phrase.split()
    for phrase in (
        *("how many", "how much", "number of", "couple of", "at least", "at most", "exactly"),
        *("count the", "count all", "count my", "count how many"),
    )
)
