"""What is remembered of one thing, and which things a question is about. No torch, no database."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
_AGES = ((2 * 86400, 86400, "days"), (3600, 3600, "h"), (60, 60, "min"))


@dataclass(frozen=True)
class Name:
    """How often, and how surely at best, a thing was called by one word.

    Attributes:
        score: the best score it had under that word, in [0, 1].
        times: sightings in which it was called so.
    """

    score: float
    times: int


@dataclass(frozen=True, eq=False)
class Entry:
    """One thing in memory.

    Attributes:
        key: made once and never again, by whichever robot saw it first.
        robot: whose camera saw it first, "" where there is one robot alone.
        frame_id: the fixed frame of all that is in metres here.
        position: (3,) the middle of its upright box, metres.
        covariance: (3, 3) of that, m².
        size: (3,) full sides of its upright box, metres.
        orientation: (4,) quaternion x y z w of that box.
        space: whose embeddings these are: only vectors of one space can be compared.
        embedding: (D,) unit, the mean of all sightings.
        views: (V, D) unit, a few that differ most, V >= 1.
        words: what it was called.
        first_seen: seconds since the epoch, on the clock of the images.
        last_seen: the same, of the newest sighting.
        times_seen: sightings, at least 1.
        times_looked: times its place was in view, seen or not.
        times_missed: those of them in which it was expected and not seen.
        gone_since: from when its place was seen to be free, None while it is not known to be gone.
        crop: a JPEG of its clearest sighting, None where pictures are not kept.
        clarity: how clear that one was, see `Sighting`; 0 where there is none.
        surface: (P, 3) points of its visible surface less `position`, metres; P may be 0. By them a look at
            its place tells whether it is still there.
        revision: the store's, when this was read or written there; 0: never.
    """

    key: str
    robot: str
    frame_id: str
    position: Floats
    covariance: Floats
    size: Floats
    orientation: Floats
    space: str
    embedding: Vectors
    views: Vectors
    words: Mapping[str, Name]
    first_seen: float
    last_seen: float
    times_seen: int = 1
    times_looked: int = 1
    times_missed: int = 0
    gone_since: float | None = None
    crop: bytes | None = field(default=None, repr=False)
    surface: Vectors = field(default_factory=lambda: np.zeros((0, 3), np.float32), repr=False)
    revision: int = 0
    clarity: float = 0.0

    def __post_init__(self) -> None:
        shapes = {"position": (3,), "covariance": (3, 3), "size": (3,), "orientation": (4,)}
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise InvalidInputError(f"expected {name} as {shape} finite numbers, got {value!r}")
            object.__setattr__(self, name, value)
        for name, dims in (("embedding", 1), ("views", 2)):
            vectors = np.asarray(getattr(self, name), np.float32)
            if vectors.ndim != dims or not vectors.size or not np.isfinite(vectors).all():
                raise InvalidInputError(
                    f"expected {name} as finite numbers in {dims} dimensions, got shape {vectors.shape}"
                )
            object.__setattr__(self, name, vectors)
        surface = np.asarray(self.surface, np.float32)
        if surface.ndim != 2 or surface.shape[1] != 3 or not np.isfinite(surface).all():
            raise InvalidInputError(f"expected surface as (P, 3) finite metres, got shape {surface.shape}")
        object.__setattr__(self, "surface", surface)
        if self.views.shape[1] != len(self.embedding):
            raise InvalidInputError(
                f"expected views as long as the embedding, {len(self.embedding)}, got {self.views.shape[1]}"
            )
        if not (math.isfinite(self.first_seen) and self.first_seen <= self.last_seen < math.inf):
            raise InvalidInputError(
                f"expected first_seen before last_seen, got {self.first_seen} and {self.last_seen}"
            )

    @property
    def name(self) -> str:
        """What it was called most often, among equals most surely; "" where it never had a word."""
        return max(self.words, key=lambda word: (self.words[word].times, self.words[word].score), default="")


@dataclass(frozen=True, eq=False)
class Example:
    """One look at a thing that was shown under a name of its own.

    Attributes:
        name: "my mug".
        space: whose embedding this is, see `Entry`.
        embedding: (D,) unit.
        shown: when, seconds since the epoch.
        crop: a JPEG of it, None where pictures are not kept.
        key: the entry it is known to be, "" where none.
        palette: (C,) its colours, see `core.colours.palette`, None where they are not known.
        size_m: root mean square distance of its visible points from their middle, None without depth.
        others: (M, D) unit, what stood beside it and is most alike, None where not known.
        other_palettes: (M, C) their colours.
    """

    name: str
    space: str
    embedding: Vectors
    shown: float
    crop: bytes | None = field(default=None, repr=False)
    key: str = ""
    palette: Vectors | None = field(default=None, repr=False)
    size_m: float | None = None
    others: Vectors | None = field(default=None, repr=False)
    other_palettes: Vectors | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Where:
    """Which entries are meant; all conditions hold together, and None or empty asks for nothing.

    Attributes:
        keys: these entries.
        words: called by any of these words (as they stand: the caller knows what means the same).
        frame_id: in this frame.
        low: (x, y, z) metres in `frame_id`: positions from here …
        high: … to here.
        seen_after: last seen at or after, seconds since the epoch.
        seen_before: last seen at or before.
        gone: only those gone (True), only those not gone (False).
        space: embedded in this space.
        robot: seen first by this robot.
    """

    keys: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    frame_id: str = ""
    low: tuple[float, float, float] | None = None
    high: tuple[float, float, float] | None = None
    seen_after: float | None = None
    seen_before: float | None = None
    gone: bool | None = None
    space: str = ""
    robot: str = ""


def age_text(seconds: float) -> str:
    """How long that is, as people say it.

    Example:
        >>> [age_text(seconds) for seconds in (-1, 59, 61, 7200, 200000)]
        ['0 s', '59 s', '1 min', '2 h', '2 days']
    """
    for least, unit_s, unit in _AGES:
        if seconds >= least:
            return f"{int(seconds / unit_s)} {unit}"
    return f"{max(int(seconds), 0)} s"
