"""TF in a recording: how frames lay in each other, by /tf and /tf_static, at any time between."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ovseg_ros.core.space import Rigid
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.recordings.bag import Bag, deserialized
from ovseg_ros.files.recordings.look import as_bag

TF, STATIC_TF = "/tf", "/tf_static"
_UNIT_TOLERANCE = 0.01  # of a quaternion's length, as tf2 has it


@dataclass(frozen=True, eq=False)
class Transform:
    """How a frame lies in its parent: p_parent = rigid(p_child).

    Attributes:
        parent: frame.
        child: frame.
        rigid: from the child into the parent.
        stamp_ns: when; None: at all times.
    """

    parent: str
    child: str
    rigid: Rigid
    stamp_ns: int | None = None


class TransformTree:
    """Frames and how they lie in each other, by tf2's rules.

    Between two times of a frame its transform is interpolated (the shift linearly, the turn along the
    shortest arc); none is made up before the first or after the last. What is static holds at any time.
    """

    def __init__(self, transforms: Iterable[Transform]) -> None:
        """Takes transforms in any order; of two at one time the later one counts."""
        self._static: dict[str, Transform] = {}
        moving: dict[str, dict[int, Transform]] = {}
        for one in transforms:
            if one.stamp_ns is None:
                self._static[one.child] = one
            else:
                moving.setdefault(one.child, {})[one.stamp_ns] = one
        self._moving = {
            child: [by_time[stamp] for stamp in sorted(by_time)] for child, by_time in moving.items()
        }
        self._stamps = {child: [one.stamp_ns or 0 for one in known] for child, known in self._moving.items()}

    @property
    def static(self) -> list[Transform]:
        """What is static."""
        return list(self._static.values())

    def moving(self, stamp_ns: int) -> list[Transform]:
        """All that moves, as it lay at this time; without frames of which that time is not known."""
        at = (self._at(child, stamp_ns) for child in self._moving)
        return [one for one in at if isinstance(one, Transform)]

    def lookup(self, target: str, source: str, stamp_ns: int) -> Rigid:
        """The motion that takes points of `source` into `target` at a time.

        Raises:
            InvalidInputError: no frame of that name, no way from one to the other, or no such time.
        """
        (up, why_not), (down, why_not_down) = (self._to_root(f, stamp_ns) for f in (source, target))
        common = next((frame for frame in up if frame in down), None)
        if common is None:
            if why_not or why_not_down:
                raise InvalidInputError(why_not or why_not_down)
            known = ", ".join(sorted({*self._static, *self._moving, *up, *down})) or "none"
            raise InvalidInputError(f"expected a way from {source!r} to {target!r} in TF, frames are {known}")
        return down[common].inverse().after(up[common])

    def _to_root(self, frame: str, stamp_ns: int) -> tuple[dict[str, Rigid], str]:
        """Every frame above this one, itself first, with the motion into it; and why it ends early, or ""."""
        way = {frame: Rigid(np.eye(3), np.zeros(3))}
        while (one := self._static.get(frame) or self._at(frame, stamp_ns)) is not None:
            if isinstance(one, str):
                return way, one
            if one.parent in way:
                raise InvalidInputError(f"expected a tree of frames in TF, {one.parent!r} lies in itself")
            way[one.parent] = one.rigid.after(way[frame])
            frame = one.parent
        return way, ""

    def _at(self, child: str, stamp_ns: int) -> Transform | str | None:
        """The transform of a moving frame; why there is none; or None, where it does not move."""
        known = self._moving.get(child)
        if known is None:
            return None
        stamps = self._stamps[child]
        if not stamps[0] <= stamp_ns <= stamps[-1]:
            return (
                f"expected a time from {stamps[0] / 1e9:.6f} to {stamps[-1] / 1e9:.6f} s, which TF knows of "
                f"{child!r}, got {stamp_ns / 1e9:.6f} s"
            )
        place = bisect_left(stamps, stamp_ns)
        if stamps[place] == stamp_ns:
            return known[place]
        first, second = known[place - 1], known[place]
        part = (stamp_ns - stamps[place - 1]) / (stamps[place] - stamps[place - 1])
        turns = Rotation.from_matrix(np.stack([first.rigid.rotation, second.rigid.rotation]))
        shift = second.rigid.translation_m - first.rigid.translation_m
        rigid = Rigid(Slerp([0, 1], turns)(part).as_matrix(), first.rigid.translation_m + part * shift)
        return Transform(first.parent, child, rigid, stamp_ns)


def read_transforms(recording: Path | str | Bag) -> TransformTree:
    """TF of a recording; empty where it has none.

    Raises:
        InvalidInputError: the recording cannot be opened, a message is damaged, or numbers in it are no
            transform.
    """
    bag = as_bag(recording)
    transforms = []
    for recorded in bag.messages({TF, STATIC_TF}):
        for one in deserialized(recorded).transforms:
            transforms.append(_transform(one, recorded.topic == STATIC_TF))
    return TransformTree(transforms)


def _transform(one: Any, static: bool) -> Transform:
    turn, shift, stamp = one.transform.rotation, one.transform.translation, one.header.stamp
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w])
    if not abs(np.linalg.norm(quaternion) - 1.0) <= _UNIT_TOLERANCE:
        raise InvalidInputError(
            f"expected a unit quaternion from {one.child_frame_id!r} to {one.header.frame_id!r} in TF, got "
            f"{quaternion.tolist()}"
        )
    rigid = Rigid(Rotation.from_quat(quaternion).as_matrix(), np.array([shift.x, shift.y, shift.z]))
    stamp_ns = None if static else stamp.sec * 1_000_000_000 + stamp.nanosec
    return Transform(one.header.frame_id.lstrip("/"), one.child_frame_id.lstrip("/"), rigid, stamp_ns)
