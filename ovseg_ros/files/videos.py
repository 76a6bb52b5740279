"""Videos: films that OpenCV reads, one frame after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.pictures import MAX_PIXELS


def readable(path: str | Path) -> str:
    """A path, or a text with paths in it, that can be written as UTF-8, whatever bytes were in it."""
    return os.fsencode(path).decode("utf-8", errors="replace")


def open_video(path: Path) -> cv2.VideoCapture:
    """A film, opened; whoever asks for it releases it.

    Raises:
        InvalidInputError: empty, damaged, or of a format or a name that OpenCV cannot do with.
    """
    if not path.stat().st_size:
        raise InvalidInputError(f"expected a video, {path} is empty (0 bytes)")
    if readable(path).encode() != os.fsencode(path):  # OpenCV would crash
        raise InvalidInputError(f"expected a video whose name is UTF-8, got {readable(path)}; rename it")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise InvalidInputError(
            f"the video {path} cannot be opened: damaged, cut off or of a format unknown to OpenCV"
        )
    return capture


def stamp_ns(capture: cv2.VideoCapture) -> int:
    """The time of the frame that was grabbed last, in nanoseconds from the start."""
    return round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)


def decoded(
    capture: cv2.VideoCapture, stamp: int, *, max_pixels: int = MAX_PIXELS, cure: str = "make it smaller"
) -> Frame:
    """The frame that was grabbed last.

    Args:
        capture: the film.
        stamp: the frame's time in nanoseconds.
        max_pixels: larger frames are refused.
        cure: of too many pixels.

    Raises:
        InvalidInputError: it cannot be decoded, or has more than `max_pixels`.
    """
    good, image_bgr = capture.retrieve()
    if not good or image_bgr is None:
        raise InvalidInputError("this frame of the video cannot be decoded")
    height, width = image_bgr.shape[:2]
    if height * width > max_pixels:
        raise InvalidInputError(
            f"expected at most {max_pixels / 1e6:g} million pixels, got {width}x{height}; {cure}"
        )
    return Frame(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), stamp_ns=stamp)


def read_video(path: Path) -> Iterator[Frame]:
    """All frames of a film in order; it is opened at once, and decoded as it is asked for.

    Raises:
        InvalidInputError: see `open_video` and `decoded`, or no frame is in it.
    """
    return _frames(path, open_video(path))


def _frames(path: Path, capture: cv2.VideoCapture) -> Iterator[Frame]:
    empty = True
    try:
        while capture.grab():
            empty = False
            yield decoded(capture, stamp_ns(capture))
    finally:
        capture.release()
    if empty:
        raise InvalidInputError(f"the video {path} holds no frame that can be read")
