"""timm's vision transformers as open_clip takes them for SigLIP and Perception Encoder.

Both are built alike: patches become tokens, tokens get their places, blocks follow, and at the end one
learned query attends to all tokens ("map" pooling). Background tokens can be replaced as in open_clip's own
transformer, and the query can be shown the tokens of one mask alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

_TOWERS = ("VisionTransformer", "Eva")
"""timm's classes: SigLIP's and MobileCLIP2-B's; Perception Encoder's."""


def is_timm_vit(visual: Any) -> bool:
    """Whether `timm_vit_features` can run this image tower: open_clip's TimmModel around such a one."""
    trunk = getattr(visual, "trunk", None)
    plain = getattr(trunk, "rope_mixed", False) is not True and not getattr(trunk, "dynamic_img_size", False)
    return type(trunk).__name__ in _TOWERS and hasattr(visual, "head") and plain


def attends_to_pool(visual: Any) -> bool:
    """Whether such a tower ends with one learned query, and nothing but the query picks from the tokens."""
    pool: Any = getattr(getattr(visual, "trunk", None), "attn_pool", None)
    known = type(pool).__name__ == "AttentionPoolLatent"
    return is_timm_vit(visual) and known and bool(pool.latent_len == 1) and pool.pos_embed is None


def timm_vit_features(
    visual: Any,
    pixels: torch.Tensor,
    region_masks: torch.Tensor | None = None,
    prompts: torch.Tensor | None = None,
) -> torch.Tensor:
    """The image tower's forward pass without patch dropout, background tokens replaced if asked for.

    Args:
        visual: a tower that `is_timm_vit`.
        pixels: (N, 3, S, S) normalised for it, N >= 1.
        region_masks: (N, 1, S, S), above 0 where the region is; None keeps all tokens.
        prompts: (depth, P, W), what stands in for background tokens; see `MaskPromptedClip`.

    Returns:
        (N, D) in the weights' type, not normalised.
    """
    features: torch.Tensor = visual.head(
        visual.trunk.forward_head(timm_vit_tokens(visual, pixels, region_masks, prompts))
    )
    return features


def timm_vit_tokens(
    visual: Any,
    pixels: torch.Tensor,
    region_masks: torch.Tensor | None = None,
    prompts: torch.Tensor | None = None,
) -> torch.Tensor:
    """All tokens before they are pooled: (N, `num_prefix_tokens` + P, W); see `timm_vit_features`."""
    trunk = visual.trunk
    tokens = trunk.patch_embed(pixels)  # (N,P,W)
    inside, depth = None, 0
    if region_masks is not None and prompts is not None:
        inside, depth = _patches_inside(region_masks, trunk.patch_embed.grid_size), len(prompts)
        prompts = prompts.to(tokens.dtype)
        tokens = torch.where(inside, tokens, prompts[0])
    placed = trunk._pos_embed(tokens)  # Eva's gives the angles of its rotary embedding beside
    tokens, rotary = placed if isinstance(placed, tuple) else (placed, None)
    tokens = trunk.norm_pre(tokens)
    own = trunk.num_prefix_tokens  # class token, never replaced
    for layer, block in enumerate(trunk.blocks, start=1):
        tokens = block(tokens) if rotary is None else block(tokens, rope=rotary)
        if inside is not None and prompts is not None and layer < depth:
            patches = torch.where(inside, tokens[:, own:], prompts[layer])
            tokens = torch.cat([tokens[:, :own], patches], dim=1)
    result: torch.Tensor = trunk.norm(tokens)
    return result


def timm_vit_masked_pool(visual: Any, tokens: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """What follows the blocks, once for each of M masks: the query sees a patch as far as the mask covers it.

    softmax(q·k + ln w) over tokens, w being P · `shares` of a patch and 1 of a class token: a patch that is
    covered twice as much counts twice, and the class token counts as much beside all patches as it does for
    the whole image. A mask of the whole image has w = 1 everywhere, so that it gives the tower's own output.

    Args:
        visual: a tower that `attends_to_pool`.
        tokens: (1, prefix + P, W) from `timm_vit_tokens`.
        shares: (M, P), the part of each mask that lies in each patch; rows sum to 1, or 0 where it is empty.

    Returns:
        (M, D) in the weights' type, not normalised; of an empty mask what the class token gives, or NaN.
    """
    trunk = visual.trunk
    pool, (count, patches), prefix = trunk.attn_pool, shares.shape, trunk.num_prefix_tokens
    weight = F.pad(patches * shares, (prefix, 0), value=1.0)  # (M,prefix+P)
    heads = (pool.num_heads, pool.head_dim)
    query = pool.q(pool.latent).reshape(1, 1, *heads).transpose(1, 2)  # (1,h,1,d)
    key, value = pool.kv(tokens).reshape(1, -1, 2, *heads).permute(2, 0, 3, 1, 4)  # (1,h,prefix+P,d) each
    query, key = pool.q_norm(query), pool.k_norm(key)
    pooled = F.scaled_dot_product_attention(
        query.expand(1, heads[0], count, heads[1]), key, value, attn_mask=weight.log().to(query.dtype)
    )  # (1,h,M,d): the same query for all masks, each with its own view
    rows = pool.proj(pooled.transpose(1, 2).reshape(count, -1))
    if pool.mlp is not None:
        rows = rows + pool.mlp(pool.norm(rows))
    features: torch.Tensor = visual.head(trunk.head(trunk.fc_norm(rows)))
    return features


def prompt_shape(visual: Any) -> tuple[int, int, int]:
    """(transformer blocks, patches, width) of a tower that `is_timm_vit`."""
    trunk = visual.trunk
    return len(trunk.blocks), int(trunk.patch_embed.num_patches), int(trunk.embed_dim)


def _patches_inside(region_masks: torch.Tensor, grid_hw: tuple[int, int]) -> torch.Tensor:
    """(N,1,S,S), above 0 where the region is -> (N,P,1) bool: which patches hold any pixel of it."""
    return (F.adaptive_max_pool2d((region_masks > 0).float(), grid_hw) > 0).flatten(1)[:, :, None]
