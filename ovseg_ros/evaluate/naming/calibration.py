"""Whether scores mean what they say: a reliability diagram, and its expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovseg_ros.errors import InvalidInputError

BINS = 10


@dataclass(frozen=True)
class Bin:
    """One column of a reliability diagram.

    Attributes:
        low: the scores from here …
        high: … to here, this one excluded but for the last bin.
        count: answers in it.
        mean_score: theirs; None where there are none.
        right: the share of them that is right; None where there are none.
    """

    low: float
    high: float
    count: int
    mean_score: float | None
    right: float | None


@dataclass(frozen=True)
class Calibration:
    """A reliability diagram.

    Attributes:
        bins: of equal width over [0, 1].
        error: expected calibration error, Σ count / N · |right − mean score|; None without answers.
        count: N.
    """

    bins: tuple[Bin, ...]
    error: float | None
    count: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"error": self.error, "count": self.count, "bins": [vars(one) for one in self.bins]}


def calibration(scores: Sequence[float], right: Sequence[bool], bins: int = BINS) -> Calibration:
    """Compares scores with how often they are right, bin by bin.

    Args:
        scores: in [0, 1], one an answer.
        right: whether that answer is.
        bins: how many, of equal width.

    Raises:
        InvalidInputError: lengths differ, or a score is no number in [0, 1].

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, equation 5.

    Examples:
        >>> calibration([0.95, 0.85], [True, False]).error
        0.45
    """
    values, hits = np.asarray(scores, np.float64), np.asarray(right, np.bool_)
    if values.shape != hits.shape or values.ndim != 1:
        raise InvalidInputError(
            f"expected as many scores as answers, got {len(values)} scores and {len(hits)} answers"
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise InvalidInputError("expected scores in [0, 1] to compare with shares, got some outside or nan")
    place = np.minimum((values * bins).astype(np.int64), bins - 1)  # 1.0 belongs to the last bin
    found, error = [], 0.0
    for k in range(bins):
        inside = place == k
        count = int(inside.sum())
        mean = float(values[inside].mean()) if count else None
        share = float(hits[inside].mean()) if count else None
        if mean is not None and share is not None:
            error += count / len(values) * abs(share - mean)
        found.append(Bin(k / bins, (k + 1) / bins, count, mean, share))
    return Calibration(tuple(found), round(error, 12) if len(values) else None, len(values))
