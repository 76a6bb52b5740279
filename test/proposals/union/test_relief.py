"""What depth says of masks, on views whose truth is known, and against a slow and plain reading."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from proposals_scenes import Box, Cylinder, Sphere, as_sensed, view

from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.core.maps import boxed_masks
from ovseg_ros.proposals.depth.clusters import pixel_noise
from ovseg_ros.proposals.union import relief as relief_module
from ovseg_ros.proposals.union.relief import Relief
from ovseg_ros.proposals.union.things import APART

CEREAL = Box((0.0, 0.0, 0.12), (0.16, 0.06, 0.24))
TRAY = Box((0.0, 0.0, 0.006), (0.4, 0.3, 0.012), (60, 60, 70))
CUP = Cylinder((0.02, 0.02, 0.012), 0.04, 0.10)
PLATE = Cylinder((0.0, 0.0, 0.0), 0.12, 0.015)
APPLE = Sphere((0.0, 0.0, 0.05), 0.035)


def boxed(mask):
    return boxed_masks(np.ascontiguousarray(mask)[None])[0]


@cache
def seen(things, sensed, **where):
    frame, instances = view(things, size_hw=(480, 640), **where)
    return (as_sensed(frame, sigma_m=0.0015) if sensed else frame), instances


def smeared(frame, pixels=5):
    """Depth as after a spatial filter: jumps become ramps."""
    import cv2

    return Frame(frame.image_rgb, cv2.blur(frame.depth_m, (pixels, pixels)), frame.intrinsics)


def shares(frame, part, whole):
    return Relief.of(frame).step_share(boxed(part), boxed(whole))


# ---- parts ----


@pytest.mark.parametrize("sensed", [False, True])
@pytest.mark.parametrize("pitch_deg", [30.0, 65.0])
@pytest.mark.parametrize(
    ("under", "on"), [(TRAY, CUP), (PLATE, APPLE), (CEREAL, Box((0, -0.08, 0.06), (0.05, 0.05, 0.12)))]
)
def test_what_stands_on_in_or_before_a_thing_stands_apart(under, on, pitch_deg, sensed):
    frame, instances = seen((under, on), sensed, pitch_deg=pitch_deg)
    assert shares(frame, instances == 2, instances > 0) >= APART
    assert shares(smeared(frame), instances == 2, instances > 0) >= APART


@pytest.mark.parametrize("sensed", [False, True])
@pytest.mark.parametrize("pitch_deg", [30.0, 65.0])
@pytest.mark.parametrize(
    "thing", [CEREAL, Cylinder((0.0, 0.0, 0.0), 0.05, 0.2), Sphere((0, 0, 0.08), 0.08), TRAY]
)
@pytest.mark.parametrize("part", ["label", "half", "side"])
def test_what_is_printed_on_a_thing_does_not(thing, part, pitch_deg, sensed):
    frame, instances = seen((thing,), sensed, pitch_deg=pitch_deg)
    whole = instances == 1
    y, x = np.nonzero(whole)
    rows, columns = np.mgrid[: whole.shape[0], : whole.shape[1]]
    inside = {
        "label": (np.abs(rows - y.mean()) < 0.15 * np.ptp(y))
        & (np.abs(columns - x.mean()) < 0.2 * np.ptp(x)),
        "half": rows < y.mean(),
        "side": columns < np.quantile(x, 0.3),
    }[part]
    for one in (frame, smeared(frame)):
        assert shares(one, whole & inside, whole) < APART


def test_paper_on_the_table_is_level_with_it():
    frame, instances = seen((), True)
    paper = np.zeros(instances.shape, bool)
    paper[200:300, 250:400] = True
    assert shares(frame, paper, frame.depth_m > 0) < 0.05


def test_a_part_of_which_depth_says_nothing():
    frame, instances = seen((TRAY, CUP), False)
    cup, both = instances == 2, instances > 0
    without = Frame(frame.image_rgb, np.where(cup, 0, frame.depth_m).astype(np.float32), frame.intrinsics)
    assert shares(without, cup, both) is None  # the part itself is unknown: glass
    around = Frame(frame.image_rgb, np.where(cup, frame.depth_m, np.nan).astype(np.float32), frame.intrinsics)
    assert shares(around, cup, both) is None  # what is around it is
    corner = np.where(np.arange(640) < 60, frame.depth_m, np.inf).astype(np.float32)
    assert shares(Frame(frame.image_rgb, corner, frame.intrinsics), cup, both) is None
    assert shares(frame, cup, cup) is None  # no rim
    assert shares(frame, np.zeros_like(cup), both) is None


def test_no_depth_no_relief():
    frame = seen((CUP,), False)[0]
    assert Relief.of(Frame(frame.image_rgb)) is None
    assert Relief.of(Frame(frame.image_rgb, frame.depth_m)) is None
    unknown = np.full(frame.size_hw, np.nan, np.float32)
    assert Relief.of(Frame(frame.image_rgb, unknown, frame.intrinsics)) is None


@pytest.mark.parametrize("size_hw", [(1, 1), (2, 3), (1, 40), (40, 1), (13, 14)])
def test_small_images(size_hw):
    camera = CameraIntrinsics(20.0, 20.0, size_hw[1] / 2, size_hw[0] / 2, size_hw[1], size_hw[0])
    frame = Frame(np.zeros((*size_hw, 3), np.uint8), np.ones(size_hw, np.float32), camera)
    whole = np.ones(size_hw, bool)
    part = whole & (np.arange(size_hw[1]) < size_hw[1] / 2)
    assert shares(frame, part, whole) in (None, 0.0)
    assert not Relief.of(frame).is_support(boxed(np.zeros(size_hw, bool)))


# ---- the plane that carries ----


@pytest.mark.parametrize("sensed", [False, True])
def test_the_table_is_the_support_and_nothing_else_is(sensed):
    frame, instances = seen((CEREAL, TRAY), sensed)
    relief = Relief.of(frame)
    bare = (frame.depth_m > 0) & (instances == 0)
    rows, columns = np.mgrid[:480, :640]
    assert relief.is_support(boxed(bare))
    assert relief.is_support(boxed(bare & (columns < 420)))
    assert not relief.is_support(boxed(bare & (columns < 200)))  # a cloth
    assert not relief.is_support(boxed(bare & (rows > 200) & (rows < 280) & (columns < 300)))  # a paper
    assert relief.is_support(boxed(bare | (instances > 0)))
    for thing in (1, 2):
        assert not relief.is_support(boxed(instances == thing))
    assert not relief.is_support(boxed(np.zeros_like(bare)))


def test_a_large_thing_is_no_support():
    """A third of the picture, flat, upright; or no plane at all."""
    frame, instances = seen((Box((0.0, -0.1, 0.2), (0.5, 0.05, 0.4)),), True, pitch_deg=15.0)
    box = instances == 1
    assert box.mean() > 0.3
    assert not Relief.of(frame).is_support(boxed(box))
    ball, instances = seen((Sphere((0, 0, 0.1), 0.3),), True, ground=())
    assert not Relief.of(ball).is_support(boxed(instances == 1))


def test_a_table_whose_depth_is_unknown_is_kept():
    frame, instances = seen((CEREAL,), False)
    bare = (frame.depth_m > 0) & (instances == 0)
    hidden = np.where(bare & (np.arange(480)[:, None] > 150), 0, frame.depth_m).astype(np.float32)
    assert not Relief.of(Frame(frame.image_rgb, hidden, frame.intrinsics)).is_support(boxed(bare))


# ---- read slowly ----


def naive_steps(depth, noise):
    """The marks of `Relief._steps`, a pixel at a time, from its filled depth."""
    reach = relief_module._REACH
    marks = np.zeros(depth.shape, bool)

    def inverse(row, column):
        inside = 0 <= row < depth.shape[0] and 0 <= column < depth.shape[1]
        return 1 / depth[row, column] if inside and depth[row, column] > 0 else np.nan

    for row, column in np.ndindex(depth.shape):
        for down, right in ((0, 1), (1, 0)):
            q = [inverse(row + k * reach * down, column + k * reach * right) for k in (-1, 0, 1, 2)]
            step = q[2] - q[1]
            slopes = [slope for slope in (q[1] - q[0], q[3] - q[2]) if np.isfinite(slope)]
            if not np.isfinite(step) or not slopes:
                continue
            near = max(q[1], q[2])
            least = max(relief_module._JUMP_M * near, relief_module._JUMP_SHARE) * near + 4 * noise
            if max(step - max(slopes), min(slopes) - step) > least:
                marks[row : row + down * reach + 1, column : column + right * reach + 1] = True
    return marks


def test_steps_are_what_a_slow_reading_gives():
    frame, _ = view((TRAY, CUP, Cylinder((0.1, 0.05, 0.012), 0.02, 0.05)), size_hw=(96, 128))
    relief = Relief.of(as_sensed(frame))
    want = naive_steps(relief._filled.astype(np.float64), pixel_noise(relief._depth))
    assert want.mean() > 0.02
    assert np.count_nonzero(relief._steps != want) <= 2  # float32


def test_shadows_take_the_farther_depth():
    depth = np.full((60, 80), 2.0, np.float32)
    depth[:, :40] = 1.0
    depth[:, 40:46] = 0  # three pixels of the coarse grid
    camera = CameraIntrinsics(80.0, 80.0, 40.0, 30.0, 80, 60)
    filled = Relief(depth, camera)._filled
    assert (filled[:, 20:] == 2.0).all()
    depth[:, 40:70] = 0
    filled = Relief(depth, camera)._filled
    assert (filled[:, 20:24] == 1.0).all()
    assert (filled[:, 26:30] == 0).all()


@pytest.mark.parametrize("at", [(0, 0), (1, 1), (7, 4), (30, 41)])
def test_masks_are_cut_where_they_lie(at):
    """Every second pixel of the image, whatever the box's corner; at its border too."""
    rng = np.random.default_rng(at[0])
    mask = np.zeros((43, 57), bool)
    mask[at[0] : at[0] + 13, at[1] : at[1] + 16] = (
        rng.random(mask[at[0] : at[0] + 13, at[1] : at[1] + 16].shape) < 0.7
    )
    camera = CameraIntrinsics(50.0, 50.0, 28.0, 21.0, 57, 43)
    relief = Relief(np.ones(mask.shape, np.float32), camera)
    rows, columns = relief._window(boxed(mask))
    coarse = mask[::2, ::2]
    np.testing.assert_array_equal(relief._cut(boxed(mask), rows, columns), coarse[rows, columns])
    assert coarse.sum() == coarse[rows, columns].sum()
    other = slice(5, 12), slice(3, 20)
    np.testing.assert_array_equal(relief._cut(boxed(mask), *other), coarse[other])
