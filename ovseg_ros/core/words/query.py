"""What people and planners type, turned into labels: "find the apple and the orange"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ovseg_ros.core.words.labels import (
    MAX_LABEL_BYTES,
    Quoted,
    composed,
    key_of,
    read_label,
    shown,
    tidy_text,
)
from ovseg_ros.core.words.relations import unread_part
from ovseg_ros.core.words.vocabulary import MAX_LABELS, Refuse, Vocabulary
from ovseg_ros.errors import InvalidInputError

MAX_QUERY_BYTES = 4096
"""Longest query, in UTF-8 bytes."""

_QUOTES = {'"': '"', "\u201c": "\u201d", "\u00ab": "\u00bb", "'": "'", "\u2018": "\u2019"}
_AROUND_WORDS = "'\u2018"  # these count only around whole words, so that "the baker's peel" is no quotation
_ABBREVIATION = r"(?<!\bmr)(?<!\bmrs)(?<!\bdr)(?<!\bst)(?<!\bno)(?<!\bvs)(?<!\d)"
_SEPARATOR = re.compile(
    r"[,;\n\r\v\f\u0085\u2028\u2029\u3001\uff0c\uff1b]"  # lists, also with the marks of Chinese and Japanese
    r"|(?<![?!\u3002\uff01\uff1f])[?!\u3002\uff01\uff1f]+(?:\s|$)"  # sentences; each row is looked at once
    rf"|(?<!\.){_ABBREVIATION}\.+(?:\s|$)"
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
    r"\s(?:please|pls|for (?:me|us)|thanks|thank you|too|is|are|"
    r"in (?:the|this) (?:image|picture|photo|scene|view|frame))$",
    re.IGNORECASE,
)
_TAIL_LENGTH = 24  # longer than any
_HELD = "\ue000"  # stands for a quotation while the words around it are read
_PRIVATE = re.compile("[\ue000-\ue01f]")
_GLOSS = re.compile(r"[(\uff08][^()\uff08\uff09\n\r]*[)\uff09]")
_MARKS = " ,;?!\t\u0085\u2028\u2029\u3001\u3002\uff01\uff0c\uff1b\uff1f"
_KEPT = {ord(mark): 0xE001 + i for i, mark in enumerate(_MARKS)}
_BOUND = "\ue01e"  # before an "and" that separates no names: "between the pot and the bowl"
_BETWEEN = re.compile(r"(?<!\S)between\s[^,;.?!\n\r]{1,120}?\sand(?=\s)", re.IGNORECASE)
_GIVEN_BACK = {**{kept: mark for mark, kept in _KEPT.items()}, ord(_BOUND): None}


class Phrase(NamedTuple):
    """One name of a query, or what else was asked for in its place.

    Attributes:
        name: tidy; a `Quoted` where some of it was in quotation marks.
        read: what the rules read: a quotation is one word, whatever is in it.
        quotations: that word -> what was in the quotation marks.
        lead: the words in front that are no part of it: "find all the".
        follows: what separates it from the phrase before, lower case: "," or "and".
    """

    name: str
    read: str
    quotations: Mapping[str, str]
    lead: str
    follows: str


def parse_query(text: str) -> tuple[str, ...]:
    """Names the things a query asks for.

    Commands, articles and politeness go; commas, semicolons, new lines, sentences, "and" and "or" separate
    names, but not within the round brackets of one: "tape (cloth, paper)". Spelling and case are kept,
    repetitions are not. Quotation marks keep a name whole and unread: such a name comes as a `Quoted`, which
    a `Vocabulary` takes as it stands.

    Args:
        text: at most 4096 bytes of UTF-8.

    Returns:
        Names in the order asked; () for a blank query, which means "look for nothing".

    Raises:
        InvalidInputError: too long, words that name no thing ("find the"), or ones that tell where, which or
            how many ("the left teapot", "two mugs"): see `relations`; `parse_request` understands them.

    Examples:
        >>> parse_query("find the apple and the orange")
        ('apple', 'orange')
        >>> parse_query('teapot, my red mug; "salt and pepper shaker"')
        ('teapot', 'red mug', 'salt and pepper shaker')
        >>> parse_query("Where is my kettle, please?")
        ('kettle',)
        >>> parse_query("crayon (red or blue), mouse_(computer_equipment)")
        ('crayon (red or blue)', 'mouse_(computer_equipment)')
        >>> parse_query(" ")
        ()
    """
    return names_in(checked_query(text))


def checked_query(text: str) -> str:
    """The text of a query.

    Raises:
        InvalidInputError: no text, or too long.
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"expected a query as text, got {type(text).__name__}")
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_QUERY_BYTES:
        raise InvalidInputError(f"expected a query of at most {MAX_QUERY_BYTES} bytes, got {size}")
    return text


def names_in(text: str) -> tuple[str, ...]:
    """`parse_query` for a text of any length, in time linear in it."""
    names: dict[str, str] = {}
    for phrase in phrases_in(text):
        unread = None if len(phrase.name.encode()) > MAX_LABEL_BYTES else unread_part(phrase.read)
        if unread is not None:
            raise InvalidInputError(unread.sentence)
        names.setdefault(key_of(phrase.name), phrase.name)
    return tuple(names.values())


def phrases_in(text: str) -> list[Phrase]:
    """What a query asks for, phrase by phrase, unread; none for a blank one.

    Raises:
        InvalidInputError: words that name no thing ("find the").
    """
    if not text.strip():
        return []
    phrases = list(_phrases(text))
    if not phrases:
        short = shown(text) or text.strip()[:40]
        raise InvalidInputError(f"name a thing: {short!r} names none; say for example 'find teapot'")
    return phrases


def _phrases(text: str) -> Iterator[Phrase]:
    held, quotations = _without_quotations(composed(_PRIVATE.sub("", text)))
    at = 0
    for follows, clause in _clauses(held):
        count = clause.count(_HELD)
        phrase = _phrase(clause, quotations[at : at + count], follows)
        at += count
        if not isinstance(phrase.name, Quoted) and len(_clauses(phrase.name)) > 1:  # "(cup, spoon)"
            yield from phrases_in(phrase.name)
        elif phrase.name:
            yield phrase


def _clauses(text: str) -> list[tuple[str, str]]:
    """The text at its separators, each clause with the separators before it; those in brackets are none."""
    kept = _GLOSS.sub(lambda gloss: gloss[0].translate(_KEPT), text)
    kept = _BETWEEN.sub(lambda between: f"{between[0][:-3]}{_BOUND}{between[0][-3:]}", kept)
    clauses, follows, start = [], "", 0
    for separator in [*_SEPARATOR.finditer(kept), None]:
        clause = kept[start : separator.start() if separator else None].translate(_GIVEN_BACK)
        if clause and not clause.isspace():
            clauses.append((follows, clause))
            follows = ""
        if separator:
            follows, start = separator[0].strip().lower() or follows, separator.end()
    return clauses


def _without_quotations(text: str) -> tuple[str, list[str]]:
    """The text with a held place for each quotation, and the quotations.

    Every character is looked at twice at most.
    """
    parts, quotations = [], []
    start = at = 0
    unclosed: set[str] = set()
    while at < len(text):
        close = _QUOTES.get(text[at])
        if close is None or close in unclosed or not _opens(text, at):
            at += 1
            continue
        end = text.find(close, at + 1)
        if end < 0:
            unclosed.add(close)
            at += 1
        elif text[at] in _AROUND_WORDS and _is_word(text[end + 1 : end + 2]):
            at = end if close == text[at] else at + 1
        else:
            parts += [text[start:at], _HELD]
            quotations.append(text[at + 1 : end])
            start = at = end + 1
    return "".join([*parts, text[start:]]), quotations


def _opens(text: str, at: int) -> bool:
    return text[at] not in _AROUND_WORDS or at == 0 or not _is_word(text[at - 1])


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _phrase(clause: str, quotations: list[str], follows: str) -> Phrase:
    """What one clause asks for, its name "" where there is none; each held place takes the next quotation."""
    words = re.sub(r"\s+", " ", clause).strip()
    start, stop = 0, len(words)
    if bullet := _BULLET.match(words):
        start = bullet.end()
    while lead := _LEAD.match(words, start):
        start = lead.end()
    while True:
        while stop > start and words[stop - 1] in " .?!:":
            stop -= 1
        tail = _TAIL.search(words[max(stop - _TAIL_LENGTH, start) : stop])
        if tail is None:
            break
        stop -= tail.end() - tail.start()
    pieces = words[start:stop].split(_HELD)
    name = tidy_text(_filled(pieces, quotations))
    held = {"-".join(quotation.split()): quotation for quotation in quotations}
    read = _filled(pieces, ["-".join(quotation.split()) for quotation in quotations])
    return Phrase(Quoted(name) if quotations else name, read, held, words[:start], follows)


def _filled(pieces: list[str], quotations: list[str]) -> str:
    return "".join(piece + quotation for piece, quotation in zip(pieces, [*quotations, ""], strict=True))


def as_vocabulary(words: str | Iterable[str], refuse: Refuse | None = None) -> Vocabulary:
    """Words in any form that people have them in; repetitions are dropped.

    Args:
        words: text, or a list.
        refuse: what else stands against a word, see `Vocabulary.replace`.

    Raises:
        InvalidInputError: none, too many, no text, or a text that cannot be looked for.
    """
    if isinstance(words, str):
        names = list(parse_query(words))
    elif isinstance(words, bytes | Mapping) or not isinstance(words, Iterable):
        raise InvalidInputError(
            f'expected words as a list or as text such as "cup, spoon", got {words!r:.60}'
        )
    else:
        names = list(words)
    if not names:
        raise InvalidInputError('name at least one thing, for example ["cup", "spoon"] or "cup, spoon"')
    for name in names:
        try:
            label = read_label(name)
            if refuse is not None and (reason := refuse(label)):
                raise InvalidInputError(reason)
        except InvalidInputError as error:
            short = repr(name[:60]) if isinstance(name, str) else f"{name!r:.60}"
            raise InvalidInputError(f"{short} cannot be looked for: {error}") from error
    vocabulary, rejected = Vocabulary.empty().replace(names)
    if any(word.name not in vocabulary for word in rejected):
        raise InvalidInputError(f"expected at most {MAX_LABELS} words, got {len(names)}")
    return vocabulary
