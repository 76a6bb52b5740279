"""The paper's own proposal network: MaskFormer whose classes are embeddings in CLIP's text space.

Every learned tensor has the name it has in the released files (`backbone.*`, `sem_seg_head.*`), so that a
file is loaded as it is and nothing is renamed on the way. For inference: what only training needs, such as
the predictions of earlier decoder layers and dropout, is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ovseg_ros.errors import ConfigError, InvalidInputError, WeightsError
from ovseg_ros.models.checkpoint import load_exactly, read_weights
from ovseg_ros.models.ovseg_maskformer_head import PixelDecoder, Predictor
from ovseg_ros.models.ovseg_maskformer_resnet import ResNetBackbone
from ovseg_ros.models.ovseg_maskformer_swin import SwinBackbone
from ovseg_ros.proposals.maskformer import MaskFormerOutput

CURE = "name a released OVSeg file split by `ovseg convert-checkpoint`, and the backbone it was trained with"
NON_OBJECT_KEY = "non_object_embedding"


@dataclass(frozen=True)
class SwinConfig:
    """A Swin backbone; the fields are those of `SwinBackbone`. The defaults are Swin-B at window 12."""

    embed_dim: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    num_heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 12
    mlp_ratio: float = 4.0


@dataclass(frozen=True)
class ResNetConfig:
    """A ResNet backbone; the fields are those of `ResNetBackbone`. The defaults are R101c."""

    depths: tuple[int, ...] = (3, 4, 23, 3)
    stem: int = 128
    width: int = 64
    outputs: int = 256
    multi_grid: tuple[int, ...] = (1, 2, 4)


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
                "want hidden_dim a multiple of 4 and of heads, and conv_dim a multiple of 32, got "
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
        backbone = dict(fields.pop("backbone", {}))
        kinds = {"swin": SwinConfig, "resnet": ResNetConfig}
        kind = backbone.pop("kind", None)
        if kind not in kinds:
            raise ConfigError(f"want backbone with kind of {sorted(kinds)}, got {kind!r}")
        return _fill(cls, {**fields, "backbone": _fill(kinds[kind], backbone)})


def _fill(cls: type, values: Mapping[str, Any]) -> Any:
    """A configuration of class `cls`; lists become tuples."""
    known = {field.name for field in dataclasses.fields(cls)}
    if unknown := sorted(set(values) - known):
        raise ConfigError(f"want fields of {cls.__name__} ({sorted(known)}), got {unknown}")
    try:
        return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    except TypeError as error:
        raise ConfigError(f"want every field of {cls.__name__} without a default: {error}") from error


SWIN_BASE = OvsegMaskFormerConfig(SwinConfig(), embedding_dim=768)
"""Trained with CLIP ViT-L/14."""

R101C = OvsegMaskFormerConfig(ResNetConfig(), embedding_dim=512, short_side=512, long_side=2048)
"""Trained with CLIP ViT-B/16."""

CONFIGS = {"swin_base": SWIN_BASE, "r101c": R101C}


class OvsegMaskFormer(nn.Module):
    """Backbone, pixel decoder and predictor.

    Attributes:
        config: its sizes.
        non_object: (1, C) unit row, the learned "no object" that competes with the words; buffer. NaN until
            it is set.
        classifies: it gives class embeddings.

    See `ovseg_ros.proposals.maskformer.MaskFormerNetwork` for the others.
    """

    classifies = True
    non_object: torch.Tensor

    def __init__(self, config: OvsegMaskFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.pixel_mean, self.pixel_std = config.pixel_mean, config.pixel_std
        self.size_divisor = config.size_divisor
        self.short_side, self.long_side = config.short_side, config.long_side
        body: type[nn.Module] = SwinBackbone if isinstance(config.backbone, SwinConfig) else ResNetBackbone
        self.backbone = body(**vars(config.backbone))
        channels = self.backbone.channels
        predictor = Predictor(
            inputs=channels[-1],
            hidden_dim=config.hidden_dim,
            queries=config.queries,
            heads=config.heads,
            feedforward_dim=config.feedforward_dim,
            layers=config.decoder_layers,
            mask_dim=config.mask_dim,
            embed_hidden_dim=config.embed_hidden_dim,
            embedding_dim=config.embedding_dim,
        )
        pixel_decoder = PixelDecoder(channels, config.conv_dim, config.mask_dim)
        self.sem_seg_head = nn.ModuleDict({"pixel_decoder": pixel_decoder, "predictor": predictor})
        unset = torch.full((1, config.embedding_dim), float("nan"))
        self.register_buffer("non_object", unset, persistent=False)

    def forward(self, pixels: torch.Tensor) -> MaskFormerOutput:
        """Masks and class embeddings of one image.

        mask_q = <mask_embed(h_q), mask_features>,  class_q = class_embed(h_q) / |class_embed(h_q)|

        Args:
            pixels: (1, 3, h, w) normalised; h and w multiples of `size_divisor`.

        Raises:
            InvalidInputError: another shape.
        """
        if pixels.shape[:2] != (1, 3) or any(side % self.size_divisor for side in pixels.shape[2:]):
            raise InvalidInputError(
                f"want pixels (1,3,h,w) with sides that are multiples of {self.size_divisor}, "
                f"got {tuple(pixels.shape)}"
            )
        features = self.backbone(pixels)
        mask_features = self.sem_seg_head["pixel_decoder"](features)
        embeddings, masks = self.sem_seg_head["predictor"](features[-1], mask_features)
        return MaskFormerOutput(masks, F.normalize(embeddings, dim=-1))

    def set_non_object(self, row: torch.Tensor) -> None:
        """Takes over the (1, C) row that stands for "no object", of any length but 0."""
        self.non_object = F.normalize(row.detach().to(self.non_object), dim=-1)


def build_ovseg_maskformer(config: OvsegMaskFormerConfig) -> OvsegMaskFormer:
    """The network with random weights, on the current default device, in evaluation mode.

    Raises:
        ConfigError: sizes that do not fit each other.
    """
    return OvsegMaskFormer(config).eval().requires_grad_(False)


def load_ovseg_maskformer(
    backbone: str | Mapping[str, Any] | OvsegMaskFormerConfig, weights: Path, non_object: Path
) -> OvsegMaskFormer:
    """Loads the network on the CPU, in evaluation mode.

    Args:
        backbone: "swin_base", "r101c", or the sizes of another network (see `from_mapping`).
        weights: file with exactly the keys `backbone.*` and `sem_seg_head.*` of a released file. Tables that
            follow from the sizes (`relative_position_index`) may be in it and must then be right;
            `num_batches_tracked` may be in it and is not used.
        non_object: file with the one key `non_object_embedding`, (1, C).

    Raises:
        ConfigError: an unknown backbone, or sizes that do not fit each other.
        WeightsError: a file that is missing, damaged, or of another network; lists what does not fit.
    """
    config = _config(backbone)
    network = build_ovseg_maskformer(config)
    what = f"OVSeg's MaskFormer with {type(config.backbone).__name__.removesuffix('Config')} backbone"
    state, _ = read_weights(weights, cure=CURE)
    learned = _without_tables(state, network, weights, what)
    load_exactly(network, learned, path=weights, what=what, cure=CURE, ignore=("*.num_batches_tracked",))
    network.set_non_object(_read_non_object(non_object, config.embedding_dim))
    return network


def _config(backbone: str | Mapping[str, Any] | OvsegMaskFormerConfig) -> OvsegMaskFormerConfig:
    if isinstance(backbone, OvsegMaskFormerConfig):
        return backbone
    if isinstance(backbone, Mapping):
        return OvsegMaskFormerConfig.from_mapping(backbone)
    if backbone not in CONFIGS:
        raise ConfigError(f"want backbone of {sorted(CONFIGS)} or a mapping of sizes, got {backbone!r}")
    return CONFIGS[backbone]


def _without_tables(
    state: Mapping[str, torch.Tensor], network: nn.Module, path: Path, what: str
) -> dict[str, torch.Tensor]:
    """Drops the tables that the network computes itself, if they are the same there."""
    tables = {k: v for k, v in network.named_buffers() if k.endswith(".relative_position_index")}
    wrong = [key for key in tables.keys() & state.keys() if not torch.equal(state[key].long(), tables[key])]
    if wrong:
        raise WeightsError(f"{path} does not hold {what}: another {sorted(wrong)[0]} (window size); {CURE}")
    return {key: value for key, value in state.items() if key not in tables}


def _read_non_object(path: Path, width: int) -> torch.Tensor:
    """(1, C) float32, finite and not zero."""
    state, _ = read_weights(path, cure=CURE)
    row = state.get(NON_OBJECT_KEY)
    if row is None or len(state) != 1 or tuple(row.shape) != (1, width):
        got = {key: tuple(value.shape) for key, value in list(state.items())[:3]}
        raise WeightsError(f"want {path} with {NON_OBJECT_KEY} {(1, width)} alone, got {got}; {CURE}")
    row = row.float()
    if not 0 < float(row.norm()) < float("inf"):
        raise WeightsError(f"want {NON_OBJECT_KEY} in {path} finite and not zero, got {row.norm()}; {CURE}")
    return row
