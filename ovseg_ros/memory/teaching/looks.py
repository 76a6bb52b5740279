"""What of a region makes one thing recognisable among others of its kind: embedding, colours, size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.colours import palette
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.maps import boxed_masks, shared_pixels
from ovseg_ros.core.space import object_points
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.memory.entry import Example, Floats, Vectors

LEAST_POINTS = 30
"""With depth a thing needs to have a size."""

OTHER_THING = 0.2
"""Of the smaller mask's pixels two regions share less where they show two things."""

MOST_OTHERS = 16
"""Of the regions beside an example are kept: what is unlike it is never taken for it."""


@dataclass(frozen=True, eq=False)
class Looks:
    """How N regions of one frame look.

    Attributes:
        space: whose embeddings these are: only those of one space can be compared.
        embeddings: (N, D) float32 unit rows, zeros where the encoder has not seen a region.
        palettes: (N, C) float32, see `core.colours.palette`.
        sizes_m: (N,) root mean square distance of a region's visible points from their middle, metres; NaN
            where depth is not known.
        mask_scores: (N,) in [0, 1], how sure the proposer is of each mask.
        within: (N, N) in [0, 1], of the smaller mask's pixels that two have in common.
    """

    space: str
    embeddings: Vectors
    palettes: Vectors
    sizes_m: Floats
    mask_scores: Floats
    within: Floats

    def __post_init__(self) -> None:
        count = len(self.embeddings)
        got = [a.shape for a in (self.palettes, self.sizes_m, self.mask_scores, self.within)]
        if self.embeddings.ndim != 2 or [g[0] for g in got] != [count] * 4 or got[3] != (count, count):
            raise InvalidInputError(f"expected all of N regions, got {self.embeddings.shape} and {got}")

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def sized(self) -> bool:
        """Whether the size of any region is known."""
        return not np.isnan(self.sizes_m).all()

    def apart(self, region: int) -> npt.NDArray[np.bool_]:
        """(N,) bool: the regions that show another thing than this one, not a part or the whole of it."""
        return np.asarray(self.within[region] < OTHER_THING)

    def example(
        self, region: int, name: str, shown: float, *, crop: bytes | None = None, key: str = ""
    ) -> Example:
        """One region as an example of a name, with the rest of the frame as what it is not.

        Args:
            region: which of N; its mask should show the whole thing and nothing else.
            name: see `Example`, as are the others.
            shown: when.
            crop: a picture of it.
            key: the entry it is.

        Raises:
            InvalidInputError: there is no such region, or it was not embedded.
        """
        if not 0 <= region < len(self) or not self.embeddings[region].any():
            raise InvalidInputError(
                f"expected a region that was embedded, 0 to {len(self) - 1}, got {region}; show the thing "
                "larger, or draw a box around it"
            )
        size_m = float(self.sizes_m[region])
        alike = self.embeddings @ self.embeddings[region]
        others = np.flatnonzero(self.apart(region) & self.embeddings.any(axis=1))
        others = others[np.argsort(-alike[others], kind="stable")][:MOST_OTHERS]
        return Example(
            name,
            self.space,
            self.embeddings[region],
            shown,
            crop,
            key,
            palette=self.palettes[region],
            size_m=None if np.isnan(size_m) else size_m,
            others=self.embeddings[others],
            other_palettes=self.palettes[others],
        )


def looks_of(embedded: EmbeddedFrame, space: str, regions: Sequence[int] | None = None) -> Looks:
    """How the regions of a frame look.

    Args:
        embedded: from `OpenVocabularySegmenter.embed`.
        space: a name for who embedded it.
        regions: some of its masks; all when None.
    """
    which = list(range(len(embedded)) if regions is None else regions)
    masks = embedded.masks.numpy()[which]
    frame = embedded.frame
    boxed = boxed_masks(masks)
    colours = [palette(frame.image_rgb, mask) for mask in boxed]
    sizes = np.full(len(which), np.nan)
    if frame.depth_m is not None and frame.intrinsics is not None:
        for i, mask in enumerate(boxed):
            x0, y0, x1, y1 = mask.box_xyxy
            points = object_points(frame.depth_m, frame.intrinsics, masks[i], (slice(y0, y1), slice(x0, x1)))
            if len(points) >= LEAST_POINTS:
                sizes[i] = np.sqrt(points.var(axis=0, dtype=np.float64).sum())
    area = np.array([mask.area for mask in boxed], np.float64)
    shared = shared_pixels(boxed) / np.maximum(np.minimum(area[:, None], area[None]), 1)
    return Looks(
        space,
        embedded.embeddings.detach().cpu().float().numpy()[which],
        np.stack(colours) if colours else np.zeros((0, 0), np.float32),
        sizes,
        embedded.mask_scores.detach().cpu().double().numpy()[which],
        shared.reshape(len(which), len(which)),
    )
