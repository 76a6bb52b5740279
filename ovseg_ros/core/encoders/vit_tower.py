"""open_clip's VisionTransformer with background tokens replaced, in training and in inference."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


def is_vit(visual: Any) -> bool:
    """Whether `vit_features` can run this image tower: open_clip's VisionTransformer."""
    needed = ("conv1", "class_embedding", "positional_embedding", "ln_pre", "transformer", "_pool", "proj")
    return all(hasattr(visual, name) for name in needed)


def vit_features(
    visual: Any,
    pixels: torch.Tensor,
    region_masks: torch.Tensor | None = None,
    prompts: torch.Tensor | None = None,
) -> torch.Tensor:
    """The image tower's forward pass without patch dropout, background tokens replaced if asked for.

    Args:
        visual: a tower that `is_vit`; its weights' type is the type of the computation.
        pixels: (N, 3, S, S) CLIP-normalised, N >= 1, any float type.
        region_masks: (N, 1, S, S), above 0 where the region is; None keeps all tokens.
        prompts: (depth, P, W), what stands in for background tokens; see `MaskPromptedClip`.

    Returns:
        (N, D) in the weights' type, not normalised.
    """
    tokens = visual.conv1(pixels.to(visual.conv1.weight.dtype))  # (N,W,g,g)
    tokens = tokens.flatten(2).transpose(1, 2)  # (N,P,W)
    inside, depth = None, 0
    if region_masks is not None and prompts is not None:
        inside, depth = _patches_inside(region_masks, visual.conv1.kernel_size), len(prompts)
        prompts = prompts.to(tokens.dtype)
        tokens = torch.where(inside, tokens, prompts[0])
    class_token = visual.class_embedding.to(tokens.dtype).expand(tokens.shape[0], 1, -1)
    tokens = torch.cat([class_token, tokens], dim=1)  # (N,1+P,W)
    tokens = visual.ln_pre(tokens + visual.positional_embedding.to(tokens.dtype))
    *blocks, last = visual.transformer.resblocks
    for layer, block in enumerate(blocks, start=1):
        tokens = _run_block(visual.transformer, block, tokens)
        if inside is not None and prompts is not None and layer < depth:
            patches = torch.where(inside, tokens[:, 1:], prompts[layer])
            tokens = torch.cat([tokens[:, :1], patches], dim=1)
    if _class_token_alone(visual, last):
        tokens = _class_token(last, tokens)
    else:
        tokens = _run_block(visual.transformer, last, tokens)
    pooled = visual._pool(tokens)[0]  # class token, mean or attention, as the model was built
    features: torch.Tensor = pooled if visual.proj is None else pooled @ visual.proj
    return features


def _patches_inside(region_masks: torch.Tensor, patch_hw: tuple[int, int]) -> torch.Tensor:
    """(N,1,S,S), above 0 where the region is -> (N,P,1) bool: which patches hold any pixel of it."""
    return (F.max_pool2d((region_masks > 0).float(), patch_hw) > 0).flatten(1)[:, :, None]


def _run_block(transformer: Any, block: Any, tokens: torch.Tensor) -> torch.Tensor:
    """One transformer block on (N,1+P,W) tokens."""
    if transformer.grad_checkpointing and torch.is_grad_enabled():
        result: torch.Tensor = checkpoint(block, tokens, use_reentrant=False)
    else:
        result = block(tokens)
    return result


def _class_token_alone(visual: Any, block: Any) -> bool:
    """Whether nothing but the class token leaves the last block, and the block is of the ordinary kind."""
    pooled = visual.attn_pool is None and visual.pool_type == "tok"
    return pooled and type(block).__name__ == "ResidualAttentionBlock"


def _class_token(block: Any, tokens: torch.Tensor) -> torch.Tensor:
    """One block on (N,1+P,W) tokens of which the class token alone goes on, (N,1,W): one MLP less."""
    token = tokens[:, :1] + block.ls_1(block.attention(block.ln_1(tokens))[:, :1])
    result: torch.Tensor = token + block.ls_2(block.mlp(block.ln_2(token)))
    return result
