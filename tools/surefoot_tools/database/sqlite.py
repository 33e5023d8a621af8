"""SQLite as an `Engine`.

A transaction and its record commit together: the row in `surefoot_inbox` is the first statement of
the transaction, so a second transaction under the same key waits for the first one's COMMIT and
then finds its row. Before it: the tools. After it: connections, guard, errors, schema.
"""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import apsw

from surefoot_tools.database import inbox
from surefoot_tools.database.budget import Budget
from surefoot_tools.database.engine import (
    INBOX,
    Executed,
    Rows,
    Statement,
    Table,
    at_statement,
    read_only,
)
from surefoot_tools.database.interruption import Interruption, run_interruptibly
from surefoot_tools.database.sqlite_connection import connect, run_statement
from surefoot_tools.database.sqlite_errors import commit_error, left_behind, tool_error
from surefoot_tools.database.sqlite_guard import Guard
from surefoot_tools.database.sqlite_schema import read_tables
from surefoot_tools.errors import ToolError
from surefoot_tools.tool import Context

T = TypeVar("T")

THREADS = 4
"""Calls that one database serves at a time; more wait their turn."""

RETURNED_ROWS = 1000
"""Most rows that one statement of a transaction gives back."""

COMMIT_TRIES = 2
"""A busy COMMIT has committed nothing and may be tried again; each try waits for the lock."""

_CREATE = (
    f"CREATE TABLE IF NOT EXISTS main.{INBOX}"
    "(key TEXT PRIMARY KEY, fingerprint TEXT, result TEXT, at TEXT)"
)
# INBOX is a constant of ours, not a caller's word.
_CLAIM = (
    f"INSERT INTO main.{INBOX}(key, fingerprint, at)"  # noqa: S608
    " VALUES (?, ?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) ON CONFLICT DO NOTHING RETURNING key"
)
_FIND = f"SELECT fingerprint, result FROM main.{INBOX} WHERE key = ?"  # noqa: S608
_THERE = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?"
_PURGE = (
    f"DELETE FROM main.{INBOX}"  # noqa: S608
    " WHERE at < strftime('%Y-%m-%dT%H:%M:%fZ', ?, 'unixepoch')"
)
_STORE = f"UPDATE main.{INBOX} SET result = ? WHERE key = ?"  # noqa: S608


class SqliteEngine:
    """One SQLite file.

    Args:
        name: For messages.
        path: Absolute.
        writable: Whether `execute` may change it.
    """

    dialect = "sqlite"

    def __init__(self, name: str, path: Path, *, writable: bool) -> None:
        self._name = name
        self._path = path
        self._writable = writable
        self._threads = anyio.CapacityLimiter(THREADS)

    @property
    def place(self) -> str:
        """As of `Engine`."""
        return f"sqlite:{self._path.resolve()}"

    async def query(
        self, statement: Statement, *, max_rows: int, timeout: float, context: Context
    ) -> Rows:
        """As of `Engine`."""

        def job(interruption: Interruption) -> Rows:
            with connect(self._name, self._path, interruption, writing=False) as connection:
                return run_statement(
                    connection,
                    statement,
                    Guard(writing=False),
                    interruption,
                    max_rows=max_rows,
                    budget=Budget(),
                )

        return await run_interruptibly(
            partial(self._read, job), timeout=timeout, context=context, limiter=self._threads
        )

    def _read(self, job: Callable[[Interruption], T], interruption: Interruption) -> T:
        """Read; where a writer died in its transaction, roll that back first, if we may write."""
        try:
            return job(interruption)
        except ToolError as error:
            if not (self._writable and left_behind(error)):
                raise
        with (
            connect(self._name, self._path, interruption, writing=True) as connection,
            _translated(interruption),
        ):
            connection.execute(_THERE, (INBOX,)).fetchall()  # any read of one that may write
        return job(interruption)

    async def execute(
        self, statements: Sequence[Statement], *, dry_run: bool, timeout: float, context: Context
    ) -> Executed:
        """As of `Engine`."""
        if not self._writable:
            raise read_only(self._name)
        key = None if dry_run else context.effect_key
        return await run_interruptibly(
            partial(self._execute, statements, key),
            timeout=timeout,
            context=context,
            limiter=self._threads,
        )

    def _execute(
        self, statements: Sequence[Statement], key: str | None, interruption: Interruption
    ) -> Executed:
        # What is not committed when the connection is closed is rolled back by SQLite
        # (https://sqlite.org/c3ref/close.html): every way out but _commit leaves nothing.
        with connect(self._name, self._path, interruption, writing=True) as connection:
            with _translated(interruption):
                # EXTRA is FULL and a flush of the folder once the rollback journal is gone,
                # without which a power cut may bring back the state before the COMMIT.
                connection.pragma("synchronous", "EXTRA")
                connection.pragma("fullfsync", 1)
                connection.execute("BEGIN IMMEDIATE")
            if key is None:
                return Executed(_run_all(connection, statements, interruption))
            fingerprint = inbox.fingerprint(statements)
            with _translated(interruption):
                connection.execute(_CREATE)
                claimed = connection.execute(_CLAIM, (key, fingerprint)).fetchall()
                if not claimed:
                    found, result = connection.execute(_FIND, (key,)).fetchall()[0]
                    inbox.same_call(found, fingerprint)
                    return inbox.decode(result)
            executed = Executed(_run_all(connection, statements, interruption))
            with _translated(interruption):
                connection.execute(_STORE, (inbox.encode(executed), key))
            _commit(connection, interruption)
            return executed

    async def describe(self, table: str | None, *, timeout: float, context: Context) -> list[Table]:
        """As of `Engine`."""

        def job(interruption: Interruption) -> list[Table]:
            with (
                connect(self._name, self._path, interruption, writing=False) as connection,
                _translated(interruption),
            ):
                return read_tables(connection, table, interruption)

        return await run_interruptibly(
            partial(self._read, job), timeout=timeout, context=context, limiter=self._threads
        )

    async def recall(self, key: str, *, timeout: float) -> Executed | None:
        """As of `Engine`."""
        return await self._on_inbox(partial(_look, key), None, key, timeout)

    async def purge_inbox(self, older_than: float, *, timeout: float) -> int:
        """As of `Engine`."""
        if not self._writable:
            return 0
        return await self._on_inbox(partial(_purge, older_than), 0, "", timeout)

    async def _on_inbox(
        self, work: Callable[[apsw.Connection], T], nothing: T, key: str, timeout: float
    ) -> T:
        """Do something with the inbox alone, as the only writer; `nothing` if there is none."""
        if not self._writable:
            raise read_only(self._name)

        def job(interruption: Interruption) -> T:
            with (
                connect(self._name, self._path, interruption, writing=True) as connection,
                _translated(interruption),
            ):
                # Waits for whoever writes: after that, no COMMIT is in flight.
                connection.execute("BEGIN IMMEDIATE")
                there = connection.execute(_THERE, (INBOX,)).fetchall()
                found = work(connection) if there else nothing
                connection.execute("COMMIT")
                return found

        context = Context(call_id="", effect_key=key, deadline=math.inf)
        return await run_interruptibly(job, timeout=timeout, context=context, limiter=self._threads)


def _look(key: str, connection: apsw.Connection) -> Executed | None:
    found = connection.execute(_FIND, (key,)).fetchall()
    return inbox.decode(found[0][1]) if found else None


def _purge(older_than: float, connection: apsw.Connection) -> int:
    connection.execute(_PURGE, (older_than,))
    return connection.changes()


@contextmanager
def _translated(interruption: Interruption) -> Generator[None]:
    """Our own statements: SQLite's failures as ours."""
    try:
        yield
    except apsw.InterruptError as error:
        raise interruption.error() from error
    except apsw.Error as error:
        raise tool_error(error) from error


def _run_all(
    connection: apsw.Connection, statements: Sequence[Statement], interruption: Interruption
) -> list[Rows]:
    guard = Guard(writing=True)
    budget = Budget()
    results: list[Rows] = []
    for number, statement in enumerate(statements, start=1):
        try:
            rows = run_statement(
                connection, statement, guard, interruption, max_rows=RETURNED_ROWS, budget=budget
            )
        except ToolError as error:
            raise at_statement(error, number, len(statements)) from error
        results.append(rows)
    return results


def _commit(connection: apsw.Connection, interruption: Interruption) -> None:
    interruption.begin_final_step()
    for tries_left in reversed(range(COMMIT_TRIES)):
        try:
            connection.execute("COMMIT")
        except apsw.BusyError as error:
            if tries_left:
                continue
            raise commit_error(error) from error
        except apsw.Error as error:
            raise commit_error(error) from error
        return
