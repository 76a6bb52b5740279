"""A database that fails: each failure has a name and a cure, and nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import pwd
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from memory_entries import DIMS, SPACE, entries, entry
from postgres_server import END_OTHERS, PASSWORD, Server, free_port

from ovseg_ros.errors import ConfigError, OvsegError, StoreError
from ovseg_ros.memory import Where
from ovseg_ros.memory.store import database, open_store
from ovseg_ros.memory.store.database import parse_url


class TestAddresses:
    """What may be given, and what is said about the rest."""

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ("memory.sqlite", "sqlite:///memory.sqlite"),
            ("/a b/memory", "sqlite:////a b/memory"),
            ("~/m.sqlite", f"sqlite:///{Path.home()}/m.sqlite"),
            ("sqlite:///~/m.sqlite", f"sqlite:///{Path.home()}/m.sqlite"),
            ("postgresql://a@h/n", "postgresql+psycopg://a@h/n"),
            ("postgres://a:b@h:1/n", "postgresql+psycopg://a:***@h:1/n"),
            ("postgresql+psycopg://a@h/n?password=secret&sslmode=require", "postgresql+psycopg://a:***@h/n?sslmode=require"),
        ],
    )  # fmt: skip
    def test_known_forms(self, given: str, wanted: str) -> None:
        assert parse_url(given).render_as_string(hide_password=True) == wanted

    @pytest.mark.parametrize(
        "given",
        [
            "",
            ":memory:",
            "sqlite://",
            "sqlite:///:memory:",
            "mysql://a:secret@h/n",
            "://secret",
            "a b://secret",
        ],
    )
    def test_others_are_refused_without_their_password(self, given: str) -> None:
        with pytest.raises(ConfigError, match="expected a file, sqlite:///FILE or postgresql://") as refused:
            open_store(given)
        assert "secret@" not in str(refused.value)

    def test_a_password_that_spoils_the_address_is_not_said(self) -> None:
        with pytest.raises(OvsegError) as refused:
            open_store("postgresql://robot:s3cret@host:notaport/name")
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("package", ["sqlalchemy", "alembic", "numkong", "psycopg"])
def test_a_missing_package_is_named_with_its_cure(package: str, tmp_path: Path) -> None:
    place = "postgresql://h/n" if package == "psycopg" else str(tmp_path / "m.sqlite")
    code = f"""
import sys
sys.modules[{package!r}] = None
from ovseg_ros.errors import ConfigError
from ovseg_ros.memory.store import open_store
try:
    open_store({place!r})
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert package in done.stdout, done.stderr
    assert "pip install '.[memory]'" in done.stdout


def test_memory_alone_needs_none_of_them() -> None:
    code = "import ovseg_ros.memory.store, sys; print({'sqlalchemy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


class TestFile:
    """SQLite."""

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda path: path.write_text("x" * 5000), "is no SQLite file; give another path"),
            (lambda path: path.mkdir(), "got the folder"),
            (lambda path: path.parent.rmdir(), "the folder of .* is not there; make it"),
        ],
        ids=["text", "folder", "no folder"],
    )
    def test_a_path_that_cannot_be_one(self, tmp_path: Path, make, message: str) -> None:
        path = tmp_path / "folder" / "memory.sqlite"
        path.parent.mkdir()
        make(path)
        with pytest.raises(ConfigError, match=message):
            open_store(path)

    def test_no_rights(self, tmp_path: Path) -> None:
        """In a process that is not root's, whom rights do not stop."""
        for path in (tmp_path, *tmp_path.parents[:3]):
            path.chmod(0o755)
        nobody = pwd.getpwnam("nobody").pw_uid
        code = f"""
import os
from ovseg_ros.errors import ConfigError
from ovseg_ros.memory.store import open_store
path = {str(tmp_path / "memory.sqlite")!r}
open_store(path).close()  # all is imported before this process may not read it any more
os.chmod({str(tmp_path)!r}, 0o555)
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid({nobody})
try:
    open_store(path)
except ConfigError as error:
    print(error)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert "cannot be written by this user; give it rights" in done.stdout, done.stderr

    def test_locked_for_long(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(database, "BUSY_S", 0.2)
        path = tmp_path / "memory.sqlite"
        with open_store(path) as store:
            revision = store.save(entries(2)).revision
            other = sqlite3.connect(path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked; another program holds it for long"):
                store.save([entry(5)])
            assert store.count() == 2, "reading goes on"
            other.execute("ROLLBACK")
            other.close()
            assert store.save([entry(5), entry(0, revision=revision)]).conflicts == ()

    def test_full_disk(self, tmp_path: Path) -> None:
        """A limit of the file's size stands for it; what was acknowledged before stays readable."""
        path = tmp_path / "memory.sqlite"
        fixtures = Path(__file__).resolve().parents[2] / "fixtures"
        code = f"""
import resource, sys
sys.path.insert(0, {str(fixtures)!r})
from memory_entries import entry
from ovseg_ros.errors import StoreError
from ovseg_ros.memory.store import open_store
with open_store({str(path)!r}) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    saved = 0
    try:
        while True:
            store.save([entry(saved, crop=bytes(50_000))])
            saved += 1
    except StoreError as error:
        print(saved, store.count(), error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store.save([entry(saved)])
    print(store.count())
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        first, last = done.stdout.splitlines()
        saved, there = map(int, first.split()[:2])
        assert 3 < saved == there
        assert "free space" in first
        assert int(last) == saved + 1

    def test_deleted_it_is_made_again_and_its_things_stay_forgotten(self, tmp_path: Path, caplog) -> None:
        path = tmp_path / "memory.sqlite"
        with open_store(path) as store:
            before = store.save(entries(3)).revision
            assert len(store.nearest(entry(0).embedding, 9, Where(space=SPACE))) == 3
            for file in tmp_path.iterdir():
                file.unlink()
            saved = store.save([entry(0, revision=before), entry(7)])
            assert "was deleted or replaced" in caplog.text
            assert saved.forgotten == ("thing 0",)
            assert saved.revision > before
            changes = store.changed_since(before)
            assert (changes.everything, [one.key for one in changes.entries]) == (True, ["thing 7"])
            assert [one.key for one, _ in store.nearest(entry(0).embedding, 9, Where(space=SPACE))] == [
                "thing 7"
            ]
        with open_store(path) as store:
            assert store.count() == 1

    def test_replaced_by_a_copy_that_copy_counts(self, tmp_path: Path) -> None:
        path, copy = tmp_path / "memory.sqlite", tmp_path / "copy.sqlite"
        with open_store(copy) as other:
            other.save([entry(9)])
        with open_store(path) as store:
            store.save(entries(3))
            os.replace(copy, path)
            for name in ("memory.sqlite-wal", "memory.sqlite-shm"):
                (tmp_path / name).unlink()
            assert [one.key for one in store.load()] == ["thing 9"]

    def test_its_folder_gone_is_an_error_and_heals(self, tmp_path: Path) -> None:
        folder = tmp_path / "stick"
        folder.mkdir()
        with open_store(folder / "memory.sqlite") as store:
            store.save(entries(1))
            folder.rename(tmp_path / "away")
            with pytest.raises(OvsegError, match=r"folder of .* is not there"):
                store.save([entry(5)])
            (tmp_path / "away").rename(folder)
            store.save([entry(6)])
            assert [one.key for one in store.load()] == ["thing 0", "thing 6"]


class TestServer:
    """PostgreSQL."""

    def test_a_server_that_is_not_there(self) -> None:
        with pytest.raises(StoreError, match="see that the server runs") as refused:
            open_store(f"postgresql://robot:{PASSWORD[:6]}@127.0.0.1:{free_port()}/memory")
        assert PASSWORD[:6] not in str(refused.value)

    def test_a_wrong_password_is_not_said(self, postgres: Server, caplog) -> None:
        address = postgres.url("postgres", password="wr0ng/@word")
        with pytest.raises(StoreError, match="password authentication failed") as refused:
            open_store(address)
        shown = "".join([str(refused.value), repr(refused.value.__cause__), caplog.text])
        assert "wr0ng" not in shown
        assert refused.value.__suppress_context__, "a traceback would show what the driver said"

    def test_a_database_that_is_not_there(self, postgres: Server) -> None:
        with pytest.raises(StoreError, match='"nowhere" does not exist') as refused:
            open_store(postgres.url("nowhere"))
        assert PASSWORD not in str(refused.value)

    def test_stopped_and_started_it_goes_on(self, postgres: Server) -> None:
        with open_store(postgres.database()) as store:
            revision = store.save(entries(3)).revision
            postgres.stop()
            try:
                with pytest.raises(StoreError, match="see that the server runs") as refused:
                    store.save([entry(5)])
                assert PASSWORD not in str(refused.value)
                with pytest.raises(StoreError):
                    store.nearest([1.0] * DIMS, 3, Where(space=SPACE))
            finally:
                postgres.start()
            saved = store.save([entry(5), replace(entry(0), revision=revision)])
            assert (saved.conflicts, saved.forgotten) == ((), ())
            assert len(store.nearest([1.0] * DIMS, 9, Where(space=SPACE))) == 4

    def test_connections_that_the_server_ends_are_made_again(self, postgres: Server) -> None:
        with open_store(postgres.database()) as store:
            store.save(entries(1))
            with postgres._connect() as connection:
                connection.execute(END_OTHERS)
            assert store.count() == 1
