"""What people and planners type, turned into labels: "find the apple and the orange"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from ovseg_ros.core.words.vocabulary import MAX_LABELS, Vocabulary, clean_label, tidy_text
from ovseg_ros.errors import InvalidInputError

MAX_QUERY_BYTES = 4096
"""Longest query, in UTF-8 bytes."""

# Straight single quotes count only around whole words, so that "the baker's peel" is no quotation.
_QUOTED = re.compile(
    "\"([^\"]*)\"|\u201c([^\u201d]*)\u201d|\u00ab([^\u00bb]*)\u00bb|(?<!\\w)'([^']*)'(?!\\w)"
    "|(?<!\\w)\u2018([^\u2019]*)\u2019(?!\\w)"
)
_ABBREVIATION = r"(?<!\bmr)(?<!\bmrs)(?<!\bdr)(?<!\bst)(?<!\bno)(?<!\bvs)(?<!\d)"
_SEPARATOR = re.compile(
    r"[,;\n\r\v\f\u0085\u2028\u2029\u3001\uff0c\uff1b]"  # lists, also with the marks of Chinese and Japanese
    r"|[?!\u3002\uff01\uff1f]+(?:\s|$)"  # sentences
    rf"|{_ABBREVIATION}\.+(?:\s|$)"
    r"|(?<!\S)(?:and|or|&|as well as|and/or)(?!\S)",
    re.IGNORECASE,
)

# Words before the name, each with what may stand between: tried again and again until none fits.
_POLITE = (
    r"please|pls|hey|ok|okay|now|then|also|just|either|both|"
    r"(?:can|could|will|would) you|i(?: a|')m looking for|"
    r"i(?: want|'d like| would like| need)(?: you)?(?: to)?|"
    r"(?:try|help me) to|help me|let'?s"
)
_VERB = (
    r"(?:find|locate|detect|segment)(?: me| us)?(?: out)?|look(?:ing)? for|search(?:ing)?(?: for)?|"
    r"(?:show|give|bring|get|hand) (?:me|us)|(?:point|go)(?: me)? (?:to|at)|pick up|"
    r"do you see|see if there (?:is|are)|(?:is|are) there|what about|how about"
)
_WHERE = r"(?:(?:show|tell) (?:me|us) )?where(?:'s|\u2019s|s| (?:is|are|can (?:i|we) find|do you see))?"
_ARTICLE = (
    r"(?:all|some|every one|each|one|both|any) of|"
    r"an?|the|my|our|your|his|her|its|their|some|any|this|that|these|those|all|every|each"
)
_LEAD = re.compile(rf"(?:{_ARTICLE}|{_VERB}|{_WHERE}|{_POLITE})(?=[\s:]|$)[\s:]*", re.IGNORECASE)
_BULLET = re.compile(r"(?:[-*\u2022\u2013]|\d{1,3}[.)])\s+")
_TAIL = re.compile(
    r"\s+(?:please|pls|for (?:me|us)|thanks|thank you|too|is|are|"
    r"in (?:the|this) (?:image|picture|photo|scene|view|frame))$",
    re.IGNORECASE,
)
_HELD = "\ue000"  # stands for a quotation while the words around it are read


def parse_query(text: str) -> tuple[str, ...]:
    """Names the things a query asks for.

    Commands, articles and politeness go; commas, semicolons, new lines, sentences, "and" and "or" separate
    names; quotation marks keep a name whole. Spelling and case are kept, repetitions are not.

    Args:
        text: at most 4096 bytes of UTF-8.

    Returns:
        Names in the order asked; () for a blank query, which means "look for nothing".

    Raises:
        InvalidInputError: too long, or words that name no thing ("find the").

    Example:
        >>> parse_query("find the apple and the orange")
        ('apple', 'orange')
        >>> parse_query('teapot, my red mug; "salt and pepper shaker"')
        ('teapot', 'red mug', 'salt and pepper shaker')
        >>> parse_query("Where is my kettle, please?")
        ('kettle',)
        >>> parse_query(" ")
        ()
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"want a query as text, got {type(text).__name__}")
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_QUERY_BYTES:
        raise InvalidInputError(f"want a query of at most {MAX_QUERY_BYTES} bytes, got {size}")
    if not text.strip():
        return ()
    readable = unicodedata.normalize("NFC", text.replace(_HELD, ""))
    quotations = [next(g for g in m.groups() if g is not None) for m in _QUOTED.finditer(readable)]
    held = _QUOTED.sub(_HELD, readable)
    names: dict[str, str] = {}
    for clause in _SEPARATOR.split(held):
        count = clause.count(_HELD)
        name = _name_in(clause, quotations[:count])
        del quotations[:count]
        if name:
            names.setdefault(name.casefold(), name)
    if not names:
        shown = tidy_text(text) or text.strip()
        raise InvalidInputError(f"name a thing: {shown[:40]!r} names none; say for example 'find teapot'")
    return tuple(names.values())


def _name_in(clause: str, quotations: list[str]) -> str:
    """The name in one clause, "" where there is none; each held place takes the next quotation."""
    words = re.sub(r"\s+", " ", clause).strip()
    words = _BULLET.sub("", words, count=1) if _BULLET.match(words) else words
    while lead := _LEAD.match(words):
        words = words[lead.end() :]
    words = words.rstrip(" .?!:")
    while (shorter := _TAIL.sub("", words)) != words:
        words = shorter
    for quotation in quotations:
        words = words.replace(_HELD, quotation, 1)
    return tidy_text(words)


def as_vocabulary(words: str | Iterable[str]) -> Vocabulary:
    """Words in any form that people have them in; repetitions are dropped.

    Raises:
        InvalidInputError: none, too many, no text, or a text that is no word.
    """
    if isinstance(words, str):
        names = list(parse_query(words))
    elif isinstance(words, bytes | Mapping) or not isinstance(words, Iterable):
        raise InvalidInputError(f'want words as a list or as text such as "cup, spoon", got {words!r:.60}')
    else:
        names = list(words)
    if not names:
        raise InvalidInputError('name at least one thing, for example ["cup", "spoon"] or "cup, spoon"')
    for name in names:
        try:
            clean_label(name)
        except InvalidInputError as error:
            raise InvalidInputError(f"{name!r:.60} cannot be looked for: {error}") from error
    vocabulary, rejected = Vocabulary.empty().replace(names)
    if any(word.name not in vocabulary for word in rejected):
        raise InvalidInputError(f"want at most {MAX_LABELS} words, got {len(names)}")
    return vocabulary
