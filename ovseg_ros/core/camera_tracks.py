"""The tracks of one camera, from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovseg_ros.core.appearance import Looks, changes, look_at
from ovseg_ros.core.association import Pairs, assign, embedding_scores, overlap_scores
from ovseg_ros.core.candidates import Candidates
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.mask_overlap import BoxedMask, boxed_masks
from ovseg_ros.core.motion import Motion, MotionEstimator, SmallImage, small_grey, unmoved
from ovseg_ros.core.tracks import Track, TrackOptions, due, smoothed

Encode = Callable[[Sequence[int]], torch.Tensor]
"""Indices of masks -> (M, D) unit rows."""


@dataclass
class Found:
    """The masks of one frame and the tracks they belong to.

    Attributes:
        masks: N masks.
        looks: of them.
        index: indices of the masks that can be tracked: those that are not empty.
        track_of: mask index -> its track.
        births: ids that are new.
        encoded: indices of the masks that were encoded.
        passed_s: seconds since the frame before.
        half_life_s: of the smoothing.
    """

    masks: list[BoxedMask]
    looks: Looks
    index: list[int]
    track_of: dict[int, Track]
    births: list[int]
    encoded: list[int]
    passed_s: float = 0.0
    half_life_s: float = 0.0

    def own(self, class_embeddings: torch.Tensor) -> torch.Tensor:
        """(N, C) the generator's class embeddings as unit rows, those of tracks smoothed over time."""
        rows = F.normalize(class_embeddings.float(), dim=-1)
        for n, track in self.track_of.items():
            if track.own is not None and track.own.shape == rows[n].shape:
                old = track.own.to(rows.device)[None]
                passed = torch.tensor([self.passed_s], device=rows.device)
                rows[n] = smoothed(old, rows[n][None], passed, self.half_life_s)[0]
            track.own = rows[n].clone()
        return rows


class CameraTracks:
    """Follows the things one camera sees. Used by one thread."""

    def __init__(self, options: TrackOptions, next_id: Callable[[], int]) -> None:
        """Without any track.

        Args:
            options: see `TrackOptions`.
            next_id: gives ids, each once.
        """
        self.options = options
        self.tracks: list[Track] = []
        self.now_s = 0.0
        self.key: object = None
        self._next_id = next_id
        self._estimate = MotionEstimator()
        self._stamp_ns: int | None = None
        self._size_hw = (0, 0)
        self._grey: SmallImage | None = None
        self._proposed: tuple[SmallImage, float, Candidates] | None = None
        self._passed_s = 0.0

    def clear(self) -> None:
        """Forgets the tracks and the frame before."""
        self.tracks = []
        self._grey = self._proposed = None

    def advance(self, frame: Frame) -> str:
        """Moves time and the tracks on to a frame.

        Returns:
            Why everything was forgotten, "" where it was not.
        """
        grey = small_grey(frame)
        reason = self._interrupted(frame)
        motion: Motion | None = None
        if not reason and self._grey is not None:
            motion = self._estimate(self._grey, grey, frame.size_hw)
            if motion.likeness < self.options.scene_cut:
                reason = "the scene cut"
        if reason:
            self.clear()
        elif motion is not None and self.tracks:
            self._move(motion, frame.size_hw)
        self._grey, self._size_hw, self._stamp_ns = grey, frame.size_hw, frame.stamp_ns
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

    def unmoved(self, key: object) -> Candidates | None:
        """The masks proposed before, if nothing has moved since; None where they must be proposed anew."""
        if self._proposed is None or self._grey is None:
            return None
        grey, when_s, candidates = self._proposed
        still = (
            candidates.options.embedding_key == key
            and self.now_s - when_s < self.options.max_skip_s
            and unmoved(grey, self._grey, levels=self.options.unmoved_levels)
        )
        return candidates if still else None

    def proposed(self, candidates: Candidates) -> None:
        """Remembers what was proposed on the frame of the last `advance`."""
        if self._grey is not None:
            self._proposed = (self._grey, self.now_s, candidates)

    def boxes(self) -> torch.Tensor:
        """(M, 4) float32 x0, y0, x1, y1 in pixels: where the tracks should be now, inside the image."""
        boxes = [track.mask.box_xyxy for track in self.tracks if track.mask.area]
        return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)

    def follow(
        self,
        frame: Frame,
        candidates: Candidates,
        certainty: Mapping[int, float],
        encode: Encode,
        most: int | None,
    ) -> Found:
        """Gives every mask its track, and encodes what is due.

        Args:
            frame: of the last `advance`.
            candidates: its masks.
            certainty: of the label of each track, by id, in [0, 1]; 1 where none is given.
            encode: called at most twice.
            most: limit of masks to encode, None for none.
        """
        masks = boxed_masks(candidates.proposals.masks.cpu())
        index = [i for i, mask in enumerate(masks) if mask.area]
        found = Found(masks, look_at(frame.image_rgb, masks), index, {}, [], [])
        found.passed_s, found.half_life_s = self._passed_s, self.options.half_life_s
        weights = self.options.iou_weight, self.options.embedding_weight, self.options.motion_weight
        known = self.tracks
        scores = overlap_scores(
            [track.mask for track in known],
            _joined([track.look for track in known], found.looks),
            [masks[i] for i in index],
            found.looks.take(np.array(index, np.int64)),
            weights=weights,
            limits=self.options.change,
        )
        pairs = [(t, index[n]) for t, n in assign(scores, self.options.min_match)]
        self._note_changes(pairs, found)
        for t, n in pairs:
            found.track_of[n] = known[t]
        for i in index:
            if i not in found.track_of:
                found.track_of[i] = self._new(found, i)
        self._encode(candidates, certainty, found, encode, most)
        self._settle(found)
        return found

    def _new(self, found: Found, i: int) -> Track:
        """A track that has no id yet: the mask may turn out to be a lost one."""
        return Track(0, found.masks[i], found.looks.take(np.array([i])), self.now_s)

    def _note_changes(self, pairs: Pairs, found: Found) -> None:
        """How far the tracks of pairs (track, mask) have changed at once, and since they were encoded."""
        pairs = [(t, n) for t, n in pairs if self.tracks[t].encoded_look is not None]
        if not pairs:
            return
        now = found.looks.take(np.array([n for _, n in pairs]))
        before = Looks.join([self.tracks[t].look for t, _ in pairs])
        encoded = Looks.join([look for t, _ in pairs if (look := self.tracks[t].encoded_look) is not None])
        at_once, drift = (changes(looks, now, self.options.change) for looks in (before, encoded))
        for (t, _), sudden, since in zip(pairs, at_once.tolist(), drift.tolist(), strict=True):
            track = self.tracks[t]
            track.drift = since
            track.must = since >= 1 and (track.must or sudden >= 1)  # what returned to how it was may stay

    def _encode(
        self,
        candidates: Candidates,
        certainty: Mapping[int, float],
        found: Found,
        encode: Encode,
        most: int | None,
    ) -> None:
        able = [i for i in found.index if candidates.seen[i]] if candidates.options.uses_clip else []
        tracks = [found.track_of[i] for i in able]
        scores = candidates.proposals.scores.cpu().float().numpy()[able]
        sure = np.array([certainty.get(track.id, 1.0) for track in tracks], np.float32)
        chosen = due(tracks, scores, sure, self.now_s, self.options, most)
        if chosen and str(candidates.options.classifier) == "pooled":
            chosen = list(range(len(able)))  # one pass, however many
        found.encoded = sorted(able[i] for i in chosen)
        if not found.encoded:
            return self._rematch(found, [], {})
        rows = F.normalize(encode(found.encoded).float(), dim=-1)
        other = []  # masks whose track has become another thing
        for n, row in zip(found.encoded, rows, strict=True):
            track = found.track_of[n]
            old = track.row
            if track.must and old is not None and float(old @ row) < self.options.other_embedding:
                other.append(n)
        return self._rematch(found, other, dict(zip(found.encoded, rows, strict=True)))

    def _rematch(self, found: Found, other: list[int], rows: dict[int, torch.Tensor]) -> None:
        """Joins new masks with lost tracks by their embeddings; then numbers what is new."""
        kept = {id(track) for n, track in found.track_of.items() if n not in other}
        lost = [track for track in self.tracks if id(track) not in kept and track.row is not None]
        loose = [n for n in found.encoded if n in other or found.track_of[n].id == 0]
        for n in other:
            found.track_of[n] = self._new(found, n)
        if lost and loose:
            scores = embedding_scores(
                [track.mask for track in lost],
                _numpy(torch.stack([track.row for track in lost if track.row is not None])),
                [found.masks[n] for n in loose],
                _numpy(torch.stack([rows[n] for n in loose])),
                weights=(self.options.embedding_weight + 1e-6, self.options.motion_weight),
                least_cosine=self.options.same_embedding,
                reach=self.options.reach,
            )
            for t, k in assign(scores, 0.0):
                found.track_of[loose[k]] = lost[t]
        for track in found.track_of.values():
            if track.id == 0:
                track.id = self._next_id()
                found.births.append(track.id)
                self.tracks.append(track)
        self._store(found, rows)

    def _store(self, found: Found, rows: dict[int, torch.Tensor]) -> None:
        """Notes the new embeddings, not smoothed yet."""
        for n, row in rows.items():
            found.track_of[n].encode_as(row, found.looks.take(np.array([n])), self.now_s)

    def _settle(self, found: Found) -> None:
        """Where things are now, and their embeddings over time; gives up what is lost for long."""
        moving = []
        for n, track in found.track_of.items():
            passed_s = self.now_s - track.found_s
            track.mask, track.look, track.found_s = (
                found.masks[n],
                found.looks.take(np.array([n])),
                self.now_s,
            )
            if track.row is None:
                continue
            if track.smooth is None:
                track.smooth = track.row
            elif track.smooth is not track.row:
                moving.append((track, max(passed_s, self._passed_s)))
        if moving:
            self._smooth([track for track, _ in moving], [passed for _, passed in moving])
        limit = self.now_s - self.options.max_gap_s
        self.tracks = [track for track in self.tracks if track.found_s >= limit - 1e-9]

    def _smooth(self, tracks: list[Track], passed_s: list[float]) -> None:
        old = torch.stack([track.smooth for track in tracks if track.smooth is not None])
        new = torch.stack([track.row for track in tracks if track.row is not None])
        rows = smoothed(old, new, torch.tensor(passed_s, device=new.device), self.options.half_life_s)
        for track, row in zip(tracks, rows, strict=True):
            track.smooth = row


def _joined(looks: list[Looks], like: Looks) -> Looks:
    return Looks.join(looks) if looks else like.take(np.zeros(0, np.int64))


def _numpy(rows: torch.Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(rows.cpu().numpy(), dtype=np.float32)
