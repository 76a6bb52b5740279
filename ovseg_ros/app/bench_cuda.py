"""The case `cuda` of `ovseg bench`: how much of what a graphics card can do is made use of."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from ovseg_ros.app.bench_clock import Stages, alternate
from ovseg_ros.app.bench_paths import in_16_bits
from ovseg_ros.app.bench_plan import Plan
from ovseg_ros.app.bench_scene import made_up_frame, random_clip
from ovseg_ros.core.mask_clip import MaskPromptedClip
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter

MODEL, BATCH = "ViT-L-14", 64
_SIDE, _PRODUCTS = 8192, 20
_FRAMES = 40


def cuda(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Nothing but a sentence where there is no card; see `encode_rate` and `video_rate`."""
    if not torch.cuda.is_available():
        return {"none": "There is no CUDA device here: its targets were not measured."}
    device = torch.device("cuda" if plan.device == "cpu" else plan.device)
    say(f"cuda: {MODEL} at batch {BATCH} in bf16")
    found: dict[str, Any] = {"card": torch.cuda.get_device_name(device), "encode": encode_rate(device)}
    say("cuda: SAM ViT-B, 16x16 points, and ViT-L/14 on a video")
    found["video"] = video_rate(device)
    return found


def encode_rate(
    device: torch.device, model: Any = MODEL, batch: int = BATCH, side: int = _SIDE, labels: int = 100
) -> dict[str, Any]:
    """The encoder's floating point operations per second beside those of one large matrix product, in bf16.

    Returns:
        Both rates in TFLOP/s, the share, images per second, and the share of regions of which bf16 and
        float32 find the same best of `labels` random words (random weights: regions are all alike to them,
        which makes this harder than it is).
    """
    torch.manual_seed(0)
    exact = random_clip(model, device)
    half = in_16_bits(exact, device, **_on(device))
    pixels = torch.randn(batch, 3, exact.size, exact.size, device=device)
    one, other = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))

    def multiply() -> Stages:
        for _ in range(_PRODUCTS):
            one @ other
        return {}

    def encode() -> Stages:
        half.encode_regions(pixels)
        return {}

    with torch.inference_mode():
        timings = alternate({"matrix": multiply, "encode": encode}, runs=20, device=device, warm_ups=5)
        words = F.normalize(torch.randn(labels, exact.embedding_dim, device=device), dim=-1)
        best = [(clip.encode_regions(pixels).float() @ words.T).argmax(dim=1) for clip in (exact, half)]
    matrix = 2 * side**3 * _PRODUCTS / timings["matrix"].median_s
    encoder = operations(exact) * batch / timings["encode"].median_s
    return {
        "matrix_tflops": matrix / 1e12,
        "encode_tflops": encoder / 1e12,
        "share": encoder / matrix,
        "images_per_s": batch / timings["encode"].median_s,
        "labels_equal": float((best[0] == best[1]).float().mean()),
    }


def operations(clip: MaskPromptedClip) -> float:
    """Floating point operations of one image through a ViT tower, a product and a sum counted as two."""
    visual = clip.clip_model.visual
    width, blocks = visual.conv1.out_channels, len(visual.transformer.resblocks)
    hidden = visual.transformer.resblocks[0].mlp.c_fc.out_features
    patches = visual.positional_embedding.shape[0] - 1
    tokens = patches + 1
    per_block = tokens * (4 * width * width + 2 * width * hidden) + 2 * tokens * tokens * width
    cut = patches * visual.conv1.weight[0].numel() * width
    return 2.0 * (cut + blocks * per_block + width * clip.embedding_dim)


def video_rate(device: torch.device, sam: Any = "vit_b", model: Any = MODEL) -> dict[str, Any]:
    """Frames per second of a still scene through SAM's proposals and CLIP, with tracks, in bf16."""
    from ovseg_ros.core.tracks import TrackOptions
    from ovseg_ros.core.video import VideoSegmenter
    from ovseg_ros.models.sam import build_sam
    from ovseg_ros.proposals.sam import SamOptions, SamProposals

    # Random weights rate no mask highly: everything is let through that is not the same.
    options = SamOptions(
        points_per_side=16, precision="bf16", pred_iou_thresh=0.0, stability_score_thresh=0.0
    )
    proposer = SamProposals(build_sam(sam), options, device, check=False)
    clip = in_16_bits(random_clip(model, device), device, **_on(device))
    segmenter = OpenVocabularySegmenter(proposer, clip, SegmenterOptions(), device, name="bench")
    follower = VideoSegmenter(segmenter, TrackOptions())
    frames = [made_up_frame((720, 1280), stamp_ns=(i + 1) * 33_000_000) for i in range(_FRAMES)]
    times, masks = [], 0
    for frame in frames:
        start = time.perf_counter()
        masks += len(follower.embed(frame))
        torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    steady = sorted(times[_FRAMES // 4 :])
    return {
        "frames_per_s": 1 / steady[len(steady) // 2],
        "masks_per_frame": masks / len(frames),
        "encoded_last": follower.last.encoded,
    }


def _on(device: torch.device) -> dict[str, Any]:
    return {"precision": "bf16", "compile": device.type == "cuda"}
