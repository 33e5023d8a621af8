"""What a kind of database must be able to do for the tools, and the shapes that pass between.

Before it: the tools. After it: `sqlite.py`, `postgres.py`, `mysql.py`. Another kind is one more
`Engine`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from surefoot_tools.database.values import Json, Parameters
from surefoot_tools.errors import Code, ToolError
from surefoot_tools.tool import Context

INBOX = "surefoot_inbox"
"""The table that records, in the transaction of an effect, that the effect happened. Hidden."""

RESULT_BYTES = 256 * 1024
"""Most bytes of JSON that the rows of one call may take."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement and what is bound to it."""

    sql: str
    parameters: Parameters = None


@dataclass(frozen=True, slots=True)
class Rows:
    """What a statement gave back, possibly cut."""

    columns: list[str] = field(default_factory=list[str])
    rows: list[list[Json]] = field(default_factory=list[list[Json]])
    truncated: bool = False
    """More rows were there than asked for, or than fit."""
    rows_affected: int = 0
    """Rows that the statement itself inserted, updated or deleted; not those of triggers."""


@dataclass(frozen=True, slots=True)
class Executed:
    """What the statements of one call did."""

    results: list[Rows]
    """One a statement."""
    atomic: bool = True
    """False: a statement committed by itself, or changed a table without transactions. Then the
    call acted at most once, and a failure may have left a part of it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    """As declared; empty where nothing is."""
    nullable: bool
    default: str | None
    """The SQL of the default."""
    primary_key: bool


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference to another table."""

    columns: list[str]
    table: str
    references: list[str]
    """The columns there; empty for that table's primary key."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a table."""

    name: str
    unique: bool
    columns: list[str]
    """In order; an expression shows as `<expression>`."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table, view or virtual table."""

    name: str
    kind: str
    """table, view or virtual (in PostgreSQL: a foreign table)"""
    columns: list[Column]
    keys: list[ForeignKey]
    indexes: list[Index]
    row_estimate: int | None
    """Rows, about; None where finding out would take long."""


class Engine(Protocol):
    """One database of some kind. Every method is bounded by `timeout` and by `context.deadline`."""

    dialect: str
    """The name of its SQL, for the model: `sqlite`, `postgresql`, `mysql`."""

    @property
    def place(self) -> str:
        """What names the database itself, whatever it is called here; without user or password."""
        ...

    async def query(
        self, statement: Statement, *, max_rows: int, timeout: float, context: Context
    ) -> Rows:
        """Run one statement that can change nothing; `timeout` in seconds.

        Raises:
            ToolError: `applied` is `no`.
        """
        ...

    async def execute(
        self, statements: Sequence[Statement], *, dry_run: bool, timeout: float, context: Context
    ) -> Executed:
        """Run the statements in one transaction with their record under `context.effect_key`.

        A key that is there already runs nothing and gives what was recorded. Cancelled before
        COMMIT: rolled back, and `context.interrupted` says so; from COMMIT on: let finish.

        Statements that commit by themselves act at most once: the claim of the key is committed
        before them, and a claim without a result is never run again.

        Raises:
            ToolError: `applied` is `no` but for a COMMIT of which nobody knows what became, and for
                statements that committed by themselves.
        """
        ...

    async def describe(self, table: str | None, *, timeout: float, context: Context) -> list[Table]:
        """The tables, or the one named, sorted by name.

        Raises:
            ToolError: NOT_FOUND for a table that is not there, with those that are.
        """
        ...

    async def recall(self, key: str, *, timeout: float) -> Executed | None:
        """What was committed under a key, or None: then no transaction under it is in flight.

        Waits for one that is.

        Raises:
            ToolError: it cannot be found out now; DATA_LOSS: it may have been carried out in part.
        """
        ...

    async def purge_inbox(self, older_than: float, *, timeout: float) -> int:
        """Forget what was recorded before a Unix time; a key of then would run again.

        Returns:
            The number of records; 0 for a database that must not be written.

        Raises:
            ToolError: nothing was removed.
        """
        ...


def read_only(name: str) -> ToolError:
    """A change was asked of a database that may only be read."""
    return ToolError(
        Code.PERMISSION_DENIED,
        f"database {name!r} is read-only",
        hint=f"whoever runs the server can allow it: --database {name}=URL?mode=rw",
    )


def at_statement(error: ToolError, number: int, count: int) -> ToolError:
    """The error of one statement of a transaction that was rolled back, with its place."""
    return ToolError(
        error.code,
        f"statement {number} of {count}: {error.message}; the transaction was rolled back",
        applied=error.applied,
        origin=error.origin,
        hint=error.hint,
        retry_after=error.retry_after,
    )
