"""Checkpoints laid out exactly as OVSeg's released files: tiny with values, full width without memory."""

from __future__ import annotations

import torch
from clip_layout import TINY, ClipShape, openai_layout, random_clip, random_prompts
from maskformer_layout import TINY_RESNET, TINY_SWIN, released_layout, released_tables, synthetic_state

from ovseg_ros.models.ovseg_maskformer_config import R101C, SWIN_BASE, OvsegMaskFormerConfig

CLIP = "clip_adapter.clip_model."
MEAN = torch.tensor([122.7709, 116.7460, 104.0937]).reshape(1, 3, 1, 1)
STD = torch.tensor([68.5005, 66.6322, 70.3232]).reshape(1, 3, 1, 1)


def tiny_config(kind: str = "swin") -> OvsegMaskFormerConfig:
    """Sizes whose class embeddings are as wide as the tiny CLIP's."""
    sizes = TINY_SWIN if kind == "swin" else TINY_RESNET
    return OvsegMaskFormerConfig.from_mapping(sizes | {"embedding_dim": TINY.embed_dim})


def tiny_model(kind: str = "swin", depth: int = 3) -> dict[str, torch.Tensor]:
    """What stands under "model" in a released file, in small."""
    state = synthetic_state(tiny_config(kind))
    state |= {f"{CLIP}{key}": value for key, value in random_clip().items()}
    state[f"{CLIP}visual.mask_embedding"] = random_prompts(depth=depth)
    non_object = torch.randn(1, TINY.embed_dim, generator=torch.Generator().manual_seed(9))
    state["clip_adapter.non_object_embedding"] = non_object
    state["clip_adapter.pixel_mean"], state["clip_adapter.pixel_std"] = MEAN, STD
    state["criterion.empty_weight"] = torch.ones(172)
    return state


def full_layout(backbone: str, clip: ClipShape, depth: int = 3) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a released file's tensors, without the tables of Swin."""
    layout = released_layout(SWIN_BASE if backbone == "swin_base" else R101C)
    layout |= {f"{CLIP}{key}": shape for key, shape in openai_layout(clip).items()}
    layout[f"{CLIP}visual.mask_embedding"] = (depth, clip.patches, clip.width)
    return layout | {"clip_adapter.non_object_embedding": (1, clip.embed_dim)}


def full_model(backbone: str, clip: ClipShape, depth: int = 3) -> dict[str, torch.Tensor]:
    """A released file's tensors at full width: one number each, expanded, so nothing fills up."""
    state = {
        name: torch.full((), 0.01 * (1 + index % 7), dtype=torch.float16).expand(shape)
        for index, (name, shape) in enumerate(full_layout(backbone, clip, depth).items())
    }
    state |= released_tables(SWIN_BASE if backbone == "swin_base" else R101C)
    state["clip_adapter.pixel_mean"], state["clip_adapter.pixel_std"] = MEAN, STD
    state["criterion.empty_weight"] = torch.ones(172)
    return state
