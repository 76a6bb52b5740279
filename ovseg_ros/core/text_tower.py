"""CLIP's text tower on every beginning of a sentence once, instead of on 77 places for each sentence.

The tower is causal: a token sees those before it and itself, and the sentence's embedding is read at its
end token. So what is behind the last end token may be left out, and sentences that begin alike share what
they begin with: "a photo of a mug." and "a photo of a mug in the scene" are one tree of tokens, each of which
sees the way to the root. The 14 sentences around "teapot" are 79 tokens that way, instead of 154 without what
is behind the end tokens and of 1078 with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

_MOST_TOKENS = 512  # of a tree; the attention of all to all grows with the square


@dataclass
class TokenTree:
    """Sentences as one tree.

    Attributes:
        ids: T token ids, each after the one it follows.
        parents: T numbers of the tokens before, -1 for those that begin a sentence.
        depths: T places in the sentence, 0 and up.
        ends: the end token of each sentence.
    """

    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, sentence: list[int]) -> None:
        """Adds a sentence's ids from the first to the end token; its beginning may be there already."""
        node = -1
        for depth, token in enumerate(sentence):
            child = self._known.setdefault((node, token), len(self.ids))
            if child == len(self.ids):
                self.ids.append(token)
                self.parents.append(node)
                self.depths.append(depth)
            node = child
        self.ends.append(node)

    def mask(self) -> torch.Tensor:
        """(T, T) float32: 0 where the row's token sees the column's (leads to it or is it), else -inf."""
        sees = torch.eye(len(self.ids), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                sees[node] |= sees[parent]
        return torch.zeros(sees.shape).masked_fill(~sees, -torch.inf)


def encode_sentences(clip_model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The same as `clip_model.encode_text(ids)`, with each beginning of a sentence computed once.

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
    ends = torch.cat([_at_ends(tower, tree, ids.device) for tree in _trees(ids)])  # (K,W)
    pooled: torch.Tensor = tower.ln_final(ends)
    projection = tower.text_projection
    if projection is None:
        return pooled
    projected: torch.Tensor = (
        projection(pooled) if isinstance(projection, torch.nn.Module) else pooled @ projection
    )
    return projected


def _trees(ids: torch.Tensor) -> Iterator[TokenTree]:
    """The sentences in their order, in trees of no more than `_MOST_TOKENS` or of one sentence."""
    lengths = (ids.argmax(dim=1) + 1).tolist()
    tree = TokenTree()
    for row, length in zip(ids.tolist(), lengths, strict=True):
        if tree.ends and len(tree.ids) + length > _MOST_TOKENS:
            yield tree
            tree = TokenTree()
        tree.add(row[:length])
    yield tree


def _at_ends(tower: Any, tree: TokenTree, device: torch.device) -> torch.Tensor:
    """(E, W): what the transformer gives at the E ends."""
    dtype = tower.transformer.get_cast_dtype()
    ids, depths = (torch.tensor(values, device=device) for values in (tree.ids, tree.depths))
    tokens = tower.token_embedding(ids).to(dtype) + tower.positional_embedding[depths].to(dtype)  # (T,W)
    mask = tree.mask().to(device, tower.attn_mask.dtype)
    seen: torch.Tensor = tower.transformer(tokens[None], attn_mask=mask)[0]
    return seen[torch.tensor(tree.ends, device=device)]


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
