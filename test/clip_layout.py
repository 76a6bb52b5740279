"""Checkpoints of CLIP made up by the tests, with exactly the names and shapes that OpenAI and OVSeg publish.

The names are written down here and not taken from open_clip, so that a test against them says something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ClipShape:
    """Sides in pixels, widths in channels; heads are width/64 as in OpenAI's, or 2 in tiny ones."""

    image_size: int = 224
    patch: int = 14
    width: int = 1024
    layers: int = 24
    embed_dim: int = 768
    text_width: int = 768
    text_layers: int = 12
    context: int = 77
    vocabulary: int = 49408
    heads: int = 16
    text_heads: int = 12

    @property
    def patches(self) -> int:
        return (self.image_size // self.patch) ** 2

    def as_open_clip(self) -> dict:
        """The mapping `load_clip` takes."""
        return {
            "embed_dim": self.embed_dim,
            "vision_cfg": {
                "image_size": self.image_size,
                "patch_size": self.patch,
                "width": self.width,
                "layers": self.layers,
                "head_width": self.width // self.heads,
            },
            "text_cfg": {
                "context_length": self.context,
                "vocab_size": self.vocabulary,
                "width": self.text_width,
                "heads": self.text_heads,
                "layers": self.text_layers,
            },
        }


VIT_L_14 = ClipShape()
VIT_B_16 = ClipShape(224, 16, 768, 12, 512, 512, 12, heads=12, text_heads=8)
TINY = ClipShape(32, 8, 16, 4, 12, 8, 2, heads=2, text_heads=2)


def openai_layout(shape: ClipShape) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in OpenAI's state dict of a ViT, without its three extra numbers."""
    width, text = shape.width, shape.text_width
    layout: dict[str, tuple[int, ...]] = {
        "positional_embedding": (shape.context, text),
        "text_projection": (text, shape.embed_dim),
        "logit_scale": (),
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (shape.patches + 1, width),
        "visual.proj": (width, shape.embed_dim),
        "visual.conv1.weight": (width, 3, shape.patch, shape.patch),
    }
    for name in ("ln_pre", "ln_post"):
        layout |= {f"visual.{name}.weight": (width,), f"visual.{name}.bias": (width,)}
    for layer in range(shape.layers):
        layout |= _block(f"visual.transformer.resblocks.{layer}.", width)
    for layer in range(shape.text_layers):
        layout |= _block(f"transformer.resblocks.{layer}.", text)
    layout |= {"token_embedding.weight": (shape.vocabulary, text)}
    layout |= {"ln_final.weight": (text,), "ln_final.bias": (text,)}
    return layout


def _block(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{prefix}attn.in_proj_weight": (3 * width, width),
        f"{prefix}attn.in_proj_bias": (3 * width,),
        f"{prefix}attn.out_proj.weight": (width, width),
        f"{prefix}attn.out_proj.bias": (width,),
        f"{prefix}ln_1.weight": (width,),
        f"{prefix}ln_1.bias": (width,),
        f"{prefix}mlp.c_fc.weight": (4 * width, width),
        f"{prefix}mlp.c_fc.bias": (4 * width,),
        f"{prefix}mlp.c_proj.weight": (width, 4 * width),
        f"{prefix}mlp.c_proj.bias": (width,),
        f"{prefix}ln_2.weight": (width,),
        f"{prefix}ln_2.bias": (width,),
    }


def openai_extras(shape: ClipShape) -> dict[str, torch.Tensor]:
    """The three numbers that OpenAI's files hold beside the weights."""
    return {
        "input_resolution": torch.tensor(shape.image_size),
        "context_length": torch.tensor(shape.context),
        "vocab_size": torch.tensor(shape.vocabulary),
    }


def random_clip(shape: ClipShape = TINY, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict:
    """A state dict with OpenAI's names; sizes of values such that every part of the network matters."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, size in openai_layout(shape).items():
        value = torch.randn(size, generator=generator)
        if name == "logit_scale":
            value = torch.tensor(math.log(100.0))
        elif name.endswith(
            ("ln_1.weight", "ln_2.weight", "ln_pre.weight", "ln_post.weight", "ln_final.weight")
        ):
            value = 1 + 0.3 * value
        elif len(size) >= 2 and "embedding" not in name:
            value = value / math.sqrt(math.prod(size[1:]) if name.endswith("weight") else size[0])
        else:
            value = 0.5 * value
        state[name] = value.to(dtype)
    return state


def random_prompts(shape: ClipShape = TINY, depth: int = 3, seed: int = 1) -> torch.Tensor:
    """Mask prompts (depth, patches, width)."""
    return torch.randn(depth, shape.patches, shape.width, generator=torch.Generator().manual_seed(seed))
