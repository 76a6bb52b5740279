"""Tiny data sets on disk: squares of red, green and blue whose truth is known pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from core_fixtures import ColourEncoder
from PIL import Image

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions

COLOURS = {"red": (230, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230)}
GREY = (128, 128, 128)


def write_image(path: Path, values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values)).save(path)


def quarters(names: Sequence[str], side: int = 16) -> np.ndarray:
    """(side, side, 3): four squares in these colours, row by row; "" is grey."""
    image = np.zeros((side, side, 3), np.uint8)
    half = side // 2
    for i, name in enumerate(names):
        rows, columns = slice(i // 2 * half, (i // 2 + 1) * half), slice(i % 2 * half, (i % 2 + 1) * half)
        image[rows, columns] = COLOURS.get(name, GREY)
    return image


def values(numbers: Sequence[int], side: int = 16, dtype=np.uint8) -> np.ndarray:
    """(side, side): the same four squares with these numbers."""
    half = side // 2
    return np.kron(np.asarray(numbers).reshape(2, 2), np.ones((half, half))).astype(dtype)


def write_folder(
    folder: Path,
    samples: Mapping[str, tuple[Sequence[str], Sequence[int]]],
    classes: Sequence[str] = ("red", "green", "blue"),
    unseen: Sequence[str] = (),
    split: str = "validation",
) -> Path:
    """A data set of the kind `folder`: name -> (colours shown, numbers in the label image)."""
    for name, (shown, numbers) in samples.items():
        write_image(folder / "images" / split / f"{name}.png", quarters(shown))
        write_image(folder / "annotations" / split / f"{name}.png", values(numbers))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(classes) + "\n")
    if unseen:
        (folder / "unseen.txt").write_text("\n".join(unseen) + "\n")
    return folder


class QuarterProposer:
    """The coloured quarters of a picture; grey ones are no things."""

    classifies = False

    def propose(self, frame: Frame) -> Proposals:
        height, width = frame.size_hw
        masks = []
        for rows in (slice(0, height // 2), slice(height // 2, height)):
            for columns in (slice(0, width // 2), slice(width // 2, width)):
                if np.ptp(frame.image_rgb[rows, columns].reshape(-1, 3).mean(axis=0)) > 60:
                    mask = torch.zeros((height, width), dtype=torch.bool)
                    mask[rows, columns] = True
                    masks.append(mask)
        return (
            Proposals(torch.stack(masks), torch.ones(len(masks))) if masks else Proposals.empty(height, width)
        )


class Colours(ColourEncoder):
    """Also embeds regions that are shown with their background: by the mean colour of the box."""

    def encode_regions(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        return super().encode_regions(
            pixels, torch.ones_like(pixels[:, :1]) if region_masks is None else region_masks
        )


def segmenter(**changes) -> OpenVocabularySegmenter:
    """Names coloured quarters by their colour."""
    options = SegmenterOptions(**({"threshold": 0.5, "min_mask_pixels": 1} | changes))
    return OpenVocabularySegmenter(QuarterProposer(), Colours(), options)
