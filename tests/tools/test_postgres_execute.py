"""`execute_sql` on PostgreSQL, called at its own seam."""

import anyio
import psycopg
import pytest
from psycopg import sql
from tests.support.at_postgres import (
    INSERT,
    ask,
    databases,
    execute,
    failure,
    names,
    until_one_waits,
)
from tests.support.execute import a_context
from tests.support.postgres import Postgres

from surefoot_tools.database.execute_sql import ExecuteArguments, ExecuteResult, ExecuteSql
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.outcome import Error
from surefoot_tools.retry import decide
from surefoot_tools.tool import Effect, Happened, NotBegun

pytestmark = pytest.mark.anyio


async def test_statements_commit_together_and_tell_what_they_did(url: str) -> None:
    result = await execute(
        url,
        {"sql": "insert into t(name) values($1), ($2) returning name", "parameters": ["a", "b"]},
        "update t set name = upper(name)",
        "create table u(x int)",
    )
    assert result.committed
    first, second, third = result.results
    assert (first.columns, first.rows, first.rows_affected) == (["name"], [["a"], ["b"]], 2)
    assert (second.rows_affected, third.rows_affected) == (2, 0)
    assert names(url) == ["A", "B"]


async def test_the_same_key_again_gives_the_same_and_runs_nothing(url: str) -> None:
    """Guard: `postgres_inbox.claim`."""
    text = "insert into t(name) values(gen_random_uuid()) returning name"
    first = await execute(url, text)
    assert await execute(url, text) == first
    assert len(names(url)) == 1
    assert await execute(url, text, context=a_context("other")) != first
    assert len(names(url)) == 2


async def test_a_key_of_other_statements_is_refused(url: str) -> None:
    """Guard: `inbox.same_call`."""
    await execute(url, INSERT)
    error = await failure(url, "delete from t")
    assert (error.code, error.origin) == (Code.INVALID_ARGUMENT, Origin.CLIENT)
    assert names(url) == ["a"]


async def test_a_failing_statement_rolls_back_all_and_frees_the_key(url: str) -> None:
    error = await failure(url, INSERT, INSERT)
    assert error.code is Code.FAILED_PRECONDITION
    assert "statement 2 of 2" in error.message
    assert "23505" in error.message
    assert names(url) == []
    assert (await execute(url, INSERT)).committed


async def test_a_deferred_constraint_that_fails_at_commit_has_changed_nothing(url: str) -> None:
    """Guard: `commit_error`: the server has answered, so nothing is in doubt."""
    ask(url, "create table d(x int, constraint one unique (x) deferrable initially deferred)")
    error = await failure(url, "insert into d values (1), (1)")
    assert error.code is Code.FAILED_PRECONDITION
    assert ask(url, "select count(*) from d") == [(0,)]


async def test_a_dry_run_changes_nothing_and_takes_no_key(url: str) -> None:
    result = await execute(url, INSERT, dry_run=True)
    assert not result.committed
    assert result.results[0].rows_affected == 1
    assert names(url) == []
    assert ask(url, "select to_regclass('surefoot_inbox')") == [(None,)]


@pytest.mark.parametrize(
    "text",
    [
        "commit",
        "  -- a comment\n/* a /* nested */ one */ ;COMMIT",
        "rollback",
        "begin",
        "start transaction",
        "end",
        "abort",
        "savepoint a",
        "release a",
        "prepare transaction 'x'",
        "vacuum t",
        "copy t from stdin",
        "copy t to stdout",
        "create database other",
        "drop database other",
        "create index concurrently i on t(name)",
        "create unique index concurrently i on t(name)",
        "alter system set work_mem = '1MB'",
        "reindex table concurrently t",
        "insert into t(name) select key from surefoot_inbox",
    ],
)
async def test_what_would_break_the_transaction_is_refused(url: str, text: str) -> None:
    """Guard: `postgres_guard.check`."""
    error = await failure(url, INSERT, text)
    assert error.code is Code.PERMISSION_DENIED
    assert "refused" in error.message
    assert names(url) == []


async def test_what_only_postgresql_knows_to_need_no_transaction_is_refused_too(url: str) -> None:
    error = await failure(url, INSERT, "do $$ begin commit; end $$")
    assert error.code is Code.PERMISSION_DENIED
    error = await failure(url, INSERT, "create subscription s connection '' publication p")
    assert error.code is Code.PERMISSION_DENIED
    assert names(url) == []


async def test_a_second_statement_in_one_text_is_refused(url: str) -> None:
    """Guard: the extended protocol in `run_statement`."""
    error = await failure(url, f"{INSERT}; commit")
    assert error.code is Code.INVALID_ARGUMENT
    assert names(url) == []


async def test_a_statement_that_redirects_names_does_not_lose_the_record(url: str) -> None:
    """Guard: the schema that `claim` returns."""
    ask(url, "create schema other")
    first = await execute(url, "set search_path = other", "create table x(i int)")
    assert await execute(url, "set search_path = other", "create table x(i int)") == first
    assert ask(url, "select count(*) from other.x") == [(0,)]


async def test_a_record_that_the_statements_removed_rolls_all_back(url: str) -> None:
    """Guard: the count of rows in `store`."""
    await execute(url, INSERT, context=a_context("first"))
    sneaky = "do $$ begin execute 'delete from surefoot' || '_inbox'; end $$"
    error = await failure(url, "insert into t(name) values('b')", sneaky)
    assert error.code is Code.FAILED_PRECONDITION
    assert names(url) == ["a"]


async def test_many_first_calls_at_once_all_commit_and_the_same_key_runs_once(url: str) -> None:
    """Guard: `postgres_inbox._create`, where several make the table at the same time."""
    results: list[ExecuteResult] = []

    async def one(key: str, text: str) -> None:
        results.append(await execute(url, text, context=a_context(key)))

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(one, f"key {number}", f"insert into t(name) values('{number}')")
            group.start_soon(one, "same", "insert into t(name) values('same')")
    assert len(results) == 12
    assert sorted(names(url)) == ["0", "1", "2", "3", "4", "5", "same"]


async def test_a_role_that_may_not_make_the_table_is_told_what_to_grant(
    postgres: Postgres, url: str
) -> None:
    other = postgres.fresh_database()
    role = sql.Identifier(str(ask(other, "select current_user")[0][0]))
    database = url.rpartition("/")[2]
    postgres.admin(sql.SQL("grant insert on t to {}").format(role), database)
    error = await failure(other.rpartition("/")[0] + "/" + database, INSERT)
    assert error.code is Code.FAILED_PRECONDITION
    assert "GRANT" in (error.hint or "")
    assert names(url) == []


async def test_a_database_that_may_only_be_read_is_not_changed(url: str) -> None:
    arguments = ExecuteArguments.model_validate({"statements": [{"sql": INSERT}]})
    with pytest.raises(ToolError) as caught:
        await ExecuteSql(databases(url, writable=False)).run(arguments, {}, a_context())
    assert caught.value.code is Code.PERMISSION_DENIED
    assert names(url) == []


async def test_a_lost_serialization_is_aborted_and_run_again(url: str) -> None:
    """Guard: the row 40001 of `postgres_errors.MEANING`."""
    ask(url, INSERT)
    ask(url, "alter role current_user set default_transaction_isolation = 'serializable'")
    failures: list[ToolError] = []

    async def one() -> None:
        failures.append(await failure(url, "update t set name = 'c'"))

    with psycopg.connect(url) as other:
        other.execute("update t set name = 'b'")
        async with anyio.create_task_group() as group:
            group.start_soon(one)
            await until_one_waits(url)
            other.commit()
    assert failures[0].code is Code.ABORTED
    assert decide(Error.of(failures[0]), Effect.TRANSACTIONAL).again
    assert (await execute(url, "update t set name = 'c'")).committed
    assert names(url) == ["c"]


async def test_recovery_finds_what_was_committed_and_what_was_not(url: str) -> None:
    """Guard: `ExecuteSql.recover`."""
    tool = ExecuteSql(databases(url))
    arguments = ExecuteArguments.model_validate({"statements": [{"sql": INSERT}]})
    evidence = await tool.prepare(arguments, a_context())
    assert evidence["target"] == tool.target(arguments)
    assert await tool.recover(evidence) == NotBegun()
    result = await tool.run(arguments, evidence, a_context())
    assert await tool.recover(evidence) == Happened(result)
    assert await tool.recover({**evidence, "key": "other"}) == NotBegun()
    assert await tool.recover({**evidence, "dry_run": True}) == NotBegun()
    assert tool.reaches(evidence)
    assert not tool.reaches({**evidence, "target": "sqlite:/x"})
    assert not tool.reaches({**evidence, "database": "gone"})
    with pytest.raises(ToolError) as caught:
        await ExecuteSql(databases(url, writable=False)).recover(evidence)
    assert caught.value.applied is Applied.UNKNOWN


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_recovery_waits_for_a_transaction_in_flight(url: str, end: str) -> None:
    """Guard: the claim in `postgres_inbox.look`; a plain SELECT would find nothing at once."""
    tool = ExecuteSql(databases(url))
    arguments = ExecuteArguments.model_validate({"statements": [{"sql": INSERT}]})
    await tool.run(arguments, {}, a_context("first"))
    evidence = await tool.prepare(arguments, a_context())
    found: list[object] = []

    async def look() -> None:
        found.append(await tool.recover(evidence))

    with psycopg.connect(url) as other:
        other.execute("insert into surefoot_inbox values ('key', 'f', '[]')")
        async with anyio.create_task_group() as group:
            group.start_soon(look)
            await until_one_waits(url)
            assert found == []
            other.execute(end.encode())
    happened = Happened(ExecuteResult(results=[], committed=True))
    assert found == [happened if end == "commit" else NotBegun()]


async def test_purging_forgets_old_keys_alone(url: str) -> None:
    """Guard: `postgres_inbox.purge`."""
    them = databases(url)
    assert await them.purge_inboxes(2e9) == {"main": 0}
    await execute(url, INSERT)
    (made,) = ask(url, "select extract(epoch from at)::float from surefoot_inbox")
    assert await them.purge_inboxes(made[0] - 1) == {"main": 0}
    assert await them.purge_inboxes(made[0] + 1) == {"main": 1}
    assert await databases(url, writable=False).purge_inboxes(2e9) == {"main": 0}


async def test_a_statement_that_waits_for_a_lock_is_stopped_and_may_run_again(url: str) -> None:
    ask(url, INSERT)
    ask(url, "alter role current_user set lock_timeout = '50ms'")
    with psycopg.connect(url) as other:
        other.execute("update t set name = 'b'")
        error = await failure(url, "update t set name = 'c'")
        other.rollback()
    assert error.code is Code.ABORTED
    assert decide(Error.of(error), Effect.TRANSACTIONAL).again
    assert (await execute(url, "update t set name = 'c'")).committed
