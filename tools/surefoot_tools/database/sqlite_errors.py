"""SQLite's failures as `ToolError`: the one place that knows what each result code means for us.

Source of the codes: https://sqlite.org/rescode.html
"""

from collections.abc import Sequence

import apsw

from surefoot_tools.errors import Applied, Code, Origin, ToolError

BUSY_RETRY_AFTER = 1.0
"""Seconds after which a database that was locked is worth another try."""

_MEANING: tuple[tuple[type[apsw.Error], Code, Origin | None], ...] = (
    (apsw.BusyError, Code.UNAVAILABLE, None),
    (apsw.LockedError, Code.UNAVAILABLE, None),
    (apsw.ProtocolError, Code.UNAVAILABLE, None),
    (apsw.FullError, Code.RESOURCE_EXHAUSTED, None),
    (apsw.NoMemError, Code.RESOURCE_EXHAUSTED, None),
    (apsw.IOError, Code.INTERNAL, Origin.ENVIRONMENT),
    (apsw.CorruptError, Code.DATA_LOSS, None),
    (apsw.NotADBError, Code.FAILED_PRECONDITION, Origin.ENVIRONMENT),
    (apsw.ReadOnlyError, Code.PERMISSION_DENIED, Origin.ENVIRONMENT),
    (apsw.PermissionsError, Code.PERMISSION_DENIED, Origin.ENVIRONMENT),
    (apsw.CantOpenError, Code.PERMISSION_DENIED, Origin.ENVIRONMENT),
    (apsw.AuthError, Code.PERMISSION_DENIED, None),
    (apsw.ConstraintError, Code.FAILED_PRECONDITION, None),
    (apsw.SchemaChangeError, Code.ABORTED, None),
    (apsw.AbortError, Code.ABORTED, None),
    (apsw.SQLError, Code.INVALID_ARGUMENT, None),
    (apsw.BindingsError, Code.INVALID_ARGUMENT, None),
    (apsw.MismatchError, Code.INVALID_ARGUMENT, None),
    (apsw.RangeError, Code.INVALID_ARGUMENT, None),
    (apsw.TooBigError, Code.INVALID_ARGUMENT, None),
)
"""Result code, what it means, and whose fault it is where that differs from the code's default."""

_FLUSHES = (apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC)

_LEFT_BEHIND = (
    apsw.SQLITE_READONLY_ROLLBACK,
    apsw.SQLITE_READONLY_RECOVERY,
    apsw.SQLITE_READONLY_CANTINIT,
)
"""Somebody died within a transaction, and who only reads cannot roll it back."""

_HINTS: dict[type[apsw.Error], str] = {
    apsw.BusyError: "another program holds the database; nothing was done, try again",
    apsw.LockedError: "another program holds the database; nothing was done, try again",
    apsw.FullError: "the disk or the database's own limit is full; free space first",
    apsw.CorruptError: "the database file is damaged; restore it, do not write to it",
    apsw.ReadOnlyError: "the server has no permission to write to the database file or its folder",
    apsw.CantOpenError: "the server has no permission to open the database file or its folder",
    apsw.TooBigError: "a value or statement may take 16 MiB at most",
}


def tool_error(error: apsw.Error, *, tables: Sequence[str] = ()) -> ToolError:
    """What SQLite's failure means; nothing of the work is left (`applied` is `no`).

    Args:
        error: As raised by the driver, before a COMMIT was tried.
        tables: The tables there are, for a statement that names one there is not.
    """
    message = str(error) or type(error).__name__
    if getattr(error, "extendedresult", None) in _LEFT_BEHIND:
        return ToolError(
            Code.UNAVAILABLE,
            "SQLite: a program died within a transaction, which is to be rolled back first",
            origin=Origin.ENVIRONMENT,
            hint="The next program that writes does that; a server started with ?mode=rw does it"
            " when it reads, too.",
            retry_after=BUSY_RETRY_AFTER,
        )
    for kind, code, origin in _MEANING:
        if isinstance(error, kind):
            hint = _HINTS.get(kind)
            if kind is apsw.SQLError and message.startswith(("no such table", "no such column")):
                hint = "the tables are: " + (", ".join(tables) or "none")
            retry_after = BUSY_RETRY_AFTER if code is Code.UNAVAILABLE else None
            return ToolError(
                code, f"SQLite: {message}", origin=origin, hint=hint, retry_after=retry_after
            )
    return ToolError(Code.INTERNAL, f"SQLite: {type(error).__name__}: {message}")


def left_behind(error: ToolError) -> bool:
    """Whether a transaction that somebody died in keeps who reads from reading."""
    return getattr(error.__cause__, "extendedresult", None) in _LEFT_BEHIND


def commit_error(error: apsw.Error) -> ToolError:
    """What a failed COMMIT means; the caller has rolled back what was left to roll back.

    SQLite says of these codes that the transaction did not commit; of any other (an I/O error
    may come before or after the commit point) nobody knows, but the inbox will.
    """
    known = (apsw.BusyError, apsw.LockedError, apsw.ConstraintError, apsw.FullError)
    if isinstance(error, known):
        return tool_error(error)
    # A flush that failed may have dropped pages that a second one would not write: never again.
    unflushed = getattr(error, "extendedresult", None) in _FLUSHES
    return ToolError(
        Code.DATA_LOSS if unflushed else Code.UNKNOWN,
        f"SQLite at COMMIT: {error}; whether the transaction is there is not known",
        applied=Applied.UNKNOWN,
        origin=Origin.ENVIRONMENT,
        hint="repeat the call under the same key: it runs only if nothing was committed",
    )
