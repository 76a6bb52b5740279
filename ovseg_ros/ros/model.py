"""The model as the node uses it: with tracks or without, within what a frame may cost."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ovseg_ros.core.budget import Budget
from ovseg_ros.core.deadline import Deadline, FrameCost
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.segmentation import EmbeddedFrame
from ovseg_ros.core.video import VideoReport, VideoSegmenter
from ovseg_ros.ros.options import track_options_from
from ovseg_ros.ros.parameters import Settings


class Model:
    """A segmenter, its tracks, and its deadline. Everything but `reset` and the properties: one thread."""

    def __init__(self, segmenter: Any, settings: Callable[[], Settings]) -> None:
        """A core.segmenter.OpenVocabularySegmenter under the parameters of the moment."""
        self._segmenter = segmenter
        self._video = VideoSegmenter(segmenter)
        self._settings = settings
        self._resets = self._resets_done = 0
        self._deadline: Deadline | None = None
        self._newest: tuple[EmbeddedFrame, VideoReport | None] | None = None  # that `observe` has not seen

    def reset(self) -> None:
        """Forgets the tracks before the next frame; on any thread."""
        self._resets += 1

    def embed_next(self, frame: Frame, options: Any) -> EmbeddedFrame:
        """Embeds the next frame of a camera."""
        settings, budget = self._settings(), self._budget()
        if self._resets_done != self._resets or not settings.tracking:
            self._resets_done = self._resets
            self._video.reset()
        if settings.tracking:
            self._video.track_options = track_options_from(settings)
            embedded = self._video.embed(frame, options, budget)
            self._newest = embedded, self._video.last
        else:
            embedded = self._segmenter.embed(frame, options)
            self._newest = embedded, None
        return embedded

    def embed_other(self, frame: Frame, options: Any) -> EmbeddedFrame:
        """Embeds a picture that came with a request: it is no part of any track."""
        return self._segmenter.embed(frame, options)

    def label(self, embedded: EmbeddedFrame, vocabulary: Any, options: Any) -> Any:
        """Names the masks of an embedded frame."""
        return self._video.label(embedded, vocabulary, options)

    def observe(self, seconds: float) -> None:
        """Says how long the frame of the last `embed_next` took from its messages to those about it."""
        newest, self._newest = self._newest, None
        if self._deadline is None or newest is None:
            return
        embedded, report = newest
        propose_s = embedded.timings.get("propose", 0.0)
        encode_s = embedded.timings.get("crop", 0.0) + embedded.timings.get("encode", 0.0)
        self._deadline.observe(
            FrameCost(
                propose_s=propose_s,
                encode_s=encode_s,
                other_s=max(seconds - propose_s - encode_s, 0.0),
                encoded=report.encoded if report else int(embedded.seen.sum()),
                waiting=report.unseen if report else 0,
                proposed=not (report and report.skipped_proposals),
            )
        )

    @property
    def gave_up(self) -> list[str]:
        """What the last frame went without, to hold `target_rate`."""
        deadline = self._deadline
        return deadline.gave_up if deadline else []

    @property
    def holds_rate(self) -> bool:
        """False where `target_rate` cannot be held, whatever is given up."""
        deadline = self._deadline
        return deadline is None or deadline.holds

    @property
    def report(self) -> VideoReport | None:
        """What was done with the last frame; None without tracking."""
        return self._video.last if self._settings().tracking else None

    def _budget(self) -> Budget | None:
        """The limits of the next frame; None where `target_rate` or `tracking` is off."""
        settings = self._settings()
        rate = settings.target_rate
        if rate <= 0 or not settings.tracking:
            self._deadline = None
            return None
        if self._deadline is None or self._deadline.period_s != 1 / rate:
            self._deadline = Deadline(1 / rate, full_grid(self._segmenter.proposer))
        return self._deadline.budget()


def full_grid(proposer: Any) -> int | None:
    """Points per side of a generator's grid on video, where it can be told to take fewer; else None."""
    if "points_per_side" not in inspect.signature(proposer.propose).parameters:
        return None
    options = getattr(proposer, "options", None)
    on_video = "video_points_per_side" if hasattr(proposer, "propose_video") else "points_per_side"
    points = getattr(options, on_video, None)
    if isinstance(points, int) and points > 0:
        return points
    grids = [full_grid(member) for member in getattr(proposer, "members", ())]  # of a union
    return max((points for points in grids if points), default=None)
