"""benchmark/depth_masks.py: reading rendered and real frames, and what it counts on them; without MuJoCo."""

from __future__ import annotations

import importlib.util
import json

import cv2
import numpy as np
import pytest
import torch
from repository import ROOT

from ovseg_ros.core.frame import Proposals
from ovseg_ros.errors import ConfigError
from ovseg_ros.files.instances import read_instances
from ovseg_ros.learn.tabletop.sensors import SENSORS


@pytest.fixture(scope="module")
def depth_masks():
    spec = importlib.util.spec_from_file_location("benchmark_depth_masks", ROOT / "benchmark/depth_masks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class LeftHalf:
    """One mask: the left half of the image."""

    def propose(self, frame):
        masks = torch.zeros((1, *frame.size_hw), dtype=torch.bool)
        masks[..., : frame.size_hw[1] // 2] = True
        return Proposals(masks, torch.ones(1))


def rendered(folder, unsaid):
    """One frame of kind `down`: a thing in the left half, another in the upper right of which nobody asks."""
    instances = np.zeros((40, 60), np.uint16)
    instances[:, :30] = 3
    instances[:20, 40:] = unsaid
    np.savez(folder / "0000-down.npz", image_rgb=np.zeros((40, 60, 3), np.uint8), instances=instances,
             depth_m=np.where(instances == 3, 0.9, 1.0).astype(np.float32),
             surface=np.zeros((40, 60), np.uint8), intrinsics=np.array([60.0, 60.0, 29.5, 19.5]))  # fmt: skip


def test_rendered_frames_are_read_as_every_camera_sees_them_and_counted(depth_masks, tmp_path):
    rendered(tmp_path, depth_masks.read_frames.__globals__["UNSAID"])
    for sensor in SENSORS:
        (one,) = depth_masks.read_frames(tmp_path, sensor)
        (again,) = depth_masks.read_frames(tmp_path, sensor)
        assert np.array_equal(one.frame.depth_m, again.frame.depth_m)
        assert one.kind == "down"
        assert one.things.shape == (1, 40, 60)
        assert one.things[0, :, :30].all()
        assert one.ignored.sum() == 20 * 20
        ((kind, name, counts),) = depth_masks.count([one], LeftHalf(), tmp_path / "pictures")
        assert (kind, name) == ("down", "0000-down")
        assert (counts.best_iou.tolist(), counts.extra) == ([1.0], 0)
    assert cv2.imread(str(tmp_path / "pictures" / "0000-down.png")).shape == (40, 180, 3)


def test_a_folder_without_frames_names_the_cure(depth_masks, tmp_path):
    with pytest.raises(ConfigError, match=r"depth_masks\.py render"):
        next(depth_masks.read_frames(tmp_path, "kinect1"))


def test_real_frames_come_with_the_truth_of_a_labelling_tool(depth_masks, tmp_path, capsys):
    for kind in ("rgb", "depth"):
        (tmp_path / "kitchen" / kind).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "kitchen/rgb/7.jpg"), np.zeros((40, 60, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "kitchen/depth/7.png"), np.full((40, 60), 900, np.uint16))
    (tmp_path / "kitchen/intrinsics.txt").write_text("60,60,29.5,19.5\n")
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 30, 0, 30, 20, 0, 20]]}
    content = {
        "images": [{"id": 1, "file_name": "kitchen/rgb/7.jpg", "height": 40, "width": 60}],
        "categories": [{"id": 1, "name": "cup"}],
        "annotations": [annotation],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    (one,) = depth_masks.real_frames(tmp_path, tmp_path / "truth.json")
    assert one.frame.depth_m == pytest.approx(np.full((40, 60), 0.9))
    counted = depth_masks.count([one], LeftHalf(), None)
    rows = depth_masks.report("truth", counted)
    assert [row["kind"] for row in rows] == ["kitchen", "all"]
    assert rows[0]["mean_iou"] == pytest.approx(0.5)
    assert (rows[0]["things"], rows[0]["decent"], rows[0]["masks"]) == (1, 0, 1)
    assert "kitchen" in capsys.readouterr().out


def test_the_drawn_truth_can_be_read():
    pictures = read_instances(ROOT / "benchmark" / "rgbd_truth.json").pictures
    assert {picture.name.split("/")[0] for picture in pictures} == {"posecnn", "m3t", "esanet"}
    assert sum(len(picture.instances) for picture in pictures) == 32
    for picture in pictures:
        masks, _ = picture.masks()
        assert masks.sum(axis=(1, 2)).min() > 300
        assert (masks.sum(axis=0) > 1).mean() < 0.01  # drawn side by side, not over each other
