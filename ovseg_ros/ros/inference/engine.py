"""What runs on the inference thread: the newest frame embedded once, labelled as often as asked."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from ovseg_ros.core.device import check_finite
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame, Proposals, as_proposer
from ovseg_ros.core.joint import Way, alone
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking import Budget, Deadline, FrameCost, VideoReport, VideoSegmenter
from ovseg_ros.core.words import BARE_TEMPLATE
from ovseg_ros.errors import InvalidInputError, NotFiniteError
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.inference.age import Freshness
from ovseg_ros.ros.inference.frames import EmbeddedImage, FrameReader, told
from ovseg_ros.ros.inference.statistics import Statistics
from ovseg_ros.ros.io.context import MessageContext
from ovseg_ros.ros.io.frame_source import FrameSource, SyncedImages
from ovseg_ros.ros.parameters.options import options_from, track_options_from
from ovseg_ros.ros.parameters.table import Settings
from ovseg_ros.ros.requests.answers import RequestError, without_traceback


class Engine:
    """The model, one camera's newest frame, and what is remembered of it.

    The methods `newest`, `embedding`, `given`, `blank`, `label`, `note` and `encode` are called on the
    inference thread alone.
    """

    def __init__(
        self,
        segmenter: OpenVocabularySegmenter,
        source: FrameSource,
        settings: Callable[[], Settings],
        now_ns: Callable[[], int],
        statistics: Statistics,
        *,
        is_simulated: Callable[[], bool] = lambda: False,
        missing: Callable[..., str] = lambda **_: "",
        taught: Callable[[], Any] = lambda: None,
        ids: Iterator[int] | None = None,
        sharing: int = 1,
    ) -> None:
        """An engine for one model and one camera.

        Args:
            segmenter: The model.
            source: Where the frames come from.
            settings: Returns the settings of the moment.
            now_ns: The node's clock in nanoseconds, the clock of the stamps.
            statistics: What diagnostics tell.
            is_simulated: Whether that clock is /clock.
            missing: Which inputs are missing and why, see `ovseg_ros.ros.io.inputs.Inputs.missing`.
            ids: The numbers of tracks, where several engines share them.
            taught: The names that were taught, None where there is no memory.
            sharing: How many engines share the model: each frame has so much less time where a rate is held.
        """
        self.segmenter = segmenter
        self.source = source
        self.deadline: Deadline | None = None  # where `target_rate` is to be held
        self._video = VideoSegmenter(segmenter, ids=ids)
        self._sharing = sharing
        self._tracked_generation = 0
        source.needs_depth = segmenter.needs_depth
        self._settings = settings
        self.freshness = Freshness(source, settings, now_ns, is_simulated)
        self.reader = FrameReader(source, settings, statistics)
        self._missing, self._taught = missing, taught
        self._statistics = statistics
        self._last: EmbeddedImage | None = None
        self._failed: tuple[int, BaseException] | None = None
        self._known_options: tuple[Any, Settings, Any] | None = None

    @property
    def last_seq(self) -> int:
        """The number of the frame that was embedded last, 0: none is remembered."""
        image = self._remembered()
        return image.seq if image else 0

    @property
    def failed_seq(self) -> int:
        """The number of the last frame that could not be embedded, 0: none."""
        failed = self._failed
        return failed[0] if failed else 0

    @property
    def model(self) -> str:
        """The name of the preset."""
        return self.segmenter.name or self._settings().preset

    @property
    def report(self) -> VideoReport | None:
        """What was done with the last frame; None without tracking."""
        return self._video.last if self._settings().tracking else None

    def missing(self, *, with_depth: bool = False) -> str:
        """What keeps images, and depth where it is wanted, from being used; "" where nothing does."""
        problems = self._statistics.missing_3d()
        images, silent_s = self.source.peek(), self.source.image_silent_s
        stale = images is not None and self.freshness.stale(images.image.header, images.arrival_s)
        if stale and silent_s > self._settings().max_frame_age:
            problems["image"] = f"the last came {silent_s:.0f} s ago"
        return self._missing(problems=problems, with_depth=with_depth)

    def newest(self, *, after: int = 0) -> EmbeddedImage:
        """The frame to look at now, embedded.

        It is the one embedded last where that is fresh and later than number `after`, else the newest.

        Raises:
            RequestError: NO_IMAGE, STALE_IMAGE or NO_DEPTH: there is none that may be used.
            Exception: whatever this frame made the model raise; the same, without work, when asked again.
        """
        return alone(self.embedding(after=after), self.segmenter.encode_all)

    def embedding(self, *, after: int = 0) -> Way[EmbeddedImage]:
        """`newest`, as a way to go with the frames of other cameras, see `ovseg_ros.core.joint.together`."""
        last = self._remembered()
        if last is not None and last.embedded.embedding_key != self.options.embedding_key:
            last = None  # a parameter changed what is looked at
        if last is not None and last.seq > after and not self.freshness.stale(last.header, last.arrival_s):
            return last
        images = self.source.newest()
        if images is None:
            raise self.nothing()
        if last is not None and last.seq == images.seq and last.seq <= after:
            raise RequestError(ResultCode.NO_IMAGE, "no newer image has arrived")
        stale = self.freshness.stale(images.image.header, images.arrival_s)
        if stale and self.source.waits_for_depth:
            raise self.nothing()
        if stale:
            self._statistics.count("stale")
            raise RequestError(ResultCode.STALE_IMAGE, ". ".join(filter(None, (stale, self.missing()))))
        return (yield from self._embed_newest(images))

    def nothing(self) -> RequestError:
        """Why there is no image to look at."""
        if self.source.waits_for_depth:
            said = "images arrive, but what belongs to them does not"
            return RequestError(ResultCode.NO_DEPTH, _joined(said, self.missing()))
        return RequestError(ResultCode.NO_IMAGE, _joined("no image has arrived", self.missing()))

    def given(self, image: Any, depth: Any, camera_info: Any) -> EmbeddedImage:
        """An image that came with a request, embedded; it is no part of any track.

        Raises:
            InvalidInputError: the messages cannot be used.
            RequestError: NO_DEPTH where the preset needs depth and none came with it.
        """
        frame, problems = self.reader.of_messages(image, depth, camera_info)
        if depth is not None and camera_info is None:
            problems["camera_info"] = "expected camera_info with depth, got none"
        if self.source.needs_depth and depth is None:
            raise RequestError(
                ResultCode.NO_DEPTH, f"the preset {self.model} needs depth and intrinsics with the image"
            )
        if depth is not None and problems:
            raise InvalidInputError(told(problems))
        way = self._embed(frame, self.segmenter.embedding)
        return EmbeddedImage(image.header, alone(way, self.segmenter.encode_all))

    def blank(self) -> EmbeddedImage:
        """The newest frame without any mask: what there is to say while no word is looked for.

        Raises:
            RequestError: NO_IMAGE: there is none that can be read.
        """
        images = self.source.newest()
        if images is None:
            raise self.nothing()
        frame, _ = self.reader.read(images)
        empty = Proposals.empty(*frame.size_hw)
        no_embeddings = torch.zeros((0, self.segmenter.clip.embedding_dim))
        embedded = EmbeddedFrame(frame, empty.masks, empty.scores, no_embeddings)
        return EmbeddedImage(images.image.header, embedded, images.arrival_s, images.seq, images.generation)

    def label(self, image: EmbeddedImage, vocabulary: Any) -> MessageContext:
        """Labels an embedded image with the words of `vocabulary`, one immutable snapshot."""
        with self._count_not_finite():

            def label(words: Any) -> Segmentation:
                return self.segmenter.label(image.embedded, words, self.options)

            taught = self._taught()
            segmentation = label(vocabulary) if taught is None else taught.label(vocabulary, label)
        return MessageContext(image.header, segmentation)

    def note(self, image: EmbeddedImage, segmentation: Segmentation, seconds: float) -> None:
        """Takes what became of an image in the stream, so that the next one is embedded accordingly.

        Args:
            image: from `newest` or `blank`, each once.
            segmentation: under the words that are looked for all the time.
            seconds: what it took beside embedding, to the messages about it.
        """
        self._video.note(segmentation)
        if self.deadline is None or image.report is None:
            return
        stages = image.embedded.timings
        propose_s, encode_s = stages["propose"], stages["crop"] + stages["encode"]
        self.deadline.observe(
            FrameCost(
                propose_s=propose_s,
                encode_s=encode_s,
                other_s=max(image.seconds + seconds - propose_s - encode_s, 0.0),
                encoded=image.report.encoded,
                waiting=image.report.unseen,
            )
        )

    def encode(self, labels: list[str], *, verbatim: bool) -> Any:
        """(K, D) unit rows of texts; without `verbatim` as labels, in the preset's templates."""
        with self._count_not_finite():
            if not verbatim:
                return self.segmenter.encode_text(labels)
            rows = self.segmenter.clip.encode_text(labels, BARE_TEMPLATE)
            return check_finite(rows, f"the embeddings of {len(labels)} texts, {labels[0]!r} the first")

    def look_again(self, context: MessageContext, indices: Iterable[int]) -> None:
        """Has masks of a labelled image encoded anew in the next image, where they are tracked."""
        self._video.look_again(context.track_ids[i] for i in indices)

    @contextlib.contextmanager
    def _count_not_finite(self) -> Iterator[None]:
        """Counts a frame or request that is lost to NaN or infinity."""
        try:
            yield
        except NotFiniteError:
            self._statistics.count("not_finite")
            raise

    @property
    def options(self) -> Any:
        """The options of the moment; made anew only where the parameters or the preset's options changed."""
        of = self.segmenter.options, self._settings()
        known = self._known_options
        if known is None or known[0] is not of[0] or known[1] is not of[1]:
            self._known_options = known = (*of, options_from(*of))
        return known[2]

    def _remembered(self) -> EmbeddedImage | None:
        """The image that was embedded last, unless everything was forgotten since."""
        image = self._last
        return image if image is not None and image.generation == self.source.generation else None

    def _embed_newest(self, images: SyncedImages) -> Way[EmbeddedImage]:
        if self._failed is not None and self._failed[0] == images.seq:
            raise without_traceback(self._failed[1])
        started, settings = time.monotonic(), self._settings()
        try:
            frame, problems = self.reader.read(images)
            read_s = time.monotonic() - started
            if self.source.needs_depth and (frame.depth_m is None or frame.intrinsics is None):
                raise RequestError(
                    ResultCode.NO_DEPTH, f"the preset {self.model} needs depth; {told(problems)}"
                )
            if self._tracked_generation != images.generation or not settings.tracking:
                self._tracked_generation = images.generation
                self._video.reset()
            embedded = yield from self._embed(frame, self._track if settings.tracking else self._alone)
        except GeneratorExit:  # the frame of another camera ended what both were in
            raise
        except BaseException as error:
            self._failed = (images.seq, without_traceback(error))
            raise
        seconds = read_s + sum(embedded.timings.values())  # without those of other cameras
        self._statistics.frame_embedded(seconds)
        report = self._video.last if settings.tracking else None
        of = images.image.header, embedded, images.arrival_s, images.seq, images.generation
        self._last = EmbeddedImage(*of, seconds, report)
        return self._last

    def _alone(self, frame: Frame, options: Any) -> Way[EmbeddedFrame]:
        """Embeds the next frame of a camera by itself; no rate is held then."""
        self.deadline = None
        return self.segmenter.embedding(frame, options)

    def _track(self, frame: Frame, options: Any) -> Way[EmbeddedFrame]:
        """Embeds the next frame of a camera, within what it may cost."""
        settings = self._settings()
        self._video.track_options = track_options_from(settings)
        return self._video.embedding(frame, options, self._budget(settings.target_rate * self._sharing))

    def _budget(self, rate_hz: float) -> Budget | None:
        """The limits of the next frame; None where no rate is to be held."""
        if rate_hz <= 0:
            self.deadline = None
            return None
        if self.deadline is None or self.deadline.period_s != 1 / rate_hz:
            self.deadline = Deadline(1 / rate_hz, as_proposer(self.segmenter.proposer).grid_points)
        return self.deadline.budget()

    def _embed(self, frame: Frame, embed: Callable[[Frame, Any], Way[EmbeddedFrame]]) -> Way[EmbeddedFrame]:
        try:
            with self._count_not_finite():
                return (yield from embed(frame, self.options))
        except InvalidInputError as error:  # a proposer that wants depth and did not say so before
            if frame.depth_m is None or frame.intrinsics is None:
                raise RequestError(ResultCode.NO_DEPTH, str(error)) from error
            raise RequestError(ResultCode.INTERNAL, str(error)) from error


def _joined(said: str, why: str) -> str:
    return f"{said}: {why}" if why else said
