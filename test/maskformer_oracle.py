"""The paper's MaskFormer by other code with the same weights: transformers' with Swin, and timm's ResNet.

`state` holds what is learned, float64, under the released names.
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
import transformers as hf

from ovseg_ros.models.ovseg_maskformer_config import OvsegMaskFormerConfig, ResNetConfig, SwinConfig

State = dict[str, torch.Tensor]

# Released names -> those of MaskFormer's files on the hub, which any transformers loads. All apply, in turn.
TO_HUB = [
    (
        r"^backbone\.patch_embed\.proj",
        "pixel_level_module.encoder.model.embeddings.patch_embeddings.projection",
    ),
    (r"^backbone\.patch_embed", "pixel_level_module.encoder.model.embeddings"),
    (r"^backbone\.norm(\d)", r"pixel_level_module.encoder.hidden_states_norms.\1"),
    (r"^backbone\.", "pixel_level_module.encoder.model.encoder."),
    (r"(blocks\.\d+)\.norm1", r"\1.layernorm_before"),
    (r"(blocks\.\d+)\.norm2", r"\1.layernorm_after"),
    (r"(blocks\.\d+)\.mlp\.fc1", r"\1.intermediate.dense"),
    (r"(blocks\.\d+)\.mlp\.fc2", r"\1.output.dense"),
    (r"attn\.proj", "attention.output.dense"),
    (r"attn\.(relative|query|key|value)", r"attention.self.\1"),
    (r"^sem_seg_head\.pixel_decoder\.mask_features", "pixel_level_module.decoder.mask_projection"),
    (r"^sem_seg_head\.predictor\.query_embed", "transformer_module.queries_embedder"),
    (r"^sem_seg_head\.predictor\.input_proj", "transformer_module.input_projection"),
    (r"^sem_seg_head\.predictor\.transformer\.decoder\.norm", "transformer_module.decoder.layernorm"),
    (r"^sem_seg_head\.predictor\.transformer", "transformer_module"),
    (r"multihead_attn", "encoder_attn"),
    (r"linear(\d)", r"fc\1"),
    (r"norm1(\.\w+)$", r"self_attn_layer_norm\1"),
    (r"norm2(\.\w+)$", r"encoder_attn_layer_norm\1"),
    (r"norm3(\.\w+)$", r"final_layer_norm\1"),
]


def for_hub(state: State) -> State:
    """Without the two heads behind the decoder; joint projections of query, key and value are taken apart."""
    renamed = {}
    for name, value in state.items():
        if "class_embed" in name or "mask_embed" in name:
            continue
        parts = {name: value}
        if ".qkv." in name:
            parts = {name.replace("qkv", k): v for k, v in zip(("query", "key", "value"), value.chunk(3))}
        elif "in_proj" in name:
            parts = {name.replace("in_proj_", f"{k}_proj."): v for k, v in zip("qkv", value.chunk(3))}
        for own, part in parts.items():
            level = re.match(r"sem_seg_head\.pixel_decoder\.(adapter|layer)_(\d)(\.norm)?(\.\w+)", own)
            if level:  # top down, and convolution and norm by their places in a row
                place = f"layers.{3 - int(level[2])}.{'proj' if level[1] == 'adapter' else 'block'}"
                place = "stem" if level[2] == "4" else place
                own = f"pixel_level_module.decoder.fpn.{place}.{1 if level[3] else 0}{level[4]}"
            for pattern, replacement in TO_HUB:
                own = re.sub(pattern, replacement, own)
            renamed[own] = part
    return renamed


def transformers_maskformer(config: OvsegMaskFormerConfig, state: State) -> torch.nn.Module:
    """Everything but the two heads behind the decoder."""
    body = config.backbone
    assert isinstance(body, SwinConfig)
    backbone = hf.MaskFormerSwinConfig(
        embed_dim=body.embed_dim,
        depths=list(body.depths),
        num_heads=list(body.num_heads),
        window_size=body.window,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    decoder = hf.DetrConfig(
        d_model=config.hidden_dim,
        decoder_layers=config.decoder_layers,
        decoder_attention_heads=config.heads,
        decoder_ffn_dim=config.feedforward_dim,
        num_queries=config.queries,
    )
    settings = hf.MaskFormerConfig(
        backbone_config=backbone,
        decoder_config=decoder,
        fpn_feature_size=config.conv_dim,
        mask_feature_size=config.mask_dim,
    )
    model, told = hf.MaskFormerModel.from_pretrained(
        None, config=settings, state_dict=for_hub(state), dtype=torch.float64, output_loading_info=True
    )
    unused = ("relative_position_index", "encoder.model.layernorm.weight", "encoder.model.layernorm.bias")
    assert all(key.endswith(unused) for key in told["missing_keys"])
    assert not told["unexpected_keys"]
    return model.eval()


def timm_resnet(config: ResNetConfig, state: State) -> torch.nn.Module:
    """With the stem of three convolutions, and the last stage dilated."""
    from timm.models.resnet import Bottleneck, ResNet

    assert config.outputs == 256  # timm knows no other
    theirs = ResNet(
        Bottleneck,
        list(config.depths),
        num_classes=0,
        stem_type="deep",
        stem_width=config.stem // 2,
        base_width=config.width,
    )
    for block, dilation in zip(theirs.layer4, config.multi_grid):
        block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    renamed = {}
    for name, value in state.items():
        stem = re.match(r"backbone\.stem\.conv(\d)(\.norm)?\.(\w+)", name)
        block = re.match(r"backbone\.res(\d)\.(\d)\.(conv|shortcut)(\d?)(\.norm)?\.(\w+)", name)
        if stem:
            number = 3 * int(stem[1]) - (2 if stem[2] else 3)
            place = "bn1" if number == 7 else f"conv1.{number}"
            renamed[f"{place}.{stem[3]}"] = value
        elif block:
            kind = f"downsample.{1 if block[5] else 0}" if block[3] == "shortcut" else f"conv{block[4]}"
            if block[5] and block[3] == "conv":
                kind = f"bn{block[4]}"
            renamed[f"layer{int(block[1]) - 1}.{block[2]}.{kind}.{block[6]}"] = value
    counters = {key for key in theirs.state_dict() if key.endswith("num_batches_tracked")}
    assert theirs.state_dict().keys() - counters == renamed.keys()
    theirs.load_state_dict(renamed, strict=False)
    return theirs.double().eval()


def perceptron(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    layers = sum(key.startswith(f"{name}.layers.") for key in state) // 2
    for index in range(layers):
        place = f"{name}.layers.{index}"
        x = F.linear(x.relu() if index else x, state[f"{place}.weight"], state[f"{place}.bias"])
    return x


@torch.no_grad()
def swin_features(config: OvsegMaskFormerConfig, state: State, pixels: torch.Tensor) -> list[torch.Tensor]:
    """(1,C,h,w) per stage, fine to coarse."""
    return list(transformers_maskformer(config, state).pixel_level_module.encoder(pixels).feature_maps)


@torch.no_grad()
def resnet_features(config: ResNetConfig, state: State, pixels: torch.Tensor) -> list[torch.Tensor]:
    """(1,C,h,w) per stage, fine to coarse."""
    return timm_resnet(config, state).forward_intermediates(pixels, indices=4, intermediates_only=True)


@torch.no_grad()
def maskformer(
    config: OvsegMaskFormerConfig, state: State, pixels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(Q,C) unit class embeddings and (Q,h,w) mask logits."""
    found = transformers_maskformer(config, state)(pixels)
    queries, mask_features = (
        found.transformer_decoder_last_hidden_state[0],
        found.pixel_decoder_last_hidden_state[0],
    )
    root = "sem_seg_head.predictor"
    masks = torch.einsum("qc,chw->qhw", perceptron(state, f"{root}.mask_embed", queries), mask_features)
    return F.normalize(perceptron(state, f"{root}.class_embed", queries), dim=-1), masks
