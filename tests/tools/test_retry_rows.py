"""What is done about every error of every edge: process, files, databases, server, transport.

Each edge translates what it is told in one table; here stands, independent of it, what has to be
done about each entry. The tests fail when an edge knows an error that has no row here, and when a
row is left of an error that no edge knows any more.
"""

import errno
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import apsw
import mcp_types as types
import psycopg.errors
import pytest
from asyncmy import errors as mysql_driver_errors
from pydantic import ValidationError

from surefoot_client.connection import Connection, Lost
from surefoot_client.record import LostReason
from surefoot_client.send import Sender
from surefoot_server import answers
from surefoot_server.journal.records import Entry
from surefoot_server.journal.states import State
from surefoot_tools.database import mysql_errors, postgres_errors, sqlite_errors
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files import os_errors
from surefoot_tools.outcome import Error
from surefoot_tools.retry import AttemptFailed, Next, decide
from surefoot_tools.shell import command
from surefoot_tools.tool import Arguments, Context, Effect, Evidence, Group, Result, Tool

LATER, FINAL, IN_DOUBT = Next.LATER, Next.FINAL, Next.IN_DOUBT


@dataclass(frozen=True, slots=True)
class Row:
    """One error of an edge, as something with an effect meets it, and what has to be done."""

    edge: str
    case: str
    error: Error
    effect: Effect
    next: Next


def private(module: object, name: str) -> Any:
    """A table that is nobody's business but this test's."""
    return vars(module)[name]


SPAWN: dict[int, Next] = {
    errno.ENOENT: FINAL,
    errno.ENOTDIR: FINAL,
    errno.EACCES: FINAL,
    errno.EPERM: FINAL,
    errno.ENOEXEC: FINAL,
    errno.E2BIG: FINAL,
    errno.ENOSPC: FINAL,
    errno.EDQUOT: FINAL,
    errno.EAGAIN: LATER,
    errno.ENOMEM: LATER,
    errno.EMFILE: LATER,
    errno.ENFILE: LATER,
    errno.ETXTBSY: LATER,
    errno.ETOOMANYREFS: LATER,
}
"""Starting a command: nothing has begun."""

FILES: dict[int, Next] = {
    errno.ENOENT: FINAL,
    errno.EXDEV: FINAL,
    errno.EACCES: FINAL,
    errno.EPERM: FINAL,
    errno.EROFS: FINAL,
    errno.ELOOP: FINAL,
    errno.ENAMETOOLONG: FINAL,
    errno.EILSEQ: FINAL,
    errno.EISDIR: FINAL,
    errno.ENOTDIR: FINAL,
    errno.ENXIO: FINAL,
    errno.ENOSPC: FINAL,
    errno.EDQUOT: FINAL,
    errno.EFBIG: FINAL,
    errno.EIO: FINAL,
    errno.EBUSY: LATER,
    errno.EAGAIN: LATER,
    errno.ETXTBSY: LATER,
    errno.ESTALE: LATER,
    errno.EMFILE: LATER,
    errno.ENFILE: LATER,
    errno.ENOMEM: LATER,
    errno.ENOLCK: LATER,
}
"""Before the rename, or with no effect at all. EIO never: it may come from fsync."""

SQLITE: dict[type[apsw.Error], tuple[Next, Next]] = {
    apsw.BusyError: (LATER, LATER),
    apsw.LockedError: (LATER, LATER),
    apsw.ProtocolError: (LATER, LATER),
    apsw.FullError: (FINAL, FINAL),
    apsw.NoMemError: (FINAL, LATER),
    apsw.IOError: (FINAL, LATER),
    apsw.CorruptError: (FINAL, LATER),
    apsw.NotADBError: (FINAL, LATER),
    apsw.ReadOnlyError: (FINAL, LATER),
    apsw.PermissionsError: (FINAL, LATER),
    apsw.CantOpenError: (FINAL, LATER),
    apsw.AuthError: (FINAL, LATER),
    apsw.ConstraintError: (FINAL, FINAL),
    apsw.SchemaChangeError: (FINAL, LATER),
    apsw.AbortError: (FINAL, LATER),
    apsw.SQLError: (FINAL, LATER),
    apsw.BindingsError: (FINAL, LATER),
    apsw.MismatchError: (FINAL, LATER),
    apsw.RangeError: (FINAL, LATER),
    apsw.TooBigError: (FINAL, LATER),
}
"""Before COMMIT, and at COMMIT: what SQLite does not exclude may have committed, and the next
attempt finds the inbox row or runs."""

POSTGRES: dict[str, tuple[Next, Next]] = {
    "40001": (LATER, LATER),  # serialization_failure
    "40P01": (LATER, LATER),  # deadlock_detected
    "55P03": (LATER, LATER),  # lock_not_available
    "40003": (LATER, LATER),  # statement_completion_unknown
    "40": (LATER, LATER),
    "57P01": (LATER, LATER),  # admin_shutdown
    "57P02": (LATER, LATER),  # crash_shutdown
    "57P03": (LATER, LATER),  # cannot_connect_now
    "57P05": (LATER, LATER),  # idle_session_timeout
    "08": (LATER, LATER),
    "53300": (LATER, LATER),  # too_many_connections
    "57014": (FINAL, FINAL),  # query_canceled
    "25P03": (FINAL, FINAL),  # idle_in_transaction_session_timeout
    "25P04": (FINAL, FINAL),  # transaction_timeout
    "53": (FINAL, FINAL),
    "54": (FINAL, FINAL),
    "22": (FINAL, FINAL),
    "23": (FINAL, FINAL),
    "25006": (FINAL, FINAL),  # read_only_sql_transaction
    "25001": (FINAL, FINAL),  # active_sql_transaction
    "25": (FINAL, FINAL),
    "28": (FINAL, FINAL),
    "2D": (FINAL, FINAL),
    "3D": (FINAL, FINAL),
    "42501": (FINAL, FINAL),  # insufficient_privilege
    "42": (FINAL, FINAL),
    "0A": (FINAL, FINAL),
    "55": (FINAL, FINAL),
    "P0": (FINAL, FINAL),
    "58": (FINAL, LATER),
    "XX001": (FINAL, LATER),  # data_corrupted
    "XX002": (FINAL, LATER),  # index_corrupted
    "XX": (FINAL, LATER),
}
"""By SQLSTATE or class: before COMMIT was sent, and as the server's answer to COMMIT. Where that is
no proof that nothing was committed, the next attempt finds the inbox row or runs."""

MYSQL: dict[str, tuple[Next, Next]] = {
    "1213": (LATER, LATER),  # ER_LOCK_DEADLOCK
    "1205": (LATER, LATER),  # ER_LOCK_WAIT_TIMEOUT
    "1020": (LATER, LATER),  # ER_CHECKREAD
    "1402": (LATER, LATER),  # ER_XA_RBROLLBACK
    "1613": (LATER, LATER),  # ER_XA_RBTIMEOUT
    "1614": (LATER, LATER),  # ER_XA_RBDEADLOCK
    "3101": (LATER, LATER),  # ER_TRANSACTION_ROLLBACK_DURING_COMMIT
    "3572": (LATER, LATER),  # ER_LOCK_NOWAIT
    "40": (LATER, LATER),
    "1040": (LATER, LATER),  # ER_CON_COUNT_ERROR
    "1047": (LATER, LATER),  # ER_UNKNOWN_COM_ERROR
    "1053": (LATER, LATER),  # ER_SERVER_SHUTDOWN
    "1203": (LATER, LATER),  # ER_TOO_MANY_USER_CONNECTIONS
    "1927": (LATER, LATER),  # ER_CONNECTION_KILLED
    "2002": (LATER, LATER),  # CR_CONNECTION_ERROR
    "2003": (LATER, LATER),  # CR_CONN_HOST_ERROR
    "2006": (LATER, LATER),  # CR_SERVER_GONE_ERROR
    "2013": (LATER, LATER),  # CR_SERVER_LOST
    "2055": (LATER, LATER),  # CR_SERVER_LOST_EXTENDED
    "4031": (LATER, LATER),  # ER_CLIENT_INTERACTION_TIMEOUT
    "08": (LATER, LATER),
    "1317": (FINAL, LATER),  # ER_QUERY_INTERRUPTED
    "1969": (FINAL, LATER),  # ER_STATEMENT_TIMEOUT
    "3024": (FINAL, LATER),  # ER_QUERY_TIMEOUT
    "1021": (FINAL, LATER),  # ER_DISK_FULL
    "1037": (FINAL, LATER),  # ER_OUTOFMEMORY
    "1038": (FINAL, LATER),  # ER_OUT_OF_SORTMEMORY
    "1041": (FINAL, LATER),  # ER_OUT_OF_RESOURCES
    "1114": (FINAL, LATER),  # ER_RECORD_FILE_FULL
    "1206": (FINAL, LATER),  # ER_LOCK_TABLE_FULL
    "1226": (FINAL, LATER),  # ER_USER_LIMIT_REACHED
    "1792": (FINAL, LATER),  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    "1399": (FINAL, LATER),  # ER_XAER_RMFAIL
    "1044": (FINAL, LATER),  # ER_DBACCESS_DENIED_ERROR
    "1045": (FINAL, LATER),  # ER_ACCESS_DENIED_ERROR
    "1095": (FINAL, LATER),  # ER_KILL_DENIED_ERROR
    "1142": (FINAL, LATER),  # ER_TABLEACCESS_DENIED_ERROR
    "1143": (FINAL, LATER),  # ER_COLUMNACCESS_DENIED_ERROR
    "1227": (FINAL, LATER),  # ER_SPECIFIC_ACCESS_DENIED_ERROR
    "1290": (FINAL, LATER),  # ER_OPTION_PREVENTS_STATEMENT
    "1370": (FINAL, LATER),  # ER_PROCACCESS_DENIED_ERROR
    "1419": (FINAL, LATER),  # ER_BINLOG_CREATE_ROUTINE_NEED_SUPER
    "1836": (FINAL, LATER),  # ER_READ_ONLY_MODE
    "4166": (FINAL, LATER),  # ER_LOAD_INFILE_CAPABILITY_DISABLED
    "28": (FINAL, LATER),
    "1048": (FINAL, LATER),  # ER_BAD_NULL_ERROR
    "1364": (FINAL, LATER),  # ER_NO_DEFAULT_FOR_FIELD
    "3819": (FINAL, LATER),  # ER_CHECK_CONSTRAINT_VIOLATED
    "4025": (FINAL, LATER),  # ER_CONSTRAINT_FAILED
    "23": (FINAL, LATER),
    "45": (FINAL, LATER),
    "1049": (FINAL, LATER),  # ER_BAD_DB_ERROR
    "1153": (FINAL, LATER),  # ER_NET_PACKET_TOO_LARGE
    "1210": (FINAL, LATER),  # ER_WRONG_ARGUMENTS
    "1235": (FINAL, LATER),  # ER_NOT_SUPPORTED_YET
    "1295": (FINAL, LATER),  # ER_UNSUPPORTED_PS
    "1366": (FINAL, LATER),  # ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
    "21": (FINAL, LATER),
    "22": (FINAL, LATER),
    "42": (FINAL, LATER),
    "1030": (FINAL, LATER),  # ER_GET_ERRNO
    "1180": (FINAL, LATER),  # ER_ERROR_DURING_COMMIT
    "1034": (FINAL, LATER),  # ER_NOT_KEYFILE
    "1035": (FINAL, LATER),  # ER_OLD_KEYFILE
    "1194": (FINAL, LATER),  # ER_CRASHED_ON_USAGE
    "1195": (FINAL, LATER),  # ER_CRASHED_ON_REPAIR
}
"""By number or class: before COMMIT was sent, and as the answer to COMMIT. Where that does not say
that the transaction was rolled back, the next attempt finds the inbox row or runs."""

LOST: dict[LostReason, tuple[Next, Next]] = {
    LostReason.TIMEOUT: (LATER, IN_DOUBT),
    LostReason.CLOSED: (LATER, IN_DOUBT),
    LostReason.DROPPED: (LATER, IN_DOUBT),
    LostReason.UNREADABLE: (LATER, IN_DOUBT),
    LostReason.UNREACHABLE: (LATER, LATER),
    LostReason.INTERRUPTED: (LATER, IN_DOUBT),
}
"""A send without an answer: to a server that knows keys (or of a tool that may be repeated), and to
any other."""


class NoArguments(Arguments):
    """None."""


class Unit(Result):
    """Nothing."""

    def as_text(self) -> str:
        return ""


class Probe(Tool[NoArguments, Unit]):
    """A tool of which only the arguments matter."""

    name: ClassVar[str] = "probe"
    group: ClassVar[Group] = Group.SHELL
    effect: ClassVar[Effect] = Effect.SAFE
    Arguments = NoArguments
    Result = Unit

    async def run(self, arguments: NoArguments, evidence: Evidence, context: Context) -> Unit:
        return Unit()


def invalid() -> Error:
    with pytest.raises(ValidationError) as caught:
        NoArguments.model_validate({"nobody": "asked"})
    return answers.invalid_arguments(Probe(), caught.value)


SAFE, IDEMPOTENT, VERIFIABLE = Effect.SAFE, Effect.IDEMPOTENT, Effect.VERIFIABLE
TRANSACTIONAL, AT_MOST_ONCE = Effect.TRANSACTIONAL, Effect.AT_MOST_ONCE
AGAIN_UNLESS_OPAQUE = {
    SAFE: LATER,
    IDEMPOTENT: LATER,
    TRANSACTIONAL: LATER,
    VERIFIABLE: IN_DOUBT,
    AT_MOST_ONCE: IN_DOUBT,
}

SEEN = Entry(
    call_id="c",
    principal="local",
    key="k",
    tool="t",
    effect="at_most_once",
    fingerprint="f",
    scope="s",
    repeated=False,
    state=State.IN_DOUBT,
    owner="o",
    attempts=1,
    begun_at=0.0,
    ended_at=None,
    expired=False,
    resolved=None,
)
IN_DOUBT_ROW = {**AGAIN_UNLESS_OPAQUE, SAFE: FINAL, IDEMPOTENT: FINAL}
"""No retry of the server's: another attempt of these is asked for by the caller's key."""

ANSWERS: list[tuple[Callable[..., Error], Error, dict[Effect, Next]]] = [
    (answers.unknown_tool, answers.unknown_tool("x", []), dict.fromkeys(Effect, FINAL)),
    (answers.invalid_arguments, invalid(), dict.fromkeys(Effect, FINAL)),
    (answers.key_conflict, answers.key_conflict("k"), dict.fromkeys(Effect, FINAL)),
    (answers.still_running, answers.still_running("c", 45.0), AGAIN_UNLESS_OPAQUE),
    (answers.server_died, answers.server_died(Applied.NO), dict.fromkeys(Effect, LATER)),
    (answers.server_died, answers.server_died(Applied.UNKNOWN), AGAIN_UNLESS_OPAQUE),
    (answers.in_doubt, answers.in_doubt("since noon", SEEN, Probe()), IN_DOUBT_ROW),
    (
        answers.explained,
        answers.explained(answers.in_doubt("since noon", SEEN, Probe()), SEEN, Probe()),
        IN_DOUBT_ROW,
    ),
    (answers.result_gone, answers.result_gone(SEEN), dict.fromkeys(Effect, FINAL)),
    (answers.too_late, answers.too_late(), dict.fromkeys(Effect, FINAL)),
    (answers.foreign_roots, answers.foreign_roots("x"), dict.fromkeys(Effect, FINAL)),
    (
        answers.with_repeat_hint,
        answers.with_repeat_hint(answers.in_doubt("since noon", SEEN, Probe()), Probe()),
        IN_DOUBT_ROW,
    ),
    (
        answers.journal_unavailable,
        answers.journal_unavailable("full", Applied.NO),
        dict.fromkeys(Effect, LATER),
    ),
    (
        answers.journal_unavailable,
        answers.journal_unavailable("full", Applied.UNKNOWN),
        AGAIN_UNLESS_OPAQUE,
    ),
    (answers.run_stopped, answers.run_stopped(), AGAIN_UNLESS_OPAQUE),
]
"""The server's own answers, and what each effect makes of them."""


def spawn_rows() -> Iterable[Row]:
    for number, expected in SPAWN.items():
        error = Error.of(command.cannot_start(number, "exec"))
        yield Row("process", errno.errorcode[number], error, AT_MOST_ONCE, expected)
    other = Error.of(command.cannot_start(errno.EPROTO, "exec"))
    yield Row("process", "any other", other, AT_MOST_ONCE, FINAL)
    with pytest.raises(ToolError) as nul:
        command.Command(["a\0b"], ".", {}, "a", "local").check()
    yield Row("process", "a null byte", Error.of(nul.value), AT_MOST_ONCE, FINAL)


def file_rows() -> Iterable[Row]:
    def error(number: int, applied: Applied) -> Error:
        return Error.of(os_errors.translated(OSError(number, "said"), "a", applied=applied))

    for number, expected in {**FILES, errno.EPROTO: FINAL}.items():
        case = errno.errorcode[number]
        for effect in (SAFE, IDEMPOTENT, VERIFIABLE):
            yield Row("files", case, error(number, Applied.NO), effect, expected)
        after = f"{case} after the rename"
        yield Row("files", after, error(number, Applied.UNKNOWN), VERIFIABLE, IN_DOUBT)
        lost = IN_DOUBT if number == errno.EIO else expected
        yield Row("files", after, error(number, Applied.UNKNOWN), IDEMPOTENT, lost)


def sqlite_rows() -> Iterable[Row]:
    for kind, (before, at_commit) in {**SQLITE, apsw.MisuseError: (FINAL, LATER)}.items():
        case = kind.__name__
        error = Error.of(sqlite_errors.tool_error(kind("said")))
        for effect in (SAFE, TRANSACTIONAL, AT_MOST_ONCE):
            yield Row("SQLite", case, error, effect, before)
        error = Error.of(sqlite_errors.commit_error(kind("said")))
        yield Row("SQLite", f"{case} at COMMIT", error, TRANSACTIONAL, at_commit)
        # A database that cannot have an inbox: only what is known not to have committed.
        opaque = IN_DOUBT if error.applied is Applied.UNKNOWN else at_commit
        yield Row("SQLite", f"{case} at COMMIT", error, AT_MOST_ONCE, opaque)


def answer_rows() -> Iterable[Row]:
    for function, error, expected in ANSWERS:
        for effect in Effect:
            case = f"{function.__name__}, applied {error.applied.value}"
            yield Row("server", case, error, effect, expected[effect])


def lost_error(reason: LostReason, connection: Connection) -> AttemptFailed:
    """What the driver makes of a send without an answer."""
    sender = object.__new__(Sender)
    sender.connection = connection
    with pytest.raises(AttemptFailed) as caught:
        private(Sender, "_raise_if_unsettled")(sender, "tool", Lost(reason, 0.0))
    return caught.value


def connections() -> dict[Effect, Connection]:
    """Connections that were never started, by what a repeated send to them amounts to."""
    made = {
        effect: Connection(cast("Any", None), cast("Any", None), 1.0)
        for effect in (SAFE, IDEMPOTENT, AT_MOST_ONCE)
    }
    made[IDEMPOTENT].keyed = True
    reads = types.ToolAnnotations(read_only_hint=True)
    made[SAFE].tools = {"tool": types.Tool(name="tool", input_schema={}, annotations=reads)}
    return made


def transport_rows() -> Iterable[Row]:
    for effect, connection in connections().items():
        assert connection.effect_of("tool") is effect
        for reason, (repeatable, opaque) in LOST.items():
            error = lost_error(reason, connection).error
            expected = opaque if effect is AT_MOST_ONCE else repeatable
            yield Row("transport", reason.value, error, effect, expected)


def postgres_rows() -> Iterable[Row]:
    for key, (before, at_commit) in POSTGRES.items():
        said = psycopg.errors.lookup(key if len(key) == 5 else f"{key}000")("said")
        error = Error.of(postgres_errors.tool_error(said))
        for effect in (SAFE, TRANSACTIONAL, AT_MOST_ONCE):
            yield Row("PostgreSQL", key, error, effect, before)
        answered = Error.of(postgres_errors.commit_error(said, answered=True))
        yield Row("PostgreSQL", f"{key} to COMMIT", answered, TRANSACTIONAL, at_commit)
        lost = Error.of(postgres_errors.commit_error(said, answered=False))
        yield Row("PostgreSQL", f"{key} in COMMIT", lost, TRANSACTIONAL, LATER)
        yield Row("PostgreSQL", f"{key} in COMMIT", lost, AT_MOST_ONCE, IN_DOUBT)
    gone = psycopg.OperationalError("server closed the connection unexpectedly")
    error = Error.of(postgres_errors.tool_error(gone))
    yield Row("PostgreSQL", "no answer", error, TRANSACTIONAL, LATER)
    lost = Error.of(postgres_errors.commit_error(gone, answered=False))
    yield Row("PostgreSQL", "no answer to COMMIT", lost, TRANSACTIONAL, LATER)
    yield Row("PostgreSQL", "no answer to COMMIT", lost, AT_MOST_ONCE, IN_DOUBT)


def mysql_rows() -> Iterable[Row]:
    for key, (before, at_commit) in MYSQL.items():
        known = len(key) == 4
        said = mysql_driver_errors.OperationalError(int(key) if known else 9999, "said")
        said.sqlstate = "HY000" if known else f"{key}000"
        error = Error.of(mysql_errors.tool_error(said))
        for effect in (SAFE, TRANSACTIONAL, AT_MOST_ONCE):
            yield Row("MySQL", key, error, effect, before)
        answered = Error.of(mysql_errors.commit_error(said))
        yield Row("MySQL", f"{key} to COMMIT", answered, TRANSACTIONAL, at_commit)
        if answered.applied is Applied.UNKNOWN:
            yield Row("MySQL", f"{key} to COMMIT", answered, AT_MOST_ONCE, IN_DOUBT)
    gone = mysql_driver_errors.InterfaceError(0, "Not connected")
    yield Row("MySQL", "no answer", Error.of(mysql_errors.tool_error(gone)), TRANSACTIONAL, LATER)
    lost = Error.of(mysql_errors.commit_error(gone))
    yield Row("MySQL", "no answer to COMMIT", lost, TRANSACTIONAL, LATER)
    in_part = ToolError(Code.DATA_LOSS, "in part", applied=Applied.UNKNOWN)
    yield Row("MySQL", "a claim without a result", Error.of(in_part), TRANSACTIONAL, IN_DOUBT)


ROWS = [
    *spawn_rows(),
    *file_rows(),
    *sqlite_rows(),
    *postgres_rows(),
    *mysql_rows(),
    *answer_rows(),
    *transport_rows(),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.edge}: {row.case}, {row.effect.value}")
def test_each_error_of_each_edge_is_decided_as_its_row_says(row: Row) -> None:
    assert decide(row.error, row.effect).next is row.next


def test_each_edge_has_a_row_for_each_error_it_knows_and_no_other() -> None:
    assert set(command.ERRORS) == set(SPAWN)
    assert set(os_errors.MEANING) == set(FILES)
    assert {kind for kind, _, _ in private(sqlite_errors, "_MEANING")} == set(SQLITE)
    assert set(postgres_errors.MEANING) == set(POSTGRES)
    assert set(mysql_errors.MEANING) == set(MYSQL)
    assert set(LOST) == set(LostReason)
    offered = {
        function
        for name, function in inspect.getmembers(answers, inspect.isfunction)
        if function.__module__ == answers.__name__ and not name.startswith("_")
    }
    assert offered == {function for function, _, _ in ANSWERS}


@pytest.mark.parametrize("effect", Effect)
def test_what_has_ended_with_its_effect_is_never_repeated(effect: Effect) -> None:
    """A command that was killed at its timeout did run."""
    killed = ToolError(Code.DEADLINE_EXCEEDED, "killed", applied=Applied.YES)
    assert decide(Error.of(killed), effect).next is FINAL
