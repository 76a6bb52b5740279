"""A planner and the preset `mini` on the rendered table: where things are in its frame, against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.msg import ResultCode
from planner_fixtures import lines_of, xyz
from ros_bench import Bench
from sensor_msgs.msg import CameraInfo
from tf_fixtures import OPTICAL_XYZW, fake_tf2, transform

from ovseg_ros.core.camera import pixel_rays
from ovseg_ros.core.space import Rigid
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.ros.inference.loading import load_segmenter
from ovseg_ros.ros.io import transforms
from ovseg_ros.ros.parameters.table import Settings

pytestmark = pytest.mark.ros
BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])  # of the camera's axes
RIGID = Rigid(BODY, np.array([0.1, 0.0, 1.3]))


@pytest.fixture(scope="module")
def recorded():
    return next(iter(read_recording(ROOT / "demo" / "tabletop")))


@pytest.fixture(scope="module")
def bench(recorded):
    """The node with the table before it, and TF that says where the camera is."""
    segmenter = load_segmenter(Settings(preset="mini", device="cpu"))  # here: a busy machine takes its time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transforms, "tf2_ros", lambda: fake_tf2)
        bench = Bench(lambda _: segmenter, max_frame_age=600.0, find_confirm=1)
    bench.active()
    bench.node.transforms.listen("base_link")
    camera = transform("base_link", "camera", RIGID.translation_m, OPTICAL_XYZW)
    bench.node.transforms._buffer.set_transform_static(camera, "test")
    frame, of = recorded.frame, recorded.frame.intrinsics
    info = CameraInfo(height=frame.size_hw[0], width=frame.size_hw[1])
    info.k = [of.fx, 0.0, of.cx, 0.0, of.fy, of.cy, 0.0, 0.0, 1.0]
    bench.show_with_depth(frame.depth_m, frame.image_rgb, info=info)
    yield bench
    bench.close()


def seen_of(recorded, name):
    """(M, 3) metres: the points of a thing in the camera's frame, by its true mask."""
    number = next(i for i, word in recorded.names.items() if word == name and recorded.mask(i).any())
    frame = recorded.frame
    u, v = pixel_rays(frame.intrinsics, frame.size_hw)
    points = np.stack(np.broadcast_arrays(u * frame.depth_m, v[:, None] * frame.depth_m, frame.depth_m), -1)
    return points[recorded.mask(number) & (frame.depth_m > 0)]


def test_where_the_teapot_is_in_base_link_fits_a_terminal(bench, recorded):
    result = bench.find("find teapot", target_frame="base_link", max_results=1)
    assert (result.code, result.frame_id_3d, result.message) == (ResultCode.FOUND, "base_link", "1 found")
    assert len(lines_of(result)) < 100
    (segment,) = result.segments
    truth = RIGID.of_points(seen_of(recorded, "teapot"))
    # the middle of what is seen of it; the mask is not the true one to the pixel
    np.testing.assert_allclose(xyz(segment.centroid), np.median(truth, axis=0), atol=0.03)
    assert 0.05 < segment.size.z < 0.3
    assert np.sqrt(np.diag(np.reshape(segment.centroid_covariance, (3, 3)))).max() < 0.01


def test_the_same_thing_is_at_the_same_place_in_either_frame(bench):
    there = bench.find("teapot", target_frame="base_link").segments[0]
    here = bench.find("teapot").segments[0]
    np.testing.assert_allclose(xyz(there.centroid), RIGID.of_points(xyz(here.centroid)[None])[0], atol=1e-4)
    distance_m = pytest.approx(np.linalg.norm(xyz(here.centroid)), rel=1e-6)
    assert there.distance_m == distance_m
    assert here.distance_m == distance_m


def test_points_of_a_thing_are_on_it(bench, recorded):
    segment = bench.find("teapot", target_frame="base_link", with_points=True).segments[0]
    points = np.frombuffer(segment.points.data, "<f4").reshape(-1, 3)
    truth = RIGID.of_points(seen_of(recorded, "teapot"))
    low, high = truth.min(axis=0) - 0.02, truth.max(axis=0) + 0.02
    assert len(points) > 300
    assert ((points >= low) & (points <= high)).all(axis=1).mean() > 0.98
