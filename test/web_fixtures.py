"""What the tests of `ovseg web` share: a segmenter that knows colours, and a page kept in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from core_fixtures import ColourEncoder
from PIL import Image

from ovseg_ros.app.web_inference import Inputs
from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions

HEIGHT, WIDTH = 48, 64
BOXES = {(255, 0, 0): (4, 4, 20, 20), (0, 255, 0): (4, 30, 24, 50), (0, 0, 255): (28, 10, 44, 40)}
"""Colour -> (top, left, bottom, right) in the picture of `colours`; red is 16x16, green 20x20, blue 16x30."""


def colours() -> np.ndarray:
    """(48, 64, 3) uint8: a red, a green and a blue rectangle on white."""
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for colour, (top, left, bottom, right) in BOXES.items():
        image[top:bottom, left:right] = colour
    return image


class ColourProposer:
    """One mask per pure colour that shows, in the order of `BOXES`; counts how often it is asked."""

    def __init__(self, needs_depth: bool = False) -> None:
        self.needs_depth, self.calls = needs_depth, 0

    def propose(self, frame: Frame) -> Proposals:
        self.calls += 1
        masks = [(frame.image_rgb == colour).all(axis=2) for colour in BOXES]
        masks = [mask for mask in masks if mask.any()]
        scores = torch.tensor([0.9, 0.8, 0.7])[: len(masks)]
        return Proposals(torch.from_numpy(np.array(masks, bool).reshape(-1, *frame.size_hw)), scores)


def colour_segmenter(needs_depth: bool = False, **options: object) -> OpenVocabularySegmenter:
    given = {"min_mask_pixels": 1, "background": ("black",)} | options
    return OpenVocabularySegmenter(ColourProposer(needs_depth), ColourEncoder(), SegmenterOptions(**given))


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def inputs(image: Path | None, words: str = "red, green", **changes: object) -> Inputs:
    given = {"preset": "a", "proposals_from": None, "granularity": 0.0, "threshold": 0.5}
    return Inputs(image=image, words=words, **(given | changes))
