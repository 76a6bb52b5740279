"""One thing, followed: where it is in each frame, that it is hidden, or that it is lost; never another thing.

While its track goes on and looks like it, that is where it is. Where the track ends or looks like something
else the thing is hidden, and what comes into view later is taken for it only where nothing speaks against it:
a thing that is found again late is a nuisance, another in its place is a fault.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.following.looks import Colours, FloatArray, Looks, OtherThings, colour_of
from ovseg_ros.core.following.view import State, View, Whereabouts
from ovseg_ros.core.maps import BoxedMask, mask_iou, shared_pixels
from ovseg_ros.core.tracking import SAME_THING_IOU, ChangeLimits, Thumbnails, changes, thumbnails_of
from ovseg_ros.errors import ConfigError

_PART = 0.2  # share of the smaller of two masks from which one may show a part of the other's thing
_LESS_LIKE = (
    0.05  # cosine by which a track may look less like itself than like another thing, and still be itself
)


@dataclass(frozen=True)
class FollowOptions:
    """When a mask is the thing that is followed. Cosines are of embeddings, in [0, 1].

    Attributes:
        lost_after_s: out of sight for longer, it is lost; above 0.
        same: cosine with one of its looks that the thing has to keep while its track goes on.
        again: cosine from which what came into view may be it, at least `same`.
        colour: distance in CIE Lab, lightness counted half, up to which it may be it; above 0.
        apart: how much nearer than any other thing that has to be: 1 − cosine with its own looks is less than
            this part of 1 − cosine with another's; in (0, 1).
        margin: and so much more at least is the cosine itself, above 0.
        confirm: frames running that must show it again elsewhere than where it was seen last, at least 1.
        near_m: a centroid so near to the last is the same place, as is a mask with half its union in common.
        speed_m_s: how fast it may have moved while it was hidden, the camera's own movement included.
        reach: the same where depth is not known: diagonals of its box at once …
        reach_per_s: … and diagonals of the image in each second.
    """

    lost_after_s: float = 5.0
    same: float = 0.85
    again: float = 0.9
    colour: float = 20.0
    apart: float = 0.6
    margin: float = 0.03
    confirm: int = 2
    near_m: float = 0.1
    speed_m_s: float = 1.0
    reach: float = 2.0
    reach_per_s: float = 0.5

    def __post_init__(self) -> None:
        for name in ("lost_after_s", "colour", "margin", "near_m", "speed_m_s", "reach", "reach_per_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"expected {name} above 0, got {getattr(self, name)}")
        if not 0 <= self.same <= self.again <= 1:
            raise ConfigError(f"expected 0 <= same <= again <= 1, got {self.same}, {self.again}")
        if not 0 < self.apart < 1 or self.confirm < 1:
            raise ConfigError(
                f"expected apart in (0, 1) and confirm at least 1, got {self.apart}, {self.confirm}"
            )


@dataclass(frozen=True)
class _Seen:
    """A mask that was taken for the thing, or may be it."""

    track_id: int
    mask: BoxedMask
    embedding: FloatArray
    thumbnail: Thumbnails
    colour: FloatArray
    centroid_m: npt.NDArray[np.float64] | None

    @staticmethod
    def at(view: View, index: int) -> _Seen:
        mask = view.masks[index]
        return _Seen(
            view.track_ids[index],
            mask,
            view.embeddings[index].copy(),
            thumbnails_of(view.image_rgb, [mask]),
            colour_of(view.image_rgb, mask),
            view.centroid(index),
        )

    def overlaps(self, mask: BoxedMask) -> bool:
        return bool(mask_iou([self.mask], [mask])[0, 0] >= SAME_THING_IOU)


class Following:
    """Follows one thing through the frames of one camera; holds no frame. One thread at a time."""

    def __init__(self, view: View, index: int, options: FollowOptions | None = None) -> None:
        """Takes mask `index` of a frame, which is not empty, for the thing; the next frame goes to `see`."""
        self.options = FollowOptions() if options is None else options
        self.age_s = 0.0
        self._time_s, self._key = view.time_s, view.embedding_key
        self._looks, self._colours, self._others = Looks(), Colours(), OtherThings()
        self._seen = _Seen.at(view, index)  # the last time
        self._colours.add(self._seen.colour)
        self._in_sight = True
        self._candidate: tuple[_Seen, int] | None = None  # that came into view, and frames that showed it
        if view.embeddings[index].any():
            self._looks.add(view.embeddings[index])
        self._note_others(view, index)

    def see(self, view: View) -> Whereabouts:
        """Says where the thing is in the next frame."""
        self._begin_frame(view)
        own = self._looks.likeness(view.embeddings)  # (N,)
        others = self._others_in_view(view, own)
        index = self._continued(view, own, others)
        if index is None:
            index = self._found_again(view, own, others)
        self._in_sight = index is not None
        if index is None:
            lost = self.age_s > self.options.lost_after_s
            ask = [] if self._candidate is None else [self._candidate[0].track_id]
            return Whereabouts(State.LOST if lost else State.HIDDEN, None, self.age_s, _numbers(ask))
        seen, self._candidate, self.age_s = _Seen.at(view, index), None, 0.0
        if self._was_looked_at(view, index):
            self._looks.add(seen.embedding)
        else:
            seen = replace(seen, embedding=self._seen.embedding, thumbnail=self._seen.thumbnail)
        self._seen = seen
        self._colours.add(seen.colour)
        self._note_others(view, index)
        return Whereabouts(State.FOLLOWING, index, 0.0, _numbers([seen.track_id]))

    def _begin_frame(self, view: View) -> None:
        self.age_s += max(view.time_s - self._time_s, 0.0)
        self._time_s = view.time_s
        if view.embedding_key != self._key:  # what was remembered cannot be compared any more
            self._key = view.embedding_key
            self._looks, self._others, self._candidate = Looks(), OtherThings(), None
        if self._looks.is_empty and self._in_sight:  # but its track goes on
            for n in self._with_track(view):
                if view.embeddings[n].any() and self._looks_as_then(view, n):
                    self._looks.add(view.embeddings[n])

    def _with_track(self, view: View) -> list[int]:
        """The mask of its track: none or one."""
        track_id = self._seen.track_id
        return [n for n, at in enumerate(view.track_ids) if at == track_id and at and view.masks[n].area]

    def _was_looked_at(self, view: View, index: int) -> bool:
        """Whether a mask was encoded since; its track may bring its embedding from a frame before."""
        row = view.embeddings[index]
        return bool(row.any()) and not np.array_equal(row, self._seen.embedding)

    def _has_its_colour(self, view: View, index: int) -> bool:
        """Whether a mask has a colour that the thing had: to an encoder red teapots may be like blue ones."""
        return self._colours.distance(colour_of(view.image_rgb, view.masks[index])) <= self.options.colour

    def _looks_as_then(self, view: View, index: int) -> bool:
        """Whether a mask that was not encoded looks as the thing did when that was."""
        now = thumbnails_of(view.image_rgb, [view.masks[index]])
        return bool(changes(self._seen.thumbnail, now, ChangeLimits())[0] < 1)

    def _continued(self, view: View, own: FloatArray, others: dict[int, int]) -> int | None:
        """The mask in which its track goes on and still is the thing, None without."""
        for n in self._with_track(view) if self._in_sight else []:
            if not self._was_looked_at(view, n):
                return n if self._looks_as_then(view, n) else None
            row = view.embeddings[n][None]
            is_same = own[n] >= self.options.same and self._has_its_colour(view, n)
            is_another = self._others.likeness(row)[0] > own[n] + _LESS_LIKE
            # Where a thing that looks like it went out of sight, the track may have gone over to that.
            is_doubtful = self._may_be(row, own[n], besides=set(others.values()))
            if is_same and not is_another and (not is_doubtful or self._is_near(view, n)):
                return n
        return None

    def _found_again(self, view: View, own: FloatArray, others: dict[int, int]) -> int | None:
        """The mask that is the thing without doubt, though no track says so; None without."""
        free = [n for n, mask in enumerate(view.masks) if mask.area and n not in others]
        fit = [n for n in free if own[n] >= self.options.again and view.may_be[n]]
        fit = [n for n in fit if self._was_looked_at(view, n) or self._looks_as_then(view, n)]
        fit = [n for n in fit if self._has_its_colour(view, n)]
        index = max(fit, key=lambda n: own[n], default=None)
        if index is None or not self._is_it(view, own, index, free, set(others.values())):
            self._candidate = None
            return None
        near, seen, before = self._is_near(view, index), _Seen.at(view, index), self._candidate
        running = 1
        if before is not None:
            same_track = seen.track_id and before[0].track_id == seen.track_id
            running += before[1] if same_track or before[0].overlaps(seen.mask) else 0
        self._candidate = seen, running
        return index if near or running >= self.options.confirm else None

    def _is_it(self, view: View, own: FloatArray, index: int, free: list[int], in_view: set[int]) -> bool:
        """Whether a mask is the thing and no other: by its place, its looks, and what else there is."""
        row, mask = view.embeddings[index][None], view.masks[index]
        if not self._can_reach(view, index) or self._may_be(row, own[index], besides=in_view):
            return False
        rivals = [n for n in free if n != index and not _share(view.masks[n], mask)]
        if any(self._is_close(own[index], own[n]) for n in rivals):
            return False
        # Of two that look alike and one of which is in view, only the place tells that this is not a third.
        return not self._may_be(row, own[index]) or self._is_near(view, index)

    def _may_be(self, row: FloatArray, own: float, *, besides: set[int] | None = None) -> bool:
        """Whether a mask (1, D) may be another thing that is remembered, but for those `besides`."""
        return self._is_close(own, float(self._others.likeness(row, besides=besides)[0]))

    def _is_close(self, own: float, another: float) -> bool:
        """Whether a cosine with the thing's looks is not clearly more than another cosine."""
        return own - another < self.options.margin or 1 - own > self.options.apart * (1 - another)

    def _others_in_view(self, view: View, own: FloatArray) -> dict[int, int]:
        """Index -> track of the masks that are another thing: its track goes on, and looks like it."""
        out = {}
        for n, track_id in enumerate(view.track_ids):
            looks = self._others.of(track_id) if track_id else None
            if looks is None:
                continue
            row = view.embeddings[n]
            if not row.any() or looks.likeness(row[None])[0] >= own[n] - _LESS_LIKE:
                out[n] = track_id
        return out

    def _note_others(self, view: View, index: int) -> None:
        """What the thing is not: all that is in view beside it, but for its parts and what it is part of."""
        own = self._looks.likeness(view.embeddings)
        for n, track_id in enumerate(view.track_ids):
            row, mask = view.embeddings[n], view.masks[n]
            if n == index or not mask.area or not row.any() or _share(mask, view.masks[index]):
                continue
            looks = self._others.of(track_id)
            if looks is None or not track_id or looks.likeness(row[None])[0] >= own[n]:
                self._others.add(track_id, row)

    def _is_near(self, view: View, index: int) -> bool:
        apart_m = self._moved_m(view, index)
        return self._seen.overlaps(view.masks[index]) or (
            apart_m is not None and apart_m <= self.options.near_m
        )

    def _can_reach(self, view: View, index: int) -> bool:
        """Whether the thing can have come so far since it was seen last."""
        options, apart_m = self.options, self._moved_m(view, index)
        if apart_m is not None:
            return apart_m <= options.near_m + options.speed_m_s * self.age_s
        mask, before = view.masks[index], self._seen.mask
        apart = math.dist(mask.centre_xy, before.centre_xy)
        diagonal = max(math.hypot(*mask.crop.shape), math.hypot(*before.crop.shape))
        image = math.hypot(*view.image_rgb.shape[:2])
        return apart <= options.reach * diagonal + options.reach_per_s * self.age_s * image

    def _moved_m(self, view: View, index: int) -> float | None:
        """Metres from where it was seen last, None where depth is not known there or was not then."""
        now, before = view.centroid(index), self._seen.centroid_m
        return None if now is None or before is None else float(np.linalg.norm(now - before))


def _share(one: BoxedMask, other: BoxedMask) -> bool:
    """Whether one of two masks may be a part of the other, or both of one thing."""
    return bool(shared_pixels([one, other])[0, 1] >= _PART * min(one.area, other.area))


def _numbers(track_ids: list[int]) -> tuple[int, ...]:
    return tuple(number for number in track_ids if number)
