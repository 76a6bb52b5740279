"""Rendered scenes to fit on for `taught.py`: things that demo/tabletop does not show, each on many tables.

Every scene has things, table, room and lamps of its own; each of its two views has them thrown anew, other
lamps, and a camera of its own exposure, white balance, contrast and noise. Needs requirements/render.txt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "demo")]

from tqdm import tqdm  # noqa: E402

from ovseg_ros.core.frame import Frame  # noqa: E402
from ovseg_ros.evaluate.recordings.recording import FRAME_ID, RecordedFrame  # noqa: E402
from ovseg_ros.evaluate.recordings.writing import write_recording  # noqa: E402

VIEWS = 2
"""Of one scene: frames 2k and 2k + 1 have their things, table and room in common."""


def render_scenes(folder: Path, scenes: int, seed: int = 0) -> None:
    """Writes a recording in which an instance's number and name mean the same model throughout."""
    write_recording(folder, _frames(scenes, seed), jpeg_quality=92)


def _frames(scenes: int, seed: int) -> Iterator[RecordedFrame]:
    from make_tabletop import SCENES

    from ovseg_ros.learn.tabletop.crops import random_surroundings
    from ovseg_ros.learn.tabletop.household import OBJECTS
    from ovseg_ros.learn.tabletop.render import CameraPose, Tabletop
    from ovseg_ros.learn.tabletop.sensor_depth import as_a_sensor_sees

    shown = {key for scene in SCENES for key, *_ in scene.objects}
    pool = [thing for thing in OBJECTS if thing.key not in shown]
    names = {i + 1: thing.key for i, thing in enumerate(pool)}
    for number in tqdm(range(scenes), desc="scenes"):
        rng = np.random.default_rng([seed, number])
        chosen = rng.choice(len(pool), int(rng.integers(6, 10)), replace=False)
        table = Tabletop([pool[i] for i in chosen], random_surroundings(rng), (480, 640), None, samples=4)
        try:
            for view_number in range(VIEWS):
                table.scatter(rng, 0.85, rng.uniform(0.22, 0.36), rng.uniform(0, 0.03))
                table.light(rng)
                x, y = rng.uniform(-0.08, 0.08, 2)
                pose = CameraPose(
                    (x, y, 0.04), rng.uniform(0.6, 1.1), rng.uniform(0, 360), -rng.uniform(20, 60)
                )
                view = table.view(pose)
                image = _as_a_camera_sees(view.image_rgb, rng)
                stamp = (number * VIEWS + view_number + 1) * 1_000_000_000
                instances = np.concatenate([[0], chosen + 1]).astype(np.uint16)[view.instances]
                depth = as_a_sensor_sees(view.depth_m, rng)
                yield RecordedFrame(Frame(image, depth, view.intrinsics, stamp, FRAME_ID), instances, names)
        finally:
            table.close()


def _as_a_camera_sees(image_rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 with another exposure, white balance and contrast, and with noise."""
    gain = np.exp(rng.normal(0, 0.12)) * np.exp(rng.normal(0, 0.06, 3))
    contrast = np.exp(rng.normal(0, 0.15))
    seen = np.clip((image_rgb / 255.0) ** contrast * gain, 0, 1)
    seen = seen + rng.normal(0, rng.uniform(0.005, 0.05), seen.shape)
    return (np.clip(seen, 0, 1) * 255).astype(np.uint8)
