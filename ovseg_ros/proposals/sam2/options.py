"""The settings of `proposals.sam2.proposer`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ovseg_ros.core.device import PRECISIONS
from ovseg_ros.core.engines import check_runtime
from ovseg_ros.errors import ConfigError

SIDE_STEP = 32
"""Sides of the network's input are multiples of it: the coarsest features have a cell per so many pixels."""

_LEAST = {  # of the whole numbers
    "points_per_side": 0,
    "video_points_per_side": 0,
    "prompts_per_batch": 1,
    "max_mask_pixels": 1,
    "memory_objects": 1,
    "memory_lost_frames": 1,
}
_SHARES = (
    "pred_iou_thresh",
    "stability_score_thresh",
    "box_nms_thresh",
    "least_agreement",
    "min_agreement",
)


@dataclass(frozen=True)
class Sam2Options:
    """How `Sam2Proposals` asks the network. Thresholds of the grid are those of SAM 2's own mask generator.

    Attributes:
        points_per_side: prompts per side of the grid; 0 for none. Beside `boxes_from` it is asked only where
            the other generator has nothing.
        video_points_per_side: of the grid beside the boxes of tracks, without `boxes_from`; 0 finds nothing
            new.
        prompts_per_batch: most prompts decoded at once, >= 1.
        pred_iou_thresh: masks the network itself rates no higher are dropped, in [0, 1].
        stability_score_thresh: so are those whose IoU, cut higher with cut lower, is no higher, in [0, 1].
        stability_score_offset: how far the cut is moved either way for that, in logits > 0.
        box_nms_thresh: IoU of boxes above which the worse of two of the grid's masks is dropped, in [0, 1].
        duplicate_iou: mask IoU from which a box's mask and another one are one thing, in (0, 1].
        least_agreement: IoU that a box's mask must have with the mask the box came from to stand in for it,
            in [0, 1]. Reasoned, not measured: below a half the two are more different than alike.
        unrated_trust: what scores are multiplied by of masks that stay as another generator made them,
            if they are no predicted IoU; see `UnionOptions`.
        precision: "auto" is 16 bits where the hardware computes in them; or "fp32", "bf16", "fp16" (not on a
            CPU). Any but fp32 is only used where masks agree.
        precision_tolerance: how far a 16-bit network may be from itself in float32, see `check_precision`.
        runtime: of the image encoder: "torch"; "openvino", on a CPU; "onnxruntime"; "tensorrt", on an NVIDIA
            card; "auto" is OpenVINO on a CPU where it is installed, else torch. One that cannot be had, or
            with which the masks are others, gives way to torch. On a CPU `precision` "auto" is float32 there.
        min_agreement: share of pixels that must then go to the same mask as with torch in float32, in [0, 1].
        image_size: side of the network's square input in pixels, a multiple of 32; None for its own, 1024 as
            published. It was not trained for another.
        max_mask_pixels: so many pixels, a byte each, all masks of a frame may hold together; beyond, the
            best-scored are kept, with a warning the first time.
        video_memory: follow things through a camera's frames by what the network remembers of them; the
            weights have to be those of the whole network for video.
        memory_objects: so many things are remembered at a time, the best-scored, >= 1; others are followed by
            their boxes.
        memory_lost_frames: a thing that so many frames in a row do not show is forgotten, >= 1.
    """

    points_per_side: int = 16
    video_points_per_side: int = 8
    prompts_per_batch: int = 64
    pred_iou_thresh: float = 0.8
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    duplicate_iou: float = 0.85
    least_agreement: float = 0.5
    unrated_trust: float = 0.65
    precision: str = "auto"
    precision_tolerance: float = 0.05
    runtime: str = "torch"
    min_agreement: float = 0.995
    image_size: int | None = None
    max_mask_pixels: int = 1 << 32
    video_memory: bool = False
    memory_objects: int = 32
    memory_lost_frames: int = 15

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"expected {name} as a whole number >= {least}, got {value!r}")
        if not isinstance(self.video_memory, bool):
            raise ConfigError(f"expected video_memory true or false, got {self.video_memory!r}")
        side = self.image_size
        if side is not None and (type(side) is not int or side < SIDE_STEP or side % SIDE_STEP):
            raise ConfigError(f"expected image_size as a multiple of {SIDE_STEP}, got {side!r}")
        for name in (*_SHARES, "unrated_trust"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"expected {name} in [0, 1], got {getattr(self, name)}")
        if not 0 < self.duplicate_iou <= 1:
            raise ConfigError(f"expected duplicate_iou in (0, 1], got {self.duplicate_iou}")
        if not 0 < self.stability_score_offset < math.inf:
            raise ConfigError(f"expected stability_score_offset > 0, got {self.stability_score_offset}")
        if self.precision not in ("auto", *PRECISIONS):
            raise ConfigError(
                f"expected precision one of auto, {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        if not 0 <= self.precision_tolerance < math.inf:
            raise ConfigError(f"expected precision_tolerance >= 0, got {self.precision_tolerance}")
        check_runtime(self.runtime)
