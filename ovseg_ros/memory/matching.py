"""Which sighting is which entry: by its place, its looks, its size and what it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ovseg_ros.core.tracking import assign
from ovseg_ros.memory.entry import Entry, Floats, Vectors
from ovseg_ros.memory.sighting import Sighting

_SLACK_M = 0.04  # that the same thing seen from another side may seem to be elsewhere …
_SLACK_OF_SIZE = 0.35  # … and of its size besides
_SIGMAS = 3.0
_LEAST_LIKE = 0.5  # cosine below which a thing in the same place is another one
_SAME = 0.85  # cosine from which a thing elsewhere may be the same one
_SIZE_RATIO = 1.7  # of the boxes' diagonals
_CERTAIN_M = 0.05  # an entry less certain of its place is in doubt
_LEAST_SCORE = 0.35
_WEIGHTS = (0.4, 0.4, 0.2)  # of nearness, likeness and words


def reach_m(entry: Entry, sighting: Sighting, *, most_m: float = np.inf) -> float:
    """How far from an entry's position a sighting may be for the thing not to have moved, metres.

    `most_m`: the entry's own uncertainty counts up to so much.
    """
    own = min(float(np.linalg.eigvalsh(entry.covariance)[-1]), most_m**2)
    variance = own + float(np.linalg.eigvalsh(sighting.covariance)[-1])
    return _SIGMAS * float(variance**0.5) + _SLACK_M + _SLACK_OF_SIZE * float(np.median(entry.size))


def distance_m(entry: Entry, sighting: Sighting) -> float:
    """Between their positions, metres."""
    return float(np.linalg.norm(entry.position - sighting.position))


def likeness(entry: Entry, embedding: Vectors) -> float:
    """Cosine with the view of the entry, or the mean of all, that is most like an embedding (D,)."""
    return float(max((entry.views @ embedding).max(), entry.embedding @ embedding))


def same_word(names: Iterable[str], words: Mapping[str, object]) -> float:
    """1 where they have a word in common, 0 where not, and a half where one of them has none."""
    known = set(names)
    return 0.5 if not known or not words else float(bool(known & set(words)))


def match_near(entries: Sequence[Entry], sightings: Sequence[Sighting]) -> list[tuple[int, int]]:
    """Pairs of entries and sightings in the same place, each at most once: the best assignment."""
    scores = np.full((len(entries), len(sightings)), -np.inf, np.float32)
    for i, entry in enumerate(entries):
        for j, sighting in enumerate(sightings):
            distance = distance_m(entry, sighting)
            nearness = 1 - distance / reach_m(entry, sighting)
            if nearness <= 0 or not _like_size(entry.size, sighting.size, loose=not sighting.is_whole):
                continue
            alike = likeness(entry, sighting.embedding)
            if alike < _LEAST_LIKE:
                continue
            if distance > reach_m(entry, sighting, most_m=_CERTAIN_M) and not (
                sighting.is_whole and alike >= _SAME and entry.name in sighting.words
            ):
                continue  # where an entry may be anywhere near, place says little
            looks = (alike - _LEAST_LIKE) / (1 - _LEAST_LIKE)
            parts = nearness, looks, same_word(entry.words, sighting.words)
            scores[i, j] = float(np.dot(_WEIGHTS, parts))
    return assign(scores, _LEAST_SCORE)


def match_elsewhere(entries: Sequence[Entry], embedding: Vectors, size: Floats, name: str) -> Entry | None:
    """The entry that is the same thing in another place, as far as looks, size and name can tell.

    Args:
        entries: that may have moved: those that are not where they were.
        embedding: (D,) unit.
        size: (3,) metres.
        name: what it is called.

    Returns:
        The most alike one, the one seen last of two equally alike; None where none is alike enough.
    """
    able = [
        (likeness(entry, embedding), entry.last_seen, entry)
        for entry in entries
        if entry.name == name and _like_size(entry.size, size)
    ]
    best = max((one for one in able if one[0] >= _SAME), key=lambda one: one[:2], default=None)
    return None if best is None else best[2]


def _like_size(first: Floats, second: Floats, *, loose: bool = False) -> bool:
    """Whether two boxes may be one thing's; `loose`: of the second only a part was seen."""
    a, b = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    return b <= _SIZE_RATIO * a and (loose or a <= _SIZE_RATIO * b)
