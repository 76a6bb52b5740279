"""The connection: addresses, SQLite's settings, transactions, and what their failures are called."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, Engine, make_url

from ovseg_ros.errors import ConfigError, OvsegError, StoreError, install_cure
from ovseg_ros.memory.store.tables import bring_up_to_date

logger = logging.getLogger(__name__)

BUSY_S = 10.0
"""How long to wait for another writer of the file, or for the server's lock."""
CONNECT_S = 5
POSTGRESQL = "postgresql+psycopg"


def parse_url(url_or_path: str) -> URL:
    """The database that is meant. A password in the query moves to its place, where SQLAlchemy hides it.

    Raises:
        ConfigError: no file and no address of SQLite or PostgreSQL.
    """
    wanted = "expected a file, sqlite:///FILE or postgresql://USER@HOST/NAME"
    if "://" not in url_or_path:
        if not url_or_path or url_or_path == ":memory:":
            raise ConfigError(f"{wanted}, got {url_or_path!r}; memory is kept in a file")
        return URL.create("sqlite", database=str(Path(url_or_path).expanduser()))
    try:
        url = make_url(url_or_path)
    except (exc.ArgumentError, ValueError):  # whose texts hold the password
        raise ConfigError(f"{wanted}, got an address of another form; encode @ : / of a password") from None
    if url.drivername in ("postgres", "postgresql", POSTGRESQL):
        password = url.query.get("password")
        if isinstance(password, str):
            url = url.set(password=password).difference_update_query(["password"])
        return url.set(drivername=POSTGRESQL)
    if url.drivername == "sqlite" and url.database and url.database != ":memory:":
        return url.set(database=str(Path(url.database).expanduser()))
    raise ConfigError(f"{wanted}, got {url.render_as_string(hide_password=True)}")


class Database:
    """A database whose tables are up to date, and transactions on it.

    It is reached anew after the server went away, and after the file was deleted or replaced: what is then
    under its name counts, and a file that is not there any more is made again, empty.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_file = url.get_backend_name() == "sqlite"
        self.name = str(url.database) if self.is_file else url.render_as_string(hide_password=True)
        self._lock = threading.Lock()
        self._file: tuple[int, int] | None = None
        try:
            self.engine = self._make_engine()
        except ModuleNotFoundError as error:
            raise ConfigError(f"PostgreSQL needs {error.name}; {install_cure('memory')}") from error
        self._prepare()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of everything."""
        with self._transaction(write=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is durable once it has ended without an error; one at a time."""
        with self._transaction(write=True) as connection:
            yield connection

    @contextmanager
    def outside_transactions(self) -> Iterator[Connection]:
        """For VACUUM and its like."""
        with self._named_errors(), self.engine.connect() as connection:
            yield connection if self.is_file else connection.execution_options(isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        """Ends all connections."""
        self.engine.dispose()

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        with self._named_errors():
            if self.is_file and self._file != self._identity():
                logger.warning("%s was deleted or replaced: opening what is there now", self.name)
                self.engine.dispose()
                self._prepare()
            # A writer waits for its turn on the counter's row, and sees what those before it have committed.
            options: dict[str, Any] = {"write": write}
            if not self.is_file:
                options["isolation_level"] = "READ COMMITTED" if write else "REPEATABLE READ"
            with self.engine.connect() as connection:
                connection = connection.execution_options(**options)
                with connection.begin():
                    yield connection

    def _make_engine(self) -> Engine:
        options: dict[str, Any] = {"hide_parameters": True}  # pictures and names stay out of messages
        if not self.is_file:
            options |= {
                "pool_pre_ping": True,
                "connect_args": {
                    "connect_timeout": CONNECT_S,
                    "options": f"-c lock_timeout={int(1000 * BUSY_S)}",
                    "keepalives_idle": 10,
                    "keepalives_interval": 5,
                    "keepalives_count": 3,
                    "tcp_user_timeout": 30_000,
                },
            }
            return sa.create_engine(self.url, **options)
        engine = sa.create_engine(self.url, connect_args={"timeout": BUSY_S}, **options)
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _prepare(self) -> None:
        with self._lock, self._named_errors():
            if self.is_file:
                _check_file(Path(self.name))
            with self.engine.connect() as connection:
                connection = connection.execution_options(write=True)
                with connection.begin():
                    bring_up_to_date(connection, self.name)
            self._file = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        try:
            there = os.stat(self.name)
        except OSError:
            return None
        return there.st_dev, there.st_ino

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OvsegError:
            raise
        except (exc.DBAPIError, exc.TimeoutError) as error:
            # What SQLAlchemy and the driver say may hold the address: only the scrubbed text goes on.
            raise self._named(error) from None

    def _named(self, error: exc.SQLAlchemyError) -> OvsegError:
        text = str(getattr(error, "orig", None) or error).strip()
        for secret in _secrets(self.url):
            text = text.replace(secret, "***")
        text = " ".join(text.split())
        if not self.is_file:
            state = getattr(getattr(error, "orig", None), "sqlstate", None) or "08"
            if state[:2] not in ("08", "28", "3D", "57"):  # it was reached, and takes this user
                return StoreError(f"{self.name}: {text}")
            return StoreError(
                f"{self.name}: {text}; see that the server runs and this address, user and password are right"
            )
        if "not a database" in text:
            return ConfigError(f"{self.name} is no SQLite file; give another path")
        if "malformed" in text:
            return ConfigError(f"{self.name} is damaged ({text}); move it away, a new one is made")
        cure = {
            "locked": "another program holds it for long; end that",
            "full": "free space on its disk",
            "disk I/O": "free space on its disk, and see whether that is well",
            "readonly": "give this user write rights to it and its folder",
            "unable to open": "see that its folder is there and this user may write to it",
        }
        cures = "".join(f"; {words}" for part, words in cure.items() if part in text)
        return StoreError(f"{self.name}: {text}{cures}")


def _secrets(url: URL) -> list[str]:
    if not url.password:
        return []
    quoted = url.render_as_string(hide_password=False).split("@")[0].rsplit(":", 1)[-1]
    return sorted({str(url.password), quoted}, key=len, reverse=True)


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: _begin_sqlite does
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # a commit is on the disk when it returns
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # what is forgotten is overwritten
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """IMMEDIATE: a writer waits for its turn here, and never reads what another is about to change."""
    write = connection.get_execution_options().get("write")
    if write is not None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _check_file(path: Path) -> None:
    """Raises ConfigError for what SQLite says too little about."""
    if path.is_dir():
        raise ConfigError(f"expected a file for memory, got the folder {path}; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"the folder of {path} is not there; make it, or give another path")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.R_OK | os.W_OK)):
        raise ConfigError(
            f"{path} cannot be written by this user; give it rights to file and folder, or name another path"
        )
