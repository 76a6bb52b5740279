"""Things followed from frame to frame: what is kept of each, and which are due to be looked at again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovseg_ros.core.appearance import ChangeLimits, Looks
from ovseg_ros.core.mask_overlap import BoxedMask
from ovseg_ros.errors import ConfigError

_LEAST_CERTAIN = 0.1  # an uncertain label makes its track due at most ten times as soon
_POSITIVE = ("max_gap_s", "refresh_after_s", "max_jump_s", "max_skip_s", "nominal_period_s", "reach")
_NOT_NEGATIVE = ("iou_weight", "embedding_weight", "motion_weight", "half_life_s", "unmoved_levels")
_UNIT = ("min_match", "same_embedding", "other_embedding")


@dataclass(frozen=True)
class TrackOptions:
    """How things are followed. docs/tracking.md has the rules.

    Attributes:
        max_gap_s: a thing not found for longer is given up; found again before, it keeps its id. Seconds.
        iou_weight: of the overlap with where the track should be now, at least 0.
        embedding_weight: of how alike they look, at least 0.
        motion_weight: of how near its centre is to the expected one, at least 0.
        min_match: least score for a mask to continue a track, in [0, 1].
        same_embedding: cosine from which a mask that overlaps no track may be a lost one, in [0, 1].
        other_embedding: cosine below which a track's mask that suddenly looks different is another thing.
        reach: farthest that a lost thing may be found from where it should be, in diagonals of its box.
        refresh: unchanged or slowly drifting tracks that are encoded again, at most, per frame.
        refresh_after_s: age of an embedding at which it is due again, sooner where it is uncertain, seconds.
        half_life_s: of the smoothing: what is new in an embedding has half its weight after so many seconds;
            0 takes it at once.
        change: from where on a region has changed.
        max_jump_s: a longer gap between frames forgets the tracks, seconds.
        scene_cut: likeness of two frames below which they show different scenes, in [-1, 1]; -1 for never.
        skip_unmoved: keep the masks of the frame before while nothing moves.
        unmoved_levels: grey levels by which a small image may differ for that, at least 0.
        max_skip_s: longest time without new proposals, seconds.
        nominal_period_s: time between frames where stamps are 0, seconds.
        max_cameras: frame ids that are followed at a time, each by itself; the one unused longest goes.
    """

    max_gap_s: float = 1.0
    iou_weight: float = 0.6
    embedding_weight: float = 0.25
    motion_weight: float = 0.15
    min_match: float = 0.3
    same_embedding: float = 0.85
    other_embedding: float = 0.5
    reach: float = 2.0
    refresh: int = 4
    refresh_after_s: float = 5.0
    half_life_s: float = 0.1
    change: ChangeLimits = field(default_factory=ChangeLimits)
    max_jump_s: float = 2.0
    scene_cut: float = 0.3
    skip_unmoved: bool = False
    unmoved_levels: float = 6.0
    max_skip_s: float = 1.0
    nominal_period_s: float = 1 / 15
    max_cameras: int = 4

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"want {name} above 0, got {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"want {name} at least 0, got {getattr(self, name)}")
        for name in _UNIT:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"want {name} in [0, 1], got {getattr(self, name)}")
        if not -1 <= self.scene_cut <= 1:
            raise ConfigError(f"want scene_cut in [-1, 1], got {self.scene_cut}")
        if self.refresh < 0 or self.max_cameras < 1:
            raise ConfigError(
                f"want refresh at least 0 and max_cameras at least 1, got {self.refresh}, {self.max_cameras}"
            )
        if not self.iou_weight > 0 or not self.embedding_weight + self.motion_weight > 0:
            raise ConfigError("want iou_weight above 0, and embedding_weight or motion_weight too")


@dataclass
class Track:
    """One thing, and what is known of it.

    Attributes:
        id: 1 and up, never used again.
        mask: where it was last found, since moved with the image.
        look: (1) as it was last found.
        found_s: when that was, on the clock of its camera.
        encoded_look: (1) as it was last encoded, None before the first time.
        encoded_s: when that was.
        row: (D,) unit embedding of that time, None before.
        smooth: (D,) unit, the embeddings over time.
        own: (C,) unit, the generator's class embeddings over time, None from those that do not classify.
        drift: change since it was encoded, in limits.
        must: it changed at once, and has not been encoded since.
    """

    id: int
    mask: BoxedMask
    look: Looks
    found_s: float
    encoded_look: Looks | None = None
    encoded_s: float = 0.0
    row: torch.Tensor | None = None
    smooth: torch.Tensor | None = None
    own: torch.Tensor | None = None
    drift: float = 0.0
    must: bool = False

    def forget_embedding(self) -> None:
        """As before the first time it was encoded."""
        self.encoded_look = self.row = self.smooth = None
        self.drift, self.must = 0.0, False

    def encode_as(self, row: torch.Tensor, look: Looks, now_s: float) -> None:
        """Takes a new embedding.

        What it looked like before says the less about it the more it has changed since: of the smoothed
        embedding the share 1 − drift stays, and nothing of it where it changed by a limit or at once.

        Args:
            row: (D,) unit.
            look: (1) that was encoded.
            now_s: on the clock of its camera.
        """
        if self.smooth is not None:
            same = 0.0 if self.must else max(0.0, 1.0 - self.drift)
            self.smooth = row if same == 0 else F.normalize(same * self.smooth + (1 - same) * row, dim=0)
        self.row, self.encoded_look, self.encoded_s = row, look, now_s
        self.drift, self.must = 0.0, False


def due(
    tracks: Sequence[Track],
    scores: npt.NDArray[np.float32],
    certainty: npt.NDArray[np.float32],
    now_s: float,
    options: TrackOptions,
    most: int | None,
) -> list[int]:
    """Which tracks to encode now, most urgent first.

    First those without an embedding, the surest masks first; then those that changed at once or have drifted
    twice as far as the limit, most changed first; then at most `refresh` of those whose turn it is:
    (age / refresh_after_s + drift) / certainty of 1 or more, largest first; certainty at least 0.1.

    Args:
        tracks: T tracks that were found in this frame.
        scores: (T,) of their masks.
        certainty: (T,) in [0, 1], of their labels.
        now_s: on the clock of their camera.
        options: `refresh`, `refresh_after_s`.
        most: limit for all of them together, None for none.

    Returns:
        Indices into tracks.
    """
    fresh, must, turn = [], [], []
    for i, track in enumerate(tracks):
        if track.row is None:
            fresh.append((float(scores[i]), i))
        elif track.must or track.drift >= 2:
            must.append((track.drift, i))
        else:
            age = (now_s - track.encoded_s) / options.refresh_after_s
            urgency = (age + track.drift) / max(float(certainty[i]), _LEAST_CERTAIN)
            if urgency >= 1:
                turn.append((urgency, i))
    order = [i for group in (fresh, must) for _, i in sorted(group, key=lambda pair: (-pair[0], pair[1]))] + [
        i for _, i in sorted(turn, key=lambda pair: (-pair[0], pair[1]))
    ][: options.refresh]
    return order if most is None else order[:most]


def smoothed(
    old: torch.Tensor, new: torch.Tensor, passed_s: torch.Tensor, half_life_s: float
) -> torch.Tensor:
    """Unit rows on their way from old to new.

    normalise(w · old + (1 − w) · new), w = 2^(−passed_s / half_life_s); the difference halves each half-life,
    however the frames are spaced.

    Args:
        old: (T, D) unit rows.
        new: (T, D) unit rows.
        passed_s: (T,) seconds since old was true, at least 0.
        half_life_s: seconds; 0 gives new.
    """
    if half_life_s == 0:
        return new
    weight = torch.pow(0.5, passed_s / half_life_s)[:, None]
    return F.normalize(weight * old + (1 - weight) * new, dim=-1)
