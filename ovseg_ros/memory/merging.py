"""Entries as sightings make them: a new one, one seen again, two that turn out to be one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from ovseg_ros.core.space import Rigid
from ovseg_ros.memory.entry import Entry, Floats, Name, Vectors
from ovseg_ros.memory.sighting import Sighting

_SYSTEMATIC_M = 0.01  # of one sighting: calibration, the side it was seen from
_DRIFT_M = 0.002  # that a position may have moved between two images
_SUREST_M = 0.002  # added to each result: nothing ever becomes certain
_MOST_VIEWS = 4
_NOTHING_NEW = 0.97  # cosine from which a view adds nothing
_MEMORY = 30  # sightings after which a new one always has the same weight
_MOST_POINTS = 64
_CLEARER = 1.2  # so much clearer is worth a new picture
_UNIT = np.eye(3)


def new_entry(key: str, robot: str, space: str, frame_id: str, sighting: Sighting, stamp: float) -> Entry:
    """What one sighting says of a thing that was not known."""
    return Entry(
        key=key,
        robot=robot,
        frame_id=frame_id,
        position=sighting.position,
        covariance=_uncertainty(sighting),
        size=sighting.size,
        orientation=sighting.orientation,
        space=space,
        embedding=sighting.embedding,
        views=sighting.embedding[None],
        words=_counted({}, sighting.words),
        first_seen=stamp,
        last_seen=stamp,
        crop=sighting.crop() if sighting.crop else None,
        clarity=sighting.clarity if sighting.crop else 0.0,
        surface=_few(sighting.surface - sighting.position),
    )


def seen_again(
    entry: Entry, sighting: Sighting, stamp: float, *, has_moved: bool, is_new_look: bool
) -> Entry:
    """An entry after one more sighting.

    Position and size are filtered: each sighting counts by how certain it is. What is partly hidden, or cut
    by the image's edge, says that the thing is there, and nothing else.

    Args:
        entry: as it was.
        sighting: of the same thing.
        stamp: seconds since the epoch.
        has_moved: it is somewhere else now: where it was says nothing of where it is.
        is_new_look: the first sighting after it was out of view: its surface is taken from it too.
    """
    if not sighting.is_whole:
        return replace(
            entry,
            last_seen=max(stamp, entry.last_seen),
            times_seen=entry.times_seen + 1,
            times_looked=entry.times_looked + 1,
            gone_since=None,
        )
    noise = _uncertainty(sighting)
    if has_moved:
        position, covariance, size = sighting.position, noise, entry.size
        weight = 0.0
    else:
        before = entry.covariance + _DRIFT_M**2 * _UNIT
        gain = before @ np.linalg.inv(before + noise)
        position = entry.position + gain @ (sighting.position - entry.position)
        after = (_UNIT - gain) @ before
        covariance = (after + after.T) / 2 + _SUREST_M**2 * _UNIT
        weight = float(np.trace(gain)) / 3
        size = entry.size + weight * (sighting.size - entry.size)
    n = min(entry.times_seen, _MEMORY)
    surface = entry.surface
    if has_moved or is_new_look or len(surface) < _MOST_POINTS // 2:
        new = sighting.surface - position
        surface = _few(new if has_moved else np.concatenate([surface, new]))
    clearer = sighting.clarity > _CLEARER * entry.clarity
    return replace(
        entry,
        position=position,
        covariance=covariance,
        size=size,
        orientation=sighting.orientation if has_moved or weight > 0 else entry.orientation,
        embedding=_unit(n * entry.embedding + sighting.embedding),
        views=_with_view(entry.views, sighting.embedding),
        words=_counted(entry.words, sighting.words),
        last_seen=max(stamp, entry.last_seen),
        first_seen=min(stamp, entry.first_seen),
        times_seen=entry.times_seen + 1,
        times_looked=entry.times_looked + 1,
        gone_since=None,
        crop=sighting.crop() if clearer and sighting.crop else entry.crop,
        clarity=sighting.clarity if clearer and sighting.crop else entry.clarity,
        surface=surface.astype(np.float32),
    )


def joined(old: Entry, new: Entry) -> Entry:
    """One entry of two that are the same thing: known as long as the old one, where the new one is."""
    words = dict(old.words)
    for word, name in new.words.items():
        known = words.get(word, Name(0.0, 0))
        words[word] = Name(max(known.score, name.score), known.times + name.times)
    views = old.views
    for view in new.views:
        views = _with_view(views, view)
    return replace(
        new,
        key=old.key,
        robot=old.robot,
        embedding=_unit(old.times_seen * old.embedding + new.times_seen * new.embedding),
        views=views,
        words=words,
        first_seen=min(old.first_seen, new.first_seen),
        last_seen=max(old.last_seen, new.last_seen),
        times_seen=old.times_seen + new.times_seen,
        times_looked=old.times_looked + new.times_looked,
        times_missed=old.times_missed + new.times_missed,
        crop=new.crop if new.clarity >= old.clarity else old.crop,
        clarity=max(new.clarity, old.clarity),
    )


def corrected(entry: Entry, correction: Rigid) -> Entry:
    """An entry after its frame was corrected: moved along, and uncertain by as much as it was moved."""
    moved = correction.of_points(entry.position[None])[0]
    shift_m = float(np.linalg.norm(moved - entry.position))
    turn = correction.rotation
    return replace(
        entry,
        position=moved,
        covariance=turn @ entry.covariance @ turn.T + shift_m**2 * _UNIT,
        orientation=(Rotation.from_matrix(turn) * Rotation.from_quat(entry.orientation)).as_quat(),
        surface=(entry.surface @ turn.T).astype(np.float32),
    )


def _uncertainty(sighting: Sighting) -> Floats:
    """(3, 3) m²: of the position as one sighting tells it."""
    covariance: Floats = sighting.covariance + _SYSTEMATIC_M**2 * _UNIT
    return covariance


def _counted(words: Mapping[str, Name], said: Mapping[str, float]) -> dict[str, Name]:
    counted = dict(words)
    for word, score in said.items():
        known = counted.get(word, Name(0.0, 0))
        counted[word] = Name(max(known.score, score), known.times + 1)
    return counted


def _with_view(views: Vectors, view: Vectors) -> Vectors:
    """The views and one more, where it is new; of too many, the later of the two most alike goes."""
    if float((views @ view).max()) >= _NOTHING_NEW:
        return views
    views = np.concatenate([views, view[None]])
    if len(views) > _MOST_VIEWS:
        alike = np.tril(views @ views.T, -1) - np.triu(np.full((len(views),) * 2, 2.0))
        views = np.delete(views, alike.max(axis=1).argmax(), axis=0)
    return views


def _unit(vector: Vectors) -> Vectors:
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length > 0 else vector, dtype=np.float32)


def _few(points: Vectors | Floats) -> Vectors:
    """At most 64 of the points, evenly."""
    chosen = np.linspace(0, len(points) - 1, min(len(points), _MOST_POINTS)).round().astype(np.intp)
    return np.asarray(points[chosen], dtype=np.float32)
