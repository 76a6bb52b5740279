"""What a planner asks for: where things are, what becomes of them, what is in an image."""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile

from ovseg_ros.action import FindObject, FollowObject
from ovseg_ros.core.choice import Limits
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.ros.client.answers import reply_of_segmentation
from ovseg_ros.ros.client.connection import Connection
from ovseg_ros.ros.client.goals import KEPT_SIGHTINGS, Following, Goal, Search
from ovseg_ros.ros.client.replies import Reply
from ovseg_ros.ros.client.requests import (
    as_words,
    camera_info,
    depth_message,
    duration,
    image_message,
    restriction,
    text,
    whole,
)
from ovseg_ros.srv import SegmentImage

PATIENCE_S = 20.0


class Asking:
    """The part of `NodeClient` that finds, follows and segments."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._segment = connection.service(SegmentImage, "segment")
        self._find = connection.action(FindObject, "find_object")
        self._follow: Any = None
        self._goals: weakref.WeakSet[Goal] = weakref.WeakSet()

    def find(
        self,
        query: str,
        *,
        camera: str = "",
        threshold: float = 0.0,
        max_results: int = 0,
        want_3d: bool = False,
        timeout_s: float = 5.0,
        target_frame: str = "",
        where: Limits | None = None,
        with_masks: bool = False,
        with_points: bool = False,
        search_memory: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> Reply:
        """Looks at fresh images until they agree on what is asked for, or the time is over.

        Args:
            query: "teapot", "find the red mug", "the mug left of the teapot"; at most 4096 bytes of UTF-8.
            camera: of a node with several the one to look through; "": all, and `Reply.camera` says which.
            threshold: probability from which a mask counts as found, above 0 to 1; 0: the node's.
            max_results: the most things to return, the best first; 0: all. `Reply.count` counts all.
            want_3d: each thing has to have its place; where depth is missing the code is NO_DEPTH.
            timeout_s: how long the node looks; 0: at its newest image alone, which must do.
            target_frame: of places, such as "base_link"; "": the node's parameter `target_frame`.
            where: what may be found at all.
            with_masks: fill `FoundSegment.inside`.
            with_points: fill `FoundSegment.points_m`.
            search_memory: where it is in no image, tell what memory has of it: `Reply.remembered`, and the
                code is REMEMBERED, never FOUND. Needs the node's parameter `remember`.
            patience_s: for the node to be there, and to answer beyond `timeout_s`.

        Returns:
            The answer, whatever it is; `Reply.found` where it is there.

        Raises:
            NoAnswer: nothing came back in time; NodeGone: the node has died. The search is cancelled, as it
                is where another exception ends the waiting.
            InvalidInputError: a number that no request can carry.
        """
        return self.begin_find(
            query,
            camera=camera,
            threshold=threshold,
            max_results=max_results,
            want_3d=want_3d,
            timeout_s=timeout_s,
            target_frame=target_frame,
            where=where,
            with_masks=with_masks,
            with_points=with_points,
            search_memory=search_memory,
            patience_s=patience_s,
        ).result()

    def begin_find(
        self,
        query: str,
        *,
        camera: str = "",
        threshold: float = 0.0,
        max_results: int = 0,
        want_3d: bool = False,
        timeout_s: float = 5.0,
        target_frame: str = "",
        where: Limits | None = None,
        with_masks: bool = False,
        with_points: bool = False,
        search_memory: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> Search:
        """As `find`, but returns as soon as the node has accepted the search."""
        goal = FindObject.Goal(
            query=text(query, "query"),
            camera=text(camera, "camera"),
            threshold=float(threshold),
            max_results=whole(max_results, "max_results"),
            timeout=duration(timeout_s),
            want_3d=want_3d,
            target_frame=text(target_frame, "target_frame"),
            where=restriction(where),
            with_masks=with_masks,
            with_points=with_points,
            search_memory=search_memory,
        )
        sent = self._send(self._find, "~/find_object", goal, patience_s, kept=1)
        return Search(sent, timeout_s + patience_s)

    def follow(
        self,
        query: str = "",
        *,
        track_id: int = 0,
        camera: str = "",
        threshold: float = 0.0,
        target_frame: str = "",
        where: Limits | None = None,
        lost_after_s: float = 5.0,
        patience_s: float = PATIENCE_S,
    ) -> Following:
        """Looks for one thing and stays with it: iterate over the result for each image's sighting.

        Args:
            query: what to follow, as in `find`; "": `track_id`.
            track_id: of a `FoundSegment`; 0: `query`.
            camera: as in `find`.
            threshold: as in `find`.
            target_frame: as in `find`.
            where: what may be taken at the beginning.
            lost_after_s: how long it may be out of sight, or be looked for at the beginning.
            patience_s: for the node to be there and accept.

        Raises:
            NoAnswer: the node does not accept it in time; NodeGone: the node has died.
            InvalidInputError: neither or both of `query` and `track_id` are given.
        """
        if bool(query) == bool(track_id):
            raise InvalidInputError(
                f"expected a query or a track_id, got query={query!r}, track_id={track_id}"
            )
        if self._follow is None:
            qos = QoSProfile(depth=KEPT_SIGHTINGS)
            self._follow = self._connection.action(
                FollowObject, "follow_object", feedback_sub_qos_profile=qos
            )
        goal = FollowObject.Goal(
            query=text(query, "query"),
            track_id=whole(track_id, "track_id"),
            camera=text(camera, "camera"),
            threshold=float(threshold),
            target_frame=text(target_frame, "target_frame"),
            where=restriction(where),
            lost_after=duration(lost_after_s),
        )
        return Following(self._send(self._follow, "~/follow_object", goal, patience_s, kept=KEPT_SIGHTINGS))

    def _send(self, client: Any, name: str, goal: Any, patience_s: float, *, kept: int) -> Goal:
        sent = Goal(self._connection, client, name, goal, patience_s=patience_s, kept=kept)
        self._goals.add(sent)
        return sent

    def segment(
        self,
        image_rgb: np.ndarray | None = None,
        words: str | Sequence[str] = (),
        *,
        camera: str = "",
        depth: np.ndarray | None = None,
        intrinsics: CameraIntrinsics | None = None,
        threshold: float = 0.0,
        target_frame: str = "",
        where: Limits | None = None,
        with_masks: bool = True,
        with_points: bool = False,
        timeout_s: float = PATIENCE_S,
    ) -> Reply:
        """One image by words of its own; the node's vocabulary stays as it is.

        Args:
            image_rgb: (H, W, 3) uint8 RGB; None: the camera's newest, which brings its own depth.
            words: to look for; none: those of the node's vocabulary.
            camera: of a node with several the one whose newest image it is; "": the first.
            depth: (H, W) of that image: floats are metres, uint16 millimetres; 0 and NaN are unknown.
            intrinsics: of that image.
            threshold: as in `find`.
            target_frame: as in `find`.
            where: as in `find`.
            with_masks: fill `FoundSegment.inside`.
            with_points: fill `FoundSegment.points_m`.
            timeout_s: for the node to be there, and then to answer.

        Raises:
            NoAnswer: no answer in time; NodeGone: the node has died.
            InvalidInputError: the image or its depth is none.
        """
        request = SegmentImage.Request(
            image=image_message(image_rgb),
            camera=text(camera, "camera"),
            depth=depth_message(depth),
            camera_info=camera_info(intrinsics),
            labels=as_words(words),
            threshold=float(threshold),
            target_frame=text(target_frame, "target_frame"),
            where=restriction(where),
            with_masks=with_masks,
            with_points=with_points,
        )
        start = time.monotonic()
        reply = self._connection.call(self._segment, request, "~/segment", timeout_s)
        return reply_of_segmentation(reply.segmentation, start, code=reply.code, text=reply.message)
