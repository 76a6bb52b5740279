"""Each test of the store runs on a SQLite file and on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import Server, programs

from ovseg_ros.memory.store import open_store

pytest.importorskip("sqlalchemy", reason="memory needs SQLAlchemy: pip install '.[memory]'")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="PostgreSQL needs psycopg: pip install '.[memory]'")
    folder = programs()
    if folder is None:
        pytest.skip("no PostgreSQL is installed (Debian: apt-get install postgresql)")
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        return server.database()
    return f"sqlite:///{tmp_path}/memory.sqlite"


@pytest.fixture
def store(place: str):
    with open_store(place) as opened:
        yield opened
