"""The chain on video: things keep their numbers, and their embeddings while they look the same."""

from __future__ import annotations

import dataclasses
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from ovseg_ros.core.candidates import Candidates
from ovseg_ros.core.device import now
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame, Hints
from ovseg_ros.core.joint import ToEncode, Way, alone
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.scene import find_in
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking.budget import Budget
from ovseg_ros.core.tracking.camera_tracks import Association, CameraTracks
from ovseg_ros.core.tracking.found import FollowedScene, as_candidates
from ovseg_ros.core.tracking.tracks import TrackOptions
from ovseg_ros.core.words import Vocabulary


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
    """

    tracks: int = 0
    births: int = 0
    deaths: int = 0
    encoded: int = 0
    reused: int = 0
    unseen: int = 0
    reset_reason: str = ""


class VideoSegmenter:
    """An `OpenVocabularySegmenter` for video, with the same `embed`, `label` and `segment`.

    `embed` is for the frames of cameras in order of time, on one thread; each `frame_id` is followed by
    itself. A picture from elsewhere goes to `segmenter.embed`, which knows nothing of tracks. `label` changes
    nothing, and may run on other threads with any words; only what is told to `note` has a part in which
    things are encoded again. `segment` does all three.

    Where masks are found by words, those of the words that were noted last are followed: a mask that others
    find has the track of the thing that it shows, if that is one of these.
    """

    def __init__(
        self,
        segmenter: OpenVocabularySegmenter,
        options: TrackOptions | None = None,
        ids: Iterator[int] | None = None,
    ) -> None:
        """Follows what a segmenter finds.

        Args:
            segmenter: proposes, encodes and labels.
            options: see `TrackOptions`; may be swapped between frames.
            ids: the numbers of tracks, where several share them; 1 and up when None.
        """
        self.segmenter = segmenter
        self.track_options = TrackOptions() if options is None else options
        self.last = VideoReport()
        self._cameras: OrderedDict[str, CameraTracks] = OrderedDict()
        self._ids = itertools.count(1) if ids is None else ids
        self._words: tuple[str, ...] = ()

    def reset(self) -> None:
        """Forgets all tracks; their ids are not used again."""
        self._cameras.clear()

    def segment(
        self,
        frame: Frame,
        vocabulary: Vocabulary,
        options: SegmenterOptions | None = None,
        budget: Budget | None = None,
    ) -> Segmentation:
        """`label(embed(frame))`, noted; see there for what is raised."""
        chosen = self.segmenter.options if options is None else options
        self._words = vocabulary.names
        result = self.label(self.embed(frame, chosen, budget), vocabulary, chosen)
        self.note(result)
        return result

    def embed(
        self, frame: Frame, options: SegmenterOptions | None = None, budget: Budget | None = None
    ) -> EmbeddedFrame:
        """Proposes masks, finds the things they show again, and encodes those that are due.

        Args:
            frame: the next of its camera. A stamp of 0 counts as one `nominal_period_s` after the last.
            options: for this frame; the segmenter's when None.
            budget: limits for this frame, none when None.

        Returns:
            As `OpenVocabularySegmenter.embed`, with `track_ids`, embeddings smoothed over time, and False in
            `has_clip_embedding` for masks that have not been encoded yet. Timings gain "track" in seconds;
            `last` says what was done.

        Raises:
            ConfigError, InvalidInputError, OutOfMemoryError: see there; the tracks stay as they were.
        """
        return alone(self.embedding(frame, options, budget), self.segmenter.encode_all)

    def embedding(
        self, frame: Frame, options: SegmenterOptions | None = None, budget: Budget | None = None
    ) -> Way[EmbeddedFrame]:
        """`embed`, as a way to go with the frames of other cameras, see `core.joint.together`."""
        options = self.segmenter.options if options is None else options
        budget = Budget() if budget is None else budget
        self.segmenter.check(options)
        device = self.segmenter.device
        start = now(device)
        camera = self._camera(frame.frame_id)
        before = {track.id for track in camera.tracks}
        reason = camera.advance(frame, options.embedding_key)

        asked = now(device)
        boxes = camera.boxes()
        hints = Hints(boxes if len(boxes) else None, budget.points_per_side, camera.memory)
        candidates = self.segmenter.propose(frame, options, hints)
        timings = {"propose": now(device) - asked}
        scene, proposed = candidates.proposals.scene, candidates
        if scene is not None:
            found = find_in(scene, self._words, options, self.segmenter.clip, device)
            candidates = as_candidates(found, options)
            timings["find"] = now(device) - asked - timings["propose"]

        association = camera.associate(frame, candidates)
        due = camera.due(association, candidates, budget.most_encoded)
        masks = candidates.proposals.masks
        due_masks = masks if len(due) == len(masks) else masks[due]
        left = now(device)
        in_parts = options.uses_crops and options.uses_pooling
        crops_alone = dataclasses.replace(options, classifier="clip") if in_parts else options
        rows = yield ToEncode(frame, due_masks, crops_alone, timings)
        pooled = self._pooled(frame, candidates, timings) if in_parts and due else {}
        start += now(device) - left  # in which other frames may have come up to here
        camera.update(association, due, rows)
        for n, row in pooled.items():
            association.track_of[n].pooled = row

        if scene is not None:
            embedded = proposed.embedded(frame, rows, timings, has_clip_embedding=proposed.is_encodable)
            ids = torch.tensor([association.track_of[n].id for n in sorted(association.track_of)])
            known = [association.masks[n] for n in sorted(association.track_of)]
            embedded = dataclasses.replace(embedded, scene=FollowedScene(scene, known, ids))
        else:
            embedded = self._embedded(frame, camera, candidates, association, timings)
        after = {track.id for track in camera.tracks}
        have_embedding = int(embedded.has_clip_embedding.sum())
        self.last = VideoReport(
            tracks=len(after),
            births=len(association.births),
            deaths=len(before - after),
            encoded=len(due),
            reused=have_embedding - len(due),
            unseen=int(candidates.is_encodable.sum()) - have_embedding if options.uses_clip else 0,
            reset_reason=reason,
        )
        timings["track"] = now(device) - start - timings["propose"] - timings.get("find", 0.0)
        return embedded

    def label(
        self, embedded: EmbeddedFrame, vocabulary: Vocabulary, options: SegmenterOptions | None = None
    ) -> Segmentation:
        """See `OpenVocabularySegmenter.label`."""
        return self.segmenter.label(embedded, vocabulary, options)

    def note(self, result: Segmentation) -> None:
        """Takes how certain the labels of the last frame are: uncertain things are encoded again sooner.

        For the words that are looked for all the time, not for a question in between. Where masks are found
        by words, the things that they find are followed from the next frame on. On the thread of `embed`.
        """
        self._words = result.vocabulary.names
        if not len(result.vocabulary):
            return
        certainty = label_certainty(result.probs, result.label_index, result.options.threshold)
        told = dict(zip(result.track_ids.tolist(), certainty.tolist(), strict=True))
        for camera in self._cameras.values():
            for track in camera.tracks:
                track.certainty = told.get(track.id, track.certainty)

    def look_again(self, track_ids: Iterable[int]) -> None:
        """Has things encoded anew in the next frame that shows them, though they look the same.

        Who takes two frames for one answer must not be given the first one's embedding twice, so what they
        are labelled by then is of that frame alone, not smoothed. They come before all else that is to be
        encoded; of more of them than the frame's budget allows, some have to wait for a later one. On the
        thread of `embed`.
        """
        asked = set(track_ids)
        for camera in self._cameras.values():
            for track in camera.tracks:
                track.asked |= track.id in asked

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

    def _pooled(
        self, frame: Frame, candidates: Candidates, timings: dict[str, float]
    ) -> dict[int, torch.Tensor]:
        """Of "combined" the part that one pass gives for all masks, by their index: none needs to be old."""
        index = candidates.is_encodable.nonzero()[:, 0].tolist()
        options, spent = dataclasses.replace(candidates.options, classifier="pooled"), dict[str, float]()
        masks = candidates.proposals.masks[index]
        rows = self.segmenter.encode_masks(frame, masks, options, spent)
        timings["encode"] += spent["encode"]
        return dict(zip(index, rows, strict=True))

    def _embedded(
        self,
        frame: Frame,
        camera: CameraTracks,
        candidates: Candidates,
        association: Association,
        timings: dict[str, float],
    ) -> EmbeddedFrame:
        """The frame with the tracks' numbers and embeddings."""
        count, device = len(candidates), self.segmenter.device
        ids, seen = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.bool)
        embeddings = torch.zeros((count, self.segmenter.clip.embedding_dim), device=device)
        encodable, rows = candidates.is_encodable & candidates.options.uses_clip, []
        for n, track in sorted(association.track_of.items()):
            ids[n] = track.id
            if track.embedding_ema is not None and encodable[n]:
                seen[n] = True
                rows.append(track.handed_on(track.embedding_ema))
        if rows:
            embeddings[seen.to(device)] = torch.stack(rows).to(device)
        boxes = torch.tensor([mask.box_xyxy for mask in association.masks], dtype=torch.int64).reshape(-1, 4)
        embedded = candidates.embedded(
            frame, embeddings, timings, has_clip_embedding=seen, track_ids=ids, boxes_xyxy=boxes
        )
        own = embedded.class_embeddings
        if own is None:
            return embedded
        return dataclasses.replace(
            embedded, class_embeddings=camera.smooth_class_embeddings(association, own)
        )


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
