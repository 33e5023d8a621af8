"""The tool `describe_database`: what is in a database."""

from pydantic import ConfigDict

from surefoot_tools import tool
from surefoot_tools.database.databases import DEFAULT, Databases
from surefoot_tools.database.engine import Column, Table
from surefoot_tools.database.text_table import cut, visible
from surefoot_tools.tool import Context, Effect, Evidence, Group, Tool

TIMEOUT = 30.0
"""Seconds."""


class DescribeArguments(tool.Arguments):
    """Which database, and which of its tables."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    database: str = DEFAULT
    """The name of the database; may be left out if there is only one."""
    table: str | None = None
    """Describe only this table."""


class DescribeResult(tool.Result):
    """The tables, sorted by name."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    dialect: str
    """The kind of SQL to write."""
    tables: list[Table]
    """Tables, views and virtual tables."""

    def as_text(self) -> str:
        """A paragraph a table."""
        lines = [f"{self.dialect}, {len(self.tables)} tables"]
        for table in self.tables:
            rows = "" if table.row_estimate is None else f", about {table.row_estimate} rows"
            lines.append(f"{table.kind} {visible(table.name)}{rows}")
            lines.extend(f"  {_column(column)}" for column in table.columns)
            for key in table.keys:
                target = (
                    f"{key.table}({', '.join(key.references)})" if key.references else key.table
                )
                lines.append(visible(f"  foreign key ({', '.join(key.columns)}) -> {target}"))
            for index in table.indexes:
                kind = "unique index" if index.unique else "index"
                lines.append(visible(f"  {kind} {index.name} ({', '.join(index.columns)})"))
        return cut("\n".join(lines))


def _column(column: Column) -> str:
    words = [column.name, column.type]
    if column.primary_key:
        words.append("primary key")
    if not column.nullable:
        words.append("not null")
    if column.default is not None:
        words.append(f"default {column.default}")
    return visible(" ".join(word for word in words if word))


class DescribeDatabase(Tool[DescribeArguments, DescribeResult]):
    """Shows tables, columns, keys and indexes.

    Args:
        databases: Those it may look at.
    """

    name = "describe_database"
    title = "Describe a database"
    description = (
        "Show the tables of a database with columns, types, keys, indexes and about how many rows"
        " each has. Use it before writing SQL; pass `table` for a single one."
    )
    group = Group.DATABASE
    effect = Effect.SAFE
    repeatable = True

    Arguments = DescribeArguments
    Result = DescribeResult

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    def target(self, arguments: DescribeArguments) -> str | None:
        """The place of the database."""
        return self._databases.place(arguments.database)

    async def run(
        self, arguments: DescribeArguments, evidence: Evidence, context: Context
    ) -> DescribeResult:
        """Read the schema."""
        engine = self._databases.get(arguments.database)
        tables = await engine.describe(arguments.table, timeout=TIMEOUT, context=context)
        return DescribeResult(dialect=engine.dialect, tables=tables)
