"""MySQL and MariaDB as an `Engine`.

A transaction and its record commit together, as in PostgreSQL. But statements here may commit by
themselves: CREATE, ALTER, DROP, TRUNCATE and their like, and procedures that say COMMIT; and some
tables have no transactions. Such a call acts at most once: its claim of the key is committed before
the effect, and a claim without a result is never run again. Before it: the tools. After it:
connections, transaction, inbox, schema. Needs the extra `mysql` (asyncmy).
"""

import math
from collections.abc import Sequence

from surefoot_tools.database import inbox
from surefoot_tools.database.budget import Budget
from surefoot_tools.database.engine import Executed, Rows, Statement, Table, read_only
from surefoot_tools.database.mysql_connection import connect, run_statement, translated
from surefoot_tools.database.mysql_driver import run
from surefoot_tools.database.mysql_inbox import Inbox
from surefoot_tools.database.mysql_schema import read_tables
from surefoot_tools.database.mysql_transaction import Transaction, try_out
from surefoot_tools.database.server_url import Address
from surefoot_tools.database.stop import Stop, run_stoppably
from surefoot_tools.tool import Context


class MysqlEngine:
    """One database on a server of MySQL or MariaDB.

    Args:
        name: For messages.
        address: Where it is.
        writable: Whether `execute` may change it.
    """

    dialect = "mysql"

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
            async with connect(self._name, self._address, stop, writing=False) as connection:
                with translated(stop):
                    await run(connection, "START TRANSACTION READ ONLY")
                return await run_statement(
                    connection, statement, stop, writing=False, max_rows=max_rows, budget=Budget()
                )

        return await run_stoppably(job, timeout=timeout, context=context)

    async def execute(
        self, statements: Sequence[Statement], *, dry_run: bool, timeout: float, context: Context
    ) -> Executed:
        """As of `Engine`."""
        if not self._writable:
            raise read_only(self._name)

        async def job(stop: Stop) -> Executed:
            async with connect(self._name, self._address, stop, writing=True) as connection:
                if dry_run:
                    return await try_out(connection, statements, stop)
                books = Inbox(connection, self._address.database, stop)
                return await Transaction(connection, books, context.effect_key, stop).run(
                    statements
                )

        return await run_stoppably(job, timeout=timeout, context=context)

    async def describe(self, table: str | None, *, timeout: float, context: Context) -> list[Table]:
        """As of `Engine`."""

        async def job(stop: Stop) -> list[Table]:
            async with connect(self._name, self._address, stop, writing=False) as connection:
                with translated(stop):
                    return await read_tables(connection, table)

        return await run_stoppably(job, timeout=timeout, context=context)

    async def recall(self, key: str, *, timeout: float) -> Executed | None:
        """As of `Engine`."""
        if not self._writable:
            raise read_only(self._name)

        async def job(stop: Stop) -> Executed | None:
            async with connect(self._name, self._address, stop, writing=True) as connection:
                found = await Inbox(connection, self._address.database, stop).look(key)
                return None if found is None else inbox.decode(found.result)

        context = Context(call_id="", effect_key=key, deadline=math.inf)
        return await run_stoppably(job, timeout=timeout, context=context)

    async def purge_inbox(self, older_than: float, *, timeout: float) -> int:
        """As of `Engine`."""
        if not self._writable:
            return 0

        async def job(stop: Stop) -> int:
            async with connect(self._name, self._address, stop, writing=True) as connection:
                return await Inbox(connection, self._address.database, stop).purge(older_than)

        context = Context(call_id="", effect_key="", deadline=math.inf)
        return await run_stoppably(job, timeout=timeout, context=context)
