"""Connections to MySQL or MariaDB, and one statement run on one.

Every call opens its own: nothing of one caller (temporary tables, variables, a named lock) reaches
another. A caller's statement is prepared in the server, which takes one statement and no more, and
its values are bound there. Before it: `mysql.py`. After it: guard, privileges, values, errors.
"""

import math
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import anyio

from surefoot_tools.database.budget import Budget
from surefoot_tools.database.engine import Rows, Statement
from surefoot_tools.database.mysql_driver import (
    Connection,
    Cursor,
    cursor_of,
    is_mariadb,
    open_connection,
    run,
)
from surefoot_tools.database.mysql_errors import FAILURES, connect_error, tool_error
from surefoot_tools.database.mysql_guard import check
from surefoot_tools.database.mysql_privileges import refuse_powers
from surefoot_tools.database.mysql_values import literals, text_literal
from surefoot_tools.database.server_url import Address
from surefoot_tools.database.stop import CANCEL_GRACE, Stop, require_asyncio
from surefoot_tools.database.values import column_name, to_json
from surefoot_tools.errors import Code, Origin, ToolError

CONNECT_TIMEOUT = 10.0
"""Seconds."""

SILENCE = 30.0
"""Seconds that the server allows between two statements before it rolls back and hangs up."""

_RETURNING = frozenset({"insert", "delete", "replace"})
"""First words of statements whose rows (RETURNING) are the ones that they changed."""


@asynccontextmanager
async def connect(
    name: str, address: Address, stop: Stop, *, writing: bool
) -> AsyncGenerator[Connection]:
    """A connection for one call; closed at the end, which rolls back what is not committed.

    Raises:
        ToolError: there is no connection to be had, or the user could do too much.
    """
    require_asyncio("MySQL")
    stop.check()
    try:
        connection = await open_connection(address, min(CONNECT_TIMEOUT, max(0.1, stop.remaining)))
    except (*FAILURES, TimeoutError) as error:
        raise connect_error(error, name, address) from None  # the cause could show the password
    try:
        stop.cancel = partial(_kill_query, address, connection.thread_id())
        with translated(stop):
            await _configure(connection, stop, writing=writing)
            await refuse_powers(connection, name, address.database, writing=writing)
        yield connection
    finally:
        stop.cancel = None
        connection.close()


async def _configure(connection: Connection, stop: Stop, *, writing: bool) -> None:
    """Limits that hold when we are not there any more, and UTC, so that a moment means one."""
    left = min(stop.remaining, 86_400.0)
    seconds = max(1, math.ceil(left))
    limit = f"max_execution_time = {max(1, math.ceil(left * 1000))}"
    if is_mariadb(connection):
        limit = f"max_statement_time = {max(0.001, left):.3f}"
    await run(
        connection,
        f"SET SESSION time_zone = '+00:00', SESSION {limit}, SESSION wait_timeout = {int(SILENCE)},"
        f" SESSION lock_wait_timeout = {seconds},"
        f" SESSION innodb_lock_wait_timeout = LEAST(@@innodb_lock_wait_timeout, {seconds})",
    )
    if not writing:
        # Also of a transaction that a statement might begin in the place of ours.
        await run(connection, "SET SESSION TRANSACTION READ ONLY")


async def _kill_query(address: Address, number: int) -> None:
    """Stop what runs on a connection, over another one; a server that is away is let be."""
    with anyio.move_on_after(CANCEL_GRACE):
        try:
            other = await open_connection(address, CANCEL_GRACE)
        except (*FAILURES, TimeoutError):
            return
        try:
            await run(other, f"KILL QUERY {number}")
        except FAILURES:
            return
        finally:
            other.close()


@contextmanager
def translated(stop: Stop) -> Generator[None]:
    """The failures of MySQL as ours."""
    try:
        yield
    except FAILURES as error:
        if stop.asked:
            raise stop.error() from error
        raise tool_error(error) from error


async def run_statement(
    connection: Connection,
    statement: Statement,
    stop: Stop,
    *,
    writing: bool,
    max_rows: int,
    budget: Budget,
) -> Rows:
    """Run one caller's statement.

    Raises:
        ToolError: what is wrong with it. What to do about the transaction is the caller's.
    """
    first = check(statement.sql, writing=writing)
    values = literals(statement.parameters)
    names = [f"@surefoot_{number}" for number in range(len(values))]
    bound = "".join(f", {name} = {value}" for name, value in zip(names, values, strict=True))
    using = f" USING {', '.join(names)}" if names else ""
    stop.check()
    with translated(stop):
        try:
            await run(connection, f"SET @surefoot = {text_literal(statement.sql)}{bound}")
            await run(connection, "PREPARE surefoot FROM @surefoot")
            cursor = cursor_of(connection)
            await cursor.execute(f"EXECUTE surefoot{using}")
            found = await _fetch(cursor, max_rows, budget, first=first, writing=writing)
        except UnicodeError as error:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"a text in the result is not what its column says: {error}",
                origin=Origin.ENVIRONMENT,
                hint="read such a column as bytes: CAST(column AS BINARY)",
            ) from error
    stop.check()  # a SLEEP() that was killed says nothing of it
    return found


async def _fetch(
    cursor: Cursor, max_rows: int, budget: Budget, *, first: str, writing: bool
) -> Rows:
    """Take the rows one by one, so that what does not fit is dropped and never held.

    A reading statement is left at that point (the connection is closed next); a writing one is let
    run to its end, and so are the further results of a CALL.
    """
    if cursor.description is None:
        affected = cursor.rowcount
        while writing and await cursor.nextset():
            await _drain(cursor)
        return Rows([], [], rows_affected=affected)
    columns = [column_name(str(column[0])) for column in cursor.description]
    found = Rows(columns, [])
    seen = 0
    truncated = False
    while (values := await cursor.fetchone()) is not None:
        seen += 1
        if truncated:
            continue
        row = [to_json(value) for value in values]
        if len(found.rows) == max_rows or not budget.take(row):
            truncated = True
            if not writing:
                break
        else:
            found.rows.append(row)
    while writing and await cursor.nextset():
        await _drain(cursor)
    affected = seen if writing and first in _RETURNING else 0
    return Rows(found.columns, found.rows, truncated, affected)


async def _drain(cursor: Cursor) -> None:
    while cursor.description is not None and await cursor.fetchone() is not None:
        pass
