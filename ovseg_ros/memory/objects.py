"""What was seen where: tracks become entries, seen again, moved, or gone."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ovseg_ros.core.space import Rigid
from ovseg_ros.errors import StoreError
from ovseg_ros.memory.entry import Entry, Vectors, Where
from ovseg_ros.memory.jumps import Doubts
from ovseg_ros.memory.matching import distance_m, likeness, match_elsewhere, match_near, reach_m
from ovseg_ros.memory.merging import joined, new_entry, seen_again
from ovseg_ros.memory.nearby import Nearby, Shelf, Sink, meant
from ovseg_ros.memory.place import LookedAt, Place, look_at
from ovseg_ros.memory.sighting import Sighting, View

_CONFIRM = 3  # images in which a track must carry a word to become an entry
_GONE_AFTER = 3  # images one after the other in which a place is free
_OTHER = 0.5  # cosine below which a track shows another thing than it did
_OUT_OF_VIEW_S = 2.0  # a track not seen for longer is a new look when it is back
_FORGET_TRACK_S = 30.0
_SAVE_EVERY_S = 1.0
_CANDIDATES = 16
_FAR_M = 6.0  # of the camera: entries farther away are not looked for


@dataclass
class _Track:
    """What is known of a track.

    Attributes:
        seen: when last, seconds.
        key: its entry, "" while it has none.
        words: images in which it carried a word.
    """

    seen: float
    key: str = ""
    words: int = 0


@dataclass
class _Look:
    """The image that is noted: which entries are in it, and which have to be stored at once."""

    seen: set[str] = field(default_factory=set)
    urgent: set[str] = field(default_factory=set)


class ObjectMemory:
    """What was seen where, of one robot. Any thread may use it; one at a time does."""

    def __init__(
        self,
        shelf: Shelf,
        sink: Sink,
        space: str,
        *,
        robot: str = "",
        new_key: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        """Knows what the store has.

        Args:
            shelf: the store.
            sink: takes what changed.
            space: which embeddings these are, see `Entry`.
            robot: whose camera this is.
            new_key: makes keys.
        """
        self._near = Nearby(shelf, sink, space)
        self._space, self._robot, self._new_key = space, robot, new_key
        self._tracks: dict[tuple[str, int], _Track] = {}
        self._looked = LookedAt()
        self._arrived: set[str] = set()  # entries of things that stand where an earlier look saw nothing
        self._free: dict[str, int] = {}  # images in which an entry's place was free, one after the other
        self._steady_since: float | None = None  # when positions came into doubt last, or the first image
        self._doubts = Doubts()
        self._saved = -np.inf
        self._lock = threading.RLock()

    def note(self, view: View, sightings: Sequence[Sighting]) -> None:
        """Takes what one image shows.

        Args:
            view: what the camera saw.
            sightings: its tracked masks that have 3D, with and without words.
        """
        with self._lock:
            if self._steady_since is None:
                self._steady_since = view.stamp
            self._near.come_to(view.frame_id, view.camera.translation_m)
            self._looked.note(view)
            look = _Look()
            rest = [s for s in sightings if not self._goes_on(s, view, look)]
            rest = self._match(rest, view, look)
            for sighting in rest:
                self._note_unknown(sighting, view, look)
            self._look_for_others(view, look)
            self._forget_tracks(view.stamp)
            if view.stamp - self._saved >= _SAVE_EVERY_S or view.stamp < self._saved:
                self._near.save()
                self._saved = view.stamp
            elif look.urgent:
                self._near.save(look.urgent)

    def correct(self, stamp: float, correction: Rigid) -> None:
        """The fixed frame was corrected: what was told of since the last time is moved along, and doubted.

        Localisation may have been wrong by that for long or for a moment, so nobody knows which of the places
        were. The first thing that is seen again settles it for those around it.

        Args:
            stamp: when, seconds since the epoch.
            correction: from places as they were told before to what they would be told as now.
        """
        with self._lock:
            if self._steady_since is None:
                return
            where = Where(seen_after=self._steady_since, space=self._space)
            try:
                told = self._near.find(where)
            except StoreError:  # what is near is known all the same
                told = [entry for entry in self._near.held() if meant(entry, where)]
            for entry in told:
                self._near.put(self._doubts.begin(entry, correction))
            self._steady_since = stamp
            self._near.save()

    def find(self, where: Where) -> list[Entry]:
        """All entries that are meant, as they are now; those seen last first."""
        with self._lock:
            return sorted(self._near.find(where), key=lambda entry: -entry.last_seen)

    def held(self) -> list[Entry]:
        """The entries around the camera, without asking the store."""
        with self._lock:
            return self._near.held()

    def most_alike(self, embedding: Vectors, k: int, where: Where) -> list[Entry]:
        """Of the entries that are meant the k most alike to (D,) unit, the most alike first."""
        with self._lock:
            return self._near.most_alike(embedding, k, where)

    def words(self) -> set[str]:
        """All that things were called."""
        with self._lock:
            return self._near.words()

    def knows(self, track: tuple[str, int]) -> bool:
        """Whether a track is of an entry."""
        with self._lock:
            known = self._tracks.get(track)
            return known is not None and known.key in self._near

    def forget(self, keys: Sequence[str] | None) -> int:
        """Forgets entries by their keys, None: everything; how many they were. Done when it returns."""
        with self._lock:
            self._tracks.clear()
            self._arrived.clear()
            self._free.clear()
            return self._near.forget(keys)

    def flush(self) -> None:
        """Hands on all that changed."""
        with self._lock:
            self._near.save()

    def forget_tracks(self) -> None:
        """What tracks were is not known any more: their numbers begin anew."""
        with self._lock:
            self._tracks.clear()

    # One image

    def _goes_on(self, sighting: Sighting, view: View, look: _Look) -> bool:
        """Whether a sighting is of a track whose entry is known; notes it then."""
        track = self._tracks.get(sighting.track)
        if track is None or track.key not in self._near or track.key in look.seen:
            return False
        entry = self._near[track.key]
        has_moved = distance_m(entry, sighting) > reach_m(entry, sighting)
        alike = likeness(entry, sighting.embedding)
        if entry.frame_id != view.frame_id or alike < _OTHER or (has_moved and not sighting.is_whole):
            track.key = ""
            return False
        self._see(entry, sighting, view, look, has_moved=has_moved)
        return True

    def _match(self, sightings: list[Sighting], view: View, look: _Look) -> list[Sighting]:
        """Notes sightings of entries in their places; returns the others."""
        around = [
            entry
            for entry in self._near.of_frame(view.frame_id)
            if entry.key not in look.seen and self._is_around(entry, view)
        ]
        pairs = match_near(around, sightings)
        for i, j in pairs:
            self._see(self._near[around[i].key], sightings[j], view, look)  # others may have settled it
        known = {j for _, j in pairs}
        return [sighting for j, sighting in enumerate(sightings) if j not in known]

    def _note_unknown(self, sighting: Sighting, view: View, look: _Look) -> None:
        """A sighting of nothing known: after some with a word it is a thing moved here, or a new one."""
        track = self._tracks.setdefault(sighting.track, _Track(view.stamp))
        track.seen, track.key = view.stamp, ""
        track.words += bool(sighting.words)
        if track.words < _CONFIRM or not sighting.words or not sighting.is_whole:
            return
        name = max(sighting.words, key=lambda word: sighting.words[word])
        where = Where(gone=True, space=self._space, frame_id=view.frame_id)
        gone = self._near.most_alike(sighting.embedding, _CANDIDATES, where)
        moved = match_elsewhere(gone, sighting.embedding, sighting.size, name)
        if moved is not None:
            self._see(moved, sighting, view, look, has_moved=True)
            look.urgent.add(moved.key)
            return
        entry = new_entry(self._new_key(), self._robot, self._space, view.frame_id, sighting, view.stamp)
        self._near.put(entry)
        if self._looked.looks(view.frame_id, entry.position) > 1:
            self._arrived.add(entry.key)
        track.key = entry.key
        look.seen.add(entry.key)
        look.urgent.add(entry.key)

    def _see(
        self, entry: Entry, sighting: Sighting, view: View, look: _Look, *, has_moved: bool = False
    ) -> None:
        track = self._tracks.setdefault(sighting.track, _Track(view.stamp))
        is_new_look = track.key != entry.key or view.stamp - entry.last_seen > _OUT_OF_VIEW_S
        if sighting.is_whole and entry.key in self._doubts:
            for other in self._doubts.settle(entry, sighting.position, self._near.get):
                self._near.put(other)
        self._near.put(seen_again(entry, sighting, view.stamp, has_moved=has_moved, is_new_look=is_new_look))
        track.seen, track.key = view.stamp, entry.key
        track.words += bool(sighting.words)
        look.seen.add(entry.key)
        self._free.pop(entry.key, None)

    def _look_for_others(self, view: View, look: _Look) -> None:
        """Entries that should be in view and were not seen: missed, or gone where their place is free."""
        for entry in self._near.of_frame(view.frame_id):
            if entry.key in look.seen or entry.gone_since is not None or not self._is_around(entry, view):
                continue
            if entry.key in self._doubts:
                continue  # nobody knows where its place is
            place = look_at(entry, view)
            if place is Place.NOT_SEEN:
                continue
            missed = replace(entry, times_looked=entry.times_looked + 1, times_missed=entry.times_missed + 1)
            if place is Place.TAKEN:
                self._free.pop(entry.key, None)
                self._near.put(missed)
                continue
            self._free[entry.key] = self._free.get(entry.key, 0) + 1
            if self._free[entry.key] >= _GONE_AFTER:
                missed = self._gone(replace(missed, gone_since=view.stamp), look)
            self._near.put(missed)

    def _gone(self, entry: Entry, look: _Look) -> Entry:
        """An entry that is gone; or where it is since, where the same thing has come to another place."""
        self._free.pop(entry.key, None)
        look.urgent.add(entry.key)
        where = Where(gone=False, space=self._space, frame_id=entry.frame_id)
        newer = [
            other
            for other in self._near.most_alike(entry.embedding, _CANDIDATES, where)
            if other.key in self._arrived and other.first_seen > entry.last_seen
        ]
        now_at = match_elsewhere(newer, entry.embedding, entry.size, entry.name)
        if now_at is None:
            return entry
        self._near.drop(now_at.key)
        self._arrived.discard(now_at.key)
        for track in self._tracks.values():
            if track.key == now_at.key:
                track.key = entry.key
        return joined(entry, now_at)

    def _is_around(self, entry: Entry, view: View) -> bool:
        away = entry.position - view.camera.translation_m
        return float(away @ away) < _FAR_M**2 and float(away @ view.camera.rotation[:, 2]) > 0

    def _forget_tracks(self, stamp: float) -> None:
        for name in [name for name, track in self._tracks.items() if stamp - track.seen > _FORGET_TRACK_S]:
            del self._tracks[name]
