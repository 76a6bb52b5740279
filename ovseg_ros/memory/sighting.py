"""What one frame gives to memory: the things in it, in a fixed frame, and what the camera could see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.space import Rigid
from ovseg_ros.memory.entry import Floats, Vectors


@dataclass(frozen=True, eq=False)
class Sighting:
    """One tracked mask of one frame.

    Attributes:
        track: camera and number of the track, the same for the same thing from frame to frame.
        position: (3,) the middle of its upright box in the fixed frame, metres.
        covariance: (3, 3) of that, m².
        size: (3,) full sides of that box, metres.
        orientation: (4,) quaternion x y z w of that box.
        embedding: (D,) unit.
        words: what it is called in this frame, with scores in [0, 1]; none where no word fits.
        surface: (P, 3) points of its visible surface in the fixed frame, metres.
        is_whole: False where the image's edge or something before it hides a part.
        crop: makes a JPEG of it, None where pictures are not kept.
        clarity: how much such a picture shows, above 0: of two of one thing the larger and sharper has more.
    """

    track: tuple[str, int]
    position: Floats
    covariance: Floats
    size: Floats
    orientation: Floats
    embedding: Vectors
    words: Mapping[str, float] = field(default_factory=dict)
    surface: Vectors = field(default_factory=lambda: np.zeros((0, 3), np.float32), repr=False)
    is_whole: bool = True
    crop: Callable[[], bytes] | None = field(default=None, repr=False)
    clarity: float = 0.0


@dataclass(frozen=True, eq=False)
class View:
    """What a camera saw.

    Attributes:
        stamp: of the image, seconds since the epoch.
        frame_id: the fixed frame.
        camera: from the camera's optical frame to it.
        depth_m: (H, W) float32 metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
    """

    stamp: float
    frame_id: str
    camera: Rigid
    depth_m: Vectors
    intrinsics: CameraIntrinsics

    def pixels_of(self, points: Vectors | Floats) -> tuple[Floats, Floats]:
        """Where points of the fixed frame are in the image.

        Args:
            points: (P, 3) metres.

        Returns:
            (P, 2) columns and rows, and (P,) metres along the optical axis, negative behind the camera.
        """
        in_camera = (np.asarray(points, np.float64) - self.camera.translation_m) @ self.camera.rotation
        away = in_camera[:, 2]
        k = self.intrinsics
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = k.fx * in_camera[:, 0] / away + k.cx
            rows = k.fy * in_camera[:, 1] / away + k.cy
        return np.stack([columns, rows], axis=1), away
