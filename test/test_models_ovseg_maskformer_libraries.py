"""The paper's MaskFormer against other code, same weights: transformers' MaskFormer and timm's ResNet."""

from __future__ import annotations

import re

import pytest
import torch
from maskformer_layout import TINY_RESNET, TINY_SWIN, synthetic_state

from ovseg_ros.models.ovseg_maskformer import OvsegMaskFormerConfig, build_ovseg_maskformer

EXACT = 1e-9
NOT_LEARNED = ("relative_position_index", "num_batches_tracked")

SWIN = TINY_SWIN | {"backbone": TINY_SWIN["backbone"] | {"depths": [2, 2, 4, 2], "window": 4}}

# our names -> transformers', first match; groups are kept
TO_TRANSFORMERS = [
    (
        r"backbone\.patch_embed\.proj",
        r"pixel_level_module.encoder.model.embeddings.patch_embeddings.projection",
    ),
    (r"backbone\.patch_embed", r"pixel_level_module.encoder.model.embeddings"),
    (r"backbone\.norm(\d)", r"pixel_level_module.encoder.hidden_states_norms.\1"),
    (r"backbone\.", r"pixel_level_module.encoder.model.encoder."),
    (r"\.norm1\.(?=\w+$)(?<=blocks\.\d\.norm1\.)", r".layernorm_before."),
    (r"\.norm2\.(?=\w+$)(?<=blocks\.\d\.norm2\.)", r".layernorm_after."),
    (r"attn\.proj", r"attention.output.dense"),
    (r"attn\.(relative|query|key|value)", r"attention.self.\1"),
    (r"(blocks\.\d)\.mlp\.fc1", r"\1.intermediate.dense"),
    (r"(blocks\.\d)\.mlp\.fc2", r"\1.output.dense"),
    (r"sem_seg_head\.pixel_decoder\.mask_features", r"pixel_level_module.decoder.mask_projection"),
    (r"sem_seg_head\.pixel_decoder\.layer_4\.norm", r"pixel_level_module.decoder.fpn.stem.1"),
    (r"sem_seg_head\.pixel_decoder\.layer_4", r"pixel_level_module.decoder.fpn.stem.0"),
    (r"sem_seg_head\.predictor\.query_embed", r"transformer_module.queries_embedder"),
    (r"sem_seg_head\.predictor\.input_proj", r"transformer_module.input_projection"),
    (r"sem_seg_head\.predictor\.transformer\.decoder\.norm", r"transformer_module.decoder.layernorm"),
    (r"sem_seg_head\.predictor\.transformer", r"transformer_module"),
    (r"multihead_attn", r"encoder_attn"),
    (r"out_proj", r"o_proj"),
    (r"linear(\d)", r"mlp.fc\1"),
    (r"norm1\.(?=\w+$)(?<=decoder\.layers\.\d\.norm1\.)", r"self_attn_layer_norm."),
    (r"norm2\.(?=\w+$)(?<=decoder\.layers\.\d\.norm2\.)", r"encoder_attn_layer_norm."),
    (r"norm3\.(?=\w+$)(?<=decoder\.layers\.\d\.norm3\.)", r"final_layer_norm."),
]


def filled(sizes: dict) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """A tiny network in float64, and its weights by the released names."""
    config = OvsegMaskFormerConfig.from_mapping(sizes)
    state = {k: v.double() for k, v in synthetic_state(config).items() if not k.endswith(NOT_LEARNED)}
    network = build_ovseg_maskformer(config).double()
    network.load_state_dict(state)
    return network, state


def for_transformers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without the two heads behind the decoder: those are not in its MaskFormerModel."""
    renamed = {}
    for name, value in state.items():
        if "class_embed" in name or "mask_embed" in name:
            continue
        parts = {name: value}
        if ".qkv." in name:
            split = value.chunk(3)
            parts = {name.replace("qkv", kind): v for kind, v in zip(("query", "key", "value"), split)}
        elif "in_proj" in name:
            split = value.chunk(3)
            parts = {name.replace("in_proj_", f"{kind}_proj."): v for kind, v in zip("qkv", split)}
        for own, part in parts.items():
            level = re.match(r"sem_seg_head\.pixel_decoder\.(adapter|layer)_([123])(\.norm)?\.(\w+)", own)
            if level:  # top down, and convolution and norm by their places in a row
                kind = {"adapter": "proj", "layer": "block"}[level[1]]
                place = f"{3 - int(level[2])}.{kind}.{1 if level[3] else 0}.{level[4]}"
                own = f"pixel_level_module.decoder.fpn.layers.{place}"
            for pattern, replacement in TO_TRANSFORMERS:
                own = re.sub(pattern, replacement, own)
            renamed[own] = part
    return renamed


def test_transformers_maskformer_agrees() -> None:
    import transformers as hf

    ours, state = filled(SWIN)
    config, body = ours.config, ours.config.backbone
    backbone = hf.MaskFormerSwinConfig(
        image_size=512,
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
    theirs = hf.MaskFormerModel(
        hf.MaskFormerConfig(
            backbone_config=backbone,
            decoder_config=decoder,
            fpn_feature_size=config.conv_dim,
            mask_feature_size=config.mask_dim,
        )
    )
    theirs = theirs.double().eval()
    own = {key for key in theirs.state_dict() if not key.endswith(NOT_LEARNED)}
    unused = {f"pixel_level_module.encoder.model.layernorm.{kind}" for kind in ("weight", "bias")}
    renamed = for_transformers(state)
    if own - unused != set(renamed):  # its inner names are its own business
        pytest.skip(f"transformers {hf.__version__} names its parts otherwise")
    theirs.load_state_dict(renamed, strict=False)
    pixels = torch.randn((1, 3, 96, 160), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        want = theirs(pixels)
    features = ours.backbone(pixels)
    mask_features = ours.sem_seg_head["pixel_decoder"](features)
    queries: list[torch.Tensor] = []
    head = ours.sem_seg_head["predictor"]
    head.transformer["decoder"].register_forward_hook(lambda *call: queries.append(call[-1]))
    head(features[-1], mask_features)
    torch.testing.assert_close(features[-1], want.encoder_last_hidden_state, atol=EXACT, rtol=0)
    torch.testing.assert_close(mask_features, want.pixel_decoder_last_hidden_state, atol=EXACT, rtol=0)
    torch.testing.assert_close(queries[0], want.transformer_decoder_last_hidden_state, atol=EXACT, rtol=0)


def test_timm_resnet_agrees() -> None:
    from timm.models.resnet import Bottleneck, ResNet

    sizes = TINY_RESNET | {"backbone": TINY_RESNET["backbone"] | {"outputs": 256}}  # timm knows no less
    ours, state = filled(sizes)
    theirs = ResNet(Bottleneck, [1, 2, 1, 3], num_classes=0, stem_type="deep", stem_width=4, base_width=4)
    for block, dilation in zip(theirs.layer4, (1, 2, 4)):
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
    assert {key for key in theirs.state_dict() if not key.endswith(NOT_LEARNED)} == set(renamed)
    theirs.load_state_dict(renamed, strict=False)
    theirs = theirs.double().eval()
    pixels = torch.randn((1, 3, 96, 160), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        want = theirs.forward_features(pixels)
    torch.testing.assert_close(ours.backbone(pixels)[-1], want, atol=EXACT, rtol=1e-12)
