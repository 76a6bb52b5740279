"""The truth in space: its file, what hides what, true boxes, overlap, and what is counted of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from camera_oracles import back_project
from evaluate_fixtures import BOXES, CAMERA, recorded, segmenter
from repository import ROOT
from space_scenes import about

from ovseg_ros.core.camera import pixel_rays
from ovseg_ros.core.space import Object3d, Rigid
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings import space, tables
from ovseg_ros.evaluate.recordings.demo import summarise
from ovseg_ros.evaluate.recordings.measures import measure
from ovseg_ros.evaluate.recordings.objects import (
    TrueObjects,
    TrueThing,
    TrueView,
    hidden_share,
    read_objects,
    write_objects,
)
from ovseg_ros.evaluate.recordings.recording import RecordedFrame, read_recording

FORWARD = Rigid([[1, 0, 0], [0, 0, -1], [0, 1, 0]], [0, 0, 0])  # looks along y, z is up


def box_at(instance, depth_m=1.0, moved_m=0.0):
    """The flat true thing behind one of the fixture's boxes, which lie in a wall, as seen by `FORWARD`."""
    rows, columns = BOXES[instance]
    u, v = pixel_rays(CAMERA, (CAMERA.height, CAMERA.width))
    half = 0.5 * depth_m / CAMERA.fx
    left, right = u[columns.start] * depth_m - half, u[columns.stop - 1] * depth_m + half
    top, bottom = -v[rows.start] * depth_m + half, -v[rows.stop - 1] * depth_m - half
    outline = [[left, depth_m - 0.05], [right, depth_m - 0.05], [right, depth_m], [left, depth_m]]
    middle = np.array([(left + right) / 2, -(top + bottom) / 2, depth_m + moved_m])
    return TrueThing(str(instance), np.array(outline, np.float32), bottom, top), middle


def truth_of(stamps, moved_m=0.0, hidden=0.0):
    there = {i: box_at(i, moved_m=moved_m) for i in (1, 2)}
    middles = {i: middle for i, (_, middle) in there.items()}
    views = {s: TrueView(s, FORWARD, middles, dict.fromkeys(there, hidden)) for s in stamps}
    return TrueObjects({i: thing for i, (thing, _) in there.items()}, views)


@pytest.mark.parametrize("moved_m", [0.0, 0.01, 0.2])
def test_what_is_measured_is_how_far_the_truth_is(moved_m):
    frames = [recorded(0), recorded(1)]
    truth = truth_of([one.frame.stamp_ns for one in frames], moved_m)
    counts = measure(segmenter(), frames, absent_words=(), in_space=truth).space
    assert counts.tried == 4  # blue is too small
    figures = counts.to_dict()
    for masks in ("true_masks", "own_masks"):
        assert figures[masks]["fully_visible"]["trials"] == 4
        assert figures[masks]["all"]["centroid_m"] == pytest.approx(moved_m, abs=0.003)
        assert figures[masks]["all"]["within"] == (moved_m < 0.015)


def test_things_without_a_fitting_mask_are_tried_with_their_true_one_alone():
    frames = [recorded(0)]
    truth = truth_of([frames[0].frame.stamp_ns], hidden=0.3)
    counts = measure(segmenter(5), frames, absent_words=(), in_space=truth).space
    assert (counts.tried, len(counts.true_masks), len(counts.own_masks)) == (2, 2, 1)
    assert counts.to_dict()["true_masks"]["fully_visible"]["trials"] is None  # a third of each is hidden
    assert counts.to_dict()["true_masks"]["per_word"] == {}


def test_frames_that_the_truth_does_not_know_or_without_depth_are_left_out():
    known, strange = recorded(0), recorded(1)
    bare = RecordedFrame(dataclasses.replace(known.frame, depth_m=None), known.instances, known.names)
    counts = space.SpaceCounts()
    for one in (strange, bare):
        space.count_space(one, truth_of([known.frame.stamp_ns]), [1, 2], [None, None], counts)
    assert counts == space.SpaceCounts()
    assert measure(segmenter(), [known], absent_words=()).space == space.SpaceCounts()


def test_the_report_has_its_table_only_with_a_truth():
    frames = [recorded(0)]
    truth = truth_of([frames[0].frame.stamp_ns])
    for known, there in ((None, False), (truth, True)):
        summary = summarise(measure(segmenter(), frames, absent_words=(), in_space=known))
        suite = {"recording": "x", "preset": "y", "targets": [], **summary}
        text = tables.report(
            {"suites": {"t": suite}, "machine": {"processor": "p", "cores": 1, "python": "3"}}
        )
        assert ("| own masks, fully visible" in text) == there
        assert ("within 15 mm" in text) == there


def test_the_file_comes_back_as_it_was_written(tmp_path):
    truth = truth_of([5, 7])
    write_objects(tmp_path, truth.things, list(truth.views.values()))
    back = read_objects(tmp_path)
    assert set(back.views) == {5, 7}
    for i, thing in truth.things.items():
        np.testing.assert_allclose(back.things[i].footprint_m, thing.footprint_m, atol=1e-4)
        assert back.things[i].name == thing.name
        assert back.things[i].top_m == pytest.approx(thing.top_m, abs=1e-4)
        np.testing.assert_allclose(back.views[5].centroids_m[i], truth.views[5].centroids_m[i], atol=1e-4)
    np.testing.assert_allclose(back.views[5].to_camera.rotation, FORWARD.rotation)
    assert read_objects(tmp_path / "nowhere") is None
    for wrong in ("[]", '{"things": {"a": 1}}', "{"):
        (tmp_path / "objects.json").write_text(wrong)
        with pytest.raises(InvalidInputError, match="expected the truth in space"):
            read_objects(tmp_path)


def test_a_things_truth_is_its_outline_from_above():
    corners = np.array([[x, y, z] for x in (0, 0.2) for y in (0, 0.1) for z in (0.3, 0.4)])
    inside = np.random.default_rng(0).uniform((0, 0, 0.3), (0.2, 0.1, 0.4), (50, 3))
    thing = TrueThing.around("box", np.concatenate([corners, inside]))
    assert len(thing.footprint_m) == 4
    assert (thing.bottom_m, thing.top_m) == pytest.approx((0.3, 0.4))


def test_what_hides_and_what_lies_outside():
    depth, instances = np.full((60, 80), 2.0), np.zeros((60, 80), int)
    instances[:, 40:], depth[:, 40:] = 7, 1.0  # something near stands before the right half
    row = np.array([[(u - 39.5) / 70 * 2.0, 0.0, 2.0] for u in range(20, 60)])
    assert hidden_share(row, depth, instances, 3, 70.0) == 0.5
    assert hidden_share(row, depth, instances, 7, 70.0) == 0.0  # it hides itself: that is no other thing
    assert hidden_share(row + np.array([3.0, 0, 0]), depth, instances, 3, 70.0) == 1.0


def found_box(centre=(0, 0, 0), yaw_deg=0.0, size=(0.2, 0.1, 0.3)):
    return Object3d((0, 0, 1), np.eye(3), centre, about("z", yaw_deg), size, 1.0)


def test_the_true_box_lies_along_the_smallest_side():
    outline = np.array([[0.2, 0.1], [-0.2, 0.1], [-0.2, -0.1], [0.2, -0.1]]) @ about("z", 30)[:2, :2].T
    thing = TrueThing("box", (outline + np.array([1, 2])).astype(np.float32), 0.0, 0.5)
    centre, rotation, size = space.true_box(thing, FORWARD, found_box())
    np.testing.assert_allclose(centre, FORWARD.of_points(np.array([[1, 2, 0.25]]))[0], atol=1e-6)
    np.testing.assert_allclose(np.sort(size), [0.2, 0.4, 0.5], atol=1e-6)
    long = rotation[:, int(size.argmax() if size.argmax() < 2 else size[:2].argmax())]
    want = FORWARD.rotation @ about("z", 30)[:, 0]
    assert abs(long @ want) == pytest.approx(1.0, abs=1e-6)


def test_around_round_things_the_true_box_is_turned_as_the_one_found():
    around = np.radians(np.arange(0, 360, 5))
    thing = TrueThing("can", 0.1 * np.stack([np.cos(around), np.sin(around)], axis=1), 0.0, 0.2)
    world = Rigid(np.eye(3), np.zeros(3))
    for yaw_deg in (0.0, 20.0, 45.0):
        _, rotation, _ = space.true_box(thing, world, found_box(yaw_deg=yaw_deg))
        assert abs(rotation[:, 0] @ about("z", yaw_deg)[:, 0]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("moved", "yaw_deg", "want"),
    [((0, 0, 0), 0, 1.0), ((0.1, 0, 0), 0, 1 / 3), ((0.2, 0, 0), 0, 0.0), ((0, 0, 0), 90, 1 / 3)],
)
def test_overlap_of_boxes(moved, yaw_deg, want):
    size = np.array([0.2, 0.1, 0.3])
    one, other = (np.zeros(3), np.eye(3), size), (np.array(moved), about("z", yaw_deg), size)
    assert space.box_iou(one, other) == pytest.approx(want, abs=0.01)
    assert space.box_iou(other, one) == pytest.approx(want, abs=0.01)
    flat = (np.zeros(3), np.eye(3), np.array([0.2, 0.1, 0.0]))
    assert space.box_iou(flat, flat) == 0.0


def test_the_bundled_truth_is_of_the_bundled_recording():
    """Every thing's visible points lie in its true box, through the true camera's pose."""
    folder = ROOT / "demo" / "tabletop"
    truth = read_objects(folder)
    frames = list(read_recording(folder))
    assert set(truth.views) == {one.frame.stamp_ns for one in frames}
    for one in frames[::11]:
        view = truth.views[one.frame.stamp_ns]
        cloud = back_project(one.frame.depth_m, one.frame.intrinsics)
        for i, middle in view.centroids_m.items():
            thing = truth.things[i]
            assert thing.name == one.names[i]
            points = cloud[one.mask(i) & (one.frame.depth_m > 0)]
            np.testing.assert_allclose(points.mean(axis=0), middle, atol=0.012)
            world = (points - view.to_camera.translation_m) @ view.to_camera.rotation
            low, high = thing.footprint_m.min(axis=0) - 0.01, thing.footprint_m.max(axis=0) + 0.01
            inside = (world[:, :2] > low).all(axis=1) & (world[:, :2] < high).all(axis=1)
            inside &= (world[:, 2] > thing.bottom_m - 0.01) & (world[:, 2] < thing.top_m + 0.01)
            assert inside.mean() > 0.97
