"""PostgreSQL's failures as `ToolError`: the one place that knows what each SQLSTATE means for us.

Source of the codes: PostgreSQL's manual, appendix A, 'PostgreSQL Error Codes'.
"""

from collections.abc import Sequence

import psycopg

from surefoot_tools.database.server_url import Address
from surefoot_tools.errors import Applied, Code, Origin, ToolError

RETRY_AFTER = 0.1
"""Seconds after which a transaction that lost against another is worth another try."""

Meaning = tuple[Code, Origin, bool]
"""Code, whose fault, and whether the same statements may work when they are run again."""

MEANING: dict[str, Meaning] = {
    # The database aborted the transaction for the sake of another one.
    "40001": (Code.ABORTED, Origin.ENVIRONMENT, True),  # serialization_failure
    "40P01": (Code.ABORTED, Origin.ENVIRONMENT, True),  # deadlock_detected
    "55P03": (Code.ABORTED, Origin.ENVIRONMENT, True),  # lock_not_available
    "40003": (Code.UNKNOWN, Origin.ENVIRONMENT, True),  # statement_completion_unknown
    "40": (Code.ABORTED, Origin.ENVIRONMENT, True),
    # The server, or the way to it, is not there now.
    "57P01": (Code.UNAVAILABLE, Origin.ENVIRONMENT, True),  # admin_shutdown
    "57P02": (Code.UNAVAILABLE, Origin.ENVIRONMENT, True),  # crash_shutdown
    "57P03": (Code.UNAVAILABLE, Origin.ENVIRONMENT, True),  # cannot_connect_now
    "57P05": (Code.UNAVAILABLE, Origin.ENVIRONMENT, True),  # idle_session_timeout
    "08": (Code.UNAVAILABLE, Origin.ENVIRONMENT, True),
    "53300": (Code.UNAVAILABLE, Origin.ENVIRONMENT, True),  # too_many_connections
    # Limits.
    "57014": (Code.DEADLINE_EXCEEDED, Origin.TOOL, False),  # query_canceled
    "25P03": (Code.DEADLINE_EXCEEDED, Origin.TOOL, False),  # idle_in_transaction_session_timeout
    "25P04": (Code.DEADLINE_EXCEEDED, Origin.TOOL, False),  # transaction_timeout
    "53": (Code.RESOURCE_EXHAUSTED, Origin.ENVIRONMENT, False),
    "54": (Code.RESOURCE_EXHAUSTED, Origin.MODEL, False),
    # What is asked for is wrong, or not allowed.
    "22": (Code.INVALID_ARGUMENT, Origin.MODEL, False),
    "23": (Code.FAILED_PRECONDITION, Origin.MODEL, False),
    "25006": (Code.PERMISSION_DENIED, Origin.POLICY, False),  # read_only_sql_transaction
    "25001": (Code.PERMISSION_DENIED, Origin.POLICY, False),  # active_sql_transaction
    "25": (Code.FAILED_PRECONDITION, Origin.MODEL, False),
    "28": (Code.UNAUTHENTICATED, Origin.ENVIRONMENT, False),
    "2D": (Code.PERMISSION_DENIED, Origin.POLICY, False),  # invalid_transaction_termination
    "3D": (Code.NOT_FOUND, Origin.ENVIRONMENT, False),  # invalid_catalog_name
    "42501": (Code.PERMISSION_DENIED, Origin.ENVIRONMENT, False),  # insufficient_privilege
    "42": (Code.INVALID_ARGUMENT, Origin.MODEL, False),
    "0A": (Code.INVALID_ARGUMENT, Origin.MODEL, False),  # feature_not_supported
    "55": (Code.FAILED_PRECONDITION, Origin.MODEL, False),
    "P0": (Code.FAILED_PRECONDITION, Origin.MODEL, False),  # raised by a PL/pgSQL function
    # The server itself.
    "58": (Code.INTERNAL, Origin.ENVIRONMENT, False),  # system_error
    "XX001": (Code.DATA_LOSS, Origin.ENVIRONMENT, False),  # data_corrupted
    "XX002": (Code.DATA_LOSS, Origin.ENVIRONMENT, False),  # index_corrupted
    "XX": (Code.INTERNAL, Origin.ENVIRONMENT, False),
}
"""By SQLSTATE, or by its class (the first two characters) where all of a class mean the same."""

OTHER: Meaning = (Code.FAILED_PRECONDITION, Origin.TOOL, False)
"""A SQLSTATE that the table does not have."""

NO_ANSWER: Meaning = (Code.UNAVAILABLE, Origin.ENVIRONMENT, True)
"""No SQLSTATE: the connection is gone, or there never was one."""

_CONNECTING: tuple[tuple[str, str], ...] = (
    ("password authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ("is not permitted to log in", "28000"),
    ("does not support SSL", "28000"),
    ("certificate verify failed", "28000"),
    ("role ", "28000"),
    ("database ", "3D000"),
    ("too many clients", "53300"),
    ("remaining connection slots", "53300"),
)
"""Words of a failure to connect, for which libpq gives no SQLSTATE, and the one it had."""

_HINTS: dict[str, str] = {
    "25006": "to change something, use execute_sql; a standby server cannot be changed at all",
    "25001": "it runs outside of a transaction only, where its effect cannot be recorded with it;"
    " run it with the database's own client",
    "2D000": "a function or block must not COMMIT or ROLLBACK: the transaction is execute_sql's",
    "28P01": "correct the password: in --database, in PGPASSWORD or in ~/.pgpass of the server",
    "40001": "another transaction changed the same rows; nothing was done, try again",
    "40P01": "two transactions waited for each other; nothing was done, try again",
    "42P01": "describe_database shows the tables",
    "42703": "describe_database shows the columns",
    "42P02": "PostgreSQL's parameters are $1, $2, ... and `parameters` is a list",
}

_IN_DOUBT_CLASSES = ("08", "57", "58", "XX")
"""Classes of SQLSTATE that a COMMIT may give after its commit point: a shutdown in the wait for a
standby, a lost connection, an error of the system."""


def meaning_of(sqlstate: str | None) -> Meaning:
    """What a SQLSTATE means; the whole code wins over its class."""
    if sqlstate is None:
        return NO_ANSWER
    return MEANING.get(sqlstate) or MEANING.get(sqlstate[:2]) or OTHER


def tool_error(error: psycopg.Error, *, applied: Applied = Applied.NO) -> ToolError:
    """What a failure of the server or the connection means.

    Args:
        error: As raised by the driver.
        applied: Whether the effect happened.
    """
    code, origin, again = meaning_of(error.sqlstate)
    retry_after = RETRY_AFTER if again and code is not Code.UNAVAILABLE else None
    return ToolError(
        code,
        f"PostgreSQL: {_words(error)}",
        applied=applied,
        origin=origin,
        hint=_HINTS.get(error.sqlstate or "") or error.diag.message_hint,
        retry_after=retry_after,
    )


def _words(error: psycopg.Error) -> str:
    diag = error.diag
    if diag.message_primary is None:
        return " ".join(str(error).split()) or type(error).__name__
    detail = "" if diag.message_detail is None else f"; {diag.message_detail}"
    return f"{diag.message_primary}{detail} (SQLSTATE {error.sqlstate})"


def connect_error(error: psycopg.Error, name: str, address: Address) -> ToolError:
    """What a failure to connect means; no statement was sent, and the password is not shown."""
    text = address.scrub(" ".join(str(error).split()))
    sqlstate = error.sqlstate
    if sqlstate is None and ("FATAL:" in text or "does not support SSL" in text):
        said = text.partition("FATAL:")[2] or text
        sqlstate = next((code for words, code in _CONNECTING if words in said), None)
    code, origin, _ = meaning_of(sqlstate)
    hint = _HINTS.get(sqlstate or "", "is the server of this database running, and reachable?")
    message = f"database {name!r} cannot be reached: {text}"
    return ToolError(code, message, origin=origin, hint=hint)


def commit_error(error: psycopg.Error, *, answered: bool) -> ToolError:
    """What a failed COMMIT means.

    Args:
        error: As raised by the driver.
        answered: The server said that the transaction is over and waits for the next statement:
            then an error such as a deferred constraint came before the commit point.
    """
    sqlstate = error.sqlstate or ""
    late = sqlstate != "57014" and sqlstate.startswith(_IN_DOUBT_CLASSES)
    if answered and sqlstate and sqlstate != "40003" and not late:
        return tool_error(error)
    return ToolError(
        Code.UNKNOWN,
        f"PostgreSQL at COMMIT: {_words(error)}; whether the transaction is there is not known",
        applied=Applied.UNKNOWN,
        origin=Origin.ENVIRONMENT,
        hint="repeat the call under the same key: it runs only if nothing was committed",
    )


def inbox_error(error: psycopg.Error, table: str, wanted: Sequence[str]) -> ToolError:
    """The inbox cannot be made or used by the role that we connect as."""
    return ToolError(
        Code.FAILED_PRECONDITION,
        f"PostgreSQL: {_words(error)}: the role may not use the table {table}, in which each change"
        " is recorded",
        origin=Origin.ENVIRONMENT,
        hint="whoever owns the database can allow it: " + "; ".join(wanted),
    )
