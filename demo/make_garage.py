"""Makes `demo/garage`: a real photograph with metric depth, and masks drawn by hand.

    python demo/make_garage.py [--output demo/garage]

The photograph is the left one of the Middlebury 2014 "Motorcycle" stereo pair, at a quarter of its size,
with its measured disparity, as scikit-image ships it (`skimage.data.stereo_motorcycle`, 0.26). Depth is

    Z = focal length · baseline / (disparity + offset of the principal points)

with the calibration that scikit-image's documentation gives for these images. Pixels without a measured
disparity have depth 0 (unknown). The truth comes from `demo/garage/ground_truth.json`, outlines traced by
eye on the photograph. One frame: a player that loops shows a camera that stands still.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from skimage.data import stereo_motorcycle

from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.evaluate.recordings.recording import FRAME_ID, RecordedFrame
from ovseg_ros.evaluate.recordings.writing import write_recording

FOCAL_LENGTH_PX = 994.978
PRINCIPAL_POINT_PX = (311.193, 254.877)
PRINCIPAL_POINT_OFFSET_PX = 31.086
BASELINE_M = 0.193001
STAMP_NS = 1_400_000_000_000_000_000
"""The year the pair was published; players replace it by the time of playing."""


def depth_from_disparity(disparity_px: np.ndarray) -> np.ndarray:
    """(H, W) disparity in pixels, NaN or inf unknown -> (H, W) float32 metres, 0 unknown."""
    known = np.isfinite(disparity_px)
    shifted = np.where(known, disparity_px, 1.0) + PRINCIPAL_POINT_OFFSET_PX
    return np.where(known, FOCAL_LENGTH_PX * BASELINE_M / shifted, 0.0).astype(np.float32)


def draw_instances(truth: dict) -> np.ndarray:
    """Polygons of `ground_truth.json` -> (H, W) uint16 instance ids; listed first is in front."""
    instances = np.zeros(truth["size_hw"], dtype=np.uint16)
    for thing in truth["objects"]:
        mask = np.zeros(truth["size_hw"], dtype=np.uint8)
        for outline in thing["outline"]:
            cv2.fillPoly(mask, [np.array(outline, dtype=np.int32)], 1)
        for hole in thing["holes"]:
            cv2.fillPoly(mask, [np.array(hole, dtype=np.int32)], 0)
        instances[(mask > 0) & (instances == 0)] = thing["id"]
    return instances


def garage_frame(truth: dict) -> RecordedFrame:
    """The one frame of the recording."""
    image_rgb, _, disparity_px = stereo_motorcycle()
    height, width = disparity_px.shape
    intrinsics = CameraIntrinsics(FOCAL_LENGTH_PX, FOCAL_LENGTH_PX, *PRINCIPAL_POINT_PX, width, height)
    frame = Frame(image_rgb, depth_from_disparity(disparity_px), intrinsics, STAMP_NS, FRAME_ID)
    return RecordedFrame(
        frame,
        draw_instances(truth),
        {thing["id"]: thing["name"] for thing in truth["objects"]},
        {thing["id"]: tuple(thing["synonyms"]) for thing in truth["objects"]},
    )


def main() -> None:
    """Writes metadata.yaml and the MCAP file beside the ground truth."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "garage")
    folder: Path = parser.parse_args().output
    truth = json.loads((Path(__file__).parent / "garage" / "ground_truth.json").read_text(encoding="utf-8"))
    fresh = folder.with_name(folder.name + ".new") / folder.name  # rosbags makes the folder itself
    shutil.rmtree(fresh.parent, ignore_errors=True)
    write_recording(fresh, [garage_frame(truth)])
    folder.mkdir(parents=True, exist_ok=True)
    for file in fresh.iterdir():
        shutil.move(file, folder / file.name)
    shutil.rmtree(fresh.parent)


if __name__ == "__main__":
    main()
