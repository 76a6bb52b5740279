"""A colour camera that pans over real photographs, and masks of what it sees that move with them.

The photographs are scikit-image's, side by side; the masks are superpixels of all of them together
(Felzenszwalb and Huttenlocher, IJCV 2004), so a thing in two frames has the same mask in both.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.errors import ConfigError, install_cure

WORDS = ("cup", "spoon", "cat", "woman", "flag", "helmet", "table", "rocket")
PANORAMA_FRAMES = 30
PERIOD_NS = 66_666_667
"""Between frames: 15 a second."""

_PHOTOGRAPHS = ("coffee", "astronaut", "chelsea")
_STEP = 1 / 80  # of a frame's width, from frame to frame: 8 of 640 pixels
_SCALE, _LEAST_SHARE = 100.0, 0.003  # with these a frame of 640x480 has some 60 superpixels


class Panorama:
    """The frames, and the proposer of their masks.

    Attributes:
        frames: stamped, of one camera, each a step to the right of the one before; the first again after the
            last that fits.
        needs_depth: False.
    """

    needs_depth = False

    def __init__(self, size_hw: tuple[int, int], count: int) -> None:
        """Cuts `count` frames of that size.

        Raises:
            ConfigError: scikit-image is not installed, or a frame wider than the photographs.
        """
        self.size_hw = size_hw
        picture = _photographs(size_hw[0])
        self._superpixels = _superpixels(picture)
        step = max(1, round(_STEP * size_hw[1]))
        room = (picture.shape[1] - size_hw[1]) // step + 1
        if room < 1:
            raise ConfigError(
                f"expected frames at most {picture.shape[1] / size_hw[0]:.1f} times as wide as high"
            )
        self._left = {PERIOD_NS * (n + 1): step * (n % room) for n in range(count)}
        self.frames = [
            Frame(np.ascontiguousarray(self._window(picture, left)), stamp_ns=stamp, frame_id="camera")
            for stamp, left in self._left.items()
        ]

    def propose(self, frame: Frame) -> Proposals:
        """The superpixels in view that are not small, the largest of the panorama with the highest scores."""
        seen = self._window(self._superpixels, self._left[frame.stamp_ns])
        height, width = self.size_hw
        numbers = np.nonzero(np.bincount(seen.ravel()) >= max(1, _LEAST_SHARE * height * width))[0]
        masks = torch.from_numpy(seen[None] == numbers[:, None, None])  # (N,H,W)
        areas = np.bincount(self._superpixels.ravel())[numbers]
        return Proposals(masks, torch.from_numpy(areas / self._superpixels.size).float())

    def _window(self, picture: npt.NDArray[np.generic], left: int) -> npt.NDArray[np.generic]:
        return picture[:, left : left + self.size_hw[1]]


def _photographs(height: int) -> npt.NDArray[np.uint8]:
    """(height, W, 3) RGB: side by side."""
    try:
        from skimage import data
    except ImportError as error:
        raise ConfigError(
            f"the colour cases need scikit-image's photographs; {install_cure('garage')}, or name other cases"
        ) from error
    pictures = [getattr(data, name)() for name in _PHOTOGRAPHS]
    widths = [round(picture.shape[1] * height / picture.shape[0]) for picture in pictures]
    return np.hstack(
        [
            cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            for picture, width in zip(pictures, widths, strict=True)
        ]
    )


def _superpixels(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """(H, W): the number of each pixel's superpixel."""
    from skimage.segmentation import felzenszwalb

    smallest = int(_LEAST_SHARE * picture.shape[0] ** 2)
    numbers: npt.NDArray[np.int64] = felzenszwalb(picture, scale=_SCALE, sigma=0.8, min_size=smallest)
    return numbers
