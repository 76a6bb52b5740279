"""The action `~/follow_object`: where one thing is in each fresh frame, until it is lost."""

from __future__ import annotations

import time
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup

from ovseg_ros.action import FollowObject
from ovseg_ros.core.following import Following, FollowOptions, State, View, Whereabouts
from ovseg_ros.core.maps import boxed_masks
from ovseg_ros.core.tracking import Confirmation, Sighting
from ovseg_ros.core.words import names_of
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.camera import searched
from ovseg_ros.ros.io.context import MessageContext
from ovseg_ros.ros.io.conversions import segment_message
from ovseg_ros.ros.requests.answers import Overdue, RequestError, request_error_of
from ovseg_ros.ros.requests.best import answer_of
from ovseg_ros.ros.requests.find_object import MAX_TIMEOUT_S, RESULT_KEPT_S
from ovseg_ros.ros.requests.placing import told
from ovseg_ros.ros.requests.pursuit import Look, Pursuit, Seen, ending_of, furthest
from ovseg_ros.ros.requests.queries import beyond_names, reasons_of, words_vocabulary
from ovseg_ros.ros.requests.queues import SERVICES
from ovseg_ros.ros.requests.restrictions import left_out_by, limits_of

LOST_AFTER_S = 5.0  # where a goal says nothing
ABANDONED_AFTER_S = 3.0  # without anybody who takes feedback; discovery takes less


class FollowObjectServer:
    """Serves the action as coroutines on the executor; the looking itself is done on the inference thread."""

    def __init__(self, node: Any) -> None:
        """`node` as for `Queries`."""
        self._node = node
        self._running = 0
        self._heard_s = 0.0  # when somebody was there last that takes feedback; monotonic clock
        self._feedback_topic = node.resolve_topic_name("~/follow_object/_action/feedback")
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

    async def _execute(self, goal_handle: Any) -> Any:
        result = FollowObject.Result()
        pursuits: list[Pursuit] = []
        self._running += 1
        self._heard_s = time.monotonic()
        try:
            pursuits = self._begin(goal_handle.request)
            await self._follow(goal_handle, pursuits)
            ending = ending_of(pursuits)
        except Exception as error:
            ending = request_error_of(error)
            self._node.report(ending, error)
        finally:
            self._running -= 1
        if pursuits:
            pursuit = furthest(pursuits)
            seen = pursuit.seen
            result.header, result.frame_id_3d, result.segment = seen.header, seen.frame_id_3d, seen.segment
            result.frames, result.frames_seen = sum(one.frames for one in pursuits), pursuit.frames_seen
            result.camera = pursuit.camera if pursuit.frames_seen else ""
            ending.message += f"; {seen.remark_3d}" if seen.remark_3d else ""
        result.code, result.message = ending.code, ending.message
        _conclude(goal_handle, result.code)
        return result

    def _begin(self, request: Any) -> list[Pursuit]:
        """Checks a goal; a pursuit for each camera that is asked.

        Raises:
            RequestError: INVALID_QUERY, INACTIVE or BUSY.
            InvalidInputError: the query cannot be read.
        """
        node, settings = self._node, self._node.settings
        asked = self._node.asked(request.query)
        names = names_of(asked)
        if bool(names) == bool(request.track_id):
            got = "both" if names else "neither"
            raise RequestError(ResultCode.INVALID_QUERY, f"expected a query or a track_id, got {got}")
        vocabulary = None
        if names:
            vocabulary, rejected = words_vocabulary(names, request.threshold, node.refusal)
            if rejected:  # what is followed might be another than was asked for
                raise RequestError(ResultCode.INVALID_QUERY, reasons_of(rejected))
        elif not settings.tracking:
            raise RequestError(
                ResultCode.INVALID_QUERY, "nothing has a track_id while the parameter tracking is false"
            )
        limits = limits_of(request.where)
        if vocabulary is None and not limits.are_none:
            raise RequestError(
                ResultCode.INVALID_QUERY,
                "a track_id says which one is meant: expected `where` with a query",
            )
        lost_after = request.lost_after
        lost_after_s = lost_after.sec + lost_after.nanosec * 1e-9 or LOST_AFTER_S
        if not 0 < lost_after_s <= MAX_TIMEOUT_S:
            raise RequestError(
                ResultCode.INVALID_QUERY,
                f"expected lost_after of 0 to {MAX_TIMEOUT_S:g} s, got {lost_after_s:g}",
            )
        limit = settings.max_pending
        if self._running > limit:
            raise RequestError(ResultCode.BUSY, f"{limit} things are followed already; ask again later")
        return [
            Pursuit(
                camera.name,
                request,
                vocabulary,
                beyond_names(asked),
                limits,
                FollowOptions(lost_after_s=lost_after_s),
                Confirmation(settings.find_confirm, settings.find_confirm_of),
                camera.engine,
                time.monotonic(),
            )
            for camera in node.ready_cameras(request.camera)
        ]

    async def _follow(self, goal_handle: Any, pursuits: list[Pursuit]) -> None:
        """Looks through all cameras until one shows it, then through that one until it is lost."""
        await self._pursue(goal_handle, pursuits)
        seen = [one for one in pursuits if one.where is not None]
        if len(pursuits) > 1 and seen:
            others = sum(one.frames for one in pursuits if one.where is None)
            await self._pursue(goal_handle, seen, others)

    async def _pursue(self, goal_handle: Any, pursuits: list[Pursuit], others: int = 0) -> None:
        """Looks at frame after frame until it is lost, never seen in time, or nobody wants to know.

        Args:
            goal_handle: of the action.
            pursuits: of several cameras: until the first shows it.
            others: images of other cameras that were looked at before.
        """
        node = self._node
        with searched([node.ready_cameras(one.camera)[0] for one in pursuits]):
            while True:
                for one in pursuits:
                    engine = node.ready_cameras(one.camera)[0].engine
                    if engine is not one.engine:
                        raise RequestError(ResultCode.INACTIVE, "the node was configured anew meanwhile")
                    newest = max(engine.source.newest_seq(), engine.last_seq)
                    if newest != one.tried:
                        one.tried = newest
                        if await self._look(engine, one):
                            goal_handle.publish_feedback(_feedback(one, others))
                    if len(pursuits) > 1 and one.where is not None:
                        return
                if goal_handle.is_cancel_requested or all(one.over for one in pursuits):
                    return
                if self._abandoned():
                    raise RequestError(ResultCode.INACTIVE, "nobody takes the feedback any more")
                await node.bridge.changed()

    def _abandoned(self) -> bool:
        """Whether no action client is left: a killed one cancels nothing, its goal would never end."""
        now = time.monotonic()
        if self._node.count_subscribers(self._feedback_topic):
            self._heard_s = now
        return now - self._heard_s > ABANDONED_AFTER_S

    async def _look(self, engine: Any, pursuit: Pursuit) -> bool:
        """Looks at the newest frame; False where there is none that may be used."""
        image: Any = None

        def label() -> MessageContext:
            nonlocal image
            image = engine.newest(after=pursuit.last_seq)
            vocabulary = self._node.vocabulary if pursuit.vocabulary is None else pursuit.vocabulary
            return engine.label(image, vocabulary)

        def tell(context: MessageContext) -> Look:
            return _look_of(engine, pursuit, image, context)

        try:
            pursuit.take(await told(self._node, pursuit.request.target_frame, label, tell))
        except Overdue:
            raise
        except Exception as error:  # this frame is lost; the next may show it
            pursuit.refusal = request_error_of(error)
            self._node.report(pursuit.refusal, error)
            return False
        return True


def _look_of(engine: Any, pursuit: Pursuit, image: Any, context: MessageContext) -> Look:
    """What a labelled image says about the thing. On the inference thread, image after image."""
    where, seen, remarks = None, None, context.remarks
    view = _view_of(image, context, by_word=pursuit.vocabulary is not None)
    if pursuit.following is not None:
        where = pursuit.following.see(view)
    else:
        out, left_out = left_out_by(pursuit.limits, context)
        _, choice = answer_of(context, pursuit.wanted, out)
        remarks += [one for one in (left_out, choice.reason) if one]
        index = _chosen(engine, pursuit, context, list(choice.indices))
        if index is not None:
            pursuit.following = Following(view, index, pursuit.options)
            where = Whereabouts(State.FOLLOWING, index, 0.0, (context.track_ids[index],))
    if where is not None:
        again = [i for i, at in enumerate(context.track_ids) if at and at in where.look_again]
        engine.look_again(context, again)
    if where is not None and where.index is not None:
        segment = segment_message(context, where.index, with_mask=False)
        seen = Seen(context.header, context.frame_id_3d, segment, context.remark_3d)
    best_score = float(context.scores.max()) if len(context.scores) else 0.0
    return Look(image.seq, where, seen, best_score, remarks)


def _view_of(image: Any, context: MessageContext, *, by_word: bool) -> View:
    """What following looks at; a stamp of 0 is stood in for by the time of arrival."""

    def centroid(index: int) -> Any:
        found = context.objects_in_camera([index])[0]
        return None if found is None else found.centroid_m

    segmentation = context.segmentation
    return View.of(
        segmentation,
        may_be=None if by_word else [True] * len(segmentation),
        time_s=segmentation.frame.stamp_ns * 1e-9 or image.arrival_s,
        centroid=centroid,
    )


def _chosen(engine: Any, pursuit: Pursuit, context: MessageContext, best: list[int]) -> int | None:
    """The mask to follow from here on, None where this frame does not decide it.

    A track is taken as it is; what a query means is confirmed by several frames, as `~/find_object` does.

    Args:
        engine: Of the camera.
        pursuit: Has a query, or a track.
        context: The labelled image.
        best: Its masks that answer the query, the best first.
    """
    tracks = context.track_ids
    if pursuit.vocabulary is None:
        return next((i for i in context.order if tracks[i] == pursuit.request.track_id), None)
    masks = boxed_masks(context.masks[best]) if best else []
    counts = pursuit.confirmation.add(
        [Sighting(context.names[i], tracks[i], mask) for i, mask in zip(best, masks, strict=True)]
    )
    if pursuit.confirmation.wanted > 1:
        engine.look_again(context, best)
    agreed = [i for i, n in zip(best, counts, strict=True) if n >= pursuit.confirmation.wanted]
    return agreed[0] if agreed else None


def _feedback(pursuit: Pursuit, others: int) -> Any:
    frames = pursuit.frames + others
    feedback = FollowObject.Feedback(frames=frames, frames_seen=pursuit.frames_seen)
    feedback.camera = pursuit.camera if pursuit.frames_seen else ""
    if pursuit.where is not None:
        feedback.stage = FollowObject.Feedback.FOLLOWING if pursuit.in_sight else FollowObject.Feedback.HIDDEN
        feedback.age_s = pursuit.where.age_s
    seen = pursuit.seen
    feedback.header, feedback.frame_id_3d, feedback.segment = seen.header, seen.frame_id_3d, seen.segment
    return feedback


def _conclude(goal_handle: Any, code: int) -> None:
    """Ends a goal: what was followed or searched succeeded, whatever became of it; else it is aborted."""
    if goal_handle.is_cancel_requested:
        goal_handle.canceled()
    elif code in (ResultCode.LOST, ResultCode.NOT_FOUND):
        goal_handle.succeed()
    else:
        goal_handle.abort()
