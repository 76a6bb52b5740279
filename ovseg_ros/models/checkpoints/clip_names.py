"""CLIP's tensors under the names that transformers and timm give them, under OpenAI's and open_clip's.

Both hold the same numbers: transformers has queries, keys and values apart and its projections transposed;
timm (an image tower alone, with open_clip's `visual.trunk.` before it or without) has the projection as its
head.
Towers that are no plain ViT, such as timm's ConvNeXts, keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from ovseg_ros.errors import WeightsError

OVSEG_PREFIX = "clip_adapter.clip_model."
"""Before CLIP's names in OVSeg's files."""

IN_EVERY_CLIP = ("logit_scale", f"{OVSEG_PREFIX}logit_scale")
"""One of these is in every file with a CLIP, whatever its towers are."""

OF_TRANSFORMERS = ("embeddings.class_embedding", "vision_model.embeddings.class_embedding")
OF_TIMM = ("cls_token", "trunk.cls_token", "visual.trunk.cls_token")
IMAGE_TOWERS = (*OF_TRANSFORMERS, *OF_TIMM, "visual.class_embedding")
"""One of these is in every file with a ViT as image tower, the text tower beside it or not."""

TEXT_PARTS = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")
"""How the names of a text tower begin where the whole CLIP has no `text.` before them."""

_BLOCKS = "transformer.resblocks."
_IN_TRANSFORMERS = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "pre_layrnorm": "ln_pre",  # their spelling
    "post_layernorm": "ln_post",
    "final_layer_norm": "ln_final",
    "encoder.layers": _BLOCKS[:-1],
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_IN_TIMM = {
    "patch_embed.proj": "conv1",
    "norm_pre": "ln_pre",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "norm": "ln_post",
    "blocks": _BLOCKS[:-1],
    "attn.qkv.weight": "attn.in_proj_weight",
    "attn.qkv.bias": "attn.in_proj_bias",
    "attn.proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def clip_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """CLIP's own tensors by its own names: out of OVSeg's wrapping, or all of them where there is none."""
    inner = {
        key.removeprefix(OVSEG_PREFIX): value
        for key, value in tensors.items()
        if key.startswith(OVSEG_PREFIX)
    }
    return inner or dict(tensors)


def open_clip_names(state: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    """The same tensors by open_clip's names; those that are neither transformers' nor timm's ViT stay.

    Args:
        state: of a whole CLIP, or of an image tower alone, which then comes under `visual.`.
        path: where they come from, for messages.

    Raises:
        WeightsError: a layer that has no place in open_clip's network.
    """
    if any(key in state for key in OF_TRANSFORMERS):
        return _from_transformers(state, path)
    for mark in OF_TIMM:
        if mark in state:
            return _from_timm(state, mark.removesuffix("cls_token"), path)
    return dict(state)


def with_text_prefix(state: Mapping[str, torch.Tensor], wanted: bool) -> dict[str, torch.Tensor]:
    """Names with `text.` before the text tower's parts, or without, whichever way the file has them."""
    if any(key.startswith("text.") for key in state) == wanted:
        return dict(state)
    if wanted:
        return {f"text.{key}" if key.startswith(TEXT_PARTS) else key: value for key, value in state.items()}
    return {key.removeprefix("text."): value for key, value in state.items()}


def _from_transformers(state: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    renamed: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if key.endswith("position_ids"):  # a constant that older versions save
            continue
        if key == "visual_projection.weight":
            renamed["visual.proj"] = value.T
        elif key == "text_projection.weight":
            renamed["text_projection"] = value.T
        elif key.startswith("text_model."):
            renamed[_replaced(key.removeprefix("text_model."), _IN_TRANSFORMERS)] = value
        elif key.startswith(("vision_model.", "embeddings.", "pre_layrnorm", "post_layernorm", "encoder.")):
            renamed[f"visual.{_replaced(key.removeprefix('vision_model.'), _IN_TRANSFORMERS)}"] = value
        else:
            renamed[key] = value
    joined = {key: value for key, value in renamed.items() if ".self_attn." not in key}
    for key in renamed:
        if ".self_attn.q_proj." in key:
            parts = [renamed.get(key.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
            if any(part is None for part in parts):
                raise WeightsError(
                    f"expected queries, keys and values beside {key} in {path}, some are missing"
                )
            into = key.replace(".self_attn.q_proj.", ".attn.in_proj_")
            joined[into] = torch.cat([part for part in parts if part is not None])  # (3W,W) or (3W,)
    return joined


def _from_timm(state: Mapping[str, torch.Tensor], before: str, path: Path) -> dict[str, torch.Tensor]:
    renamed: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix(before)
        if not key.startswith(before):
            renamed[key] = value
        elif name == "cls_token":
            renamed["visual.class_embedding"] = value.flatten()
        elif name == "pos_embed":
            renamed["visual.positional_embedding"] = value.flatten(0, 1)  # (1,1+P,W) -> (1+P,W)
        elif name == "head.weight":
            renamed["visual.proj"] = value.T
        elif name == "head.bias":
            if value.count_nonzero():
                raise WeightsError(
                    f"expected a projection without bias in {path}, got {key} that is not zero: a "
                    f"classifier's "
                    "head, not CLIP's; name a file of a CLIP's image tower"
                )
        else:
            renamed[f"visual.{_replaced(name, _IN_TIMM)}"] = value
    if f"{before.removesuffix('trunk.')}head.proj.weight" in renamed:  # open_clip's own, behind timm's trunk
        renamed["visual.proj"] = renamed.pop(f"{before.removesuffix('trunk.')}head.proj.weight").T
    return renamed


def _replaced(name: str, table: Mapping[str, str]) -> str:
    """A name with each part that the table knows replaced; longer parts first."""
    for part in sorted(table, key=len, reverse=True):
        pattern = rf"(^|\.){re.escape(part)}(?=\.|$)"
        name = re.sub(pattern, lambda found, new=table[part]: found[1] + new, name)
    return name
