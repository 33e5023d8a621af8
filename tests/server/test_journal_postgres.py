"""The journal in PostgreSQL: lost locks, lost COMMITs, what is asked of the server."""

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import psycopg
import pytest
from psycopg import sql
from tests.support.cutter import Cut, Cutter
from tests.support.journals import (
    PRINCIPAL,
    Site,
    database_of,
    new_call,
    receipt_of,
    row_of,
    success,
    verdict,
)
from tests.support.postgres import Postgres

from surefoot_server.journal import postgres as postgres_module
from surefoot_server.journal import postgres_connection
from surefoot_server.journal.opening import open_journal, open_reader, open_snapshot
from surefoot_server.journal.records import Entry, Fenced, JournalUnavailable
from surefoot_server.journal.sql_journal import SqlJournal
from surefoot_server.journal.states import State

pytestmark = pytest.mark.anyio


def end_session(server: Postgres, application: str) -> None:
    """End the sessions of this name, and wait until they are gone."""
    ended = server.admin(
        sql.SQL(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE application_name = {}"
        ).format(sql.Literal(application))
    )
    assert ended == [(True,)]


def take_the_lock_from(server: Postgres, journal: SqlJournal) -> None:
    """End the connection that holds the lock of a server that lives on."""
    end_session(server, f"surefoot owner {journal.instance}")


async def seen(journal: SqlJournal, key: str) -> Entry:
    found = await journal.find(PRINCIPAL, key)
    assert found is not None
    return found


async def test_a_server_that_lost_its_lock_cannot_finish_what_it_began(
    postgres: Postgres, postgres_site: Site
) -> None:
    """Guard: `PostgresJournal._renew`; without it nobody else knows whose the call is."""
    journal, other = postgres_site.open(), postgres_site.open()
    call = new_call("key")
    await journal.begin(call, receipt_of(call), durable=True)
    before = journal.owner
    take_the_lock_from(postgres, journal)
    assert not await other.alive(before)
    with pytest.raises(Fenced):
        await journal.finish(success(call), durable=True)
    found = await seen(other, "key")
    assert (found.state, found.owner) == (State.RUNNING, before)
    assert (await verdict(journal)).problems == []


async def test_after_a_lost_lock_a_server_goes_on_under_its_next_epoch(
    postgres: Postgres, postgres_site: Site
) -> None:
    """Guard: `PostgresOwner.take_epoch`."""
    journal, other = postgres_site.open(), postgres_site.open()
    assert journal.owner == f"{journal.instance}/1"
    take_the_lock_from(postgres, journal)
    assert not await other.alive(journal.instance)
    call = new_call("key")
    assert await journal.begin(call, receipt_of(call), durable=True) is None
    assert (await seen(other, "key")).owner == journal.owner == f"{journal.instance}/2"
    assert await other.alive(journal.owner)
    assert await other.alive(journal.instance)
    assert not await other.alive(f"{journal.instance}/1")
    assert await other.orphans() == []
    await journal.finish(success(call), durable=True)
    assert (await row_of(other, "instance", instance=journal.instance))["epoch"] == 2
    assert [row["kind"] for row in await other.query("all_events", {})].count("epoch") == 1
    assert (await verdict(other)).problems == []


async def test_calls_of_a_lost_epoch_are_orphans_to_their_own_server_too_and_one_takes_them(
    postgres: Postgres, postgres_site: Site
) -> None:
    journal, other = postgres_site.open(), postgres_site.open()
    call = new_call("key")
    await journal.begin(call, receipt_of(call), durable=True)
    take_the_lock_from(postgres, journal)
    (orphan,) = await other.orphans()
    await journal.record(receipt_of(call))  # whatever is written next, it notices
    assert await journal.orphans() == [orphan]
    won = [await each.take_over(orphan.standing) for each in (journal, other)]
    assert won == [True, False]
    assert (await seen(other, "key")).owner == journal.owner == f"{journal.instance}/2"
    await journal.finish(success(call), durable=True)
    assert (await seen(other, "key")).state is State.SUCCEEDED
    assert (await verdict(other)).problems == []


async def test_a_call_that_another_server_took_over_is_that_servers(
    postgres: Postgres, postgres_site: Site
) -> None:
    journal, other = postgres_site.open(), postgres_site.open()
    call = new_call("key")
    await journal.begin(call, receipt_of(call), durable=True)
    take_the_lock_from(postgres, journal)
    assert await other.take_over((await seen(other, "key")).standing)
    with pytest.raises(Fenced):
        await journal.finish(success(call), durable=True)
    standing = (await seen(journal, "key")).standing
    assert standing.owner == other.owner
    await other.finish(success(call), durable=True)
    assert (await seen(journal, "key")).state is State.SUCCEEDED


async def test_a_connection_that_was_lost_between_groups_is_made_anew_and_nothing_fails(
    postgres: Postgres, postgres_site: Site
) -> None:
    """Guard: `PostgresDatabase.begin`, `Reading.run`."""
    journal = postgres_site.open()
    end_session(postgres, f"surefoot journal {journal.instance}")
    end_session(postgres, f"surefoot reader {journal.instance}")
    call = new_call("key")
    await journal.begin(call, receipt_of(call), durable=True)
    assert (await seen(journal, "key")).owner == f"{journal.instance}/1"
    assert (await verdict(journal)).problems == []


@asynccontextmanager
async def behind_a_cutter(
    postgres: Postgres, state: Path
) -> AsyncGenerator[tuple[SqlJournal, Cutter]]:
    """A journal whose connections go through a proxy of this event loop."""
    async with Cutter(postgres.port).open() as cutter:
        url = cutter.url(postgres.fresh_database())
        opening = partial(open_journal, url, state=state, version="test")
        journal = await anyio.to_thread.run_sync(opening)
        try:
            yield journal, cutter
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(journal.close)
    await anyio.wait_all_tasks_blocked()  # until the loop has closed what was cut


@contextmanager
def silent() -> Generator[int]:
    """A port where nobody accepts, and nobody refuses either."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


async def test_a_commit_whose_answer_was_lost_is_found_and_its_value_given(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Guard: `PostgresDatabase._has_committed`."""
    async with behind_a_cutter(postgres, tmp_path) as (journal, cutter):
        call = new_call("key")
        cutter.next = Cut.AFTER
        assert await journal.begin(call, receipt_of(call), durable=True) is None
        assert cutter.cuts == [Cut.AFTER]
        cutter.next = Cut.AFTER
        await journal.finish(success(call), durable=True)
        assert (await seen(journal, "key")).state is State.SUCCEEDED
        assert (await verdict(journal)).problems == []


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.LATE])
async def test_a_commit_that_did_not_arrive_begins_nothing_then_or_later(
    postgres: Postgres, tmp_path: Path, cut: Cut
) -> None:
    """Guard: `end_sessions`, which ends a session whose COMMIT may still be on its way."""
    async with behind_a_cutter(postgres, tmp_path) as (journal, cutter):
        call = new_call("key")
        cutter.next = cut
        with pytest.raises(JournalUnavailable, match="cannot be written"):
            await journal.begin(call, receipt_of(call), durable=True)
        assert cutter.cuts == [cut]
        assert await journal.find(PRINCIPAL, "key") is None
        assert await journal.begin(call, receipt_of(call), durable=True) is None
        assert (await verdict(journal)).problems == []


async def test_an_outcome_whose_commit_did_not_arrive_is_written_once_more(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Guard: `PostgresDatabase.make_room`."""
    async with behind_a_cutter(postgres, tmp_path) as (journal, cutter):
        call = new_call("key")
        await journal.begin(call, receipt_of(call), durable=True)
        cutter.next = Cut.BEFORE
        await journal.finish(success(call), durable=True)
        assert (await seen(journal, "key")).state is State.SUCCEEDED
        assert (await verdict(journal)).problems == []


async def test_a_commit_that_nobody_can_ask_after_is_told_so_and_found_later(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Chain.reset` in `PostgresDatabase.begin`; without it the chain would break."""
    monkeypatch.setattr(postgres_module, "SETTLE_SECONDS", 0.3)
    monkeypatch.setattr(postgres_connection, "CONNECT_SECONDS", 1)
    async with behind_a_cutter(postgres, tmp_path) as (journal, cutter):
        call = new_call("key")
        cutter.next = Cut.AFTER
        with silent() as port:
            vars(cutter)["_upstream"] = port  # what is connected stays so
            with pytest.raises(JournalUnavailable, match="lost during COMMIT"):
                await journal.begin(call, receipt_of(call), durable=True)
            with pytest.raises(JournalUnavailable):
                await journal.begin(call, receipt_of(call), durable=True)
        vars(cutter)["_upstream"] = postgres.port
        found = await journal.begin(new_call("key"), receipt_of(call), durable=True)
        assert found is not None
        assert found.call_id == call.call_id
        await journal.finish(success(call), durable=True)
        assert (await verdict(journal)).problems == []


async def test_reading_does_not_hold_up_the_event_loop(
    postgres: Postgres, postgres_site: Site
) -> None:
    """Guard: `Reading.in_thread`; on the loop, the lock below would only be let go too late."""
    journal = postgres_site.open()
    name = database_of(postgres_site)
    url = postgres.url_of("postgres", postgres.password, name)
    found: list[Entry | None] = []

    async def look() -> None:
        found.append(await journal.look("no such call"))

    with psycopg.connect(url) as locked:
        locked.execute("LOCK TABLE surefoot.call IN ACCESS EXCLUSIVE MODE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
            while not locked.execute(waits).fetchall():  # noqa: ASYNC110 - another process' state
                await anyio.sleep(0.01)
            assert found == []
            locked.rollback()
    assert found == [None]


async def test_what_the_database_has_as_its_default_is_not_relied_on(
    postgres: Postgres, postgres_site: Site
) -> None:
    """Guard: what `PostgresDatabase` begins a transaction with: a flush, and no old snapshot."""
    postgres_site.open()
    name = database_of(postgres_site)
    role = sql.Identifier(name)
    for statement in (
        sql.SQL("ALTER ROLE {} SET synchronous_commit = off").format(role),
        sql.SQL("ALTER ROLE {} SET default_transaction_isolation = serializable").format(role),
        sql.SQL("CREATE TABLE public.seen (kind text, flushed text, isolation text)"),
        sql.SQL("GRANT INSERT ON public.seen TO {}").format(role),
        sql.SQL(
            "CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO"
            " public.seen VALUES (NEW.kind, current_setting('synchronous_commit'),"
            " current_setting('transaction_isolation'));"
            " RETURN NEW; END$$"
        ),
        sql.SQL(
            "CREATE TRIGGER look BEFORE INSERT ON surefoot.event"
            " FOR EACH ROW EXECUTE FUNCTION public.look()"
        ),
    ):
        postgres.admin(statement, name)
    journal = postgres_site.open()
    call, lazy = new_call("key"), new_call("lazy")
    await journal.begin(call, receipt_of(call), durable=True)
    await journal.finish(success(call), durable=True)
    await journal.begin(lazy, receipt_of(lazy), durable=False)
    found = postgres.admin(sql.SQL("SELECT kind, flushed FROM public.seen"), name)
    assert found == [("start", "on"), ("begin", "on"), ("finish", "on"), ("begin", "off")]
    levels = postgres.admin(sql.SQL("SELECT DISTINCT isolation FROM public.seen"), name)
    assert levels == [("read committed",)]


async def test_a_reader_sees_what_is_committed_and_a_snapshot_one_moment(
    postgres_site: Site,
) -> None:
    place = str(postgres_site.place)
    with pytest.raises(JournalUnavailable, match="there is no journal at postgresql://127"):
        open_reader(place)
    journal = postgres_site.open()
    reader, snapshot = open_reader(place), open_snapshot(place)
    assert reader.secret == journal.secret
    call = new_call("key")
    await journal.begin(call, receipt_of(call), durable=True)
    assert len(reader.rows("all_calls", {})) == len(await reader.query("all_calls", {})) == 1
    assert list(snapshot.rows("all_calls")) == []
    snapshot.renew()
    assert [row["key"] for row in snapshot.rows("all_calls")] == ["key"]
    assert len(list(snapshot.rows("events_of", {"call_id": call.call_id}))) == 1
    reader.close()
    snapshot.close()
