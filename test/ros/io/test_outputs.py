"""What becomes of a scene: segments, boxes, markers and detections, without a node."""

from __future__ import annotations

import array
import dataclasses
import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from types import SimpleNamespace

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseWithCovariance, Vector3
from ros_bench import camera_info_message, colour_segmenter, image_message, picture
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from ovseg_ros.core.runners_up import RunnersUp
from ovseg_ros.core.segmenter import SegmenterOptions
from ovseg_ros.core.space import Rigid
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.models import presets
from ovseg_ros.models.preset_parts import PROPOSERS, LoadContext, build
from ovseg_ros.ros.io.clouds import CloudMaker
from ovseg_ros.ros.io.context import MessageContext
from ovseg_ros.ros.io.conversions import (
    frame_from_messages,
    segment_message,
    segmentation_message,
    vocabulary_message,
)
from ovseg_ros.ros.io.markers import MarkerMaker, detections_2d, detections_3d, label_colour, label_info
from ovseg_ros.ros.io.transforms import Placement
from ovseg_ros.ros.parameters.options import options_from
from ovseg_ros.ros.parameters.table import Settings

pytestmark = pytest.mark.ros


def scene(words=("red", "blue"), depth=None, **colours):
    """A labelled scene of the test picture."""
    image = image_message(picture(**{"red": True, "blue": True, **colours}))
    depth = None if depth is None else image_message(np.asarray(depth, np.float32), "32FC1")
    frame, _ = frame_from_messages(image, depth, camera_info_message())
    vocabulary, _ = Vocabulary.empty().replace(words)
    return MessageContext(image.header, colour_segmenter().segment(frame, vocabulary))


def test_a_cloud_is_written_over_the_last_one():
    clouds = CloudMaker()
    first = clouds.message(scene(depth=np.full((24, 32), 1.0)))
    second = clouds.message(scene(depth=np.full((24, 32), 2.0), blue=False))
    assert first.data is second.data  # published already: rclpy has copied it
    assert isinstance(second.data, array.array)
    points = np.frombuffer(second.data, np.float32).reshape(24, 32, 5)
    assert (points[..., 2] == 2.0).all()
    np.testing.assert_array_equal(
        second.data, CloudMaker().message(scene(depth=np.full((24, 32), 2.0), blue=False)).data
    )


def test_markers_are_written_over_the_last_ones():
    level = Placement(up=np.array([0.0, -1.0, 0.0]))
    far, near = (scene(depth=np.full((24, 32), metres)).placed(level) for metres in (2.0, 1.0))
    one = scene(depth=np.full((24, 32), 1.5), blue=False).placed(level)
    maker = MarkerMaker()
    for of, count in ((far, 5), (near, 5), (one, 3), (far, 5)):
        message = maker.message(of)
        assert len(message.markers) == count
        assert message == MarkerMaker().message(of)
        assert message.markers[0].action == Marker.DELETEALL
        assert [box.id for box in message.markers[1::2]] == list(of.objects_3d)
    for box, name in zip(message.markers[1::2], message.markers[2::2], strict=True):
        assert (box.ns, name.ns) == ("boxes", "names")
        assert box.id == name.id
        assert box.pose.position.z == pytest.approx(2.0)
        assert name.pose.position.y == pytest.approx(box.pose.position.y - box.scale.z / 2 - 0.03, abs=1e-3)
        assert name.pose.position.x == pytest.approx(box.pose.position.x)
        assert name.pose.orientation.w == 1.0
    assert {name.text.split()[0] for name in message.markers[2::2]} == {"red", "blue"}


def unsure_scene(**fields):
    """The scene in 3D under hand-worked probabilities of red and blue: certain, and nearly as much a wall."""
    of = scene(depth=np.full((24, 32), 2.0))
    probs = torch.tensor([[0.75, 0.125], [0.0625, 0.5]])
    second = RunnersUp(("blue", "wall"), torch.tensor([0.125, 0.4375]))
    given = {"probs": probs, "runners_up": second, **fields}
    return MessageContext(of.header, dataclasses.replace(of.segmentation, **given))


def test_a_segment_says_how_sure_it_is():
    of = unsure_scene()
    told = [
        (s.label, s.score, s.margin, s.runner_up, s.runner_up_score)
        for s in map(partial(segment_message, of, with_mask=False), (0, 1))
    ]
    assert told == [("red", 0.75, 0.625, "blue", 0.125), ("blue", 0.5, 0.0625, "wall", 0.4375)]
    nothing = unsure_scene(runners_up=RunnersUp(("", "wall"), torch.tensor([0.0, 0.75])))
    first, second = all_segments(nothing)
    assert (first.margin, first.runner_up, first.runner_up_score) == (0.75, "", 0.0)
    assert second.margin == -0.25


def test_the_names_in_the_scene_tell_what_is_close():
    texts = [marker.text for marker in MarkerMaker().message(unsure_scene()).markers[2::2]]
    assert texts == ["red 0.75", "blue 0.50\n/ wall 0.44"]


def test_a_hidden_mask_has_no_instance_number():
    of = scene()
    assert [of.is_visible(i) for i in of.order] == [True, True]
    rows, columns = of.boxes[0]
    of.instance_map[rows, columns] = 2
    assert not of.is_visible(0)
    of.instance_map[rows.stop - 1, columns.stop - 1] = 1  # a corner that was not the first looked at
    assert of.is_visible(0)
    assert segment_message(of, 0, with_mask=False).instance_id == 1


def test_track_numbers_are_told():
    of = scene()
    assert {segment.track_id for segment in all_segments(of)} == {0}
    embedded = dataclasses.replace(of.segmentation.embedded, track_ids=torch.tensor([7, 4_000_000_000]))
    tracked = dataclasses.replace(of.segmentation, embedded=embedded)
    again = MessageContext(of.header, tracked)
    assert segment_message(again, 1, with_mask=False).track_id == 4_000_000_000
    assert segment_message(again, 0, with_mask=False).track_id == 7
    assert {d.id for d in detections_2d(again, VisionMsgs).detections} == {"track_7", "track_4000000000"}


def test_a_track_and_a_mask_of_the_same_number_are_two_things():
    """Mask 0, which would be number 1 of this frame, is new; mask 1 is track 1."""
    of = scene(depth=np.full((24, 32), 2.0))
    embedded = dataclasses.replace(of.segmentation.embedded, track_ids=torch.tensor([0, 1]))
    again = MessageContext(of.header, dataclasses.replace(of.segmentation, embedded=embedded))
    for detections in (detections_2d(again, VisionMsgs), detections_3d(again, VisionMsgs)):
        ids = {d.results[0].hypothesis.class_id: d.id for d in detections.detections}
        assert ids == {"red": "mask_1", "blue": "track_1"}


def all_segments(of):
    return [segment_message(of, i, with_mask=True) for i in of.order]


def test_nothing_proposed():
    empty = scene(red=False, blue=False)
    message = segmentation_message(empty, model="m", with_masks=True, with_unlabelled=True)
    assert list(message.segments) == []
    assert set(message.label_image.data) == {255}
    assert set(message.instance_image.data) == {0}
    assert len(message.label_image.data) == 24 * 32


def test_masks_can_be_left_out():
    message = segmentation_message(scene(), model="m", with_masks=False, with_unlabelled=False)
    assert [(segment.mask.width, segment.box.width) for segment in message.segments] == [(0, 10)] * 2
    assert (message.label_image.width, message.instance_image.width) == (32, 32)
    bare = segmentation_message(
        scene(), model="m", with_masks=False, with_unlabelled=False, with_images=False
    )
    assert (bare.label_image.width, bare.instance_image.width, len(bare.segments)) == (0, 0, 2)


def test_what_was_not_asked_for_loses_its_label_everywhere():
    of = scene(depth=np.full((24, 32), 2.0))
    (red,) = of.segmentation.found("red")
    of.objects_in_camera(of.order)
    rest = of.without([red])
    assert [rest.names[i] for i in rest.labelled] == ["blue"]
    assert set(np.unique(rest.label_image)) == {of.label_ids[1 - red], 255}
    assert rest.order == [1 - red, red]
    assert rest.object_3d(red) is of.object_3d(red)
    assert of.names[red] == "red"
    assert of.without([]) is of


def test_mask_bytes_are_the_mask_inside_its_box():
    found = scene()
    segmentation = found.segmentation
    index = segmentation.found("red")[0]
    found.masks[index][4, 6] = False  # a corner less
    message = segment_message(found, index, with_mask=True)
    mask = np.frombuffer(message.mask.data, np.uint8).reshape(8, 10)
    assert mask[0, 0] == 0
    assert (mask == 255).sum() == message.area_px == 79


def test_an_object_without_known_depth_has_no_3d():
    depth = np.full((24, 32), np.nan)
    depth[4:12, 6:16] = 2.0  # the red one alone
    found = scene(depth=depth)
    messages = {s.label: s for s in (segment_message(found, i, with_mask=False) for i in found.order)}
    assert messages["red"].has_3d
    assert not messages["blue"].has_3d
    size = messages["red"].size
    # ten pixels across; from the middle of the first row to that of the eighth
    assert sorted((size.x, size.y, size.z)) == pytest.approx([0.0, 7 * 2.0 / 30, 10 * 2.0 / 30], abs=2e-3)


def test_vocabulary_message_has_the_thresholds_in_force():
    vocabulary, _ = Vocabulary.empty().replace(["a", "b"], [None, 0.75])
    message = vocabulary_message(vocabulary, 0.25, Time(sec=3))
    assert list(message.thresholds) == [0.25, 0.75]
    assert list(message.label_ids) == [0, 1]
    assert message.header.stamp.sec == 3


def test_options_from_parameters():
    preset = SegmenterOptions(threshold=0.4, background=("wall", "floor"), granularity=0.5, clip_weight=0.6)
    assert options_from(preset, Settings()) == preset
    settings = Settings(
        threshold=0.7,
        background_labels=("sky", "preset", "wall", ""),
        classifier="ensemble",
        clip_weight=0.0,
        region_view="both",
        mask_prompts="off",
        templates="imagenet",
        semantic="soft",
        granularity=0.0,
        others="",
    )
    changed = options_from(preset, settings)
    assert len(changed.templates) == 80
    assert changed == dataclasses.replace(
        preset,
        threshold=0.7,
        background=("sky", "wall", "floor"),
        classifier="ensemble",
        clip_weight=0.0,
        region_view="both",
        mask_prompts=False,
        templates=changed.templates,
        semantic="soft",
        granularity=0.0,
        others="",
    )


def test_neighbouring_ids_differ_in_colour():
    colours = [label_colour(i) for i in range(255)]
    assert all(0 <= value <= 1 for colour in colours for value in colour)
    assert all(np.abs(np.subtract(a, b)).max() > 0.5 for a, b in itertools.pairwise(colours))


class VisionMsgs:
    """vision_msgs 4.1, field by field: the package itself is not on PyPI."""

    @staticmethod
    def _kind(**defaults):
        def make(**given):
            assert set(given) <= set(defaults), given
            return SimpleNamespace(**{name: value() for name, value in defaults.items()} | given)

        return make

    Detection2DArray = _kind(header=Header, detections=list)
    Detection3DArray = _kind(header=Header, detections=list)
    VisionClass = _kind(class_id=int, class_name=str)
    LabelInfo = _kind(header=Header, class_map=list, threshold=float)
    ObjectHypothesisWithPose = _kind(hypothesis=_kind(class_id=str, score=float), pose=PoseWithCovariance)
    Detection2D = _kind(
        header=Header,
        results=list,
        bbox=_kind(center=_kind(position=_kind(x=float, y=float), theta=float), size_x=float, size_y=float),
        id=str,
    )
    Detection3D = _kind(header=Header, results=list, bbox=_kind(center=Pose, size=Vector3), id=str)


def test_detections():
    found = scene(depth=np.full((24, 32), 1.5))
    flat, deep = detections_2d(found, VisionMsgs), detections_3d(found, VisionMsgs)
    red = next(d for d in flat.detections if d.results[0].hypothesis.class_id == "red")
    assert (red.bbox.center.position.x, red.bbox.center.position.y) == (11.0, 8.0)
    assert (red.bbox.size_x, red.bbox.size_y) == (10.0, 8.0)
    assert red.results[0].hypothesis.score > 0.9
    assert flat.header is found.header
    assert {d.results[0].hypothesis.class_id for d in deep.detections} == {"red", "blue"}
    assert all(d.bbox.center.position.z == pytest.approx(1.5) for d in deep.detections)


# A frame whose x is the camera's z, y its -x, z its -y, and whose origin is 1 m below the camera
TURN = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
IN_BASE = Placement("base_link", Rigid(TURN, np.array([0.0, 0.0, 1.0])), np.array([0.0, -1.0, 0.0]))


def test_3d_detections_are_in_the_frame_that_is_wanted():
    found = scene(depth=np.full((24, 32), 1.5), blue=False).placed(IN_BASE)
    deep = detections_3d(found, VisionMsgs)
    (detection,) = deep.detections
    assert deep.header.frame_id == detection.header.frame_id == "base_link"
    assert deep.header.stamp == found.header.stamp
    segment = segment_message(found, 0, with_mask=False)
    assert detection.bbox.center == segment.pose
    assert detection.bbox.size == segment.size
    (result,) = detection.results
    assert result.pose.pose.position == segment.centroid
    assert result.pose.pose.orientation == segment.pose.orientation
    covariance = result.pose.covariance.reshape(6, 6)
    np.testing.assert_array_equal(covariance[:3, :3].ravel(), segment.centroid_covariance)
    np.testing.assert_allclose(covariance[3:, 3:], np.eye(3) * math.pi**2 / 3)
    assert not covariance[:3, 3:].any()
    assert not covariance[3:, :3].any()
    assert detections_2d(found, VisionMsgs).header.frame_id == "camera"


def test_an_upright_box_stands_upright_in_its_frame():
    found = scene(depth=np.full((24, 32), 2.0), blue=False).placed(IN_BASE)
    segment = segment_message(found, 0, with_mask=False)
    orientation = segment.pose.orientation
    turn = Rotation.from_quat((orientation.x, orientation.y, orientation.z, orientation.w)).as_matrix()
    np.testing.assert_allclose(turn[:, 2], [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(np.abs(turn[:, 0]), [0, 1, 0], atol=0.03)  # its longer side, across the image
    # columns 6 to 15, rows 4 to 11: ten pixels, and seven steps, of 2 / 30 m
    assert segment.size.x == pytest.approx(10 * 2 / 30, abs=2e-3)
    assert segment.size.z == pytest.approx(7 * 2 / 30, abs=1e-6)
    assert segment.distance_m == pytest.approx(math.dist((0, 0, 0), (-11 / 30, -9 / 30, 2.0)), abs=0.02)


def test_points_are_in_the_frame_too():
    found = scene(depth=np.full((24, 32), 2.0), blue=False)
    there = segment_message(found.placed(IN_BASE), 0, with_mask=False, with_points=True).points
    here = segment_message(found, 0, with_mask=False, with_points=True).points
    assert (here.header.frame_id, there.header.frame_id) == ("camera", "base_link")
    one, other = (np.frombuffer(cloud.data, "<f4").reshape(-1, 3) for cloud in (here, there))
    assert len(one) > 30
    assert (one[:, 2] == 2.0).all()
    np.testing.assert_allclose(other, one @ TURN.T + [0, 0, 1], atol=1e-6)
    assert segment_message(scene(), 0, with_mask=False, with_points=True).points.width == 0


def test_label_info_holds_every_name_that_ever_had_an_id():
    vocabulary, _ = Vocabulary.empty().replace(["a", "b"])
    vocabulary, _ = vocabulary.replace(["c"])
    info = label_info(vocabulary, 0.5, Time(), VisionMsgs)
    assert [(c.class_id, c.class_name) for c in info.class_map] == [(0, "a"), (1, "b"), (2, "c")]


def test_every_bundled_preset_over_depth_is_known_to_need_depth():
    """However its proposer is put together: the node then waits for depth instead of wasting frames."""
    over_depth = []
    for name in presets.list_presets():
        path = presets.preset_path(name)
        part = presets.read_preset(path)["proposer"]
        if part["kind"] == "depth_clusters":
            context = LoadContext(path, torch.device("cpu"), None, offline=True)
            assert build(context, part, PROPOSERS).needs_depth, name
            over_depth.append(name)
    assert over_depth == ["mini"]
