"""`execute_sql` called at its own seam, on a database with an empty table `t`."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from surefoot_tools.database.databases import Database, Databases
from surefoot_tools.database.execute_sql import ExecuteArguments, ExecuteResult, ExecuteSql
from surefoot_tools.errors import Applied, ToolError
from surefoot_tools.tool import Context

INSERT = "insert into t(name) values('a')"
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
Hook = Callable[[apsw.Connection], None]


def a_tool(path: Path, *, writable: bool = True) -> ExecuteSql:
    """The tool over one database `main`."""
    return ExecuteSql(Databases([Database("main", f"sqlite:///{path}", writable=writable)]))


def a_context(key: str = "key") -> Context:
    """What the executor would lend."""
    return Context(call_id="0" * 32, effect_key=key, deadline=math.inf)


async def execute(
    path: Path, *statements: object, context: Context | None = None, **more: Any
) -> ExecuteResult:
    """Run statements, given as SQL or with parameters."""
    listed = [{"sql": entry} if isinstance(entry, str) else entry for entry in statements]
    arguments = ExecuteArguments.model_validate({"statements": listed, **more})
    tool = a_tool(path)
    lent = context or a_context()
    return await tool.run(arguments, await tool.prepare(arguments, lent), lent)


async def failure(path: Path, *statements: object, key: str = "key") -> ToolError:
    """The error of statements that fail without a trace."""
    with pytest.raises(ToolError) as caught:
        await execute(path, *statements, context=a_context(key))
    assert caught.value.applied is Applied.NO
    return caught.value


def rows(path: Path, sql: str = "select name from t order by id") -> list[Any]:
    """What a query sees past the tool."""
    connection = apsw.Connection(str(path))
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()
