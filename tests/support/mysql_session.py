"""A session with MariaDB past the tools, that holds what it holds until it ends."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from surefoot_tools.database.mysql_driver import Connection, open_connection, run
from surefoot_tools.database.mysql_url import read_url


class Session:
    """One connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements; the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            rows = await run(self._connection, statement)
        return rows


@asynccontextmanager
async def a_session(url: str) -> AsyncGenerator[Session]:
    """A connection for as long as this is open."""
    connection = await open_connection(read_url("main", url), 60.0)
    try:
        yield Session(connection)
    finally:
        connection.close()
