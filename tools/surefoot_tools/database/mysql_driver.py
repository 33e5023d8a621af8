"""The driver (asyncmy) as it is used here, with types.

Before it: connections, privileges, inbox, schema. Its own ways of writing values into SQL are not
used: a caller's statement is prepared in the server.
"""

from typing import Any, Protocol, cast

import asyncmy
from asyncmy.cursors import SSCursor

from surefoot_tools.database.mysql_url import encryption, where
from surefoot_tools.database.mysql_values import DECODERS
from surefoot_tools.database.server_url import Address

Connection = asyncmy.Connection


class Cursor(Protocol):
    """One statement and its rows, which are read one by one and never held."""

    description: tuple[tuple[Any, ...], ...] | None
    """The columns, each beginning with its name; None for a statement that gives no rows."""
    rowcount: int

    async def execute(self, query: str) -> int:
        """Run a statement."""
        ...

    async def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None."""
        ...

    async def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that are left."""
        ...

    async def nextset(self) -> bool | None:
        """Go on to the next result of a CALL, if there is one."""
        ...


class _Cursor(SSCursor):
    """The driver would log each warning of the server, values included."""

    async def _show_warnings(self, conn: Connection) -> None:
        return


async def open_connection(address: Address, timeout: float) -> Connection:
    """Connect within `timeout` seconds.

    Raises:
        MySQLError, OSError, TimeoutError: there is no connection to be had.
    """
    connecting = cast("Any", asyncmy).connect  # its stubs know no floats
    return await connecting(
        **where(address),
        user=address.user,
        password=address.password or "",
        database=address.database,
        charset="utf8mb4",
        autocommit=True,  # BEGIN and COMMIT are ours, each seen to arrive
        local_infile=False,
        conv=DECODERS,
        connect_timeout=timeout,
        program_name="surefoot",
        ssl=encryption(address),
    )


def cursor_of(connection: Connection) -> Cursor:
    """A cursor, which needs no closing: the next statement ends it."""
    return cast("Cursor", _Cursor(connection))


async def run(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement of ours; its rows."""
    cursor = cursor_of(connection)
    await cursor.execute(sql)
    return list(await cursor.fetchall()) if cursor.description is not None else []


def is_mariadb(connection: Connection) -> bool:
    """Whether the server is MariaDB, which has names of its own for some settings."""
    return "mariadb" in str(connection.get_server_info()).lower()


async def in_transaction(connection: Connection) -> bool:
    """Whether a transaction is open, as the server has it."""
    await connection.ping(reconnect=False)
    return bool(connection.get_transaction_status())
