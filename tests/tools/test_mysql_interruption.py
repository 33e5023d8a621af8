"""Calls on MariaDB cut short: cancelled, out of time, killed, cut, deadlocked, without a server."""

from collections.abc import Generator
from contextlib import contextmanager

import anyio
import pytest
from tests.support.at_mysql import (
    ENDLESS,
    INSERT,
    ask,
    execute,
    names,
    query,
    query_failure,
    until,
    until_one_waits,
)
from tests.support.cutter import Cut, Cutter
from tests.support.execute import a_context
from tests.support.mariadb import Mariadb
from tests.support.mysql_session import a_session

from surefoot_tools.database.execute_sql import ExecuteResult
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.outcome import Error
from surefoot_tools.retry import decide
from surefoot_tools.tool import Effect

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ASLEEP = "select count(*) from information_schema.processlist where state = 'User sleep'"


def again(error: ToolError) -> bool:
    return decide(Error.of(error), Effect.TRANSACTIONAL).again


async def test_cancelled_before_commit_is_rolled_back_and_stopped_in_the_server(
    mysql_url: str,
) -> None:
    """Guard: `mysql_connection._kill_query`; without it the statement keeps its locks."""
    context = a_context()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: execute(mysql_url, INSERT, ENDLESS, context=context))
        await until(mysql_url, ASLEEP, 1)
        group.cancel_scope.cancel()
    assert context.interrupted is not None
    assert (context.interrupted.code, context.interrupted.applied) == (Code.CANCELLED, Applied.NO)
    assert ask(mysql_url, ASLEEP) == [(0,)]
    assert names(mysql_url) == []
    assert (await execute(mysql_url, INSERT)).committed


async def test_a_query_out_of_time_is_stopped_in_the_server(mysql_url: str) -> None:
    error = await query_failure(mysql_url, ENDLESS, timeout=0.3)
    assert error.code is Code.DEADLINE_EXCEEDED
    assert ask(mysql_url, ASLEEP) == [(0,)]


async def test_the_server_itself_has_the_time_limit(mysql_url: str) -> None:
    """Guard: `mysql_connection._configure`: it holds when we are not there any more."""
    text = "select @@max_statement_time, @@lock_wait_timeout, @@wait_timeout"
    row = (await query(mysql_url, text, timeout=20)).rows[0]
    limit, lock, silence = (float(str(value)) for value in row)
    assert 10 < limit <= 20
    assert 10 < lock <= 20
    assert silence == 30


async def test_the_callers_deadline_rolls_back(mysql_url: str) -> None:
    context = a_context()
    context.deadline = anyio.current_time() + 0.3
    with pytest.raises(ToolError) as caught:
        await execute(mysql_url, INSERT, ENDLESS, context=context)
    assert (caught.value.code, caught.value.applied) == (Code.DEADLINE_EXCEEDED, Applied.NO)
    assert names(mysql_url) == []


async def test_a_connection_that_is_killed_before_commit_has_changed_nothing(
    mariadb: Mariadb, mysql_url: str
) -> None:
    failures: list[ToolError] = []

    async def one() -> None:
        with pytest.raises(ToolError) as caught:
            await execute(mysql_url, INSERT, ENDLESS)
        failures.append(caught.value)

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        await until(mysql_url, ASLEEP, 1)
        ((number,),) = ask(
            mysql_url,
            "select id from information_schema.processlist where state = 'User sleep'",
        )
        mariadb.admin(f"kill connection {number}")
    (error,) = failures
    assert (error.code, error.applied) == (Code.UNAVAILABLE, Applied.NO)
    assert again(error)
    assert names(mysql_url) == []
    assert (await execute(mysql_url, INSERT)).committed


@pytest.mark.parametrize("cut", list(Cut))
async def test_a_commit_without_an_answer_is_in_doubt_and_its_key_settles_it(
    mariadb: Mariadb, mysql_url: str, cut: Cut
) -> None:
    """Guards: `mysql_errors.commit_error`, and the claim of `Inbox`."""
    await execute(mysql_url, "insert into t(name) values('first')", context=a_context("first"))
    async with Cutter(mariadb.port, mysql=True).open() as cutter:
        cutter.next = cut
        with pytest.raises(ToolError) as caught:
            await execute(cutter.url(mysql_url), INSERT)
        assert (caught.value.code, caught.value.applied) == (Code.UNKNOWN, Applied.UNKNOWN)
        assert again(caught.value)
        assert names(mysql_url) == (["first", "a"] if cut is Cut.AFTER else ["first"])
        assert (await execute(cutter.url(mysql_url), INSERT)).committed
    assert names(mysql_url) == ["first", "a"]
    assert cutter.cuts == [cut]


async def test_many_cut_commits_end_in_one_effect_each(mariadb: Mariadb, mysql_url: str) -> None:
    """Guard: the claim of `Inbox`; a plain retry doubles what was cut after its COMMIT."""
    async with Cutter(mariadb.port, mysql=True).open() as cutter:
        for number in range(60):
            cutter.next = list(Cut)[number % 3] if number else None
            text = "insert into t(name) values(uuid())"
            for _ in range(3):
                try:
                    await execute(cutter.url(mysql_url), text, context=a_context(f"k{number}"))
                except ToolError as error:
                    assert error.applied is Applied.UNKNOWN
                    continue
                break
    assert len(names(mysql_url)) == 60
    assert len(cutter.cuts) == 59


@pytest.mark.parametrize("ask_first", [True, False])
async def test_a_deadlock_is_aborted_and_the_loser_runs_again(
    mariadb: Mariadb, mysql_url: str, ask_first: bool
) -> None:
    """Guard: the row 1213 of `mysql_errors.MEANING`."""
    ask(mysql_url, "insert into t(name) values('one'), ('two')")
    failures: list[ToolError] = []
    texts = [
        "update t set name = concat(name, '!') where id = 1",
        "update t set name = concat(name, '!') where id = 2",
    ]

    async def one() -> None:
        try:
            await execute(mysql_url, *texts)
        except ToolError as error:
            failures.append(error)

    async with a_session(mysql_url) as other, anyio.create_task_group() as group:
        await other.run("start transaction", "update t set name = 'held' where id = 2")
        group.start_soon(one)
        await until_one_waits(mariadb)
        if ask_first:  # the other one is heavier, so that ours is chosen
            await other.run(*(f"insert into t(name) values('x{n}')" for n in range(9)))
            await other.run("update t set name = 'gone' where id = 1", "rollback")
        else:
            await other.run("rollback")
    if not ask_first:
        assert failures == []
        assert names(mysql_url) == ["one!", "two!"]
        return
    (error,) = failures
    assert (error.code, error.applied, again(error)) == (Code.ABORTED, Applied.NO, True)
    assert "1213" in error.message
    assert (await execute(mysql_url, *texts)).committed
    assert names(mysql_url) == ["one!", "two!"]


async def test_a_lock_that_is_held_too_long_is_aborted_whole_and_may_run_again(
    mariadb: Mariadb, mysql_url: str
) -> None:
    """Guard: the row 1205. The server alone would keep the first statement."""
    ask(mysql_url, "insert into t(name) values('one')")
    mariadb.admin("set global innodb_lock_wait_timeout = 1")
    try:
        async with a_session(mysql_url) as other:
            await other.run("start transaction", "update t set name = 'held' where id = 1")
            with pytest.raises(ToolError) as caught:
                await execute(mysql_url, INSERT, "update t set name = 'late' where id = 1")
            await other.run("rollback")
    finally:
        mariadb.admin("set global innodb_lock_wait_timeout = 50")
    error = caught.value
    assert (error.code, error.applied, again(error)) == (Code.ABORTED, Applied.NO, True)
    assert names(mysql_url) == ["one"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_the_same_key_waits_for_a_transaction_in_flight(
    mariadb: Mariadb, mysql_url: str, end: str
) -> None:
    """Guard: `Inbox.claim`: the key's index entry is locked until its transaction ends."""
    await execute(mysql_url, INSERT, context=a_context("first"))
    results: list[ExecuteResult] = []

    async def one() -> None:
        text = "insert into t(name) values('b')"
        results.append(await execute(mysql_url, text, context=a_context("k")))

    async with a_session(mysql_url) as other, anyio.create_task_group() as group:
        fingerprint = "select fingerprint from surefoot_inbox limit 0"
        assert await other.run(fingerprint) == []
        await other.run(
            "start transaction",
            "insert into surefoot_inbox(`key`, fingerprint, result)"
            " select 'k', sha2('[[\"insert into t(name) values(''b'')\", []]]', 256), '[]'",
        )
        group.start_soon(one)
        await until_one_waits(mariadb)
        assert results == []
        await other.run(end)
    assert [len(result.results) for result in results] == [0 if end == "commit" else 1]
    assert names(mysql_url) == (["a"] if end == "commit" else ["a", "b"])


@contextmanager
def stopped(mariadb: Mariadb, *, crashed: bool) -> Generator[None]:
    """The server is away."""
    if crashed:
        mariadb.kill()
    else:
        mariadb.stop()
    try:
        yield
    finally:
        mariadb.start()


@pytest.mark.parametrize("crashed", [True, False])
async def test_a_server_that_is_away_is_unavailable_and_what_it_committed_is_there(
    mariadb: Mariadb, mysql_url: str, crashed: bool
) -> None:
    first = await execute(mysql_url, INSERT, context=a_context("first"))
    with stopped(mariadb, crashed=crashed):
        with pytest.raises(ToolError) as caught:
            await execute(mysql_url, "insert into t(name) values('b')")
        password = mysql_url.split(":")[2].split("@")[0]
        assert password not in caught.value.message
    assert (caught.value.code, caught.value.applied) == (Code.UNAVAILABLE, Applied.NO)
    assert again(caught.value)
    assert await execute(mysql_url, INSERT, context=a_context("first")) == first
    assert (await execute(mysql_url, "insert into t(name) values('b')")).committed
    assert names(mysql_url) == ["a", "b"]


async def test_a_server_that_dies_within_a_transaction_has_changed_nothing(
    mariadb: Mariadb, mysql_url: str
) -> None:
    failures: list[ToolError] = []

    async def one() -> None:
        with pytest.raises(ToolError) as caught:
            await execute(mysql_url, INSERT, ENDLESS)
        failures.append(caught.value)

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        await until(mysql_url, ASLEEP, 1)
        with stopped(mariadb, crashed=True):
            pass
    assert (failures[0].code, failures[0].applied) == (Code.UNAVAILABLE, Applied.NO)
    assert names(mysql_url) == []
    assert (await execute(mysql_url, INSERT)).committed


async def test_a_wrong_password_is_final_and_is_shown_nowhere(mysql_url: str) -> None:
    """Guard: `mysql_errors.connect_error`."""
    user = mysql_url.split("//")[1].split(":")[0]
    wrong = f"mysql://{user}:hunter2-secret@{mysql_url.partition('@')[2]}"
    error = await query_failure(wrong, "select 1")
    assert error.code is Code.UNAUTHENTICATED
    assert not decide(Error.of(error), Effect.SAFE).again
    shown = f"{error.message} {error.hint} {error.__cause__!r} {error.__context__!r}"
    assert "hunter2" not in shown
    error = await query_failure(mysql_url.rpartition("/")[0] + "/nowhere", "select 1")
    assert (error.code, again(error)) == (Code.UNAUTHENTICATED, False)
