"""The tool `execute_sql`: statements that change a database, in one transaction."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from surefoot_tools import tool
from surefoot_tools.database.databases import DEFAULT, Databases
from surefoot_tools.database.engine import Executed, Statement
from surefoot_tools.database.text_table import cut, render
from surefoot_tools.database.values import Json, Parameters, unique_names
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.tool import (
    Context,
    Effect,
    Evidence,
    Group,
    Happened,
    NotBegun,
    Recovery,
    Tool,
    Unknown,
)

TIMEOUT = 30.0
"""Seconds for the whole transaction up to its COMMIT."""

TARGET = "target"
"""The name in the evidence for the place of the database: a name may be given to another one."""


class StatementArgument(BaseModel):
    """One statement and its values."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )

    sql: str
    """One statement: INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, SELECT. Not BEGIN or COMMIT."""
    parameters: Parameters = None
    """A list for `?` (PostgreSQL: `$1`), in SQLite also an object for `:name`. Bytes:
    {"base64": "..."}."""


class ExecuteArguments(tool.Arguments):
    """What to run, all of it or nothing."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    statements: Annotated[list[StatementArgument], Field(min_length=1, max_length=100)]
    """Run in this order in one transaction."""
    database: str = DEFAULT
    """The name of the database; may be left out if there is only one."""
    dry_run: bool = False
    """Run everything, then roll back: shows what would happen."""


class StatementResult(BaseModel):
    """What one statement did."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    rows_affected: int
    """Rows that it inserted, updated or deleted itself; not those of triggers."""
    columns: list[str]
    """Names of what it gave back (RETURNING, SELECT), in order."""
    rows: list[list[Json]]
    """What it gave back."""
    truncated: bool
    """It gave back more rows than these."""


class ExecuteResult(tool.Result):
    """What the statements did, in their order."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    results: list[StatementResult]
    """One a statement."""
    committed: bool
    """False after a dry run: nothing was changed."""
    atomic: bool = True
    """False: a statement committed by itself, or changed a table without transactions; then a
    failure could have left a part, and the call is never run again by itself."""

    def as_text(self) -> str:
        """A line a statement, with its rows where it gave any."""
        lines = ["committed" if self.committed else "dry run: rolled back, nothing was changed"]
        if not self.atomic:
            lines.append("not one transaction: a statement here commits by itself")
        for number, result in enumerate(self.results, start=1):
            lines.append(f"statement {number}: rows affected: {result.rows_affected}")
            if result.columns:
                lines.append(render(result.columns, result.rows))
            if result.truncated:
                lines.append("there are more rows than these: read them with query_database")
        return cut("\n".join(lines))


class ExecuteSql(Tool[ExecuteArguments, ExecuteResult]):
    """Changes a database in one transaction that also records that it happened.

    A call that runs again under its `effect_key` finds that record and gives its result, so the
    executor may run it again after a crash.

    Args:
        databases: Those it may change, if they are writable.
    """

    name = "execute_sql"
    title = "Change a database"
    description = (
        "Run SQL statements in one transaction: all of them take effect, or none. A failing one"
        " rolls everything back and its number is told. BEGIN, COMMIT, ATTACH and VACUUM are not"
        " allowed. Pass values in `parameters`, not inside the SQL. To only read, use"
        " query_database. `dry_run` shows the effect without keeping it."
    )
    group = Group.DATABASE
    effect = Effect.TRANSACTIONAL
    destructive = True

    Arguments = ExecuteArguments
    Result = ExecuteResult

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    def target(self, arguments: ExecuteArguments) -> str | None:
        """The place of the database."""
        return self._databases.place(arguments.database)

    async def prepare(self, arguments: ExecuteArguments, context: Context) -> Evidence:
        """Name the database, its place, and the row that will tell whether it happened."""
        name = self._databases.resolve(arguments.database)
        evidence: Evidence = {"database": name, "key": context.effect_key}
        return evidence | {TARGET: self._databases.place(name), "dry_run": arguments.dry_run}

    async def run(
        self, arguments: ExecuteArguments, evidence: Evidence, context: Context
    ) -> ExecuteResult:
        """Run the statements, or find that they have run."""
        executed = await self._databases.get(arguments.database).execute(
            [Statement(entry.sql, entry.parameters) for entry in arguments.statements],
            dry_run=arguments.dry_run,
            timeout=TIMEOUT,
            context=context,
        )
        return _result(executed, committed=not arguments.dry_run)

    async def recover(self, evidence: Evidence) -> Recovery:
        """Look for the inbox row, once no COMMIT under the key is in flight."""
        if evidence.get("dry_run"):
            return NotBegun()
        name = str(evidence["database"])
        try:
            found = await self._databases.get(name).recall(str(evidence["key"]), timeout=TIMEOUT)
        except ToolError as error:
            if error.code is Code.DATA_LOSS:
                return Unknown(error.message)
            raise ToolError(
                Code.UNAVAILABLE,
                f"the inbox of the database {name!r} cannot be asked: {error.message}",
                applied=Applied.UNKNOWN,
            ) from error
        return NotBegun() if found is None else Happened(_result(found, committed=True))

    def reaches(self, evidence: Evidence) -> bool:
        """Whether the name still stands for the place that the call went to."""
        place = self._databases.place(str(evidence["database"]))
        return place is not None and place == evidence.get(TARGET, place)

    async def forget(self, before: float) -> None:
        """Remove inbox rows; a database that cannot be reached keeps them until the next time."""
        await self._databases.purge_inboxes(before)


def _result(executed: Executed, *, committed: bool) -> ExecuteResult:
    results = [
        StatementResult(
            rows_affected=entry.rows_affected,
            columns=unique_names(entry.columns),
            rows=entry.rows,
            truncated=entry.truncated,
        )
        for entry in executed.results
    ]
    return ExecuteResult(results=results, committed=committed, atomic=executed.atomic)
