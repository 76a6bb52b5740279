"""The demo's acts: which recording, which preset, what is asked, and from when on an answer is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ovseg_ros.app.demo.presets import PRESETS
from ovseg_ros.app.demo.queries import (
    GARAGE_ASKS,
    PHOTOGRAPH_ABSENT,
    PHOTOGRAPH_ASKS,
    TABLETOP_ASKS,
    Ask,
    users_asks,
)
from ovseg_ros.app.demo.truth import Truth
from ovseg_ros.evaluate.recordings.demo import GOOD_IOU
from ovseg_ros.evaluate.recordings.measures import ABSENT_WORDS
from ovseg_ros.evaluate.recordings.recording import RecordedFrame


@dataclass(frozen=True)
class Act:
    """One recording of the demo and how it is played.

    Attributes:
        recording: its folder in `demo`.
        preset: of the node.
        asks: the demo's own questions.
        rate_hz: at which the camera plays it.
        repeat: how often the camera shows each frame.
        search_s: how long the action looks for what is there.
        good_iou: from which a mask is right.
        needed_iou: name -> the same, where it is another.
        absent: words for what no frame shows.
        names_count: whether the exit status rests on the answers; else they are judged and shown alone.
        masks_wanted: the share of true things that must have a mask, whatever it is called; None: not
            looked at.
        film: whether the node's overlay is filmed.
    """

    recording: str
    preset: str
    asks: tuple[Ask, ...]
    rate_hz: float
    repeat: int = 1
    search_s: float = 5.0
    good_iou: float = GOOD_IOU
    needed_iou: Mapping[str, float] = field(default_factory=dict)
    absent: tuple[str, ...] = ABSENT_WORDS
    names_count: bool = True
    masks_wanted: float | None = None
    film: bool = False

    def truth(self, frames: Sequence[RecordedFrame]) -> Truth:
        """What is true of the recording, with the act's rules."""
        return Truth.of_frames(frames, self.needed_iou, self.absent, good_iou=self.good_iou)

    def asked(self, queries: str, scenes: int) -> Act:
        """The same act with the user's words, each in every scene; nothing typed: as it is.

        Masks are looked at along with the act's own questions alone: these see every scene.

        Raises:
            InvalidInputError: it cannot be read as a query.
        """
        if not queries:
            return self
        return replace(self, asks=users_asks(queries, scenes), masks_wanted=None)


TABLETOP = Act("tabletop", PRESETS["tabletop"], TABLETOP_ASKS, rate_hz=5.0, film=True)
GARAGE = Act(
    "garage",
    PRESETS["garage"],
    GARAGE_ASKS,
    rate_hz=2.0,
    search_s=60.0,  # two images have to agree, and a slow machine takes seconds for each
    # Its truth is drawn by hand; the tabletop's is exact.
    needed_iou={"motorcycle": 0.8, "shelf": 0.5, "door": 0.5, "bench": 0.5},
)
PHOTOGRAPHS = Act(
    "photographs",
    PRESETS["photographs"],
    PHOTOGRAPH_ASKS,
    rate_hz=2.0,
    repeat=12,
    search_s=2.5,  # two pictures have to agree; looking much longer, it would see the next photograph
    good_iou=0.5,
    absent=(*ABSENT_WORDS, *PHOTOGRAPH_ABSENT),
    names_count=False,  # what `lite` calls things in real photographs is not good enough to promise
    masks_wanted=0.5,
)
ACTS = (TABLETOP, GARAGE, PHOTOGRAPHS)


def acts_with(presets: Mapping[str, str]) -> tuple[Act, ...]:
    """The demo's acts with these presets, recording -> preset."""
    return tuple(replace(act, preset=presets[act.recording]) for act in ACTS)
