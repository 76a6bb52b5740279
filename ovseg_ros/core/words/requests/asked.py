"""What is wanted and what has to be looked for it, from words in any form that people have them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ovseg_ros.core.words.labels import is_too_long, key_of, read_label
from ovseg_ros.core.words.query import as_vocabulary
from ovseg_ros.core.words.requests.reader import parse_request
from ovseg_ros.core.words.requests.wanted import Wanted
from ovseg_ros.core.words.vocabulary import Refuse, Vocabulary
from ovseg_ros.errors import InvalidInputError


class Asked(NamedTuple):
    """A request, ready to be answered.

    Attributes:
        wanted: what is meant by it; () where it holds plain names alone, so that nothing has to be chosen.
        vocabulary: what is to be looked for: the things asked for, then those that they are related to.
    """

    wanted: tuple[Wanted, ...]
    vocabulary: Vocabulary

    @property
    def names(self) -> tuple[str, ...]:
        """The things asked for, without those that they are related to; the first of the vocabulary's."""
        own = {key_of(one.name) for one in self.wanted}
        return tuple(name for name in self.vocabulary.names if not own or key_of(name) in own)


def as_request(words: str | Iterable[str], refuse: Refuse | None = None) -> Asked:
    """Words as `as_vocabulary` takes them, each of which may be a request: ["mug", "the left teapot"].

    Args:
        words: text, or a list.
        refuse: what else stands against a word, see `Vocabulary.replace`.

    Raises:
        InvalidInputError: see `as_vocabulary` and `parse_request`.

    Examples:
        >>> asked = as_request("the mug left of the teapot, a spoon")
        >>> asked.names, asked.vocabulary.names
        (('mug', 'spoon'), ('mug', 'spoon', 'teapot'))
    """
    if isinstance(words, bytes | Mapping) or not isinstance(words, Iterable):
        return Asked((), as_vocabulary(words, refuse))
    if isinstance(words, str):
        wanted = list(parse_request(words))
    else:
        words = list(words)
        wanted = list(wanted_of(words))
    if all(one.is_plain for one in wanted):
        return Asked((), as_vocabulary(words, refuse))
    return Asked(tuple(wanted), as_vocabulary(names_of(wanted), refuse))


def names_of(wanted: Iterable[Wanted]) -> tuple[str, ...]:
    """What has to be looked for: the things asked for, then those that they are related to, each once."""
    names: dict[str, str] = {}
    several = list(wanted)
    for name in [*(one.name for one in several), *(name for one in several for name in one.names)]:
        names.setdefault(key_of(name), name)
    return tuple(names.values())


def wanted_of(words: Iterable[str]) -> tuple[Wanted, ...]:
    """What a list of words asks for, entry by entry; one that is no label comes as it is.

    Raises:
        InvalidInputError: an entry is no name, and not understood as a request either.
    """
    return tuple(one for word in words for one in _wanted(word))


def _wanted(word: str) -> tuple[Wanted, ...]:
    """One entry of a list: a name as it stands where it is one, so that its commas stay."""
    try:
        read_label(word)
    except InvalidInputError:
        if not isinstance(word, str) or is_too_long(word):
            return (Wanted(word),)  # as_vocabulary will refuse it
        try:
            found = parse_request(word)
        except InvalidInputError as error:
            raise InvalidInputError(f"{word[:60]!r} cannot be looked for: {error}") from error
        if found and not all(one.is_plain for one in found):
            return found
    return (Wanted(word),)
