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
from tests.support.retry_tables import (
    FILES,
    FINAL,
    IN_DOUBT,
    LATER,
    LOST,
    MYSQL,
    POSTGRES,
    SPAWN,
    SQLITE,
)

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
