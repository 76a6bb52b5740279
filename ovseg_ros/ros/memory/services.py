"""`~/recall` and `~/forget`, and what `~/find_object` says of what is not in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from visualization_msgs.msg import MarkerArray

from ovseg_ros.core.words import Vocabulary, Wanted, as_vocabulary
from ovseg_ros.memory import Where
from ovseg_ros.memory.recall import Answers, Question, Recalled, answers, question_of, read_question, recall
from ovseg_ros.models.trusted import best_meanings
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.memory.alike import fill, find_alike
from ovseg_ros.ros.memory.markers import memory_markers
from ovseg_ros.ros.memory.messages import remembered_message, seconds_of
from ovseg_ros.ros.memory.remembering import Remembering
from ovseg_ros.ros.memory.showing import taught_name, teach
from ovseg_ros.ros.requests.answers import RequestError
from ovseg_ros.ros.requests.queries import reasons_of, words_vocabulary
from ovseg_ros.ros.requests.serving import serve
from ovseg_ros.srv import FindLike, Forget, Recall, Teach

MARKERS_EVERY_S = 1.0
NO_MEMORY = "nothing is remembered: set the parameter remember to true and configure the node anew"


class MemoryServices:
    """The services about what is remembered. They read the database on the inference thread."""

    def __init__(self, node: Any) -> None:
        """`node` is an `ovseg_ros.ros.node.OvsegNode`."""
        self._node = node
        self._markers = node.create_publisher(MarkerArray, "~/memory_markers", 1)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # these go on while simulated time stands
        node.create_timer(MARKERS_EVERY_S, self._show, clock=steady)
        serve(
            node,
            (Recall, "~/recall", self._recall),
            (Forget, "~/forget", self._forget),
            (Teach, "~/teach", self._teach),
            (FindLike, "~/find_like", self._find_like),
        )

    def _show(self) -> None:
        """Markers, where somebody looks."""
        remembering = self._node.remembering
        if remembering is None or not self._markers.get_subscription_count():
            return
        now = self._node.get_clock().now()
        entries = remembering.memory.held()
        self._markers.publish(memory_markers(entries, now.nanoseconds * 1e-9, now.to_msg()))

    async def remembered(self, asked: Sequence[Wanted]) -> tuple[list[Any], str]:
        """What is remembered and not gone of what a camera was asked for, and what there is to say about it.

        Raises:
            RequestError: INVALID_QUERY: nothing is remembered at all.
        """
        question = question_of(asked)
        found, remark = await self._recalled(question, Where(gone=False))
        said = [remark, *(f"memory does not tell {part!r}" for part in question.untold)]
        return self._messages(found, 0, with_crops=False), "; ".join(one for one in said if one)

    def remembering(self) -> Remembering:
        """The memory.

        Raises:
            RequestError: INVALID_QUERY: there is none.
        """
        found: Remembering | None = self._node.remembering
        if found is None:
            raise RequestError(ResultCode.INVALID_QUERY, NO_MEMORY)
        return found

    async def _recall(self, request: Any, response: Any) -> None:
        remembering = self.remembering()
        question = read_question(request.query, self._node.asked)
        kinds = as_vocabulary(request.kind).names if request.kind.strip() else ()
        question = replace(question, kinds=question.kinds + kinds, on=request.on.strip() or question.on)
        found, remark = await self._recalled(question, _where_of(request, remembering.frame))
        response.objects = self._messages(found, request.max_results, with_crops=request.with_crops)
        response.count = len(found)
        response.code = ResultCode.REMEMBERED if found else ResultCode.NOT_FOUND
        response.message = remark or f"{len(response.objects)} of {len(found)} remembered things"

    async def _recalled(self, question: Question, where: Where) -> Answers:
        remembering, vocabulary = self.remembering(), Vocabulary.empty()
        if question.names:
            vocabulary, rejected = words_vocabulary(question.names + question.others, 0.0, self._node.refusal)
            if rejected:
                raise RequestError(ResultCode.INVALID_QUERY, reasons_of(rejected))

        def by_names(where: Where) -> list[Recalled]:
            segmenter = self._node.segmenter
            if segmenter is None:
                raise RequestError(ResultCode.INACTIVE, "the node is not configured")
            found = recall(remembering.memory, segmenter, vocabulary, remembering.space, where)
            return [one for one in found if one.word not in question.others]

        def job() -> Answers:
            return answers(remembering.memory, question, where, best_meanings(), by_names)

        found: Answers = await self._node.bridge.wrap(self._node.submit(job))
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


def _where_of(request: Any, frame: str) -> Where:
    low, high = ((p.x, p.y, p.z) for p in (request.low, request.high))
    boxed = any(low) or any(high)
    if boxed and not all(a <= b for a, b in zip(low, high, strict=True)):
        raise RequestError(ResultCode.INVALID_QUERY, f"expected low up to high, got {low} and {high}")
    if boxed and not frame:
        raise RequestError(
            ResultCode.NO_IMAGE, "low and high are in the camera's frame, and no image has told it yet"
        )
    return Where(
        frame_id=frame if boxed else "",
        low=low if boxed else None,
        high=high if boxed else None,
        seen_after=seconds_of(request.seen_after),
        seen_before=seconds_of(request.seen_before),
        gone=None if request.with_gone else False,
    )
