"""Calls on PostgreSQL cut short: cancelled, out of time, refused, or without a server."""

from collections.abc import Generator
from contextlib import contextmanager

import anyio
import psycopg
import pytest
from tests.support.at_postgres import (
    ENDLESS,
    INSERT,
    ask,
    execute,
    names,
    query,
    query_failure,
    until_one_waits,
)
from tests.support.cutter import Cut, Cutter
from tests.support.execute import a_context
from tests.support.postgres import Postgres

from surefoot_tools.database.execute_sql import ExecuteResult
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.outcome import Error
from surefoot_tools.retry import decide
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

ACTIVE = "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep%'"


async def until(url: str, text: str, wanted: int) -> None:
    """Return once a query counts what is wanted; its own row is one of them."""
    for _ in range(3000):
        if ask(url, text) == [(wanted,)]:
            return
        await anyio.sleep(0.01)
    raise AssertionError(f"not {wanted}: {ask(url, text)}")


async def test_cancelled_before_commit_is_rolled_back_and_stopped_in_the_server(url: str) -> None:
    """Guard: `Stop.ask`; without it the statement runs on in the server, and keeps its locks."""
    context = a_context()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: execute(url, INSERT, ENDLESS, context=context))
        await until(url, ACTIVE, 2)
        group.cancel_scope.cancel()
    assert context.interrupted is not None
    assert (context.interrupted.code, context.interrupted.applied) == (Code.CANCELLED, Applied.NO)
    assert ask(url, ACTIVE) == [(1,)]
    assert names(url) == []
    assert (await execute(url, INSERT)).committed


async def test_cancelled_during_commit_finishes_and_gives_the_result(url: str) -> None:
    """Guard: `Stop.begin_final_step`. The COMMIT waits in a deferred trigger for a lock."""
    ask(url, "create table gate(x int)")
    ask(
        url,
        "create function pass() returns trigger language plpgsql as"
        " $$ begin lock table gate in share mode; return null; end $$",
    )
    ask(
        url,
        "create constraint trigger g after insert on t deferrable initially deferred"
        " for each row execute function pass()",
    )
    context = a_context()
    results: list[ExecuteResult] = []

    async def one() -> None:
        results.append(await execute(url, INSERT, context=context))

    with psycopg.connect(url) as other:
        other.execute("lock table gate in exclusive mode")
        async with anyio.create_task_group() as group:
            group.start_soon(one)
            await until_one_waits(url)
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                for _ in range(20):  # a cancel request would be there by then
                    await anyio.sleep(0.01)
                await until_one_waits(url)
            other.rollback()
    assert [result.committed for result in results] == [True]
    assert context.interrupted is None
    assert names(url) == ["a"]


async def test_a_query_out_of_time_is_stopped_in_the_server(url: str) -> None:
    error = await query_failure(url, ENDLESS, timeout=0.2)
    assert error.code is Code.DEADLINE_EXCEEDED
    assert ask(url, ACTIVE) == [(1,)]


async def test_the_server_itself_has_the_time_limit(url: str) -> None:
    """Guard: `statement_timeout` in `begin`: it holds when we are not there any more."""
    shown = (await query(url, "show statement_timeout", timeout=20)).rows[0][0]
    assert shown in ("20s", *(f"{ms}ms" for ms in range(15_000, 20_001)))


async def test_the_callers_deadline_rolls_back(url: str) -> None:
    context = a_context()
    context.deadline = anyio.current_time() + 0.3
    with pytest.raises(ToolError) as caught:
        await execute(url, INSERT, ENDLESS, context=context)
    assert (caught.value.code, caught.value.applied) == (Code.DEADLINE_EXCEEDED, Applied.NO)
    assert names(url) == []


async def test_a_backend_that_is_ended_before_commit_has_changed_nothing(url: str) -> None:
    failures: list[ToolError] = []

    async def one() -> None:
        with pytest.raises(ToolError) as caught:
            await execute(url, INSERT, ENDLESS)
        failures.append(caught.value)

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        await until(url, ACTIVE, 2)
        ask(
            url,
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where query = 'select pg_sleep(600)'",
        )
    (error,) = failures
    assert (error.code, error.applied) == (Code.UNAVAILABLE, Applied.NO)
    assert decide(Error.of(error), Effect.TRANSACTIONAL).again
    assert names(url) == []


@pytest.mark.parametrize("cut", list(Cut))
async def test_a_commit_without_an_answer_is_in_doubt_and_its_key_settles_it(
    postgres: Postgres, url: str, cut: Cut
) -> None:
    """Guard: `commit_error`."""
    ask(
        url,
        "create table surefoot_inbox(key text primary key, fingerprint text, result text,"
        " at timestamptz default now())",
    )
    async with Cutter(postgres.port).open() as cutter:
        cutter.next = cut
        with pytest.raises(ToolError) as caught:
            await execute(cutter.url(url), INSERT)
        assert (caught.value.code, caught.value.applied) == (Code.UNKNOWN, Applied.UNKNOWN)
        assert decide(Error.of(caught.value), Effect.TRANSACTIONAL).again
        assert names(url) == (["a"] if cut is Cut.AFTER else [])
        assert (await execute(cutter.url(url), INSERT)).committed
    assert names(url) == ["a"]
    assert cutter.cuts == [cut]


@contextmanager
def stopped(postgres: Postgres) -> Generator[None]:
    """The server is away."""
    postgres.stop()
    try:
        yield
    finally:
        postgres.start()


@pytest.mark.slow
async def test_a_server_that_is_away_is_unavailable_and_nothing_was_done(
    postgres: Postgres, url: str
) -> None:
    with stopped(postgres):
        with pytest.raises(ToolError) as caught:
            await execute(url, INSERT)
        password = url.split(":")[2].split("@")[0]
        assert password not in caught.value.message
    assert (caught.value.code, caught.value.applied) == (Code.UNAVAILABLE, Applied.NO)
    assert decide(Error.of(caught.value), Effect.TRANSACTIONAL).again
    assert (await execute(url, INSERT)).committed


async def test_a_wrong_password_is_final_and_is_shown_nowhere(url: str) -> None:
    """Guard: `connect_error`."""
    user = url.split("//")[1].split(":")[0]
    wrong = f"postgresql://{user}:hunter2-secret@{url.partition('@')[2]}"
    error = await query_failure(wrong, "select 1")
    assert error.code is Code.UNAUTHENTICATED
    assert not decide(Error.of(error), Effect.SAFE).again
    shown = f"{error.message} {error.hint} {error.__cause__!r} {error.__context__!r}"
    assert "hunter2" not in shown
    error = await query_failure(url.rpartition("/")[0] + "/nowhere", "select 1")
    assert (error.code, decide(Error.of(error), Effect.SAFE).again) == (Code.NOT_FOUND, False)
