"""CLIP's text tower on every beginning of a sentence once, instead of on 77 places for each sentence.

The tower is causal: a token sees those before it and itself, and the sentence's embedding is read at its
end token. So what is behind the last end token may be left out, and sentences that begin alike share what
they begin with: "a photo of a mug." and "a photo of a mug in the scene" are one tree of tokens, each of which
sees the way to the root. The 14 sentences around "teapot" are 79 tokens that way, instead of 154 without what
is behind the end tokens and of 1078 with it. Each word has a tree of its own, so that its attention
does not run over the words that are asked for beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch


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

    def sees(self) -> torch.Tensor:
        """(T, T) bool: whether the row's token sees the column's, which leads to it or is it."""
        sees = torch.eye(len(self.ids), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                sees[node] |= sees[parent]
        return sees


def encode_sentences(clip_model: Any, ids: torch.Tensor, together: int = 1) -> torch.Tensor:
    """The same as `clip_model.encode_text(ids)`, with each beginning of a sentence computed once.

    Args:
        clip_model: an open_clip model; one whose text tower is not causal and read at the end token runs as
            it is.
        ids: (K, L) int64 token ids, K >= 1; each row ends with its highest id, then padding.
        together: so many sentences, one after another, are one tree; K is a multiple of it.

    Returns:
        (K, D), not normalised, on the ids' device.
    """
    tower = getattr(clip_model, "text", clip_model)
    if not _reads_at_end_token(tower):
        features: torch.Tensor = clip_model.encode_text(ids)
        return features
    trees = [_tree(part) for part in ids.split(together)]
    pooled: torch.Tensor = tower.ln_final(_at_ends(tower, trees, ids.device))  # (K,W)
    projection = tower.text_projection
    if projection is None:
        return pooled
    projected: torch.Tensor = (
        projection(pooled) if isinstance(projection, torch.nn.Module) else pooled @ projection
    )
    return projected


def _tree(ids: torch.Tensor) -> TokenTree:
    """The sentences (K, L) as one tree."""
    tree = TokenTree()
    for row, length in zip(ids.tolist(), (ids.argmax(dim=1) + 1).tolist(), strict=True):
        tree.add(row[:length])
    return tree


def _at_ends(tower: Any, trees: list[TokenTree], device: torch.device) -> torch.Tensor:
    """(K, W): what the transformer gives at all ends of B trees, which are filled up to the largest."""
    most = max(len(tree.ids) for tree in trees)
    ids, depths = torch.zeros((2, len(trees), most), dtype=torch.int64)
    sees = torch.eye(most, dtype=torch.bool).repeat(len(trees), 1, 1)  # what is filled up sees itself
    for i, tree in enumerate(trees):
        size = len(tree.ids)
        ids[i, :size], depths[i, :size] = torch.tensor(tree.ids), torch.tensor(tree.depths)
        sees[i, :size, :size] = tree.sees()
    dtype = tower.transformer.get_cast_dtype()
    tokens = tower.token_embedding(ids.to(device)).to(dtype)
    tokens = tokens + tower.positional_embedding[depths.to(device)].to(dtype)  # (B,T,W)
    mask = torch.zeros(sees.shape, dtype=tower.attn_mask.dtype).masked_fill_(~sees, -torch.inf).to(device)
    heads = tower.transformer.resblocks[0].attn.num_heads
    seen: torch.Tensor = tower.transformer(tokens, attn_mask=mask.repeat_interleave(heads, dim=0))
    owners = [i for i, tree in enumerate(trees) for _ in tree.ends]
    ends = [end for tree in trees for end in tree.ends]
    return seen[torch.tensor(owners, device=device), torch.tensor(ends, device=device)]


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
