"""Acceptance at full size: the published architectures with random weights, one image, through the command.

Slow, and up to 10 GB of memory; `make test-full` runs it. Each step is a process of its own, so that its peak
is its own. Random networks find nothing that means anything: it is the path, the shapes and the memory that
count.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ovseg_ros.evaluate.recordings.demo import recording_folder
from ovseg_ros.evaluate.recordings.recording import read_recording

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HEIGHT, WIDTH = 480, 640
MOST_BYTES = 10e9
COMMAND = """
import resource, sys
from ovseg_ros.app.cli import main
status = main(sys.argv[1:])
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
sys.exit(status)
"""


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "table.png"
    Image.fromarray(next(iter(read_recording(recording_folder("demo/tabletop")))).frame.image_rgb).save(path)
    return path


def ovseg(*arguments: object) -> float:
    """Runs the command in a process of its own; returns its peak of memory in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    peak = float(done.stdout.rsplit("PEAK", 1)[1])
    assert peak < MOST_BYTES, f"{peak / 1e9:.1f} GB"
    return peak


def check(out: Path, most_masks: int) -> None:
    labels = np.array(Image.open(out / "labels" / "table.png"))
    assert (labels.shape, labels.dtype) == ((HEIGHT, WIDTH), np.uint8)
    assert set(np.unique(labels)) <= {0, 1, 255}
    instances = cv2.imread(str(out / "instances" / "table.png"), cv2.IMREAD_UNCHANGED)
    assert (instances.shape, instances.dtype) == ((HEIGHT, WIDTH), np.uint16)
    annotations = json.loads((out / "masks.json").read_text())["annotations"]
    assert 1 <= len(annotations) <= most_masks
    assert all(0 <= one["score"] <= 1 for one in annotations)


def test_sam_vit_b_and_clip_vit_b_16(tmp_path, picture):
    import open_clip

    from ovseg_ros.models.sam import build_sam

    torch.manual_seed(0)
    torch.save(build_sam("vit_b").state_dict(), tmp_path / "sam.pth")
    torch.save(open_clip.create_model("ViT-B-16", pretrained=None).state_dict(), tmp_path / "clip.bin")
    everything = {
        "points_per_side": 4,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 1.0,
    }
    preset = {
        "description": "vitb16 with random weights",
        "proposer": {"kind": "sam", "model": "vit_b", "weights": "sam.pth", "options": everything},
        "encoder": {"kind": "clip", "model": "ViT-B-16", "weights": "clip.bin", "activation": "gelu"},
        "options": {"threshold": 0.0, "min_mask_pixels": 1, "max_masks": 16},
    }
    (tmp_path / "random.yaml").write_text(yaml.safe_dump(preset))
    out = tmp_path / "out"
    ovseg("segment", picture, "--labels", "teapot, mug", "--preset", tmp_path / "random.yaml", "--out", out)
    check(out, most_masks=16)


def test_the_paper_s_system_from_its_released_file(tmp_path, picture):
    """Swin-B MaskFormer and prompted ViT-L/14: converted from one file, run by the bundled preset `ovseg`."""
    from clip_layout import VIT_L_14, random_clip, random_prompts
    from maskformer_layout import synthetic_state

    from ovseg_ros.models.maskformer.config import SWIN_BASE

    released = tmp_path / "ovseg_swinbase_vitL14_ft_mpt.pth"
    state = {
        key: value.half() for key, value in synthetic_state(SWIN_BASE).items() if value.is_floating_point()
    }
    clip = random_clip(VIT_L_14, dtype=torch.float16)
    state |= {f"clip_adapter.clip_model.{key}": value for key, value in clip.items()}
    state["clip_adapter.clip_model.visual.mask_embedding"] = random_prompts(VIT_L_14).half()
    state["clip_adapter.non_object_embedding"] = torch.full((1, 768), 768**-0.5)
    state["criterion.empty_weight"] = torch.ones(172)
    torch.save({"model": state}, released)
    del state, clip
    ovseg("convert-checkpoint", released, "--out", tmp_path / released.stem)
    released.unlink()
    out = tmp_path / "out"
    common = ("segment", picture, "--labels", "teapot, mug", "--preset", "ovseg", "--weights-dir", tmp_path)
    ovseg(*common, "--out", out, "--threshold", "0", "--set", "semantic=soft")
    check(out, most_masks=100)
    labels = np.array(Image.open(out / "labels" / "table.png"))
    assert (labels != 255).all(), "soft masks reach every pixel"
