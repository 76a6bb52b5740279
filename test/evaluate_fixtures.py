"""A tiny recording of coloured boxes, and a segmenter that finds them."""

from __future__ import annotations

import numpy as np
import torch
from core_fixtures import ColourEncoder

from ovseg_ros.core.frame import CameraIntrinsics, Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.evaluate.recording import RecordedFrame

H, W = 60, 80
CAMERA = CameraIntrinsics(70.0, 70.0, 40.0, 30.0, W, H)
BOXES = {1: (slice(5, 30), slice(5, 30)), 2: (slice(30, 55), slice(50, 75)), 3: (slice(5, 15), slice(60, 70))}
COLOURS = {1: (230, 20, 20), 2: (20, 200, 20), 3: (20, 20, 230)}
NAMES = {1: "red", 2: "green", 3: "blue"}


def recorded(index: int, shown=(1, 2, 3), names=None) -> RecordedFrame:
    """Red 25x25, green 25x25 and blue 10x10 (below MIN_PIXELS) on grey."""
    image = np.full((H, W, 3), 128, np.uint8)
    instances = np.zeros((H, W), np.uint16)
    for i in shown:
        image[BOXES[i]] = COLOURS[i]
        instances[BOXES[i]] = i
    depth = np.ones((H, W), np.float32)
    frame = Frame(image, depth, CAMERA, stamp_ns=10**9 * (index + 1))
    return RecordedFrame(
        frame, instances, NAMES if names is None else names, {1: ("crimson",), 2: ("blue", "scarlet")}
    )


class BoxProposer:
    """The boxes that have colour; the red one can be given a quarter too small."""

    def __init__(self, red_rows: int = 25) -> None:
        self.red_rows = red_rows

    def propose(self, frame: Frame) -> Proposals:
        masks = []
        for i, (rows, columns) in BOXES.items():
            patch = frame.image_rgb[rows, columns]
            if np.ptp(patch.reshape(-1, 3).mean(axis=0)) > 60:
                mask = torch.zeros((H, W), dtype=torch.bool)
                mask[rows, columns] = True
                if i == 1:
                    mask[5 + self.red_rows :] = False
                masks.append(mask)
        return Proposals(torch.stack(masks), torch.ones(len(masks))) if masks else Proposals.empty(H, W)


def segmenter(red_rows: int = 25) -> OpenVocabularySegmenter:
    options = SegmenterOptions(threshold=0.6, background=("grey", "dust"), background_max_similarity=1.0)
    encoder = ColourEncoder()
    encoder.words["scarlet"] = 0
    return OpenVocabularySegmenter(BoxProposer(red_rows), encoder, options)
