"""The rules by which overlapping masks become things, against a slow and plain reading of them."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg_ros.core.maps import boxed_masks
from ovseg_ros.proposals.union import things as rules_module
from ovseg_ros.proposals.union.things import Rules, distinct, things

HEIGHT, WIDTH = 24, 32


def box(top, left, bottom, right):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def stay(*scored, relief=None, **options):
    """Indices that stay of (mask, score)."""
    masks = np.array([mask for mask, _ in scored], bool).reshape(-1, HEIGHT, WIDTH)
    scores = np.array([score for _, score in scored], np.float32)
    return things(
        boxed_masks(masks), scores, Rules(options.pop("duplicate_iou", 0.65), **options), relief
    ).tolist()


class Told:
    """Relief that says of every part the same, and calls some masks the support."""

    def __init__(self, steps=None, support=()):
        self.steps, self.support = steps, [mask.tobytes() for mask in support]

    def step_share(self, part, whole):
        return self.steps

    def is_support(self, mask):
        return full(mask).tobytes() in self.support


SAME_DEPTH, APART, UNKNOWN = Told(0.0), Told(1.0), Told(None)


def full(boxed):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    x0, y0, x1, y1 = boxed.box_xyxy
    mask[y0:y1, x0:x1] = boxed.crop
    return mask


# ---- the rules, read slowly ----


def naive(masks, scores, rules, relief):
    """Pixel sets and loops; the constants are those of the module."""
    m = rules_module
    pixels = [set(np.flatnonzero(mask).tolist()) for mask in masks]
    best_first = sorted(range(len(masks)), key=lambda i: (-scores[i], i))
    better = {i: set(best_first[: best_first.index(i)]) for i in best_first}
    stays = []
    for i in best_first:
        if not any(
            len(pixels[i] & pixels[k]) >= rules.duplicate_iou * len(pixels[i] | pixels[k]) > 0 for k in stays
        ):
            stays.append(i)
    if relief is not None and not rules.keep_support:
        stays = [i for i in stays if not relief.is_support(boxed_masks(masks[i : i + 1])[0])]
    if rules.keep_parts:
        return sorted(stays)

    def within(i, k):
        return 0 < len(pixels[i]) < len(pixels[k]) and len(pixels[i] & pixels[k]) >= m.WITHIN * len(pixels[i])

    for whole in best_first[::-1]:
        left, count = set(pixels[whole]), 0
        for part in best_first:
            if whole in stays and part in stays and part in better[whole] and within(part, whole):
                own = left & pixels[part]
                if len(own) >= m.OWN * m.WITHIN * len(pixels[part]):
                    left -= own
                    count += 1
        if count >= 2 and len(left) <= (1 - m.MERGED) * len(pixels[whole]):
            stays.remove(whole)
    for part in sorted(range(len(masks)), key=lambda i: (-len(pixels[i]), i)):
        for whole in best_first:
            if part not in stays or whole not in stays or not within(part, whole):
                continue
            one, other = boxed_masks(masks[[part, whole]])
            steps = None if relief is None else relief.step_share(one, other)
            if steps is None:
                goes = scores[part] <= m.FRAGMENT * scores[whole]
            elif steps >= m.APART:
                goes = False
            else:
                goes = scores[part] <= m.WORSE * scores[whole]
                if len(pixels[part]) >= m.SAME_THING * len(pixels[whole]):
                    goes = whole in better[part]
                    if not goes:
                        stays.remove(whole)
            if goes:
                stays.remove(part)
    return sorted(stays)


def scene(seed):
    """Boxes, some cut in two, some joined, some copied with a few pixels changed; and an empty one."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(7):
        top, left = rng.integers(0, HEIGHT - 6), rng.integers(0, WIDTH - 6)
        one = box(top, left, top + rng.integers(4, 14), left + rng.integers(4, 18))
        cut = rng.integers(left + 1, left + 5)
        halves = [one.copy(), one.copy()]
        halves[0][:, cut:], halves[1][:, :cut] = False, False
        masks += [one, *halves[: rng.integers(0, 3)]]
    masks += [masks[0] | masks[-1], masks[1] | masks[-2], box(0, 0, 0, 0), box(0, 0, HEIGHT, WIDTH)]
    masks += [mask ^ (rng.random(mask.shape) < 0.01) for mask in masks[:4]]
    masks = np.array(masks)[rng.permutation(len(masks))]
    return masks, rng.integers(1, 8, len(masks)).astype(np.float32) / 8


class Drawn:
    """Relief that draws its answers from the areas of the masks."""

    def step_share(self, part, whole):
        return [None, 0.0, rules_module.APART, 1.0][(part.area * 7 + whole.area) % 4]

    def is_support(self, mask):
        return mask.area % 9 == 0


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(
    "options", [{}, {"keep_parts": True}, {"keep_support": True}], ids=["all", "parts", "support"]
)
def test_things_are_what_a_slow_reading_gives(seed, options):
    masks, scores = scene(seed)
    for duplicate_iou in (0.4, 0.65, 1.0):
        for relief in (None, Drawn()):
            rules = Rules(duplicate_iou, **options)
            got = things(boxed_masks(masks), scores, rules, relief)
            assert got.tolist() == naive(masks, scores, rules, relief)
            assert got.dtype == np.int64


def test_the_scenes_ask_every_rule():
    """Else the slow reading would have shown little."""
    dropped = {"copies": 0, "merged or parts": 0, "by depth": 0}
    for seed in range(25):
        masks, scores = scene(seed)
        counts = [len(masks), len(distinct(masks, scores, 0.65))]
        counts += [len(things(boxed_masks(masks), scores, Rules(0.65), relief)) for relief in (None, Drawn())]
        for name, step in zip(dropped, np.abs(np.diff(counts)), strict=True):
            dropped[name] += step
    assert min(dropped.values()) > 20, dropped


# ---- what they mean ----

LEFT, RIGHT, BOTH = box(4, 4, 16, 12), box(4, 12, 16, 20), box(4, 4, 16, 20)
DOT = box(8, 8, 11, 11)


@pytest.mark.parametrize("relief", [None, SAME_DEPTH, UNKNOWN, APART])
def test_a_cluster_of_two_touching_things_goes_where_colour_shows_both(relief):
    assert stay((BOTH, 0.6), (LEFT, 0.7), (RIGHT, 0.8), relief=relief) == [1, 2]


def test_a_cluster_stays_where_one_half_is_worse_than_it():
    assert stay((BOTH, 0.6), (LEFT, 0.7), (RIGHT, 0.5)) == [0, 1, 2]
    assert stay((BOTH, 0.6), (LEFT, 0.35), (RIGHT, 0.35), relief=SAME_DEPTH) == [0]


def test_two_parts_on_one_spot_do_not_make_a_merged_mask():
    near_left = box(4, 4, 16, 11)
    assert 0 in stay((BOTH, 0.6), (LEFT, 0.7), (near_left, 0.8), duplicate_iou=1.0)


def test_parts_that_leave_much_uncovered_do_not_either():
    assert 0 in stay((BOTH, 0.6), (box(4, 4, 16, 8), 0.7), (box(4, 16, 16, 20), 0.8))


@pytest.mark.parametrize(("relief", "left"), [(SAME_DEPTH, [0]), (APART, [0, 1]), (UNKNOWN, [0, 1])])
def test_a_part_goes_only_where_it_lies_at_its_wholes_depth(relief, left):
    """A label on a box; a banana in a bowl; a thing in a part of the view without depth."""
    assert stay((BOTH, 0.8), (DOT, 0.45), relief=relief) == left


@pytest.mark.parametrize("score", [0.45, 0.7])
def test_a_part_that_is_about_as_sure_as_its_whole_stays(score):
    """One of two touching things, of which the other was not found."""
    assert stay((BOTH, 0.5), (LEFT, score), relief=SAME_DEPTH) == [0, 1]


@pytest.mark.parametrize(("small", "left"), [(0.9, [1]), (0.7, [0])])
def test_of_two_views_of_one_thing_the_better_stays(small, left):
    """Too unlike for copies; depth shows that the rim between them is no thing of its own."""
    rimless = box(6, 5, 15, 19)
    assert stay((BOTH, 0.8), (rimless, small), relief=SAME_DEPTH, duplicate_iou=0.85) == left
    assert stay((BOTH, 0.8), (rimless, small), relief=None, duplicate_iou=0.85) == [0, 1]


@pytest.mark.parametrize("relief", [None, UNKNOWN])
def test_without_depth_only_a_poor_fragment_goes(relief):
    assert stay((BOTH, 0.8), (DOT, 0.41), relief=relief) == [0, 1]
    assert stay((BOTH, 0.8), (DOT, 0.4), relief=relief) == [0]


def test_the_table_goes_and_takes_nothing_that_lies_on_it_along():
    floor = box(2, 0, HEIGHT, WIDTH)
    relief = Told(0.0, support=[floor])
    assert stay((floor, 0.9), (DOT, 0.5), relief=relief) == [1]
    assert stay((floor, 0.9), (DOT, 0.5), relief=relief, keep_support=True) == [0]
    assert stay((floor, 0.9), (DOT, 0.5)) == [0, 1]


def test_a_merged_mask_takes_no_part_along():
    """The third thing lies within the merged mask too, and is no part of it."""
    assert stay((BOTH, 0.6), (LEFT, 0.7), (RIGHT, 0.8), (DOT, 0.5), relief=Told(1.0)) == [1, 2, 3]


def test_parts_are_kept_where_that_is_wanted():
    scored = ((BOTH, 0.6), (LEFT, 0.7), (RIGHT, 0.8), (DOT, 0.1), (BOTH, 0.2))
    assert stay(*scored, relief=SAME_DEPTH, keep_parts=True) == [0, 1, 2, 3]


def test_masks_that_do_not_overlap_all_stay():
    scored = [(box(0, x, 6, x + 4), 0.1 * x) for x in range(1, 9, 4)]
    assert stay(*scored, relief=SAME_DEPTH) == [0, 1]


@pytest.mark.parametrize("relief", [None, SAME_DEPTH])
def test_nothing_and_an_empty_mask(relief):
    assert stay(relief=relief) == []
    assert stay((box(0, 0, 0, 0), 0.5), relief=relief) == [0]
    assert stay((box(0, 0, 0, 0), 0.1), (BOTH, 0.9), (box(0, 0, 0, 0), 0.1), relief=relief) == [0, 1, 2]
