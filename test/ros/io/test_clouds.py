"""Point clouds: what sensor_msgs_py makes and reads, and that ours is the same where it is not installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.ros.io import clouds

pytestmark = pytest.mark.ros
HEADER = Header(frame_id="base_link")
POINTS = np.array([[1.0, -2.0, 3.0], [np.nan, 0.0, 1e-3], [4.0, 5.0, 6.0]], np.float32)
INSTALLED = importlib.util.find_spec("sensor_msgs_py") is not None
needs_theirs = pytest.mark.skipif(
    not INSTALLED, reason="sensor_msgs_py is not on PyPI; it comes with a ROS installation"
)
BOTH = [pytest.param(True, marks=needs_theirs, id="theirs"), pytest.param(False, id="ours")]


@pytest.fixture
def with_theirs(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(clouds, "point_cloud2", None)


both = pytest.mark.parametrize("with_theirs", BOTH, indirect=True)


@both
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_cloud_of_points_is_read_as_it_was_made(with_theirs, count):
    message = clouds.xyz_cloud(HEADER, POINTS[:count])
    assert (message.height, message.width, message.point_step, message.row_step) == (1, count, 12, 12 * count)
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        ("x", 0, PointField.FLOAT32, 1), ("y", 4, PointField.FLOAT32, 1), ("z", 8, PointField.FLOAT32, 1),
    ]  # fmt: skip
    assert message.header == HEADER
    assert not message.is_bigendian
    assert not message.is_dense
    assert bytes(message.data) == POINTS[:count].tobytes()
    read = clouds.read_xyz(message)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, POINTS[:count])


@both
def test_other_fields_and_types_are_passed_over(with_theirs):
    kinds = (("intensity", 0, PointField.UINT16), ("z", 2, PointField.FLOAT64), ("y", 10, PointField.FLOAT32))
    fields = [PointField(name=n, offset=o, datatype=k, count=1) for n, o, k in kinds]
    fields.append(PointField(name="x", offset=14, datatype=PointField.FLOAT32, count=1))
    layout = {
        "names": ["z", "y", "x"],
        "formats": ["<f8", "<f4", "<f4"],
        "offsets": [2, 10, 14],
        "itemsize": 20,
    }
    points = np.zeros((2, 3), np.dtype(layout))
    for axis, name in enumerate("xyz"):
        points[name] = np.arange(6).reshape(2, 3) * 10 + axis
    message = PointCloud2(height=2, width=3, fields=fields, point_step=20, data=points.tobytes())
    read = clouds.read_xyz(message)
    np.testing.assert_array_equal(read, np.arange(6)[:, None] * 10 + np.arange(3))


@both
def test_a_cloud_without_positions_is_refused(with_theirs):
    with pytest.raises(
        InvalidInputError, match="expected a cloud with the floating-point fields x, y and z, got no"
    ):
        clouds.read_xyz(PointCloud2(height=1, width=1))
    message = clouds.xyz_cloud(HEADER, POINTS)
    message.fields[1].datatype = PointField.INT32
    with pytest.raises(InvalidInputError, match="got x, y, z"):
        clouds.read_xyz(message)
    message = clouds.xyz_cloud(HEADER, POINTS)
    message.width = 4
    with pytest.raises(InvalidInputError, match="expected 4 points of 12 bytes, got 36 bytes in all"):
        clouds.read_xyz(message)


def labelled(scene):
    return clouds.CloudMaker().message(scene)


@pytest.fixture
def scene():
    """A labelled scene of the test picture with depth."""
    pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")
    from ros_bench import camera_info_message, colour_segmenter, image_message, picture

    from ovseg_ros.core.words import Vocabulary
    from ovseg_ros.ros.io.conversions import MessageContext, frame_from_messages

    depth = np.linspace(0.5, 2.0, 24 * 32, dtype=np.float32).reshape(24, 32)
    depth[3, 5] = np.nan
    image = image_message(picture(red=True, blue=True))
    frame, _ = frame_from_messages(image, image_message(depth, "32FC1"), camera_info_message())
    vocabulary, _ = Vocabulary.empty().replace(["red", "blue"])
    return MessageContext(image.header, colour_segmenter().segment(frame, vocabulary))


@needs_theirs
def test_ours_is_theirs_byte_for_byte(scene, monkeypatch):
    theirs = [labelled(scene), *(clouds.xyz_cloud(HEADER, POINTS[:n]) for n in range(4))]
    monkeypatch.setattr(clouds, "point_cloud2", None)
    ours = [labelled(scene), *(clouds.xyz_cloud(HEADER, POINTS[:n]) for n in range(4))]
    for one, other in zip(ours, theirs, strict=True):
        assert one == other
        assert one.data.tobytes() == other.data.tobytes()  # of NaN too


@needs_theirs
def test_theirs_reads_the_labelled_cloud(scene):
    from sensor_msgs_py import point_cloud2

    points = point_cloud2.read_points(labelled(scene)).reshape(24, 32)
    assert points.dtype.names == ("x", "y", "z", "rgb", "label", "instance")
    np.testing.assert_array_equal(points["z"], scene.segmentation.frame.depth_m)
    np.testing.assert_array_equal(points["label"], scene.label_image)
    np.testing.assert_array_equal(points["instance"], scene.instance_map)


@both
def test_the_labelled_cloud_is_organised(with_theirs, scene):
    message = labelled(scene)
    assert (message.height, message.width, message.point_step, message.row_step) == (24, 32, 20, 640)
    np.testing.assert_array_equal(
        clouds.read_xyz(message)[:, 2], scene.segmentation.frame.depth_m.reshape(-1)
    )
