"""What following looks at in a frame, and what it says about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F

from ovseg_ros.core.maps import BoxedMask, boxed_masks
from ovseg_ros.core.segmentation import Segmentation

FloatArray = npt.NDArray[np.float32]
Centroid = Callable[[int], npt.NDArray[np.float64] | None]


@dataclass(frozen=True)
class View:
    """What following looks at in one labelled frame of N masks.

    Attributes:
        image_rgb: (H, W, 3) uint8.
        masks: N masks, any may be empty.
        track_ids: N numbers, 0: not tracked.
        embeddings: (N, D) float32 unit rows, zeros where a mask was not encoded.
        may_be: N times whether a mask may be what was asked for, such as by its word.
        time_s: of the image, on any clock; one that goes back counts as one that stands.
        centroid: of a mask in metres, (3,), in the camera's frame; None where depth is not known.
        embedding_key: what embeddings were made by; those of another say nothing about these.
    """

    image_rgb: npt.NDArray[np.uint8]
    masks: Sequence[BoxedMask]
    track_ids: Sequence[int]
    embeddings: FloatArray
    may_be: Sequence[bool]
    time_s: float
    centroid: Centroid = lambda _: None
    embedding_key: object = None

    @staticmethod
    def of(
        segmentation: Segmentation,
        *,
        may_be: Sequence[bool] | None = None,
        time_s: float | None = None,
        centroid: Centroid = lambda _: None,
    ) -> View:
        """The view of a labelled frame.

        Where CLIP looks at no mask, as the generator names them itself, its class embeddings are compared.

        Args:
            segmentation: of the frame.
            may_be: N; None: the masks that have a label.
            time_s: None: the frame's stamp.
            centroid: see above.
        """
        embedded, frame = segmentation.embedded, segmentation.frame
        rows = embedded.embeddings
        if not bool(embedded.has_clip_embedding.any()) and embedded.class_embeddings is not None:
            rows = F.normalize(embedded.class_embeddings.float(), dim=-1)
        return View(
            frame.image_rgb,
            boxed_masks(segmentation.masks),
            segmentation.track_ids.tolist(),
            rows.detach().float().cpu().numpy(),
            (segmentation.label_index >= 0).tolist() if may_be is None else may_be,
            frame.stamp_ns * 1e-9 if time_s is None else time_s,
            centroid,
            embedded.embedding_key,
        )


class State(Enum):
    """What there is to say about the thing."""

    FOLLOWING = "following"
    HIDDEN = "hidden"
    LOST = "lost"


@dataclass(frozen=True)
class Whereabouts:
    """What one frame says about the thing.

    Attributes:
        state: FOLLOWING where it is in this frame.
        index: of its mask then, else None.
        age_s: since it was seen last, by the frames' times; 0 where it is in this one.
        look_again: tracks that the next frame should look at anew, see `VideoSegmenter.look_again`.
    """

    state: State
    index: int | None
    age_s: float
    look_again: tuple[int, ...] = ()
