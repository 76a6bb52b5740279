"""What is saved is what is read, on both kinds of database; questions are compared with naive loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from memory_entries import DIMS, SPACE, entries, entry, plain, unit

from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.memory import Entry, Example, Where
from ovseg_ros.memory.store import Retention, open_store


def keys(found) -> list[str]:
    return [one.key for one in found]


def meant(one: Entry, where: Where) -> bool:
    """Where, read by hand."""
    inside = all(
        (where.low is None or where.low[axis] <= one.position[axis])
        and (where.high is None or one.position[axis] <= where.high[axis])
        for axis in range(3)
    )
    return (
        (not where.keys or one.key in where.keys)
        and (not where.words or any(word in one.words for word in where.words))
        and (not where.frame_id or one.frame_id == where.frame_id)
        and inside
        and (where.seen_after is None or one.last_seen >= where.seen_after)
        and (where.seen_before is None or one.last_seen <= where.seen_before)
        and (where.gone is None or (one.gone_since is not None) == where.gone)
        and (not where.space or one.space == where.space)
        and (not where.robot or one.robot == where.robot)
    )


WHERES = [
    Where(),
    Where(keys=("thing 3", "thing 5", "nothing")),
    Where(words=("mug",)),
    Where(words=("mug", "tasse été")),
    Where(words=("giraffe",)),
    Where(frame_id="odom"),
    Where(frame_id="map", low=(-2, -2, -5)),
    Where(frame_id="map", low=(-3, -3, -3), high=(3, 3, 3), words=("book", "mug")),
    Where(seen_after=1e9 + 500),
    Where(seen_before=1e9 + 500, gone=False),
    Where(gone=True),
    Where(space="other"),
    Where(robot="tidy", gone=False),
]


def mixed(count: int) -> list[Entry]:
    made = entries(count)
    for number in range(0, count, 7):
        made[number] = replace(made[number], frame_id="odom")
    for number in range(0, count, 5):
        made[number] = replace(made[number], robot="tidy")
    for number in range(0, count, 6):
        made[number] = replace(made[number], space="other")
    return made


def test_entries_come_back_as_they_were(store) -> None:
    made = entries(30, views=3)
    made[4] = replace(made[4], words={}, crop=None, gone_since=None)
    saved = store.save(made)
    assert (saved.conflicts, saved.forgotten) == ((), ())
    found = store.load(crops=True)
    assert [plain(one) for one in found] == [plain(one) for one in made]
    assert {one.revision for one in found} == {saved.revision}
    assert found[0].embedding.dtype == np.float32


def test_nothing_saved_nothing_there(store) -> None:
    assert store.load() == []
    assert store.count() == 0
    before = store.changed_since(0).revision
    assert store.save([]).revision == before
    assert store.nearest(np.ones(DIMS), 3, Where(space=SPACE)) == []
    assert store.forget(Where()) == store.forget() == store.prune() == 0


def test_entries_are_there_after_opening_again(place: str) -> None:
    with open_store(place, robot="tidy") as first:
        first.save(entries(3))
    with open_store(place) as second:
        assert [plain(one, crop=False) for one in second.load()] == [
            plain(replace(one, robot="tidy"), crop=False) for one in entries(3)
        ]


def test_a_later_state_takes_the_place_of_the_earlier(store) -> None:
    first = store.save(entries(3))
    changed = entry(1, times_seen=1000, words={}, space="other", revision=first.revision)
    second = store.save([replace(changed, times_seen=999), changed])
    assert second.revision > first.revision
    found = store.load(crops=True)
    assert [plain(one) for one in found] == [plain(one) for one in (entry(0), changed, entry(2))]
    assert [one.revision for one in found] == [first.revision, second.revision, first.revision]


@pytest.mark.parametrize("where", WHERES, ids=str)
def test_each_condition_as_a_loop_would_have_it(store, where: Where) -> None:
    made = mixed(80)
    store.save(made)
    wanted = [one.key for one in made if meant(one, where)]
    assert keys(store.load(where)) == wanted
    assert store.count(where) == len(wanted)


def test_many_keys_are_one_question(store) -> None:
    store.save(entries(3))
    many = tuple(f"thing {number}" for number in range(1, 100_000))
    assert keys(store.load(Where(keys=many))) == ["thing 1", "thing 2"]


def test_a_region_without_its_frame_is_refused(store) -> None:
    with pytest.raises(InvalidInputError, match="frame_id"):
        store.load(Where(low=(0, 0, 0)))


class TestNearest:
    """Search, against a loop over all cosines."""

    @staticmethod
    def by_hand(made: list[Entry], query: np.ndarray, k: int, where: Where) -> list[tuple[str, float]]:
        found = []
        for one in made:
            if meant(one, where):
                cosines = [float(row @ query) for row in (one.embedding, *one.views)]
                found.append((one.key, max(cosines)))
        return sorted(found, key=lambda pair: -pair[1])[:k]

    @pytest.mark.parametrize("where", [replace(where, space=SPACE) for where in WHERES], ids=str)
    def test_as_a_loop_would_have_it(self, store, where: Where) -> None:
        made = mixed(300)
        store.save(made)
        for number in range(5):
            query = unit(np.random.default_rng(1000 + number).standard_normal(DIMS))
            found = store.nearest(3 * query, 7, where)
            wanted = self.by_hand(made, query, 7, where)
            assert [one.key for one, _ in found] == [key for key, _ in wanted]
            assert [cosine for _, cosine in found] == pytest.approx(
                [cosine for _, cosine in wanted], abs=1e-3
            )

    def test_entries_with_very_many_views_leave_room_for_others(self, store) -> None:
        query = entry(0).embedding
        alike = [replace(entry(n), views=unit(query + 0.01 * entry(n, views=200).views)) for n in range(5)]
        store.save([*alike, *entries(60)[40:]])
        assert len(store.nearest(query, 25, Where(space=SPACE))) == 25
        assert len(store.nearest(query, 25, Where(space=SPACE, frame_id="map"))) == 25

    def test_conditions_that_hold_only_far_away(self, store, monkeypatch) -> None:
        """The first vectors that they are tried on have none, or too few."""
        monkeypatch.setattr("ovseg_ros.memory.store.search.FIRST", 10)
        monkeypatch.setattr("ovseg_ros.memory.store.search.MORE", 2)
        made = mixed(300)
        store.save(made)
        where = Where(space=SPACE, words=("mug",), gone=True)
        for number in range(5):
            query = unit(np.random.default_rng(1000 + number).standard_normal(DIMS))
            found = store.nearest(query, 6, where)
            assert [one.key for one, _ in found] == [key for key, _ in self.by_hand(made, query, 6, where)]

    def test_it_follows_what_is_saved_and_forgotten(self, place: str) -> None:
        query = entry(5).embedding
        where = Where(space=SPACE)
        with open_store(place) as mine, open_store(place) as theirs:
            revision = mine.save(entries(20)).revision
            assert mine.nearest(query, 1, where)[0][0].key == "thing 5"
            moved = replace(entry(5, revision=revision), embedding=-query, views=-query[None])
            theirs.save([moved, replace(entry(21), views=query[None])])
            assert mine.nearest(query, 1, where)[0][0].key == "thing 21"
            assert mine.nearest(-query, 1, where)[0][0].key == "thing 5"
            theirs.forget(Where(keys=("thing 21", "thing 5")))
            theirs.save([replace(entry(22), views=unit(query + 0.1)[None])])
            assert mine.nearest(query, 1, where)[0][0].key == "thing 22"
            assert "thing 5" not in keys(one for one, _ in mine.nearest(query, 50, where))
            theirs.forget()
            assert mine.nearest(query, 1, where) == []
            theirs.save([entry(30)])
            assert keys(one for one, _ in mine.nearest(query, 9, where)) == ["thing 30"]

    def test_a_thing_that_changes_its_space_leaves_the_old_one(self, store) -> None:
        revision = store.save(entries(3)).revision
        store.nearest(entry(1).embedding, 1, Where(space=SPACE))
        store.save([entry(1, space="other", dims=8, revision=revision)])
        assert len(store.nearest(entry(1).embedding, 9, Where(space=SPACE))) == 2
        assert keys(one for one, _ in store.nearest(np.ones(8), 9, Where(space="other"))) == ["thing 1"]

    def test_more_things_than_a_block_holds(self, store) -> None:
        made = entries(5000, views=1, words={})
        store.save(made)
        query = made[4321].views[0]
        found = store.nearest(query, 3, Where(space=SPACE))
        wanted = self.by_hand(made, query, 3, Where())
        assert [one.key for one, _ in found] == [key for key, _ in wanted]

    @pytest.mark.parametrize(
        ("embedding", "where", "message"),
        [
            (np.ones(DIMS), Where(), "space"),
            (np.zeros(DIMS), Where(space=SPACE), "not all 0"),
            (np.full(DIMS, np.nan), Where(space=SPACE), "finite"),
            (np.ones((2, DIMS)), Where(space=SPACE), "(D,)"),
            (np.ones(DIMS + 1), Where(space=SPACE), f"expected {DIMS} numbers"),
        ],
    )
    def test_what_cannot_be_compared_is_refused(self, store, embedding, where, message) -> None:
        store.save(entries(2))
        with pytest.raises(InvalidInputError) as refused:
            store.nearest(embedding, 3, where)
        assert message in str(refused.value)


class TestWriters:
    """Two writers of one database."""

    def test_what_another_wrote_in_between_is_not_overwritten(self, place: str) -> None:
        with open_store(place) as mine, open_store(place) as theirs:
            first = mine.save(entries(2)).revision
            second = theirs.save([entry(0, times_seen=500, revision=first)]).revision
            late = mine.save(
                [entry(0, times_seen=400, revision=first), entry(1, times_seen=3, revision=first)]
            )
            assert keys(late.conflicts) == ["thing 0"]
            assert late.conflicts[0].times_seen == 500
            assert late.conflicts[0].revision == second
            assert [one.times_seen for one in mine.load()] == [500, 3]
            assert mine.save([entry(0, times_seen=600, revision=second)]).conflicts == ()

    def test_a_key_that_another_made_first_is_a_conflict(self, place: str) -> None:
        with open_store(place) as mine, open_store(place) as theirs:
            mine.save([entry(0)])
            assert keys(theirs.save([entry(0)]).conflicts) == ["thing 0"]

    @pytest.mark.parametrize("everything", [True, False])
    def test_what_was_forgotten_does_not_come_back(self, place: str, everything: bool) -> None:
        with open_store(place) as mine, open_store(place) as theirs:
            revision = mine.save(entries(2)).revision
            theirs.forget(None if everything else Where())
            saved = mine.save([entry(0, revision=revision), entry(7)])
            assert saved.forgotten == ("thing 0",)
            assert keys(mine.load()) == ["thing 7"]
        if not everything:
            with open_store(place) as mine:
                assert mine.save([entry(0)]).forgotten == ("thing 0",)

    def test_changes_are_what_others_hear_of(self, place: str) -> None:
        with open_store(place) as mine, open_store(place) as theirs:
            first = mine.save(entries(3)).revision
            start = theirs.changed_since(0)
            assert (start.everything, len(start.entries), start.revision) == (True, 3, first)
            assert theirs.changed_since(first) == (first, (), (), False)
            second = mine.save([entry(1, revision=first), entry(9)]).revision
            mine.forget(Where(keys=("thing 2",)))
            changes = theirs.changed_since(first)
            assert not changes.everything
            assert keys(changes.entries) == ["thing 1", "thing 9"]
            assert {one.revision for one in changes.entries} == {second}
            assert changes.forgotten == ("thing 2",)
            assert theirs.changed_since(changes.revision) == (changes.revision, (), (), False)
            mine.forget()
            mine.save([entry(20)])
            after = theirs.changed_since(changes.revision)
            assert (after.everything, keys(after.entries)) == (True, ["thing 20"])

    def test_forgotten_keys_are_kept_within_bounds(self, store, monkeypatch) -> None:
        monkeypatch.setattr("ovseg_ros.memory.store.writing.KEPT_FORGOTTEN", 3)
        revisions = [store.save(entries(8)).revision]
        for number in range(4):
            store.forget(Where(keys=(f"thing {2 * number}", f"thing {2 * number + 1}")))
            revisions.append(store.changed_since(revisions[0]).revision)
        assert store.changed_since(revisions[0]).everything
        assert store.changed_since(revisions[-2]) == (revisions[-1], (), ("thing 6", "thing 7"), False)


class TestCrops:
    """Pictures, and leaving them out."""

    def test_they_come_only_when_asked_for(self, store) -> None:
        store.save(entries(2))
        assert [one.crop for one in store.load()] == [None, None]
        assert [one.crop for one in store.load(crops=True)] == [one.crop for one in entries(2)]

    def test_a_state_without_one_keeps_the_stored_one(self, store) -> None:
        revision = store.save(entries(1)).revision
        revision = store.save([entry(0, crop=None, revision=revision)]).revision
        assert store.load(crops=True)[0].crop == entry(0).crop
        store.save([entry(0, crop=b"new", revision=revision)])
        assert store.load(crops=True)[0].crop == b"new"

    def test_switched_off_none_is_written(self, place: str) -> None:
        with open_store(place, crops=False) as private:
            private.save(entries(2))
            private.save_example(Example("my mug", SPACE, entry(0).embedding, 5.0, crop=b"picture"))
            assert private.examples()[0].crop is None
        with open_store(place) as other:
            assert [one.crop for one in other.load(crops=True)] == [None, None]
            assert other.examples()[0].crop is None

    def test_those_stored_earlier_can_be_forgotten_alone(self, store) -> None:
        store.save(entries(3))
        store.save_example(Example("my mug", SPACE, entry(0).embedding, 5.0, crop=b"picture"))
        assert store.forget_crops() == 4
        assert [plain(one) for one in store.load(crops=True)] == [
            plain(replace(one, crop=None)) for one in entries(3)
        ]
        assert store.examples()[0].crop is None


class TestRetention:
    """`prune`, against sorting by hand."""

    @staticmethod
    def stored(place: str, retention: Retention, made: list[Entry], now: float | None = None) -> list[str]:
        with open_store(place, retention=retention) as store:
            store.save(made)
            pruned = store.prune(now)
            left = keys(store.load())
            assert pruned == len(made) - len(left)
            assert store.prune(now) == 0
            return left

    def test_by_age(self, place: str) -> None:
        made = entries(40)
        now = 1e9 + 1200
        left = self.stored(place, Retention(max_age_s=700), made, now)
        assert left == [one.key for one in made if one.last_seen >= now - 700]
        assert 0 < len(left) < 40

    def test_by_age_on_this_machines_clock(self, place: str) -> None:
        assert self.stored(place, Retention(max_age_s=700), entries(2)) == []

    @pytest.mark.parametrize("count", [1, 10, 33, 100])
    def test_by_count_gone_ones_first_then_those_unseen_for_longest(self, place: str, count: int) -> None:
        made = entries(40)
        best_first = sorted(made, key=lambda one: (one.gone_since is not None, -one.last_seen))
        assert sorted(self.stored(place, Retention(max_count=count), made)) == sorted(
            keys(best_first[:count])
        )

    def test_by_bytes_pictures_included(self, place: str) -> None:
        made = [replace(one, crop=bytes(10_000)) for one in entries(10)] + [
            replace(one, crop=None) for one in entries(20)[10:]
        ]
        best_first = sorted(made, key=lambda one: (one.gone_since is not None, -one.last_seen))
        left, total = [], 0
        for one in best_first:
            total += 500 + 2 * 3 * DIMS + len(one.crop or b"")
            if total <= 40_000:
                left.append(one.key)
        assert sorted(self.stored(place, Retention(max_bytes=40_000), made)) == sorted(left)
        assert 0 < len(left) < 20

    def test_no_limit_keeps_all(self, place: str) -> None:
        assert len(self.stored(place, Retention(), entries(5))) == 5

    @pytest.mark.parametrize("limits", [{"max_age_s": 0}, {"max_count": -1}, {"max_bytes": float("nan")}])
    def test_limits_that_mean_nothing_are_refused(self, limits) -> None:
        with pytest.raises(ConfigError, match=next(iter(limits))):
            Retention(**limits)


class TestExamples:
    """Names that were taught."""

    def test_they_come_back_in_the_order_shown(self, store) -> None:
        colours = np.array([0.25, 0.75], np.float32)
        beside = np.stack([entry(3).embedding, entry(4).embedding])
        later = Example(
            "my mug",
            SPACE,
            entry(1).embedding,
            9.0,
            crop=b"2",
            key="thing 1",
            palette=colours,
            size_m=0.07,
            others=beside,
            other_palettes=np.stack([colours, colours]),
        )
        first = Example("my mug", SPACE, entry(0).embedding, 5.0, crop=b"1")
        other = Example("Anna's mug", SPACE, entry(2).embedding, 7.0)
        before = store.changed_since(0).revision
        for example in (later, first, other):
            store.save_example(example)
        assert store.changed_since(before).revision > before
        assert [one.crop for one in store.examples("my mug")] == [b"1", b"2"]
        assert [one.name for one in store.examples()] == ["my mug", "Anna's mug", "my mug"]
        found = store.examples("my mug")[1]
        assert (found.space, found.shown, found.key) == (SPACE, 9.0, "thing 1")
        for name in ("embedding", "palette", "others", "other_palettes"):
            np.testing.assert_allclose(getattr(found, name), getattr(later, name), atol=1e-3)
        assert found.size_m == 0.07
        plain = store.examples("Anna's mug")[0]
        assert (plain.palette, plain.size_m, plain.others, plain.other_palettes) == (None, None, None, None)
        assert store.forget_name("my mug") == 2
        assert store.forget_name("my mug") == 0
        assert [one.name for one in store.examples()] == ["Anna's mug"]

    def test_an_example_needs_a_name(self, store) -> None:
        with pytest.raises(InvalidInputError, match="name"):
            store.save_example(Example("", SPACE, entry(1).embedding, 9.0))


class TestBadInput:
    """What no database takes is refused before anything is written."""

    @pytest.mark.parametrize(
        "given",
        [
            {"key": "a\0b"},
            {"key": ""},
            {"robot": "\ud800"},
            {"frame_id": "\0"},
            {"embedding": np.full(DIMS, 1e9)},
        ],
        ids=str,
    )
    def test_an_entry(self, store, given) -> None:
        with pytest.raises(InvalidInputError):
            store.save([entry(0), entry(1, **given)])
        assert store.count() == 0

    def test_a_question(self, store) -> None:
        with pytest.raises(InvalidInputError, match="NUL"):
            store.load(Where(words=("a\0",)))
        with pytest.raises(InvalidInputError, match="NUL"):
            store.forget_name("a\0")


def test_forgetting_everything_leaves_nothing(store) -> None:
    store.save(entries(20))
    store.save_example(Example("my mug", SPACE, entry(0).embedding, 5.0, crop=b"picture"))
    assert store.forget() == 20
    assert (store.load(), store.examples()) == ([], [])
    store.save(entries(40)[30:])
    assert store.count() == 10
