"""One SQLite file (.db3) of any rosbag2 since the first, read as far as it is whole.

It is opened as a file that nobody changes: no lock is taken or waited for, and nothing is written beside it.
"""

from __future__ import annotations

import sqlite3
import urllib.parse
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.recordings.parts import Channel, Recorded, type_name
from ovseg_ros.files.recordings.stored import StoredFile

_ROWS = "SELECT rowid, topic_id, timestamp FROM messages"
_LAST_ROW = 1 << 62


class SqlitePart:
    """See `parts.Part`."""

    def __init__(self, stored: StoredFile) -> None:
        """Reads the tables.

        Raises:
            InvalidInputError: they are not those of a recording, or cannot be read.
        """
        self._stored = stored
        self.path = stored.path
        self.remarks: list[str] = stored.remarks
        if not stored.is_copy and _is_locked(self.path):
            self.remarks.append(
                f"{self.path} is locked by another program (is it still recorded?): what lies in it is read"
            )
        with self._opened() as database:
            try:
                self._topics = _topics_of(database, self.path)
                self._walked = False
                counts = self._counted(database)
            except sqlite3.Error as error:
                raise InvalidInputError(f"the database {self.path} cannot be read: {error}") from error
        self.channels = [Channel(*topic, counts[key]) for key, topic in self._topics.items()]

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """See `parts.Part`."""
        wanted = [key for key, (name, _, _) in self._topics.items() if name in topics]
        with self._opened() as database:
            for row, key, logged_ns in self._rows(database, wanted):
                name, kind, _ = self._topics[key]
                yield Recorded(logged_ns, name, kind, self._data(database, row))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._stored.content() as path:
            # A copy is ours: opened to be written, it plays its journal. The user's own stays as it is.
            how = "mode=rw" if self._stored.is_copy else "mode=ro&immutable=1"
            with closing(_connected(path, how)) as database:
                yield database

    def _counted(self, database: sqlite3.Connection) -> Counter[int]:
        self.start_ns = 0
        try:
            grouped = "SELECT topic_id, COUNT(*), MIN(timestamp) FROM messages GROUP BY topic_id"
            found = database.execute(grouped).fetchall()
            self.start_ns = min((first for _, _, first in found if isinstance(first, int)), default=0)
            return Counter({key: count for key, count, _ in found})
        except sqlite3.DatabaseError as error:
            self._walked = True
            rows = list(self._walk(database))
            self.start_ns = min((logged_ns for _, _, logged_ns in rows), default=0)
            self.remarks.append(
                f"{self.path} is damaged ({error}): {len(rows)} messages could be found in it. `sqlite3 "
                f"{self.path.name} .recover` may save more"
            )
            return Counter(key for _, key, _ in rows)

    def _rows(self, database: sqlite3.Connection, keys: list[int]) -> Iterator[tuple[int, int, int]]:
        """(row, topic, time) in order of time; the pixels are fetched when their turn comes."""
        last = (-1, -1)
        if not self._walked:
            marks = ",".join("?" * len(keys))
            ordered = f"{_ROWS} WHERE topic_id IN ({marks}) ORDER BY timestamp, rowid"
            try:
                for row, key, logged_ns in database.execute(ordered, keys):
                    if isinstance(logged_ns, int):
                        yield row, key, logged_ns
                        last = (logged_ns, row)
                return
            except sqlite3.DatabaseError as error:
                self._say(f"{self.path} is damaged ({error}): it is searched row by row")
        found = (row for row in self._walk(database) if row[1] in keys and (row[2], row[0]) > last)
        yield from sorted(found, key=lambda row: (row[2], row[0]))

    @staticmethod
    def _walk(database: sqlite3.Connection) -> Iterator[tuple[int, int, int]]:
        """Every row that can be reached; over what cannot it steps, farther each time."""
        at, step = -1, 1
        while at < _LAST_ROW:
            try:
                for row, key, logged_ns in database.execute(f"{_ROWS} WHERE rowid > ? ORDER BY rowid", (at,)):
                    if row <= at:
                        raise sqlite3.DatabaseError("its rows are not in order")
                    at, step = row, 1
                    if isinstance(key, int) and isinstance(logged_ns, int):
                        yield row, key, logged_ns
                return
            except sqlite3.DatabaseError:
                at, step = at + step, step * 2

    def _data(self, database: sqlite3.Connection, row: int) -> bytes:
        """A message; empty where it is damaged: it is a frame that cannot be decoded."""
        try:
            (data,) = database.execute("SELECT data FROM messages WHERE rowid = ?", (row,)).fetchone()
        except (sqlite3.DatabaseError, TypeError) as error:
            self._say(f"{self.path} is damaged ({error}): messages in it cannot be read")
            return b""
        return data if isinstance(data, bytes) else b""

    def _say(self, remark: str) -> None:
        if remark not in self.remarks:
            self.remarks.append(remark)


def _connected(path: Path, how: str, *, timeout_s: float = 5) -> sqlite3.Connection:
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?{how}"
    database = sqlite3.connect(address, timeout_s, uri=True, check_same_thread=False)
    database.text_factory = lambda text: text.decode("utf-8", errors="replace")
    database.execute("PRAGMA trusted_schema = OFF")  # a file from elsewhere runs nothing
    database.execute("PRAGMA writable_schema = ON")  # else one that was cut is refused at once, as a whole
    return database


def _is_locked(path: Path) -> bool:
    """Whether somebody writes to it. One in WAL mode is not asked: asking would make files beside it."""
    with path.open("rb") as file:
        if file.read(20)[18:] != b"\1\1":
            return False
    try:
        with closing(_connected(path, "mode=ro", timeout_s=0)) as database:
            database.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        return "locked" in str(error)
    except sqlite3.DatabaseError:
        return False
    return False


def _topics_of(database: sqlite3.Connection, path: Path) -> dict[int, tuple[str, str, str]]:
    """Number -> (name, type, serialisation)."""
    columns = {row[1] for row in database.execute("PRAGMA table_info(topics)")}
    messages = {row[1] for row in database.execute("PRAGMA table_info(messages)")}
    # Tables alone: a view may be a query that never ends.
    tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    has_columns = {"id", "name", "type"} <= columns and {"topic_id", "timestamp", "data"} <= messages
    if not (has_columns and {"topics", "messages"} <= tables):
        raise InvalidInputError(
            f"expected a database with the tables topics and messages, {path} has "
            f"{', '.join(sorted(tables)) or 'none'}"
        )
    form = "serialization_format" if "serialization_format" in columns else "'cdr'"
    rows = database.execute(f"SELECT id, name, type, {form} FROM topics ORDER BY id")
    return {key: (str(name), type_name(str(kind)), str(how)) for key, name, kind, how in rows}
