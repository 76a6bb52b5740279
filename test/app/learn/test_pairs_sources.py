"""Pictures of `ovseg learn pairs` with depth beside them: which of their pixels are taken."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ovseg_ros.app.learn.pairs_sources import frame_loader
from ovseg_ros.files.pictures import STORED


def test_pictures_with_depth_are_taken_as_stored_and_it_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, depth = tmp_path / "images", tmp_path / "depth"
    images.mkdir()
    depth.mkdir()
    stored = np.arange(8 * 10 * 3, dtype=np.uint8).reshape(8, 10, 3)
    exif = Image.Exif()
    exif[0x0112] = 3
    for name in "ab":
        Image.fromarray(stored).save(images / f"{name}.png", exif=exif)
        cv2.imwrite(str(depth / f"{name}.png"), np.full((8, 10), 900, np.uint16))
    with caplog.at_level(logging.WARNING):
        with_depth = frame_loader(images, depth, None)
        for name in "ab":
            np.testing.assert_array_equal(with_depth(images / f"{name}.png").image_rgb, stored)
        alone = frame_loader(images, None, None)(images / "a.png")
    np.testing.assert_array_equal(alone.image_rgb, stored[::-1, ::-1])
    assert caplog.messages == [STORED]
