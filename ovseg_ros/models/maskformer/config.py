"""Sizes of the paper's proposal network: the two released ones, and others from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ovseg_ros.errors import ConfigError
from ovseg_ros.models.yaml_files import sizes_from


@dataclass(frozen=True)
class SwinConfig:
    """A Swin backbone; the defaults are Swin-B at window 12.

    Attributes:
        embed_dim: channels of the first stage; they double from stage to stage.
        depths: blocks per stage; every second one has its windows shifted by half a window.
        num_heads: attention heads per stage, dividing the stage's channels.
        window: side of a window in positions.
        mlp_ratio: hidden channels of a block's perceptron, in multiples of its channels.
    """

    embed_dim: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    num_heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 12
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.num_heads) or any(
            c % h for c, h in zip(self.channels, self.num_heads)
        ):
            raise ConfigError(
                f"expected as many num_heads as depths, each dividing {self.channels}, got {self.num_heads}"
            )

    @property
    def channels(self) -> list[int]:
        """Of each stage's map."""
        return [self.embed_dim * 2**stage for stage in range(len(self.depths))]


@dataclass(frozen=True)
class ResNetConfig:
    """A ResNet backbone; the defaults are R101c.

    Attributes:
        depths: bottleneck blocks per stage.
        stem: channels the stem gives, even; half of them inside it.
        width: channels inside the first stage's bottlenecks; they double from stage to stage.
        outputs: channels the first stage gives; they double from stage to stage.
        multi_grid: dilation of the 3 x 3 convolution in each block of the last stage.
    """

    depths: tuple[int, ...] = (3, 4, 23, 3)
    stem: int = 128
    width: int = 64
    outputs: int = 256
    multi_grid: tuple[int, ...] = (1, 2, 4)

    def __post_init__(self) -> None:
        if self.stem % 2 or not self.depths or len(self.multi_grid) != self.depths[-1]:
            raise ConfigError(
                f"expected an even stem and one multi_grid dilation for each block of the last stage, got "
                f"stem {self.stem}, multi_grid {self.multi_grid}, depths {self.depths}"
            )

    @property
    def channels(self) -> list[int]:
        """Of each stage's map."""
        return [self.outputs * 2**stage for stage in range(len(self.depths))]


@dataclass(frozen=True)
class OvsegMaskFormerConfig:
    """Sizes of the network; the defaults are the paper's.

    Attributes:
        backbone: Swin or ResNet.
        embedding_dim: channels C of the class embeddings, those of the CLIP it was trained with.
        short_side, long_side: to what images were scaled in the evaluation, in pixels.
        embed_hidden_dim: hidden channels of the class head.
        queries: masks per image.
        hidden_dim, heads, feedforward_dim, decoder_layers: of the transformer decoder.
        conv_dim: channels of the pixel decoder, a multiple of 32.
        mask_dim: channels of the mask embedding.
        pixel_mean, pixel_std: of R, G, B in [0, 255].
        size_divisor: the input's sides are multiples of it, in pixels.

    Source: facebookresearch/ov-seg: ovseg_swinB_vitL_bs32_120k.yaml and ovseg_R101c_vitB_bs32_120k.yaml in
    configs/, and the defaults of open_vocab_seg/config.py, where alone the class head's 1024 hidden channels
    stand.
    """

    backbone: SwinConfig | ResNetConfig
    embedding_dim: int
    short_side: int = 640
    long_side: int = 2560
    embed_hidden_dim: int = 1024
    queries: int = 100
    hidden_dim: int = 256
    heads: int = 8
    feedforward_dim: int = 2048
    decoder_layers: int = 6
    conv_dim: int = 256
    mask_dim: int = 256
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    pixel_std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    size_divisor: int = 32

    def __post_init__(self) -> None:
        if self.hidden_dim % 4 or self.hidden_dim % self.heads or self.conv_dim % 32:
            raise ConfigError(
                "expected hidden_dim a multiple of 4 and of heads, and conv_dim a multiple of 32, got "
                f"hidden_dim {self.hidden_dim}, heads {self.heads}, conv_dim {self.conv_dim}"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> OvsegMaskFormerConfig:
        """From plain values, as a preset has them.

        `backbone` is a mapping whose `kind` is "swin" or "resnet" beside that backbone's own fields; what is
        not given keeps its default.

        Raises:
            ConfigError: a field that is unknown or missing.
        """
        fields = dict(values)
        given = fields.pop("backbone", {})
        if not isinstance(given, Mapping):
            raise ConfigError(f"expected backbone as a mapping with kind, got {given!r:.80}")
        backbone = dict(given)
        kinds = {"swin": SwinConfig, "resnet": ResNetConfig}
        kind = backbone.pop("kind", None)
        if not isinstance(kind, str) or kind not in kinds:
            raise ConfigError(f"expected backbone with kind of {sorted(kinds)}, got {kind!r}")
        body = sizes_from(kinds[kind], backbone, f"the {kind} backbone")
        return sizes_from(cls, {**fields, "backbone": body}, "OVSeg's MaskFormer")


SWIN_BASE = OvsegMaskFormerConfig(SwinConfig(), embedding_dim=768)
"""Trained with CLIP ViT-L/14."""

R101C = OvsegMaskFormerConfig(ResNetConfig(), embedding_dim=512, short_side=512, long_side=2048)
"""Trained with CLIP ViT-B/16."""

CONFIGS = {"swin_base": SWIN_BASE, "r101c": R101C}
