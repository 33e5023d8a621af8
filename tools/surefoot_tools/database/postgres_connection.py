"""Connections to PostgreSQL, and one statement run on one.

Every call opens its own: nothing of one caller (temporary tables, settings, an advisory lock)
reaches another. Before it: `postgres.py`. After it: the guard, the values, the table of errors.
"""

import math
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import psycopg
from psycopg import generators, sql
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from surefoot_tools.database.budget import Budget
from surefoot_tools.database.engine import Rows, Statement
from surefoot_tools.database.postgres_errors import connect_error, tool_error
from surefoot_tools.database.postgres_guard import check
from surefoot_tools.database.postgres_privileges import refuse_powers
from surefoot_tools.database.postgres_values import ADAPTERS, bindings
from surefoot_tools.database.server_url import Address
from surefoot_tools.database.stop import CANCEL_GRACE, Stop, require_asyncio
from surefoot_tools.database.values import Native, column_name, to_json
from surefoot_tools.errors import Code, Origin, ToolError

Connection = psycopg.AsyncConnection[Any]

CONNECT_TIMEOUT = 10.0
"""Seconds; libpq takes at least 2."""

SILENCE = 30.0
"""Seconds without an acknowledgement after which a connection counts as lost, where the system can
be told so (Linux); and seconds that the server allows between two statements of a transaction."""


@asynccontextmanager
async def connect(
    name: str, address: Address, stop: Stop, *, writing: bool
) -> AsyncGenerator[Connection]:
    """A connection for one call; closed at the end, which rolls back what is not committed.

    Raises:
        ToolError: there is no connection to be had, or the role could do too much.
    """
    require_asyncio("PostgreSQL")
    stop.check()
    more: dict[str, Any] = dict(address.more)
    try:
        connection = await psycopg.AsyncConnection[Any].connect(
            host=address.host,
            port=address.port,
            dbname=address.database,
            user=address.user,
            password=address.password,
            connect_timeout=math.ceil(min(CONNECT_TIMEOUT, max(2.0, stop.remaining))),
            application_name="surefoot",
            client_encoding="utf8",
            tcp_user_timeout=int(SILENCE * 1000),
            autocommit=True,  # BEGIN and COMMIT are ours, each seen to arrive
            prepare_threshold=None,
            cursor_factory=psycopg.AsyncRawCursor,
            context=ADAPTERS,
            **more,
        )
    except psycopg.Error as error:
        raise connect_error(error, name, address) from None  # the cause would show the password
    try:
        stop.cancel = partial(_cancel, connection, CANCEL_GRACE)
        with translated(stop):
            await refuse_powers(connection, name, writing=writing)
        yield connection
    finally:
        stop.cancel = None
        with anyio.CancelScope(shield=True):
            await connection.close()


@contextmanager
def translated(stop: Stop) -> Generator[None]:
    """PostgreSQL's failures as ours."""
    try:
        yield
    except psycopg.Error as error:
        if stop.asked:
            raise stop.error() from error
        raise tool_error(error) from error


async def begin(connection: Connection, stop: Stop, *, writing: bool) -> None:
    """Begin a transaction that the server itself ends when the time is over."""
    milliseconds = max(1, math.ceil(min(stop.remaining, 86_400.0) * 1000))
    with translated(stop):
        # In one message: nothing of it comes from a caller.
        await connection.execute(
            sql.SQL(
                "BEGIN {mode}; SET LOCAL statement_timeout = {timeout};"
                " SET LOCAL idle_in_transaction_session_timeout = {silence};"
                " SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'iso_8601';"
                " SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1"
            ).format(
                mode=sql.SQL("" if writing else "READ ONLY"),
                timeout=sql.Literal(milliseconds),
                silence=sql.Literal(int(SILENCE * 1000)),
            )
        )


async def run_statement(
    connection: Connection,
    statement: Statement,
    stop: Stop,
    *,
    writing: bool,
    max_rows: int,
    budget: Budget,
) -> Rows:
    """Run one caller's statement in the transaction that is open.

    Raises:
        ToolError: what is wrong with it. The transaction can only be rolled back then.
    """
    check(statement.sql, writing=writing)
    values = bindings(statement.parameters)
    stop.check()
    with translated(stop):
        try:
            return await _stream(connection, statement.sql, values, writing, max_rows, budget)
        except UnicodeError as error:
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"a text in the statement or its result is not UTF-8: {error}",
                origin=Origin.ENVIRONMENT,
                hint="read such a column as bytes: convert_to(column, 'SQL_ASCII')",
            ) from error


async def _stream(
    connection: Connection,
    text: str,
    values: list[Native],
    writing: bool,
    max_rows: int,
    budget: Budget,
) -> Rows:
    """Take the rows one by one, so that what does not fit is dropped and never held.

    A reading statement is stopped at that point; a writing one is let run to its end, for stopping
    it would undo it. `Cursor.stream` tells neither the columns of no rows nor the rows affected.
    """
    wire = connection.pgconn
    transformer = Transformer(connection)
    parameters = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
    # The extended protocol: it refuses a second statement in the text.
    wire.send_query_params(
        text.encode(), parameters, param_types=transformer.types, param_formats=transformer.formats
    )
    wire.set_single_row_mode()
    await connection.wait(generators.send(wire))
    found = Rows([], [])
    first = truncated = False
    while (result := await connection.wait(generators.fetch(wire))) is not None:
        if result.status == ExecStatus.SINGLE_TUPLE:
            transformer.set_pgresult(result, set_loaders=not first)
            first = True
            row = [to_json(value) for value in transformer.load_row(0, tuple)]
            if not truncated and len(found.rows) < max_rows and budget.take(row):
                found.rows.append(row)
                continue
            truncated = True
            if writing:
                continue
            found = replace(found, columns=_columns(result))
            await _cancel(connection, CONNECT_TIMEOUT)
            break
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise error_from_result(result, encoding="utf-8")
        found = replace(found, columns=_columns(result), rows_affected=_affected(result))
    return replace(found, truncated=truncated)


def _columns(result: PGresult) -> list[str]:
    names = ((result.fname(number) or b"").decode() for number in range(result.nfields))
    return [column_name(name) for name in names]


def _affected(result: PGresult) -> int:
    """Rows that the statement inserted, updated or deleted; a SELECT counts what it read."""
    word = (result.command_status or b"").split(b" ", 1)[0]
    changed = word in (b"INSERT", b"UPDATE", b"DELETE", b"MERGE")
    return (result.command_tuples or 0) if changed else 0


async def _cancel(connection: Connection, timeout: float) -> None:
    """Ask for it; after rows that were enough it is a courtesy: the connection is closed next."""
    with suppress(psycopg.Error):
        await connection.cancel_safe(timeout=timeout)
