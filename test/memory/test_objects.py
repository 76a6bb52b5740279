"""What was seen where: one entry per thing, whatever is moved, taken away, hidden, or alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from memory_fixtures import Ball, DictStore, Room

from ovseg_ros.core.space import Rigid
from ovseg_ros.memory import Where


def mug(x: float, y: float, looks: int = 0) -> Ball:
    return Ball("mug", x, y, looks)


def bowl(x: float, y: float) -> Ball:
    return Ball("bowl", x, y, 1, radius=0.08)


A, B = (0.0, 0.0), (3.0, 0.0)  # two places that no view shows together


def where(entry) -> tuple[float, float]:
    return tuple(entry.position[:2].round(2).tolist())


def test_one_entry_for_each_thing_however_often_it_is_seen():
    room = Room([mug(0, 0), bowl(0.2, 0.2), mug(3, 0)], noise_m=0.01)
    for heading in (0.0, 1.5, 3.0, 4.5):
        room.look(*A, heading=heading)
        room.look(*B, heading=heading)
    entries = room.entries()
    assert sorted(entry.name for entry in entries) == ["bowl", "mug", "mug"]
    for entry in entries:
        nearest = min(np.linalg.norm(entry.position - ball.centre) for ball in room.balls)
        assert nearest < 0.01
        assert entry.times_seen >= 18
        assert entry.times_missed == 0
        assert entry.gone_since is None
        assert entry.crop == b"jpeg"


def test_the_clearest_picture_is_kept_also_over_other_looks_and_a_new_start():
    room = Room([mug(0, 0)])
    for clear, jpeg in (
        (100.0, b"first"),
        (110.0, b"hardly clearer"),
        (400.0, b"clear"),
        (150.0, b"blurred"),
    ):
        room.crop = clear, jpeg
        room.look(*A)
    (entry,) = room.entries()
    assert (entry.crop, entry.clarity) == (b"clear", 400.0)
    room.memory.flush()
    room.store.put([replace(entry, crop=None)])  # as a store gives it
    room.restart()
    room.crop = 300.0, b"after the start"
    room.look(*A)
    (entry,) = room.entries()
    assert (entry.crop, entry.clarity) == (None, 400.0)  # the store keeps the one it has


def test_nothing_is_remembered_of_what_is_seen_once_or_never_named():
    room = Room([mug(0, 0), bowl(0.2, 0.2)], unnamed={"bowl"})
    room.look(*A, images=2)
    assert room.entries() == []
    room.look(*A, images=3)
    assert [entry.name for entry in room.entries()] == ["mug"]


def test_a_thing_whose_name_flickers_is_one_thing_under_the_name_it_had_most():
    room = Room([mug(0, 0)])
    room.look(*A, images=5)
    room.balls[0].name = "cup"
    room.look(*A, images=3)
    (entry,) = room.entries()
    assert entry.name == "mug"
    assert {word: name.times for word, name in entry.words.items()} == {"mug": 3, "cup": 3}


@pytest.mark.parametrize("apart", [0.12, 0.3])
def test_two_alike_stay_two(apart):
    room = Room([mug(0, 0), mug(0, apart)], noise_m=0.005)
    for _ in range(4):
        room.look(*A)
    assert len(room.entries()) == 2


def test_what_was_moved_while_nobody_looked_is_found_where_it_is_at_one_look():
    room = Room([mug(*A), bowl(0.2, 0.2)])
    room.look(*A)
    room.look(*B)
    (before,) = room.entries(words=("mug",))
    room.balls[0] = mug(*B)
    room.time += 60
    room.look(*B)
    newest = room.entries(words=("mug",))[0]
    assert where(newest) == B
    room.look(*A)
    (after,) = room.entries(words=("mug",))
    assert where(after) == B
    assert after.key == before.key
    assert after.first_seen == before.first_seen
    assert list(room.store.load(Where(words=("mug",)))) == [after]


def test_what_is_gone_is_marked_and_known_again_where_it_turns_up():
    room = Room([mug(*A), bowl(0.2, 0.2)])
    room.look(*A)
    room.balls[0] = mug(9, 9)
    room.look(*A)
    (gone,) = room.entries(gone=True)
    assert gone.name == "mug"
    assert where(gone) == A
    room.balls[0] = mug(*B)
    room.look(*B)
    (back,) = room.entries(words=("mug",))
    assert (back.key, back.gone_since, where(back)) == (gone.key, None, B)


def test_one_of_two_alike_that_is_taken_away_is_gone_and_the_other_stays():
    room = Room([mug(*A), mug(*B)])
    room.look(*A)
    room.look(*B)
    del room.balls[0]
    room.look(*A)
    room.look(*B)
    assert [where(entry) for entry in room.entries(gone=True)] == [A]
    assert [where(entry) for entry in room.entries(gone=False)] == [B]


def test_another_thing_is_not_taken_for_the_one_that_is_gone():
    room = Room([mug(*A)])
    room.look(*A)
    room.balls[0] = mug(*B, looks=3)
    room.look(*A)
    room.look(*B)
    assert len(room.entries(words=("mug",))) == 2


def test_what_is_hidden_or_not_recognised_is_not_gone():
    room = Room([mug(*A)])
    room.look(*A)
    wall = Ball("ball", -0.3, 0.0, 5, radius=0.25)  # stands before the mug
    room.balls.append(wall)
    room.look(*A)
    room.balls.remove(wall)
    room.unseen = {"mug"}
    room.look(*A)
    (entry,) = room.entries(words=("mug",))
    assert entry.gone_since is None
    assert entry.times_missed == 5  # the images in which it was in view and not recognised
    assert entry.times_looked == entry.times_seen + 5


def test_a_thing_that_is_carried_through_the_view_stays_one():
    room = Room([mug(0, -0.3)])
    room.look(*A)
    for _ in range(8):
        room.balls[0].y += 0.08
        room.look(*A, images=1, again=False)
    (entry,) = room.entries()
    assert np.linalg.norm(entry.position - room.balls[0].centre) < 0.05


def jump(room, shift) -> None:
    """The fixed frame is told to be elsewhere from now on."""
    room.memory.correct(room.time, Rigid(np.eye(3), np.asarray(shift, float)))


def off(room) -> float:
    """How far the worst entry is from the nearest ball, as places are told now."""
    told = [ball.centre + room.off for ball in room.balls]
    return max(min(np.linalg.norm(entry.position - at) for at in told) for entry in room.entries())


def doubt(room) -> list[float]:
    return [float(np.sqrt(entry.covariance[0, 0])) for entry in room.entries()]


@pytest.mark.parametrize("was_wrong", ["all the time", "never"])
def test_after_a_jump_of_the_fixed_frame_positions_are_doubted_and_things_stay_one(was_wrong):
    room = Room([mug(0, 0), bowl(0.3, 0.3), mug(3, 0)])
    room.look(*A)
    room.look(*B)
    keys = {entry.key for entry in room.entries()}
    jump(room, (0.3, 0.0, 0.0))
    assert min(doubt(room)) >= 0.3
    if was_wrong == "all the time":  # what is told now is right: all of it was told 0.3 m off before
        room.off = np.array([0.3, 0.0, 0.0])
        assert off(room) < 0.02
    room.look(0.0 + room.off[0], 0.0)
    assert sorted(doubt(room))[0] < 0.05
    assert sorted(doubt(room))[1] < 0.1  # settled by the first, being near it
    assert sorted(doubt(room))[2] >= 0.3  # far away
    room.look(3.0 + room.off[0], 0.0)
    assert {entry.key for entry in room.entries()} == keys
    assert off(room) < 0.02
    assert max(doubt(room)) < 0.1


def test_a_thing_that_was_moved_settles_nothing_about_the_others():
    room = Room([mug(0, 0), Ball("bowl", 0.0, 0.6, 1, radius=0.08)])
    room.look(0, 0.3)
    jump(room, (0.4, 0.0, 0.0))
    room.off = np.array([0.4, 0.0, 0.0])
    room.balls[0] = mug(0.0, -0.25)
    room.unseen = {"bowl"}
    room.look(0.4, 0.0)
    (bowl_,) = room.entries(words=("bowl",))
    assert np.linalg.norm(bowl_.position - room.balls[1].centre - room.off) < 0.02
    assert np.sqrt(bowl_.covariance[0, 0]) >= 0.4


def test_what_was_known_from_earlier_starts_is_not_doubted():
    room = Room([mug(*A), bowl(3.2, 0.2)])
    room.look(*A)
    room.memory.flush()
    room.restart()
    room.time += 100
    room.look(*B)
    jump(room, (0.3, 0.0, 0.0))
    certain = {entry.name: np.sqrt(entry.covariance[0, 0]) < 0.1 for entry in room.entries()}
    assert certain == {"mug": True, "bowl": False}


def test_what_is_cut_by_the_images_edge_says_that_it_is_there_and_not_where():
    room = Room([mug(*A)])
    room.look(*A)
    (before,) = room.entries()
    room.balls[0] = Ball("cup", 0.0, 0.03, 0)
    room.cut = True
    room.look(*A, images=3)
    (after,) = room.entries()
    np.testing.assert_allclose(after.position, before.position)
    assert (after.words.keys(), after.times_seen) == ({"mug"}, before.times_seen + 3)


def test_a_new_start_goes_on_with_what_was_stored():
    room = Room([mug(*A), bowl(0.2, 0.2)])
    room.look(*A)
    keys = {entry.key for entry in room.entries()}
    room.memory.flush()
    room.restart()
    room.look(*A)
    assert {entry.key for entry in room.entries()} == keys
    assert len(room.store.entries) == 2


def test_only_what_is_around_is_held_and_all_of_it_is_found():
    room = Room([mug(50.0 * i, 0, looks=i % 8) for i in range(6)])
    for ball in room.balls:
        room.look(ball.x, 0)
    room.memory.flush()
    room.restart()
    room.look(0, 0)
    assert len(room.memory._near.of_frame("map")) == 1
    assert len(room.entries()) == 6


def test_memory_goes_on_while_the_store_cannot_be_read(caplog):
    store = DictStore()
    room = Room([mug(*A)], store=store)
    store.fails = True
    room.look(*A)
    assert caplog.text.count("memory cannot be read") == 1
    store.fails = False
    (entry,) = room.entries()
    assert entry.name == "mug"


def test_changes_are_handed_on_once_a_second_and_new_things_at_once():
    room = Room([mug(*A)])
    handed = []
    put = room.store.put
    room.store.put = lambda entries: (handed.append(len(entries)), put(entries))
    room.look(*A, images=3)
    assert room.store.entries
    handed.clear()
    room.look(*A, images=50, again=False)
    assert 8 <= len(handed) <= 12


def test_what_is_forgotten_is_gone_for_good_and_learnt_anew():
    room = Room([mug(*A), bowl(0.2, 0.2)])
    room.look(*A)
    (known,) = room.entries(words=("mug",))
    assert room.memory.forget([known.key]) == 1
    assert [entry.name for entry in room.entries()] == ["bowl"]
    room.look(*A)
    assert len(room.entries()) == 2
    assert room.memory.forget(None) == 2
    assert room.entries() == []
    assert room.store.entries == {}


def test_what_another_robot_does_is_known_here(monkeypatch):
    monkeypatch.setattr("ovseg_ros.memory.nearby._NEWS_EVERY_S", 0.0)
    room = Room([mug(*A), bowl(0.2, 0.2)])
    room.look(*A)
    room.memory.flush()
    (known,) = room.entries(words=("mug",))
    other = Room([mug(*A)], store=room.store, time=room.time + 10)
    other.look(*A)
    assert len(room.store.entries) == 2  # the other one knew the mug
    other.memory.flush()
    room.look(*B, images=1)
    assert room.memory._near[known.key].last_seen == other.time
    other.memory.forget([known.key])
    room.look(*B, images=1)
    assert known.key not in room.memory._near
