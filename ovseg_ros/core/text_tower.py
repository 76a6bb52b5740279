"""CLIP's text tower on as many tokens as the longest sentence has, instead of all 77 places.

The tower is causal: a token sees those before it and itself, and the sentence's embedding is read at its
end token. What is behind the last end token is padding that nothing looks at, so leaving it out changes
nothing but the cost: "a photo of a small mug." has 9 tokens, start and end among them.
"""

from __future__ import annotations

from typing import Any

import torch


def encode_sentences(clip_model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The same as `clip_model.encode_text(ids)`, without the padding behind the longest sentence.

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
    ends = ids.argmax(dim=1)  # (K,)
    ids = ids[:, : int(ends.max()) + 1]
    dtype = tower.transformer.get_cast_dtype()
    length = ids.shape[1]
    tokens = tower.token_embedding(ids).to(dtype) + tower.positional_embedding[:length].to(dtype)  # (K,L,W)
    tokens = tower.transformer(tokens, attn_mask=tower.attn_mask[:length, :length])
    pooled: torch.Tensor = tower.ln_final(tokens[torch.arange(len(ids), device=ids.device), ends])  # (K,W)
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
    mask = getattr(tower, "attn_mask", None)
    if pooling != "argmax" or mask is None or getattr(tower, "cls_emb", None) is not None:
        return False
    return mask.ndim == 2 and bool((mask.triu(1) == -torch.inf).sum() == mask.shape[0] * (len(mask) - 1) // 2)
