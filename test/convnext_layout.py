"""CLIPs with a ConvNeXt as image tower, with exactly the names and shapes that LAION publishes them with.

The names are written down here and not taken from open_clip or timm, so that a test against them says
something. Those of the blocks are also what https://github.com/bytedance/fc-clip/issues/34 lists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from clip_layout import _block


@dataclass(frozen=True)
class ConvNextShape:
    """Widths in channels, depths in blocks; `hidden` is the width of the head's perceptron, 0 for none."""

    trunk: str
    image_size: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    embed_dim: int
    hidden: int
    text_width: int
    text_layers: int
    text_heads: int
    vocabulary: int = 49408
    context: int = 77

    def as_open_clip(self) -> dict[str, Any]:
        """The mapping `load_clip` takes."""
        return {
            "embed_dim": self.embed_dim,
            "vision_cfg": {
                "timm_model_name": self.trunk,
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "mlp" if self.hidden else "linear",
                "image_size": self.image_size,
            },
            "text_cfg": {
                "context_length": self.context,
                "vocab_size": self.vocabulary,
                "width": self.text_width,
                "heads": self.text_heads,
                "layers": self.text_layers,
            },
        }


BASE_W = ConvNextShape("convnext_base", 256, (3, 3, 27, 3), (128, 256, 512, 1024), 640, 0, 640, 12, 10)
LARGE_D_320 = ConvNextShape(
    "convnext_large", 320, (3, 3, 27, 3), (192, 384, 768, 1536), 768, 1536, 768, 16, 12
)
TINY = ConvNextShape("test_convnext", 64, (1, 2, 4, 2), (24, 32, 48, 64), 12, 0, 8, 1, 2)
TINY_D = ConvNextShape("test_convnext", 64, (1, 2, 4, 2), (24, 32, 48, 64), 12, 24, 8, 1, 2)


def convnext_layout(shape: ConvNextShape) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in the state dict."""
    text = shape.text_width
    layout: dict[str, tuple[int, ...]] = {
        "positional_embedding": (shape.context, text),
        "text_projection": (text, shape.embed_dim),
        "logit_scale": (),
        "token_embedding.weight": (shape.vocabulary, text),
        "ln_final.weight": (text,),
        "ln_final.bias": (text,),
    }
    for layer in range(shape.text_layers):
        layout |= _block(f"transformer.resblocks.{layer}.", text)
    trunk, first, last = "visual.trunk.", shape.widths[0], shape.widths[-1]
    layout |= _weights(f"{trunk}stem.0", (first, 3, 4, 4)) | _weights(f"{trunk}stem.1", (first,))
    for stage, (depth, width) in enumerate(zip(shape.depths, shape.widths, strict=True)):
        name = f"{trunk}stages.{stage}."
        if stage:
            before = shape.widths[stage - 1]
            layout |= _weights(f"{name}downsample.0", (before,))
            layout |= _weights(f"{name}downsample.1", (width, before, 2, 2))
        for block in range(depth):
            inner = f"{name}blocks.{block}."
            layout[f"{inner}gamma"] = (width,)
            layout |= _weights(f"{inner}conv_dw", (width, 1, 7, 7)) | _weights(f"{inner}norm", (width,))
            layout |= _weights(f"{inner}mlp.fc1", (4 * width, width))
            layout |= _weights(f"{inner}mlp.fc2", (width, 4 * width))
    layout |= _weights(f"{trunk}head.norm", (last,))
    if shape.hidden:
        layout |= _weights("visual.head.mlp.fc1", (2 * shape.embed_dim, last))
        layout["visual.head.mlp.fc2.weight"] = (shape.embed_dim, 2 * shape.embed_dim)
    else:
        layout["visual.head.proj.weight"] = (shape.embed_dim, last)
    return layout


def _weights(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def random_convnext(shape: ConvNextShape = TINY, seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict with values such that every part of the network matters."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, size in convnext_layout(shape).items():
        value = torch.randn(size, generator=generator)
        if name == "logit_scale":
            value = torch.tensor(math.log(100.0))
        elif name.endswith("gamma") or (len(size) == 1 and name.endswith("weight")):
            value = 1 + 0.3 * value
        elif len(size) >= 2 and "embedding" not in name:
            value = value / math.sqrt(math.prod(size[1:]) if name.endswith("weight") else size[0])
        else:
            value = 0.5 * value
        state[name] = value
    return state
