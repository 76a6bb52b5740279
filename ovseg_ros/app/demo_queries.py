"""What the demo asks: its own list, or the user's words spread over the three doors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ovseg_ros.core.query import parse_query

TOPIC, SERVICES, ACTION = "~/query", "~/segment", "~/find_object"
DOORS = (ACTION, TOPIC, SERVICES)


@dataclass(frozen=True)
class Ask:
    """One question: its text and the door it goes through."""

    text: str
    door: str

    @property
    def words(self) -> tuple[str, ...]:
        """The names it asks for."""
        return parse_query(self.text)


TABLETOP_ASKS = (
    Ask("find teapot", ACTION),
    Ask("find the moka pot and the frying pan", TOPIC),
    Ask("red mug", SERVICES),
    Ask("giraffe", ACTION),
    Ask("where is my skillet?", ACTION),
    Ask("the wine bottle, please", TOPIC),
    Ask("basket, orange juice", SERVICES),
    Ask("motorcycle", SERVICES),
    Ask("find the book", ACTION),
    Ask("soup can", TOPIC),
    Ask("teapot", SERVICES),
    Ask("a laptop", TOPIC),
)
"""Over the doors and the three scenes: own words, a word no training caption held ("skillet"), things that
are not there."""

GARAGE_ASKS = (
    Ask("find motorcycle", ACTION),
    Ask("motorcycle", TOPIC),
    Ask("giraffe", SERVICES),
)


def users_asks(text: str, in_garage_only: Callable[[str], bool]) -> tuple[tuple[Ask, ...], tuple[Ask, ...]]:
    """One question per word of the user's query, for the tabletop and for the garage.

    Args:
        text: as the user typed it, "find moka pot, giraffe".
        in_garage_only: whether a word names a thing that the garage shows and the tabletop does not.

    Raises:
        InvalidInputError: it cannot be read as a query.
    """
    tabletop: list[Ask] = []
    garage: list[Ask] = []
    for number, word in enumerate(parse_query(text)):
        ask = Ask(f'find "{word}"', DOORS[number % len(DOORS)])  # quoted: "macaroni and cheese" is one thing
        (garage if in_garage_only(word) else tabletop).append(ask)
    return tuple(tabletop), tuple(garage)
