"""The settings of `proposals.sam.proposer`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ovseg_ros.core.device import PRECISIONS
from ovseg_ros.core.engines import check_runtime
from ovseg_ros.errors import ConfigError

_LEAST = {  # of the whole numbers
    "points_per_side": 1,
    "points_per_batch": 1,
    "crop_n_layers": 0,
    "crop_n_points_downscale_factor": 1,
    "min_mask_region_area": 0,
    "long_side": 1,
    "max_mask_pixels": 1,
    "image_size": 16,
    "video_points_per_side": 0,
}
_MAY_BE_NONE = ("long_side", "image_size")
_SHARES = (
    "pred_iou_thresh",
    "stability_score_thresh",
    "box_nms_thresh",
    "crop_nms_thresh",
    "min_agreement",
)


@dataclass(frozen=True)
class SamOptions:
    """Every setting of `SamAutomaticMaskGenerator`, with its default, and how the network is run.

    Attributes:
        points_per_side: prompts per side of the grid laid over the image, >= 1.
        points_per_batch: most prompts decoded at once, >= 1; fewer where the image is so large that their
            masks would not fit.
        pred_iou_thresh: masks the network itself rates lower are dropped, in [0, 1].
        stability_score_thresh: least IoU of a mask cut higher with itself cut lower, in [0, 1].
        stability_score_offset: how far the cut is moved either way for that, in logits > 0.
        box_nms_thresh: IoU of boxes above which the worse of two masks is dropped, in [0, 1].
        crop_n_layers: further passes over crops: layer i has 4**i of them; 0 leaves crops out.
        crop_nms_thresh: as `box_nms_thresh`, between crops.
        crop_overlap_ratio: overlap of crops as a share of the image's short side, in [0, 1).
        crop_n_points_downscale_factor: the grid of layer i has `points_per_side` over this**i points, >= 1.
        min_mask_region_area: holes and islands of fewer pixels are filled and removed; 0 leaves them. Pixels
            count at `long_side`.
        precision: "fp32", "bf16" or "fp16" (not on a CPU), for image encoder and mask decoder; "auto" is bf16
            where the hardware computes in it, fp16 on other GPUs, else fp32.
        precision_tolerance: how far a 16-bit network may be from itself in float32, see `check_precision`.
        runtime: of the image encoder: "torch"; "openvino", on a CPU; "onnxruntime"; "tensorrt", on an NVIDIA
            card; "auto" is OpenVINO on a CPU where it is installed, else torch. One that cannot be had, or
            with which the masks are others, gives way to torch. On a CPU `precision` "auto" is float32 there.
        min_agreement: share of pixels that must then go to the same mask as with torch in float32, in [0, 1].
        long_side: images with a longer side are shrunk to it first, pixels >= 1; the masks come back at the
            image's own size. None leaves them as they are up to 16384 pixels. OVSeg's demo takes 1280.
        max_mask_pixels: so many pixels, a byte each, all masks of a frame may hold together; of a huge image
            only the best-scored that fit are kept, with a warning the first time.
        image_size: side of the network's square input in pixels, a multiple of 16; None for the network's
            own, 1024 as published. The encoder's time falls faster than with its square; what it was trained
            for is its own.
        video_points_per_side: points per side of the grid that `propose_video` asks beside the tracks' boxes,
            >= 0; 0 finds nothing new.
        video_duplicate_iou: mask IoU from which a mask of the grid and one of a box are one thing, in (0, 1].
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    precision_tolerance: float = 0.05
    runtime: str = "torch"
    min_agreement: float = 0.995
    long_side: int | None = 1280
    max_mask_pixels: int = 1 << 32
    image_size: int | None = None
    video_points_per_side: int = 8
    video_duplicate_iou: float = 0.85

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if name in _MAY_BE_NONE and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"expected {name} as a whole number >= {least}, got {value!r}")
        if self.image_size is not None and self.image_size % 16:
            raise ConfigError(f"expected image_size as a multiple of 16, got {self.image_size}")
        if not 0 < self.video_duplicate_iou <= 1:
            raise ConfigError(f"expected video_duplicate_iou in (0, 1], got {self.video_duplicate_iou}")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"expected {name} in [0, 1], got {getattr(self, name)}")
        if not 0 < self.stability_score_offset < math.inf:
            raise ConfigError(f"expected stability_score_offset > 0, got {self.stability_score_offset}")
        if not 0 <= self.crop_overlap_ratio < 1:
            raise ConfigError(f"expected crop_overlap_ratio in [0, 1), got {self.crop_overlap_ratio}")
        if self.points_per_side < self.crop_n_points_downscale_factor**self.crop_n_layers:
            raise ConfigError(
                "expected at least one point per side in the last crop layer, got points_per_side "
                f"{self.points_per_side} over {self.crop_n_points_downscale_factor}**{self.crop_n_layers}"
            )
        words = ("auto", *PRECISIONS)
        if self.precision not in words:
            raise ConfigError(f"expected precision one of {', '.join(words)}, got {self.precision!r}")
        if not 0 <= self.precision_tolerance < math.inf:
            raise ConfigError(f"expected precision_tolerance >= 0, got {self.precision_tolerance}")
        check_runtime(self.runtime)
