"""Segment Anything (Kirillov et al., 2023): building its networks and filling them from a file.

The networks are segment-anything's own. A checkpoint holds exactly the names of `Sam`, without a wrapper:
`image_encoder.*`, `prompt_encoder.*`, `mask_decoder.*`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ovseg_ros.errors import ConfigError
from ovseg_ros.models.checkpoints.checkpoint import load_exactly, read_weights
from ovseg_ros.models.checkpoints.prefixes import unwrapped
from ovseg_ros.models.yaml_files import sizes_from

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

MODELS = {"vit_b": (768, 12), "vit_l": (1024, 24), "vit_h": (1280, 32)}
"""The published sizes: width and number of blocks of the image encoder."""

FILES = {"vit_b": "sam_vit_b_01ec64.pth", "vit_l": "sam_vit_l_0b3195.pth", "vit_h": "sam_vit_h_4b8939.pth"}
"""The published files, see https://github.com/facebookresearch/segment-anything#model-checkpoints."""

_RELATIVES = {  # what else people call SAM, by a key only it has
    "image_encoder.patch_embed.seq.0.c.weight": "MobileSAM, whose image encoder is another network",
    "image_encoder.trunk.patch_embed.proj.weight": "SAM 2, which is another network",
    "mask_decoder.hf_token.weight": "HQ-SAM, whose mask decoder has parts of its own",
    "vision_encoder.pos_embed": "SAM as transformers names it; take the original file",
}


@dataclass(frozen=True)
class SamArchitecture:
    """A Segment Anything network of any size; the defaults are those of the published ones.

    Attributes:
        embed_dim: width of the image encoder, a multiple of `heads`.
        depth: number of its blocks.
        heads: attention heads per block.
        global_attn_indexes: blocks that attend to the whole image, the others to windows.
        image_size: side of the square input in pixels, a multiple of 16.
        window_size: side of a window in patches of 16 pixels.
        prompt_embed_dim: width of prompts and mask decoder, a multiple of 8 and of twice `decoder_heads`.
        decoder_depth: blocks of the mask decoder.
        decoder_heads: its attention heads.
        decoder_mlp_dim: its feed-forward width.
        iou_head_hidden_dim: hidden width of the head that predicts the masks' IoU.
    """

    embed_dim: int
    depth: int
    heads: int
    global_attn_indexes: tuple[int, ...]
    image_size: int = 1024
    window_size: int = 14
    prompt_embed_dim: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    iou_head_hidden_dim: int = 256

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "global_attn_indexes" and (type(value) is not int or value < 1):
                raise ConfigError(f"expected SAM's {field.name} as a whole number >= 1, got {value!r}")
        indexes = self.global_attn_indexes
        if type(indexes) is not tuple or any(type(i) is not int or not 0 <= i < self.depth for i in indexes):
            raise ConfigError(
                f"expected global_attn_indexes as a list of numbers from 0 to {self.depth - 1}, got "
                f"{indexes!r}"
            )
        if self.image_size % 16:
            raise ConfigError(f"expected SAM's image_size divisible by 16, got {self.image_size}")
        if self.embed_dim % self.heads:
            raise ConfigError(f"expected embed_dim divisible by heads, got {self.embed_dim}, {self.heads}")
        if self.prompt_embed_dim % 8 or self.prompt_embed_dim % (2 * self.decoder_heads):
            raise ConfigError(
                "expected prompt_embed_dim divisible by 8 and by twice decoder_heads, got "
                f"{self.prompt_embed_dim}, {self.decoder_heads}"
            )


def build_sam(model: str | Mapping[str, Any]) -> Sam:
    """A network with random weights, on the CPU, in evaluation mode.

    Args:
        model: "vit_b", "vit_l" or "vit_h", built by segment-anything itself, or a mapping of the fields of
            `SamArchitecture`.

    Raises:
        ConfigError: an unknown name or field, or numbers that do not go together.
    """
    if isinstance(model, str):
        if model not in MODELS:
            raise ConfigError(f"expected a SAM model of {', '.join(MODELS)} or a mapping, got {model!r}")
        from segment_anything import sam_model_registry

        return sam_model_registry[model]()
    return _build(sizes_from(SamArchitecture, model, "SAM"))


def load_sam(model: str | Mapping[str, Any], weights: Path) -> Sam:
    """Builds a network and fills it from a file.

    Args:
        model: see `build_sam`.
        weights: a published `sam_vit_*.pth`, or safetensors with the same names.

    Returns:
        The network on the CPU, float32, in evaluation mode.

    Raises:
        ConfigError: see `build_sam`.
        WeightsError: missing, damaged, or of another architecture; says which one it looks like.
    """
    wanted = f"SAM {model}" if isinstance(model, str) else "the SAM of this preset"
    weights = Path(weights)
    if isinstance(model, str) and model not in MODELS:
        build_sam(model)  # raises, before a file of gigabytes is read
    state, _ = read_weights(weights, cure=_file_cure(model))
    sam = build_sam(model)
    state = unwrapped(state, sam.state_dict())
    load_exactly(sam, state, path=weights, what=wanted, cure=_cure(model, state))
    return sam


def describe_state(state: Mapping[str, torch.Tensor]) -> str:
    """What a state dict looks like: "vit_b", "vit_l", "vit_h", another SAM in words, or ""."""
    for key, name in _RELATIVES.items():
        if key in state:
            return name
    numbers = _width_and_depth(state)
    if numbers is None:
        return ""
    for name, published in MODELS.items():
        if numbers == published:
            return name
    return "a SAM of a size that was not published"


def _cure(model: str | Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> str:
    """What to do if a file that could be read does not fit."""
    likeness = describe_state(state)
    if not likeness:
        return f"the file does not look like SAM; {_file_cure(model)}"
    said = f"say model: {likeness}, or " if likeness in MODELS and likeness != model else ""
    return f"the file looks like {likeness} ({_numbers(state)}); {said}{_file_cure(model)}"


def _width_and_depth(state: Mapping[str, torch.Tensor]) -> tuple[int, int] | None:
    position = state.get("image_encoder.pos_embed")  # (1, h, w, C)
    blocks = {key.split(".")[2] for key in state if key.startswith("image_encoder.blocks.")}
    return None if position is None or position.ndim != 4 else (int(position.shape[-1]), len(blocks))


def _numbers(state: Mapping[str, torch.Tensor]) -> str:
    numbers = _width_and_depth(state)
    return f"{len(state)} tensors" if numbers is None else f"embed_dim {numbers[0]}, depth {numbers[1]}"


def _file_cure(model: str | Mapping[str, Any]) -> str:
    if isinstance(model, str) and model in FILES:
        return (
            f"get {FILES[model]} from https://github.com/facebookresearch/segment-anything#model-checkpoints"
        )
    return "name a file that was saved from this architecture"


def _build(architecture: SamArchitecture) -> Sam:
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    width, size = architecture.prompt_embed_dim, architecture.image_size
    sam = Sam(
        ImageEncoderViT(
            img_size=size,
            patch_size=16,
            embed_dim=architecture.embed_dim,
            depth=architecture.depth,
            num_heads=architecture.heads,
            out_chans=width,
            norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=architecture.window_size,
            global_attn_indexes=architecture.global_attn_indexes,
        ),
        PromptEncoder(
            embed_dim=width,
            image_embedding_size=(size // 16, size // 16),
            input_image_size=(size, size),
            mask_in_chans=16,
        ),
        MaskDecoder(
            transformer_dim=width,
            transformer=TwoWayTransformer(
                depth=architecture.decoder_depth,
                embedding_dim=width,
                num_heads=architecture.decoder_heads,
                mlp_dim=architecture.decoder_mlp_dim,
            ),
            iou_head_hidden_dim=architecture.iou_head_hidden_dim,
        ),
    )
    return sam.eval()
