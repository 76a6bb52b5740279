"""Coloured boxes on grey, a segmenter that finds them in pictures of any size, and the command with it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from core_fixtures import ColourEncoder
from PIL import Image

from ovseg_ros.app import segment
from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.errors import InvalidInputError

RED, GREEN, BLUE, GREY = (230, 20, 20), (20, 200, 20), (20, 20, 230), (128, 128, 128)
RED_BOX, GREEN_BOX = (slice(5, 30), slice(5, 30)), (slice(30, 55), slice(50, 75))


def picture(*boxes, size_hw=(60, 80)) -> np.ndarray:
    """Grey, with (rows and columns, colour) painted in."""
    image = np.full((*size_hw, 3), GREY, np.uint8)
    for where, colour in boxes or ((RED_BOX, RED), (GREEN_BOX, GREEN)):
        image[where] = colour
    return image


def save(path: Path, *boxes, **changes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(*boxes, **changes)).save(path)
    return path


class Blobs:
    """What is not grey, one mask per connected piece; refuses a picture that is black in its corner."""

    def __init__(self, needs_depth: bool = False) -> None:
        self.needs_depth = needs_depth
        self.frames: list[Frame] = []

    def propose(self, frame: Frame) -> Proposals:
        self.frames.append(frame)
        if not frame.image_rgb[0, 0].any():
            raise InvalidInputError("black corner")
        coloured = np.ptp(frame.image_rgb.astype(int), axis=2) > 60
        count, pieces = cv2.connectedComponents(coloured.astype(np.uint8))
        masks = [torch.from_numpy(pieces == i) for i in range(1, count) if (pieces == i).sum() >= 64]
        h, w = frame.size_hw
        return Proposals(torch.stack(masks), torch.ones(len(masks))) if masks else Proposals.empty(h, w)


def blob_segmenter(needs_depth: bool = False) -> OpenVocabularySegmenter:
    options = SegmenterOptions(threshold=0.6, background=("grey", "dust"), background_max_similarity=1.0)
    return OpenVocabularySegmenter(Blobs(needs_depth), ColourEncoder(), options)


def ovseg_segment(*arguments: object, segmenter: OpenVocabularySegmenter | None = None) -> int:
    """Runs the command with `blob_segmenter`, or the one given, in place of the preset's."""
    parser = argparse.ArgumentParser()
    segment.add_parser(parser.add_subparsers())
    options = parser.parse_args(["segment", *map(str, arguments)])
    return segment.run(options, lambda *_, **__: segmenter or blob_segmenter())


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def masks_in(folder: Path) -> dict:
    return json.loads((folder / "masks.json").read_text(encoding="utf-8"))


def files_in(folder: Path) -> set[str]:
    return {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()}


def write_video(path: Path, images: list[np.ndarray], rate_hz: float = 10.0) -> Path:
    """MPEG-4 by OpenCV; MJPG in .avi."""
    code = "MJPG" if path.suffix == ".avi" else "mp4v"
    height, width = images[0].shape[:2]
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), rate_hz, (width, height))
    assert film.isOpened()
    for image in images:
        film.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    film.release()
    return path
