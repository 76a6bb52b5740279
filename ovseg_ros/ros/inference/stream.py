"""The stream of one camera: its newest frame under the node's vocabulary, to whoever subscribes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ovseg_ros.core.joint import Way
from ovseg_ros.core.words import REST_S
from ovseg_ros.ros.inference.engine import Engine
from ovseg_ros.ros.inference.statistics import Statistics
from ovseg_ros.ros.io.context import MessageContext
from ovseg_ros.ros.io.outputs import Outputs
from ovseg_ros.ros.io.transforms import Transforms
from ovseg_ros.ros.parameters.table import Settings
from ovseg_ros.ros.requests.answers import RequestError

MOST_HELD = 8  # labelled images that wait for their transform; their masks take memory
LOOK_S = 0.005  # how often it is looked for


class Stream:
    """Says when a frame is due, and publishes it on the inference thread when its turn comes (`Turns`)."""

    def __init__(
        self,
        engine: Engine,
        outputs: Outputs,
        transforms: Transforms,
        *,
        is_on: Callable[[], bool],
        vocabulary: Callable[[], Any],
        settings: Callable[[], Settings],
        statistics: Statistics,
        on_error: Callable[[RequestError], None],
        on_remark: Callable[[str], None],
        remember: Callable[[], Callable[[MessageContext], None] | None] = lambda: None,
    ) -> None:
        """An idle stream.

        `vocabulary()` gives a snapshot: one per frame, a second where that took seconds to embed.
        `remember()` gives what takes each labelled frame besides, None where nothing does.
        """
        self._engine = engine
        self._outputs = outputs
        self._transforms = transforms
        self._held: deque[tuple[float, MessageContext]] = deque()  # (until when at most, what)
        self._generation: int | None = None  # of the images that are held
        self._is_on = is_on
        self._vocabulary = vocabulary
        self._settings = settings
        self._statistics = statistics
        self._on_error = on_error
        self._on_remark = on_remark
        self._remember = remember
        self._last_seq = 0
        self._last_start = -float("inf")

    def is_wanted(self) -> bool:
        """Whether there is something to do with the next frame: the node is on, and it is for somebody."""
        return self._is_on() and (
            any(True for _ in self._outputs.wanted())
            or (self._remember() is not None and len(self._vocabulary()) > 0)
        )

    def due_in(self) -> float | None:
        """Seconds until there is something to do, 0: now; None: not before something new arrives.

        Publishes what was held back for its transform, where that has come or waited too long.
        """
        self._send()
        delay = self._frame_due_in()
        if self._held:
            return LOOK_S if delay is None else min(delay, LOOK_S)
        return delay

    def _frame_due_in(self) -> float | None:
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
        if image.generation != self._generation:
            if self._generation is not None:  # time was set back
                self._transforms.clear()
            self._held.clear()
            self._generation = image.generation
        context = context.placed(self._transforms.place(image.header))
        self._held.append((time.monotonic() + settings.transform_wait, context))
        self._send()
        remember = self._remember()
        if remember is not None:
            remember(context)
        self._engine.note(image, context.segmentation, time.monotonic() - embedded_at)

    def _send(self) -> None:
        """Publishes what is labelled, in its order, but not before its transform while that may still come.

        Inference goes on meanwhile. What waits longer than `transform_wait`, or behind too many, is published
        in the camera's frame.
        """
        while self._held:
            until, context = self._held[0]
            if context.has_depth and context.placement.may_improve and self._outputs.want_3d():
                context = context.placed(self._transforms.place(context.header))
                waits = time.monotonic() < until and len(self._held) <= MOST_HELD
                if context.placement.may_improve and waits and self._is_on():
                    return
            self._held.popleft()
            if self._is_on():
                if context.remark_3d and self._outputs.want_3d():
                    self._on_remark(context.remark_3d)
                self._outputs.publish(context)
                self._statistics.frame_published(self._engine.freshness.latency_s(context.header))
