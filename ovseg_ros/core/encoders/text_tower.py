"""CLIP's text tower without the padding behind the longest sentence.

The tower is causal and read at the end token, so what stands behind the last end token changes nothing: the
14 sentences around "teapot" are 14 tokens long or less, instead of 77.
"""

from __future__ import annotations

from typing import Any

import torch


def encode_sentences(clip_model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The same as `clip_model.encode_text(ids)`, cut behind the longest sentence.

    Args:
        clip_model: an open_clip model; one whose text tower is not causal and read at the end token runs as
            it is.
        ids: (K, L) int64 token ids, K >= 1; each row ends with its highest id, then padding.

    Returns:
        (K, D), not normalised, on the ids' device.
    """
    tower = getattr(clip_model, "text", clip_model)
    if not _reads_at_end_token(tower):
        features: torch.Tensor = clip_model.encode_text(ids)
        return features
    ends = ids.argmax(dim=1)
    length = int(ends.max()) + 1
    dtype = tower.transformer.get_cast_dtype()
    tokens = tower.token_embedding(ids[:, :length]).to(dtype)
    tokens = tokens + tower.positional_embedding[:length].to(dtype)  # (K,length,W)
    tokens = tower.transformer(tokens, attn_mask=tower.attn_mask[:length, :length])
    pooled: torch.Tensor = tower.ln_final(tokens)[torch.arange(len(ids), device=ids.device), ends]  # (K,W)
    projection = tower.text_projection
    if projection is None:
        return pooled
    projected: torch.Tensor = (
        projection(pooled) if isinstance(projection, torch.nn.Module) else pooled @ projection
    )
    return projected


def _reads_at_end_token(tower: Any) -> bool:
    """Whether this is open_clip's causal tower, read at the token with the highest id."""
    needed = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")
    if not all(hasattr(tower, name) for name in needed) or not hasattr(tower.transformer, "get_cast_dtype"):
        return False
    pooling = getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))
    causal = getattr(tower, "attn_mask", None) is not None
    return pooling == "argmax" and causal and getattr(tower, "cls_emb", None) is None
