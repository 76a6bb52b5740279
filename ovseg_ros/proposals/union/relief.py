"""What depth says of masks: whether a part stands apart from its whole, and what carries the rest."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.core.maps import BoxedMask
from ovseg_ros.core.space import Plane, choose_support, find_planes
from ovseg_ros.proposals.depth.clusters import pixel_noise

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_STEP = 2  # every second pixel of every second row is looked at; lengths below count on that grid
_REACH = 3  # a jump may be smeared over so many pixels, as filtered depth has it
_RIM = 2  # pixels around a part in which its whole is compared with it
_SHADOW = 4  # unknown pixels this near known ones take the farthest of them: a stereo camera's shadows
_JUMP_M = 0.008  # smallest step that counts, metres
_JUMP_SHARE = 0.008  # and as a share of the distance
_KNOWN = 0.5  # less of a mask than that, and depth says nothing about it
_LEAST_RIM = 6  # pixels; with fewer the same
_ON_SUPPORT = 0.6  # of a mask's pixels; the rest may be what stands on it
_OF_SUPPORT = 0.4  # of the supporting plane's pixels
_OF_IMAGE = 0.15


class Relief:
    """Depth of one frame, asked about its masks; steps and plane are looked for when first asked."""

    def __init__(self, depth_m: FloatArray, intrinsics: CameraIntrinsics) -> None:
        """Keeps a quarter of the pixels.

        Args:
            depth_m: (H, W) float32 metres; 0, NaN and inf mean unknown.
            intrinsics: of the same image.
        """
        depth = depth_m[::_STEP, ::_STEP]
        self._depth = np.where((depth > 0) & (depth < np.inf), depth, np.float32(0))
        self._known = self._depth > 0
        height, width = self._depth.shape
        self._intrinsics = CameraIntrinsics(
            intrinsics.fx / _STEP,
            intrinsics.fy / _STEP,
            intrinsics.cx / _STEP,
            intrinsics.cy / _STEP,
            width,
            height,
        )
        self._size_hw = depth_m.shape

    @classmethod
    def of(cls, frame: Frame) -> Relief | None:
        """That of a frame; None where depth or intrinsics are missing or depth is unknown everywhere."""
        if frame.depth_m is None or frame.intrinsics is None:
            return None
        relief = cls(frame.depth_m, frame.intrinsics)
        return relief if relief._known.any() else None

    def step_share(self, part: BoxedMask, whole: BoxedMask) -> float | None:
        """How much of the border between a part and the rest of its whole is a step in depth.

        A thing in, on or before another has steps along most of the border but where it touches; paint, a
        label, or a side of the same box has none.

        Args:
            part: most of it lies in `whole`.
            whole: in the same image.

        Returns:
            In [0, 1], a share of the whole's pixels along the border; None where depth is unknown for half
            of the part or of what is around it, and where there is hardly any border.
        """
        rows, columns = self._window(part)
        inside = self._cut(part, rows, columns)
        rest = self._cut(whole, rows, columns) & ~inside
        near = rest & _grown(inside, _RIM + _SHADOW)
        if min(self._known_share(some, rows, columns) for some in (inside, near)) < _KNOWN:
            return None
        within = cv2.erode((rest | inside).view(np.uint8), _square(_REACH), borderValue=1).view(bool)
        rim = near & within & _grown(inside, _RIM)  # not where the whole itself ends: its own edges are steps
        rim &= self._filled[rows, columns] > 0
        count = np.count_nonzero(rim)
        return (
            float(np.count_nonzero(rim & self._steps[rows, columns]) / count) if count >= _LEAST_RIM else None
        )

    def is_support(self, mask: BoxedMask) -> bool:
        """Whether a mask is the table or floor, with or without the things on it: large, much of the plane.

        A flat thing lies on the plane too, but is a small part of it.
        """
        if mask.area < _OF_IMAGE * self._size_hw[0] * self._size_hw[1]:
            return False
        rows, columns = self._window(mask)
        inside = self._cut(mask, rows, columns)
        if self._known_share(inside, rows, columns) < _KNOWN:
            return False
        known = np.count_nonzero(inside & self._known[rows, columns])
        level = np.count_nonzero(inside & self._support[rows, columns])
        return level >= _ON_SUPPORT * known and level >= _OF_SUPPORT * np.count_nonzero(self._support)

    def _window(self, mask: BoxedMask) -> tuple[slice, slice]:
        """The mask's box and its rim on the coarse grid."""
        x0, y0, x1, y1 = mask.box_xyxy
        height, width = self._known.shape
        margin = _RIM + _SHADOW
        return (
            slice(max(0, y0 // _STEP - margin), min(height, -(-y1 // _STEP) + margin)),
            slice(max(0, x0 // _STEP - margin), min(width, -(-x1 // _STEP) + margin)),
        )

    def _cut(self, mask: BoxedMask, rows: slice, columns: slice) -> BoolArray:
        """(h, w) what of a mask lies in a window of the coarse grid."""
        out = np.zeros((rows.stop - rows.start, columns.stop - columns.start), bool)
        some = mask.crop[-mask.y % _STEP :: _STEP, -mask.x % _STEP :: _STEP]
        top, left = -(-mask.y // _STEP) - rows.start, -(-mask.x // _STEP) - columns.start
        part = out[max(0, top) :, max(0, left) :]
        some = some[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]]
        part[: some.shape[0], : some.shape[1]] = some
        return out

    def _known_share(self, inside: BoolArray, rows: slice, columns: slice) -> float:
        count = np.count_nonzero(inside)
        return np.count_nonzero(inside & self._known[rows, columns]) / count if count else 0.0

    @cached_property
    def _filled(self) -> FloatArray:
        """(h, w) metres; the shadow beside a thing has the depth of what it falls on."""
        farthest = cv2.dilate(self._depth, _square(_SHADOW))
        return np.where(self._known, self._depth, farthest)

    @cached_property
    def _steps(self) -> BoolArray:
        """(h, w) within `_REACH` of a step in depth that the slope on neither side explains."""
        with np.errstate(divide="ignore"):
            inverse = np.where(self._filled > 0, np.reciprocal(self._filled), np.float32(np.nan))
        noise = pixel_noise(self._depth)
        steps = np.zeros(inverse.shape, bool)
        for turned, found in ((inverse, steps), (inverse.T, steps.T)):
            _mark_steps(turned, noise, found)
        return steps

    @cached_property
    def _support(self) -> BoolArray:
        """(h, w) on the plane that carries things; nothing where there is none."""
        plane = self._plane()
        if plane is None:
            return np.zeros(self._known.shape, bool)
        heights = plane.heights(self._depth, self._intrinsics)
        limits = np.maximum(3 * plane.scatter_at(self._depth), np.float32(0.006))
        return self._known & (np.abs(heights) < limits)

    def _plane(self) -> Plane | None:
        planes = find_planes(
            self._depth,
            self._intrinsics,
            tolerance_m=0.007,
            pixel_noise_m=pixel_noise(self._depth),
            min_support=0.08,
            rng=np.random.default_rng(0),
        )
        return choose_support(planes)


def _square(reach: int) -> npt.NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _grown(mask: BoolArray, pixels: int) -> BoolArray:
    return cv2.dilate(mask.view(np.uint8), _square(pixels)).view(bool)


def _mark_steps(inverse: FloatArray, noise_m: float, found: BoolArray) -> None:
    """Sets found (h, w) along the rows of inverse depth (h, w), NaN where unknown, in place.

    In inverse depth a plane is linear: a difference over `_REACH` pixels that is also there before or after
    is a slope, and one between the two lies on an edge where slopes meet. Where one of them leaves what is
    known, the other decides; where both do, nothing is a step.
    """
    reach = _REACH
    width = inverse.shape[1]
    if width < 2 * reach + 1:
        return
    differences = inverse[:, reach:] - inverse[:, :-reach]  # (h, w - reach)
    nothing = np.full((len(inverse), reach), np.nan, np.float32)
    before = np.concatenate([nothing, differences[:, :-reach]], axis=1)
    after = np.concatenate([differences[:, reach:], nothing], axis=1)
    bend = np.maximum(differences - np.fmax(before, after), np.fmin(before, after) - differences)
    nearer = np.fmax(inverse[:, reach:], inverse[:, :-reach])
    limit = np.maximum(np.float32(_JUMP_M) * nearer, np.float32(_JUMP_SHARE)) * nearer
    limit += np.float32(4 * noise_m)
    with np.errstate(invalid="ignore"):
        jumps = bend > limit
    for offset in range(reach + 1):  # both ends of the step, and what lies between
        found[:, offset : offset + width - reach] |= jumps
