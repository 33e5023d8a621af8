"""The failures of MySQL and MariaDB as `ToolError`: the one place that knows what each means.

Source of the numbers: MySQL's manual, 'Error Message Reference'; MariaDB's, 'Error Codes'. Their
SQLSTATE says too little: a lock wait timeout is HY000, as nearly everything is.
"""

from collections.abc import Sequence

from asyncmy import errors

from surefoot_tools.database.server_url import Address
from surefoot_tools.errors import Applied, Code, Origin, ToolError

RETRY_AFTER = 0.1
"""Seconds after which a transaction that lost against another is worth another try."""

Failure = errors.MySQLError | RuntimeError | OSError
"""What the driver raises: RuntimeError for a server that asks for a file of ours."""

FAILURES = (errors.MySQLError, RuntimeError, OSError)

Meaning = tuple[Code, Origin, bool]
"""Code, whose fault, and whether the same statements may work when they are run again."""

_LOST: Meaning = (Code.ABORTED, Origin.ENVIRONMENT, True)
_AWAY: Meaning = (Code.UNAVAILABLE, Origin.ENVIRONMENT, True)
_FULL: Meaning = (Code.RESOURCE_EXHAUSTED, Origin.ENVIRONMENT, False)
_DENIED: Meaning = (Code.PERMISSION_DENIED, Origin.ENVIRONMENT, False)
_STRANGER: Meaning = (Code.UNAUTHENTICATED, Origin.ENVIRONMENT, False)
_WRONG: Meaning = (Code.INVALID_ARGUMENT, Origin.MODEL, False)
_BROKEN: Meaning = (Code.DATA_LOSS, Origin.ENVIRONMENT, False)
_LATE: Meaning = (Code.DEADLINE_EXCEEDED, Origin.TOOL, False)

MEANING: dict[str, Meaning] = {
    # The database aborted the transaction for the sake of another one.
    "1213": _LOST,  # ER_LOCK_DEADLOCK
    "1205": _LOST,  # ER_LOCK_WAIT_TIMEOUT
    "1020": _LOST,  # ER_CHECKREAD: with innodb_snapshot_isolation
    "1402": _LOST,  # ER_XA_RBROLLBACK
    "1613": _LOST,  # ER_XA_RBTIMEOUT
    "1614": _LOST,  # ER_XA_RBDEADLOCK
    "3101": _LOST,  # ER_TRANSACTION_ROLLBACK_DURING_COMMIT: by another member of the group
    "3572": _LOST,  # ER_LOCK_NOWAIT
    "40": _LOST,
    # The server, or the way to it, is not there now.
    "1040": _AWAY,  # ER_CON_COUNT_ERROR
    "1047": _AWAY,  # ER_UNKNOWN_COM_ERROR: a Galera node that has not joined yet
    "1053": _AWAY,  # ER_SERVER_SHUTDOWN
    "1203": _AWAY,  # ER_TOO_MANY_USER_CONNECTIONS
    "1927": _AWAY,  # ER_CONNECTION_KILLED
    "2002": _AWAY,  # CR_CONNECTION_ERROR
    "2003": _AWAY,  # CR_CONN_HOST_ERROR
    "2006": _AWAY,  # CR_SERVER_GONE_ERROR
    "2013": _AWAY,  # CR_SERVER_LOST
    "2055": _AWAY,  # CR_SERVER_LOST_EXTENDED
    "4031": _AWAY,  # ER_CLIENT_INTERACTION_TIMEOUT
    "08": _AWAY,
    # Limits.
    "1317": _LATE,  # ER_QUERY_INTERRUPTED
    "1969": _LATE,  # ER_STATEMENT_TIMEOUT
    "3024": _LATE,  # ER_QUERY_TIMEOUT
    "1021": _FULL,  # ER_DISK_FULL
    "1037": _FULL,  # ER_OUTOFMEMORY
    "1038": _FULL,  # ER_OUT_OF_SORTMEMORY
    "1041": _FULL,  # ER_OUT_OF_RESOURCES
    "1114": _FULL,  # ER_RECORD_FILE_FULL
    "1206": _FULL,  # ER_LOCK_TABLE_FULL
    "1226": _FULL,  # ER_USER_LIMIT_REACHED
    # What is asked for is not allowed.
    "1792": (Code.PERMISSION_DENIED, Origin.POLICY, False),  # ER_CANT_EXECUTE_IN_READ_ONLY_...
    "1399": (Code.PERMISSION_DENIED, Origin.POLICY, False),  # ER_XAER_RMFAIL: in a dry run
    "1044": _DENIED,  # ER_DBACCESS_DENIED_ERROR
    "1045": _DENIED,  # ER_ACCESS_DENIED_ERROR
    "1095": _DENIED,  # ER_KILL_DENIED_ERROR
    "1142": _DENIED,  # ER_TABLEACCESS_DENIED_ERROR
    "1143": _DENIED,  # ER_COLUMNACCESS_DENIED_ERROR
    "1227": _DENIED,  # ER_SPECIFIC_ACCESS_DENIED_ERROR
    "1290": _DENIED,  # ER_OPTION_PREVENTS_STATEMENT
    "1370": _DENIED,  # ER_PROCACCESS_DENIED_ERROR
    "1419": _DENIED,  # ER_BINLOG_CREATE_ROUTINE_NEED_SUPER
    "1836": _DENIED,  # ER_READ_ONLY_MODE
    "4166": _DENIED,  # ER_LOAD_INFILE_CAPABILITY_DISABLED
    "28": _STRANGER,
    # What is asked for is wrong, or breaks a rule of the database.
    "1048": (Code.FAILED_PRECONDITION, Origin.MODEL, False),  # ER_BAD_NULL_ERROR
    "1364": (Code.FAILED_PRECONDITION, Origin.MODEL, False),  # ER_NO_DEFAULT_FOR_FIELD
    "3819": (Code.FAILED_PRECONDITION, Origin.MODEL, False),  # ER_CHECK_CONSTRAINT_VIOLATED
    "4025": (Code.FAILED_PRECONDITION, Origin.MODEL, False),  # ER_CONSTRAINT_FAILED
    "23": (Code.FAILED_PRECONDITION, Origin.MODEL, False),
    "45": (Code.FAILED_PRECONDITION, Origin.MODEL, False),  # SIGNAL
    "1049": (Code.NOT_FOUND, Origin.ENVIRONMENT, False),  # ER_BAD_DB_ERROR
    "1153": _WRONG,  # ER_NET_PACKET_TOO_LARGE
    "1210": _WRONG,  # ER_WRONG_ARGUMENTS
    "1235": _WRONG,  # ER_NOT_SUPPORTED_YET
    "1295": _WRONG,  # ER_UNSUPPORTED_PS
    "1366": _WRONG,  # ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
    "21": _WRONG,
    "22": _WRONG,
    "42": _WRONG,
    # The server itself.
    "1030": (Code.INTERNAL, Origin.ENVIRONMENT, False),  # ER_GET_ERRNO
    "1180": (Code.INTERNAL, Origin.ENVIRONMENT, False),  # ER_ERROR_DURING_COMMIT
    "1034": _BROKEN,  # ER_NOT_KEYFILE
    "1035": _BROKEN,  # ER_OLD_KEYFILE
    "1194": _BROKEN,  # ER_CRASHED_ON_USAGE
    "1195": _BROKEN,  # ER_CRASHED_ON_REPAIR
}
"""By error number, or by class of SQLSTATE (its first two characters) where all of one mean the
same."""

OTHER: Meaning = (Code.FAILED_PRECONDITION, Origin.TOOL, False)
"""A number that the table does not have."""

NO_ANSWER: Meaning = _AWAY
"""No number: the connection is gone, or there never was one."""

UNCHANGED = frozenset({1007, 1008, 1044, 1045, 1049, 1050, 1054, 1060, 1061, 1064, 1072, 1091}) | {
    *(1101, 1115, 1142, 1146, 1210, 1227, 1235, 1273, 1286, 1290, 1295, 1304, 1305, 1347, 1359),
    *(1360, 1370, 1792, 1836),
}
"""Numbers that a statement which commits by itself gives before it changes anything. Not among them
1051 (unknown table): `DROP TABLE a, b` may have dropped one of both."""

ROLLED_BACK = frozenset({1020, 1205, 1213, 1402, 1613, 1614, 3101})
"""Numbers that say that the transaction is gone, also in answer to a COMMIT. (1205 leaves it open
unless the server is set otherwise; then it is closed next.)"""

_TOLD_AT_CONNECT: dict[int, Meaning] = {
    1044: _STRANGER,
    1045: _STRANGER,
    1130: _STRANGER,  # ER_HOST_NOT_PRIVILEGED
    1251: _STRANGER,  # ER_NOT_SUPPORTED_AUTH_MODE
    1698: _STRANGER,  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1820: _STRANGER,  # ER_MUST_CHANGE_PASSWORD
    2059: _STRANGER,  # CR_AUTH_PLUGIN_CANNOT_LOAD
    3159: _STRANGER,  # ER_SECURE_TRANSPORT_REQUIRED
}
"""What differs while there is no session yet."""

_HINTS: dict[int, str] = {
    1045: "correct user and password: in --database, or where password_env or password_file lead",
    1054: "describe_database shows the columns",
    1146: "describe_database shows the tables",
    1205: "another transaction held the lock too long; nothing was done, try again",
    1210: "`parameters` is a list with one value for each ? of the statement",
    1213: "two transactions waited for each other; nothing was done, try again",
    1295: "run it with the database's own client",
    1399: "it commits by itself, and no dry run could take it back; run it without dry_run",
    1792: "to change something, use execute_sql",
}


def number_of(error: BaseException) -> int:
    """The number of the error, 0 if the server gave none."""
    number: object = error.args[0] if error.args else None
    if isinstance(error, errors.MySQLError) and isinstance(number, int):
        return number
    return 0


def meaning_of(number: int, sqlstate: str | None = None) -> Meaning:
    """What a failure means; the number wins over the class."""
    if not number:
        return NO_ANSWER
    return MEANING.get(str(number)) or MEANING.get((sqlstate or "")[:2]) or OTHER


def _sqlstate(error: BaseException) -> str | None:
    return str(error.sqlstate or "") if isinstance(error, errors.MySQLError) else None


def tool_error(error: Failure, *, applied: Applied = Applied.NO) -> ToolError:
    """What a failure of the server or the connection means.

    Args:
        error: As raised by the driver.
        applied: Whether the effect happened.
    """
    number = number_of(error)
    code, origin, again = meaning_of(number, _sqlstate(error))
    retry_after = RETRY_AFTER if again and code is not Code.UNAVAILABLE else None
    return ToolError(
        code,
        f"MySQL: {_words(error)}",
        applied=applied,
        origin=origin,
        hint=_HINTS.get(number),
        retry_after=retry_after,
    )


def _words(error: BaseException) -> str:
    number = number_of(error)
    text = str(error.args[-1]) if error.args else type(error).__name__
    told = " ".join(text.split()) or type(error).__name__
    return f"{told} (error {number})" if number else told


def connect_error(error: BaseException, name: str, address: Address) -> ToolError:
    """What a failure to connect means; no statement was sent, and the password is not shown."""
    number = number_of(error)
    code, origin, _ = _TOLD_AT_CONNECT.get(number) or meaning_of(number, _sqlstate(error))
    hint = _HINTS.get(number, "is the server of this database running, and reachable?")
    message = f"database {name!r} cannot be reached: {address.scrub(_words(error))}"
    return ToolError(code, message, origin=origin, hint=hint)


def commit_error(error: Failure) -> ToolError:
    """What a failed COMMIT means: in doubt, unless the server says that it rolled back."""
    if number_of(error) in ROLLED_BACK:
        return tool_error(error)
    return ToolError(
        Code.UNKNOWN,
        f"MySQL at COMMIT: {_words(error)}; whether the transaction is there is not known",
        applied=Applied.UNKNOWN,
        origin=Origin.ENVIRONMENT,
        hint="repeat the call under the same key: it runs only if nothing was committed",
    )


def inbox_error(error: Failure, table: str, wanted: Sequence[str]) -> ToolError:
    """The inbox cannot be made or used by the user that we connect as."""
    return ToolError(
        Code.FAILED_PRECONDITION,
        f"MySQL: {_words(error)}: the user may not use the table {table}, in which each change"
        " is recorded",
        origin=Origin.ENVIRONMENT,
        hint="an administrator can allow it: " + "; ".join(wanted),
    )
