"""MaskFormer's published formulas in float64 NumPy, from the papers, one position or offset at a time.

Grids are (H, W, C) in the Swin part and (C, H, W) elsewhere; `state` holds arrays under the released names.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

Array = np.ndarray
State = dict[str, Array]

erf = np.vectorize(math.erf, otypes=[np.float64])


def affine(state: State, name: str, x: Array) -> Array:
    y = x @ state[f"{name}.weight"].T
    return y + state[f"{name}.bias"] if f"{name}.bias" in state else y


def layer_norm(state: State, name: str, x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return unit * state[f"{name}.weight"] + state[f"{name}.bias"]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def softmax(row: Array) -> Array:
    weight = np.exp(row - row.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)


def conv(x: Array, weight: Array, stride: int = 1, dilation: int = 1, bias: Array | None = None) -> Array:
    """(C,H,W) with zeros around, so that stride 1 keeps the size: sum over the kernel's offsets."""
    kernel = weight.shape[-1]
    rim = dilation * (kernel // 2)
    padded = np.pad(x, ((0, 0), (rim, rim), (rim, rim)))
    rows, columns = (math.ceil(side / stride) for side in x.shape[1:])
    out = np.zeros((weight.shape[0], rows, columns))
    for dy in range(kernel):
        for dx in range(kernel):
            seen = padded[:, dy * dilation :: stride, dx * dilation :: stride][:, :rows, :columns]
            out += np.einsum("oc,chw->ohw", weight[:, :, dy, dx], seen)
    return out if bias is None else out + bias[:, None, None]


# Swin


def swin_block(state: State, name: str, x: Array, heads: int, window: int, shift: int) -> Array:
    x = x + window_attention(
        state, f"{name}.attn", layer_norm(state, f"{name}.norm1", x), heads, window, shift
    )
    hidden = affine(state, f"{name}.mlp.fc1", layer_norm(state, f"{name}.norm2", x))
    gelu = hidden * 0.5 * (1 + erf(hidden / math.sqrt(2)))
    return x + affine(state, f"{name}.mlp.fc2", gelu)


def window_attention(state: State, name: str, x: Array, heads: int, window: int, shift: int) -> Array:
    """Positions see those of their window: the grid is padded, then moved round by `shift`, then cut."""
    height, width, channels = x.shape
    tall, wide = (math.ceil(side / window) * window for side in (height, width))
    padded = np.zeros((tall, wide, channels))
    padded[:height, :width] = x
    q, k, v = affine(state, f"{name}.qkv", padded).reshape(tall, wide, 3, heads, -1).transpose(2, 0, 1, 3, 4)
    members = defaultdict(list)
    for y in range(tall):
        for z in range(wide):
            moved = ((y - shift) % tall, (z - shift) % wide)
            members[moved[0] // window, moved[1] // window].append((y, z, *moved))
    out = np.zeros((tall, wide, heads, channels // heads))
    table = state[f"{name}.relative_position_bias_table"]
    for inside in members.values():
        for y, z, my, mz in inside:
            for head in range(heads):
                scores = []
                for y2, z2, my2, mz2 in inside:
                    score = q[y, z, head] @ k[y2, z2, head] / math.sqrt(channels // heads)
                    score += table[(my - my2 + window - 1) * (2 * window - 1) + mz - mz2 + window - 1, head]
                    came_round = (y < shift) != (y2 < shift) or (z < shift) != (z2 < shift)
                    scores.append(score - 100.0 * came_round)
                values = np.stack([v[y2, z2, head] for y2, z2, _, _ in inside])
                out[y, z, head] = softmax(np.array(scores)) @ values
    return affine(state, f"{name}.proj", out.reshape(tall, wide, channels)[:height, :width])


def merge_patches(state: State, name: str, x: Array) -> Array:
    height, width, channels = x.shape
    even = np.zeros((height + height % 2, width + width % 2, channels))
    even[:height, :width] = x
    out = np.zeros((even.shape[0] // 2, even.shape[1] // 2, 4 * channels))
    for y in range(out.shape[0]):
        for z in range(out.shape[1]):
            four = [
                even[2 * y, 2 * z],
                even[2 * y + 1, 2 * z],
                even[2 * y, 2 * z + 1],
                even[2 * y + 1, 2 * z + 1],
            ]
            out[y, z] = np.concatenate(four)
    return affine(state, f"{name}.reduction", layer_norm(state, f"{name}.norm", out))


def swin(state: State, pixels: Array, depths: list[int], num_heads: list[int], window: int) -> list[Array]:
    """(3,h,w) -> (C,h/4,w/4), (2C,h/8,w/8), …"""
    weight, bias = state["backbone.patch_embed.proj.weight"], state["backbone.patch_embed.proj.bias"]
    x = np.zeros((pixels.shape[1] // 4, pixels.shape[2] // 4, len(bias)))
    for y in range(x.shape[0]):
        for z in range(x.shape[1]):
            patch = pixels[:, 4 * y : 4 * y + 4, 4 * z : 4 * z + 4]
            x[y, z] = (weight * patch).sum((1, 2, 3)) + bias
    x = layer_norm(state, "backbone.patch_embed.norm", x)
    features = []
    for stage, (depth, heads) in enumerate(zip(depths, num_heads)):
        for block in range(depth):
            name = f"backbone.layers.{stage}.blocks.{block}"
            x = swin_block(state, name, x, heads, window, window // 2 if block % 2 else 0)
        features.append(layer_norm(state, f"backbone.norm{stage}", x).transpose(2, 0, 1))
        if stage < len(depths) - 1:
            x = merge_patches(state, f"backbone.layers.{stage}.downsample", x)
    return features


# ResNet


def frozen_conv(state: State, name: str, x: Array, stride: int = 1, dilation: int = 1) -> Array:
    y = conv(x, state[f"{name}.weight"], stride, dilation)
    weight, bias, mean, variance = (
        state[f"{name}.norm.{kind}"][:, None, None]
        for kind in ("weight", "bias", "running_mean", "running_var")
    )
    return (y - mean) / np.sqrt(variance + 1e-5) * weight + bias


def bottleneck(state: State, name: str, x: Array, stride: int, dilation: int) -> Array:
    y = relu(frozen_conv(state, f"{name}.conv1", x))
    y = relu(frozen_conv(state, f"{name}.conv2", y, stride, dilation))
    y = frozen_conv(state, f"{name}.conv3", y)
    changes = f"{name}.shortcut.weight" in state
    return relu(y + (frozen_conv(state, f"{name}.shortcut", x, stride) if changes else x))


def max_pool(x: Array) -> Array:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    rows, columns = math.ceil(x.shape[1] / 2), math.ceil(x.shape[2] / 2)
    out = np.zeros((x.shape[0], rows, columns))
    for y in range(rows):
        for z in range(columns):
            out[:, y, z] = padded[:, 2 * y : 2 * y + 3, 2 * z : 2 * z + 3].max((1, 2))
    return out


def resnet(state: State, pixels: Array, depths: list[int], multi_grid: list[int]) -> list[Array]:
    x = relu(frozen_conv(state, "backbone.stem.conv1", pixels, stride=2))
    x = relu(frozen_conv(state, "backbone.stem.conv2", x))
    x = max_pool(relu(frozen_conv(state, "backbone.stem.conv3", x)))
    features = []
    for stage, depth in enumerate(depths):
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            dilation = multi_grid[block] if stage == len(depths) - 1 else 1
            x = bottleneck(state, f"backbone.res{stage + 2}.{block}", x, stride, dilation)
        features.append(x)
    return features


# Heads


def group_norm(state: State, name: str, x: Array) -> Array:
    groups = x.reshape(32, -1)
    centred = groups - groups.mean(1, keepdims=True)
    unit = (centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)).reshape(x.shape)
    return unit * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def nearest(x: Array, rows: int, columns: int) -> Array:
    y = [row * x.shape[1] // rows for row in range(rows)]
    z = [column * x.shape[2] // columns for column in range(columns)]
    return x[:, y][:, :, z]


def pixel_decoder(state: State, features: list[Array]) -> Array:
    root = "sem_seg_head.pixel_decoder"

    def layer(level: int, x: Array) -> Array:
        return relu(
            group_norm(state, f"{root}.layer_{level}.norm", conv(x, state[f"{root}.layer_{level}.weight"]))
        )

    y = layer(len(features), features[-1])
    for level in range(len(features) - 1, 0, -1):
        lateral = conv(features[level - 1], state[f"{root}.adapter_{level}.weight"])
        lateral = group_norm(state, f"{root}.adapter_{level}.norm", lateral)
        y = layer(level, lateral + nearest(y, *lateral.shape[1:]))
    bias = state[f"{root}.mask_features.bias"]
    return conv(y, state[f"{root}.mask_features.weight"], bias=bias)


def sine_positions(height: int, width: int, channels: int) -> Array:
    """(height, width, channels), channel by channel as DETR's appendix has it, with sides scaled to 2 pi."""
    half = channels // 2
    out = np.zeros((height, width, channels))
    for y in range(height):
        for z in range(width):
            for index in range(half):
                wave = math.cos if index % 2 else math.sin
                period = 10000 ** (2 * (index // 2) / half)
                out[y, z, index] = wave((y + 1) / (height + 1e-6) * 2 * math.pi / period)
                out[y, z, half + index] = wave((z + 1) / (width + 1e-6) * 2 * math.pi / period)
    return out


def attention(state: State, name: str, q: Array, k: Array, v: Array, heads: int) -> Array:
    width = q.shape[1]
    weights = np.split(state[f"{name}.in_proj_weight"], 3)
    biases = np.split(state[f"{name}.in_proj_bias"], 3)
    q, k, v = (x @ weight.T + bias for x, weight, bias in zip((q, k, v), weights, biases))
    size = width // heads
    parts = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        parts.append(softmax(q[:, own] @ k[:, own].T / math.sqrt(size)) @ v[:, own])
    return affine(state, f"{name}.out_proj", np.concatenate(parts, 1))


def decoder_layer(
    state: State, name: str, x: Array, memory: Array, position: Array, query: Array, heads: int
) -> Array:
    own = attention(state, f"{name}.self_attn", x + query, x + query, x, heads)
    x = layer_norm(state, f"{name}.norm1", x + own)
    other = attention(state, f"{name}.multihead_attn", x + query, memory + position, memory, heads)
    x = layer_norm(state, f"{name}.norm2", x + other)
    hidden = relu(affine(state, f"{name}.linear1", x))
    return layer_norm(state, f"{name}.norm3", x + affine(state, f"{name}.linear2", hidden))


def perceptron(state: State, name: str, x: Array, layers: int) -> Array:
    for index in range(layers):
        x = affine(state, f"{name}.layers.{index}", x)
        x = relu(x) if index < layers - 1 else x
    return x


def predictor(
    state: State, coarse: Array, mask_features: Array, heads: int, layers: int
) -> tuple[Array, Array]:
    """(Q,C) class embeddings and (Q,H,W) mask logits."""
    root = "sem_seg_head.predictor"
    query = state[f"{root}.query_embed.weight"]
    if f"{root}.input_proj.weight" in state:
        coarse = conv(coarse, state[f"{root}.input_proj.weight"], bias=state[f"{root}.input_proj.bias"])
    channels, height, width = coarse.shape
    memory = coarse.reshape(channels, -1).T
    position = sine_positions(height, width, channels).reshape(-1, channels)
    x = np.zeros_like(query)
    for index in range(layers):
        name = f"{root}.transformer.decoder.layers.{index}"
        x = decoder_layer(state, name, x, memory, position, query, heads)
    x = layer_norm(state, f"{root}.transformer.decoder.norm", x)
    mask_embedding = perceptron(state, f"{root}.mask_embed", x, 3)
    masks = np.einsum("qc,chw->qhw", mask_embedding, mask_features)
    return perceptron(state, f"{root}.class_embed", x, 2), masks
