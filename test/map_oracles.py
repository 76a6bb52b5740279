"""The plain ways to maps over the image: sums over all masks, and mask after mask over the whole image."""

from __future__ import annotations

import torch


def semantic_map(mask_probs: torch.Tensor, class_probs: torch.Tensor) -> torch.Tensor:
    """(K, H, W): Σ over masks of class probability (N, K) × mask probability (N, H, W)."""
    return torch.einsum("nk,nhw->khw", class_probs, mask_probs.to(class_probs.dtype))


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


def instance_map(masks: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """(H, W): i + 1 for mask i, the higher score where masks (N, H, W) overlap, the earlier on ties; 0."""
    instances = torch.zeros(masks.shape[1:], dtype=torch.int64)
    for i in reversed(scores.argsort(descending=True, stable=True).tolist()):
        instances[masks[i]] = i + 1
    return instances
