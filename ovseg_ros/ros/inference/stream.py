"""The stream: the newest frame under the node's vocabulary, to whoever subscribes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

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
    """Decides what is due, and does it one frame at a time on the inference thread."""

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
    ) -> None:
        """`vocabulary()` gives a snapshot: one per frame, a second where that took seconds to embed."""
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
        self._last_seq = 0
        self._last_start = -float("inf")

    def is_wanted(self) -> bool:
        """Whether there is something to do with the next frame: the node is on, and somebody subscribes."""
        return self._is_on() and any(True for _ in self._outputs.wanted())

    def step(self) -> float | None:
        """Publishes the newest frame where it is due, and what was held back for its transform.

        Returns:
            Seconds to wait before the next call is of use, None: until something new arrives.
        """
        self._send()
        delay = self._look()
        if self._held:
            return LOOK_S if delay is None else min(delay, LOOK_S)
        return delay

    def _look(self) -> float | None:
        """Looks at the newest frame where it is due; returns as `step`."""
        settings, now = self._settings(), time.monotonic()
        newest = max(self._engine.source.newest_seq(), self._engine.last_seq)
        if newest <= self._last_seq or not self.is_wanted():
            return None
        if settings.max_rate > 0:
            wait = self._last_start + 1.0 / settings.max_rate - now
            if wait > 0:
                return wait
        self._last_start = now
        try:
            self._publish(settings)
        except RequestError as error:
            self._on_error(error)
            self._last_seq = max(self._last_seq, newest)
        except BaseException:
            self._last_seq = max(self._last_seq, newest, self._engine.failed_seq)
            raise
        return None

    def _publish(self, settings: Settings) -> None:
        vocabulary, taken_at = self._vocabulary(), time.monotonic()
        if len(vocabulary) or settings.publish_unlabelled:
            image = self._engine.newest(after=self._last_seq)
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
