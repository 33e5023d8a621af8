"""The database tools called at their own seam, on any database with an empty table `t`."""

from typing import Any

import pytest
from tests.support.execute import a_context

from surefoot_tools.database.databases import Database, Databases
from surefoot_tools.database.execute_sql import ExecuteArguments, ExecuteResult, ExecuteSql
from surefoot_tools.database.query_database import QueryArguments, QueryDatabase, QueryResult
from surefoot_tools.errors import Applied, ToolError
from surefoot_tools.tool import Context

INSERT = "insert into t(name) values('a')"


def databases(url: str, *, writable: bool = True) -> Databases:
    """One database `main`."""
    return Databases([Database("main", url, writable=writable)])


async def execute(
    url: str, *statements: object, context: Context | None = None, **more: Any
) -> ExecuteResult:
    """Run statements, given as SQL or with parameters."""
    listed = [{"sql": entry} if isinstance(entry, str) else entry for entry in statements]
    arguments = ExecuteArguments.model_validate({"statements": listed, **more})
    tool = ExecuteSql(databases(url))
    lent = context or a_context()
    return await tool.run(arguments, await tool.prepare(arguments, lent), lent)


async def failure(url: str, *statements: object, key: str = "key") -> ToolError:
    """The error of statements that fail without a trace."""
    with pytest.raises(ToolError) as caught:
        await execute(url, *statements, context=a_context(key))
    assert caught.value.applied is Applied.NO
    return caught.value


async def query(url: str, text: str, context: Context | None = None, **more: Any) -> QueryResult:
    """Run one statement that reads."""
    arguments = QueryArguments.model_validate({"sql": text, **more})
    tool = QueryDatabase(databases(url, writable=False))
    return await tool.run(arguments, {}, context or a_context())


async def query_failure(url: str, text: str, **more: Any) -> ToolError:
    """The error of a statement that fails."""
    with pytest.raises(ToolError) as caught:
        await query(url, text, **more)
    assert caught.value.applied is Applied.NO
    return caught.value
