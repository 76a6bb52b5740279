"""TF in recordings: written, read, and looked up between its times."""

from __future__ import annotations

from types import SimpleNamespace

import bag_fixtures
import numpy as np
import pytest
from evaluate_fixtures import recorded
from scipy.spatial.transform import Rotation

from ovseg_ros.core.space import Rigid, quaternion_xyzw
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.evaluate.recordings.writing import write_recording
from ovseg_ros.files.recordings import (
    STATIC_TF,
    TF,
    Transform,
    TransformTree,
    open_recording,
    read_transforms,
)

STORE = bag_fixtures.STORE


def shifted(x=0.0, y=0.0, z=0.0, turn_deg=0.0) -> Rigid:
    return Rigid(Rotation.from_euler("z", turn_deg, degrees=True).as_matrix(), [x, y, z])


def drawn(seed: int) -> list[Transform]:
    """map -> odom -> base moving at other times, base -> head -> camera static, and a side branch."""
    rng = np.random.default_rng(seed)

    def rigid() -> Rigid:
        return Rigid(Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix(), rng.normal(size=3))

    moving = [Transform("map", "odom", rigid(), stamp) for stamp in (1_000, 5_000, 9_000)]
    moving += [Transform("odom", "base", rigid(), stamp) for stamp in range(1_000, 9_001, 1_000)]
    static = [Transform("base", "head", rigid()), Transform("head", "camera", rigid())]
    return [*moving, *static, Transform("base", "arm", rigid())]


def test_a_point_goes_through_the_tree():
    tree = TransformTree(
        [
            Transform("map", "base", shifted(1, 0, 0, 90), 0),
            Transform("map", "base", shifted(3, 0, 0, 90), 10),
            Transform("base", "camera", shifted(0, 0, 2)),
        ]
    )
    assert np.allclose(tree.lookup("map", "camera", 5).of_points(np.array([[1.0, 0, 0]])), [[2, 1, 2]])
    assert np.allclose(tree.lookup("camera", "map", 5).of_points(np.array([[2.0, 1, 2]])), [[1, 0, 0]])
    assert np.allclose(tree.lookup("map", "map", 77).translation_m, 0)
    assert [one.child for one in tree.static] == ["camera"]
    (moving,) = tree.moving(10)
    assert np.allclose(moving.rigid.translation_m, [3, 0, 0])
    assert tree.moving(11) == []


def test_turns_are_interpolated_on_the_shortest_arc():
    tree = TransformTree(
        [Transform("a", "b", shifted(turn_deg=170), 0), Transform("a", "b", shifted(turn_deg=-170), 100)]
    )
    assert np.allclose(tree.lookup("a", "b", 50).rotation, shifted(turn_deg=180).rotation)
    assert np.allclose(tree.lookup("a", "b", 25).rotation, shifted(turn_deg=175).rotation)


def test_it_agrees_with_the_buffer_that_stands_for_tf2():
    fixtures = pytest.importorskip("tf_fixtures", reason="rclpy is not installed")
    known = drawn(3)
    buffer, tree = fixtures.Buffer(), TransformTree(reversed(known))
    for one in known:
        message = fixtures.transform(
            one.parent,
            one.child,
            one.rigid.translation_m,
            quaternion_xyzw(one.rigid.rotation),
            stamp_ns=one.stamp_ns or 0,
        )
        (buffer.set_transform_static if one.stamp_ns is None else buffer.set_transform)(message, "test")
    for target, source, stamp in (("map", "camera", 4_321), ("camera", "odom", 1_000), ("arm", "camera", 5)):
        found = buffer.lookup_transform(target, source, SimpleNamespace(nanoseconds=stamp)).transform
        turn, shift = found.rotation, found.translation
        got = tree.lookup(target, source, stamp)
        expected = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
        assert np.allclose(got.rotation, expected, atol=1e-9)
        assert np.allclose(got.translation_m, [shift.x, shift.y, shift.z], atol=1e-9)


@pytest.mark.parametrize(
    ("target", "source", "stamp", "said"),
    [
        ("map", "camera", 999, "expected a time from 0.000001 to 0.000009 s, which TF knows of 'base'"),
        ("map", "camera", 9_001, "which TF knows of"),
        ("moon", "camera", 1_000, "expected a way from 'camera' to 'moon' in TF, frames are arm, base"),
    ],
)
def test_what_tf_does_not_know_is_said(target, source, stamp, said):
    with pytest.raises(InvalidInputError, match=said):
        TransformTree(drawn(1)).lookup(target, source, stamp)


def test_frames_in_a_ring_are_refused():
    ring = TransformTree([Transform("a", "b", shifted()), Transform("b", "a", shifted())])
    with pytest.raises(InvalidInputError, match="expected a tree of frames"):
        ring.lookup("a", "c", 0)


def test_a_recording_keeps_it_beside_its_frames(tmp_path):
    frames = [recorded(0), recorded(1)]
    first, second = (one.frame.stamp_ns for one in frames)
    known = [
        Transform("map", "odom", shifted(1, 2, 3, 40), first - 7),
        Transform("odom", "base", shifted(4, 5, 6, -50), first - 7),
        Transform("map", "odom", shifted(2, 2, 3, 60), second + 7),
        Transform("odom", "base", shifted(4, 5, 8, -50), second + 7),
        Transform("base", "camera", Rigid([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.1, 0, 1])),
    ]
    write_recording(tmp_path / "bag", frames, transforms=known)
    counts = {channel.topic: channel.count for channel in open_recording(tmp_path / "bag").channels}
    assert (counts[TF], counts[STATIC_TF]) == (2, 1)
    logged = [(m.topic, m.logged_ns) for m in open_recording(tmp_path / "bag").messages([TF, STATIC_TF])]
    assert logged == [(TF, first - 7), (STATIC_TF, first), (TF, second + 7)]
    assert len(list(read_recording(tmp_path / "bag"))) == 2
    read, expected = read_transforms(tmp_path / "bag"), TransformTree(known)
    for stamp in (first - 7, first, second, second + 7):
        got, want = (tree.lookup("map", "camera", stamp) for tree in (read, expected))
        assert np.allclose(got.rotation, want.rotation, atol=1e-12)
        assert np.allclose(got.translation_m, want.translation_m, atol=1e-12)


def test_a_recording_without_it_has_no_such_topics(tmp_path):
    write_recording(tmp_path / "bag", [recorded(0)])
    assert not {TF, STATIC_TF} & {channel.topic for channel in open_recording(tmp_path / "bag").channels}
    with pytest.raises(InvalidInputError, match="frames are camera, map"):
        read_transforms(tmp_path / "bag").lookup("map", "camera", 0)


def test_numbers_that_are_no_transform_are_refused(tmp_path):
    types = STORE.types
    message = types["tf2_msgs/msg/TFMessage"](
        transforms=[
            types["geometry_msgs/msg/TransformStamped"](
                header=bag_fixtures.header(1.0, "map"),
                child_frame_id="odom",
                transform=types["geometry_msgs/msg/Transform"](
                    translation=types["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=0.0),
                    rotation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=0.0),
                ),
            )
        ]
    )
    path = bag_fixtures.write_bag(tmp_path / "bag", [(TF, 1.0, message)])
    with pytest.raises(InvalidInputError, match="expected a unit quaternion from 'odom' to 'map'"):
        read_transforms(path)
