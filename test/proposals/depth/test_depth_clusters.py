"""DepthClusters on ray-cast scenes whose masks are known exactly."""

import numpy as np
import pytest
import torch
from proposals_scenes import TABLE_RGB, Box, Cylinder, Sphere, as_sensed, best_ious, table, view

from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.proposals.depth.depth_clusters import DepthClusters, DepthClustersOptions

SIX = (
    Box((-0.25, 0.05, 0.05), (0.08, 0.06, 0.10)),
    Cylinder((0.0, 0.0, 0.0), 0.04, 0.12),
    Sphere((0.2, 0.1, 0.04), 0.04),
    Cylinder((-0.1, 0.2, 0.0), 0.09, 0.012, (230, 230, 225)),  # a plate
    Box((0.12, -0.12, 0.01), (0.14, 0.10, 0.02), (40, 60, 90)),  # a book
    Box((0.25, 0.3, 0.1), (0.06, 0.06, 0.20), (220, 190, 40)),
)


def masks_of(frame, **options):
    return DepthClusters(DepthClustersOptions(**options)).propose(frame).masks.numpy()


def test_every_thing_on_the_table_gets_one_mask_and_nothing_else_does():
    frame, instances = view(SIX, size_hw=(480, 640))
    masks = masks_of(frame)
    assert len(masks) == len(SIX)
    assert min(best_ious(masks, instances)) > 0.95


@pytest.mark.parametrize(
    "camera",
    [
        {"pitch_deg": 20.0},
        {"pitch_deg": 35.0, "roll_deg": 15.0},
        {"pitch_deg": 60.0, "roll_deg": 15.0},
        {"pitch_deg": 90.0},
        {"pitch_deg": 115.0},  # tilted past vertical
        {"distance": 0.5},
        {"distance": 1.6},
    ],
)
def test_any_camera_pitch_and_distance_and_some_roll(camera):
    frame, instances = view(SIX[:3] if "distance" in camera else SIX, **camera)
    assert min(best_ious(masks_of(frame), instances)) > 0.9


@pytest.mark.parametrize("size_hw", [(120, 160), (720, 1280)])
def test_image_sizes(size_hw):
    frame, instances = view(SIX, size_hw=size_hw, distance=0.8)
    masks = masks_of(frame)
    assert masks.shape[1:] == size_hw
    ious = best_ious(masks, instances)
    assert np.mean(ious) > 0.88
    assert min(ious) > 0.7


def test_moderate_sensor_noise_and_missing_edges():
    frame, instances = view(SIX, size_hw=(480, 640))
    ious = best_ious(masks_of(as_sensed(frame, 0.001)), instances)
    assert np.mean(ious) > 0.9
    assert min(ious) > 0.75


def test_whole_millimetres_without_noise():
    frame, instances = view(SIX)
    rounded = Frame(frame.image_rgb, np.round(frame.depth_m, 3).astype(np.float32), frame.intrinsics)
    assert min(best_ious(masks_of(rounded), instances)) > 0.93


def test_colour_closes_gaps_in_the_depth():
    frame, instances = view([Cylinder((0.0, 0.0, 0.0), 0.06, 0.14)], size_hw=(480, 640))
    depth = frame.depth_m.copy()
    rows, columns = np.nonzero(instances == 1)
    edge = columns < columns.min() + 9  # no reading along the left side, thing and table alike
    band = slice(columns.min() - 9, columns.min() + 9)
    depth[rows.min() : rows.max(), band] = 0
    holed = Frame(frame.image_rgb, depth, frame.intrinsics)
    assert edge.sum() > 300
    with_colour = best_ious(masks_of(holed), instances)[0]
    without = best_ious(masks_of(holed, refine_px=0), instances)[0]
    assert with_colour > 0.97 > without + 0.01


def test_nan_and_inf_are_unknown_like_zero():
    frame, _ = view(SIX)
    holes = np.random.default_rng(0).random(frame.depth_m.shape) < 0.02
    results = []
    for unknown in (0.0, np.nan, np.inf):
        depth = np.where(holes, np.float32(unknown), frame.depth_m)
        results.append(masks_of(Frame(frame.image_rgb, depth, frame.intrinsics)))
    assert len(results[0]) >= len(SIX)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_empty_table():
    frame, _ = view([])
    proposals = DepthClusters().propose(frame)
    assert proposals.masks.shape == (0, 240, 320)
    assert proposals.scores.shape == (0,)


@pytest.mark.parametrize(
    ("thing", "least"),
    [
        (Sphere((0.0, 0.0, 0.05), 0.05), 0.97),
        (Cylinder((0.0, 0.0, 0.0), 0.1, 0.008, (235, 235, 230)), 0.96),
        (Box((0.0, 0.0, 0.04), (0.1, 0.1, 0.08), TABLE_RGB), 0.93),
    ],
    ids=["ball", "thin plate", "the table's own colour"],
)
def test_one_thing(thing, least):
    frame, instances = view([thing])
    masks = masks_of(frame)
    assert len(masks) == 1
    assert best_ious(masks, instances)[0] > least


def test_a_thing_before_another_is_cut_at_the_depth_jump():
    things = [Cylinder((0.0, -0.05, 0.0), 0.04, 0.10), Box((0.0, 0.06, 0.08), (0.2, 0.05, 0.16))]
    frame, instances = view(things, pitch_deg=30)
    touch = (instances[:, 1:] == 1) & (instances[:, :-1] == 2)
    assert touch.sum() > 20  # they do overlap in the image
    masks = masks_of(frame)
    assert len(masks) == 2
    assert min(best_ious(masks, instances)) > 0.95


def test_an_open_box_is_one_thing_though_its_wall_hides_its_inside():
    wall = (180, 60, 60)
    crate = [
        Box((0.0, -0.10, 0.05), (0.2, 0.012, 0.10), wall),
        Box((0.0, 0.10, 0.05), (0.2, 0.012, 0.10), wall),
        Box((-0.10, 0.0, 0.05), (0.012, 0.212, 0.10), wall),
        Box((0.10, 0.0, 0.05), (0.012, 0.212, 0.10), wall),
        Box((0.0, 0.0, 0.004), (0.2, 0.2, 0.008), wall),
    ]
    frame, instances = view(crate, pitch_deg=35)
    masks = masks_of(frame)
    assert best_ious(masks, (instances > 0).astype(int))[0] > 0.95


def test_floor_and_wall_beyond_the_table_are_not_things():
    ground = (
        table(0.45, -0.4, 0.4),
        Box((0.0, 0.0, -0.80), (8.0, 8.0, 0.02), (90, 90, 95)),
        Box((0.0, 2.5, 0.5), (8.0, 0.05, 3.0), (200, 200, 190)),
        Box((1.0, 1.6, -0.2), (0.4, 0.4, 1.2), (60, 70, 60)),  # a cabinet on the floor, higher than the table
    )
    frame, instances = view(SIX, ground=ground, size_hw=(480, 640), pitch_deg=25, distance=1.0)
    masks = masks_of(frame)
    assert len(masks) == len(SIX)
    assert min(best_ious(masks, instances)) > 0.9


def test_on_a_floor_large_things_come_out_apart():
    floor = Box((0.0, 4.0, -0.01), (12.0, 12.0, 0.02), (120, 118, 115))
    things = [Box((-0.6, 0.0, 0.4), (0.9, 0.5, 0.8)), Box((1.0, 1.5, 0.9), (1.0, 0.4, 1.8), (60, 90, 160))]
    frame, instances = view(things, ground=(floor,), pitch_deg=12, distance=3.0)
    assert min(best_ious(masks_of(frame), instances)) > 0.95


def test_a_door_is_cut_out_of_its_wall_by_colour():
    floor = Box((0.0, 1.0, -0.01), (6.0, 8.0, 0.02), (120, 118, 115))
    wall = Box((-0.8, 1.2, 1.0), (1.6, 0.1, 2.2), (190, 110, 50))
    door = Box((0.5, 1.2, 1.0), (1.0, 0.104, 2.2), (200, 205, 210))
    frame, instances = view([wall, door], ground=(floor,), pitch_deg=6, distance=3.0)
    assert min(best_ious(masks_of(frame), instances)) > 0.9


def test_without_a_plane_everything_is_cut_at_depth_jumps():
    things = [Sphere((-0.12, 0.0, 0.0), 0.09), Sphere((0.12, 0.1, 0.0), 0.09), Sphere((0.0, 0.4, 0.1), 0.2)]
    frame, instances = view(things, ground=())
    masks = masks_of(frame, plane_min_support=0.9)
    assert len(masks) == 3
    assert min(best_ious(masks, instances)) > 0.95


def test_without_a_plane_gaps_of_a_pixel_cut_nothing():
    frame, instances = view([Sphere((0.0, 0.0, 0.0), 0.15)], ground=())
    depth = frame.depth_m.copy()
    depth[::3] = depth[:, ::3] = 0  # a coarse depth camera, registered to a finer colour camera
    masks = masks_of(Frame(frame.image_rgb, depth, frame.intrinsics), plane_min_support=0.9)
    assert best_ious(masks, instances)[0] > 0.9


def test_what_reaches_over_the_edge_stays_whole_if_most_of_it_is_over_the_table():
    ground = (table(0.35, -0.3, 0.3), Box((0.0, 0.0, -0.80), (8.0, 8.0, 0.02), (90, 90, 95)))
    board = Box((0.33, 0.0, 0.02), (0.26, 0.1, 0.04), (40, 60, 90))  # reaches 11 cm over
    frame, instances = view([board], ground=ground, size_hw=(480, 640), pitch_deg=50, distance=1.1)
    masks = masks_of(frame)
    assert best_ious(masks, instances)[0] > 0.9


def test_no_known_depth_gives_no_mask():
    frame, _ = view(SIX, size_hw=(120, 160))
    for unknown in (0.0, np.nan):
        blind = Frame(frame.image_rgb, np.full((120, 160), unknown, np.float32), frame.intrinsics)
        assert DepthClusters().propose(blind).masks.shape == (0, 120, 160)


def test_same_frame_same_masks_however_its_arrays_lie_in_memory():
    frame = as_sensed(view(SIX)[0])
    image = np.ascontiguousarray(frame.image_rgb[..., ::-1])[..., ::-1]  # as from a BGR image
    depth = np.asfortranarray(frame.depth_m)
    image.flags.writeable = depth.flags.writeable = False
    first, second = (DepthClusters().propose(f) for f in (frame, Frame(image, depth, frame.intrinsics)))
    assert torch.equal(first.masks, second.masks)
    assert torch.equal(first.scores, second.scores)


def test_scores_are_sorted_in_the_unit_interval_and_masks_do_not_overlap():
    proposals = DepthClusters().propose(view(SIX)[0])
    scores = proposals.scores.numpy()
    assert scores.dtype == np.float32
    assert (np.diff(scores) <= 0).all()
    assert scores.min() > 0
    assert scores.max() <= 1
    assert proposals.masks.sum(dim=0).max() == 1


def test_a_thing_cut_off_by_the_image_scores_less_than_a_whole_one():
    box = Box((0.0, 0.0, 0.05), (0.1, 0.1, 0.1))
    cut = Box((-0.485, 0.0, 0.05), (0.1, 0.1, 0.1))
    frame, instances = view([box, cut])
    assert (instances[:, 0] == 2).any()
    proposals = DepthClusters().propose(frame)
    whole = int(((proposals.masks.numpy() & (instances == 1)).sum(axis=(1, 2))).argmax())
    assert len(proposals) == 2
    assert proposals.scores[whole] > proposals.scores[1 - whole]


def test_small_and_huge_masks_are_left_out():
    frame, _ = view([Sphere((0.0, 0.0, 0.05), 0.05)])
    area = masks_of(frame)[0].mean()
    assert len(masks_of(frame, min_area=area * 1.1)) == 0
    assert len(masks_of(frame, max_area=area * 0.9)) == 0


def test_missing_depth_or_intrinsics_names_the_cure():
    frame, _ = view([], size_hw=(120, 160))
    with pytest.raises(InvalidInputError, match="depth topic"):
        DepthClusters().propose(Frame(frame.image_rgb, None, frame.intrinsics))
    with pytest.raises(InvalidInputError, match="camera_info"):
        DepthClusters().propose(Frame(frame.image_rgb, frame.depth_m, None))
    other = CameraIntrinsics(300, 300, 160, 120, 320, 240)
    with pytest.raises(InvalidInputError, match="320x240"):
        DepthClusters().propose(Frame(frame.image_rgb, frame.depth_m, other))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plane_tolerance_m", 0.0),
        ("min_height_m", -1.0),
        ("jump_m", float("nan")),
        ("max_depth_m", float("inf")),
        ("plane_min_support", 0.0),
        ("max_area", 1.5),
        ("min_area", -0.1),
        ("min_area", 0.7),
        ("overhang_m", -0.1),
        ("refine_px", 21),
        ("seed", -1),
    ],
)
def test_options_are_checked(name, value):
    with pytest.raises(ConfigError, match=name):
        DepthClustersOptions(**{name: value})
