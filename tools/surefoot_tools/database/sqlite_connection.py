"""Connections to a SQLite file, and one caller's statement run on one.

Every call opens its own: nothing of one caller (temporary tables, settings, an interrupt) reaches
another. Before it: `sqlite.py`. After it: the guard and the table of errors.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import apsw

from surefoot_tools.database.budget import Budget
from surefoot_tools.database.engine import INBOX, Rows, Statement
from surefoot_tools.database.interruption import Interruption
from surefoot_tools.database.sqlite_errors import tool_error
from surefoot_tools.database.sqlite_guard import Guard
from surefoot_tools.database.values import Json, bindings, column_name, to_json
from surefoot_tools.errors import Code, Origin, ToolError

BUSY_TIMEOUT = 2.0
"""Seconds to wait for another program's lock."""

PROGRESS_STEPS = 10_000
"""Virtual machine steps (well under a millisecond) between two looks at deadline and cancel."""

_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: 16 * 1024 * 1024,
    apsw.SQLITE_LIMIT_SQL_LENGTH: 1024 * 1024,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: 1000,
    apsw.SQLITE_LIMIT_PARSER_DEPTH: 1000,
    apsw.SQLITE_LIMIT_TRIGGER_DEPTH: 100,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_BLANK = re.compile(r"(?:[\s;]|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))*", re.DOTALL)


@contextmanager
def connect(
    name: str, path: Path, interruption: Interruption, *, writing: bool
) -> Generator[apsw.Connection]:
    """A connection for one call, with limits set and without a guard yet; closed at the end.

    Args:
        name: The database's name, for messages.
        path: Absolute. Quoted, so that no part of it can become a URI parameter.
        interruption: Stops what runs on the connection.
        writing: False opens the file read-only. A file that is missing is never created.

    Raises:
        ToolError: the file is missing or cannot be opened.
    """
    interruption.check()
    uri = f"file:{quote(str(path))}?mode={'rw' if writing else 'ro'}"
    access = apsw.SQLITE_OPEN_READWRITE if writing else apsw.SQLITE_OPEN_READONLY
    try:
        # No statement cache: a statement that was compiled before the guard must not serve after.
        connection = apsw.Connection(uri, flags=access | apsw.SQLITE_OPEN_URI, statementcachesize=0)
    except apsw.CantOpenError as error:
        if path.exists():
            raise tool_error(error) from error
        raise ToolError(
            Code.NOT_FOUND,
            f"the file of database {name!r} does not exist",
            origin=Origin.ENVIRONMENT,
            hint="databases are not created by the server; create the file, or correct --database",
        ) from error
    except apsw.Error as error:
        raise tool_error(error) from error
    try:
        _configure(connection, interruption)
        interruption.attach(connection)
        yield connection
    finally:
        interruption.detach()
        connection.close(True)


def _configure(connection: apsw.Connection, interruption: Interruption) -> None:
    for limit, value in _LIMITS.items():
        connection.limit(limit, value)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0)
    connection.set_busy_timeout(int(min(BUSY_TIMEOUT, interruption.remaining) * 1000))
    connection.set_progress_handler(interruption.should_stop, PROGRESS_STEPS)


def is_blank(sql: str) -> bool:
    """Whether nothing is there but spaces, semicolons and comments."""
    match = _BLANK.match(sql)
    return match is not None and match.end() == len(sql)


def _reject_text(sql: str) -> None:
    if is_blank(sql):
        raise ToolError(Code.INVALID_ARGUMENT, "the SQL is empty: pass one statement")
    if "\0" in sql:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"the SQL has a NUL character at offset {sql.index(chr(0))}, where SQLite would end it",
            hint="pass a text with NUL in `parameters`, or write char(0)",
        )


class _Look:
    """Sees a statement between its compilation and its first step; refuses what must not begin."""

    def __init__(self, statement: Statement, guard: Guard) -> None:
        self._sql = statement.sql
        self._guard = guard
        self.values = bindings(statement.parameters)
        self.columns: list[str] = []
        self._seen = False

    def __call__(self, cursor: apsw.Cursor, first: str, _bindings: object) -> bool:
        """The driver's hook; `first` is the text of the first statement of the SQL."""
        if self._seen:
            return True  # the comment or space after it, for which the driver calls again
        self._seen = True
        if not is_blank(self._sql[len(first) :]):
            raise ToolError(
                Code.INVALID_ARGUMENT,
                "one statement a call: there is more after the first",
                hint="one call of query_database each, or one element each of execute_sql's list",
            )
        values = self.values
        if isinstance(values, dict) and (extra := set(values) - set(cursor.bindings_names)):
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"the statement has no parameter {min(extra)[:100]!r}",
                hint='names are written without their colon: :id takes {"id": 1}',
            )
        if not self._guard.writing and not cursor.is_readonly:
            raise _refused("query_database only reads", self._guard)
        self.columns = [column_name(entry[0]) for entry in cursor.get_description()]
        return True


def run_statement(
    connection: apsw.Connection,
    statement: Statement,
    guard: Guard,
    interruption: Interruption,
    *,
    max_rows: int,
    budget: Budget,
) -> Rows:
    """Run one caller's statement under the guard.

    Raises:
        ToolError: what is wrong with it. Whether to roll back is the caller's.
    """
    _reject_text(statement.sql)
    look = _Look(statement, guard)
    interruption.check()
    guard.refusal = None
    cursor = connection.cursor()
    cursor.exec_trace = look
    connection.authorizer = guard
    try:
        with _explained(connection, guard, interruption):
            before = connection.total_changes()
            cursor.execute(statement.sql, look.values)
            rows, truncated = _fetch(cursor, max_rows, budget)
    finally:
        cursor.close(True)
        connection.authorizer = None
    # changes() keeps the count of the last INSERT, UPDATE or DELETE: not this one's, if a schema
    # statement or a SELECT changed no row.
    affected = connection.changes() if connection.total_changes() != before else 0
    return Rows(look.columns, rows, truncated, affected)


@contextmanager
def _explained(
    connection: apsw.Connection, guard: Guard, interruption: Interruption
) -> Generator[None]:
    """A caller's statement: the driver's failures in words for its author."""
    try:
        yield
    except apsw.InterruptError as error:
        raise interruption.error() from error
    except apsw.Error as error:
        connection.authorizer = None  # what is looked up for the hint is ours
        raise _statement_error(connection, error, guard) from error
    except KeyError as error:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"the statement uses the parameter {error.args[0]!r}, which `parameters` does not have",
        ) from error
    except UnicodeDecodeError as error:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            "a text in the result is not UTF-8",
            origin=Origin.ENVIRONMENT,
            hint="read it as bytes: CAST(column AS BLOB)",
        ) from error


def _statement_error(connection: apsw.Connection, error: apsw.Error, guard: Guard) -> ToolError:
    if guard.refusal is not None:
        return _refused(guard.refusal, guard)
    if str(error).startswith("cannot VACUUM"):
        return _refused("VACUUM cannot be part of a transaction", guard)
    if str(error) == "not authorized":  # by a function itself, such as load_extension
        return _refused(str(error), guard)
    tables = table_names(connection) if isinstance(error, apsw.SQLError) else []
    return tool_error(error, tables=tables)


def _refused(reason: str, guard: Guard) -> ToolError:
    hint = None if guard.writing else "to change something, use execute_sql"
    return ToolError(Code.PERMISSION_DENIED, f"refused: {reason}", hint=hint)


def _fetch(cursor: apsw.Cursor, max_rows: int, budget: Budget) -> tuple[list[list[Json]], bool]:
    # Stopping early cuts no effect: a statement with RETURNING has made all its changes before its
    # first row (https://sqlite.org/lang_returning.html, section 3).
    rows: list[list[Json]] = []
    for values in cursor:
        row = [to_json(value) for value in values]
        if len(rows) == max_rows or not budget.take(row):
            return rows, True
        rows.append(row)
    return rows, False


def table_names(connection: apsw.Connection, most: int = 50) -> list[str]:
    """The names of tables and views, sorted, at most `most`; none where they cannot be read."""
    sql = (
        "SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view')"
        " AND lower(substr(name, 1, 7)) <> 'sqlite_' AND lower(name) <> ? ORDER BY name LIMIT ?"
    )
    try:
        return [str(row[0]) for row in connection.execute(sql, (INBOX, most))]
    except apsw.Error:
        return []  # names are a courtesy beside a failure that is told already
