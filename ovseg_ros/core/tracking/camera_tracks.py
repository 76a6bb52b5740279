"""The tracks of one camera, from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovseg_ros.core.candidates import Candidates
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.maps import BoxedMask, boxed_masks
from ovseg_ros.core.tracking.appearance import Thumbnails, changes, thumbnails_of
from ovseg_ros.core.tracking.association import Pairs, assign, embedding_scores, overlap_scores
from ovseg_ros.core.tracking.motion import Motion, MotionEstimator, SmallImage, small_grey
from ovseg_ros.core.tracking.tracks import Track, TrackOptions, due, smoothed


@dataclass
class Association:
    """The masks of one frame and the tracks they belong to.

    Attributes:
        masks: N masks.
        thumbnails: of them.
        track_of: index of each mask that is not empty -> its track.
        asked: indices of the masks whose tracks someone asked about, known once the frame is encoded.
        births: ids that are new.
        object_ids: N numbers that the generator gave them, 0 where it gave none.
    """

    masks: list[BoxedMask]
    thumbnails: Thumbnails
    track_of: dict[int, Track] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    births: list[int] = field(default_factory=list)
    object_ids: list[int] = field(default_factory=list)

    def thumbnail(self, n: int) -> Thumbnails:
        """(1) of mask n."""
        return self.thumbnails.take(np.array([n]))

    def begin_track(self, n: int, now_s: float) -> None:
        """Gives mask n a track that has no id yet: it may turn out to be a lost one."""
        self.track_of[n] = Track(0, self.masks[n], self.thumbnail(n), now_s)


class CameraTracks:
    """Follows the things one camera sees: `advance`, `associate`, `due`, `update`, frame after frame.

    It neither proposes nor encodes nor labels. Used by one thread.
    """

    def __init__(self, options: TrackOptions, next_id: Callable[[], int]) -> None:
        """Without any track.

        Args:
            options: see `TrackOptions`.
            next_id: gives ids, each once.
        """
        self.options = options
        self.tracks: list[Track] = []
        self.memory: dict[object, Any] = {}  # the generator's, see `Hints`
        self.now_s = 0.0
        self._next_id = next_id
        self._estimate = MotionEstimator()
        self._embedding_key: object = None
        self._stamp_ns: int | None = None
        self._size_hw = (0, 0)
        self._grey: SmallImage | None = None
        self._passed_s = 0.0

    def advance(self, frame: Frame, embedding_key: object) -> str:
        """Moves time and the tracks on to a frame.

        Args:
            frame: the next one.
            embedding_key: see `SegmenterOptions`; embeddings of another one are forgotten.

        Returns:
            Why all tracks were forgotten, and the generator's memory with them, "" where they were not.
        """
        grey = small_grey(frame)
        reason = self._interrupted(frame)
        motion: Motion | None = None
        if not reason and self._grey is not None:
            motion = self._estimate(self._grey, grey, frame.size_hw)
            if motion.likeness < self.options.scene_cut:
                reason = "the scene cut"
        if reason:
            self.tracks, self.memory = [], {}
        elif motion is not None and self.tracks:
            self._move(motion, frame.size_hw)
        self._grey, self._size_hw, self._stamp_ns = grey, frame.size_hw, frame.stamp_ns
        if self._embedding_key != embedding_key:
            self._embedding_key = embedding_key
            for track in self.tracks:
                track.forget_embedding()
        return reason

    def _interrupted(self, frame: Frame) -> str:
        """Moves the clock; why the frame does not continue what was, "" where it does."""
        before, now = self._stamp_ns, frame.stamp_ns
        passed_s = self.options.nominal_period_s
        if before and now:
            passed_s = (now - before) * 1e-9
        self._passed_s = min(max(passed_s, 0.0), self.options.max_jump_s)
        self.now_s += self._passed_s
        if before is None:
            return ""
        if passed_s < 0:
            return "time went back"
        if passed_s > self.options.max_jump_s:
            return "time jumped"
        return "" if frame.size_hw == self._size_hw else "the image's size changed"

    def _move(self, motion: Motion, size_hw: tuple[int, int]) -> None:
        shifts = motion.of_masks([track.mask for track in self.tracks])
        for track, (dx, dy) in zip(self.tracks, np.rint(shifts).astype(int).tolist(), strict=True):
            if (dx, dy) != (0, 0):
                track.mask = track.mask.shifted(dx, dy, *size_hw)

    def boxes(self) -> torch.Tensor:
        """(M, 4) float32 x0, y0, x1, y1 in pixels: where the tracks should be now, inside the image."""
        boxes = [track.mask.box_xyxy for track in self.tracks if track.mask.area]
        return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)

    def associate(self, frame: Frame, candidates: Candidates) -> Association:
        """Gives every mask that is not empty a track, one that is known or a new one without an id.

        Where the generator itself says which thing a mask shows, that decides; overlap and looks do where it
        does not.

        Args:
            frame: of the last `advance`.
            candidates: its masks.
        """
        masks = boxed_masks(candidates.masks_on_cpu)
        given = candidates.proposals.object_ids
        association = Association(
            masks,
            thumbnails_of(frame.image_rgb, masks),
            object_ids=[0] * len(masks) if given is None else given.tolist(),
        )
        index = [n for n, mask in enumerate(masks) if mask.area]
        scores = overlap_scores(
            [track.mask for track in self.tracks],
            Thumbnails.join([association.thumbnails.take(np.arange(0)), *(t.thumbnail for t in self.tracks)]),
            [masks[n] for n in index],
            association.thumbnails.take(np.array(index, np.int64)),
            weights=(self.options.iou_weight, self.options.embedding_weight, self.options.motion_weight),
            limits=self.options.change,
        )
        told = self._told(index, association.object_ids)
        for t, k in told:
            scores[t], scores[:, k] = -np.inf, -np.inf
        pairs = [(t, index[k]) for t, k in (*told, *assign(scores, self.options.min_match))]
        self._note_changes(pairs, association)
        known = {n: self.tracks[t] for t, n in pairs}
        for n in index:
            if n in known:
                association.track_of[n] = known[n]
            else:
                association.begin_track(n, self.now_s)
        return association

    def _told(self, index: Sequence[int], object_ids: Sequence[int]) -> Pairs:
        """Pairs (track, place in index) that bear one number of the generator's; the newest track of it."""
        known = {track.object_id: t for t, track in enumerate(self.tracks) if track.object_id}
        return [(known[object_ids[n]], k) for k, n in enumerate(index) if object_ids[n] in known]

    def _note_changes(self, pairs: Pairs, association: Association) -> None:
        """How far the tracks of pairs (track, mask) have changed at once, and since they were encoded."""
        found = [(self.tracks[t], n) for t, n in pairs if self.tracks[t].encoded_thumbnail is not None]
        if not found:
            return
        now = association.thumbnails.take(np.array([n for _, n in found]))
        before = Thumbnails.join([track.thumbnail for track, _ in found])
        encoded = Thumbnails.join([t.encoded_thumbnail for t, _ in found if t.encoded_thumbnail is not None])
        at_once, since_encoded = (changes(then, now, self.options.change) for then in (before, encoded))
        for (track, _), sudden, since in zip(found, at_once.tolist(), since_encoded.tolist(), strict=True):
            track.appearance_change = since
            # What returned to how it was may stay.
            track.needs_reencode = since >= 1 and (track.needs_reencode or sudden >= 1)

    def due(self, association: Association, candidates: Candidates, most: int | None) -> list[int]:
        """Indices of the masks to encode now, ascending.

        Args:
            association: of this frame.
            candidates: of this frame.
            most: limit of masks to encode, None for none.
        """
        if not candidates.options.uses_clip:
            return []
        able = [n for n in sorted(association.track_of) if candidates.is_encodable[n]]
        scores = candidates.proposals.scores.cpu().float().numpy()[able]
        chosen = due([association.track_of[n] for n in able], scores, self.now_s, self.options, most)
        if chosen and not candidates.options.uses_crops:
            return able  # one pass, however many
        return sorted(able[i] for i in chosen)

    def update(self, association: Association, encoded: Sequence[int], embeddings: torch.Tensor) -> None:
        """Ends a frame: takes what was encoded, finds lost things again, numbers new ones, smooths.

        Args:
            association: of this frame; gains the births.
            encoded: indices of the masks that were encoded, those of `due`.
            embeddings: (M, D) of them.
        """
        fresh = dict(zip(encoded, F.normalize(embeddings.float(), dim=-1), strict=True))
        self._rematch(association, fresh)
        for track in association.track_of.values():
            if track.id == 0:
                track.id = self._next_id()
                association.births.append(track.id)
                self.tracks.append(track)
        association.asked = {n for n, track in association.track_of.items() if track.asked}
        for n, embedding in fresh.items():
            association.track_of[n].encode_as(embedding, association.thumbnail(n), self.now_s)
        self._settle(association)

    def _rematch(self, association: Association, fresh: dict[int, torch.Tensor]) -> None:
        """Joins new masks, and those of tracks that became another thing, with lost tracks by embeddings."""
        loose = []
        for n, embedding in fresh.items():
            if self._is_another(association.track_of[n], embedding):
                association.begin_track(n, self.now_s)
            if association.track_of[n].id == 0:
                loose.append(n)
        kept = {id(track) for track in association.track_of.values()}
        lost = [track for track in self.tracks if id(track) not in kept and track.embedding is not None]
        if not lost or not loose:
            return
        scores = embedding_scores(
            [track.mask for track in lost],
            _numpy([track.embedding for track in lost if track.embedding is not None]),
            [association.masks[n] for n in loose],
            _numpy([fresh[n] for n in loose]),
            weights=(self.options.embedding_weight + 1e-6, self.options.motion_weight),
            least_cosine=self.options.same_embedding,
            reach=self.options.reach,
        )
        for t, k in assign(scores, 0.0):
            association.track_of[loose[k]] = lost[t]

    def _is_another(self, track: Track, embedding: torch.Tensor) -> bool:
        """Whether a track that suddenly looks different has become another thing."""
        if not track.needs_reencode or track.embedding is None:
            return False
        return float(track.embedding @ embedding) < self.options.other_embedding

    def _settle(self, association: Association) -> None:
        """Where things are now, and their embeddings over time; gives up what is lost for long."""
        moving, passed_s = [], []
        for n, track in association.track_of.items():
            if track.embedding_ema is None:
                track.embedding_ema = track.embedding
            elif track.embedding_ema is not track.embedding:
                moving.append(track)
                passed_s.append(max(self.now_s - track.found_s, self._passed_s))
            track.mask, track.found_s = association.masks[n], self.now_s
            track.thumbnail = association.thumbnail(n)
            track.object_id = association.object_ids[n] or track.object_id
        if moving:
            old = torch.stack([track.embedding_ema for track in moving if track.embedding_ema is not None])
            new = torch.stack([track.embedding for track in moving if track.embedding is not None])
            passed = torch.tensor(passed_s, device=new.device)
            for track, row in zip(moving, smoothed(old, new, passed, self.options.half_life_s), strict=True):
                track.embedding_ema = row
        limit = self.now_s - self.options.max_gap_s
        self.tracks = [track for track in self.tracks if track.found_s >= limit - 1e-9]

    def smooth_class_embeddings(
        self, association: Association, class_embeddings: torch.Tensor
    ) -> torch.Tensor:
        """(N, C) the generator's class embeddings as unit rows, those of tracks smoothed over time.

        Those of tracks that someone asked about are this frame's alone.
        """
        rows = F.normalize(class_embeddings.float(), dim=-1)
        passed = torch.tensor([self._passed_s], device=rows.device)
        for n, track in association.track_of.items():
            old = track.mask_class_embedding
            if n in association.asked:
                track.asked &= track.embedding is not None  # CLIP's look at it may be due still
            elif old is not None and old.shape == rows[n].shape:
                old = old.to(rows.device)
                rows[n] = smoothed(old[None], rows[n][None], passed, self.options.half_life_s)[0]
            track.mask_class_embedding = rows[n].clone()
        return rows


def _numpy(rows: Sequence[torch.Tensor]) -> npt.NDArray[np.float32]:
    return np.asarray(torch.stack(list(rows)).cpu().numpy(), dtype=np.float32)
