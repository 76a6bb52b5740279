"""The truth about a walk: its file, and what the one that is kept says of that walk."""

from __future__ import annotations

import itertools
import runpy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from repository import ROOT

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.recording import FRAME_ID
from ovseg_ros.evaluate.walk import Walk, read_walk, score, write_walk
from ovseg_ros.evaluate.walk.score import MAX_HIDDEN, MIN_FRAMES, MIN_PIXELS
from ovseg_ros.files.recordings import TransformTree

KEPT = ROOT / "demo" / "walk"


@pytest.fixture(scope="module")
def walk() -> Walk:
    return read_walk(KEPT)


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    return runpy.run_path(str(ROOT / "demo" / "make_walk.py"))


def middle(place) -> np.ndarray:
    outline = place.outline
    lowest, highest = outline.footprint_m.min(axis=0), outline.footprint_m.max(axis=0)
    return np.array([*(lowest + highest) / 2, (outline.bottom_m + outline.top_m) / 2])


def test_it_is_read_as_it_was_written(walk, tmp_path):
    write_walk(tmp_path, walk)
    assert (tmp_path / "walk.json").read_text() == (KEPT / "walk.json").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "demo/make_walk.py makes it"),
        ("{", "expected the truth about a walk, .*JSONDecodeError"),
        ('{"things": {}}', "KeyError"),
        ("[]", "TypeError"),
    ],
)
def test_what_is_no_truth_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "walk.json").write_text(text)
    with pytest.raises(InvalidInputError, match=said):
        read_walk(tmp_path)


def test_two_rounds_past_two_tables_and_a_shelf(walk):
    assert [(look.round, look.at) for look in walk.looks] == [
        (turn, at) for turn in (1, 2) for at in ("table A", "table B", "shelf")
    ]
    stamps = [view.stamp_ns for view in walk.views]
    assert len(stamps) == 139
    assert set(np.diff(stamps)) == {250_000_000}
    assert sum(not view.sights for view in walk.views) >= 20  # floor and walls


def test_things_are_moved_taken_and_brought_between_the_rounds(walk):
    assert len(walk.names) == 17
    end = walk.views[-1].stamp_ns
    first = {i: walk.place_at(i, walk.looks[2].until_ns) for i in walk.names}
    second = {i: walk.place_at(i, end) for i in walk.names}
    taken = [walk.names[i] for i in walk.names if second[i] is None]
    brought = [walk.names[i] for i in walk.names if first[i] is None]
    assert (taken, brought) == (["wine bottle"], ["frying pan"])
    moved = {
        walk.names[i]: (first[i], second[i])
        for i in walk.names
        if first[i] and second[i] and first[i] is not second[i]
    }
    assert set(moved) == {"teapot", "moka pot"}
    assert [place.on for place in moved["teapot"]] == ["table A", "table B"]
    assert [place.on for place in moved["moka pot"]] == ["table B", "table B"]
    assert np.linalg.norm(np.diff([middle(p) for p in moved["moka pot"]], axis=0)) == pytest.approx(
        0.4, abs=0.05
    )
    assert all(look.until_ns < p.until_ns for p in first.values() if p for look in walk.looks[:3])
    assert all(p.from_ns < look.from_ns for p in second.values() if p for look in walk.looks[3:])


def test_two_mugs_of_one_kind_stand_on_different_tables(walk, maker):
    keys = [thing.key for thing in maker["THINGS"]]
    alike = [i for i in walk.names if keys.count(keys[i - 1]) == 2]
    assert [walk.names[i] for i in alike] == ["mug", "mug"]
    assert {walk.place_at(i, walk.views[0].stamp_ns).on for i in alike} == {"table A", "table B"}


def test_each_place_is_seen_by_more_frames_than_must_be(walk):
    for place in walk.places:
        frames = [
            view.sights[place.thing]
            for view in walk.views
            if place.from_ns <= view.stamp_ns < place.until_ns and place.thing in view.sights
        ]
        good = [s for s in frames if s.pixels >= MIN_PIXELS and s.hidden <= MAX_HIDDEN]
        assert len(good) >= 2 * MIN_FRAMES, walk.names[place.thing]
        low, high = place.outline.footprint_m.min(axis=0), place.outline.footprint_m.max(axis=0)
        for sight in good:
            assert (sight.centroid_m[:2] > low - 0.01).all()
            assert (sight.centroid_m[:2] < high + 0.01).all()
            assert place.outline.bottom_m - 0.01 < sight.centroid_m[2] < place.outline.top_m + 0.01


def test_all_that_stands_there_is_to_be_remembered_at_the_end(walk):
    got = score([], walk, walk.views[-1].stamp_ns)
    assert len(got.missing) == 16
    assert {walk.names[i] for i in got.moved} == {"teapot", "moka pot"}
    assert {walk.names[i] for i in got.old} == {"teapot", "moka pot", "wine bottle"}


def test_tf_is_the_truth_but_for_odometry_and_the_jump(walk, maker):
    told = list(maker["transforms"]())
    tree = TransformTree(told)
    for view in walk.views:
        before = view.stamp_ns < walk.jump_ns
        true = walk.before_jump.after(view.to_map) if before else view.to_map
        got = tree.lookup("map", FRAME_ID, view.stamp_ns)
        assert np.linalg.norm(got.translation_m - true.translation_m) < 0.02
        assert np.abs(got.rotation - true.rotation).max() < np.radians(0.6)
    room = np.array([[2.5, 2.5, 0.8]])
    assert np.linalg.norm(walk.before_jump.of_points(room) - room) == pytest.approx(0.3, abs=0.02)
    steps = [one for one in told if one.child == "odom"]
    moves = [
        (np.linalg.norm(b.rigid.of_points(room) - a.rigid.of_points(room)), b.stamp_ns)
        for a, b in itertools.pairwise(steps)
    ]
    assert [stamp for move, stamp in moves if move > 0.05] == [walk.jump_ns]


def changed(walk: Walk, at: int, thing: int, **what) -> Walk:
    """The same walk, one sight of one frame changed."""
    views = list(walk.views)
    sights = dict(views[at].sights)
    sights[thing] = replace(sights[thing], **what)
    views[at] = replace(views[at], sights=sights)
    return replace(walk, views=views)


def test_the_maker_notices_another_walk(walk, maker):
    check = maker["check_same"]
    check(walk, walk)
    at, thing = next((n, i) for n, view in enumerate(walk.views) for i in view.sights)
    sight = walk.views[at].sights[thing]
    check(walk, changed(walk, at, thing, pixels=sight.pixels + 10, centroid_m=sight.centroid_m + 0.001))
    for other in (
        changed(walk, at, thing, pixels=2 * sight.pixels),
        changed(walk, at, thing, centroid_m=np.add(sight.centroid_m, 0.003)),
        replace(walk, views=walk.views[1:]),
        replace(walk, names={**walk.names, thing: "spoon"}),
    ):
        with pytest.raises(SystemExit, match="--truth writes that anew"):
            check(walk, other)
