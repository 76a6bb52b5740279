"""The plain way to one label per pixel: the argmax over the sums over all masks."""

from __future__ import annotations

import torch

from ovseg_ros.core.compose import semantic_map


def label_map(
    mask_probs: torch.Tensor, class_probs: torch.Tensor, label_ids: list[int], none: int = 255
) -> tuple[torch.Tensor, torch.Tensor]:
    """(H, W) id of the label with the highest sum, `none` without a mask; and that over their weight."""
    weight = mask_probs.float().sum(dim=0)  # (H,W)
    if not label_ids or not len(mask_probs):
        return torch.full(weight.shape, none), torch.zeros(weight.shape)
    score, winner = semantic_map(mask_probs, class_probs).max(dim=0)
    labels = torch.where(weight > 0, torch.tensor(label_ids)[winner], none)
    return labels, torch.where(weight > 0, score / weight.clamp(min=1e-12), 0.0)
