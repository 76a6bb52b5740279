"""What a memory is told about itself, on made-up entries beside a made-up walk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ovseg_ros.core.space import Rigid
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.objects import TrueThing
from ovseg_ros.evaluate.walk import Look, Place, Sight, Walk, WalkView, score
from ovseg_ros.memory import Entry, Name

CUP, TWIN, POT, BOOK, NEW, FAR = 1, 2, 3, 4, 5, 6
NAMES = {CUP: "mug", TWIN: "mug", POT: "pot", BOOK: "book", NEW: "bowl", FAR: "vase"}
AT = {
    (CUP, 1): (0.0, 0.0, 0.8),
    (TWIN, 1): (5.0, 0.0, 0.8),
    (POT, 1): (0.5, 0.0, 0.8),  # from table A to table B
    (POT, 2): (5.5, 0.0, 0.8),
    (BOOK, 1): (1.0, 0.0, 0.8),  # taken away
    (NEW, 2): (1.5, 0.0, 0.8),
    (FAR, 1): (9.0, 0.0, 0.8),  # one frame alone shows it well
}
CHANGED, END = 50, 101
LOOKS = (Look(1, "A", 10, 20), Look(1, "B", 30, 40), Look(2, "A", 60, 70), Look(2, "B", 80, 90))
STAYS = (CUP, TWIN, FAR)


def table_of(position) -> str:
    return "A" if position[0] < 4 else "B"


def made_up(**changes) -> Walk:
    """Three frames a look, each showing all that stands there; TF's map is true throughout."""
    places = []
    for (thing, half), position in AT.items():
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32) * 0.05
        outline = TrueThing("any", corners + np.array(position[:2], np.float32), 0.7, 0.9)
        begin = 0 if half == 1 else CHANGED
        end = END if half == 2 or thing in STAYS else CHANGED
        places.append(Place(thing, table_of(position), begin, end, 0.0, outline))
    views = []
    for look in LOOKS:
        for stamp in range(look.from_ns, look.until_ns + 1, 5):
            sights = {}
            for (thing, half), position in AT.items():
                there = thing in STAYS or (half == 1) == (stamp < CHANGED)
                if there and table_of(position) == look.at:
                    pixels, hidden = 900, 0.1
                    if thing == FAR and stamp > 30:
                        pixels, hidden = (900, 0.6) if stamp == 35 else (300, 0.1)
                    sights[thing] = Sight(np.array(position), pixels, hidden)
            views.append(WalkView(stamp, Rigid(np.eye(3), np.zeros(3)), sights))
    synonyms = dict.fromkeys(NAMES, ()) | {CUP: ("cup",)}
    walk = Walk(NAMES, synonyms, places, LOOKS, views, 0, Rigid(np.eye(3), np.zeros(3)))
    return replace(walk, **changes)


def entry(position, word="mug", *, gone=None, frame="map", off=(0.0, 0.0, 0.0), **words) -> Entry:
    """An entry; further words as word=times."""
    named = {word: Name(0.9, 3)} | {other: Name(0.5, times) for other, times in words.items()}
    return Entry(
        key="k",
        robot="",
        frame_id=frame,
        position=np.add(position, off),
        covariance=np.eye(3),
        size=np.ones(3),
        orientation=np.array([0, 0, 0, 1]),
        space="s",
        embedding=np.ones(2),
        views=np.ones((1, 2)),
        words=named,
        first_seen=0.0,
        last_seen=1.0,
        gone_since=gone,
    )


def perfect(half: int) -> list[Entry]:
    """What a memory without fault holds at the end of a round."""
    entries = [entry(AT[CUP, 1]), entry(AT[TWIN, 1])]
    if half == 1:
        return [*entries, entry(AT[POT, 1], "pot"), entry(AT[BOOK, 1], "book")]
    gone = entry(AT[BOOK, 1], "book", gone=65.0)
    return [*entries, entry(AT[POT, 2], "pot"), entry(AT[NEW, 2], "bowl"), gone]


@pytest.mark.parametrize("half", [1, 2])
def test_a_memory_without_fault(half):
    got = score(perfect(half), made_up(), CHANGED - 1 if half == 1 else END - 1)
    there = {CUP, TWIN, POT, BOOK} if half == 1 else {CUP, TWIN, POT, NEW}
    assert set(got.things) == set(got.found) == set(got.well_placed) == there
    assert (got.missing, dict(got.wrong), got.strays, got.duplicate_share) == ((), {}, (), 0.0)
    assert got.moved == ({} if half == 1 else {POT: True})
    assert got.old == ({} if half == 1 else {POT: True, BOOK: True})
    assert max(got.error_m.values()) == pytest.approx(0)


def test_an_empty_memory():
    got = score([], made_up(), END - 1)
    assert set(got.missing) == {CUP, TWIN, POT, NEW}
    assert (got.found, got.duplicate_share, got.moved) == ((), 0.0, {POT: False})
    assert any("things with an entry: 0 of 4" in line for line in got.lines(NAMES))


def test_nothing_is_expected_before_it_was_seen():
    got = score([], made_up(), 5)
    assert (got.things, got.old, got.moved) == ((), {}, {})
    at_b = score([], made_up(), 40)
    assert set(at_b.things) == {CUP, POT, BOOK, TWIN}  # the far one was in one frame alone


def test_a_second_entry_is_a_duplicate_and_a_gone_one_is_not():
    more = [entry(AT[CUP, 1], off=(0.05, 0, 0)), entry(AT[CUP, 1], off=(0, 0.1, 0), gone=3.0)]
    got = score([*perfect(1), *more], made_up(), 49)
    assert got.duplicates == {CUP: 1, TWIN: 0, POT: 0, BOOK: 0}
    assert got.duplicate_share == pytest.approx(1 / 4)
    assert got.error_m[CUP] == pytest.approx(0)  # the nearest one's


def test_two_alike_in_one_entry_leave_one_missing():
    got = score(perfect(1)[1:], made_up(), 49)
    assert got.missing == (CUP,)
    assert TWIN in got.found


def test_positions_are_measured_and_far_ones_are_of_nothing():
    entries = [entry(AT[CUP, 1], off=(0, 0.029, 0)), entry(AT[TWIN, 1], off=(0, 0.031, 0))]
    entries.append(entry(AT[POT, 1], "pot", off=(0, 0.16, 0)))
    got = score(entries, made_up(), 49)
    assert got.error_m == pytest.approx({CUP: 0.029, TWIN: 0.031})
    assert got.well_placed == (CUP,)
    assert got.strays == ("pot",)
    assert set(got.missing) == {POT, BOOK}


def test_a_name_is_wrong_where_neither_word_nor_synonym():
    entries = [entry(AT[CUP, 1], "cup"), entry(AT[TWIN, 1], "mug", vase=4)]
    got = score(entries, made_up(), 49)
    assert got.wrong == {TWIN: "vase"}  # oftener than mug


def test_an_old_place_counts_once_it_was_looked_at_again():
    stale = perfect(1)
    before = score(stale, made_up(), 59)  # things were moved, nobody has looked
    assert (before.old, before.strays, before.missing) == ({}, (), ())
    assert set(before.things) == {CUP, TWIN}
    assert score(stale, made_up(), 65).old == {}  # the look goes on
    after_a = score(stale, made_up(), 70)
    assert after_a.old == {POT: False, BOOK: False}
    assert after_a.missing == (NEW,)
    assert after_a.moved == {}  # its new place is on the other table
    after_b = score(stale, made_up(), 90)
    assert after_b.moved == {POT: False}


def test_before_the_jump_positions_are_in_the_map_that_tf_told_of():
    off = Rigid([[0, -1, 0], [1, 0, 0], [0, 0, 1]], [0.0, 2.0, 0.0])
    walk = made_up(jump_ns=45, before_jump=off)
    turned = [entry(off.of_points(np.array([AT[k, 1]]))[0], NAMES[k]) for k in (CUP, TWIN, POT, BOOK)]
    assert score(turned, walk, 44).missing == ()
    assert len(score(turned, walk, 45).missing) == 4
    assert score(perfect(1), walk, 45).missing == ()


def test_entries_in_another_frame_are_refused():
    with pytest.raises(InvalidInputError, match="expected entries in 'map', got one in 'odom'"):
        score([entry((0, 0, 0), frame="odom")], made_up(), 49)
