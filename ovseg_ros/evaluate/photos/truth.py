"""What is true on one photograph, beside the masks that are named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.maps import mask_iou
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import tidy_text
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.naming import TrueObject
from ovseg_ros.files.instances import Picture

_WITHIN_CROWD = 0.5
"""A mask of which so much lies in crowds is one of them."""


@dataclass(frozen=True)
class PhotoTruth:
    """The true objects of one photograph.

    Attributes:
        objects: G of them, crowds left out; those of too few pixels do not count.
        masks: (G, H, W) bool.
        crowd: (H, W) bool, all crowds.
        in_view: every word that is in the picture, those of crowds and of small objects included.
        complete: whether every object of the listed categories is labelled.
    """

    objects: tuple[TrueObject, ...]
    masks: npt.NDArray[np.bool_]
    crowd: npt.NDArray[np.bool_]
    in_view: frozenset[str]
    complete: bool

    @property
    def present(self) -> tuple[str, ...]:
        """The words of the objects that count."""
        return tuple(dict.fromkeys(one.names[0] for one in self.objects if one.counts))

    def iou(self, masks: torch.Tensor) -> npt.NDArray[np.float64]:
        """(N, G) of masks (N, H, W) with the objects."""
        return np.asarray(mask_iou(masks, self.masks), np.float64).reshape(len(masks), len(self.objects))

    def within_crowd(self, masks: torch.Tensor) -> npt.NDArray[np.bool_]:
        """(N,) which masks lie in crowds for the most part."""
        pixels = masks.numpy()
        areas = np.maximum(pixels.sum(axis=(1, 2)), 1)
        within: npt.NDArray[np.bool_] = (pixels & self.crowd).sum(axis=(1, 2)) >= _WITHIN_CROWD * areas
        return within


def truth_of(picture: Picture, min_pixels: int) -> PhotoTruth:
    """The truth about a picture; objects of fewer than `min_pixels` do not count."""
    masks, crowd = picture.masks()
    things = [one for one in picture.instances if not one.is_crowd]
    objects = tuple(
        TrueObject((tidy_text(one.category),), counts=int(mask.sum()) >= min_pixels)
        for one, mask in zip(things, masks, strict=True)
    )
    in_view = frozenset(tidy_text(one.category) for one in picture.instances)
    return PhotoTruth(objects, masks, crowd, in_view, picture.complete)


def embed_given(
    segmenter: OpenVocabularySegmenter,
    frame: Frame,
    masks: npt.NDArray[np.bool_],
    options: SegmenterOptions | None = None,
) -> EmbeddedFrame:
    """A frame with given masks in place of proposed ones, whatever their size and number.

    Args:
        segmenter: whose encoder looks at them.
        frame: the picture.
        masks: (N, H, W) bool; an empty one is an error.
        options: the segmenter's own when None.

    Raises:
        InvalidInputError: an empty mask.
    """
    chosen = segmenter.options if options is None else options
    if not masks.any(axis=(1, 2)).all():
        raise InvalidInputError("expected masks with at least one pixel each, got an empty one")
    given = torch.from_numpy(np.ascontiguousarray(masks))
    timings: dict[str, float] = {}
    return EmbeddedFrame(
        frame=frame,
        masks=given,
        mask_scores=torch.ones(len(given)),
        embeddings=segmenter.encode_masks(frame, given, chosen, timings),
        timings=timings,
        embedding_key=chosen.embedding_key,
    )


def own_iou(chosen: Sequence[int], count: int) -> npt.NDArray[np.float64]:
    """(len(chosen), count): each mask is one of `count` objects and no other."""
    return np.eye(count)[list(chosen)].reshape(len(chosen), count)
