"""The store: entries and examples in a database."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from types import TracebackType

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ovseg_ros.errors import InvalidInputError, StoreError
from ovseg_ros.memory.entry import Entry, Example, Where
from ovseg_ros.memory.store import pgvector, reading, writing
from ovseg_ros.memory.store.database import Database, parse_url
from ovseg_ros.memory.store.opening import Changes, Retention, Saved
from ovseg_ros.memory.store.reading import conditions
from ovseg_ros.memory.store.rows import check_text, example_of, example_row
from ovseg_ros.memory.store.search import Search
from ovseg_ros.memory.store.tables import EXAMPLES, FORGOTTEN, WORDS
from ovseg_ros.memory.store.writing import next_revision, save

logger = logging.getLogger(__name__)

EVERYTHING = Where()


class Store:
    """What a memory keeps; safe to use from several threads, and by several processes on one database.

    Each method raises StoreError where the database fails; then nothing was changed and the same may be tried
    again. See `open_store` for the arguments.
    """

    def __init__(self, url_or_path: str, *, robot: str, retention: Retention, crops: bool) -> None:
        check_text(robot)
        self.robot, self.retention, self.crops = robot, retention, crops
        self._database = Database(parse_url(url_or_path))
        self._has_pgvector = False
        if not self._database.is_file:
            with self._database.writing() as connection:
                self._has_pgvector = pgvector.prepare(connection)
        self._search = Search(use_pgvector=self._has_pgvector)
        self._searching = threading.Lock()

    @property
    def name(self) -> str:
        """The database for people: its file, or its address without the password."""
        return self._database.name

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends its connections."""
        self._database.close()

    def save(self, entries: Iterable[Entry]) -> Saved:
        """Saves entries in one transaction: when this returns, they are on the disk.

        An entry is saved where the database still holds the revision that it was made of (0: where there is
        none of that key): so no writer undoes what another did in between. Of several with one key the last
        counts. An entry without a crop leaves the stored one as it is.

        Raises:
            InvalidInputError: an entry that no database takes; none was saved.
        """
        newest = {entry.key: entry for entry in entries}
        if not newest:
            with self._database.reading() as connection:
                return Saved(reading.counter(connection).revision)
        with self._database.writing() as connection:
            return save(connection, newest, robot=self.robot, crops=self.crops, vectors=self._has_pgvector)

    def load(self, where: Where = EVERYTHING, *, crops: bool = False) -> list[Entry]:
        """Entries in the order in which they were first saved; `crop` is None unless asked for."""
        with self._database.reading() as connection:
            return reading.load(
                connection, conditions(where, connection.dialect.name), crops=crops and self.crops
            )

    def count(self, where: Where = EVERYTHING) -> int:
        """How many entries are meant."""
        with self._database.reading() as connection:
            return reading.count(connection, conditions(where, connection.dialect.name))

    def words(self) -> set[str]:
        """All that entries were called."""
        with self._database.reading() as connection:
            return set(connection.scalars(sa.select(WORDS.c.word).distinct()))

    def nearest(self, embedding: npt.ArrayLike, k: int, where: Where) -> list[tuple[Entry, float]]:
        """The k entries most like an embedding, each with the largest cosine of its vectors, descending.

        Args:
            embedding: (D,) of any length but 0.
            k: how many at most.
            where: which are meant; its space has to be given.

        Raises:
            InvalidInputError: no space, or no vector of this space.
        """
        vector = np.asarray(embedding, np.float32)
        if not where.space:
            raise InvalidInputError("expected a space: vectors of one space alone can be compared")
        length = float(np.linalg.norm(vector))
        if vector.ndim != 1 or not 0 < length < np.inf:
            raise InvalidInputError(f"expected (D,) finite numbers, not all 0, got shape {vector.shape}")
        if k < 1:
            return []
        with self._searching, self._database.reading() as connection:
            found = self._search.nearest(connection, vector / length, k, where)
            entries = reading.load_ids(connection, [number for number, _ in found])
        return [(entries[number], cosine) for number, cosine in found]

    def changed_since(self, revision: int) -> Changes:
        """What was written and forgotten since; 0 gives everything."""
        with self._database.reading() as connection:
            now = reading.counter(connection)
            if not now.horizon <= revision <= now.revision:
                return Changes(now.revision, tuple(reading.load(connection, [])), (), True)
            entries = reading.load(connection, [reading.newer_than(revision)])
            gone = (
                sa.select(FORGOTTEN.c.key)
                .where(FORGOTTEN.c.revision > revision)
                .order_by(FORGOTTEN.c.revision)
            )
            return Changes(now.revision, tuple(entries), tuple(connection.scalars(gone)), False)

    def forget(self, where: Where | None = None) -> int:
        """Forgets entries and their pictures; returns how many.

        Args:
            where: which; None: everything, examples too, and the file gives its space back.

        Raises:
            StoreError: not forgotten; or forgotten, says the message, and the file still has its size.
        """
        with self._database.writing() as connection:
            if where is None:
                forgotten = writing.forget_everything(connection)
            else:
                meant = conditions(where, connection.dialect.name)
                forgotten = writing.forget(connection, reading.ids(meant))
        self._tidy(shrink=where is None)
        return forgotten

    def forget_crops(self) -> int:
        """Forgets all pictures, those of examples too, and nothing else; returns how many."""
        with self._database.writing() as connection:
            forgotten = writing.forget_crops(connection)
        self._tidy(shrink=True)
        return forgotten

    def prune(self, now: float | None = None) -> int:
        """Forgets what `retention` does not keep: gone things before others, then those unseen for longest.

        Args:
            now: seconds since the epoch on the clock of the images; None: this machine's clock.
        """
        with self._database.writing() as connection:
            forgotten = writing.prune(connection, self.retention, time.time() if now is None else now)
        if forgotten:
            self._tidy()
        return forgotten

    def save_example(self, example: Example) -> None:
        """Keeps an example, durably when this returns.

        Raises:
            InvalidInputError: no name, or one that no database takes.
        """
        row = example_row(example) | {"jpeg": example.crop if self.crops else None}
        with self._database.writing() as connection:
            next_revision(connection)
            connection.execute(sa.insert(EXAMPLES), row)

    def examples(self, name: str | None = None) -> list[Example]:
        """Examples of a name, or all, in the order in which they were shown."""
        wanted = sa.select(EXAMPLES).order_by(EXAMPLES.c.shown, EXAMPLES.c.id)
        if name is not None:
            check_text(name)
            wanted = wanted.where(EXAMPLES.c.name == name)
        with self._database.reading() as connection:
            return [example_of(row) for row in connection.execute(wanted)]

    def forget_name(self, name: str) -> int:
        """Forgets all examples of a name; returns how many there were."""
        check_text(name)
        with self._database.writing() as connection:
            next_revision(connection)
            forgotten = connection.execute(sa.delete(EXAMPLES).where(EXAMPLES.c.name == name)).rowcount
        if forgotten:
            self._tidy()
        return forgotten

    def _tidy(self, *, shrink: bool = False) -> None:
        """SQLite: the log beside the file holds what was forgotten until it is emptied."""
        try:
            with self._database.outside_transactions() as connection:
                writing.tidy(connection, shrink=shrink)
        except StoreError as error:
            if shrink:
                raise StoreError(f"it is forgotten, but its space was not given back: {error}") from None
            logger.warning("what was forgotten is still in the log beside the file: %s", error)
