"""Versions of the tables."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from memory_entries import entries, plain

from ovseg_ros.errors import ConfigError
from ovseg_ros.memory.store import open_store, pgvector
from ovseg_ros.memory.store.database import parse_url
from ovseg_ros.memory.store.tables import FOLDER, METADATA, SCHEMA_TABLE, bring_up_to_date

NEWER = "UPDATE ovseg_schema SET version_num = '9999'"


def connected(place: str) -> sa.Engine:
    return sa.create_engine(parse_url(place))


def test_migrations_end_at_the_tables_that_the_code_reads(place: str) -> None:
    open_store(place).close()
    with connected(place).connect() as connection:
        ours = {"version_table": SCHEMA_TABLE, "include_object": lambda _, name, *__: name != pgvector.TABLE}
        context = MigrationContext.configure(connection, opts=ours)
        assert compare_metadata(context, METADATA) == []


def test_the_first_version_is_brought_up_to_date(place: str) -> None:
    with connected(place).begin() as connection:
        bring_up_to_date(connection, place, to="0001")
    with open_store(place) as store:
        store.save(entries(3))
        assert [plain(one, crop=False) for one in store.load()] == [
            plain(one, crop=False) for one in entries(3)
        ]
    with open_store(place) as store:  # a second time there is nothing to do
        assert store.count() == 3


def test_migrations_form_one_line() -> None:
    files = [path for path in (FOLDER / "versions").glob("*.py") if path.name != "__init__.py"]
    revisions = {re.search(r'^revision = "(\d+)"', path.read_text(), re.MULTILINE)[1] for path in files}
    before = [re.search(r"^down_revision = (.*)$", path.read_text(), re.MULTILINE)[1] for path in files]
    assert len(revisions) == len(files) == len(set(before))


def test_a_newer_schema_is_refused_with_the_cure(place: str) -> None:
    with open_store(place) as store:
        store.save(entries(2))
    with connected(place).begin() as connection:
        connection.execute(sa.text(NEWER))
    with pytest.raises(ConfigError) as refused:
        open_store(place)
    assert re.search("newer ovseg_ros.*9999.*this one knows 0002; update ovseg_ros here", str(refused.value))
    assert "s3cret" not in str(refused.value)
    with connected(place).connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM ovseg_entries")) == 2


def test_another_programs_file_stays_as_it_is(tmp_path: Path) -> None:
    """A recording of rosbag2 is a SQLite file too."""
    recording = tmp_path / "recording.db3"
    with sqlite3.connect(recording) as connection:
        connection.execute("CREATE TABLE topics (id INTEGER)")
    with pytest.raises(ConfigError, match="another program's file, with the table topics"):
        open_store(recording)
    with sqlite3.connect(recording) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("topics",)]
