"""Masks from registered depth: take the plane away, cut at depth jumps, refine with colour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.frame import CameraIntrinsics, Frame, Proposals
from ovseg_ros.core.space import Plane, choose_support, find_planes
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.proposals.depth import clusters, refine
from ovseg_ros.proposals.depth.fragments import describe, roots
from ovseg_ros.proposals.depth.outline import over_outline
from ovseg_ros.proposals.depth.panels import split_panels
from ovseg_ros.proposals.depth.ramps import sharpen

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]

_NOISE_HEIGHTS = 3.0  # deviations of the plane's own points that a thing must rise above
_CLEARLY_ABOVE = 1.8  # times that, somewhere, or it is no thing
_CLEAR_SHARE = 0.05  # of its pixels do
_BELOW_SHARE = 0.004  # of the image lies below a table's edge; with less it is the floor
_REACH_PX = 3  # on every second pixel: fragments with boxes so near may be one thing
_NECK_PX = 9  # of a sensor that smooths; what is joined by a narrower neck is cut there
_MOSTLY_OVER = 0.5  # of a thing over the table, and all of it stands there
_COARSE = 4  # pixels; the table's outline needs no more


@dataclass(frozen=True, eq=False)
class Pieces:
    """What a view was cut into.

    Attributes:
        labels: (H, W) int32, 1..count, 0 = none.
        count: how many.
        seams: along how many pixels two labels, the lower first, meet without a jump.
    """

    labels: IntArray
    count: int
    seams: dict[tuple[int, int], int]


@dataclass(frozen=True)
class DepthClustersOptions:
    """How `DepthClusters` cuts a view into things.

    Attributes:
        plane_tolerance_m: a point this far from a plane, at 1 m, may still belong to it, metres > 0. Only the
            search for planes uses it; what stands out follows from the scatter that is measured.
        plane_min_support: share of the known pixels the supporting plane must hold, in (0, 1].
        min_height_m: what rises less than this above the plane is part of it, metres > 0.
        jump_m: smallest step in depth that separates two things, metres > 0.
        min_area: smallest mask as a share of the image, in [0, 1]; 0.0004 is 123 pixels of 640 x 480.
        max_area: largest mask as a share of the image, in (0, 1].
        overhang_m: how far beyond the edge of a table things may stand, metres >= 0; what is mostly nearer
            stays whole.
        refine_px: width in pixels of the band along the outline in which colour decides; 0 leaves colour out.
        max_depth_m: points farther than this are unknown, metres > 0.
        seed: of the plane search; the same frame gives the same masks.
    """

    plane_tolerance_m: float = 0.007
    plane_min_support: float = 0.08
    min_height_m: float = 0.002
    jump_m: float = 0.010
    min_area: float = 0.0004
    max_area: float = 0.6
    overhang_m: float = 0.06
    refine_px: int = 3
    max_depth_m: float = 8.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("plane_tolerance_m", "min_height_m", "jump_m", "max_depth_m"):
            value = getattr(self, name)
            if not (0 < value < float("inf")):
                raise ConfigError(f"expected {name} > 0 metres, got {value}")
        for name in ("plane_min_support", "max_area"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"expected {name} in (0, 1], got {getattr(self, name)}")
        if not 0 <= self.min_area < self.max_area:
            raise ConfigError(f"expected 0 <= min_area < max_area, got {self.min_area}, {self.max_area}")
        if not 0 <= self.overhang_m < float("inf"):
            raise ConfigError(f"expected overhang_m >= 0 metres, got {self.overhang_m}")
        if not 0 <= self.refine_px <= 20:
            raise ConfigError(f"expected refine_px in [0, 20], got {self.refine_px}")
        if self.seed < 0:
            raise ConfigError(f"expected seed >= 0, got {self.seed}")


@dataclass(frozen=True)
class DepthClusters:
    """Proposes what stands on the table or floor, one mask per thing, from an RGB-D frame.

    No learned part. Things are cut where depth jumps, so two that touch at the same depth come out as one.
    """

    options: DepthClustersOptions = field(default_factory=DepthClustersOptions)
    needs_depth: ClassVar[bool] = True  # the node then hands over no frame without depth and intrinsics
    scores_are_iou: ClassVar[bool] = False  # they follow size and border; see `UnionProposals`

    def propose(self, frame: Frame) -> Proposals:
        """Masks of the things in a frame, surest first; the same frame gives the same masks.

        Args:
            frame: with depth registered to the image, and intrinsics.

        Returns:
            N >= 0 masks that do not overlap. Without a supporting plane, everything the depth jumps separate.

        Raises:
            InvalidInputError: depth or intrinsics are missing, or the intrinsics are of another image size.
        """
        depth, intrinsics = self._checked(frame)
        noise = clusters.pixel_noise(depth)
        plane = self._support(depth, noise, intrinsics)
        if plane is None:
            among = cv2.morphologyEx((depth > 0).view(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
            depth = clusters.close_gaps(depth)
            return self._proposals(self._cut(depth, among > 0, noise, intrinsics, smoothed=False).labels)
        return self._proposals(self._on_plane(frame.image_rgb, depth, noise, plane, intrinsics))

    def _on_plane(
        self,
        image_rgb: npt.NDArray[np.uint8],
        depth: FloatArray,
        noise: float,
        plane: Plane,
        intrinsics: CameraIntrinsics,
    ) -> IntArray:
        """(H, W) int32 labels of the things on a plane, 0 = none."""
        known = depth > 0
        raised = plane.heights(depth, intrinsics) > np.float32(2 * _NOISE_HEIGHTS) * plane.scatter_at(depth)
        depth, smoothed = sharpen(
            depth, raised, jump_m=self.options.jump_m, noise_m=noise, focal_px=intrinsics.fx
        )
        depth = clusters.close_gaps(depth)
        heights = plane.heights(depth, intrinsics)
        limits = plane.scatter_at(depth)
        limits *= np.float32(_NOISE_HEIGHTS)
        cv2.max(limits, self.options.min_height_m, dst=limits)
        rising = (heights > limits) & (depth > 0)
        around = cv2.dilate((rising & known).view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
        rising &= known | around  # a closed gap belongs to a thing beside it, not to the table's edge
        pieces = self._cut(depth, rising, noise, intrinsics, smoothed=smoothed)
        labels = pieces.labels
        over = self._over_table(depth, heights, limits, plane, intrinsics)
        if over is not None:
            _leave_table(labels, over)
        table = _whole_things(image_rgb, pieces, depth, heights, limits, plane, intrinsics)
        areas = clusters.relabel(labels, table)
        labels = split_panels(image_rgb, labels, areas, depth, intrinsics)
        labels = refine.fill_holes(image_rgb, labels, heights, limits, known)
        if self.options.refine_px:
            labels = refine.refine_edges(
                image_rgb, labels, heights, limits, known, band_px=self.options.refine_px
            )
        return labels

    def _checked(self, frame: Frame) -> tuple[FloatArray, CameraIntrinsics]:
        """Depth with 0 for unknown, and intrinsics."""
        if frame.depth_m is None:
            raise InvalidInputError(
                "depth_clusters wants depth registered to the image, got none; connect the depth topic "
                "(depth_topic:=...) or choose a preset whose proposals need no depth"
            )
        if frame.intrinsics is None:
            raise InvalidInputError(
                "depth_clusters wants the camera's intrinsics, got none; "
                "connect camera_info (camera_info_topic:=...)"
            )
        if (frame.intrinsics.height, frame.intrinsics.width) != frame.depth_m.shape:
            raise InvalidInputError(
                f"expected intrinsics of the image, {frame.depth_m.shape[1]}x{frame.depth_m.shape[0]}, got "
                f"{frame.intrinsics.width}x{frame.intrinsics.height}; use the colour camera's"
            )
        known = (frame.depth_m > 0) & (frame.depth_m < self.options.max_depth_m)  # NaN and inf fail both
        depth = np.zeros(known.shape, np.float32)
        cv2.copyTo(frame.depth_m, known.view(np.uint8), depth)
        return depth, frame.intrinsics

    def _support(self, depth: FloatArray, noise_m: float, intrinsics: CameraIntrinsics) -> Plane | None:
        planes = find_planes(
            depth,
            intrinsics,
            tolerance_m=self.options.plane_tolerance_m,
            pixel_noise_m=noise_m,
            min_support=self.options.plane_min_support,
            rng=np.random.default_rng(self.options.seed),
        )
        return choose_support(planes)

    def _over_table(
        self,
        depth: FloatArray,
        heights: FloatArray,
        limits: FloatArray,
        plane: Plane,
        intrinsics: CameraIntrinsics,
    ) -> BoolArray | None:
        """(H, W): within the outline of a table; None on a floor, which has none, and where all is within."""
        coarse = np.s_[::_COARSE, ::_COARSE]
        seen, height, limit = depth[coarse] > 0, heights[coarse], limits[coarse]
        below = seen & (height < -np.maximum(0.03, 3 * limit))
        if np.count_nonzero(below) <= _BELOW_SHARE * below.size:
            return None
        feet = plane.feet(depth, intrinsics, _COARSE)
        over = over_outline(feet, seen & (np.abs(height) < limit), self.options.overhang_m)
        if over.all():
            return None
        over = np.repeat(np.repeat(over, _COARSE, axis=1), _COARSE, axis=0)
        return over[: depth.shape[0], : depth.shape[1]]

    def _cut(
        self,
        depth: FloatArray,
        inside: BoolArray,
        noise: float,
        intrinsics: CameraIntrinsics,
        *,
        smoothed: bool,
    ) -> Pieces:
        """The pieces between depth jumps; of a sensor that smooths also those that a narrow neck connects."""
        barrier = clusters.depth_jumps(
            depth, inside, jump_m=self.options.jump_m, noise_m=noise, focal_px=intrinsics.fx
        )
        fragment = max(8, int(0.25 * self.options.min_area * depth.size))
        free = inside & ~barrier
        reach_m = 0.03 + 4 * noise
        if smoothed:
            pen = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_NECK_PX, _NECK_PX))
            cores = cv2.erode(free.view(np.uint8), pen, borderValue=1).view(bool)
            labels, count = clusters.connect(cores, fragment)
            clusters.spread(
                labels, np.flatnonzero(free & (labels == 0)), depth, reach_m=reach_m, steps=_NECK_PX
            )
            rest, more = clusters.connect(free & (labels == 0), fragment)
            np.add(rest, count, out=labels, where=rest > 0)
            count += more
            seams = clusters.seam_lengths(np.where(free, labels, 0))
        else:
            labels, count = clusters.connect(free, fragment)
            seams = {}
        clusters.spread(labels, np.flatnonzero(inside & (labels == 0)), depth, reach_m=reach_m)
        return Pieces(labels, count, seams)

    def _proposals(self, labels: IntArray) -> Proposals:
        """Masks of the labels that are large enough, surest first."""
        where = np.flatnonzero(labels > 0)
        which = labels.reshape(-1)[where]
        areas = np.bincount(which, minlength=1)
        least = max(20.0, self.options.min_area * labels.size)
        keep = np.flatnonzero((areas >= least) & (areas <= self.options.max_area * labels.size))
        if not len(keep):
            return Proposals.empty(*labels.shape)
        scores = _scores(labels, areas, least)[keep]
        order = np.argsort(-scores, kind="stable")
        starts = np.full(len(areas), -labels.size)  # of each label's mask, if it has one
        starts[keep[order]] = np.arange(len(keep)) * labels.size
        where += starts[which]
        where = where[where >= 0]
        masks = np.zeros((len(keep), *labels.shape), bool)
        masks.reshape(-1)[where] = True
        return Proposals(torch.from_numpy(masks), torch.from_numpy(scores[order].astype(np.float32)))


def _scores(labels: IntArray, areas: npt.NDArray[np.int64], least: float) -> npt.NDArray[np.float64]:
    """Per label in [0, 1]: more for more pixels, half for what the image's border cuts right through."""
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    cut = np.bincount(border, minlength=len(areas)) / np.sqrt(np.maximum(areas, 1))
    return areas / (areas + 4 * least) * (1 - 0.5 * np.minimum(cut, 1.0))


def _leave_table(labels: IntArray, over: BoolArray) -> None:
    """Takes what is not over the table (H, W) from labels (H, W), in place, unless most of the label is."""
    areas = np.bincount(labels.reshape(-1))
    within = np.bincount(labels[over], minlength=len(areas))
    labels[~over & (within <= _MOSTLY_OVER * areas)[labels]] = 0


def _whole_things(
    image_rgb: npt.NDArray[np.uint8],
    pieces: Pieces,
    depth: FloatArray,
    heights: FloatArray,
    limits: FloatArray,
    plane: Plane,
    intrinsics: CameraIntrinsics,
) -> npt.NDArray[np.int64]:
    """(count + 1,) which thing each label belongs to: fragments of one have one, bulges of the plane 0."""
    some, height, limit = (np.ascontiguousarray(a[::2, ::2]) for a in (pieces.labels, heights, limits))
    count = pieces.count
    table = np.where(_rises_clearly(some, count, height, limit), np.arange(count + 1), 0)
    if np.count_nonzero(table) < 2:
        return table
    if not table[1:].all():
        clusters.relabel(some, table)
    feet = plane.feet(depth, intrinsics, 2)
    fragments = describe(some, count, feet, height, np.ascontiguousarray(image_rgb[::2, ::2]))
    return roots(count, fragments, pieces.seams, reach_px=_REACH_PX)[table]


def _rises_clearly(labels: IntArray, count: int, heights: FloatArray, limits: FloatArray) -> BoolArray:
    """(count + 1,) which labels somewhere rise clearly above the noise; the others are the plane's own."""
    flat = labels.reshape(-1)
    where = np.flatnonzero(flat > 0)
    which = flat[where]
    high = heights.reshape(-1)[where] > np.float32(_CLEARLY_ABOVE) * limits.reshape(-1)[where]
    return np.bincount(which[high], minlength=count + 1) > _CLEAR_SHARE * np.bincount(
        which, minlength=count + 1
    )
