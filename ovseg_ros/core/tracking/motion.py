"""What moved between two frames of one camera: parts of it, or all of it at once (a cut)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.maps import BoxedMask

_LONG_SIDE = 160  # pixels of the small image
_SHORTEST = 32  # the flow's pyramid needs so many
_FLAT = 2.0  # grey levels of deviation below which an image shows nothing

SmallImage = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
_NO_FLOW: Any = None  # OpenCV's stubs want an array where it takes None


@dataclass(frozen=True)
class Motion:
    """From one frame to the next.

    Attributes:
        flow: (h, w, 2) float32, where each pixel of the first small image went, in its pixels.
        scale_xy: pixels of the frame per pixel of the small image.
        likeness: correlation of the second image with the first, moved along the flow or left as it was,
            whichever is better, in [-1, 1]; 1 where either shows nothing. Light does not change it.
    """

    flow: FloatArray
    scale_xy: tuple[float, float]
    likeness: float

    @property
    def shift_xy(self) -> tuple[float, float]:
        """Motion of the whole image in pixels of the frame: the median over it."""
        x, y = _median(self.flow[::2, ::2].reshape(-1, 2))
        return float(x) * self.scale_xy[0], float(y) * self.scale_xy[1]

    def of_masks(self, masks: Sequence[BoxedMask]) -> FloatArray:
        """(N, 2) float32 pixels of the frame: where the masks of the first frame went.

        The median of the flow within each; that of the whole image for a mask that holds no pixel of the
        small one.
        """
        out = np.zeros((len(masks), 2), np.float32)
        height, width = self.flow.shape[:2]
        for i, mask in enumerate(masks):
            inside = _on_grid(mask, self.scale_xy, height, width)
            seen = len(inside[0]) > 0
            out[i] = _median(self.flow[inside]) * self.scale_xy if seen else self.shift_xy
        return out


def small_grey(frame: Frame) -> SmallImage:
    """(h, w) uint8, the frame in grey on about 160 pixels; small enough for pixel noise to average out."""
    height, width = frame.size_hw
    scale = _LONG_SIDE / max(height, width)
    size = max(round(width * scale), _SHORTEST), max(round(height * scale), _SHORTEST)
    image = np.ascontiguousarray(frame.image_rgb)
    shrinks = size[0] <= width and size[1] <= height
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


class MotionEstimator:
    """Dense optical flow on small images (DIS, Kroeger et al. 2016, arXiv 1603.03590), some 0.2 ms.

    Per mask its median is far better than one shift for the image: seen from a moving camera near things pass
    faster than far ones.
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def __call__(self, previous: SmallImage, current: SmallImage, size_hw: tuple[int, int]) -> Motion:
        """Motion between two small images (h, w) uint8 of frames of size_hw, both from `small_grey`."""
        height, width = previous.shape
        flow = np.asarray(self._dis.calc(previous, current, _NO_FLOW), dtype=np.float32)
        scale = size_hw[1] / width, size_hw[0] / height
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        moved: Any = cv2.remap(current, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
        likeness = max(_correlation(previous, current), _correlation(previous, moved))
        return Motion(flow, scale, likeness)


def _correlation(first: SmallImage, second: SmallImage) -> float:
    a, b = first.astype(np.float32), second.astype(np.float32)
    a -= a.mean()
    b -= b.mean()
    deviation = float(np.sqrt((a * a).mean())), float(np.sqrt((b * b).mean()))
    if min(deviation) < _FLAT:
        return 1.0  # a covered lens tells nothing
    return float((a * b).mean()) / (deviation[0] * deviation[1])


def _median(rows: FloatArray) -> FloatArray:
    """(2,) the upper median of each column of rows (M, 2), M >= 1; `np.median` takes ten times as long."""
    middle = len(rows) // 2
    return np.asarray(np.partition(rows, middle, axis=0)[middle], dtype=np.float32)


def _on_grid(
    mask: BoxedMask, scale_xy: tuple[float, float], height: int, width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of the small image whose middles lie in the mask."""
    x0, y0, x1, y1 = mask.box_xyxy
    columns, rows = (
        np.arange(max(int(low / scale), 0), min(int(np.ceil(high / scale)), end))
        for low, high, scale, end in ((x0, x1, scale_xy[0], width), (y0, y1, scale_xy[1], height))
    )
    x = ((columns + 0.5) * scale_xy[0]).astype(np.int64) - x0
    y = ((rows + 0.5) * scale_xy[1]).astype(np.int64) - y0
    fits_x, fits_y = (x >= 0) & (x < x1 - x0), (y >= 0) & (y < y1 - y0)
    at_y, at_x = np.nonzero(mask.crop[np.ix_(y[fits_y], x[fits_x])])
    return rows[fits_y][at_y], columns[fits_x][at_x]
