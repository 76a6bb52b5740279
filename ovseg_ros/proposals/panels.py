"""What is set flush in a wall: doors, windows, pictures, boards, which depth alone cannot cut out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.frame import CameraIntrinsics, Frame, Proposals, Proposer
from ovseg_ros.errors import ConfigError

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

_CHROMA_WEIGHTS = np.array([0.25, 1.0, 1.0], np.float32)
"""L counts less than a and b: light falls unevenly on a wall, its paint is one colour."""


@dataclass(frozen=True)
class WallPanelsOptions:
    """What counts as a wall and as a panel.

    Attributes:
        min_wall_area: smallest wall as a share of the image, in (0, 1].
        min_panel_area: smallest panel as a share of the image, in (0, 1].
        flatness: a point is in the wall's plane if it is nearer to it than this share of its distance, > 0.
        min_flat: share of a mask's points that must be in the plane for it to be a wall, in (0, 1].
        seed: of the plane search; the same frame gives the same masks.
    """

    min_wall_area: float = 0.05
    min_panel_area: float = 0.01
    flatness: float = 0.02
    min_flat: float = 0.7
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("min_wall_area", "min_panel_area", "min_flat"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"want {name} in (0, 1], got {getattr(self, name)}")
        if not self.flatness > 0:
            raise ConfigError(f"want flatness > 0, got {self.flatness}")


class WallPanels:
    """Adds to another generator's masks those parts of flat ones that have a colour of their own.

    A mask of another generator that is large, flat and cut off by the image's edge is a wall. Its pixels are
    split in two by colour (Otsu's threshold on their first principal component), and each connected part of
    enough pixels becomes a mask of its own, the wall's score times the share of its box that it fills. The
    wall's mask stays.
    """

    def __init__(self, inner: Proposer, options: WallPanelsOptions | None = None) -> None:
        self.inner = inner
        self.options = WallPanelsOptions() if options is None else options

    def propose(self, frame: Frame) -> Proposals:
        """The inner generator's masks, then the panels; just the former without depth or intrinsics."""
        found = self.inner.propose(frame)
        if frame.depth_m is None or frame.intrinsics is None or len(found) == 0:
            return found
        masks, scores = [], []
        pixels = frame.image_rgb.shape[0] * frame.image_rgb.shape[1]
        for mask, score in zip(found.masks.numpy(), found.scores.tolist(), strict=True):
            if mask.sum() < self.options.min_wall_area * pixels or not _reaches_edge(mask):
                continue
            if not self._is_flat(mask, frame.depth_m, frame.intrinsics):
                continue
            for panel in self._panels(mask, frame.image_rgb, int(self.options.min_panel_area * pixels)):
                masks.append(panel)
                scores.append(score * _fill(panel))
        if not masks:
            return found
        return Proposals(
            torch.cat([found.masks, torch.from_numpy(np.stack(masks))]),
            torch.cat([found.scores, torch.tensor(scores, dtype=found.scores.dtype)]),
        )

    def _is_flat(self, mask: BoolArray, depth_m: FloatArray, intrinsics: CameraIntrinsics) -> bool:
        """Whether most of a mask's points lie near one plane (RANSAC over 1000 of them, 64 trials)."""
        rng = np.random.default_rng(self.options.seed)
        rows, columns = np.nonzero(mask & np.isfinite(depth_m) & (depth_m > 0))
        if len(rows) < 100:
            return False
        drawn = rng.choice(len(rows), size=min(1000, len(rows)), replace=False)
        z = depth_m[rows[drawn], columns[drawn]].astype(np.float64)
        x = (columns[drawn] - intrinsics.cx) / intrinsics.fx * z
        y = (rows[drawn] - intrinsics.cy) / intrinsics.fy * z
        points = np.stack([x, y, z], axis=1)  # (M,3)
        corners = points[rng.integers(len(points), size=(64, 3))]  # (64,3,3)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = normals / np.maximum(lengths, 1e-9)
        distances = np.abs((points[None] - corners[:, :1]) @ normals[:, :, None])[..., 0]  # (64,M)
        share = (distances < self.options.flatness * z).mean(axis=1)
        share[lengths[:, 0] < 1e-6] = 0.0  # three points in a line are no plane
        return bool(share.max() >= self.options.min_flat)

    @staticmethod
    def _panels(mask: BoolArray, image_rgb: npt.NDArray[np.uint8], least: int) -> list[BoolArray]:
        """Connected parts of a mask, of at least `least` pixels, on either side of its colour threshold."""
        smooth = cv2.bilateralFilter(image_rgb, 7, 25, 5)
        colours = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)[mask].astype(np.float32) * _CHROMA_WEIGHTS  # (M,3)
        centred = colours - colours.mean(axis=0)
        _, axes = np.linalg.eigh(centred.T @ centred)
        along = centred @ axes[:, -1]  # (M,), eigenvalues ascend
        low, high = np.percentile(along, [1, 99])
        levels = np.clip((along - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
        threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        bright = np.zeros(mask.shape, bool)
        bright[mask] = levels > threshold
        panels = []
        kernel = np.ones((5, 5), np.uint8)
        for side in (bright, mask & ~bright):
            opened = cv2.morphologyEx(side.astype(np.uint8), cv2.MORPH_OPEN, kernel)
            count, parts, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
            for part in range(1, count):
                if stats[part, cv2.CC_STAT_AREA] >= least:
                    panels.append(parts == part)
        return panels


def _reaches_edge(mask: BoolArray) -> bool:
    """Whether a mask goes on beyond the image."""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _fill(mask: BoolArray) -> float:
    """Share of its tight box that a mask fills, in (0, 1]."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(mask.sum() / ((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)))
