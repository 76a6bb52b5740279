"""Things followed from frame to frame: what is kept of each, and which are due to be looked at again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovseg_ros.core.maps import BoxedMask
from ovseg_ros.core.tracking.appearance import ChangeLimits, Thumbnails
from ovseg_ros.errors import ConfigError

_LEAST_CERTAIN = 0.1  # an uncertain label makes its track due at most ten times as soon
_POSITIVE = ("max_gap_s", "refresh_after_s", "max_jump_s", "nominal_period_s", "reach")
_NOT_NEGATIVE = ("iou_weight", "embedding_weight", "motion_weight", "half_life_s")
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
    nominal_period_s: float = 1 / 15
    max_cameras: int = 4

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"expected {name} above 0, got {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"expected {name} at least 0, got {getattr(self, name)}")
        for name in _UNIT:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"expected {name} in [0, 1], got {getattr(self, name)}")
        if not -1 <= self.scene_cut <= 1:
            raise ConfigError(f"expected scene_cut in [-1, 1], got {self.scene_cut}")
        if self.refresh < 0 or self.max_cameras < 1:
            raise ConfigError(
                f"expected refresh at least 0 and max_cameras at least 1, got {self.refresh}, "
                f"{self.max_cameras}"
            )
        if not self.iou_weight > 0 or not self.embedding_weight + self.motion_weight > 0:
            raise ConfigError("expected iou_weight above 0, and embedding_weight or motion_weight too")


@dataclass
class Track:
    """One thing, and what is known of it.

    Attributes:
        id: 1 and up, never used again; 0 while it is not known to be a new thing.
        mask: where it was last found, since moved with the image.
        thumbnail: (1) as it was last found.
        found_s: when that was, on the clock of its camera.
        encoded_thumbnail: (1) as it was last encoded, None before the first time.
        encoded_s: when that was.
        embedding: (D,) unit, of that time, None before.
        embedding_ema: (D,) unit, the embeddings smoothed over time.
        pooled: (D,) unit, of classifier "combined", where the two above are of crops alone: what the last
            pass over a frame said; None of others.
        mask_class_embedding: (C,) unit, the generator's class embeddings over time, None from those that do
            not classify.
        appearance_change: since it was encoded, in limits.
        needs_reencode: it changed at once, and has not been encoded since.
        certainty: of its last label that was noted, in [0, 1].
        asked: someone waits for a second look at it.
        object_id: the generator's own number of it, 0 where it has none.
    """

    id: int
    mask: BoxedMask
    thumbnail: Thumbnails
    found_s: float
    encoded_thumbnail: Thumbnails | None = None
    encoded_s: float = 0.0
    embedding: torch.Tensor | None = None
    embedding_ema: torch.Tensor | None = None
    pooled: torch.Tensor | None = None
    mask_class_embedding: torch.Tensor | None = None
    appearance_change: float = 0.0
    needs_reencode: bool = False
    certainty: float = 1.0
    asked: bool = False
    object_id: int = 0

    def forget_embedding(self) -> None:
        """As before the first time it was encoded."""
        self.encoded_thumbnail = self.embedding = self.embedding_ema = self.pooled = None
        self.appearance_change, self.needs_reencode = 0.0, False

    def handed_on(self, smooth: torch.Tensor) -> torch.Tensor:
        """(D,) unit: the smoothed embedding, or the mean of it and of what was pooled."""
        return smooth if self.pooled is None else F.normalize(smooth + self.pooled, dim=0)

    def encode_as(self, embedding: torch.Tensor, thumbnail: Thumbnails, now_s: float) -> None:
        """Takes a new embedding.

        What it looked like before says the less about it the more it has changed since: of the smoothed
        embedding the share 1 − change stays, and nothing of it where it changed by a limit or at once. Nor
        does anything stay where someone asked: a second look that repeats the first would confirm nothing.

        Args:
            embedding: (D,) unit.
            thumbnail: (1) that was encoded.
            now_s: on the clock of its camera.
        """
        if self.embedding_ema is not None:
            anew = self.needs_reencode or self.asked
            same = 0.0 if anew else max(0.0, 1.0 - self.appearance_change)
            mixed = F.normalize(same * self.embedding_ema + (1 - same) * embedding, dim=0)
            self.embedding_ema = mixed if same else embedding
        self.embedding, self.encoded_thumbnail, self.encoded_s = embedding, thumbnail, now_s
        self.appearance_change, self.needs_reencode, self.asked = 0.0, False, False


def due(
    tracks: Sequence[Track],
    scores: npt.NDArray[np.float32],
    now_s: float,
    options: TrackOptions,
    most: int | None,
) -> list[int]:
    """Which tracks to encode now, most urgent first.

    First those that someone asked about, most changed first: an answer waits for them; then those without
    an embedding, the surest masks first; then those that changed at once or have drifted twice as far as the
    limit, most changed first; then at most `refresh` of those whose turn it is: (age / refresh_after_s +
    change) / certainty of 1 or more, largest first; certainty at least 0.1.

    Args:
        tracks: T tracks that were found in this frame.
        scores: (T,) of their masks.
        now_s: on the clock of their camera.
        options: `refresh`, `refresh_after_s`.
        most: limit for all of them together, None for none.

    Returns:
        Indices into tracks.
    """
    asked, new, changed, in_turn = [], [], [], []
    for i, track in enumerate(tracks):
        if track.asked:
            asked.append((track.appearance_change, i))
        elif track.embedding is None:
            new.append((float(scores[i]), i))
        elif track.needs_reencode or track.appearance_change >= 2:
            changed.append((track.appearance_change, i))
        else:
            age = (now_s - track.encoded_s) / options.refresh_after_s
            urgency = (age + track.appearance_change) / max(track.certainty, _LEAST_CERTAIN)
            if urgency >= 1:
                in_turn.append((urgency, i))
    ranked = [
        [i for _, i in sorted(group, key=lambda pair: (-pair[0], pair[1]))]
        for group in (asked, new, changed, in_turn)
    ]
    return [*ranked[0], *ranked[1], *ranked[2], *ranked[3][: options.refresh]][:most]


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
