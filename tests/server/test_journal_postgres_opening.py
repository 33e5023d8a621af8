"""A journal in PostgreSQL that cannot be opened, or is of another version."""

import sys
from functools import partial
from pathlib import Path

import pytest
from psycopg import sql
from tests.support.journals import (
    Site,
    begun,
    database_of,
    seen,
    verdict,
)
from tests.support.postgres import SETTINGS, Postgres, a_server

from surefoot_server.journal import postgres_connection
from surefoot_server.journal.opening import open_journal, open_reader, open_snapshot
from surefoot_server.journal.records import JournalUnavailable

pytestmark = pytest.mark.anyio


def test_a_server_that_does_not_flush_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `postgres_connection._check`."""
    monkeypatch.setitem(SETTINGS, "fsync", "off")
    with a_server() as server, pytest.raises(JournalUnavailable, match="fsync = on"):
        open_journal(server.fresh_database(), state=tmp_path, version="test")


def test_a_server_that_is_too_old_is_refused(
    postgres_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "OLDEST", 990000)
    with pytest.raises(JournalUnavailable, match="needs PostgreSQL 99"):
        postgres_site.open()
    with pytest.raises(JournalUnavailable, match="needs PostgreSQL 99"):
        open_reader(str(postgres_site.place))


def test_a_journal_of_another_version_is_refused_and_left_alone(
    postgres: Postgres, postgres_site: Site
) -> None:
    postgres_site.open().close()
    postgres_site.opened.clear()
    name = database_of(postgres_site)
    postgres.admin(sql.SQL("UPDATE surefoot.setting SET value = '99' WHERE name = 'schema'"), name)
    with pytest.raises(JournalUnavailable, match="version 99"):
        postgres_site.open()
    with pytest.raises(JournalUnavailable, match="version 99"):
        open_reader(str(postgres_site.place))
    assert postgres.admin(sql.SQL("SELECT count(*) FROM surefoot.instance"), name) == [(1,)]


async def test_a_journal_of_version_2_is_brought_up_by_the_next_server(
    postgres: Postgres, postgres_site: Site
) -> None:
    """Guard: `PostgresDatabase._upgrade`."""
    call = await begun(postgres_site.open())
    postgres_site.close()
    name = database_of(postgres_site)
    postgres.admin(sql.SQL("UPDATE surefoot.setting SET value = '2' WHERE name = 'schema'"), name)
    postgres.admin(sql.SQL("DROP TABLE surefoot.job"), name)
    with pytest.raises(JournalUnavailable, match="start a server on it"):
        open_reader(str(postgres_site.place))
    journal = postgres_site.open()
    assert (await seen(journal, call)).call_id == call.call_id
    assert await journal.running_jobs() == []
    assert (await verdict(journal)).problems == []
    open_reader(str(postgres_site.place)).close()


def test_a_failure_to_open_tells_no_password_and_leaves_nothing_open(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Guard: `postgres_connection.connect`, `journal_address`."""
    for url in (
        postgres.url.replace(postgres.password, "hunter2"),
        "postgresql://me:hunter2@127.0.0.1:9/none",
        "postgresql://me:hunter2@localhost/none?sslmode=hunter2",
        "postgresql://me:hunter2@/",
    ):
        for opening in (partial(open_journal, state=tmp_path, version="test"), open_reader):
            with pytest.raises(JournalUnavailable) as failed:
                opening(url)
            cause = failed.value.__cause__
            assert "hunter2@" not in f"{failed.value} {cause}"
            assert ":hunter2" not in f"{failed.value} {cause}"
    assert list(tmp_path.rglob("*.lock")) == list(tmp_path.rglob("*.spool")) == []


def test_without_its_driver_a_journal_in_postgresql_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `opening.open_journal`."""
    for name in [
        name for name in sys.modules if name.startswith("surefoot_server.journal.postgres")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for opening in (
        partial(open_journal, state=tmp_path, version="test"),
        open_reader,
        open_snapshot,
    ):
        with pytest.raises(JournalUnavailable, match=r"pip install 'surefoot\[postgres\]'"):
            opening("postgresql://me@localhost/db")


def test_another_kind_of_url_is_refused_by_name(tmp_path: Path) -> None:
    for opening in (partial(open_journal, state=tmp_path, version="test"), open_reader):
        with pytest.raises(JournalUnavailable, match="no journal can be kept in mysql"):
            opening("mysql://root:hunter2@localhost/db")
