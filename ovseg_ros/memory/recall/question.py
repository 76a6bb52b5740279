"""Questions to memory as people ask them: "mug", "what food do you remember?", "what is on the table?"."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ovseg_ros.core.words import Wanted, Where, names_of, parse_request
from ovseg_ros.errors import InvalidInputError

_WHERE = r"(?:on|upon|atop|in|inside|under|below|above|over|near|next to|beside|behind|left of|right of|by) "
_KNOW = r"(?:remember|recall|know(?: of)?|see|saw)"
_YOU = re.compile(  # what only says that memory is asked
    r"^(?:do|did|have|can|could) you (?:still |ever )?(?:remember|recall|know(?: of)?|see|seen|find) (?=\w)"
    rf"|,?(?: that)?(?: (?:do|did|can|could))? you (?:still |ever )?{_KNOW}(?= |$)"
    r"| have you (?:ever )?seen(?= |$)| (?:is|are|was|were) there(?= |$)"
    rf"| (?:stands?|lies?)(?= {_WHERE})",
    re.IGNORECASE,
)
_LINK = r"(?: ?(?:is|are|was|were|'s))?(?: there)? ?"
_THINGS = re.compile(rf"(?:(?:what|which)(?: else| things?| objects?)?)?{_LINK}(?={_WHERE})", re.IGNORECASE)
_KIND = re.compile(r"(?:what|which)(?: (?:kinds?|sorts?|types?) of)? (?=\w)", re.IGNORECASE)
_EVERYTHING = frozenset(
    ["", "what", "everything", "anything", "something", "all", "what else", "thing", "things"]
) | {f"{word} {things}" for word in ("what", "which", "all", "any") for things in ("things", "objects")}
_ANY_NAME = frozenset(["thing", "things", "object", "objects", "stuff", *_EVERYTHING])


@dataclass(frozen=True)
class Question:
    """What is asked of memory; all of it holds together, and what is empty asks for nothing.

    Attributes:
        names: called so, or looks so.
        others: names that compete with these and are no answer: what the thing is beside of.
        kinds: called something that is a kind of one of these.
        on: stands on a thing of this name.
        untold: parts of the request that memory cannot hold against what it has ("left of the teapot").
    """

    names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    on: str = ""
    untold: tuple[str, ...] = ()


def read_question(text: str, parse: Callable[[str], Sequence[Wanted]] = parse_request) -> Question:
    """Reads what a person asks a memory.

    Names are read as those of any request, with "on" for what they stand on. "What" and "which" before a noun
    ask for a kind: "what crockery" is all that is crockery, "crockery" only what was called so or looks so.

    Args:
        text: "" and "everything" mean all things.
        parse: reads names and relations; a node's knows the names that were taught to it.

    Raises:
        InvalidInputError: it cannot be read, or asks for what memory cannot tell.

    Example:
        >>> read_question("what is on the table?")
        Question(names=(), others=('table',), kinds=(), on='table', untold=())
        >>> read_question("what crockery is on the table?").kinds
        ('crockery',)
        >>> read_question("where is my mug?").names
        ('mug',)
    """
    plain = _YOU.sub("", re.sub(r"[?!.\s]+$", "", " ".join(text.split()))).strip()
    if plain.casefold() in _EVERYTHING:
        return Question()
    if start := _THINGS.match(plain):
        found = question_of(parse(f"things {plain[start.end() :]}"))
    elif start := _KIND.match(plain):
        found = question_of(parse(plain[start.end() :]))
        found = Question(kinds=found.names, on=found.on, untold=found.untold)
    else:
        found = question_of(parse(plain))
    if found.untold:
        raise InvalidInputError(
            f"memory takes plain names, kinds and what things stand on; it does not tell "
            f"{' or '.join(map(repr, found.untold))}"
        )
    return found


def question_of(asked: Sequence[Wanted]) -> Question:
    """A request to a camera as a question to memory: its names, and what they are on."""
    names = tuple(dict.fromkeys(one.name for one in asked if one.name.casefold() not in _ANY_NAME))
    bases, untold = dict[str, None](), list[str]()
    for one in asked:
        for relation in one.relations:
            anchor = relation.anchors[0]
            if relation.where is Where.ON and anchor.is_plain and len(relation.anchors) == 1:
                bases[anchor.name] = None
            else:
                untold.append(str(relation))
        if one.order is not None:
            untold.append(" ".join(one.order.words()))
        if one.count is not None:
            untold.append(f"{one.count} of them")
    on, *further = bases or [""]
    untold += [f"on the {other}" for other in further]
    others = tuple(name for name in names_of(asked) if name not in names and name.casefold() not in _ANY_NAME)
    return Question(names, others, on=on, untold=tuple(untold))
