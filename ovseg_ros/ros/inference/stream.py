"""The stream of one camera: its newest frame under the node's vocabulary, to whoever subscribes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ovseg_ros.core.joint import Way
from ovseg_ros.core.words import REST_S
from ovseg_ros.ros.inference.engine import Engine
from ovseg_ros.ros.inference.statistics import Statistics
from ovseg_ros.ros.io.outputs import Outputs
from ovseg_ros.ros.parameters.table import Settings
from ovseg_ros.ros.requests.answers import RequestError


class Stream:
    """Says when a frame is due, and publishes it on the inference thread when its turn comes (`Turns`)."""

    def __init__(
        self,
        engine: Engine,
        outputs: Outputs,
        *,
        is_on: Callable[[], bool],
        vocabulary: Callable[[], Any],
        settings: Callable[[], Settings],
        statistics: Statistics,
        on_error: Callable[[RequestError], None],
    ) -> None:
        """`vocabulary()` gives a snapshot: one per frame, a second where that took seconds to embed."""
        self._engine = engine
        self._outputs = outputs
        self._is_on = is_on
        self._vocabulary = vocabulary
        self._settings = settings
        self._statistics = statistics
        self._on_error = on_error
        self._last_seq = 0
        self._last_start = -float("inf")

    def is_wanted(self) -> bool:
        """Whether there is something to do with the next frame: the node is on, and somebody subscribes."""
        return self._is_on() and any(True for _ in self._outputs.wanted())

    def due_in(self) -> float | None:
        """Seconds until a frame may be published, 0: now; None: not before something new arrives."""
        if self._newest() <= self._last_seq or not self.is_wanted():
            return None
        rate = self._settings().max_rate
        return max(self._last_start + 1.0 / rate - time.monotonic(), 0.0) if rate > 0 else 0.0

    def turn(self) -> Way[None]:
        """Publishes the newest frame; the way to do so alone, or with the frames of other cameras."""
        newest = self._newest()
        self._last_start = time.monotonic()
        try:
            yield from self._publish(self._settings())
        except RequestError as error:
            self._on_error(error)
            self._last_seq = max(self._last_seq, newest)
        except BaseException:
            self._last_seq = max(self._last_seq, newest, self._engine.failed_seq)
            raise

    def _newest(self) -> int:
        return max(self._engine.source.newest_seq(), self._engine.last_seq)

    def _publish(self, settings: Settings) -> Way[None]:
        vocabulary, taken_at = self._vocabulary(), time.monotonic()
        if len(vocabulary) or settings.publish_unlabelled:
            image = yield from self._engine.embedding(after=self._last_seq)
            if time.monotonic() - taken_at > REST_S / 2:
                vocabulary = self._vocabulary()  # or ids might be sent that rest no more
        else:
            image = self._engine.blank()
        self._last_seq, embedded_at = image.seq, time.monotonic()
        context = self._engine.label(image, vocabulary)
        if self._is_on():
            self._outputs.publish(context)
            self._statistics.frame_published(self._engine.freshness.latency_s(image.header))
        self._engine.note(image, context.segmentation, time.monotonic() - embedded_at)
