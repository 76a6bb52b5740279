"""`~/recall` and `~/forget`, and what `~/find_object` says of what is not in view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from visualization_msgs.msg import MarkerArray

from ovseg_ros.core.words import Vocabulary, names_of
from ovseg_ros.memory import Where
from ovseg_ros.memory.recall import LEAST_SURE, Recalled, list_all, on_top, recall
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.memory.alike import fill, find_alike
from ovseg_ros.ros.memory.markers import memory_markers
from ovseg_ros.ros.memory.messages import remembered_message, seconds_of
from ovseg_ros.ros.memory.remembering import Remembering
from ovseg_ros.ros.memory.showing import taught_name, teach
from ovseg_ros.ros.requests.answers import RequestError, request_error_of
from ovseg_ros.ros.requests.queries import beyond_names, reasons_of, words_vocabulary
from ovseg_ros.ros.requests.queues import SERVICES
from ovseg_ros.srv import FindLike, Forget, Recall, Teach

MARKERS_EVERY_S = 1.0
NO_MEMORY = "nothing is remembered: set the parameter remember to true and configure the node anew"


class MemoryServices:
    """The services about what is remembered. They read the database on the inference thread."""

    def __init__(self, node: Any) -> None:
        """`node` is an `ovseg_ros.ros.node.OvsegNode`."""
        self._node = node
        group = ReentrantCallbackGroup()
        self._markers = node.create_publisher(MarkerArray, "~/memory_markers", 1)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # these go on while simulated time stands
        node.create_timer(MARKERS_EVERY_S, self._show, clock=steady)
        for kind, name, answer in (
            (Recall, "~/recall", self._recall),
            (Forget, "~/forget", self._forget),
            (Teach, "~/teach", self._teach),
            (FindLike, "~/find_like", self._find_like),
        ):
            answered = partial(self._answered, answer)
            node.create_service(kind, name, answered, qos_profile=SERVICES, callback_group=group)

    def _show(self) -> None:
        """Markers, where somebody looks."""
        remembering = self._node.remembering
        if remembering is None or not self._markers.get_subscription_count():
            return
        now = self._node.get_clock().now()
        entries = remembering.memory.held()
        self._markers.publish(memory_markers(entries, now.nanoseconds * 1e-9, now.to_msg()))

    async def remembered(self, vocabulary: Vocabulary, limit: int = 0) -> list[Any]:
        """Messages of what is remembered and not gone under words, the surest first; `limit` 0: all.

        Raises:
            RequestError: INVALID_QUERY: nothing is remembered at all.
        """
        remembering = self.remembering()
        found = await self._recalled(remembering, vocabulary, Where(gone=False))
        return self._messages(found, limit, with_crops=False)

    def remembering(self) -> Remembering:
        """The memory.

        Raises:
            RequestError: INVALID_QUERY: there is none.
        """
        found: Remembering | None = self._node.remembering
        if found is None:
            raise RequestError(ResultCode.INVALID_QUERY, NO_MEMORY)
        return found

    async def _answered(self, answer: Any, request: Any, response: Any) -> Any:
        try:
            await answer(request, response)
        except Exception as error:
            refusal = request_error_of(error)
            self._node.report(refusal, error)
            return type(response)(code=refusal.code, message=refusal.message)
        return response

    async def _recall(self, request: Any, response: Any) -> None:
        remembering = self.remembering()
        where = _where_of(request)
        vocabulary = None
        if request.query.strip():
            asked = self._node.asked(request.query)
            if beyond_names(asked):
                raise RequestError(
                    ResultCode.INVALID_QUERY,
                    "memory takes plain names; say where with `on`, `low` and `high`",
                )
            vocabulary, rejected = words_vocabulary(names_of(asked), 0.0, self._node.refusal)
            if rejected:
                raise RequestError(ResultCode.INVALID_QUERY, reasons_of(rejected))
        found = await self._recalled(remembering, vocabulary, where, request.on.strip())
        response.objects = self._messages(found, request.max_results, with_crops=request.with_crops)
        response.code = ResultCode.REMEMBERED if response.objects else ResultCode.NOT_FOUND
        response.message = f"{len(response.objects)} of {len(found)} remembered things"

    async def _recalled(
        self, remembering: Remembering, vocabulary: Vocabulary | None, where: Where, on: str = ""
    ) -> list[Recalled]:
        def job() -> list[Recalled]:
            memory = remembering.memory
            if vocabulary is None:
                found = list_all(memory, where)
            else:
                segmenter = self._node.segmenter
                if segmenter is None:
                    raise RequestError(ResultCode.INACTIVE, "the node is not configured")
                found = recall(memory, segmenter, vocabulary, remembering.space, where)
                found = [one for one in found if one.confidence >= LEAST_SURE or one.entry.gone_since]
            return on_top(found, memory, on) if on else found

        found: list[Recalled] = await self._node.bridge.wrap(self._node.submit(job))
        return found

    def _messages(self, found: Sequence[Recalled], limit: int, *, with_crops: bool) -> list[Any]:
        now_s = self._node.get_clock().now().nanoseconds * 1e-9
        return [remembered_message(one, now_s, with_crop=with_crops) for one in found[: limit or None]]

    async def _forget(self, request: Any, response: Any) -> None:
        remembering = self.remembering()
        if not request.everything and not request.keys:
            raise RequestError(ResultCode.INVALID_QUERY, "expected keys, or everything: true, got neither")
        keys = None if request.everything else tuple(request.keys)
        response.count = await self._node.bridge.wrap(self._node.submit(lambda: remembering.forget(keys)))
        response.code = ResultCode.REMEMBERED if response.count else ResultCode.NOT_FOUND
        response.message = f"{response.count} forgotten"

    async def _teach(self, request: Any, response: Any) -> None:
        taught = self.remembering().taught
        if not request.list:
            name = taught_name(request.name)
            if request.forget:
                await self._forget_name(name, response)
            else:
                camera = self._node.ready_cameras(request.camera)[0]
                job = partial(teach, taught, camera.engine, name, request)
                response.examples = await self._node.bridge.wrap(self._node.submit(job))
                plural = "s" if response.examples > 1 else ""
                response.message = f"{name!r} has {response.examples} example{plural}"
                response.code = ResultCode.REMEMBERED
        else:
            response.code = ResultCode.REMEMBERED
        counts = await self._node.bridge.wrap(self._node.submit(lambda: taught.counts))
        response.names, response.counts = list(counts), list(counts.values())

    async def _forget_name(self, name: str, response: Any) -> None:
        taught = self.remembering().taught
        count = await self._node.bridge.wrap(self._node.submit(lambda: taught.forget(name)))
        response.code = ResultCode.REMEMBERED if count else ResultCode.NOT_FOUND
        response.message = f"{count} examples of {name!r} forgotten"

    async def _find_like(self, request: Any, response: Any) -> None:
        remembering, camera = self.remembering(), self._node.ready_cameras(request.camera)[0]
        job = partial(find_alike, remembering, camera.engine, request)
        alike = await self._node.bridge.wrap(self._node.submit(job))
        fill(response, alike, self._messages([one for one, _ in alike.remembered], 0, with_crops=False))


def _where_of(request: Any) -> Where:
    low, high = ((p.x, p.y, p.z) for p in (request.low, request.high))
    boxed = any(low) or any(high)
    if boxed and not all(a <= b for a, b in zip(low, high, strict=True)):
        raise RequestError(ResultCode.INVALID_QUERY, f"expected low up to high, got {low} and {high}")
    return Where(
        low=low if boxed else None,
        high=high if boxed else None,
        seen_after=seconds_of(request.seen_after),
        seen_before=seconds_of(request.seen_before),
        gone=None if request.with_gone else False,
    )
