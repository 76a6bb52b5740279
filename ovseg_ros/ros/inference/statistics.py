"""What the node counts and measures while it runs, for diagnostics and the log."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

WINDOW_S = 5.0  # rates and mean times are over the last seconds


class Statistics:
    """Counters and short memories; every method may be called on any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._embedded: deque[tuple[float, float]] = deque(maxlen=1000)  # (when, seconds it took)
        self._published: deque[tuple[float, float | None]] = deque(maxlen=1000)  # (when, latency in seconds)
        self._error = ("", -float("inf"))
        self._bad_image = ("", -float("inf"))
        self._remark_3d = ("", -float("inf"))
        self._no_3d: dict[str, str] = {}

    def count(self, what: str) -> None:
        """Counts one more `what`."""
        with self._lock:
            self._counts[what] += 1

    def frame_embedded(self, seconds: float) -> None:
        """A frame went through the model."""
        with self._lock:
            self._counts["frames"] += 1
            self._embedded.append((self._clock(), seconds))

    def frame_published(self, latency_s: float | None) -> None:
        """A labelled frame was published, `latency_s` after its stamp (None: it has none)."""
        with self._lock:
            self._counts["published"] += 1
            self._published.append((self._clock(), latency_s))

    def failed(self, text: str) -> None:
        """Inference failed on one frame."""
        with self._lock:
            self._counts["failed"] += 1
            self._error = (text, self._clock())

    def bad_image(self, text: str) -> None:
        """An image could not be read."""
        with self._lock:
            self._counts["bad_images"] += 1
            self._bad_image = (text, self._clock())

    def remark_3d(self, text: str) -> None:
        """The 3D of a frame was not told as it was wanted."""
        with self._lock:
            self._counts["misplaced_3d"] += 1
            self._remark_3d = (text, self._clock())

    def without_3d(self, problems: Mapping[str, str]) -> None:
        """Says by input why the newest frame has no 3D; empty: it has."""
        with self._lock:
            self._no_3d = dict(problems)

    def counts(self) -> dict[str, int]:
        """All counts so far."""
        with self._lock:
            return dict(self._counts)

    def recent_error(self) -> str:
        """The failure of the last seconds, empty where there was none."""
        return self._recent(self._error)

    def recent_bad_image(self) -> str:
        """Why an image of the last seconds could not be read, empty where all could."""
        return self._recent(self._bad_image)

    def recent_remark_3d(self) -> str:
        """Why the 3D of the last seconds was not told as it was wanted, empty where it was."""
        return self._recent(self._remark_3d)

    def missing_3d(self) -> dict[str, str]:
        """By input why the newest frame has no 3D; empty: it has."""
        return dict(self._no_3d)

    def rate_hz(self) -> float:
        """Frames through the model per second, over the last seconds."""
        return len(self._last(self._embedded)) / WINDOW_S

    def inference_s(self) -> float | None:
        """Mean seconds of a frame in the model, over the last seconds; None where there was none."""
        return _mean(self._last(self._embedded))

    def latency_s(self) -> float | None:
        """Mean seconds from stamp to publication, over the last seconds; None where there was none."""
        return _mean([value for value in self._last(self._published) if value is not None])

    def _recent(self, said: tuple[str, float]) -> str:
        return said[0] if self._clock() - said[1] < WINDOW_S else ""

    def _last(self, memory: deque) -> list:
        with self._lock:
            start = self._clock() - WINDOW_S
            return [value for when, value in memory if when >= start]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
