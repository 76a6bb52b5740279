"""From embeddings to labels: N regions against K words."""

from __future__ import annotations

import torch

from ovseg_ros.errors import ConfigError, InvalidInputError


def mask_probabilities(
    region_emb: torch.Tensor,
    text_emb: torch.Tensor,
    *,
    logit_scale: float = 100.0,
    non_object: torch.Tensor | None = None,
) -> torch.Tensor:
    """softmax(logit_scale · cos) over labels and background words; the background columns then go.

    Args:
        region_emb: (N, D) unit rows.
        text_emb: (K, D) unit rows of the labels.
        logit_scale: multiplies the cosines.
        non_object: (B, D) unit rows of background words or of MaskFormer's learned "no object"; they take
            their share of the probability, so rows of the result may sum to less than 1.

    Returns:
        (N, K) float32 in [0, 1]; (N, 0) for no labels.

    Raises:
        InvalidInputError: widths differ.

    Source: OVSeg section 3.2; facebookresearch/ov-seg.

    Example:
        >>> axes = torch.eye(2)
        >>> mask_probabilities(axes[:1], axes, logit_scale=0.0)
        tensor([[0.5000, 0.5000]])
        >>> mask_probabilities(axes[:1], axes[:1], logit_scale=0.0, non_object=axes[1:])
        tensor([[0.5000]])
    """
    count, labels = region_emb.shape[0], text_emb.shape[0]
    if labels == 0:
        return torch.zeros((count, 0), device=region_emb.device)
    rows = text_emb if non_object is None else torch.cat([text_emb, non_object.to(text_emb)])  # (K+B,D)
    if rows.ndim != 2 or region_emb.ndim != 2 or rows.shape[1] != region_emb.shape[1]:
        raise InvalidInputError(
            f"want regions (N,D) and words (K,D), got {tuple(region_emb.shape)} and {tuple(rows.shape)}"
        )
    logits = logit_scale * (region_emb.float() @ rows.float().T)  # (N,K+B)
    return logits.softmax(dim=-1)[:, :labels]


def ensemble(
    p_maskformer: torch.Tensor, p_clip: torch.Tensor, lam: float, valid: torch.Tensor
) -> torch.Tensor:
    """Ensemble p_maskformer^(1−λ) · p_clip^λ, where an empty mask has p_clip = 1 for every label.

    Args:
        p_maskformer: (N, K) from MaskFormer's own class head.
        p_clip: (N, K) from CLIP on the regions; rows of empty masks are ignored.
        lam: λ in [0, 1], CLIP's weight (0.7 for ADE20K, 0.6 for Pascal Context).
        valid: (N,) bool, False where a mask is empty.

    Returns:
        (N, K); not normalised, as in the paper.

    Raises:
        ConfigError: λ outside [0, 1].
        InvalidInputError: shapes differ.

    Source: OVSeg section 3.2 and appendix; facebookresearch/ov-seg.
    """
    if not 0.0 <= lam <= 1.0:
        raise ConfigError(f"want the ensemble weight in [0, 1], got {lam}")
    if p_maskformer.shape != p_clip.shape or valid.shape != p_clip.shape[:1]:
        raise InvalidInputError(
            f"want (N,K), (N,K) and (N,), got {tuple(p_maskformer.shape)}, {tuple(p_clip.shape)} and "
            f"{tuple(valid.shape)}"
        )
    known = torch.where(valid[:, None], p_clip, torch.ones_like(p_clip))
    return p_maskformer.pow(1.0 - lam) * known.pow(lam)


def assign_labels(probs: torch.Tensor, thresholds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gives each mask its most probable label, if that reaches its own threshold.

    The runner-up never inherits a mask: what looks most like a cup, but not enough, is not called a mug.

    Args:
        probs: (N, K).
        thresholds: (K,) lowest probability at which a label is given.

    Returns:
        index (N,) int64 into the labels, the first one on ties, -1 for none; and score (N,), the highest
        probability of each mask, labelled or not (0 for K = 0).

    Raises:
        InvalidInputError: K differs.

    Example:
        >>> assign_labels(torch.tensor([[0.7, 0.3], [0.45, 0.55]]), torch.tensor([0.5, 0.6]))
        (tensor([ 0, -1]), tensor([0.7000, 0.5500]))
    """
    count, labels = probs.shape
    if thresholds.shape != (labels,):
        raise InvalidInputError(f"want thresholds ({labels},), got {tuple(thresholds.shape)}")
    if labels == 0 or count == 0:
        none = torch.full((count,), -1, dtype=torch.int64, device=probs.device)
        return none, torch.zeros(count, device=probs.device)
    score, index = probs.max(dim=1)  # the first of equals
    return torch.where(score >= thresholds.to(probs)[index], index, -1), score


def select_background(
    text_emb: torch.Tensor, background_emb: torch.Tensor, max_similarity: float
) -> torch.Tensor:
    """Picks the background words that may compete with the words asked for.

    A background word too near an asked word steps aside: with "table" in the background, a query for
    "dining table" would lose half its probability.

    Args:
        text_emb: (K, D) unit rows of the labels.
        background_emb: (B, D) unit rows.
        max_similarity: cosine at and above which a background word steps aside.

    Returns:
        (B,) bool, True for the words that stay; all of them for K = 0.
    """
    if text_emb.shape[0] == 0 or background_emb.shape[0] == 0:
        return torch.ones(background_emb.shape[0], dtype=torch.bool, device=background_emb.device)
    cosines = background_emb @ text_emb.T  # (B,K)
    return cosines.amax(dim=1) < max_similarity
