"""`execute_sql`: all or nothing, once under a key, and honest about what became of it."""

from collections.abc import Callable
from pathlib import Path

import anyio
import apsw
import pytest
from tests.support.execute import INSERT, Hook, a_context, a_tool, execute, failure, rows

from surefoot_tools.database.execute_sql import ExecuteArguments, ExecuteResult
from surefoot_tools.database.sqlite_errors import commit_error, tool_error
from surefoot_tools.errors import Applied, Code, Origin, ToolError

pytestmark = pytest.mark.anyio


async def test_statements_commit_together_and_tell_what_they_did(path: Path) -> None:
    result = await execute(
        path,
        {"sql": "insert into t(name) values(?), (?) returning id", "parameters": ["a", "b"]},
        "create table u(a)",
        {"sql": "update t set name = :new where name = 'b'", "parameters": {"new": "c"}},
        "select count(*) as n from t",
    )
    assert result.committed
    assert [entry.rows_affected for entry in result.results] == [2, 0, 1, 0]
    assert result.results[0].columns == ["id"]
    assert result.results[0].rows == [[1], [2]]
    assert result.results[3].rows == [[2]]
    assert rows(path) == [("a",), ("c",)]
    assert "committed" in result.as_text()


async def test_the_evidence_names_the_database_and_the_inbox_row(path: Path) -> None:
    arguments = ExecuteArguments.model_validate({"statements": [{"sql": INSERT}]})
    evidence = await a_tool(path).prepare(arguments, a_context("run:1"))
    place = f"sqlite:{path.resolve()}"
    there = {"database": "main", "key": "run:1", "target": place, "dry_run": False}
    assert evidence == there


async def test_the_same_key_again_runs_nothing_and_gives_the_same_result(path: Path) -> None:
    statements = ("insert into t(name) values(hex(randomblob(8))) returning name", "select 1.5")
    first = await execute(path, *statements)
    assert await execute(path, *statements) == first
    assert len(rows(path)) == 1
    await execute(path, *statements, context=a_context("another"))
    assert len(rows(path)) == 2


async def test_a_key_with_other_statements_is_refused(path: Path) -> None:
    await execute(path, INSERT)
    error = await failure(path, "delete from t")
    assert (error.code, error.origin) == (Code.INVALID_ARGUMENT, Origin.CLIENT)
    assert rows(path) == [("a",)]


async def test_bytes_and_names_count_when_statements_are_compared(path: Path) -> None:
    sql = "insert into t(name) values(hex(:v))"
    first = {"sql": sql, "parameters": {"v": {"base64": "AA=="}}}
    other = {"sql": sql, "parameters": {"v": {"base64": "AQ=="}}}
    assert await execute(path, first) == await execute(path, first)
    assert (await failure(path, other)).origin is Origin.CLIENT


async def test_the_same_key_in_two_tasks_at_once_runs_once(path: Path) -> None:
    results: list[ExecuteResult] = []

    async def one() -> None:
        results.append(await execute(path, "insert into t(name) values(hex(randomblob(8)))"))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(one)
    assert results == [results[0]] * 4
    assert len(rows(path)) == 1


async def test_a_failing_statement_rolls_everything_back_and_is_named(path: Path) -> None:
    error = await failure(path, INSERT, "create table u(a)", INSERT)
    assert (error.code, error.origin) == (Code.FAILED_PRECONDITION, Origin.MODEL)
    assert "statement 3 of 3" in error.message and "UNIQUE constraint failed" in error.message
    assert rows(path, "select name from sqlite_schema where type = 'table'") == [("t",)]
    assert rows(path) == []


async def test_a_failed_call_leaves_its_key_free(path: Path) -> None:
    await failure(path, INSERT, "nonsense")
    assert (await execute(path, INSERT)).committed


async def test_a_deferred_constraint_fails_the_commit_and_rolls_back(
    path: Path, hook: Callable[[Hook], None]
) -> None:
    def enforce(connection: apsw.Connection) -> None:
        connection.pragma("foreign_keys", True)

    hook(enforce)
    error = await failure(
        path,
        "create table c(t references t(id) deferrable initially deferred)",
        "insert into c values(99)",
    )
    assert error.code is Code.FAILED_PRECONDITION
    assert rows(path, "select name from sqlite_schema where name = 'c'") == []


async def test_a_dry_run_shows_and_keeps_nothing_not_even_its_key(path: Path) -> None:
    result = await execute(path, INSERT + " returning name", dry_run=True)
    assert (result.committed, result.results[0].rows) == (False, [["a"]])
    assert rows(path, "select count(*) from sqlite_schema where name = 'surefoot_inbox'") == [(0,)]
    assert rows(path) == []
    assert "nothing was changed" in result.as_text()
    assert (await execute(path, INSERT)).committed


async def test_a_read_only_database_says_how_to_allow_writes(path: Path) -> None:
    arguments = ExecuteArguments.model_validate({"statements": [{"sql": INSERT}]})
    with pytest.raises(ToolError, match="read-only") as caught:
        await a_tool(path, writable=False).run(arguments, {}, a_context())
    assert caught.value.code is Code.PERMISSION_DENIED
    assert caught.value.hint is not None and "main=URL?mode=rw" in caught.value.hint


async def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    error = await failure(tmp_path / "none.db", INSERT)
    assert (error.code, error.origin) == (Code.NOT_FOUND, Origin.ENVIRONMENT)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are given up at once: the tests are about what happens then."""
    monkeypatch.setattr("surefoot_tools.database.sqlite_connection.BUSY_TIMEOUT", 0.0)


@pytest.mark.usefixtures("impatient")
async def test_a_lock_held_by_another_program_is_unavailable(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("begin immediate")
    try:
        error = await failure(path, INSERT)
    finally:
        connection.close()
    assert error.code is Code.UNAVAILABLE
    assert error.retry_after is not None
    assert (await execute(path, INSERT)).committed


@pytest.mark.usefixtures("impatient")
async def test_a_commit_that_stays_busy_is_rolled_back_and_may_be_retried(path: Path) -> None:
    """A reader of a rollback-journal file holds the COMMIT back, not the statements."""
    reader = apsw.Connection(str(path))
    reader.execute("begin; select count(*) from t").fetchall()
    try:
        error = await failure(path, INSERT)
    finally:
        reader.close()
    assert error.code is Code.UNAVAILABLE
    assert rows(path) == []
    assert (await execute(path, INSERT)).committed


@pytest.mark.usefixtures("impatient")
async def test_a_transaction_takes_the_write_lock_before_it_reads(path: Path) -> None:
    """Guard: BEGIN IMMEDIATE; else a lock could be refused half-way through the statements."""
    connection = apsw.Connection(str(path))
    connection.execute("begin immediate")
    try:
        with pytest.raises(ToolError) as caught:
            await execute(path, "select 1", dry_run=True)
    finally:
        connection.close()
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_full_database_is_told_and_rolled_back(
    path: Path, hook: Callable[[Hook], None]
) -> None:
    def shrink(connection: apsw.Connection) -> None:
        connection.pragma("max_page_count", 8)

    hook(shrink)
    error = await failure(path, INSERT, "create table big as select zeroblob(1000000)")
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert rows(path) == []


@pytest.mark.parametrize("limits", [(0, False), (1, True), (100, True), (101, False)])
async def test_a_call_takes_1_to_100_statements(path: Path, limits: tuple[int, bool]) -> None:
    count, fine = limits
    arguments = {"statements": [{"sql": "select 1"}] * count}
    if fine:
        assert len(ExecuteArguments.model_validate(arguments).statements) == count
    else:
        with pytest.raises(ValueError, match="statements"):
            ExecuteArguments.model_validate(arguments)


@pytest.mark.parametrize("sql", ["", ";", "select 1; select 2", "nonsense", "select * from u"])
async def test_sql_that_is_wrong_is_the_models_to_mend(path: Path, sql: str) -> None:
    error = await failure(path, INSERT, sql)
    assert (error.code, error.origin) == (Code.INVALID_ARGUMENT, Origin.MODEL)
    assert rows(path) == []


async def test_returned_rows_are_cut_but_every_row_is_written(path: Path) -> None:
    sql = (
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1500)"
        " insert into t(name) select 'n' || i from n returning id"
    )
    entry = (await execute(path, sql)).results[0]
    assert (len(entry.rows), entry.truncated, entry.rows_affected) == (1000, True, 1500)
    assert len(rows(path)) == 1500


ERRORS: list[tuple[int, Code, Applied, Applied]] = [
    (apsw.SQLITE_BUSY, Code.UNAVAILABLE, Applied.NO, Applied.NO),
    (apsw.SQLITE_LOCKED, Code.UNAVAILABLE, Applied.NO, Applied.NO),
    (apsw.SQLITE_FULL, Code.RESOURCE_EXHAUSTED, Applied.NO, Applied.NO),
    (apsw.SQLITE_CONSTRAINT, Code.FAILED_PRECONDITION, Applied.NO, Applied.NO),
    (apsw.SQLITE_CORRUPT, Code.DATA_LOSS, Applied.NO, Applied.UNKNOWN),
    (apsw.SQLITE_NOTADB, Code.FAILED_PRECONDITION, Applied.NO, Applied.UNKNOWN),
    (apsw.SQLITE_READONLY, Code.PERMISSION_DENIED, Applied.NO, Applied.UNKNOWN),
    (apsw.SQLITE_IOERR, Code.INTERNAL, Applied.NO, Applied.UNKNOWN),
    (apsw.SQLITE_ERROR, Code.INVALID_ARGUMENT, Applied.NO, Applied.UNKNOWN),
    (apsw.SQLITE_NOMEM, Code.RESOURCE_EXHAUSTED, Applied.NO, Applied.UNKNOWN),
]


@pytest.mark.parametrize(("result", "code", "before", "at_commit"), ERRORS)
async def test_each_result_code_has_its_meaning_before_and_at_commit(
    result: int, code: Code, before: Applied, at_commit: Applied
) -> None:
    error = apsw.exception_for(result)
    assert isinstance(error, apsw.Error)
    assert (tool_error(error).code, tool_error(error).applied) == (code, before)
    assert commit_error(error).applied is at_commit
