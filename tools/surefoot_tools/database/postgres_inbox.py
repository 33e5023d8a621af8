"""The inbox in PostgreSQL: claimed first in a transaction, filled last.

Two transactions under one key: the second one's claim waits until the first has ended, a COMMIT
still on its way included; then it finds the row, or claims the key itself.
"""

from dataclasses import dataclass

from psycopg import sql
from psycopg.errors import (
    DuplicateObject,
    DuplicateTable,
    InsufficientPrivilege,
    InvalidSchemaName,
    UndefinedTable,
    UniqueViolation,
)

from surefoot_tools.database import inbox
from surefoot_tools.database.engine import INBOX, Executed
from surefoot_tools.database.postgres_connection import Connection, begin, translated
from surefoot_tools.database.postgres_errors import inbox_error
from surefoot_tools.database.stop import Stop
from surefoot_tools.errors import Applied, Code, Origin, ToolError

_TABLE = sql.Identifier(INBOX)

_CREATE = sql.SQL(
    "CREATE TABLE IF NOT EXISTS {} (key text PRIMARY KEY, fingerprint text NOT NULL, result text,"
    " at timestamptz NOT NULL DEFAULT clock_timestamp())"
).format(_TABLE)

# The schema is asked for here, because a statement of the caller may change where names lead.
_CLAIM = sql.SQL(
    "INSERT INTO {} (key, fingerprint) VALUES ($1, $2) ON CONFLICT DO NOTHING"
    " RETURNING (SELECT n.nspname FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {}.tableoid)"
).format(_TABLE, _TABLE)

_FIND = sql.SQL("SELECT fingerprint, result FROM {} WHERE key = $1").format(_TABLE)

_STORE = sql.SQL("UPDATE {} SET result = $1 WHERE key = $2")

_PURGE = sql.SQL("DELETE FROM {} WHERE at < to_timestamp($1)").format(_TABLE)

_GRANTS = (
    "GRANT CREATE ON SCHEMA public TO the_role",
    f"or, where the table is there: GRANT SELECT, INSERT, UPDATE, DELETE ON {INBOX} TO the_role",
)

_MADE_AT_ONCE = (UniqueViolation, DuplicateTable, DuplicateObject)
"""What CREATE TABLE IF NOT EXISTS says when two do it at the same time: the table is there."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The key has run."""

    fingerprint: object
    result: object
    """As `inbox.encode` made it."""


async def claim(
    connection: Connection, key: str, fingerprint: str, stop: Stop
) -> sql.Identifier | Stored:
    """Begin a transaction whose first statement claims the key.

    Returns:
        The inbox, by its full name, to `store` into; or what the key gave when it ran.

    Raises:
        ToolError: the inbox cannot be used.
    """
    await begin(connection, stop, writing=True)
    with translated(stop):
        try:
            return await _claim(connection, key, fingerprint)
        except UndefinedTable:
            await connection.execute("ROLLBACK")
    await _create(connection, stop)
    await begin(connection, stop, writing=True)
    with translated(stop):
        return await _claim(connection, key, fingerprint)


async def _claim(connection: Connection, key: str, fingerprint: str) -> sql.Identifier | Stored:
    try:
        claimed = await (await connection.execute(_CLAIM, [key, fingerprint])).fetchone()
        if claimed is not None:
            return sql.Identifier(str(claimed[0]), INBOX)
        found = await (await connection.execute(_FIND, [key])).fetchone()
    except InsufficientPrivilege as error:
        raise inbox_error(error, INBOX, _GRANTS) from error
    if found is None:
        raise ToolError(
            Code.ABORTED,
            "the record of this key was taken away while it was read; nothing was done",
            origin=Origin.ENVIRONMENT,
            retry_after=0.0,
        )
    return Stored(*found)


async def _create(connection: Connection, stop: Stop) -> None:
    """Make the table in a transaction of its own: nobody waits for the caller's to end."""
    with translated(stop):
        try:
            await connection.execute(_CREATE)
        except _MADE_AT_ONCE:
            return
        except (InsufficientPrivilege, InvalidSchemaName) as error:
            raise inbox_error(error, INBOX, _GRANTS) from error


async def store(
    connection: Connection, table: sql.Identifier, key: str, executed: Executed, stop: Stop
) -> None:
    """Put the results beside the claim.

    Raises:
        ToolError: the claim is not there any more; the transaction must not commit.
    """
    with translated(stop):
        cursor = await connection.execute(_STORE.format(table), [inbox.encode(executed), key])
    if cursor.rowcount != 1:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"the statements removed their own record from {INBOX}; all was rolled back",
            applied=Applied.NO,
        )


async def look(connection: Connection, key: str, stop: Stop) -> Stored | None:
    """What the inbox has of a key, once no transaction under it is in flight.

    Args:
        connection: Without a transaction; one is left open, to be rolled back.
        key: Of the intent.
        stop: Bounds the wait for who is in flight.
    """
    await begin(connection, stop, writing=True)
    with translated(stop):
        try:
            found = await _claim(connection, key, "")
        except UndefinedTable:
            return None
    return found if isinstance(found, Stored) else None


async def purge(connection: Connection, older_than: float, stop: Stop) -> int:
    """Remove the rows made before a Unix time; the number of them."""
    with translated(stop):
        try:
            return (await connection.execute(_PURGE, [older_than])).rowcount
        except UndefinedTable:
            return 0
