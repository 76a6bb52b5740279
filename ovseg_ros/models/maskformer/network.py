"""The paper's own proposal network: MaskFormer whose classes are embeddings in CLIP's text space.

Every learned tensor has the name it has in the released files (`backbone.*`, `sem_seg_head.*`), so that a
file is loaded as it is and nothing is renamed on the way. For inference: what only training needs, such as
the predictions of earlier decoder layers and dropout, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models.checkpoints.checkpoint import load_exactly, read_weights
from ovseg_ros.models.checkpoints.prefixes import unwrapped
from ovseg_ros.models.maskformer.config import CONFIGS, OvsegMaskFormerConfig, SwinConfig
from ovseg_ros.models.maskformer.head import PixelDecoder, Predictor
from ovseg_ros.models.maskformer.resnet import ResNetBackbone
from ovseg_ros.models.maskformer.swin import SwinBackbone
from ovseg_ros.proposals.maskformer import MaskFormerOutput, check_pixels

CURE = "name a released OVSeg file split by `ovseg convert-checkpoint`, and the backbone it was trained with"
NON_OBJECT_KEY = "non_object_embedding"


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
        sizes = config.backbone
        self.backbone = SwinBackbone(sizes) if isinstance(sizes, SwinConfig) else ResNetBackbone(sizes)
        self.sem_seg_head = nn.ModuleDict(
            {"pixel_decoder": PixelDecoder(config), "predictor": Predictor(config)}
        )
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
        check_pixels(pixels, self.size_divisor)
        features = self.backbone(pixels)
        mask_features = self.sem_seg_head["pixel_decoder"](features)
        embeddings, masks = self.sem_seg_head["predictor"](features[-1], mask_features)
        return MaskFormerOutput(masks, F.normalize(embeddings, dim=-1))

    def set_non_object(self, row: torch.Tensor) -> None:
        """Takes over the (1, C) row that stands for "no object", of any length but 0."""
        self.non_object = F.normalize(row.detach().to(self.non_object), dim=-1)


def build_ovseg_maskformer(config: OvsegMaskFormerConfig) -> OvsegMaskFormer:
    """The network with random weights, on the current default device, in evaluation mode."""
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
    state = unwrapped(state, network.state_dict())
    learned = _without_tables(state, network, weights, what)
    load_exactly(network, learned, path=weights, what=what, cure=CURE, ignore=("*.num_batches_tracked",))
    network.set_non_object(_read_non_object(non_object, config.embedding_dim))
    return network


def _config(backbone: str | Mapping[str, Any] | OvsegMaskFormerConfig) -> OvsegMaskFormerConfig:
    if isinstance(backbone, OvsegMaskFormerConfig):
        return backbone
    if isinstance(backbone, Mapping):
        return OvsegMaskFormerConfig.from_mapping(backbone)
    if not isinstance(backbone, str) or backbone not in CONFIGS:
        raise ConfigError(f"expected backbone of {sorted(CONFIGS)} or a mapping of sizes, got {backbone!r}")
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
    state = unwrapped(state, (NON_OBJECT_KEY,))
    row = state.get(NON_OBJECT_KEY)
    if row is None or len(state) != 1 or tuple(row.shape) != (1, width):
        got = {key: tuple(value.shape) for key, value in list(state.items())[:3]}
        raise WeightsError(f"expected {path} with {NON_OBJECT_KEY} {(1, width)} alone, got {got}; {CURE}")
    row = row.float()
    if not 0 < float(row.norm()) < float("inf"):
        raise WeightsError(
            f"expected {NON_OBJECT_KEY} in {path} finite and not zero, got {row.norm()}; {CURE}"
        )
    return row
