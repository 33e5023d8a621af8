"""What `execute_sql` finds of a call on SQLite that nobody saw end, and how its records go."""

import sys
from datetime import datetime
from pathlib import Path

import anyio
import apsw
import pytest
from tests.support.execute import INSERT, a_context, a_tool, execute, rows

from surefoot_tools.database.databases import Database, Databases
from surefoot_tools.database.describe_database import DescribeArguments, DescribeDatabase
from surefoot_tools.database.execute_sql import ExecuteArguments, ExecuteResult
from surefoot_tools.database.query_database import QueryArguments, QueryDatabase
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.tool import Happened, NotBegun

pytestmark = pytest.mark.anyio

ARGUMENTS = ExecuteArguments.model_validate({"statements": [{"sql": INSERT}]})


async def test_recovery_finds_what_was_committed_and_what_was_not(path: Path) -> None:
    """Guard: `ExecuteSql.recover`."""
    tool = a_tool(path)
    evidence = await tool.prepare(ARGUMENTS, a_context())
    assert evidence["target"] == tool.target(ARGUMENTS) == f"sqlite:{path.resolve()}"
    assert await tool.recover(evidence) == NotBegun()
    result = await tool.run(ARGUMENTS, evidence, a_context())
    assert await tool.recover(evidence) == Happened(result)
    assert await tool.recover({"database": "main", "key": "key"}) == Happened(result)
    assert await tool.recover({**evidence, "key": "other"}) == NotBegun()
    assert await tool.recover({**evidence, "dry_run": True}) == NotBegun()


async def test_what_cannot_be_asked_now_is_not_guessed(path: Path) -> None:
    """Guard: the `except` of `ExecuteSql.recover`, and the place in its evidence."""
    evidence = await a_tool(path).prepare(ARGUMENTS, a_context())
    await execute(path, INSERT)
    assert a_tool(path).reaches(evidence)
    other = path.with_name("other.db")
    other.write_bytes(path.read_bytes())
    assert not a_tool(other).reaches(evidence)
    read_only = a_tool(path, writable=False)
    path.unlink()
    for tool in (read_only, a_tool(path)):
        with pytest.raises(ToolError) as caught:
            await tool.recover(evidence)
        assert caught.value.applied is Applied.UNKNOWN


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_recovery_waits_for_a_transaction_in_flight(path: Path, end: str) -> None:
    """Guard: BEGIN IMMEDIATE in `SqliteEngine.recall`; a plain look would find nothing at once."""
    await execute(path, INSERT, context=a_context("first"))
    tool = a_tool(path)
    evidence = await tool.prepare(ARGUMENTS, a_context())
    other = apsw.Connection(str(path))
    other.execute("begin immediate")
    other.execute("insert into surefoot_inbox(key, fingerprint, result) values ('key', 'f', '[]')")
    found: list[object] = []

    async def look() -> None:
        found.append(await tool.recover(evidence))

    async with anyio.create_task_group() as group:
        group.start_soon(look)
        for _ in range(20):  # a look that does not wait would be over by then
            await anyio.sleep(0.01)
        assert found == []
        other.execute(end)
    other.close()
    happened = Happened(ExecuteResult(results=[], committed=True))
    assert found == [happened if end == "commit" else NotBegun()]


async def test_purging_forgets_old_keys_alone(path: Path) -> None:
    """Guard: `SqliteEngine.purge_inbox`."""
    databases = Databases([Database("main", f"sqlite:///{path}", writable=True)])
    assert await databases.purge_inboxes(2e9) == {"main": 0}
    await execute(path, INSERT)
    at = datetime.fromisoformat(str(rows(path, "select at from surefoot_inbox")[0][0])).timestamp()
    assert await databases.purge_inboxes(at - 1) == {"main": 0}
    assert await databases.purge_inboxes(at + 1) == {"main": 1}
    read_only = Databases([Database("main", f"sqlite:///{path}")])
    assert await read_only.purge_inboxes(2e9) == {"main": 0}
    path.unlink()
    (error,) = (await databases.purge_inboxes(2e9)).values()
    assert not isinstance(error, int)


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_a_query_after_a_writer_died_in_its_transaction_sees_what_was_committed(
    path: Path, mode: str
) -> None:
    """Guard: `SqliteEngine._read`: who only reads cannot roll back what is left."""
    await execute(path, INSERT)
    dies = (
        "import apsw, os, sys; c = apsw.Connection(sys.argv[1]);"
        f" c.execute('pragma journal_mode = {mode}; pragma cache_size = 1').fetchall();"
        " c.execute('begin immediate');"
        " c.execute('update t set name = name || hex(zeroblob(20000))');"
        " c.cache_flush(); os._exit(9)"
    )
    died = await anyio.run_process([sys.executable, "-c", dies, str(path)], check=False)
    assert died.returncode == 9
    if mode == "delete":
        assert path.with_name("main.db-journal").stat().st_size > 0
        reader = DescribeDatabase(Databases([Database("main", f"sqlite:///{path}")]))
        with pytest.raises(ToolError, match="died within a transaction") as caught:
            await reader.run(DescribeArguments(), {}, a_context())
        assert (caught.value.code, caught.value.retry_after) == (Code.UNAVAILABLE, 1.0)
    query = QueryDatabase(Databases([Database("main", f"sqlite:///{path}", writable=True)]))
    found = await query.run(QueryArguments(sql="select name from t"), {}, a_context())
    assert found.rows == [["a"]]
    assert rows(path) == [("a",)]
