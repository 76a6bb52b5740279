"""What goes through the chain: a camera frame, the masks proposed on it, and the two protocols.

Importing it imports no torch: files are read, and what is wrong with them is said, without.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError

if TYPE_CHECKING:
    import torch

    from ovseg_ros.core.scene import Scene
    from ovseg_ros.core.soft_masks import SoftMasks

__all__ = ["CameraIntrinsics", "Frame", "Proposals", "Proposer", "RegionEncoder"]


@dataclass(frozen=True)
class Frame:
    """One moment of one camera.

    Attributes:
        image_rgb: (H, W, 3) uint8, RGB, never empty.
        depth_m: (H, W) float32 metres along the optical axis, registered to the image; 0, NaN and
            inf mean unknown. None without a depth camera.
        intrinsics: of the colour image (and so of the registered depth); None when unknown.
        stamp_ns: time of exposure in nanoseconds, 0 when unknown.
        frame_id: name of the optical frame (x right, y down, z forward).
    """

    image_rgb: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32] | None = None
    intrinsics: CameraIntrinsics | None = None
    stamp_ns: int = 0
    frame_id: str = ""

    def __post_init__(self) -> None:
        image = self.image_rgb
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise InvalidInputError(f"expected image_rgb (H,W,3) uint8, got {image.shape} {image.dtype}")
        if self.depth_m is not None:
            if self.depth_m.shape != image.shape[:2]:
                raise InvalidInputError(
                    f"expected depth registered to the image, {image.shape[:2]}, got {self.depth_m.shape}; "
                    "use the depth topic registered to colour (for example aligned_depth_to_color)"
                )
            if self.depth_m.dtype != np.float32:
                raise InvalidInputError(f"expected depth_m float32 metres, got {self.depth_m.dtype}")

    @property
    def size_hw(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.image_rgb.shape[0], self.image_rgb.shape[1]


@dataclass(frozen=True)
class Proposals:
    """Class-agnostic masks of one frame.

    Attributes:
        masks: (N, H, W) bool, N >= 0; masks may overlap. A mask may be empty where `soft` is given: nothing
            of it reached the threshold.
        scores: (N,) float32 in [0, 1], how sure the generator is that the mask is one thing.
        soft: the N masks before the threshold; None from generators that have none.
        class_embeddings: (N, C) float32, what the generator itself thinks of each mask, in the space of the
            text tower it was trained with; None from generators that do not classify.
        non_object: (B, C) float32 rows that compete with the words where class embeddings are compared with
            text: MaskFormer's learned "no object". Given with `class_embeddings` or not at all.
        scale_shift: (N, 2) float32 of generators whose scores are absolute: a word's probability is
            sigmoid(scale · (cosine + shift)) of its class embedding, each word by itself; None where words
            compete. Given with `class_embeddings` or not at all.
        scene: what a network keeps of the frame that finds masks by words, see `core.scene.Scene`; then there
            are none yet. None from all others.
        object_ids: (N,) int64 of generators that follow things themselves: masks with one number, 1 and up,
            are one thing in the frames of one `Hints.memory`; 0 of a mask that is not followed. None from
            generators that know no frame but this one.
    """

    masks: torch.Tensor
    scores: torch.Tensor
    soft: SoftMasks | None = None
    class_embeddings: torch.Tensor | None = None
    non_object: torch.Tensor | None = None
    scale_shift: torch.Tensor | None = None
    scene: Scene | None = None
    object_ids: torch.Tensor | None = None

    def __post_init__(self) -> None:
        import torch

        if self.masks.ndim != 3 or self.masks.dtype != torch.bool:
            raise InvalidInputError(
                f"expected masks (N,H,W) bool, got {tuple(self.masks.shape)} {self.masks.dtype}"
            )
        if self.scores.shape != self.masks.shape[:1]:
            raise InvalidInputError(
                f"expected scores ({self.masks.shape[0]},), got {tuple(self.scores.shape)}"
            )
        if self.soft is not None and len(self.soft) != len(self):
            raise InvalidInputError(f"expected {len(self)} soft masks, got {len(self.soft)}")
        own, rivals = self.class_embeddings, self.non_object
        if own is not None and (own.ndim != 2 or own.shape[0] != len(self)):
            raise InvalidInputError(f"expected class_embeddings ({len(self)},C), got {tuple(own.shape)}")
        if rivals is not None and (own is None or rivals.ndim != 2 or rivals.shape[1] != own.shape[1]):
            raise InvalidInputError(
                f"expected non_object (B,C) beside class_embeddings (N,C), got {tuple(rivals.shape)} beside "
                f"{None if own is None else tuple(own.shape)}"
            )
        if self.object_ids is not None and self.object_ids.shape != self.scores.shape:
            raise InvalidInputError(f"expected object_ids ({len(self)},), got {tuple(self.object_ids.shape)}")
        odds = self.scale_shift
        if odds is not None and (own is None or odds.shape != (len(self), 2)):
            raise InvalidInputError(
                f"expected scale_shift ({len(self)},2) beside class_embeddings, got {tuple(odds.shape)} "
                f"beside {None if own is None else tuple(own.shape)}"
            )

    def __len__(self) -> int:
        return self.masks.shape[0]

    def take(self, index: torch.Tensor) -> Proposals:
        """Some of the masks with all that belongs to them, by (M,) int64 index or (N,) bool."""
        return Proposals(
            self.masks[index],
            self.scores[index],
            None if self.soft is None else self.soft.take(index),
            None if self.class_embeddings is None else self.class_embeddings[index],
            self.non_object,
            None if self.scale_shift is None else self.scale_shift[index],
            self.scene,
            None if self.object_ids is None else self.object_ids[index],
        )

    def check_size(self, frame: Frame, generator: object) -> None:
        """Refuses masks that are not of the frame's size; `generator` gave them.

        Raises:
            InvalidInputError: they are not.
        """
        size_hw = tuple(self.masks.shape[1:])
        if size_hw != frame.size_hw:
            raise InvalidInputError(
                f"expected proposals of size {frame.size_hw}, got {size_hw} from {type(generator).__name__}"
            )

    @classmethod
    def empty(cls, height: int, width: int) -> Proposals:
        """No masks on an image of height x width."""
        import torch

        return cls(torch.zeros((0, height, width), dtype=torch.bool), torch.zeros(0))


@dataclass(frozen=True)
class Hints:
    """What a generator may use on one frame; it need not.

    Attributes:
        boxes_xyxy: (M, 4) float32 left, top, right, bottom in pixels, on the image: where things that are
            followed should be now. None where nothing is followed.
        points_per_side: most points along each side of a grid of prompts, None for the generator's own.
        memory: where a generator keeps, under itself, what it remembers of this camera: the same mapping in
            frame after frame, an empty one after a cut. None for a picture that belongs to no video.
    """

    boxes_xyxy: torch.Tensor | None = None
    points_per_side: int | None = None
    memory: MutableMapping[object, Any] | None = None


NO_HINTS = Hints()


@runtime_checkable
class Proposer(Protocol):
    """A mask proposal generator, and what it declares of itself.

    One that has `propose(frame)` alone is as welcome: see `as_proposer`.
    """

    @property
    def needs_depth(self) -> bool:
        """Whether it can do nothing with a frame without depth and intrinsics."""
        ...

    @property
    def classifies(self) -> bool:
        """Whether its masks come with class embeddings."""
        ...

    @property
    def grid_points(self) -> int | None:
        """Points per side of the grid of prompts that it asks on video; None without one to be lowered."""
        ...

    def propose(self, frame: Frame, hints: Hints = NO_HINTS) -> Proposals:
        """Returns the masks of things in `frame`; zero masks when nothing stands out."""
        ...


class PlainGenerator:
    """A generator that has `propose(frame)` alone, as a `Proposer`."""

    grid_points = None

    def __init__(self, generator: Any) -> None:
        """`generator` may say `needs_depth` and `classifies`; both are False where it does not."""
        self._generator = generator
        self.needs_depth = bool(getattr(generator, "needs_depth", False))
        self.classifies = bool(getattr(generator, "classifies", False))

    def propose(self, frame: Frame, hints: Hints = NO_HINTS) -> Proposals:
        """The generator's masks; it gets no hints."""
        proposals: Proposals = self._generator.propose(frame)
        return proposals


def as_proposer(generator: Any) -> Proposer:
    """A generator of any kind with all that a `Proposer` declares; the one place that looks what it has."""
    return generator if isinstance(generator, Proposer) else PlainGenerator(generator)


@runtime_checkable
class RegionEncoder(Protocol):
    """Puts image regions and words into one space."""

    size: int
    embedding_dim: int
    logit_scale: float

    def encode_regions(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        """(N,3,S,S) CLIP-normalised pixels [and (N,1,S,S) masks] -> (N,D) unit rows."""
        ...

    def encode_text(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        """K labels -> (K,D) unit rows; repeated labels come from a cache."""
        ...
