"""The bundled model `mini`: a small mask-prompted ViT in the space of the locked MiniLM text tower.

Two files beside each other: `mini.safetensors` (half precision on disk, single in memory) with the keys
`visual.*` (open_clip's VisionTransformer), `mask_prompts` (depth, patches, width) and `logit_scale`
(natural logarithm, as open_clip keeps it), and `mini.json` with the ViT's shape and the SHA-256 of the
first. The text tower is not in them: it is the verified package of `ovseg_ros.models.bundled.minilm`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
from safetensors.torch import save_file
from torch import nn

from ovseg_ros.core.encoders import MaskPromptedClip
from ovseg_ros.errors import WeightsError
from ovseg_ros.files.texts import read_json
from ovseg_ros.models.bundled.minilm import EMBEDDING_DIM, MiniLmTokenizer, load_text_tower
from ovseg_ros.models.checkpoints.checkpoint import load_exactly, read_weights
from ovseg_ros.models.clip import read_prompts, with_prompts
from ovseg_ros.models.downloads.verify import sha256_of

WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"
CURE = "restore mini.safetensors and mini.json together from the repository or reinstall ovseg_ros"


@dataclass(frozen=True)
class MiniConfig:
    """Shape of the ViT. `image_size`, `patch_size`: pixels; `width`: channels of a token."""

    image_size: int = 112
    patch_size: int = 16
    width: int = 256
    layers: int = 8
    heads: int = 4
    mlp_ratio: float = 4.0
    embed_dim: int = EMBEDDING_DIM

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size or self.width % self.heads:
            raise WeightsError(f"patches must tile the image and heads divide the width, got {self}")
        if self.embed_dim != EMBEDDING_DIM:
            raise WeightsError(f"expected the text tower's embed_dim {EMBEDDING_DIM}, got {self.embed_dim}")


def build_mini_clip(config: MiniConfig) -> tuple[CustomTextCLIP, MiniLmTokenizer]:
    """The open_clip model with a freshly initialised image tower and the pretrained, locked text tower.

    Returns:
        The model (CPU, float32) and its tokenizer.
    """
    tower, tokenizer = load_text_tower()
    vision = CLIPVisionCfg(
        image_size=config.image_size,
        patch_size=config.patch_size,
        width=config.width,
        layers=config.layers,
        head_width=config.width // config.heads,
        mlp_ratio=config.mlp_ratio,
    )
    placeholder = CLIPTextCfg(context_length=1, vocab_size=2, width=8, heads=1, layers=1)
    model = CustomTextCLIP(config.embed_dim, vision, placeholder)
    model.text, model.context_length, model.vocab_size = tower, tower.context_length, tower.vocab_size
    return model, tokenizer


def save_mini(
    path: Path,
    model: CustomTextCLIP,
    mask_prompts: torch.Tensor | None,
    config: MiniConfig,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Writes `path` (.safetensors, fp16) and the JSON beside it with shape, SHA-256 and `notes`.

    Args:
        path: file to write; its folder is made.
        model: as built by `build_mini_clip`.
        mask_prompts: (depth, patches, width), or None for a model without prompts.
        config: shape the model was built with.
        notes: anything to keep with the weights, such as data and accuracy; not read back.
    """
    state = {f"visual.{key}": value for key, value in model.visual.state_dict().items()}
    if mask_prompts is not None:
        state["mask_prompts"] = mask_prompts
    half = {key: value.detach().cpu().half().contiguous() for key, value in state.items()}
    half["logit_scale"] = model.logit_scale.detach().cpu().float().clone()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(half, path)
    record = {**dataclasses.asdict(config), "sha256": sha256_of(path), "notes": dict(notes or {})}
    path.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def mini_config(model: CustomTextCLIP) -> MiniConfig:
    """The shape a model was built with, as `save_mini` wants it."""
    visual = model.visual
    block = visual.transformer.resblocks[0]
    width = visual.conv1.out_channels
    return MiniConfig(
        image_size=visual.image_size[0],
        patch_size=visual.patch_size[0],
        width=width,
        layers=len(visual.transformer.resblocks),
        heads=block.attn.num_heads,
        mlp_ratio=block.mlp.c_fc.out_features / width,
    )


def load_mini(
    path: Path = WEIGHTS_FOLDER / "mini.safetensors", *, prompts: Path | None = None
) -> MaskPromptedClip:
    """Loads `mini` from `path` and the JSON beside it, on the CPU, in float32, in evaluation mode.

    Args:
        path: the weights.
        prompts: file with mask prompts instead of those in `path`; see `read_prompts`.

    Raises:
        WeightsError: a file is missing, damaged, of another shape, or has keys too many or too few; the
            message lists them and names the cure.
    """
    config, sha256 = _read_config(path.with_suffix(".json"))
    state, _ = read_weights(path, cure=CURE, sha256=sha256)
    model, tokenizer = build_mini_clip(config)
    mask_prompts = state.pop("mask_prompts", None)
    part = nn.Module()
    part.visual, part.logit_scale = model.visual, model.logit_scale
    load_exactly(part, state, path=path, what="this `mini`", cure=CURE)
    if prompts is not None:
        mask_prompts = read_prompts(prompts)
    return with_prompts(model, tokenizer, mask_prompts, path=prompts or path, what="this `mini`", cure=CURE)


def _read_config(path: Path) -> tuple[MiniConfig, str]:
    if not path.is_file():
        raise WeightsError(f"expected the description {path}, it does not exist; {CURE}")
    record = read_json(path, refuse=lambda problem: WeightsError(f"{problem}; {CURE}"))
    try:
        sha256 = record.pop("sha256")
        record.pop("notes", None)
        return MiniConfig(**record), sha256
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} does not describe a `mini` model: {error!r}; {CURE}") from error
