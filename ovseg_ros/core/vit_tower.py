"""open_clip's VisionTransformer run for inference: the same result with less work and less memory traffic.

What is left out of the plain forward pass:

- in the last block all but the class token, where only that is pooled: its keys and values need every token,
  its queries, projections and MLP need one;
- the convolution over patches, which is one matrix product, whose input is cut and cast in one pass;
- the detour of `nn.MultiheadAttention`: queries, keys and values come of one product.

The modules' own weights are read at every call, so nothing here can be out of date.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

_IMAGES_AT_ONCE = 4


def is_plain_vit(visual: Any) -> bool:
    """Whether `vit_features` can run this image tower: open_clip's own ViT of its ordinary blocks."""
    needed = ("conv1", "class_embedding", "positional_embedding", "ln_pre", "transformer", "_pool", "proj")
    if not all(hasattr(visual, name) for name in needed):
        return False
    blocks = list(getattr(visual.transformer, "resblocks", ()))
    return bool(blocks) and all(_is_plain_block(block) for block in blocks) and _is_plain_cut(visual.conv1)


def _is_plain_block(block: Any) -> bool:
    attention = getattr(block, "attn", None)
    return (
        type(block).__name__ == "ResidualAttentionBlock"
        and not hasattr(block, "ln_1_kv")
        and type(attention) is nn.MultiheadAttention
        and attention.in_proj_weight is not None
        and attention.bias_k is None
        and not attention.add_zero_attn
        and hasattr(block.mlp, "c_fc")
    )


def _is_plain_cut(conv: Any) -> bool:
    return (
        type(conv) is nn.Conv2d
        and conv.kernel_size == conv.stride
        and conv.padding in ((0, 0), "valid")
        and conv.dilation == (1, 1)
        and conv.groups == 1
    )


def vit_features(
    visual: Any,
    pixels: torch.Tensor,
    region_masks: torch.Tensor | None = None,
    prompts: torch.Tensor | None = None,
) -> torch.Tensor:
    """The image tower's forward pass, background tokens replaced if asked for.

    Args:
        visual: a tower that `is_plain_vit`; its weights' type is the type of the computation.
        pixels: (N, 3, S, S) CLIP-normalised, N >= 1, any float type, any memory format.
        region_masks: (N, 1, S, S), above 0 where the region is; None keeps all tokens.
        prompts: (depth, P, W), what stands in for background tokens; see `MaskPromptedClip`.

    Returns:
        (N, D) in the weights' type, not normalised.
    """
    tokens = _patches(visual.conv1, pixels)  # (N,P,W)
    dtype = tokens.dtype
    told = None
    if region_masks is not None and prompts is not None:
        told = (patches_inside(region_masks, visual.conv1.kernel_size), prompts.to(dtype))
    if told is not None:
        tokens = torch.where(told[0], tokens, told[1][0])
    class_token = visual.class_embedding.to(dtype).expand(tokens.shape[0], 1, -1)
    tokens = torch.cat([class_token, tokens], dim=1)  # (N,1+P,W)
    tokens = visual.ln_pre(tokens + visual.positional_embedding.to(dtype))
    blocks = visual.transformer.resblocks
    replacements = 0 if told is None else len(told[1]) - 1
    alone = only_class_token(visual) and replacements < len(blocks)
    for layer, block in enumerate(blocks, start=1):
        if alone and layer == len(blocks):
            tokens = _block(block, tokens, queries=tokens[:, :1])  # (N,1,W)
        else:
            tokens = _block(block, tokens)
        if told is not None and layer <= replacements:
            patches = torch.where(told[0], tokens[:, 1:], told[1][layer])
            tokens = torch.cat([tokens[:, :1], patches], dim=1)
    pooled = visual._pool(tokens)[0]  # class token, mean or attention, as the model was built
    features: torch.Tensor = pooled if visual.proj is None else pooled @ visual.proj
    return features


def patches_inside(region_masks: torch.Tensor, patch_hw: tuple[int, int]) -> torch.Tensor:
    """(N,1,S,S), above 0 where the region is -> (N,P,1) bool: which patches hold any pixel of it."""
    return (F.max_pool2d((region_masks > 0).float(), patch_hw) > 0).flatten(1)[:, :, None]


def only_class_token(visual: Any) -> bool:
    """Whether nothing but the class token leaves the last block."""
    return bool(visual.attn_pool is None and visual.pool_type == "tok")


def _patches(conv: nn.Conv2d, pixels: torch.Tensor) -> torch.Tensor:
    """(N,3,S,S) -> (N,P,W): each patch through the convolution's weights."""
    count, channels, height, width = pixels.shape
    ph, pw = conv.weight.shape[2:]
    rows, columns = height // ph, width // pw
    cut = pixels[:, :, : rows * ph, : columns * pw].reshape(count, channels, rows, ph, columns, pw)
    weight = conv.weight.flatten(1)  # (W,3·ph·pw)
    flat = torch.empty(
        (count, rows, columns, channels, ph, pw), dtype=weight.dtype, device=pixels.device
    ).copy_(cut.permute(0, 2, 4, 1, 3, 5))
    return F.linear(flat.view(count, rows * columns, -1), weight, conv.bias)


def _block(block: Any, tokens: torch.Tensor, queries: torch.Tensor | None = None) -> torch.Tensor:
    """One residual block on (N,T,W) tokens; with (N,Q,W) queries only those come out."""
    asked = tokens if queries is None else queries
    attended = asked + block.ls_1(_attention(block.attn, block.ln_1(tokens), asked.shape[1]))
    result: torch.Tensor = attended + block.ls_2(block.mlp(block.ln_2(attended)))
    return result


def _attention(attention: nn.MultiheadAttention, tokens: torch.Tensor, asked: int) -> torch.Tensor:
    """Self-attention of (N,T,W) tokens; (N,Q,W) for the first Q of them."""
    count, length, width = tokens.shape
    heads = attention.num_heads
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    if asked == length:
        joint = F.linear(tokens, weight, bias).view(count, length, 3, heads, width // heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4).unbind(0)  # (N,h,T,w) each
    else:
        query = F.linear(tokens[:, :asked], weight[:width], None if bias is None else bias[:width])
        query = query.view(count, asked, heads, width // heads).transpose(1, 2)
        rest = F.linear(tokens, weight[width:], None if bias is None else bias[width:])
        key, value = rest.view(count, length, 2, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
    mixed = _mixed(query, key, value)  # (N,h,Q,w)
    result: torch.Tensor = attention.out_proj(mixed.transpose(1, 2).reshape(count, asked, width))
    return result


def _mixed(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(query · keyᵀ / √w) · value of (N,h,Q,w), (N,h,T,w), (N,h,T,w); (N,h,Q,w)."""
    count, heads, asked, width = query.shape
    if query.dtype != torch.bfloat16 or query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value)
    # Two batched products, a few images at a time so that their weights stay in the cache, take half the time
    # of torch's fused kernel on CPUs that compute in bf16.
    mixed = torch.empty_like(query, memory_format=torch.contiguous_format)
    for start in range(0, count, _IMAGES_AT_ONCE):
        part = slice(start, start + _IMAGES_AT_ONCE)
        q, k, v = (rows[part].flatten(0, 1) for rows in (query, key, value))
        weights = torch.bmm(q * width**-0.5, k.transpose(1, 2)).softmax(dim=-1)
        mixed[part] = torch.bmm(weights, v).view(-1, heads, asked, width)
    return mixed
