"""The tool `query_database`: one statement that reads."""

from typing import Annotated

from pydantic import ConfigDict, Field

from surefoot_tools import tool
from surefoot_tools.database.databases import DEFAULT, Databases
from surefoot_tools.database.engine import Statement
from surefoot_tools.database.text_table import render
from surefoot_tools.database.values import Json, Parameters, unique_names
from surefoot_tools.tool import Context, Effect, Evidence, Group, Tool

TIMEOUT = 30.0
"""Seconds a statement may take unless the caller says otherwise."""

LONGEST_TIMEOUT = 600.0
"""Seconds that a caller may allow."""


class QueryArguments(tool.Arguments):
    """What to ask, and how much of the answer to give."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    sql: str
    """One SELECT (or EXPLAIN, or a PRAGMA that shows the schema). Values go to `parameters`."""
    parameters: Parameters = None
    """A list for `?` (PostgreSQL: `$1`), in SQLite also an object for `:name`. Bytes:
    {"base64": "..."}."""
    database: str = DEFAULT
    """The name of the database; may be left out if there is only one."""
    max_rows: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Most rows to give."""
    timeout: Annotated[float, Field(gt=0, le=LONGEST_TIMEOUT)] = TIMEOUT
    """Seconds after which the statement is stopped."""


class QueryResult(tool.Result):
    """The rows."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    columns: list[str]
    """Names, in order; the second of two that are the same has `_2` at its end."""
    rows: list[list[Json]]
    """Values in the order of `columns`. Bytes are {"base64": "..."}, infinity is "inf"."""
    row_count: int
    """How many rows are here."""
    truncated: bool
    """There are more rows than these (`max_rows`, or 256 KiB in all)."""

    def as_text(self) -> str:
        """The rows as a table."""
        more = ""
        if self.truncated:
            more = "; there are more: raise max_rows, select less, or page with LIMIT and OFFSET"
        plural = "" if self.row_count == 1 else "s"
        return f"{self.row_count} row{plural}{more}\n{render(self.columns, self.rows)}"


class QueryDatabase(Tool[QueryArguments, QueryResult]):
    """Reads from a database; can change nothing.

    Args:
        databases: Those it may read.
    """

    name = "query_database"
    title = "Query a database"
    description = (
        "Run one SQL statement that reads, and get its rows. Nothing can be changed through it: to"
        " insert, update, delete or change the schema, use execute_sql. Pass values in"
        " `parameters`, not inside the SQL. describe_database shows tables and columns."
    )
    group = Group.DATABASE
    effect = Effect.SAFE
    repeatable = True

    Arguments = QueryArguments
    Result = QueryResult

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    def target(self, arguments: QueryArguments) -> str | None:
        """The place of the database."""
        return self._databases.place(arguments.database)

    async def run(
        self, arguments: QueryArguments, evidence: Evidence, context: Context
    ) -> QueryResult:
        """Run the statement."""
        rows = await self._databases.get(arguments.database).query(
            Statement(arguments.sql, arguments.parameters),
            max_rows=arguments.max_rows,
            timeout=arguments.timeout,
            context=context,
        )
        return QueryResult(
            columns=unique_names(rows.columns),
            rows=rows.rows,
            row_count=len(rows.rows),
            truncated=rows.truncated,
        )
