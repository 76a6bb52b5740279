"""Masks from registered depth: take away the plane things stand on, cut at depth jumps, sharpen with colour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.frame import CameraIntrinsics, Frame, Proposals
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.proposals import clusters, refine
from ovseg_ros.proposals.plane import Plane, choose_support, find_planes, pixel_rays

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class DepthClustersOptions:
    """How `DepthClusters` cuts a view into things.

    Attributes:
        plane_tolerance_m: a point this far from a plane, at 1 m, may still be noise of it, metres > 0. Only the
            search for planes uses it; what counts as standing out follows from the noise that is measured.
        plane_min_support: share of the known pixels the supporting plane must hold, in (0, 1].
        min_height_m: what rises less than this above the plane is part of it, metres > 0.
        jump_m: smallest step in depth that separates two things, metres > 0.
        min_area: smallest mask as a share of the image, in [0, 1]; 0.0004 is 123 pixels of 640 x 480.
        max_area: largest mask as a share of the image, in (0, 1].
        overhang_m: how far beyond the edge of a table things may reach, metres >= 0.
        refine_px: width in pixels of the band along the outline in which colour decides; 0 leaves colour out.
        max_depth_m: points farther than this are unknown, metres > 0.
        seed: of the plane search; the same frame gives the same masks.
    """

    plane_tolerance_m: float = 0.008
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
                raise ConfigError(f"want {name} > 0 metres, got {value}")
        for name in ("plane_min_support", "max_area"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"want {name} in (0, 1], got {getattr(self, name)}")
        if not 0 <= self.min_area < self.max_area:
            raise ConfigError(f"want 0 <= min_area < max_area, got {self.min_area}, {self.max_area}")
        if not 0 <= self.overhang_m < float("inf"):
            raise ConfigError(f"want overhang_m >= 0 metres, got {self.overhang_m}")
        if not 0 <= self.refine_px <= 20:
            raise ConfigError(f"want refine_px in [0, 20], got {self.refine_px}")
        if self.seed < 0:
            raise ConfigError(f"want seed >= 0, got {self.seed}")


@dataclass(frozen=True)
class DepthClusters:
    """Proposes what stands on the table or floor, one mask per thing, from an RGB-D frame.

    No learned part. Things are cut where depth jumps, so two that touch at the same depth come out as one.
    """

    options: DepthClustersOptions = field(default_factory=DepthClustersOptions)
    needs_depth: ClassVar[bool] = True  # the node then hands over no frame without depth and intrinsics

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
        height, width = depth.shape
        plane = self._support(depth, intrinsics)
        if plane is None:
            rising, heights, noise = depth > 0, None, 0.0
        else:
            heights = plane.heights(depth, intrinsics)
            rising = self._standing_out(depth, heights, plane, intrinsics)
            noise = plane.noise_m
        labels = self._cluster(depth, rising, plane, noise, intrinsics)
        if heights is not None and self.options.refine_px:
            labels = refine.refine_edges(frame.image_rgb, labels, heights, depth, band_px=self.options.refine_px)
        return self._proposals(labels, rising, height, width)

    def _checked(self, frame: Frame) -> tuple[FloatArray, CameraIntrinsics]:
        """Depth with 0 for unknown, and intrinsics."""
        if frame.depth_m is None:
            raise InvalidInputError(
                "depth_clusters wants depth registered to the image, got none; connect the depth topic "
                "(depth_topic:=...) or choose a preset whose proposals need no depth"
            )
        if frame.intrinsics is None:
            raise InvalidInputError(
                "depth_clusters wants the camera's intrinsics, got none; connect camera_info (camera_info_topic:=...)"
            )
        if (frame.intrinsics.height, frame.intrinsics.width) != frame.depth_m.shape:
            raise InvalidInputError(
                f"want intrinsics of the image, {frame.depth_m.shape[1]}x{frame.depth_m.shape[0]}, got "
                f"{frame.intrinsics.width}x{frame.intrinsics.height}; use the camera_info of the colour camera"
            )
        known = (frame.depth_m > 0) & (frame.depth_m < self.options.max_depth_m)  # NaN and inf fail both
        return np.where(known, frame.depth_m, np.float32(0)), frame.intrinsics

    def _support(self, depth: FloatArray, intrinsics: CameraIntrinsics) -> Plane | None:
        planes = find_planes(
            depth,
            intrinsics,
            tolerance_m=self.options.plane_tolerance_m,
            min_support=self.options.plane_min_support,
            rng=np.random.default_rng(self.options.seed),
        )
        return choose_support(planes)

    def _standing_out(
        self, depth: FloatArray, heights: FloatArray, plane: Plane, intrinsics: CameraIntrinsics
    ) -> BoolArray:
        """(H, W): above the plane by more than noise and, if the plane has an edge, above the plane itself."""
        least = refine.height_limit(depth, self.options.min_height_m, plane.noise_m)
        known = depth > 0
        rising = (heights > least) & known
        if plane.noise_m > 0.0008:  # single noisy pixels would pass; neighbours agree on a thing
            rising = cv2.medianBlur(rising.view(np.uint8), 5).view(bool) & known
        below = known & (heights < -np.maximum(0.03, 3 * least))
        if below.mean() > 0.004:
            on_plane = known & (np.abs(heights) < least)
            rising &= self._above_extent(depth, rising, on_plane, plane, intrinsics)
        return rising

    def _above_extent(
        self, depth: FloatArray, rising: BoolArray, on_plane: BoolArray, plane: Plane, intrinsics: CameraIntrinsics
    ) -> BoolArray:
        """(H, W): pixels whose foot on the plane is within the table's outline, `overhang_m` added."""
        _, parts, stats, _ = cv2.connectedComponentsWithStats(on_plane.view(np.uint8), connectivity=4)
        largest = stats[1:, cv2.CC_STAT_AREA].max(initial=0)
        big = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] > 0.1 * largest)
        table = np.isin(parts, big[big > 0])[::4, ::4]
        points = plane_points(depth, plane, intrinsics)
        corners = points[::4, ::4][table]
        if len(corners) < 3:
            return np.ones_like(rising)
        low, cell = corners.min(axis=0) - 0.3, 0.01 * max(1.0, float(np.ptp(corners, axis=0).max()) / 4.0)
        size = np.ceil((corners.max(axis=0) + 0.3 - low) / cell).astype(int) + 1
        outline = np.zeros((size[1], size[0]), np.uint8)
        hull = cv2.convexHull(((corners - low) / cell).astype(np.int32))
        cv2.fillConvexPoly(outline, hull, 1)
        reach = 2 * int(np.ceil(self.options.overhang_m / cell)) + 1
        outline = cv2.dilate(outline, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
        where = np.flatnonzero(rising)
        cells = ((points.reshape(-1, 2)[where] - low) / cell).astype(np.int32)
        within = ((cells >= 0) & (cells < size)).all(axis=1)
        within[within] = outline[cells[within, 1], cells[within, 0]] > 0
        out = np.zeros(rising.size, bool)
        out[where[within]] = True
        return out.reshape(rising.shape)

    def _cluster(
        self,
        depth: FloatArray,
        rising: BoolArray,
        plane: Plane | None,
        noise_m: float,
        intrinsics: CameraIntrinsics,
    ) -> IntArray:
        """(H, W) int32 labels, 0 = none, not consecutive."""
        jumps = clusters.depth_jumps(
            depth, rising, jump_m=self.options.jump_m, noise_m=noise_m, focal_px=intrinsics.fx
        )
        fragment = max(8, int(0.25 * self.options.min_area * depth.size))
        labels, count = clusters.connect(rising, depth, jumps, fragment)
        labels = clusters.absorb(labels, rising, depth, reach_m=0.03)
        if plane is not None and count > 1:
            points = plane_points(depth, plane, intrinsics)
            footprints = clusters.footprints_of(labels, count, points)
            labels = clusters.join_contained(labels, count, footprints, share=0.8, slack_m=0.004)
        return labels

    def _proposals(self, labels: IntArray, rising: BoolArray, height: int, width: int) -> Proposals:
        """Masks of the labels that are large enough, surest first."""
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        least = max(20.0, self.options.min_area * height * width)
        keep = np.flatnonzero((areas >= least) & (areas <= self.options.max_area * height * width))
        if not len(keep):
            return Proposals.empty(height, width)
        scores = areas[keep] / (areas[keep] + 4 * least)
        order = np.argsort(-scores, kind="stable")
        masks = labels[None] == keep[order, None, None].astype(np.int32)
        return Proposals(torch.from_numpy(masks), torch.from_numpy(scores[order].astype(np.float32)))


def plane_points(depth_m: FloatArray, plane: Plane, intrinsics: CameraIntrinsics) -> FloatArray:
    """(H, W, 2) float32 metres: the points' feet on the plane, in two axes of it."""
    rays_x, rays_y = pixel_rays(intrinsics, *depth_m.shape)
    axes = plane.axes().astype(np.float32)
    out = np.empty((*depth_m.shape, 2), np.float32)
    for k in range(2):
        out[..., k] = ((axes[1, k] * rays_y + axes[2, k])[:, None] + (axes[0, k] * rays_x)[None]) * depth_m
    return out
