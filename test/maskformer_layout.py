"""What a released OVSeg file holds of its proposal network: every name and shape, written down from the
published architecture and not from the module under test; and synthetic files of that layout."""

from __future__ import annotations

import math

import torch

from ovseg_ros.models.ovseg_maskformer_config import OvsegMaskFormerConfig, ResNetConfig, SwinConfig

Shapes = dict[str, tuple[int, ...]]

TINY_SWIN = {
    "backbone": {
        "kind": "swin",
        "embed_dim": 16,
        "depths": [2, 1, 1, 1],
        "num_heads": [2, 2, 4, 4],
        "window": 3,
    },
    "embedding_dim": 16,
    "embed_hidden_dim": 24,
    "queries": 5,
    "hidden_dim": 32,
    "heads": 4,
    "feedforward_dim": 40,
    "decoder_layers": 2,
    "conv_dim": 64,
    "mask_dim": 12,
    "short_side": 64,
    "long_side": 160,
}
"""As a preset would give it. A window of 3 needs padding nearly everywhere."""

TINY_RESNET = TINY_SWIN | {
    "backbone": {
        "kind": "resnet",
        "depths": [1, 2, 1, 3],
        "stem": 8,
        "width": 4,
        "outputs": 16,
        "multi_grid": [1, 2, 4],
    },
    "embedding_dim": 12,
}


def linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Shapes:
    weight = {f"{name}.weight": (outputs, inputs)}
    return weight | ({f"{name}.bias": (outputs,)} if bias else {})


def norm(name: str, channels: int) -> Shapes:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def conv(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel)}


def frozen_conv(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
    """detectron2's Conv2d with FrozenBN inside."""
    statistics = {f"{name}.norm.{kind}": (outputs,) for kind in ("running_mean", "running_var")}
    return conv(name, inputs, outputs, kernel) | norm(f"{name}.norm", outputs) | statistics


def swin_layout(backbone: SwinConfig) -> Shapes:
    """D2SwinTransformer without absolute positions, with patch norm; a norm for each stage's output."""
    layout = conv("backbone.patch_embed.proj", 3, backbone.embed_dim, 4)
    layout["backbone.patch_embed.proj.bias"] = (backbone.embed_dim,)
    layout |= norm("backbone.patch_embed.norm", backbone.embed_dim)
    stages = len(backbone.depths)
    for stage in range(stages):
        width = backbone.embed_dim * 2**stage
        for block in range(backbone.depths[stage]):
            name = f"backbone.layers.{stage}.blocks.{block}"
            layout |= norm(f"{name}.norm1", width) | norm(f"{name}.norm2", width)
            table = ((2 * backbone.window - 1) * (2 * backbone.window - 1), backbone.num_heads[stage])
            layout[f"{name}.attn.relative_position_bias_table"] = table
            layout |= linear(f"{name}.attn.qkv", width, 3 * width) | linear(f"{name}.attn.proj", width, width)
            hidden = int(backbone.mlp_ratio * width)
            layout |= linear(f"{name}.mlp.fc1", width, hidden) | linear(f"{name}.mlp.fc2", hidden, width)
        if stage < stages - 1:
            name = f"backbone.layers.{stage}.downsample"
            layout |= linear(f"{name}.reduction", 4 * width, 2 * width, bias=False)
            layout |= norm(f"{name}.norm", 4 * width)
        layout |= norm(f"backbone.norm{stage}", width)
    return layout


def resnet_layout(backbone: ResNetConfig) -> Shapes:
    """detectron2's ResNet with DeepLabStem and FrozenBN."""
    half = backbone.stem // 2
    layout = frozen_conv("backbone.stem.conv1", 3, half, 3)
    layout |= frozen_conv("backbone.stem.conv2", half, half, 3)
    layout |= frozen_conv("backbone.stem.conv3", half, backbone.stem, 3)
    inputs = backbone.stem
    for stage, depth in enumerate(backbone.depths):
        width, outputs = backbone.width * 2**stage, backbone.outputs * 2**stage
        for block in range(depth):
            name = f"backbone.res{stage + 2}.{block}"
            if inputs != outputs:
                layout |= frozen_conv(f"{name}.shortcut", inputs, outputs, 1)
            layout |= frozen_conv(f"{name}.conv1", inputs, width, 1)
            layout |= frozen_conv(f"{name}.conv2", width, width, 3)
            layout |= frozen_conv(f"{name}.conv3", width, outputs, 1)
            inputs = outputs
    return layout


def pixel_decoder_layout(channels: list[int], conv_dim: int, mask_dim: int) -> Shapes:
    """BasePixelDecoder with GN: adapter_1…3, layer_1…4, mask_features."""
    root = "sem_seg_head.pixel_decoder"
    layout: Shapes = {}
    for level, inputs in enumerate(channels, start=1):
        if level < len(channels):
            layout |= conv(f"{root}.adapter_{level}", inputs, conv_dim, 1)
            layout |= norm(f"{root}.adapter_{level}.norm", conv_dim)
        layout |= conv(f"{root}.layer_{level}", conv_dim if level < len(channels) else inputs, conv_dim, 3)
        layout |= norm(f"{root}.layer_{level}.norm", conv_dim)
    layout |= conv(f"{root}.mask_features", conv_dim, mask_dim, 3)
    layout[f"{root}.mask_features.bias"] = (mask_dim,)
    return layout


def predictor_layout(config: OvsegMaskFormerConfig, inputs: int) -> Shapes:
    """OpenVocabTransformerPredictor: DETR's decoder, no encoder layers."""
    root, width = "sem_seg_head.predictor", config.hidden_dim
    layout: Shapes = {f"{root}.query_embed.weight": (config.queries, width)}
    if inputs != width:
        layout |= conv(f"{root}.input_proj", inputs, width, 1)
        layout[f"{root}.input_proj.bias"] = (width,)
    for index in range(config.decoder_layers):
        name = f"{root}.transformer.decoder.layers.{index}"
        for attention in ("self_attn", "multihead_attn"):
            layout[f"{name}.{attention}.in_proj_weight"] = (3 * width, width)
            layout[f"{name}.{attention}.in_proj_bias"] = (3 * width,)
            layout |= linear(f"{name}.{attention}.out_proj", width, width)
        layout |= linear(f"{name}.linear1", width, config.feedforward_dim)
        layout |= linear(f"{name}.linear2", config.feedforward_dim, width)
        for number in (1, 2, 3):
            layout |= norm(f"{name}.norm{number}", width)
    layout |= norm(f"{root}.transformer.decoder.norm", width)
    layout |= linear(f"{root}.class_embed.layers.0", width, config.embed_hidden_dim)
    layout |= linear(f"{root}.class_embed.layers.1", config.embed_hidden_dim, config.embedding_dim)
    layout |= linear(f"{root}.mask_embed.layers.0", width, width)
    layout |= linear(f"{root}.mask_embed.layers.1", width, width)
    return layout | linear(f"{root}.mask_embed.layers.2", width, config.mask_dim)


def released_layout(config: OvsegMaskFormerConfig) -> Shapes:
    """Names and shapes of everything learned that a released file holds under backbone. and sem_seg_head."""
    backbone = config.backbone
    if isinstance(backbone, SwinConfig):
        layout, first = swin_layout(backbone), backbone.embed_dim
    else:
        layout, first = resnet_layout(backbone), backbone.outputs
    channels = [first * 2**stage for stage in range(len(backbone.depths))]
    layout |= pixel_decoder_layout(channels, config.conv_dim, config.mask_dim)
    return layout | predictor_layout(config, channels[-1])


def released_tables(config: OvsegMaskFormerConfig) -> dict[str, torch.Tensor]:
    """The tables that released Swin files hold beside what is learned, pair by pair; none for ResNet."""
    backbone = config.backbone
    if not isinstance(backbone, SwinConfig):
        return {}
    side = backbone.window
    places = [(y, x) for y in range(side) for x in range(side)]
    rows = [[(a - c + side - 1) * (2 * side - 1) + (b - d + side - 1) for c, d in places] for a, b in places]
    return {
        f"backbone.layers.{stage}.blocks.{block}.attn.relative_position_index": torch.tensor(rows)
        for stage, depth in enumerate(backbone.depths)
        for block in range(depth)
    }


def synthetic_state(config: OvsegMaskFormerConfig, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random values under exactly the released names, float32, of sizes that keep activations alive."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in released_layout(config).items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("running_var"):
            state[name] = 0.5 + noise.abs()
        elif "norm" in name and name.endswith("weight"):
            state[name] = 1 + 0.2 * noise
        elif len(shape) == 1 or "table" in name:
            state[name] = 0.3 * noise
        else:
            state[name] = noise / math.sqrt(math.prod(shape[1:]))
    return state | released_tables(config)
