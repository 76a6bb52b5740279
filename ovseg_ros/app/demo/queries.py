"""What the demo asks: its own list, or the user's words spread over the three interfaces."""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_ros.core.words import parse_query

TOPIC, SERVICES, ACTION = "~/query", "~/segment", "~/find_object"
INTERFACES = (ACTION, TOPIC, SERVICES)


@dataclass(frozen=True)
class Ask:
    """One question.

    Attributes:
        text: as a planner or a person types it.
        interface: what it goes through.
        scene: the one of its recording to ask it in, from 0; None: whichever shows what it asks for.
    """

    text: str
    interface: str
    scene: int | None = None

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
    Ask("barbecue sauce", SERVICES),
    Ask("a laptop", TOPIC),
)
"""Over interfaces and scenes: own words, one that no training caption held ("skillet"), absent things.

One frame answers ~/segment and ~/query, whichever comes first: what is asked there is seen whole in all of
its scene, so that chance decides nothing. (The teapot is half behind the basket in some.)
"""

GARAGE_ASKS = (
    Ask("find motorcycle", ACTION),
    Ask("motorcycle", TOPIC),
    Ask("giraffe", SERVICES),
)

_ASTRONAUT, _CAMERA, _CHELSEA, _COFFEE, _ROCKET = range(5)
PHOTOGRAPH_ASKS = (
    Ask("find the astronaut, the helmet and the flag", TOPIC, _ASTRONAUT),
    Ask("where is the space shuttle?", ACTION, _ASTRONAUT),
    Ask("man, camera, tripod", SERVICES, _CAMERA),
    Ask("a telescope", TOPIC, _CAMERA),
    Ask("find the cat", ACTION, _CHELSEA),
    Ask("dog", SERVICES, _CHELSEA),
    Ask("the cup, the saucer and the spoon", TOPIC, _COFFEE),
    Ask("fork", SERVICES, _COFFEE),
    Ask("find rocket", ACTION, _ROCKET),
    Ask("tower", SERVICES, _ROCKET),
    Ask("giraffe", TOPIC, _ROCKET),
)
"""What a person would ask of each photograph, chosen before any model answered: things that are there, things
that are not but are like one that is, and one that is like none. At least one question about each photograph
goes through an interface that gives all masks.
"""

PHOTOGRAPH_ABSENT = ("telescope", "fork")
"""Absent from all photographs, beside what no recording shows."""


def users_asks(text: str, scenes: int) -> tuple[Ask, ...]:
    """Each word of the user's query, in every scene of a recording.

    Args:
        text: as the user typed it, "find moka pot, giraffe".
        scenes: how many the recording has.

    Raises:
        InvalidInputError: it cannot be read as a query.
    """
    # Quoted, as "macaroni and cheese" is one thing.
    quoted = [f'find "{word}"' if '"' not in word else f"find {word}" for word in parse_query(text)]
    return tuple(
        Ask(question, INTERFACES[(number + scene) % len(INTERFACES)], scene)
        for scene in range(scenes)
        for number, question in enumerate(quoted)
    )
