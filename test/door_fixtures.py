"""A finder over coloured squares, without networks, and one whose networks must never run."""

from __future__ import annotations

import numpy as np
import torch
from core_fixtures import ColourEncoder, FixedProposer

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.finder import Finder

HEIGHT, WIDTH = 40, 60
CAMERA = (50.0, 50.0, 30.0, 20.0)
RED, GREEN, SMALL_RED = (
    (slice(5, 25), slice(4, 24)),
    (slice(10, 30), slice(34, 54)),
    (slice(30, 36), slice(4, 10)),
)


def picture() -> np.ndarray:
    """A large red square, a green one and a small red one on grey."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[RED], image[GREEN], image[SMALL_RED] = (200, 0, 0), (0, 200, 0), (200, 0, 0)
    return image


def depth_m() -> np.ndarray:
    """(H, W) float32: everything 2 m away, the green square 1 m."""
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[GREEN] = 1.0
    return depth


def masks(*parts: tuple[slice, slice]) -> torch.Tensor:
    out = torch.zeros((len(parts), HEIGHT, WIDTH), dtype=torch.bool)
    for mask, part in zip(out, parts):
        mask[part] = True
    return out


class DepthProposer(FixedProposer):
    """Gives its masks for frames with depth alone."""

    needs_depth = True

    def propose(self, frame: Frame) -> Proposals:
        assert frame.depth_m is not None
        assert frame.intrinsics is not None
        return super().propose(frame)


class NeverProposer:
    """Stands for networks that no wrong argument may reach."""

    def __init__(self, needs_depth: bool = False) -> None:
        self.needs_depth = needs_depth

    def propose(self, frame: Frame) -> Proposals:
        raise AssertionError("a network ran")


class NeverEncoder(ColourEncoder):
    def encode_regions(self, *_: object) -> torch.Tensor:
        raise AssertionError("a network ran")

    def encode_text(self, *_: object) -> torch.Tensor:
        raise AssertionError("a network ran")


OPTIONS = SegmenterOptions(threshold=0.5, min_mask_pixels=1, background=())


def colour_finder(proposer: object | None = None) -> Finder:
    """Finds red, green and blue things; the large red mask is the surest, the small one the least."""
    if proposer is None:
        proposer = FixedProposer(masks(SMALL_RED, RED, GREEN), torch.tensor([0.5, 0.9, 0.8]))
    return Finder(OpenVocabularySegmenter(proposer, ColourEncoder(), OPTIONS, name="squares"))


def never_finder(needs_depth: bool = False) -> Finder:
    return Finder(OpenVocabularySegmenter(NeverProposer(needs_depth), NeverEncoder(), OPTIONS, name="never"))
