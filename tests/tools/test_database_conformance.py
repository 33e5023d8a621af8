"""What every engine promises, held against each: SQLite, PostgreSQL, MariaDB."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from tests.support import mariadb
from tests.support.at_database import INSERT, databases, execute, failure, query, query_failure
from tests.support.execute import a_context

from surefoot_tools.database.describe_database import DescribeArguments, DescribeDatabase
from surefoot_tools.database.engine import Column, ForeignKey, Index
from surefoot_tools.database.execute_sql import ExecuteArguments, ExecuteResult, ExecuteSql
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.tool import Happened, NotBegun

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NAMES = "select name from t order by name"


def ask_sqlite(url: str, *statements: str) -> list[Any]:
    """Run statements past the tools; the rows of the last."""
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    try:
        return [connection.execute(text).fetchall() for text in statements][-1]
    finally:
        connection.close()


def ask_postgres(url: str, *statements: str) -> list[Any]:
    """Run statements past the tools; the rows of the last."""
    from tests.support.at_postgres import ask

    return [ask(url, text) for text in statements][-1]


class Place:
    """A database, and how to look into it past the tools."""

    def __init__(self, url: str, ask: Callable[..., list[Any]]) -> None:
        self.url = url
        self._ask = ask

    def ask(self, *statements: str) -> list[Any]:
        """Run statements past the tools; the rows of the last."""
        return self._ask(self.url, *statements)

    def names(self) -> list[str]:
        """What is in `t`."""
        return [row[0] for row in self.ask(NAMES)]

    @property
    def mark(self) -> str:
        """Where a parameter stands."""
        return "$1" if self.url.startswith("postgres") else "?"

    @property
    def endless(self) -> str:
        """A query that does not end."""
        if self.url.startswith("sqlite"):
            return (
                "with recursive n(i) as (select 1 union all select i + 1 from n)"
                " select count(*) from n"
            )
        return "select pg_sleep(600)" if self.url.startswith("postgres") else "select sleep(600)"


# PostgreSQL takes a second to make each database.
@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow), "mysql"])
def at(request: pytest.FixtureRequest) -> Place:
    """An empty table `t` with a unique `name`."""
    if request.param == "sqlite":
        path: Path = request.getfixturevalue("path")
        return Place(f"sqlite:///{path}", ask_sqlite)
    if request.param == "postgres":
        return Place(request.getfixturevalue("url"), ask_postgres)
    return Place(request.getfixturevalue("mysql_url"), mariadb.ask)


async def test_statements_commit_together_and_tell_what_they_did(at: Place) -> None:
    result = await execute(
        at.url,
        {"sql": f"insert into t(name) values({at.mark})", "parameters": ["a"]},
        {"sql": f"insert into t(name) values({at.mark})", "parameters": ["b'\\\"é"]},
        "update t set name = upper(name)",
        NAMES,
    )
    assert (result.committed, result.atomic) == (True, True)
    assert [each.rows_affected for each in result.results] == [1, 1, 2, 0]
    assert result.results[3].rows[0] == ["A"]
    assert at.names()[0] == "A"
    assert len(at.names()) == 2


async def test_the_same_key_again_gives_the_same_and_runs_nothing(at: Place) -> None:
    first = await execute(at.url, INSERT, NAMES)
    assert await execute(at.url, INSERT, NAMES) == first
    assert at.names() == ["a"]
    error = await failure(at.url, "delete from t")
    assert (error.code, error.origin) == (Code.INVALID_ARGUMENT, Origin.CLIENT)
    assert at.names() == ["a"]


async def test_a_failing_statement_rolls_back_all_and_frees_the_key(at: Place) -> None:
    error = await failure(at.url, INSERT, INSERT)
    assert error.code is Code.FAILED_PRECONDITION
    assert "statement 2 of 2" in error.message
    assert at.names() == []
    assert (await execute(at.url, INSERT)).committed


async def test_a_dry_run_changes_nothing_and_takes_no_key(at: Place) -> None:
    result = await execute(at.url, INSERT, dry_run=True)
    assert (result.committed, result.results[0].rows_affected) == (False, 1)
    assert at.names() == []
    assert (await execute(at.url, INSERT)).committed
    assert at.names() == ["a"]


@pytest.mark.parametrize("text", ["commit", "rollback", "/* x */ begin", "savepoint a"])
async def test_a_statement_cannot_end_the_transaction(at: Place, text: str) -> None:
    error = await failure(at.url, INSERT, text)
    assert error.code is Code.PERMISSION_DENIED
    assert at.names() == []


async def test_the_record_of_what_has_run_is_hidden(at: Place) -> None:
    await execute(at.url, INSERT)
    assert (await failure(at.url, "delete from surefoot_inbox", key="b")).code is (
        Code.PERMISSION_DENIED
    )
    error = await query_failure(at.url, "select * from surefoot_inbox")
    assert error.code is Code.PERMISSION_DENIED
    found = await DescribeDatabase(databases(at.url)).run(DescribeArguments(), {}, a_context())
    assert [table.name for table in found.tables] == ["t"]


@pytest.mark.parametrize("text", [INSERT, "delete from t", "create table u(x int)", "commit"])
async def test_nothing_is_changed_through_a_query(at: Place, text: str) -> None:
    at.ask("insert into t(name) values('kept')")
    error = await query_failure(at.url, text)
    assert error.code is Code.PERMISSION_DENIED
    assert at.names() == ["kept"]


async def test_a_second_statement_in_one_text_is_refused(at: Place) -> None:
    assert (await query_failure(at.url, f"select 1; {INSERT}")).code is Code.INVALID_ARGUMENT
    assert (await failure(at.url, f"{INSERT}; {INSERT}")).code is Code.INVALID_ARGUMENT
    assert at.names() == []


async def test_a_database_that_may_only_be_read_is_not_changed(at: Place) -> None:
    arguments = ExecuteArguments.model_validate({"statements": [{"sql": INSERT}]})
    with pytest.raises(ToolError) as caught:
        await ExecuteSql(databases(at.url, writable=False)).run(arguments, {}, a_context())
    assert caught.value.code is Code.PERMISSION_DENIED
    assert at.names() == []


async def test_recovery_finds_what_was_committed_and_what_was_not(at: Place) -> None:
    tool = ExecuteSql(databases(at.url))
    arguments = ExecuteArguments.model_validate({"statements": [{"sql": INSERT}]})
    evidence = await tool.prepare(arguments, a_context())
    assert await tool.recover(evidence) == NotBegun()
    result = await tool.run(arguments, evidence, a_context())
    assert await tool.recover(evidence) == Happened(result)
    assert await tool.recover({**evidence, "key": "other"}) == NotBegun()


async def test_old_records_are_forgotten_and_new_ones_kept(at: Place) -> None:
    await execute(at.url, INSERT)
    assert await databases(at.url).purge_inboxes(0.0) == {"main": 0}
    assert await databases(at.url).purge_inboxes(4e9) == {"main": 1}


async def test_one_key_at_once_runs_once_and_others_beside_it(at: Place) -> None:
    results: list[ExecuteResult] = []

    async def one(key: str) -> None:
        text = f"insert into t(name) values('{key}')"
        results.append(await execute(at.url, text, context=a_context(key)))

    async with anyio.create_task_group() as group:
        for key in ("same", "same", "b"):
            group.start_soon(one, key)
    assert len(results) == 3
    assert at.names() == ["b", "same"]


async def test_a_query_out_of_time_is_stopped(at: Place) -> None:
    error = await query_failure(at.url, at.endless, timeout=0.2)
    assert error.code is Code.DEADLINE_EXCEEDED


async def test_cancelled_before_commit_is_rolled_back(at: Place) -> None:
    context = a_context()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: execute(at.url, INSERT, at.endless, context=context))
        await anyio.wait_all_tasks_blocked()  # wherever it is then: it rolls back
        group.cancel_scope.cancel()
    assert context.interrupted is not None
    assert (context.interrupted.code, context.interrupted.applied) == (Code.CANCELLED, Applied.NO)
    assert at.names() == []
    assert (await execute(at.url, INSERT)).committed


async def test_more_rows_than_asked_for_are_cut_and_none_still_has_columns(at: Place) -> None:
    at.ask(*(f"insert into t(name) values('{name}')" for name in "abc"))
    result = await query(at.url, NAMES, max_rows=3)
    assert (result.row_count, result.truncated) == (3, False)
    result = await query(at.url, NAMES, max_rows=2)
    assert (result.rows, result.truncated) == ([["a"], ["b"]], True)
    result = await query(at.url, "select name, id as number from t where 1 = 0")
    assert (result.columns, result.rows) == (["name", "number"], [])


async def test_columns_of_one_name_are_told_apart(at: Place) -> None:
    """Guard: `values.unique_names`."""
    result = await query(at.url, "select 1 as a, 2 as a_2, 3 as a, 4 as a, 5 as b")
    assert (result.columns, result.rows) == (["a", "a_2", "a_3", "a_4", "b"], [[1, 2, 3, 4, 5]])


async def test_a_description_shows_tables_columns_keys_and_indexes(at: Place) -> None:
    at.ask(
        "create table a(id int not null primary key, price numeric(5, 2) default 1.5)",
        "create table b(a int not null, constraint k foreign key (a) references a(id))",
        "create index i on b(a)",
        "create view v as select id from a",
    )
    tool = DescribeDatabase(databases(at.url))
    found = await tool.run(DescribeArguments(), {}, a_context())
    assert [(table.name, table.kind) for table in found.tables] == [
        ("a", "table"),
        ("b", "table"),
        ("t", "table"),
        ("v", "view"),
    ]
    a, b = found.tables[:2]
    assert [(each.name, each.nullable, each.primary_key) for each in a.columns] == [
        ("id", False, True),
        ("price", True, False),
    ]
    assert isinstance(a.columns[1], Column)
    assert (a.columns[1].default or "").startswith("1.5")
    assert b.keys == [ForeignKey(["a"], "a", ["id"])]
    assert b.indexes == [Index("i", unique=False, columns=["a"])]
    one = await tool.run(DescribeArguments(table="b"), {}, a_context())
    assert [table.name for table in one.tables] == ["b"]
    with pytest.raises(ToolError) as caught:
        await tool.run(DescribeArguments(table="nope"), {}, a_context())
    assert (caught.value.code, "a, b" in (caught.value.hint or "")) == (Code.NOT_FOUND, True)
