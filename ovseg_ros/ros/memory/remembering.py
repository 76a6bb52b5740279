"""Labelled images become sightings: held until TF says where the camera was, then noted."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from typing import Any

from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.space import Rigid
from ovseg_ros.errors import StoreError
from ovseg_ros.memory import Retention, Writer, default_path, open_store
from ovseg_ros.memory.frames import sightings_of, space_of, tracked_masks, view_of
from ovseg_ros.memory.jumps import Jumps
from ovseg_ros.memory.objects import ObjectMemory
from ovseg_ros.ros.io.context import MessageContext
from ovseg_ros.ros.io.frame_source import stamp_ns
from ovseg_ros.ros.io.transforms import Missing, Transforms
from ovseg_ros.ros.memory.taught_names import TaughtNames
from ovseg_ros.ros.parameters.options import options_from
from ovseg_ros.ros.parameters.table import Settings

EVERY_S = 0.15  # images between two that are noted say nothing new
MOST_HELD = 8
FLUSH_S = 2.0
PRUNE_EVERY_S = 600.0
DAY_S = 86400.0

_LOG = logging.getLogger(__name__)


def make_remembering(
    settings: Settings, transforms: Transforms, segmenter: OpenVocabularySegmenter
) -> Remembering | None:
    """The memory that parameters ask for, None where they ask for none.

    Raises:
        ConfigError: it cannot be opened: the sentence names the cure.
    """
    if not settings.remember:
        return None
    retention = Retention(
        max_age_s=settings.memory_days * DAY_S or None, max_count=settings.memory_max_objects
    )
    if not settings.memory_url:
        with contextlib.suppress(OSError):  # then the store says what stands against it
            default_path().parent.mkdir(parents=True, exist_ok=True)
    store = open_store(
        settings.memory_url or default_path(),
        robot=settings.robot,
        retention=retention,
        crops=settings.memory_crops,
    )
    return Remembering(store, transforms, segmenter, settings)


class Remembering:
    """What the node's cameras saw, in one fixed frame.

    Attributes:
        store: what is kept.
        taught: names that were shown by example.
        remark: why the last image was not noted, "" where it was.
    """

    def __init__(
        self,
        store: Any,
        transforms: Transforms,
        segmenter: OpenVocabularySegmenter,
        settings: Settings,
    ) -> None:
        """Nothing is noted yet.

        Args:
            store: see there; closed by `close`.
            transforms: TF.
            segmenter: the model, whose embeddings these are.
            settings: at configure.
        """
        self.store, self.remark = store, ""
        self._writer = Writer(store)
        self._transforms, self._model = transforms, segmenter.name
        self._frame, self._crops, self._robot = settings.memory_frame, settings.memory_crops, settings.robot
        self._own_frame = ""  # of the newest image
        self._held: deque[tuple[float, str, MessageContext]] = deque()
        self._noted: dict[str, int] = {}  # stamp of the last image of each camera, nanoseconds
        self._jumps = Jumps()
        self._pruned = -PRUNE_EVERY_S  # when, on the clock of the images
        self._memory: ObjectMemory | None = None
        self._space = space_of(segmenter.name, options_from(segmenter.options, settings).embedding_key)
        self._lock = threading.Lock()
        self.taught = TaughtNames(store, segmenter.name, lambda: self._space, crops=self._crops)

    @property
    def trouble(self) -> str:
        """What stands against remembering now, "" where nothing does."""
        error = self._writer.state.error
        return (
            f"what is seen is not stored for now, and kept until it can be: {error}" if error else self.remark
        )

    @property
    def waiting(self) -> int:
        """Things whose newest state is not stored yet."""
        return self._writer.state.pending

    @property
    def space(self) -> str:
        """Whose embeddings are remembered now."""
        return self._space

    @property
    def frame(self) -> str:
        """The fixed frame; "" where that is a camera's own, and no image has come yet."""
        return self._frame or self._own_frame

    @property
    def memory(self) -> ObjectMemory:
        """What is remembered, also of other times and robots."""
        with self._lock:
            if self._memory is None:
                self._memory = ObjectMemory(self.store, self._writer, self._space, robot=self._robot)
            return self._memory

    def note(self, camera: str, context: MessageContext, *, settings: Settings) -> None:
        """Takes a labelled image; on the inference thread.

        What TF does not know yet is held for `transform_wait`, and left out then.
        """
        stamp = stamp_ns(context.header)
        if context.has_depth and settings.tracking and len(context.segmentation.vocabulary):
            last = self._noted.get(camera)
            if last is None or not 0 <= stamp - last < EVERY_S * 1e9:
                self._noted[camera] = stamp
                self._held.append((time.monotonic() + settings.transform_wait, camera, context))
        while self._held:
            until, camera, context = self._held[0]
            placed = self._camera_at(context)
            waits = time.monotonic() < until and len(self._held) <= MOST_HELD
            if isinstance(placed, Missing) and placed.may_come and waits:
                return
            self._held.popleft()
            if isinstance(placed, Missing):
                self._say(f"nothing is remembered: {placed.reason}")
                continue
            self._say("")
            self._look_for_jump(context, placed, settings.odom_frame)
            self._note(camera, context, placed)

    def forget_tracks(self) -> None:
        """Tracks begin anew."""
        self._held.clear()
        self._noted.clear()
        self.memory.forget_tracks()

    def forget(self, keys: tuple[str, ...] | None) -> int:
        """Forgets entries by their keys, or everything; how many they were."""
        return self.memory.forget(keys)

    def close(self) -> None:
        """Stores what is not stored, as far as that takes no more than two seconds."""
        self.memory.flush()
        self._writer.close(FLUSH_S)
        self.store.close()

    def frame_of(self, context: MessageContext) -> str:
        """The fixed frame."""
        return self._frame or context.header.frame_id

    def _camera_at(self, context: MessageContext) -> Rigid | Missing:
        camera = context.header.frame_id
        return self._transforms.lookup(self._frame or camera, camera, stamp_ns(context.header))

    def _note(self, camera: str, context: MessageContext, placed: Rigid) -> None:
        segmentation = context.segmentation
        view = view_of(segmentation, self.frame_of(context), placed)
        if view is None:
            return
        self._own_frame = context.header.frame_id
        space = space_of(self._model, segmentation.embedded.embedding_key)
        if space != self._space:
            with self._lock:
                if self._memory is not None:
                    self._memory.flush()
                self._space, self._memory = space, None
        if not 0 <= view.stamp - self._pruned < PRUNE_EVERY_S:
            self._pruned = view.stamp
            self._prune(view.stamp)
        memory = self.memory
        indices = tracked_masks(segmentation, lambda track: memory.knows((camera, track)))
        objects = context.objects_in_camera(indices)
        memory.note(
            view, sightings_of(segmentation, indices, objects, view, camera=camera, crops=self._crops)
        )

    def _prune(self, now_s: float) -> None:
        try:
            count = self.store.prune(now_s)
        except StoreError as error:
            _LOG.warning("nothing old was forgotten: %s", error)
        else:
            if count:
                _LOG.info("%d things were forgotten, by memory_days and memory_max_objects", count)

    def _look_for_jump(self, context: MessageContext, placed: Rigid, odom_frame: str) -> None:
        """Doubts what was told before where the fixed frame jumped against odometry."""
        if not odom_frame or not self._frame or odom_frame == self._frame:
            return
        stamp = stamp_ns(context.header)
        found = self._transforms.lookup(self._frame, odom_frame, stamp)
        if isinstance(found, Missing):
            return
        correction = self._jumps.correction(found, placed.translation_m)
        if correction is not None:
            self.memory.correct(stamp * 1e-9, correction)
            _LOG.info("%s was corrected: what was seen since last time is moved, and in doubt", self._frame)

    def _say(self, remark: str) -> None:
        if remark and remark != self.remark:
            _LOG.warning("%s", remark)
        self.remark = remark
