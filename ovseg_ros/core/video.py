"""The chain on video: things keep their numbers, and their embeddings while they look the same."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ovseg_ros.core.budget import Budget
from ovseg_ros.core.camera_tracks import CameraTracks, Found
from ovseg_ros.core.candidates import Candidates
from ovseg_ros.core.frame import Frame, Proposals, Proposer, RegionEncoder
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmentation import EmbeddedFrame, Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracks import TrackOptions
from ovseg_ros.core.vocabulary import Vocabulary


@dataclass(frozen=True)
class VideoReport:
    """What was done with the last frame.

    Attributes:
        tracks: things that are followed, those in view and those just lost.
        births: things that are new.
        deaths: things given up, all of them after a reset.
        encoded: masks that were encoded.
        reused: masks whose embedding is from a frame before.
        unseen: masks that have no embedding yet, because the budget left them out.
        reset_reason: why all tracks were forgotten, "" where they were not.
        skipped_proposals: nothing had moved, so the masks of the frame before were kept.
    """

    tracks: int = 0
    births: int = 0
    deaths: int = 0
    encoded: int = 0
    reused: int = 0
    unseen: int = 0
    reset_reason: str = ""
    skipped_proposals: bool = False


class VideoSegmenter:
    """An `OpenVocabularySegmenter` for video, to be used in its place.

    `embed` is for the frames of cameras in order of time, on one thread; each `frame_id` is followed by
    itself. A picture from elsewhere goes to `segmenter.embed`, which knows nothing of tracks. `label` may run
    on other threads meanwhile.
    """

    def __init__(self, segmenter: OpenVocabularySegmenter, options: TrackOptions | None = None) -> None:
        """Follows what a segmenter finds.

        Args:
            segmenter: proposes, encodes and labels.
            options: see `TrackOptions`; may be swapped between frames.
        """
        self.segmenter = segmenter
        self.track_options = TrackOptions() if options is None else options
        self.last = VideoReport()
        self._cameras: OrderedDict[str, CameraTracks] = OrderedDict()
        self._ids = itertools.count(1)
        self._certainty: dict[int, float] = {}
        self._grid = _takes(segmenter.proposer, "propose", "points_per_side")

    @property
    def proposer(self) -> Proposer:
        """The segmenter's."""
        return self.segmenter.proposer

    @property
    def clip(self) -> RegionEncoder:
        """The segmenter's."""
        return self.segmenter.clip

    @property
    def device(self) -> torch.device:
        """The segmenter's."""
        return self.segmenter.device

    @property
    def name(self) -> str:
        """The segmenter's."""
        return self.segmenter.name

    @property
    def options(self) -> SegmenterOptions:
        """The segmenter's; may be set."""
        return self.segmenter.options

    @options.setter
    def options(self, options: SegmenterOptions) -> None:
        self.segmenter.options = options

    def check(self, options: SegmenterOptions) -> None:
        """See `OpenVocabularySegmenter.check`."""
        self.segmenter.check(options)

    def warm_up(self) -> None:
        """See `OpenVocabularySegmenter.warm_up`."""
        self.segmenter.warm_up()

    def encode_text(self, labels: Sequence[str], options: SegmenterOptions | None = None) -> torch.Tensor:
        """See `OpenVocabularySegmenter.encode_text`."""
        return self.segmenter.encode_text(labels, options)

    def reset(self) -> None:
        """Forgets all tracks; their ids are not used again."""
        self._cameras.clear()
        self._certainty = {}

    def segment(
        self,
        frame: Frame,
        vocabulary: Vocabulary,
        options: SegmenterOptions | None = None,
        budget: Budget | None = None,
    ) -> Segmentation:
        """`label(embed(frame))`; see there for what is raised."""
        chosen = self.options if options is None else options
        return self.label(self.embed(frame, chosen, budget), vocabulary, chosen)

    def embed(
        self, frame: Frame, options: SegmenterOptions | None = None, budget: Budget | None = None
    ) -> EmbeddedFrame:
        """Proposes masks, finds the things they show again, and encodes those that are due.

        Args:
            frame: the next of its camera. A stamp of 0 counts as one `nominal_period_s` after the last.
            options: for this frame; the segmenter's when None.
            budget: limits for this frame, none when None.

        Returns:
            As `OpenVocabularySegmenter.embed`, with `track_ids`, embeddings smoothed over time, and zeros in
            `seen` for masks that have not been encoded yet. Timings gain "track" in seconds; `last` says what
            was done.

        Raises:
            ConfigError, InvalidInputError, OutOfMemoryError: see there; the tracks stay as they were.
        """
        options = self.options if options is None else options
        budget = Budget() if budget is None else budget
        self.check(options)
        timings = {"propose": 0.0, "crop": 0.0, "encode": 0.0}
        start = time.perf_counter()
        camera = self._camera(frame.frame_id)
        before = {track.id for track in camera.tracks}
        reason = camera.advance(frame)
        if camera.key != options.embedding_key:  # embedded in another way: of no use now
            camera.key = options.embedding_key
            for track in camera.tracks:
                track.forget_embedding()
        candidates, skipped = self._propose(camera, frame, options, budget, timings)

        def encode(index: Sequence[int]) -> torch.Tensor:
            masks = candidates.proposals.masks
            chosen = masks if len(index) == len(masks) else masks[list(index)]
            return self.segmenter.encode_masks(frame, chosen, options, timings)

        found = camera.follow(frame, candidates, self._certainty, encode, budget.most_encoded)
        after = {track.id for track in camera.tracks}
        alive = {track.id for one in self._cameras.values() for track in one.tracks}
        self._certainty = {key: value for key, value in self._certainty.items() if key in alive}
        embedded = self._embedded(frame, candidates, found, timings)
        seen = int(embedded.seen.sum())
        self.last = VideoReport(
            tracks=len(after),
            births=len(found.births),
            deaths=len(before - after),
            encoded=len(found.encoded),
            reused=seen - len(found.encoded),
            unseen=int(candidates.seen.sum()) - seen if options.uses_clip else 0,
            reset_reason=reason,
            skipped_proposals=skipped,
        )
        timings["track"] = time.perf_counter() - start - sum(timings.values())
        return embedded

    def label(
        self, embedded: EmbeddedFrame, vocabulary: Vocabulary, options: SegmenterOptions | None = None
    ) -> Segmentation:
        """See `OpenVocabularySegmenter.label`; notes how certain each track's label is."""
        result = self.segmenter.label(embedded, vocabulary, options)
        if bool(embedded.track_ids.any()) and len(vocabulary):
            certainty = label_certainty(result.probs, result.label_index, result.options.threshold)
            told = dict(zip(embedded.track_ids.tolist(), certainty.tolist(), strict=True))
            self._certainty = {**self._certainty, **told}
        return result

    def _camera(self, frame_id: str) -> CameraTracks:
        """The tracks of one camera, new where it is; drops the camera unused longest."""
        camera = self._cameras.pop(frame_id, None)
        if camera is None:
            camera = CameraTracks(self.track_options, lambda: next(self._ids))
        camera.options = self.track_options
        self._cameras[frame_id] = camera
        while len(self._cameras) > self.track_options.max_cameras:
            self._cameras.popitem(last=False)
        return camera

    def _propose(
        self,
        camera: CameraTracks,
        frame: Frame,
        options: SegmenterOptions,
        budget: Budget,
        timings: dict[str, float],
    ) -> tuple[Candidates, bool]:
        """The frame's masks, and whether they are those of a frame before."""
        start = time.perf_counter()
        if self.track_options.skip_unmoved:
            kept = camera.unmoved(options.embedding_key)
            if kept is not None:
                timings["propose"] = time.perf_counter() - start
                return kept, True
        candidates = self.segmenter.propose(frame, options, self._proposing(camera, frame, budget))
        camera.proposed(candidates)
        timings["propose"] = time.perf_counter() - start
        return candidates, False

    def _proposing(self, camera: CameraTracks, frame: Frame, budget: Budget) -> Callable[[], Proposals]:
        """How to ask the generator: at the tracks' boxes where it can, within the budget where it can."""
        proposer: Any = self.proposer
        boxes = camera.boxes()
        if len(boxes) and hasattr(proposer, "propose_video"):
            return lambda: proposer.propose_video(frame, boxes, points_per_side=budget.points_per_side)
        if budget.points_per_side is not None and self._grid:
            return lambda: proposer.propose(frame, points_per_side=budget.points_per_side)
        return lambda: proposer.propose(frame)

    def _embedded(
        self, frame: Frame, candidates: Candidates, found: Found, timings: dict[str, float]
    ) -> EmbeddedFrame:
        """The frame with the tracks' numbers and embeddings."""
        count = len(candidates)
        ids, seen = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.bool)
        embeddings = torch.zeros((count, self.clip.embedding_dim), device=self.device)
        rows = []
        for n, track in sorted(found.track_of.items()):
            ids[n] = track.id
            if candidates.options.uses_clip and track.smooth is not None and candidates.seen[n]:
                seen[n] = True
                rows.append(track.smooth)
        if rows:
            embeddings[seen.to(self.device)] = torch.stack(rows).to(self.device)
        boxes = torch.tensor([mask.box_xyxy for mask in found.masks], dtype=torch.int64).reshape(-1, 4)
        embedded = candidates.embedded(frame, embeddings, timings, seen=seen, track_ids=ids, boxes_xyxy=boxes)
        if embedded.class_embeddings is None:
            return embedded
        return dataclasses.replace(embedded, class_embeddings=found.own(embedded.class_embeddings))


def label_certainty(probs: torch.Tensor, label_index: torch.Tensor, threshold: float) -> torch.Tensor:
    """How far labels are from being others.

    Args:
        probs: (N, K) float32, K >= 1.
        label_index: (N,) int64, -1 for none.
        threshold: probability a label needs.

    Returns:
        (N,) float32 in [0, 1]: how far the best probability is from the threshold, or, for a labelled mask,
        from the second best where that is nearer.
    """
    best = probs.topk(min(2, probs.shape[1]), dim=1).values  # (N,1 or 2)
    margin = (best[:, 0] - threshold).abs()
    if best.shape[1] == 2:
        margin = torch.where(label_index >= 0, torch.minimum(margin, best[:, 0] - best[:, 1]), margin)
    return margin.clamp(0, 1)


def _takes(thing: object, method: str, keyword: str) -> bool:
    """Whether a method has a parameter of that name."""
    return keyword in inspect.signature(getattr(thing, method)).parameters
