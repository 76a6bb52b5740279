"""The parts of tracking, each against hand-worked or naive answers."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import math
import re

import cv2
import numpy as np
import pytest
import torch
from repository import ROOT

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.maps.mask_overlap import BoxedMask, mask_iou
from ovseg_ros.core.tracking.appearance import ChangeLimits, Thumbnails, changes, thumbnails_of
from ovseg_ros.core.tracking.association import assign, centre_nearness, embedding_scores, overlap_scores
from ovseg_ros.core.tracking.budget import Budget
from ovseg_ros.core.tracking.motion import MotionEstimator, small_grey
from ovseg_ros.core.tracking.tracks import Track, TrackOptions, due, smoothed
from ovseg_ros.core.tracking.video import label_certainty
from ovseg_ros.errors import ConfigError

H, W = 120, 160


def ellipses(count: int, seed: int = 0, height: int = H, width: int = W, low: int = 4, high: int = 20):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((count, height, width), bool)
    for mask in masks:
        ry, rx = rng.integers(low, high, 2)
        mask[:] = ((y - rng.integers(0, height)) / ry) ** 2 + ((x - rng.integers(0, width)) / rx) ** 2 < 1
    return torch.from_numpy(masks)


def box(x: int, y: int, w: int = 20, h: int = 20) -> BoxedMask:
    return BoxedMask(np.ones((h, w), bool), x, y, w * h)


def test_a_box_that_leaves_the_image_is_cut_off():
    mask = BoxedMask(np.tri(10, dtype=bool), 5, 5, 55)
    assert mask.shifted(3, -2, H, W).box_xyxy == (8, 3, 18, 13)
    cut = mask.shifted(-8, 0, H, W)
    assert cut.box_xyxy == (0, 5, 7, 15)
    assert cut.area == np.tri(10, dtype=bool)[:, 3:].sum()
    gone = mask.shifted(-50, 0, H, W)
    assert gone.area == 0
    assert mask_iou([gone], [mask]).tolist() == [[0.0]]
    assert mask.shifted(W, H, H, W).area == 0


# -- motion


def textured(seed: int = 0, height: int = 480, width: int = 640) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (height // 16, width // 16, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def shifted_image(image: np.ndarray, dx: int, dy: int) -> np.ndarray:
    return np.roll(image, (dy, dx), axis=(0, 1))


def grey_of(image: np.ndarray) -> np.ndarray:
    return small_grey(Frame(image))


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (8, 0), (-12, 8), (16, 12)])
def test_a_shift_of_the_whole_image_is_found(dx, dy):
    image = textured()
    motion = MotionEstimator()(grey_of(image), grey_of(shifted_image(image, dx, dy)), (480, 640))
    assert motion.shift_xy == pytest.approx((dx, dy), abs=1.5)
    assert motion.likeness > 0.6
    masks = [box(200, 200, 100, 80), box(3, 3, 1, 1)]
    np.testing.assert_allclose(motion.of_masks(masks), [(dx, dy)] * 2, atol=2.5)
    assert motion.of_masks([]).shape == (0, 2)


def test_a_thing_that_moves_before_a_still_background():
    before, after = textured(), textured()
    thing = textured(5)[:120, :120]
    before[200:320, 100:220] = thing
    after[200:320, 116:236] = thing
    motion = MotionEstimator()(grey_of(before), grey_of(after), (480, 640))
    on_it, beside = motion.of_masks([box(110, 210, 100, 100), box(400, 100, 100, 100)])
    assert on_it[0] > 6, "at least half way"
    assert abs(on_it[1]) < 2
    assert beside == pytest.approx((0, 0), abs=1)


def test_a_cut_looks_unlike_and_light_does_not():
    image = textured()
    assert MotionEstimator()(grey_of(image), grey_of(textured(9)), (480, 640)).likeness < 0.3
    darker = (image * 0.6 + 10).astype(np.uint8)
    assert MotionEstimator()(grey_of(image), grey_of(darker), (480, 640)).likeness > 0.95
    black = np.zeros_like(image)
    assert MotionEstimator()(grey_of(image), grey_of(black), (480, 640)).likeness == 1.0


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (40, 64), (720, 1280)])
def test_images_of_any_size_have_a_small_one(size):
    grey = grey_of(np.full((*size, 3), 90, np.uint8))
    assert max(grey.shape) == 160
    assert min(grey.shape) >= 32
    assert MotionEstimator()(grey, grey, size).shift_xy == (0.0, 0.0)


# -- appearance


def changed(before: np.ndarray, now: np.ndarray, mask=None, other=None) -> float:
    mask = box(40, 40, 48, 48) if mask is None else mask
    other = mask if other is None else other
    return float(changes(thumbnails_of(before, [mask]), thumbnails_of(now, [other]), ChangeLimits())[0])


def test_noise_light_and_place_change_nothing():
    rng = np.random.default_rng(0)
    image = textured(1, 160, 160)
    assert changed(image, image) == pytest.approx(0, abs=1e-3)
    noisy = (image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)
    assert changed(image, noisy) < 0.3
    assert changed(image, (image * 0.8).astype(np.uint8)) < 0.7
    assert changed(image, shifted_image(image, 20, -10), other=box(60, 30, 48, 48)) < 0.1


def test_a_texture_may_shift_a_little_in_its_box():
    blocks = np.random.default_rng(1).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    image = cv2.resize(blocks, (160, 160), interpolation=cv2.INTER_CUBIC)
    mask = box(40, 40, 64, 64)
    assert changed(image, shifted_image(image, 2, 0), mask) < 0.8
    assert changed(image, shifted_image(image, 16, 0), mask) > 1


def test_what_counts_as_a_change():
    image = np.full((160, 160, 3), (200, 40, 40), np.uint8)
    other_colour = np.full((160, 160, 3), (40, 40, 200), np.uint8)
    assert changed(image, other_colour) > 1
    assert changed(image, (image * 0.5).astype(np.uint8)) > 1, "light that changes a lot"
    half_hidden = image.copy()
    half_hidden[40:88, 64:88] = (40, 200, 40)
    assert changed(image, half_hidden) > 1
    assert changed(image, image, box(40, 40, 40, 40), box(40, 40, 40, 20)) > 1, "stretched"
    assert changed(image, image, box(40, 40, 40, 40), box(40, 40, 80, 80)) > 1, "twice as large"
    disk = BoxedMask(np.hypot(*np.mgrid[-19.5:20:1, -19.5:20:1]) < 20, 40, 40, 1256)
    cross = np.zeros((40, 40), bool)
    cross[16:24] = cross[:, 16:24] = True
    assert changed(image, image, disk, BoxedMask(cross, 40, 40, int(cross.sum()))) > 1, "another shape"


def test_looks_of_nothing():
    image = textured(1, 160, 160)
    none = thumbnails_of(image, [])
    assert len(none) == 0
    assert changes(none, none, ChangeLimits()).shape == (0,)
    empty = thumbnails_of(image, [BoxedMask(np.zeros((0, 0), bool), 0, 0, 0)])
    assert np.isfinite(changes(empty, empty, ChangeLimits())).all()
    assert len(Thumbnails.join([empty, empty]).take(np.array([1]))) == 1
    black = np.zeros((160, 160, 3), np.uint8)
    assert changed(black, black) == 0


@pytest.mark.parametrize(
    "wrong", [{"levels": 0}, {"shape": -1}, {"stretch": 1}, {"zoom": 0.5}, {"gain": float("nan")}]
)
def test_bad_limits(wrong):
    with pytest.raises(ConfigError, match="expected"):
        ChangeLimits(**wrong)


# -- association


def best_by_trial(scores: np.ndarray, least: float) -> float:
    """The largest sum of score − least over all one-to-one choices."""
    rows, columns = scores.shape
    best = 0.0
    for size in range(1, min(rows, columns) + 1):
        for some in itertools.combinations(range(rows), size):
            for order in itertools.permutations(range(columns), size):
                values = [scores[t, n] for t, n in zip(some, order, strict=True)]
                if min(values) >= least:
                    best = max(best, sum(values) - least * size)
    return best


@pytest.mark.parametrize("seed", range(6))
def test_the_assignment_is_the_best_there_is(seed):
    rng = np.random.default_rng(seed)
    scores = rng.random((4, 5)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.4] = -np.inf
    pairs = assign(scores, 0.3)
    assert len({t for t, _ in pairs}) == len({n for _, n in pairs}) == len(pairs)
    assert all(scores[t, n] >= 0.3 for t, n in pairs)
    assert sum(scores[t, n] - 0.3 for t, n in pairs) == pytest.approx(best_by_trial(scores, 0.3), abs=1e-4)


def test_nothing_to_assign():
    assert assign(np.zeros((0, 3), np.float32), 0.3) == []
    assert assign(np.full((2, 2), -np.inf, np.float32), 0.0) == []
    assert assign(np.array([[0.3]], np.float32), 0.3) == [(0, 0)], "just enough"


def test_looks_decide_between_masks_that_overlap_alike():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, :45], image[:, 45:] = (220, 30, 30), (30, 30, 220)
    tracks, masks = [box(25, 40)], [box(20, 40), box(45, 40)]
    red = thumbnails_of(image, [box(10, 40)])
    given = {"weights": (0.6, 0.25, 0.15), "limits": ChangeLimits()}
    scores = overlap_scores(tracks, red, masks, thumbnails_of(image, masks), **given)
    assert scores.shape == (1, 2)
    assert scores[0, 0] > 0.7
    assert scores[0, 1] == -np.inf, "no overlap"
    near = [box(30, 40), box(20, 40)]  # the first is one third blue
    scores = overlap_scores(tracks, red, near, thumbnails_of(image, near), **given)
    assert scores[0, 1] > scores[0, 0]
    five = overlap_scores(
        [box(30, 30)] * 6, Thumbnails.join([red] * 6), near, thumbnails_of(image, near), **given
    )
    assert five.shape == (6, 2)


def test_embeddings_join_what_does_not_overlap():
    rows = np.eye(3, dtype=np.float32)
    tracks = [box(0, 0), box(60, 0)]
    masks = [box(70, 20), box(30, 0), box(1000, 0)]
    scores = embedding_scores(
        tracks, rows[:2], masks, rows[[1, 0, 0]], weights=(0.5, 0.5), least_cosine=0.85, reach=2.0
    )
    assert assign(scores, 0.0) == [(0, 1), (1, 0)]
    assert scores[0, 2] == -np.inf, "too far"
    assert scores[0, 0] == -np.inf, "another thing"
    assert embedding_scores([], rows[:0], masks, rows, weights=(1, 1), least_cosine=0, reach=1).shape == (
        0,
        3,
    )


def test_nearness():
    diagonal = math.hypot(20, 20)
    near = centre_nearness([box(0, 0)], [box(0, 0), box(10, 0), box(100, 0)])
    assert near[0] == pytest.approx([1, 1 - 10 / diagonal, 0], abs=1e-5)


# -- what is due, and smoothing


def track(number: int, *, age=0.0, change=0.0, sudden=False, new=False, certainty=1.0):
    look = thumbnails_of(np.zeros((40, 40, 3), np.uint8), [box(0, 0)])
    row = None if new else torch.ones(1)
    return Track(
        number,
        box(0, 0),
        look,
        10.0,
        look,
        10.0 - age,
        row,
        row,
        appearance_change=change,
        needs_reencode=sudden,
        certainty=certainty,
    )


def due_of(tracks, *, most=None, scores=None, **options):
    count = len(tracks)
    return due(
        tracks,
        np.array([0.5] * count if scores is None else scores, np.float32),
        10.0,
        TrackOptions(**options),
        most,
    )


def test_new_ones_first_then_changed_ones_then_old_ones():
    tracks = [
        track(1, age=9),
        track(2, sudden=True, change=1.2),
        track(3, new=True),
        track(4, change=2.5),
        track(5),
    ]
    assert due_of(tracks) == [2, 3, 1, 0]
    assert due_of(tracks, most=1) == [2]
    assert due_of(tracks, refresh=0) == [2, 3, 1]
    assert due_of([]) == []
    asked = track(6)
    asked.asked = True  # as after a look that waits for a second one
    assert due_of([track(5), asked], refresh=0) == [1]
    assert due_of([*tracks, asked], most=2) == [5, 2], "an answer waits for it"
    asked.encode_as(torch.ones(1), asked.thumbnail, 10.0)
    assert due_of([track(5), asked], refresh=0) == []
    assert due_of([track(1, new=True), track(2, new=True)], scores=[0.2, 0.9], most=1) == [1]


def test_the_oldest_and_least_certain_come_first():
    assert due_of([track(1, age=6), track(2, age=8), track(3, age=4)], refresh=2) == [1, 0]
    assert due_of([track(1, age=4.9)]) == []
    assert due_of([track(1, age=4.9, certainty=0.9)]) == [0]
    assert due_of([track(1, age=6, certainty=0.9), track(2, age=6, certainty=0.2)], refresh=1) == [1]
    assert len(due_of([track(n, age=6) for n in range(9)])) == TrackOptions().refresh
    assert due_of([track(1, age=0.4, certainty=0.0)]) == [], "ten times as soon, and no sooner"
    assert due_of([track(1, change=1.1)]) == [0]


@pytest.mark.parametrize(
    ("change", "sudden", "share"),
    [(0.0, False, 1.0), (0.25, False, 0.75), (1.0, False, 0.0), (3.0, False, 0.0), (0.1, True, 0.0)],
)
def test_an_embedding_of_before_counts_the_less_the_more_the_look_has_changed(change, sudden, share):
    followed = track(1, change=change, sudden=sudden)
    old, new = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    followed.embedding, followed.embedding_ema = torch.tensor([0.6, 0.8]), old
    look = thumbnails_of(np.full((40, 40, 3), 9, np.uint8), [box(0, 0)])
    followed.encode_as(new, look, 12.0)
    wanted = share * old + (1 - share) * new
    assert torch.allclose(followed.embedding_ema, wanted / wanted.norm())
    assert followed.embedding is new
    assert followed.encoded_thumbnail is look
    assert (followed.encoded_s, followed.appearance_change, followed.needs_reencode) == (12.0, 0.0, False)


def test_a_first_embedding_is_not_smoothed():
    followed = track(1, new=True)
    followed.encode_as(torch.ones(1), followed.thumbnail, 11.0)
    assert followed.embedding_ema is None
    assert followed.embedding is not None


def test_half_of_what_is_new_after_a_half_life():
    old, new = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert torch.allclose(smoothed(old, new, torch.tensor([0.3]), 0.3), torch.full((1, 2), 0.5**0.5))
    assert torch.equal(smoothed(old, new, torch.tensor([0.3]), 0.0), new)
    assert torch.allclose(smoothed(old, new, torch.tensor([0.0]), 0.3), old)
    near = torch.tensor([[math.cos(0.1), math.sin(0.1)]])  # nearly straight: steps of any length add up
    once = smoothed(old, near, torch.tensor([0.6]), 0.3)
    twice = smoothed(smoothed(old, near, torch.tensor([0.2]), 0.3), near, torch.tensor([0.4]), 0.3)
    torch.testing.assert_close(once, twice, atol=1e-3, rtol=0)
    assert float(torch.atan2(once[0, 1], once[0, 0])) == pytest.approx(0.075, abs=1e-3)


def test_how_certain_a_label_is():
    probs = torch.tensor([[0.9, 0.05], [0.5, 0.45], [0.15, 0.0], [0.2, 0.1]])
    index = torch.tensor([0, 0, -1, 0])
    expected = torch.tensor([0.7, 0.05, 0.05, 0.0])
    torch.testing.assert_close(label_certainty(probs, index, 0.2), expected, atol=1e-6, rtol=0)
    one_word = torch.tensor([0.6])
    torch.testing.assert_close(label_certainty(torch.tensor([[0.8]]), torch.tensor([0]), 0.2), one_word)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_gap_s": 0},
        {"refresh_after_s": -1},
        {"max_jump_s": float("inf")},
        {"half_life_s": -0.1},
        {"min_match": 1.5},
        {"scene_cut": 2},
        {"refresh": -1},
        {"max_cameras": 0},
        {"iou_weight": 0.0},
        {"embedding_weight": 0.0, "motion_weight": 0.0},
    ],
)
def test_bad_options(wrong):
    with pytest.raises(ConfigError, match="expected"):
        TrackOptions(**wrong)


def test_budgets():
    assert Budget().most_encoded is None
    assert Budget(0).most_encoded == 1
    assert Budget(5).most_encoded == 5
    for wrong in ({"new_embeddings": -1}, {"points_per_side": 0}):
        with pytest.raises(ConfigError, match="expected"):
            Budget(**wrong)


def test_the_document_has_every_option_with_its_default():
    text = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
    options = text[text.index("\n## Options") :]
    rows = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", options, re.MULTILINE))
    given = {field.name: field.default for field in dataclasses.fields(TrackOptions)}
    assert set(rows) == set(given) - {"change"}
    for name, default in rows.items():
        value = 1 / float(default[2:]) if default.startswith("1/") else ast.literal_eval(default)
        assert value == given[name], name
    limits = dict(re.findall(r"\| `(levels|shape|stretch|zoom|gain)` ([\d.]+) \|", text))
    assert {name: float(value) for name, value in limits.items()} == dataclasses.asdict(ChangeLimits())
