"""The action `~/find_object`: look at fresh frames until one shows the thing, or the time is over."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from std_msgs.msg import Header

from ovseg_ros.action import FindObject
from ovseg_ros.core.words import Vocabulary, parse_query
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.io.conversions import UNLABELLED, segment_message
from ovseg_ros.ros.requests.answers import RequestError, request_error_of
from ovseg_ros.ros.requests.queries import reasons_of, words_vocabulary

MAX_TIMEOUT_S = 24 * 3600.0


@dataclass
class Look:
    """What one frame showed."""

    seq: int
    header: Header
    segments: list[Any]  # ovseg_ros/Segment, best first
    best_score: float
    remark: str = ""  # why a mask did not get a word that it looks like


@dataclass
class Search:
    """How far one goal has come. Times are of the monotonic clock, seconds."""

    vocabulary: Vocabulary
    want_3d: bool
    max_results: int
    deadline: float
    frames_seen: int = 0
    best_score: float = 0.0
    last_seq: int = 0
    header: Header = field(default_factory=Header)
    without_3d: list[Any] = field(default_factory=list)  # found, but 3D was asked for
    refusal: RequestError | None = None  # of the last attempt
    remark: str = ""  # of the last image that had one

    @property
    def over(self) -> bool:
        """True once the time is over."""
        return time.monotonic() >= self.deadline

    def take(self, look: Look) -> list[Any]:
        """Notes what a frame showed; returns the segments that end the search, empty while it goes on."""
        self.frames_seen += 1
        self.best_score = max(self.best_score, look.best_score)
        self.last_seq, self.header, self.refusal = look.seq, look.header, None
        self.remark = look.remark or self.remark
        complete = [s for s in look.segments if s.has_3d or not self.want_3d]
        if not complete:
            self.without_3d = look.segments or self.without_3d
        return complete

    def failure(self) -> RequestError:
        """Why the search ended without success."""
        if self.without_3d:
            return RequestError(ResultCode.NO_DEPTH, "found, but without depth or camera intrinsics there")
        if self.frames_seen:
            last = f"; the last attempt: {self.refusal.message}" if self.refusal else ""
            last = f"; what was seen {self.remark}{last}" if self.remark else last
            return RequestError(
                ResultCode.NOT_FOUND,
                f"{self.frames_seen} images searched for {', '.join(self.vocabulary.names)}, "
                f"best score {self.best_score:.2f}{last}",
            )
        return self.refusal or RequestError(ResultCode.NO_IMAGE, "no image arrived in time")


class FindObjectServer:
    """Serves the action as coroutines on the executor; the looking itself is done on the inference thread."""

    def __init__(self, node: Any) -> None:
        """`node` as for `Queries`."""
        self._node = node
        self._running = 0
        self._server = ActionServer(
            node,
            FindObject,
            "~/find_object",
            execute_callback=self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )

    async def _execute(self, goal_handle: Any) -> Any:
        result = FindObject.Result()
        self._running += 1
        try:
            search = self._begin(goal_handle.request)
            segments = await self._search(goal_handle, search)
            refusal = None if segments else search.failure()
            result.segments = (segments or search.without_3d)[: search.max_results or None]
            result.header = search.header
            result.frames_seen, result.best_score = search.frames_seen, search.best_score
        except Exception as error:
            refusal = request_error_of(error)
            self._node.report(refusal, error)
        finally:
            self._running -= 1
        result.code = refusal.code if refusal else ResultCode.FOUND
        result.message = refusal.message if refusal else f"{len(result.segments)} found"
        _conclude(goal_handle, result.code)
        return result

    def _begin(self, request: Any) -> Search:
        """Checks a goal.

        Raises:
            RequestError: INVALID_QUERY, INACTIVE or BUSY.
            InvalidInputError: the query cannot be read.
        """
        names = parse_query(request.query)
        if not names:
            raise RequestError(ResultCode.INVALID_QUERY, "the query is empty")
        vocabulary, rejected = words_vocabulary(names, request.threshold, self._node.refusal)
        if rejected:  # an answer about the other words would pass for one about all of them
            raise RequestError(ResultCode.INVALID_QUERY, reasons_of(rejected))
        timeout_s = request.timeout.sec + request.timeout.nanosec * 1e-9
        if not 0 <= timeout_s <= MAX_TIMEOUT_S:
            raise RequestError(
                ResultCode.INVALID_QUERY, f"want a timeout of 0 to {MAX_TIMEOUT_S:g} s, got {timeout_s:g}"
            )
        limit = self._node.settings.max_pending
        if self._running > limit:
            raise RequestError(ResultCode.BUSY, f"{limit} searches are running already; ask again later")
        return Search(vocabulary, request.want_3d, request.max_results, time.monotonic() + timeout_s)

    async def _search(self, goal_handle: Any, search: Search) -> list[Any]:
        """Looks at frame after frame; returns the segments found, empty where the time was over first."""
        tried = -1
        while True:
            engine = self._node.ready_engine()
            newest = max(engine.source.newest_seq(), engine.last_seq)
            if newest != tried:
                tried = newest
                found = await self._look(engine, search)
                if found:
                    return found
            if goal_handle.is_cancel_requested or search.over:
                return []
            goal_handle.publish_feedback(_feedback(search))
            await self._node.bridge.changed()

    async def _look(self, engine: Any, search: Search) -> list[Any]:
        def job() -> Look:
            image = engine.newest(after=search.last_seq)
            context = engine.label(image, search.vocabulary)
            labelled = [i for i in context.order if context.label_ids[i] != UNLABELLED]
            best = float(context.scores.max()) if len(context.scores) else 0.0
            remark = next((one for one in context.segmentation.remarks if one), "")
            segments = [segment_message(context, i) for i in labelled]
            return Look(image.seq, context.header, segments, best, remark)

        try:
            return search.take(await self._node.bridge.wrap(self._node.submit(job)))
        except Exception as error:  # this frame is lost; the next may answer
            search.refusal = request_error_of(error)
            self._node.report(search.refusal, error)
            return []


def _feedback(search: Search) -> Any:
    feedback = FindObject.Feedback(frames_seen=search.frames_seen, best_score=search.best_score)
    if search.without_3d:
        feedback.stage = FindObject.Feedback.WAITING_FOR_DEPTH
    elif search.frames_seen and search.refusal is None:
        feedback.stage = FindObject.Feedback.SEARCHING
    return feedback


def _conclude(goal_handle: Any, code: int) -> None:
    """Ends a goal: what was searched succeeded, found or not; what could not be searched is aborted."""
    if goal_handle.is_cancel_requested:
        goal_handle.canceled()
    elif code in (ResultCode.FOUND, ResultCode.NOT_FOUND):
        goal_handle.succeed()
    else:
        goal_handle.abort()
