"""The action `~/follow_object`: where one thing is in each fresh frame, until it is lost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from std_msgs.msg import Header

from ovseg_ros.action import FollowObject
from ovseg_ros.core.following import Following, FollowOptions, State, View, Whereabouts
from ovseg_ros.core.maps import boxed_masks
from ovseg_ros.core.tracking import Confirmation, Sighting
from ovseg_ros.core.words import Vocabulary, parse_query
from ovseg_ros.msg import ResultCode, Segment
from ovseg_ros.ros.io.conversions import MessageContext, segment_message
from ovseg_ros.ros.requests.answers import Overdue, RequestError, request_error_of
from ovseg_ros.ros.requests.find_object import MAX_REMARKS, MAX_TIMEOUT_S, RESULT_KEPT_S
from ovseg_ros.ros.requests.queries import reasons_of, words_vocabulary
from ovseg_ros.ros.requests.queues import SERVICES

LOST_AFTER_S = 5.0  # where a goal says nothing


@dataclass(frozen=True)
class Seen:
    """The last image that showed the thing."""

    header: Header = field(default_factory=Header)
    frame_id_3d: str = ""
    segment: Any = field(default_factory=Segment)  # ovseg_ros/Segment


@dataclass
class Pursuit:
    """How far one goal has come. Times are of the monotonic clock, seconds."""

    track_id: int  # to follow, 0: by `vocabulary`
    vocabulary: Vocabulary | None  # of the goal; None: the node's, of the moment
    options: FollowOptions
    confirmation: Confirmation
    engine: Any
    looked_s: float  # when the last image was looked at, or the goal came
    following: Following | None = None
    where: Whereabouts | None = None  # of the last image, None while nothing is followed
    seen: Seen = field(default_factory=Seen)
    frames: int = 0
    frames_seen: int = 0
    last_seq: int = 0
    began_s: float = field(default_factory=time.monotonic)
    best_score: float = 0.0
    remarks: list[str] = field(default_factory=list)  # of the last frame
    refusal: RequestError | None = None  # of the last attempt

    @property
    def in_sight(self) -> bool:
        """Whether the last image showed the thing."""
        return self.where is not None and self.where.state is State.FOLLOWING

    @property
    def over(self) -> bool:
        """True once it was not seen for too long: by the images' times, and ours since the last image."""
        now = time.monotonic()
        if self.where is None:
            return now - self.began_s > self.options.lost_after_s
        return self.where.age_s + (now - self.looked_s) > self.options.lost_after_s

    def take(self, look: Look) -> None:
        """Notes what a frame showed."""
        self.frames += 1
        self.last_seq, self.refusal, self.looked_s = look.seq, None, time.monotonic()
        self.where, self.remarks = look.where, look.remarks
        self.best_score = max(self.best_score, look.best_score)
        if look.seen is not None:
            self.frames_seen += 1
            self.seen = look.seen

    def ending(self) -> RequestError:
        """What the goal ends with: FOUND, LOST, NOT_FOUND, or what stood against it."""
        last = f"; the last attempt: {self.refusal.message}" if self.refusal else ""
        if self.where is None:
            return self._never_seen(last)
        of = f"seen in {self.frames_seen} of {_images(self.frames)}"
        if self.in_sight and not self.over:
            return RequestError(ResultCode.FOUND, f"in sight; {of}")
        hidden_s = self.where.age_s + (time.monotonic() - self.looked_s)
        return RequestError(ResultCode.LOST, f"not seen for {hidden_s:.1f} s; {of}{last}")

    def _never_seen(self, last: str) -> RequestError:
        if not self.frames:
            return self.refusal or RequestError(ResultCode.NO_IMAGE, "no image arrived in time")
        if self.vocabulary is None:
            said = f"{_images(self.frames)} searched, none has track {self.track_id}"
        else:
            words = ", ".join(self.vocabulary.names)
            said = f"{_images(self.frames)} searched for {words}, best score {self.best_score:.2f}"
            if self.confirmation.best:
                best, wanted = self.confirmation.best, self.confirmation.wanted
                said += f"; seen in {best}, {wanted} wanted (find_confirm)"
        return RequestError(ResultCode.NOT_FOUND, "; ".join([said, *self.remarks[:MAX_REMARKS]]) + last)


@dataclass(frozen=True)
class Look:
    """What one frame showed."""

    seq: int
    where: Whereabouts | None  # None: nothing is followed yet
    seen: Seen | None  # where the frame shows it
    best_score: float
    remarks: list[str]


class FollowObjectServer:
    """Serves the action as coroutines on the executor; the looking itself is done on the inference thread."""

    def __init__(self, node: Any) -> None:
        """`node` as for `Queries`."""
        self._node = node
        self._running = 0
        self._server = ActionServer(
            node,
            FollowObject,
            "~/follow_object",
            execute_callback=self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
            goal_service_qos_profile=SERVICES,
            result_service_qos_profile=SERVICES,
            cancel_service_qos_profile=SERVICES,
            result_timeout=RESULT_KEPT_S,
        )

    @property
    def running(self) -> int:
        """Number of things that are followed, or searched for to be, at this moment."""
        return self._running

    async def _execute(self, goal_handle: Any) -> Any:
        result = FollowObject.Result()
        pursuit = None
        self._running += 1
        try:
            pursuit = self._begin(goal_handle.request)
            await self._follow(goal_handle, pursuit)
            ending = pursuit.ending()
        except Exception as error:
            ending = request_error_of(error)
            self._node.report(ending, error)
        finally:
            self._running -= 1
        if pursuit is not None:
            seen = pursuit.seen
            result.header, result.frame_id_3d, result.segment = seen.header, seen.frame_id_3d, seen.segment
            result.frames, result.frames_seen = pursuit.frames, pursuit.frames_seen
        result.code, result.message = ending.code, ending.message
        _conclude(goal_handle, result.code)
        return result

    def _begin(self, request: Any) -> Pursuit:
        """Checks a goal.

        Raises:
            RequestError: INVALID_QUERY, INACTIVE or BUSY.
            InvalidInputError: the query cannot be read.
        """
        node, settings = self._node, self._node.settings
        names = parse_query(request.query)
        if bool(names) == bool(request.track_id):
            got = "both" if names else "neither"
            raise RequestError(ResultCode.INVALID_QUERY, f"want a query or a track_id, got {got}")
        vocabulary = None
        if names:
            vocabulary, rejected = words_vocabulary(names, request.threshold, node.refusal)
            if rejected:  # what is followed might be another than was asked for
                raise RequestError(ResultCode.INVALID_QUERY, reasons_of(rejected))
        elif not settings.tracking:
            raise RequestError(
                ResultCode.INVALID_QUERY, "nothing has a track_id while the parameter tracking is false"
            )
        lost_after = request.lost_after
        lost_after_s = lost_after.sec + lost_after.nanosec * 1e-9 or LOST_AFTER_S
        if not 0 < lost_after_s <= MAX_TIMEOUT_S:
            raise RequestError(
                ResultCode.INVALID_QUERY,
                f"want lost_after of 0 to {MAX_TIMEOUT_S:g} s, got {lost_after_s:g}",
            )
        limit = settings.max_pending
        if self._running > limit:
            raise RequestError(ResultCode.BUSY, f"{limit} things are followed already; ask again later")
        return Pursuit(
            request.track_id,
            vocabulary,
            FollowOptions(lost_after_s=lost_after_s),
            Confirmation(settings.find_confirm, settings.find_confirm_of),
            node.ready_engine(),
            time.monotonic(),
        )

    async def _follow(self, goal_handle: Any, pursuit: Pursuit) -> None:
        """Looks at frame after frame until it is lost, never seen in time, or nobody wants to know."""
        tried = -1
        while True:
            engine = self._node.ready_engine()
            if engine is not pursuit.engine:
                raise RequestError(ResultCode.INACTIVE, "the node was configured anew meanwhile")
            newest = max(engine.source.newest_seq(), engine.last_seq)
            if newest != tried:
                tried = newest
                if await self._look(engine, pursuit):
                    goal_handle.publish_feedback(_feedback(pursuit))
            if goal_handle.is_cancel_requested or pursuit.over:
                return
            await self._node.bridge.changed()

    async def _look(self, engine: Any, pursuit: Pursuit) -> bool:
        """Looks at the newest frame; False where there is none that may be used."""

        def job() -> Look:
            image = engine.newest(after=pursuit.last_seq)
            vocabulary = self._node.vocabulary if pursuit.vocabulary is None else pursuit.vocabulary
            context = engine.label(image, vocabulary)
            return _look_of(image.seq, context, _whereabouts(engine, pursuit, image, context))

        try:
            pursuit.take(await self._node.bridge.wrap(self._node.submit(job)))
        except Overdue:
            raise
        except Exception as error:  # this frame is lost; the next may show it
            pursuit.refusal = request_error_of(error)
            self._node.report(pursuit.refusal, error)
            return False
        return True


def _whereabouts(engine: Any, pursuit: Pursuit, image: Any, context: MessageContext) -> Whereabouts | None:
    """What a labelled image says about the thing, None while nothing is followed. On the inference thread."""
    view = _view_of(image, context, by_word=pursuit.vocabulary is not None)
    if pursuit.following is not None:
        where = pursuit.following.see(view)
    elif (index := _chosen(engine, pursuit, context)) is not None:
        pursuit.following = Following(view, index, pursuit.options)
        where = Whereabouts(State.FOLLOWING, index, 0.0, (context.track_ids[index],))
    else:
        return None
    engine.look_again(context, [i for i, at in enumerate(context.track_ids) if at and at in where.look_again])
    return where


def _look_of(seq: int, context: MessageContext, where: Whereabouts | None) -> Look:
    """The same as messages."""
    seen = None
    if where is not None and where.index is not None:
        segment = segment_message(context, where.index, with_mask=False)
        seen = Seen(context.header, context.header.frame_id, segment)
    best_score = float(context.scores.max()) if len(context.scores) else 0.0
    return Look(seq, where, seen, best_score, context.remarks)


def _view_of(image: Any, context: MessageContext, *, by_word: bool) -> View:
    """What following looks at; a stamp of 0 is stood in for by the time of arrival."""

    def centroid(index: int) -> Any:
        box_3d = context.box_3d(index)
        return None if box_3d is None else box_3d[0]

    segmentation = context.segmentation
    return View.of(
        segmentation,
        may_be=None if by_word else [True] * len(segmentation),
        time_s=segmentation.frame.stamp_ns * 1e-9 or image.arrival_s,
        centroid=centroid,
    )


def _chosen(engine: Any, pursuit: Pursuit, context: MessageContext) -> int | None:
    """The mask to follow from here on, None where this frame does not decide it.

    A track is taken as it is; a word has to be confirmed by several frames, as `~/find_object` does.
    """
    tracks = context.track_ids
    if pursuit.vocabulary is None:
        return next((i for i in context.order if tracks[i] == pursuit.track_id), None)
    labelled = context.labelled
    masks = boxed_masks(context.masks[labelled]) if labelled else []
    counts = pursuit.confirmation.add(
        [Sighting(context.names[i], tracks[i], mask) for i, mask in zip(labelled, masks, strict=True)]
    )
    if pursuit.confirmation.wanted > 1:
        engine.look_again(context, labelled)
    agreed = [i for i, n in zip(labelled, counts, strict=True) if n >= pursuit.confirmation.wanted]
    return agreed[0] if agreed else None


def _feedback(pursuit: Pursuit) -> Any:
    feedback = FollowObject.Feedback(frames=pursuit.frames, frames_seen=pursuit.frames_seen)
    if pursuit.where is not None:
        feedback.stage = FollowObject.Feedback.FOLLOWING if pursuit.in_sight else FollowObject.Feedback.HIDDEN
        feedback.age_s = pursuit.where.age_s
    seen = pursuit.seen
    feedback.header, feedback.frame_id_3d, feedback.segment = seen.header, seen.frame_id_3d, seen.segment
    return feedback


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _conclude(goal_handle: Any, code: int) -> None:
    """Ends a goal: what was followed or searched succeeded, whatever became of it; else it is aborted."""
    if goal_handle.is_cancel_requested:
        goal_handle.canceled()
    elif code in (ResultCode.LOST, ResultCode.NOT_FOUND):
        goal_handle.succeed()
    else:
        goal_handle.abort()
