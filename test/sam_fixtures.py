"""A tiny Segment Anything with random weights under which it proposes masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ovseg_ros.models.sam import build_sam
from ovseg_ros.proposals.sam import SamOptions
from ovseg_ros.proposals.sam_precision import check_image

TINY_SAM: dict[str, Any] = {
    "embed_dim": 32,
    "depth": 2,
    "heads": 2,
    "global_attn_indexes": [1],
    "image_size": 64,
    "window_size": 3,
    "prompt_embed_dim": 32,
    "decoder_heads": 4,
    "decoder_mlp_dim": 64,
    "iou_head_hidden_dim": 32,
}
# What a random network's masks pass: nearly all have the whole image as their box.
LENIENT: dict[str, Any] = {
    "points_per_side": 6,
    "pred_iou_thresh": 0.3,
    "stability_score_thresh": 0.7,
    "stability_score_offset": 0.1,
    "box_nms_thresh": 0.99,
}


def tiny_sam(seed: int = 1, std: float = 0.3) -> Any:
    """A `Sam` of a 64 px input and 60 thousand weights."""
    torch.manual_seed(seed)
    sam = build_sam(TINY_SAM)
    for parameter in sam.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=std)
    return sam


def tiny_options(**changes: Any) -> SamOptions:
    return SamOptions(**{**LENIENT, **changes})


def save_tiny_sam(path: Path, **changes: Any) -> Path:
    """A checkpoint as Segment Anything's are: the state dict and nothing around it."""
    torch.save(tiny_sam(**changes).state_dict(), path)
    return path


def library_says(sam: Any, image: np.ndarray, **settings: Any) -> tuple[np.ndarray, np.ndarray]:
    """(N,H,W) masks and (N,) predicted IoU, cut to [0, 1], of segment-anything's own generator."""
    from segment_anything import SamAutomaticMaskGenerator

    records = SamAutomaticMaskGenerator(sam, **{**LENIENT, **settings}).generate(image)
    masks = np.array([record["segmentation"] for record in records], bool).reshape(-1, *image.shape[:2])
    return masks, np.array([record["predicted_iou"] for record in records], np.float32).clip(0, 1)


def picture(height: int = 96, width: int = 80) -> np.ndarray:
    """(height, width, 3) uint8 with things in it."""
    return np.ascontiguousarray(check_image(max(height, width))[:height, :width])


class Discs(torch.nn.Module):
    """A mask decoder that answers each point with three blobs around it, of three sizes.

    Positional encodings of places nearby are alike: their product falls off as a bell.
    """

    def forward(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse_prompt_embeddings: torch.Tensor,
        dense_prompt_embeddings: torch.Tensor,
        multimask_output: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        point = sparse_prompt_embeddings[:, 0]  # (P,C)
        bell = torch.einsum("pc,chw->phw", point, image_pe[0]) / (point.shape[1] / 2)
        bell = torch.nn.functional.interpolate(bell[:, None], scale_factor=4, mode="bilinear")  # (P,1,h,w)
        cuts = torch.tensor([0.5, 0.6, 0.7] if multimask_output else [0.6])
        logits = 20 * (bell - cuts[:, None, None])  # (P,3,h,w)
        brightness = image_embeddings.mean().tanh() / 100  # so that crops differ
        scores = 0.9 + cuts / 20 + brightness + point[:, :1] / 200
        return logits, scores


def disc_sam(seed: int = 0) -> Any:
    """A `Sam` whose masks are round and lie where they were asked for."""
    sam = tiny_sam(seed)
    torch.nn.init.zeros_(sam.prompt_encoder.point_embeddings[1].weight)
    sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix = torch.randn(2, 16)
    sam.mask_decoder = Discs()
    return sam
