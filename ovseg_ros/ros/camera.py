"""One camera of the node: its inputs, its newest frame and tracks, its outputs, and what is told of it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from ovseg_ros.core.joint import Way
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.ros.inference.engine import Engine
from ovseg_ros.ros.inference.statistics import Statistics
from ovseg_ros.ros.inference.stream import Stream
from ovseg_ros.ros.inference.worker import Worker
from ovseg_ros.ros.io.context import MessageContext
from ovseg_ros.ros.io.frame_source import FrameSource
from ovseg_ros.ros.io.inputs import Inputs
from ovseg_ros.ros.io.outputs import Outputs
from ovseg_ros.ros.parameters.table import Settings
from ovseg_ros.ros.requests.answers import RequestError, name_of


class Camera:
    """What the node has once for each camera, from configure to cleanup. The model is shared.

    Attributes:
        name: of the parameter `cameras`; "" for the only one.
        engine: its newest frame.
        outputs: its topics.
        statistics: what diagnostics tell of it.
        searches: Number of goals that are looking through it.
    """

    def __init__(
        self,
        node: Any,
        name: str,
        segmenter: OpenVocabularySegmenter,
        worker: Worker,
        statistics: Statistics,
        *,
        ids: Iterator[int],
        sharing: int,
    ) -> None:
        """A camera without inputs.

        Args:
            node: as for `Queries`.
            name: see there.
            segmenter: the model.
            worker: whose thread it runs on.
            statistics: see there.
            ids: the numbers of tracks.
            sharing: how many cameras share the model.
        """
        self.name = name
        self.statistics = statistics
        self.searches = 0
        self._node = node
        self._worker = worker
        self._inputs: Inputs | None = None
        settings: Settings = node.settings
        source = FrameSource(
            sync_tolerance_s=settings.sync_tolerance,
            depth_wait_s=settings.depth_wait,
            on_images=worker.wake,
            is_wanted=lambda: self.is_wanted,
        )
        self.engine = Engine(
            segmenter,
            source,
            lambda: node.settings,
            lambda: node.get_clock().now().nanoseconds,
            statistics,
            is_simulated=lambda: node.get_clock().ros_time_is_active,
            missing=lambda **given: inputs.missing(**given) if (inputs := self._inputs) else "",
            ids=ids,
            taught=lambda: node.remembering and node.remembering.taught,
            sharing=sharing,
        )
        self.outputs = Outputs(node, lambda: node.settings, self.engine.model, name)
        self._stream = Stream(
            self.engine,
            self.outputs,
            node.transforms,
            is_on=lambda: node.active and node.enabled and not worker.stopping,
            vocabulary=lambda: node.vocabulary,
            settings=lambda: node.settings,
            statistics=statistics,
            on_error=self._refused,
            on_remark=self._remark_3d,
            remember=self._remember,
        )

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for its frames: a subscriber, or a search."""
        return bool(self.searches) or self._stream.is_wanted()

    def said(self, what: str) -> str:
        """A sentence about this camera, with its name where there are several."""
        return f"{self.name}: {what}" if self.name else what

    def subscribe(self) -> None:
        """Connects the inputs."""
        self._inputs = Inputs(self._node, self.engine, self._node.bridge.notify, self.name)

    def unsubscribe(self) -> None:
        """Lets go of the inputs, and forgets the frames."""
        if self._inputs is not None:
            self._inputs.destroy()
            self._inputs = None
        self.engine.source.reset()

    def apply(self, settings: Settings) -> None:
        """Takes new parameters; most are read where they are used."""
        self.engine.source.sync_tolerance_s = settings.sync_tolerance
        self.engine.source.depth_wait_s = settings.depth_wait

    # As `Turns` has it, on the inference thread

    def due_in(self) -> float | None:
        """See `Stream`."""
        return self._stream.due_in()

    def turn(self) -> Way[None]:
        """See `Stream`."""
        return self._stream.turn()

    def lost(self, error: Exception) -> None:
        """Tells that a frame was lost, unless it is for nobody any more."""
        if not self._worker.stopping:
            self._node.failed(error, self)

    def _remember(self) -> Callable[[MessageContext], None] | None:
        """What takes its labelled frames into memory, None where nothing is remembered."""
        remembering = self._node.remembering
        return remembering and partial(remembering.note, self.name, settings=self._node.settings)

    def _remark_3d(self, remark: str) -> None:
        """3D is not told as it was wanted."""
        self.statistics.remark_3d(remark)
        self._node.get_logger().warning(self.said(remark), throttle_duration_sec=5.0)

    def _refused(self, error: RequestError) -> None:
        said = self.said(f"{name_of(error.code)}: {error.message}")
        self._node.get_logger().warning(said, throttle_duration_sec=5.0)


@contextlib.contextmanager
def searched(cameras: Sequence[Camera]) -> Iterator[None]:
    """Counts one more search through each camera while it lasts."""
    for camera in cameras:
        camera.searches += 1
    try:
        yield
    finally:
        for camera in cameras:
            camera.searches -= 1


def make_cameras(
    node: Any,
    segmenter: OpenVocabularySegmenter,
    worker: Worker,
    names: Sequence[str],
    of_node: Statistics,
) -> dict[str, Camera]:
    """The cameras by name, in their order; tracks of two never have the same number.

    Args:
        node: as for `Queries`.
        segmenter: the model that they share.
        worker: the thread that they share.
        names: at least one; "" for the only one.
        of_node: its statistics are the only camera's too.
    """
    ids = itertools.count(1)
    return {
        name: Camera(
            node,
            name,
            segmenter,
            worker,
            of_node if name == "" else Statistics(),
            ids=ids,
            sharing=len(names),
        )
        for name in names
    }
