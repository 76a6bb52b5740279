"""The action `~/find_object`: look at fresh frames until they agree on the thing, or the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from std_msgs.msg import Header

from ovseg_ros.action import FindObject
from ovseg_ros.core.choice import Limits
from ovseg_ros.core.maps import boxed_masks
from ovseg_ros.core.tracking import Confirmation, Sighting
from ovseg_ros.core.words import Vocabulary, Wanted, names_of
from ovseg_ros.memory.entry import age_text
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.camera import searched
from ovseg_ros.ros.io.context import MessageContext
from ovseg_ros.ros.io.conversions import segment_message
from ovseg_ros.ros.requests.answers import Overdue, RequestError, request_error_of
from ovseg_ros.ros.requests.best import answer_of
from ovseg_ros.ros.requests.placing import told
from ovseg_ros.ros.requests.queries import beyond_names, reasons_of, words_vocabulary
from ovseg_ros.ros.requests.queues import SERVICES
from ovseg_ros.ros.requests.restrictions import left_out_by, limits_of

MAX_TIMEOUT_S = 24 * 3600.0
MAX_REMARKS = 3
RESULT_KEPT_S = 60  # for who asks late; rclpy's 900 are a lot of masks where goals come at a camera's rate
NO_DEPTH_THEN = "this image was used without"
NO_DEPTH_THERE = "depth is unknown (0 or NaN) all over it"


@dataclass
class Look:
    """What one frame showed."""

    seq: int
    header: Header
    segments: list[Any]  # ovseg_ros/Segment, best first
    best_score: float
    sightings: list[Sighting] = field(default_factory=list)  # of the segments
    remarks: list[str] = field(default_factory=list)  # why masks did not get the word
    no_3d: str = ""  # why segments have none; "" where it is not asked for
    frame_id_3d: str = ""
    said: list[str] = field(default_factory=list)  # what belongs to the segments: why 3D is elsewhere …
    count: int = 0  # things that fit, also where they are too few to be an answer
    reason: str = ""  # what was chosen by, or why nothing was


@dataclass(frozen=True)
class Answer:
    """What one image gave, and in how many its first segment agreed; without one the most that agreed."""

    header: Header = field(default_factory=Header)
    segments: list[Any] = field(default_factory=list)  # ovseg_ros/Segment, best first
    agreements: int = 0
    frame_id_3d: str = ""
    said: list[str] = field(default_factory=list)  # what there is to say about them
    count: int = 0  # things that fit


@dataclass
class Search:
    """How far one goal has come with one camera. Times are of the monotonic clock, seconds."""

    camera: str  # its name
    request: Any  # FindObject.Goal
    vocabulary: Vocabulary
    wanted: tuple[Wanted, ...]  # what is asked for beyond names
    limits: Limits
    deadline: float
    confirmation: Confirmation
    frames_seen: int = 0
    best_score: float = 0.0
    tried: int = -1  # the newest image when it was looked last
    last_seq: int = 0
    found: Answer | None = None
    nothing: Answer = field(default_factory=Answer)  # what there is to say as of the last frame
    without_3d: Answer | None = None  # found, but 3D was asked for
    no_3d: str = ""  # why
    unconfirmed: bool = False  # the last frame showed it, in too few so far
    remarks: list[str] = field(default_factory=list)  # of the last frame
    refusal: RequestError | None = None  # of the last attempt

    @property
    def over(self) -> bool:
        """True once the time is over."""
        return time.monotonic() >= self.deadline

    def take(self, look: Look) -> Answer | None:
        """Notes what a frame showed; returns the answer that ends the search, None while it goes on."""
        self.frames_seen += 1
        self.best_score = max(self.best_score, look.best_score)
        self.last_seq, self.refusal = look.seq, None
        self.remarks = look.remarks
        counts = self.confirmation.add(look.sightings)
        agreed = [
            (segment, count)
            for segment, count in zip(look.segments, counts, strict=True)
            if count >= self.confirmation.wanted
        ]
        if self.wanted and len(agreed) < len(look.segments):
            agreed = []  # another one than the one that is meant is no answer, nor is one of two
        self.unconfirmed = bool(counts) and not agreed
        said = [look.reason] if look.reason else []
        self.nothing = Answer(look.header, [], self.confirmation.best, look.frame_id_3d, said, look.count)
        complete = [(s, count) for s, count in agreed if s.has_3d or not self.request.want_3d]
        if complete:
            return _answer(look, complete)
        if agreed:
            self.without_3d = _answer(look, agreed)
            self.no_3d = look.no_3d
        return None

    def failure(self) -> RequestError:
        """Why the search ended without success."""
        if self.without_3d:
            return RequestError(ResultCode.NO_DEPTH, f"found, but without 3D: {self.no_3d}")
        if self.frames_seen:
            return RequestError(ResultCode.NOT_FOUND, "; ".join(self._not_found()))
        return self.refusal or RequestError(ResultCode.NO_IMAGE, "no image arrived in time")

    def _not_found(self) -> Iterator[str]:
        """What there is to say about a search that ended without finding anything."""
        images = "1 image" if self.frames_seen == 1 else f"{self.frames_seen} images"
        words = ", ".join(self.vocabulary.names)
        yield f"{images} searched for {words}, best score {self.best_score:.2f}"
        confirmation = self.confirmation
        if confirmation.best:
            of = min(confirmation.of, confirmation.frames)
            yield (
                f"seen in {confirmation.best} of {of} image{'' if of == 1 else 's'}, "
                f"{confirmation.wanted} wanted (find_confirm)"
            )
            if confirmation.frames < confirmation.wanted:
                yield "no more images came in time: is the camera running, is the timeout long enough?"
        yield from self.remarks[:MAX_REMARKS]
        if self.refusal:
            yield f"the last attempt: {self.refusal.message}"


def furthest(searches: Sequence[Search]) -> tuple[Search, RequestError]:
    """Of searches without success the one that came furthest, and what is said of all of them."""
    failures = {search.camera: search.failure() for search in searches}
    best = min(searches, key=lambda one: (one.without_3d is None, not one.frames_seen))
    if len(searches) == 1:
        return best, failures[best.camera]
    said = "; ".join(f"{name}: {failure.message}" for name, failure in failures.items())
    return best, RequestError(failures[best.camera].code, said)


def _seen(searches: Sequence[Search]) -> tuple[int, float]:
    """Images searched with all cameras, and the best score in any of them."""
    return sum(one.frames_seen for one in searches), max(one.best_score for one in searches)


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
            goal_service_qos_profile=SERVICES,
            result_service_qos_profile=SERVICES,
            cancel_service_qos_profile=SERVICES,
            result_timeout=RESULT_KEPT_S,
        )

    async def _execute(self, goal_handle: Any) -> Any:
        result = FindObject.Result()
        self._running += 1
        try:
            searches = self._begin(goal_handle.request)
            search, refusal = await self._search(goal_handle, searches) or furthest(searches)
            answer = search.found or search.without_3d or search.nothing
            result.camera = search.camera if search.frames_seen else ""
            result.segments = answer.segments[: search.request.max_results or None]
            result.header, result.agreements = answer.header, answer.agreements
            result.frame_id_3d, result.count = answer.frame_id_3d, answer.count
            said = [refusal.message if refusal else f"{len(result.segments)} found"]
            said += answer.said
            result.frames_seen, result.best_score = _seen(searches)
            if refusal is not None and goal_handle.request.search_memory:
                before, refusal = refusal, await self._recall(result, goal_handle.request, refusal)
                said = [refusal.message, *said[refusal.code == before.code :]]
        except Exception as error:
            refusal = request_error_of(error)
            self._node.report(refusal, error)
            said = [refusal.message]
        finally:
            self._running -= 1
        result.code = refusal.code if refusal else ResultCode.FOUND
        result.message = "; ".join(said)
        _conclude(goal_handle, result.code)
        return result

    async def _recall(self, result: Any, request: Any, refusal: RequestError) -> RequestError:
        """What memory has of what is in no image; `refusal` itself, with a remark, where that is nothing."""
        asked = self._node.asked(request.query)
        result.remembered, remark = await self._node.memory_services.remembered(asked)
        said = f"; {remark}" if remark else ""
        if not result.remembered:
            return RequestError(refusal.code, f"{refusal.message}{said}")
        best = result.remembered[0]
        ago = f"{age_text(best.age_s)} ago (confidence {best.confidence:.2f})"
        return RequestError(ResultCode.REMEMBERED, f"{best.label} was last seen {ago}{said}")

    def _begin(self, request: Any) -> list[Search]:
        """Checks a goal; a search for each camera that is asked.

        Raises:
            RequestError: INVALID_QUERY, INACTIVE or BUSY.
            InvalidInputError: the query cannot be read.
        """
        asked = self._node.asked(request.query)
        if not asked:
            raise RequestError(ResultCode.INVALID_QUERY, "the query is empty")
        if request.search_memory:
            self._node.memory_services.remembering()
        vocabulary, rejected = words_vocabulary(names_of(asked), request.threshold, self._node.refusal)
        if rejected:  # an answer about the other words would pass for one about all of them
            raise RequestError(ResultCode.INVALID_QUERY, reasons_of(rejected))
        limits = limits_of(request.where)
        timeout_s = request.timeout.sec + request.timeout.nanosec * 1e-9
        if not 0 <= timeout_s <= MAX_TIMEOUT_S:
            raise RequestError(
                ResultCode.INVALID_QUERY, f"expected a timeout of 0 to {MAX_TIMEOUT_S:g} s, got {timeout_s:g}"
            )
        settings = self._node.settings
        limit = settings.max_pending
        if self._running > limit:
            raise RequestError(ResultCode.BUSY, f"{limit} searches are running already; ask again later")
        # One image has none to agree with.
        confirm = (settings.find_confirm, settings.find_confirm_of) if timeout_s else (1, 1)
        deadline = time.monotonic() + timeout_s
        wanted = beyond_names(asked)
        return [
            Search(camera.name, request, vocabulary, wanted, limits, deadline, Confirmation(*confirm))
            for camera in self._node.ready_cameras(request.camera)
        ]

    async def _search(self, goal_handle: Any, searches: list[Search]) -> tuple[Search, None] | None:
        """Looks at frame after frame of each camera; the search that found, None where time ran out."""
        with searched([self._node.ready_cameras(search.camera)[0] for search in searches]):
            while True:
                for search in searches:
                    engine = self._node.ready_cameras(search.camera)[0].engine
                    newest = max(engine.source.newest_seq(), engine.last_seq)
                    if newest != search.tried:
                        search.tried = newest
                        search.found = await self._look(engine, search)
                        if search.found:
                            return search, None
                if goal_handle.is_cancel_requested or searches[0].over:
                    return None
                goal_handle.publish_feedback(_feedback(searches))
                await self._node.bridge.changed()

    async def _look(self, engine: Any, search: Search) -> Answer | None:
        request, seq = search.request, 0

        def label() -> MessageContext:
            nonlocal seq
            image = engine.newest(after=search.last_seq)
            context = engine.label(image, search.vocabulary)
            if search.confirmation.wanted > 1:
                engine.look_again(context, context.labelled)
            seq = image.seq
            return context

        def tell(context: MessageContext) -> Look:
            out, left_out = left_out_by(search.limits, context)
            with_masks = request.with_masks and self._node.settings.publish_masks
            message = partial(segment_message, with_mask=with_masks, with_points=request.with_points)
            look = _look_of(seq, context, search.wanted, out, message)
            if left_out:
                look.remarks.append(left_out)
                look.said.append(left_out)
            if request.want_3d and context.has_depth:
                look.no_3d = NO_DEPTH_THERE
            elif request.want_3d:
                look.no_3d = engine.missing(with_depth=True) or NO_DEPTH_THEN
            return look

        try:
            return search.take(await told(self._node, request.target_frame, label, tell))
        except Overdue:
            raise
        except Exception as error:  # this frame is lost; the next may answer
            search.refusal = request_error_of(error)
            self._node.report(search.refusal, error)
            return None


def _look_of(
    seq: int,
    context: MessageContext,
    wanted: tuple[Wanted, ...],
    out: list[int],
    message: Callable[[MessageContext, int], Any],
) -> Look:
    """What a labelled image shows of what was asked for; `message` makes the Segment of a mask."""
    before = context
    context, choice = answer_of(context, wanted, out)
    asked = before if wanted else context  # with all that the request names, or without what is left out
    best, tracks = list(choice.indices), context.track_ids
    context.objects_in_camera(best)
    masks = boxed_masks(context.masks[best]) if best else []
    return Look(
        seq,
        context.header,
        [message(context, i) for i in best],
        float(asked.scores.max()) if len(asked.scores) else 0.0,
        [Sighting(context.names[i], tracks[i], mask) for i, mask in zip(best, masks, strict=True)],
        context.remarks,
        frame_id_3d=context.frame_id_3d,
        said=[one for one in (choice.reason if wanted else "", context.remark_3d) if one],
        count=choice.count,
        reason=choice.reason if wanted else "",
    )


def _answer(look: Look, agreed: list[tuple[Any, int]]) -> Answer:
    """What one look found: the segments that agree, each with the number of images."""
    segments = [segment for segment, _ in agreed]
    count = max(look.count, len(segments)) if look.reason else len(segments)
    return Answer(look.header, segments, agreed[0][1], look.frame_id_3d, look.said, count)


def _feedback(searches: Sequence[Search]) -> Any:
    frames_seen, best_score = _seen(searches)
    feedback = FindObject.Feedback(frames_seen=frames_seen, best_score=best_score)
    if any(one.without_3d for one in searches):
        feedback.stage = FindObject.Feedback.WAITING_FOR_DEPTH
    elif any(one.unconfirmed for one in searches):
        feedback.stage = FindObject.Feedback.CONFIRMING
    elif any(one.frames_seen and one.refusal is None for one in searches):
        feedback.stage = FindObject.Feedback.SEARCHING
    return feedback


def _conclude(goal_handle: Any, code: int) -> None:
    """Ends a goal: what was searched succeeded, found or not; what could not be searched is aborted."""
    if goal_handle.is_cancel_requested:
        goal_handle.canceled()
    elif code in (ResultCode.FOUND, ResultCode.NOT_FOUND, ResultCode.REMEMBERED):
        goal_handle.succeed()
    else:
        goal_handle.abort()
