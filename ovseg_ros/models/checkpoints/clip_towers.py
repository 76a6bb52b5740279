"""What a file holds of a CLIP: all of it, an image tower alone, or one for images of another size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.checkpoints.checkpoint import DEFAULT_CURE, load_exactly, read_weights
from ovseg_ros.models.checkpoints.clip_names import IMAGE_TOWERS, IN_EVERY_CLIP, clip_tensors, open_clip_names
from ovseg_ros.models.checkpoints.prefixes import unwrapped

CONSTANTS = ("attn_mask", "*.attn_mask", "*.position_ids")
"""Names that some programs save beside the weights."""


def check_whole(state: Mapping[str, torch.Tensor], weights: Path, name: str) -> None:
    """A file with an image tower alone deserves its own message."""
    if "visual.class_embedding" in state and not any("token_embedding." in key for key in state):
        raise WeightsError(
            f"{weights} holds an image tower alone, expected CLIP {name} with its text tower; name the "
            "file of the whole CLIP as weights, and this one as image_weights"
        )


def load_image_tower(network: Any, path: Path, name: str) -> torch.Tensor | None:
    """Fills the image tower from a file of its own, or out of a whole CLIP; gives the mask prompts in it."""
    tensors, _ = read_weights(path)
    tensors = unwrapped(tensors, (*IN_EVERY_CLIP, *IMAGE_TOWERS))
    state = open_clip_names(clip_tensors(tensors), path)
    state = {key: value for key, value in state.items() if key.startswith("visual.")}
    prompts = state.pop("visual.mask_embedding", None)
    check_grid(network, state, path, name)
    own = {key.removeprefix("visual."): value for key, value in state.items()}
    what = f"the image tower of CLIP {name}"
    load_exactly(network.visual, own, path=path, what=what, ignore=(*CONSTANTS, "proj"))
    return prompts


def check_grid(network: Any, state: Mapping[str, torch.Tensor], weights: Path, name: str) -> None:
    """Weights for another input size have another grid of patches; that deserves its own message."""
    key = "visual.positional_embedding"
    own, got = network.state_dict().get(key), state.get(key)
    if own is None or got is None or own.ndim != 2 or got.ndim != 2 or own.shape[1] != got.shape[1]:
        return
    if own.shape[0] != got.shape[0]:
        want_side, got_side = (round((rows - 1) ** 0.5) for rows in (own.shape[0], got.shape[0]))
        patch = network.visual.patch_size[0]
        raise WeightsError(
            f"{weights} does not hold CLIP {name}: expected positional embeddings of {want_side}x{want_side} "
            f"patches ({want_side * patch} pixels), got {got_side}x{got_side} ({got_side * patch} pixels); "
            f"name the architecture of that input size, or: {DEFAULT_CURE}"
        )
