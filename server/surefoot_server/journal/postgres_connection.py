"""Connections of the journal to PostgreSQL, and its statements as PostgreSQL takes them.

Before `postgres.py`, which is the journal, and `postgres_owner.py`, which says who is alive.
psycopg is used as it blocks, from threads: that of the writer, and one of `Reading`.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import psycopg
from psycopg.rows import dict_row

from surefoot_server.journal.chain import Store
from surefoot_server.journal.records import JournalUnavailable, Row
from surefoot_server.journal.sql import QUERIES, statements
from surefoot_tools.database.postgres_url import Address

T = TypeVar("T")
Connection = psycopg.Connection[Row]

OLDEST = 150000
"""PostgreSQL 15."""
CONNECT_SECONDS = 5
WAIT_MS = 10_000
"""Milliseconds that one server waits for another's commit."""
SETTINGS = {
    "search_path": "surefoot",
    "client_encoding": "UTF8",
    "lock_timeout": str(WAIT_MS),
    # Not as the server has them by default: a session that holds a lock is idle for days.
    "idle_session_timeout": "0",
    "statement_timeout": "60s",
    # A server whose network is gone must hold neither the journal nor its own life for hours.
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
"""Of every session."""
LOST = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
"""What is not one operation's trouble but the database's."""

_PARAMETER = re.compile(r"(?<!:):([a-z]\w*)")
_NULL_PARAMETER = re.compile(r"(:[a-z]\w*) IS NULL")
_JSON_FIELD = re.compile(r"json_extract\((\w+), '\$\.(\w+)'\)")


def translate(text: str) -> str:
    """A statement written for SQLite, as psycopg and PostgreSQL take it."""
    # A parameter that is only held against NULL has no type of its own.
    text = _NULL_PARAMETER.sub(r"CAST(\1 AS text) IS NULL", text)
    # Not `->>`: it refuses a whole error for one \u0000 in its message.
    text = _JSON_FIELD.sub(r"""substring(\1 FROM '"\2":"([^"]*)"')""", text)
    return _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%"))


_OWN = statements("postgres.sql")
JOBS = _OWN.pop("jobs")
SCHEMA = f"{_OWN.pop('schema')}\n{JOBS}"
STATEMENTS = {
    name: translate(text).encode()
    for name, text in (QUERIES | statements("look.sql") | _OWN).items()
}


def connect(address: Address, application: str, *, read_only: bool = False) -> Connection:
    """Open a connection, each statement its own transaction unless BEGIN says otherwise.

    Args:
        address: Of the database.
        application: What names this connection among the sessions of the server.
        read_only: Whether it can write nothing.

    Raises:
        psycopg.OperationalError: without a password in its message.
        JournalUnavailable: the server is too old, or does not flush what it commits.
    """
    more: dict[str, Any] = dict(address.more)
    settings = SETTINGS | ({"default_transaction_read_only": "on"} if read_only else {})
    try:
        connection = Connection.connect(
            host=address.host,
            port=address.port,
            dbname=address.database,
            user=address.user,
            password=address.password,
            application_name=application,
            connect_timeout=CONNECT_SECONDS,
            target_session_attrs="any" if read_only else "read-write",
            options=" ".join(f"-c {name}={value}" for name, value in settings.items()),
            autocommit=True,
            row_factory=dict_row,
            **more,
        )
    except psycopg.Error as e:
        raise psycopg.OperationalError(address.scrub(str(e).strip())) from None
    try:
        _check(connection, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: Connection, *, read_only: bool) -> None:
    version = connection.info.server_version
    if version < OLDEST:
        raise JournalUnavailable(
            f"the journal needs PostgreSQL {OLDEST // 10000} or newer, this is {version // 10000}"
        )
    if read_only:
        return
    for row in connection.execute("SHOW fsync").fetchall():
        if row["fsync"] != "on":
            raise JournalUnavailable(
                "PostgreSQL runs with fsync = off: a power cut would lose what it has committed;"
                " set fsync = on, or keep the journal elsewhere"
            )


def execute(connection: Connection, name: str, parameters: Mapping[str, Any]) -> list[Row]:
    """Run a named statement, and give its rows."""
    cursor = connection.execute(STATEMENTS[name], parameters)
    return cursor.fetchall() if cursor.description is not None else []


class Reading:
    """A connection that only reads; made anew when it was lost.

    Args:
        address: Of the database.
        application: Its name among the sessions of the server.
    """

    def __init__(self, address: Address, application: str) -> None:
        self._address = address
        self._application = application
        self._connection = connect(address, application, read_only=True)
        # One at a time: a connection is for one thread.
        self._turn = anyio.CapacityLimiter(1)

    def execute(self, name: str, parameters: Mapping[str, Any]) -> list[Row]:
        """Run a named statement."""
        return execute(self._connection, name, parameters)

    def run(self, step: Callable[[Store], T]) -> T:
        """Run something that reads; once more where the connection turns out to be lost.

        Raises:
            JournalUnavailable: it cannot be read.
        """
        try:
            try:
                return step(self)
            except LOST:
                if not self._connection.closed:
                    raise
                self._connection = connect(self._address, self._application, read_only=True)
                return step(self)
        except psycopg.Error as e:
            raise JournalUnavailable(f"the journal cannot be read: {e}") from e

    async def in_thread(self, look: Callable[[], T]) -> T:
        """Call something that reads here without blocking the event loop."""
        return await anyio.to_thread.run_sync(look, limiter=self._turn)

    def close(self) -> None:
        """Close it."""
        with suppress(psycopg.Error):
            self._connection.close()
