"""One word to look for: how a text becomes a label, and why it may not."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass

from ovseg_ros.core.words.relations import unread_part
from ovseg_ros.errors import InvalidInputError

MAX_LABEL_BYTES = 128
"""Longest label, in UTF-8 bytes."""

MAX_RAW_BYTES = 512
"""Longest text that is looked at to make a label of it, in UTF-8 bytes. Unicode's normal form takes time
with the square of a row of accents: one text of 120 kB would hold everybody up for seconds."""

MAX_ACCENTS = 30
"""Combining marks in a row that are kept, as in Unicode's stream-safe text format (UAX #15, section 13)."""

_JOINERS = "\u200c\u200d"  # invisible, but part of how Persian, Hindi and emoji are spelled
_BRACKETS = {"(": ")", "[": "]", "{": "}", "\uff08": "\uff09", "\uff3b": "\uff3d", "\u3010": "\u3011"}
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb", "\u201e": "\u201c"}


@dataclass(frozen=True)
class Label:
    """One active word.

    Attributes:
        id: 0..254, the value in label images; see `Vocabulary` for how long it means this word.
        name: cleaned text, as it was first spelled.
        threshold: probability a mask needs to get this label, in [0, 1]; None takes the default.
    """

    id: int
    name: str
    threshold: float | None = None


@dataclass(frozen=True)
class Rejected:
    """A word that was not taken, and why, in a sentence for people."""

    name: str
    reason: str


class Quoted(str):
    """A name that was in quotation marks: taken as it stands, whatever its words would mean."""

    __slots__ = ()


def read_label(text: str) -> str:
    """A text as a label, unless it tells where, which or how many.

    Quotation marks around the whole text, or a `Quoted`, keep it unread.

    Returns:
        What `clean_label` returns.

    Raises:
        InvalidInputError: see `clean_label`; or a relation, position, number, comparison or negation, which
            no mask by itself can answer; the message says what to ask instead.

    Examples:
        >>> read_label('"top shelf"'), read_label("top hat")
        ('top shelf', 'top hat')
    """
    label = clean_label(text)
    if not isinstance(text, Quoted) and not _is_quoted(text):
        unread = unread_part(label)
        if unread is not None:
            raise InvalidInputError(unread.sentence)
    return label


def clean_label(text: str) -> str:
    r"""Brings one label into the form it is stored and compared in.

    Unicode NFC; control and other invisible characters go, runs of white space become one space, and
    punctuation around the words goes, but for brackets that belong together.

    Returns:
        The label, at most 128 bytes of UTF-8, never empty.

    Raises:
        InvalidInputError: nothing is left, or more than 128 bytes are, or more than 512 came in.

    Examples:
        >>> clean_label("  red\tmug?!"), clean_label("crayon (red)")
        ('red mug', 'crayon (red)')
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"expected a label as text, got {type(text).__name__}")
    if is_too_long(text):
        raise InvalidInputError(f"expected at most {MAX_LABEL_BYTES} bytes, got more than {MAX_RAW_BYTES}")
    label = tidy_text(text)
    if not label:
        raise InvalidInputError("no word in it")
    if len(label.encode()) > MAX_LABEL_BYTES:
        raise InvalidInputError(f"expected at most {MAX_LABEL_BYTES} bytes, got {len(label.encode())}")
    return label


def is_too_long(text: str) -> bool:
    """Whether a text is no label by its sheer length; costs nothing, however long it is."""
    return len(text) > MAX_RAW_BYTES or len(text.encode(errors="surrogatepass")) > MAX_RAW_BYTES


def tidy_text(text: str) -> str:
    """`clean_label` without its limits: the empty string where no word is left."""
    visible = "".join(map(_visible, text))
    words = re.sub(r"\s+", " ", composed(visible))
    start, stop = _trimmed(words)
    label = words[start:stop]
    return label if any(map(_is_wordlike, label)) else ""


def composed(text: str) -> str:
    """Unicode's NFC in time linear in the text's length: of accents in a row the first 30 are kept."""
    if text.isascii():
        return text
    kept, accents = [], 0
    for character in text:
        accents = accents + 1 if unicodedata.combining(character) else 0
        if accents <= MAX_ACCENTS:
            kept.append(character)
    return unicodedata.normalize("NFC", "".join(kept))


def key_of(name: str) -> str:
    """What two spellings of one name have in common: they differ in case alone."""
    return unicodedata.normalize("NFC", name.casefold())


def shown(text: object) -> str:
    """A rejected text, short and safe enough for a reply or a log."""
    short = tidy_text(str(text)[:MAX_RAW_BYTES])
    return short if len(short) <= 40 else short[:39] + "…"


def checked_threshold(threshold: float | None) -> float | None:
    """A label's threshold; None for none and NaN.

    Raises:
        InvalidInputError: outside [0, 1].
    """
    if threshold is None or math.isnan(threshold):
        return None
    if not 0.0 <= threshold <= 1.0:
        raise InvalidInputError(f"expected a threshold in [0, 1], got {threshold}")
    return float(threshold)


def _is_quoted(text: str) -> bool:
    """Whether one pair of quotation marks holds the whole text."""
    whole = text.strip()
    close = _QUOTES.get(whole[:1])
    return close is not None and len(whole) > 2 and whole.find(close, 1) == len(whole) - 1


def _trimmed(words: str) -> tuple[int, int]:
    """Where the words begin and end, without the punctuation around them.

    Brackets that belong together are no punctuation, unless they hold everything.
    """
    pairs = _bracket_pairs(words)
    start, stop = 0, len(words)
    while start < stop:
        last = stop - 1
        if pairs.get(start) == last:
            start, stop = start + 1, last
        elif _is_padding(words[start]) and start not in pairs:
            start += 1
        elif _is_padding(words[last]) and last not in pairs:
            stop = last
        else:
            break
    return start, stop


def _bracket_pairs(words: str) -> dict[int, int]:
    """Place of each bracket that has a partner with a word between them -> its partner's place."""
    pairs: dict[int, int] = {}
    open_at: list[tuple[int, str, int]] = []
    seen = 0  # letters, digits and signs so far
    for at, character in enumerate(words):
        if character in _BRACKETS:
            open_at.append((at, _BRACKETS[character], seen))
        elif open_at and character == open_at[-1][1]:
            start, _, before = open_at.pop()
            if seen > before:
                pairs[start], pairs[at] = at, start
        else:
            seen += _is_wordlike(character)
    return pairs


def _is_wordlike(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) == "So"


def _visible(character: str) -> str:
    """The character, a space for one that moves the cursor, nothing for an invisible one."""
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    return "" if category[0] == "C" and character not in _JOINERS else character


def _is_padding(character: str) -> bool:
    return character.isspace() or character in _JOINERS or unicodedata.category(character)[0] == "P"
