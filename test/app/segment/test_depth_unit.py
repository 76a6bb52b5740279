"""`ovseg segment` with depth in other units than REP 118's, from recordings and beside pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bag_fixtures import camera_info, image, write_bag
from segment_fixtures import blob_segmenter, ovseg_segment, picture, save, summary_of

from ovseg_ros.errors import InvalidInputError

CAMERA = "70,70,39.5,29.5"
DOUBT = "the nearest surface is 8 m away, which is farther than"
TENTHS_OF_MM = np.full((60, 80), 8000, np.uint16)


def seen(segmenter):
    return [float(frame.depth_m.max()) for frame in segmenter.proposer.frames]


def tenths_recorded(path):
    """Two images with depth of 0.8 m in tenths of millimetres, as a RealSense D405 sends it."""
    messages = []
    for stamp_s in (1.0, 1.1):
        messages += [
            ("/camera/color/image_raw", stamp_s, image(picture(), "rgb8", stamp_s)),
            ("/camera/depth/image_rect_raw", stamp_s, image(TENTHS_OF_MM, "16UC1", stamp_s)),
            ("/camera/color/camera_info", stamp_s, camera_info(stamp_s)),
        ]
    return write_bag(path, messages)


def test_the_scale_of_a_recording(tmp_path):
    bag, segmenter = tenths_recorded(tmp_path / "bag"), blob_segmenter(needs_depth=True)
    out = tmp_path / "out"
    assert ovseg_segment(bag, "-l", "red", "--out", out, "--depth-scale", 1e-4, segmenter=segmenter) == 0
    assert seen(segmenter) == pytest.approx([0.8, 0.8])
    assert not any("nearest surface" in remark for remark in summary_of(out)["remarks"])
    # another scale makes other frames
    again = blob_segmenter(needs_depth=True)
    scale = ("--depth-scale", 2e-4, "--resume")
    assert ovseg_segment(bag, "-l", "red", "--out", out, *scale, segmenter=again) == 0
    assert seen(again) == pytest.approx([1.6, 1.6])


def test_an_implausible_unit_is_said_once(tmp_path, capsys):
    bag, out = tenths_recorded(tmp_path / "bag"), tmp_path / "out"
    assert ovseg_segment(bag, "-l", "red", "--out", out, segmenter=blob_segmenter(needs_depth=True)) == 0
    doubts = [remark for remark in summary_of(out)["remarks"] if "nearest surface" in remark]
    assert len(doubts) == 1
    assert DOUBT in doubts[0]
    assert "--depth-scale" in doubts[0]
    assert doubts[0] in capsys.readouterr().err


def test_the_scale_of_depth_beside_pictures(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / "rgb" / f"{name}.png")
        (tmp_path / "depth").mkdir(exist_ok=True)
        np.save(tmp_path / "depth" / f"{name}.npy", TENTHS_OF_MM)
    files = (tmp_path / "rgb", "-l", "red", "--depth", tmp_path / "depth")

    def run(number, *more):
        segmenter, out = blob_segmenter(needs_depth=True), tmp_path / f"out{number}"
        assert ovseg_segment(*files, "--out", out, *more, segmenter=segmenter) == 0
        doubts = [remark for remark in summary_of(out)["remarks"] if "nearest surface" in remark]
        return seen(segmenter), len(doubts)

    assert run(0, "--intrinsics", CAMERA) == (pytest.approx([8, 8]), 1)
    assert run(1, "--intrinsics", CAMERA, "--depth-scale", "0.0001") == (pytest.approx([0.8, 0.8]), 0)
    camera = tmp_path / "camera.json"
    camera.write_text(json.dumps({"fx": 70, "fy": 70, "cx": 39.5, "cy": 29.5, "depth_scale": 0.0001}))
    assert run(2, "--intrinsics", camera) == (pytest.approx([0.8, 0.8]), 0)
    assert run(3, "--intrinsics", camera, "--depth-scale", "0.0002") == (pytest.approx([1.6, 1.6]), 0)


def test_a_scale_of_nothing_is_refused(tmp_path):
    scale = ("--out", tmp_path / "out", "--depth-scale", "0.0001")
    with pytest.raises(
        InvalidInputError, match="--depth-scale is for depth, and no input has any: this pict"
    ):
        ovseg_segment(save(tmp_path / "a.png"), "-l", "red", *scale)


@pytest.mark.parametrize("scale", ["0", "-0.001", "nan", "inf", "1000"])
def test_no_scale_is_said_at_once(tmp_path, scale):
    with pytest.raises(InvalidInputError, match=r"expected a depth scale > 0, metres per unit, got"):
        ovseg_segment(
            save(tmp_path / "a.png"), "-l", "red", "--out", tmp_path / "out", "--depth-scale", scale
        )
    assert not (tmp_path / "out").exists()
