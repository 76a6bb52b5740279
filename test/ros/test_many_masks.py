"""The node with as many masks as a generator may come up with: none, one of everything, two thousand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.msg import ResultCode
from rclpy.time import Time
from ros_bench import COLOURS, Bench
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from ovseg_ros.app.bench.scene import GivenMasks
from ovseg_ros.ros.inference.diagnostics import facts
from ovseg_ros.ros.io.frame_source import stamp_ns

pytestmark = pytest.mark.ros
HEIGHT, WIDTH, SIDE = 120, 200, 3
COUNT = (HEIGHT // SIDE) * (WIDTH // (SIDE + 1))  # tiles of 3 x 3 pixels, a free column between them


def flag(red_rows: int) -> np.ndarray:
    """(H, W, 3) uint8: red above, blue below."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:red_rows], image[red_rows:] = COLOURS["red"], COLOURS["blue"]
    return image


def tiles() -> torch.Tensor:
    """(2000, H, W) bool, row after row."""
    masks = torch.zeros((COUNT, HEIGHT, WIDTH), dtype=torch.bool)
    for i, mask in enumerate(masks):
        y, x = divmod(i, WIDTH // (SIDE + 1))
        mask[y * SIDE : y * SIDE + SIDE, x * (SIDE + 1) : x * (SIDE + 1) + SIDE] = True
    return masks


@pytest.fixture(scope="module")
def shared():
    bench = Bench(max_frame_age=600.0)  # frames are stamped as by a camera, however long the machine takes
    yield bench.active()
    bench.segmenter.proposer = bench.first_proposer
    bench.close()


@pytest.fixture
def bench(shared):
    shared.first_proposer = getattr(shared, "first_proposer", shared.segmenter.proposer)
    shared.deaf()
    shared.node.engine.source.reset()
    shared.words("red", "blue")
    return shared


def see(bench, masks, *, red_rows=HEIGHT // 2, stamp=None, **options):
    """Shows a picture of these masks; the message about it."""
    bench.segmenter.proposer = GivenMasks(masks)
    bench.segmenter.options = dataclasses.replace(bench.segmenter.options, min_mask_pixels=1, **options)
    received = bench.segmentations()
    bench.show(flag(red_rows), stamp=stamp)
    return bench.until(lambda: received and received[-1])


def values(message: Image, dtype) -> np.ndarray:
    return np.frombuffer(bytes(message.data), dtype).reshape(message.height, message.width)


def test_two_thousand_masks_go_the_whole_way(bench):
    assert COUNT == 2000
    images = {name: bench.listen(Image, name) for name in ("label_image", "instance_image", "confidence")}
    overlays, clouds = bench.listen(Image, "overlay"), bench.listen(PointCloud2, "points")
    markers = bench.listen(MarkerArray, "markers")
    message = see(bench, tiles(), max_masks=COUNT)
    assert len(message.segments) == COUNT
    assert sorted(segment.track_id for segment in message.segments) == list(range(1, COUNT + 1))
    assert {segment.label for segment in message.segments} == {"red", "blue"}
    for received in (*images.values(), overlays, markers):
        bench.until(lambda received=received: received)
    assert not clouds  # no depth
    labels = values(images["label_image"][-1], np.uint8)
    tiled = tiles().any(dim=0).numpy()
    ids = {segment.label: segment.label_id for segment in message.segments}
    assert (labels[: HEIGHT // 2][tiled[: HEIGHT // 2]] == ids["red"]).all()
    assert (labels[HEIGHT // 2 :][tiled[HEIGHT // 2 :]] == ids["blue"]).all()
    assert (labels[~tiled] == 255).all()
    instances = values(images["instance_image"][-1], np.uint16)
    assert sorted(np.unique(instances).tolist()) == list(range(COUNT + 1))
    assert (values(images["confidence"][-1], np.uint8)[tiled] > 0).all()
    numbers = {segment.instance_id: segment.track_id for segment in message.segments}
    next_ns = stamp_ns(message.header) + 100_000_000
    again = see(bench, tiles(), stamp=Time(nanoseconds=next_ns).to_msg(), max_masks=COUNT)
    assert {segment.instance_id: segment.track_id for segment in again.segments} == numbers
    assert facts(bench.node)["embeddings_reused"] == COUNT


def test_of_too_many_the_surest_stay(bench):
    message = see(bench, tiles(), max_masks=100)
    assert len(message.segments) == 100
    assert max(segment.box.y_offset for segment in message.segments) < 3 * SIDE
    assert bench.find("blue").code == ResultCode.NOT_FOUND  # the lower half was left out


@pytest.mark.parametrize("others", [0, 3])
def test_a_mask_of_everything(bench, others):
    masks = torch.cat([torch.ones((1, HEIGHT, WIDTH), dtype=torch.bool), tiles()[:others]])
    message = see(bench, masks, red_rows=HEIGHT, max_masks=100)
    whole = max(message.segments, key=lambda segment: segment.area_px)
    assert (whole.box.width, whole.box.height, whole.area_px) == (WIDTH, HEIGHT, HEIGHT * WIDTH)
    assert sorted(segment.area_px for segment in message.segments)[:-1] == [SIDE * SIDE] * others
    assert {segment.label for segment in message.segments} == {"red"}


def test_no_masks(bench):
    message = see(bench, torch.zeros((0, HEIGHT, WIDTH), dtype=torch.bool), max_masks=100)
    assert len(message.segments) == 0
    assert bench.find("red").code == ResultCode.NOT_FOUND
