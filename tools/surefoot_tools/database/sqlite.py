"""SQLite as an `Engine`.

A transaction and its record commit together: the row in `surefoot_inbox` is the first statement of
the transaction, so a second transaction under the same key waits for the first one's COMMIT and
then finds its row. Before it: the tools. After it: connections, guard, errors, schema.
"""

import hashlib
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import anyio
import apsw

from surefoot_tools.database.engine import INBOX, Rows, Statement, Table
from surefoot_tools.database.interruption import Interruption, run_interruptibly
from surefoot_tools.database.sqlite_connection import Budget, connect, run_statement
from surefoot_tools.database.sqlite_errors import commit_error, tool_error
from surefoot_tools.database.sqlite_guard import Guard
from surefoot_tools.database.sqlite_schema import read_tables
from surefoot_tools.database.values import Blob
from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.tool import Context

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

        return await run_interruptibly(job, timeout=timeout, context=context, limiter=self._threads)

    async def execute(
        self, statements: Sequence[Statement], *, dry_run: bool, timeout: float, context: Context
    ) -> list[Rows]:
        """As of `Engine`."""
        if not self._writable:
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"database {self._name!r} is read-only",
                hint=f"whoever runs the server can allow it: --database {self._name}=URL?mode=rw",
            )
        key = None if dry_run else context.effect_key
        return await run_interruptibly(
            partial(self._execute, statements, key),
            timeout=timeout,
            context=context,
            limiter=self._threads,
        )

    def _execute(
        self, statements: Sequence[Statement], key: str | None, interruption: Interruption
    ) -> list[Rows]:
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
                return _run_all(connection, statements, interruption)
            fingerprint = _fingerprint(statements)
            with _translated(interruption):
                connection.execute(_CREATE)
                claimed = connection.execute(_CLAIM, (key, fingerprint)).fetchall()
                if not claimed:
                    return _stored(connection, key, fingerprint)
            results = _run_all(connection, statements, interruption)
            stored = json.dumps([asdict(rows) for rows in results])
            with _translated(interruption):
                connection.execute(_STORE, (stored, key))
            _commit(connection, interruption)
            return results

    async def describe(self, table: str | None, *, timeout: float, context: Context) -> list[Table]:
        """As of `Engine`."""

        def job(interruption: Interruption) -> list[Table]:
            with (
                connect(self._name, self._path, interruption, writing=False) as connection,
                _translated(interruption),
            ):
                return read_tables(connection, table, interruption)

        return await run_interruptibly(job, timeout=timeout, context=context, limiter=self._threads)


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
            raise ToolError(
                error.code,
                f"statement {number} of {len(statements)}: {error.message};"
                " the transaction was rolled back",
                applied=error.applied,
                origin=error.origin,
                hint=error.hint,
                retry_after=error.retry_after,
            ) from error
        results.append(rows)
    return results


def _fingerprint(statements: Sequence[Statement]) -> str:
    """SHA-256 over the statements: tells another call under a key from the same one again."""

    def plain(value: object) -> object:
        return value.model_dump() if isinstance(value, Blob) else value

    listed: list[object] = []
    for statement in statements:
        parameters = statement.parameters
        if isinstance(parameters, dict):
            listed.append([statement.sql, {name: plain(v) for name, v in parameters.items()}])
        else:
            listed.append([statement.sql, [plain(v) for v in parameters or []]])
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def _stored(connection: apsw.Connection, key: str, fingerprint: str) -> list[Rows]:
    found = connection.execute(_FIND, (key,)).fetchall()
    if found[0][0] != fingerprint:
        raise ToolError(
            Code.INVALID_ARGUMENT, "this key was used for another call", origin=Origin.CLIENT
        )
    return [Rows(**rows) for rows in json.loads(str(found[0][1]))]


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
