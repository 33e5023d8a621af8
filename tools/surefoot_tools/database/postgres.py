"""PostgreSQL as an `Engine`.

A transaction and its record commit together: the row in `surefoot_inbox` is the first statement of
the transaction, so a second transaction under the same key waits for the first one's COMMIT, also
for one that is still on its way to the server, and then finds its row. Before it: the tools. After
it: connections, inbox, guard, errors, schema. Needs the extra `postgres` (psycopg).
"""

import math
from collections.abc import Sequence

import anyio
import psycopg
from psycopg.pq import TransactionStatus

from surefoot_tools.database import inbox
from surefoot_tools.database.budget import Budget
from surefoot_tools.database.engine import Executed, Rows, Statement, Table, at_statement, read_only
from surefoot_tools.database.postgres_connection import (
    Connection,
    begin,
    connect,
    run_statement,
    translated,
)
from surefoot_tools.database.postgres_errors import commit_error
from surefoot_tools.database.postgres_inbox import Stored, claim, look, purge, store
from surefoot_tools.database.postgres_schema import read_tables
from surefoot_tools.database.server_url import Address
from surefoot_tools.database.stop import Stop, run_stoppably
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.tool import Context

RETURNED_ROWS = 1000
"""Most rows that one statement of a transaction gives back."""

COMMIT_TIMEOUT = 30.0
"""Seconds for the answer to a COMMIT; then nobody knows what became of it."""


class PostgresEngine:
    """One PostgreSQL database.

    Args:
        name: For messages.
        address: Where it is.
        writable: Whether `execute` may change it.
    """

    dialect = "postgresql"

    def __init__(self, name: str, address: Address, *, writable: bool) -> None:
        self._name = name
        self._address = address
        self._writable = writable

    @property
    def place(self) -> str:
        """As of `Engine`."""
        return self._address.place

    async def query(
        self, statement: Statement, *, max_rows: int, timeout: float, context: Context
    ) -> Rows:
        """As of `Engine`."""

        async def job(stop: Stop) -> Rows:
            async with connect(
                self._name, self._address, stop, writing=self._writable
            ) as connection:
                await begin(connection, stop, writing=False)
                return await run_statement(
                    connection,
                    statement,
                    stop,
                    writing=False,
                    max_rows=max_rows,
                    budget=Budget(),
                )

        return await run_stoppably(job, timeout=timeout, context=context)

    async def execute(
        self, statements: Sequence[Statement], *, dry_run: bool, timeout: float, context: Context
    ) -> Executed:
        """As of `Engine`."""
        if not self._writable:
            raise read_only(self._name)

        async def job(stop: Stop) -> Executed:
            async with connect(
                self._name, self._address, stop, writing=self._writable
            ) as connection:
                if dry_run:
                    return await _try_out(connection, statements, stop)
                return await _execute(connection, statements, context.effect_key, stop)

        return await run_stoppably(job, timeout=timeout, context=context)

    async def describe(self, table: str | None, *, timeout: float, context: Context) -> list[Table]:
        """As of `Engine`."""

        async def job(stop: Stop) -> list[Table]:
            async with connect(
                self._name, self._address, stop, writing=self._writable
            ) as connection:
                await begin(connection, stop, writing=False)
                with translated(stop):
                    return await read_tables(connection, table)

        return await run_stoppably(job, timeout=timeout, context=context)

    async def recall(self, key: str, *, timeout: float) -> Executed | None:
        """As of `Engine`."""
        if not self._writable:
            raise read_only(self._name)

        async def job(stop: Stop) -> Executed | None:
            async with connect(
                self._name, self._address, stop, writing=self._writable
            ) as connection:
                found = await look(connection, key, stop)
                return None if found is None else inbox.decode(found.result)

        context = Context(call_id="", effect_key=key, deadline=math.inf)
        return await run_stoppably(job, timeout=timeout, context=context)

    async def purge_inbox(self, older_than: float, *, timeout: float) -> int:
        """As of `Engine`."""
        if not self._writable:
            return 0

        async def job(stop: Stop) -> int:
            async with connect(
                self._name, self._address, stop, writing=self._writable
            ) as connection:
                return await purge(connection, older_than, stop)

        context = Context(call_id="", effect_key="", deadline=math.inf)
        return await run_stoppably(job, timeout=timeout, context=context)


async def _execute(
    connection: Connection, statements: Sequence[Statement], key: str, stop: Stop
) -> Executed:
    # What is not committed when the connection is closed is rolled back by the server: every way
    # out but _commit leaves nothing.
    fingerprint = inbox.fingerprint(statements)
    found = await claim(connection, key, fingerprint, stop)
    if isinstance(found, Stored):
        inbox.same_call(found.fingerprint, fingerprint)
        return inbox.decode(found.result)
    executed = Executed(await _run_all(connection, statements, stop))
    await store(connection, found, key, executed, stop)
    await _commit(connection, stop)
    return executed


async def _try_out(connection: Connection, statements: Sequence[Statement], stop: Stop) -> Executed:
    await begin(connection, stop, writing=True)
    results = await _run_all(connection, statements, stop)
    with translated(stop):
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what COMMIT would look at
        await connection.execute("ROLLBACK")
    return Executed(results)


async def _run_all(
    connection: Connection, statements: Sequence[Statement], stop: Stop
) -> list[Rows]:
    budget = Budget()
    results: list[Rows] = []
    for number, statement in enumerate(statements, start=1):
        try:
            rows = await run_statement(
                connection, statement, stop, writing=True, max_rows=RETURNED_ROWS, budget=budget
            )
        except ToolError as error:
            raise at_statement(error, number, len(statements)) from error
        if connection.info.transaction_status is not TransactionStatus.INTRANS:
            raise ToolError(
                Code.INTERNAL,
                f"statement {number} of {len(statements)} ended the transaction; what came before"
                " it may be there",
                applied=Applied.UNKNOWN,
                origin=Origin.TOOL,
            )
        results.append(rows)
    return results


async def _commit(connection: Connection, stop: Stop) -> None:
    stop.begin_final_step()
    said: str | None = None
    try:
        with anyio.move_on_after(COMMIT_TIMEOUT):
            said = (await connection.execute("COMMIT")).statusmessage
    except psycopg.Error as error:
        # IDLE: the server has told the error and waits for the next statement.
        answered = connection.info.transaction_status is TransactionStatus.IDLE
        raise commit_error(error, answered=answered) from error
    if said == "COMMIT":
        return
    if said is None:
        raise commit_error(psycopg.OperationalError("no answer in time"), answered=False)
    raise ToolError(
        Code.ABORTED,
        f"PostgreSQL answered the COMMIT with {said}; nothing was changed",
        origin=Origin.ENVIRONMENT,
    )
