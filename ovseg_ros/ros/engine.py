"""What runs on the inference thread: the newest frame embedded once, labelled as often as asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import EmbeddedFrame
from ovseg_ros.core.templates import BARE_TEMPLATE
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.answers import Refused, without_traceback
from ovseg_ros.ros.conversions import Scene, frame_from_messages
from ovseg_ros.ros.frame_source import FrameSource, Shot
from ovseg_ros.ros.model import Model
from ovseg_ros.ros.options import options_from
from ovseg_ros.ros.parameters import Settings
from ovseg_ros.ros.statistics import Statistics


@dataclass(frozen=True)
class Ready:
    """One frame that is embedded and waits to be labelled."""

    seq: int  # of its shot; 0 for an image that came with a request
    header: Any
    embedded: Any  # core.segmenter.EmbeddedFrame


class Engine:
    """The model, the camera's newest frame, and what is remembered of it.

    The methods `newest`, `given`, `label` and `encode` are called on the inference thread alone.
    """

    def __init__(
        self,
        segmenter: Any,
        source: FrameSource,
        settings: Callable[[], Settings],
        now_ns: Callable[[], int],
        statistics: Statistics,
    ) -> None:
        """An engine for one model and one camera.

        Args:
            segmenter: A core.segmenter.OpenVocabularySegmenter.
            source: Where the frames come from.
            settings: Returns the settings of the moment.
            now_ns: The node's clock in nanoseconds, the clock of the stamps.
            statistics: What diagnostics tell.
        """
        self.segmenter = segmenter
        self.source = source
        self.chain = Model(segmenter, settings)
        self.needs_depth = bool(getattr(segmenter.proposer, "needs_depth", False))
        source.needs_depth = self.needs_depth
        self._settings = settings
        self._now_ns = now_ns
        self._statistics = statistics
        self._lock = threading.Lock()  # over the two below: a reset comes from the executor's thread
        self._ready: Ready | None = None
        self._failed: tuple[int, Exception] | None = None
        self._epoch = 0  # counts the resets
        self._known_options: tuple[Any, Settings, Any] | None = None

    def forget(self) -> None:
        """Forgets the frame that was embedded last (time jumped, or the node is deactivated)."""
        with self._lock:
            self._ready = self._failed = None
            self._epoch += 1
        self.chain.reset()

    @property
    def last_seq(self) -> int:
        """The number of the frame that was embedded last, 0: none is remembered."""
        ready = self._ready
        return ready.seq if ready else 0

    @property
    def failed_seq(self) -> int:
        """The number of the last frame that could not be embedded, 0: none."""
        failed = self._failed
        return failed[0] if failed else 0

    @property
    def model(self) -> str:
        """The name of the preset."""
        return self.segmenter.name or self._settings().preset

    def age_s(self, header: Any) -> float | None:
        """Seconds since the stamp of a header by the node's clock; None where the stamp is 0."""
        stamp = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
        return (self._now_ns() - stamp) * 1e-9 if stamp else None

    def newest(self, *, after: int = 0) -> Ready:
        """The frame to look at now, embedded.

        It is the one embedded last where that is fresh and later than number `after`, else the newest.

        Raises:
            Refused: NO_IMAGE, STALE_IMAGE or NO_DEPTH: there is none that may be used.
            Exception: whatever this frame made the model raise; the same, without work, when asked again.
        """
        ready = self._ready
        if ready is not None and ready.embedded.embedding_key != self._options().embedding_key:
            ready = None  # a parameter changed what is looked at
        if ready is not None and ready.seq > after and not self._stale_s(ready.header):
            return ready
        shot = self.source.newest()
        if shot is None:
            if self.source.waits_for_depth:
                raise Refused(
                    ResultCode.NO_DEPTH, "images arrive, but no depth and intrinsics of their time do"
                )
            raise Refused(ResultCode.NO_IMAGE, "no image has arrived; check the camera and the topic `image`")
        if ready is not None and ready.seq == shot.seq and ready.seq <= after:
            raise Refused(ResultCode.NO_IMAGE, "no newer image has arrived")
        stale_s = self._stale_s(shot.image.header)
        if stale_s:
            limit = self._settings().max_frame_age
            self._statistics.count("stale")
            raise Refused(
                ResultCode.STALE_IMAGE,
                f"the newest image is {stale_s:.2f} s old, max_frame_age is {limit:g} s; "
                "is the camera alive, and are its clock and the node's the same (use_sim_time)?",
            )
        return self._embed_shot(shot)

    def given(self, image: Any, depth: Any, camera_info: Any) -> Ready:
        """An image that came with a request, embedded.

        Raises:
            InvalidInputError: the messages cannot be used.
            Refused: NO_DEPTH where the preset needs depth and none came with it.
        """
        frame, notes = frame_from_messages(image, depth, camera_info)
        if (depth is not None or self.needs_depth) and notes:
            if self.needs_depth and depth is None:
                raise Refused(
                    ResultCode.NO_DEPTH, f"the preset {self.model} needs depth and intrinsics with the image"
                )
            raise InvalidInputError("; ".join(notes))
        return Ready(0, image.header, self._embed(frame, self.chain.embed_other))

    def blank(self) -> Ready:
        """The newest frame without any mask: what there is to say while no word is looked for.

        Raises:
            Refused: NO_IMAGE: there is none that can be read.
        """
        shot = self.source.newest()
        if shot is None:
            raise Refused(ResultCode.NO_IMAGE, "no image has arrived")
        frame, _ = self._frame(shot)
        empty = Proposals.empty(*frame.size_hw)
        no_embeddings = torch.zeros((0, self.segmenter.clip.embedding_dim))
        return Ready(
            shot.seq, shot.image.header, EmbeddedFrame(frame, empty.masks, empty.scores, no_embeddings)
        )

    def label(self, ready: Ready, vocabulary: Any) -> Scene:
        """Labels an embedded frame with the words of `vocabulary`, one immutable snapshot."""
        segmentation = self.chain.label(ready.embedded, vocabulary, self._options())
        return Scene(ready.header, segmentation)

    def encode(self, labels: list[str], *, verbatim: bool) -> Any:
        """The (K, D) text embeddings of labels, through the preset's templates or as they stand."""
        if verbatim:
            return self.segmenter.clip.encode_text(labels, BARE_TEMPLATE)
        return self.segmenter.encode_text(labels)

    def check(self, settings: Settings) -> None:
        """Refuses settings this model cannot follow.

        Raises:
            ConfigError: a classifier that this preset's proposals do not serve.
        """
        self.segmenter.check(options_from(self.segmenter.options, settings))

    def _options(self) -> Any:
        """The options of the moment; made anew only where the parameters or the preset's options changed."""
        of = self.segmenter.options, self._settings()
        known = self._known_options
        if known is None or known[0] is not of[0] or known[1] is not of[1]:
            self._known_options = known = (*of, options_from(*of))
        return known[2]

    def _stale_s(self, header: Any) -> float:
        """The age where it is over max_frame_age, else 0."""
        age, limit = self.age_s(header), self._settings().max_frame_age
        return age if age is not None and limit > 0 and age > limit else 0.0

    def _embed_shot(self, shot: Shot) -> Ready:
        if self._failed is not None and self._failed[0] == shot.seq:
            raise without_traceback(self._failed[1])
        started, epoch = time.monotonic(), self._epoch
        try:
            ready = self._convert_and_embed(shot)
        except Exception as error:
            with self._lock:
                self._failed = (shot.seq, without_traceback(error))
            raise
        with self._lock:
            if epoch == self._epoch:  # else time jumped meanwhile: answer with it, but do not keep it
                self._ready = ready
        self._statistics.frame_embedded(time.monotonic() - started)
        return ready

    def _convert_and_embed(self, shot: Shot) -> Ready:
        frame, notes = self._frame(shot)
        if self.needs_depth and (frame.depth_m is None or frame.intrinsics is None):
            raise Refused(ResultCode.NO_DEPTH, f"the preset {self.model} needs depth; " + "; ".join(notes))
        return Ready(shot.seq, shot.image.header, self._embed(frame, self.chain.embed_next))

    def _embed(self, frame: Frame, embed: Callable[[Frame, Any], EmbeddedFrame]) -> EmbeddedFrame:
        try:
            return embed(frame, self._options())
        except InvalidInputError as error:  # a proposer that wants depth and did not say so before
            if frame.depth_m is None or frame.intrinsics is None:
                raise Refused(ResultCode.NO_DEPTH, str(error)) from error
            raise Refused(ResultCode.INTERNAL, str(error)) from error

    def _frame(self, shot: Shot) -> tuple[Frame, list[str]]:
        try:
            frame, notes = frame_from_messages(shot.image, shot.depth, shot.camera_info)
        except InvalidInputError as error:
            self._statistics.bad_image(str(error))
            raise Refused(ResultCode.NO_IMAGE, f"the newest image cannot be used: {error}") from error
        self._statistics.without_3d(notes)
        return frame, notes
