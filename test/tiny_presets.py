"""Presets of every kind with tiny random networks, whose weights lie in files like the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from clip_layout import TINY, random_clip, random_prompts
from maskformer_layout import TINY_RESNET, TINY_SWIN, synthetic_state
from sam_fixtures import LENIENT, TINY_SAM, save_tiny_sam

from ovseg_ros.models.convert import convert_checkpoint
from ovseg_ros.models.ovseg_maskformer_config import OvsegMaskFormerConfig

SWIN = {**TINY_SWIN, "embedding_dim": TINY.embed_dim}
RESNET = {**TINY_RESNET, "embedding_dim": TINY.embed_dim}
OPTIONS: dict[str, Any] = {"threshold": 0.0, "min_mask_pixels": 1, "templates": "single"}


def released_checkpoint(path: Path, sizes: dict[str, Any]) -> Path:
    """One file as the paper's authors publish it, with everything in it."""
    state = dict(synthetic_state(OvsegMaskFormerConfig.from_mapping(sizes)))
    state |= {f"clip_adapter.clip_model.{key}": value for key, value in random_clip().items()}
    state["clip_adapter.clip_model.visual.mask_embedding"] = random_prompts()
    state["clip_adapter.non_object_embedding"] = torch.nn.functional.normalize(torch.ones(1, TINY.embed_dim))
    state["clip_adapter.pixel_mean"] = torch.tensor([122.7709, 116.7460, 104.0937]).reshape(3, 1, 1)
    state["clip_adapter.pixel_std"] = torch.tensor([68.5005, 66.6322, 70.3232]).reshape(3, 1, 1)
    state["criterion.empty_weight"] = torch.ones(2)
    torch.save({"model": state}, path)
    return path


def write_preset(folder: Path, name: str, proposer: dict, encoder: dict, **options: Any) -> Path:
    path = folder / f"{name}.yaml"
    preset = {
        "description": f"tiny networks: {name}",
        "proposer": proposer,
        "encoder": encoder,
        "logit_scale": 20.0,
        "options": OPTIONS | options,
    }
    path.write_text(yaml.safe_dump(preset), encoding="utf-8")
    return path


def make_tiny_presets(folder: Path) -> dict[str, Path]:
    """One preset per kind of proposals, all with the CLIP of the released checkpoint."""
    from test_models_public_maskformer import tiny as tiny_public

    for name, sizes in (("swin", SWIN), ("resnet", RESNET)):
        convert_checkpoint(released_checkpoint(folder / f"released_{name}.pth", sizes), folder / name)
    save_tiny_sam(folder / "sam.pth")
    for kind in ("maskformer", "mask2former"):
        tiny_public(kind, "swin").save_pretrained(folder / kind)
    clip = {
        "kind": "clip",
        "model": TINY.as_open_clip(),
        "weights": "swin/clip.safetensors",
        "prompts": "swin/prompts.safetensors",
    }
    sam = {"kind": "sam", "model": TINY_SAM, "weights": "sam.pth", "options": LENIENT}
    mask = {"mask_threshold": 0.4}
    proposers: dict[str, dict[str, Any]] = {
        "depth_clusters": {"kind": "depth_clusters"},
        "sam": sam,
        **{
            f"ovseg_{name}": {
                "kind": "ovseg_maskformer",
                "model": sizes,
                "weights": f"{name}/proposals.safetensors",
                "non_object": f"{name}/non_object.safetensors",
                "options": mask,
            }
            for name, sizes in (("swin", SWIN), ("resnet", RESNET))
        },
        **{
            kind: {
                "kind": "maskformer",
                "weights": f"{kind}/model.safetensors",
                "options": {"short_side": 64, "long_side": 128, **mask},
            }
            for kind in ("maskformer", "mask2former")
        },
    }
    proposers["union"] = {"kind": "union", "members": [sam, proposers["ovseg_swin"]]}
    return {name: write_preset(folder, name, part, clip) for name, part in proposers.items()}
