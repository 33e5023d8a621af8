"""The core without MCP, as processes that can be killed: imported once, then a fork a life.

`python -m tests.support.core SOCKET` imports the server and forks a child for each connection to
the socket; see `lives` for the other side. A child is a whole server but for MCP: journal,
executor, tools, delivery. It speaks JSON, a line a message: first a `Setup`, answered with its pid;
then requests, each answered when it is, in any order. The end of its input is a lost connection.
"""

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import anyio.lowlevel
from anyio.abc import SocketStream, TaskGroup
from anyio.streams.buffered import BufferedByteReceiveStream
from pydantic import Field

from surefoot_server.call import Answer, Connection, Request, error_fields
from surefoot_server.executor import Executor
from surefoot_server.faults import Faults
from surefoot_server.journal import reserve, sql_journal, sqlite
from surefoot_server.journal.records import Closing, JournalUnavailable
from surefoot_server.journal.sqlite import SqliteDatabase, SqliteJournal
from surefoot_server.journal.states import Delivery
from surefoot_server.policy import Policy
from surefoot_tools.database import database_tools
from surefoot_tools.database.databases import Databases, parse_database
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files import file_tools
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.roots import Roots
from surefoot_tools.files.write_file import WriteFile, WriteFileArguments, WriteFileResult
from surefoot_tools.registry import AnyTool, Registry
from surefoot_tools.shell import shell_tools
from surefoot_tools.tool import Arguments, Context, Effect, Evidence, Group, Result, Tool

LONGEST = 16 * 1024 * 1024
"""Bytes of a line."""


class NoteArguments(Arguments):
    """Arguments of `note`."""

    line: str = Field(description="What to add.")


class NoteResult(Result):
    """That it was added."""

    line: str

    def as_text(self) -> str:
        """One line."""
        return f"noted {self.line}"


class Note(Tool[NoteArguments, NoteResult]):
    """Adds a line to a file and leaves nothing behind that would tell a later look which one.

    Args:
        path: The file.
    """

    name: ClassVar[str] = "note"
    title: ClassVar[str] = "Note"
    description: ClassVar[str] = "Add a line to a file."
    group: ClassVar[Group] = Group.SHELL
    effect: ClassVar[Effect] = Effect.AT_MOST_ONCE
    Arguments = NoteArguments
    Result = NoteResult

    def __init__(self, path: Path) -> None:
        self._path = path

    async def run(
        self, arguments: NoteArguments, evidence: Evidence, context: Context
    ) -> NoteResult:
        """Add it by one write, which the kernel keeps whole."""
        del evidence, context
        await anyio.lowlevel.checkpoint()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError as e:
            message = f"cannot open the notes: {e.strerror}"
            raise ToolError(Code.RESOURCE_EXHAUSTED, message, applied=Applied.NO) from e
        try:
            os.write(descriptor, f"{arguments.line}\n".encode())
        finally:
            os.close(descriptor)
        await anyio.lowlevel.checkpoint()
        return NoteResult(line=arguments.line)


class Exhausting(WriteFile):
    """Writes, and then others take all descriptors that are left."""

    def __init__(self, roots: Roots, locks: PathLocks) -> None:
        super().__init__(roots, locks)
        self.taken: list[int] = []

    async def run(
        self, arguments: WriteFileArguments, evidence: Evidence, context: Context
    ) -> WriteFileResult:
        """Fail as a tool does that cannot see what became of its effect."""
        await super().run(arguments, evidence, context)
        while True:
            try:
                self.taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as e:
                message = "no descriptor is left"
                raise ToolError(Code.UNAVAILABLE, message, applied=Applied.UNKNOWN) from e


@dataclass(frozen=True)
class Setup:
    """What a life is started with."""

    state: str
    """State directory."""
    workspace: str
    """The root, with a database `app.db`; notes go to `notes` beside it."""
    grace: float = 1.0
    """Seconds that a keyed call is kept whose connection is gone, and a command whose server is."""
    fold_after: float = sql_journal.FOLD_AFTER
    """Seconds that a spooled line waits for a commit, at most."""
    descriptors: int | None = None
    """How many more may be opened once it is up; None for as many as there are."""
    ballast: bool = True
    """Whether the journal holds ballast; without it outcomes are lost on a full disk."""
    exhausts: bool = False
    """Whether `write_file`, once done, finds no descriptor left to see how."""
    flushes: bool = True
    """Whether the journal flushes at all; without it a power cut takes what was answered."""
    refuses: int = 0
    """How many outcomes the journal refuses to take, as if its disk were broken for a while."""


class Refusing(SqliteJournal):
    """A journal that refuses some outcomes, the first ones that it is asked to record."""

    refuses = 0

    async def finish(self, closing: Closing, *, durable: bool) -> None:
        """Refuse, as long as it is to."""
        if self.refuses > 0:
            self.refuses -= 1
            raise JournalUnavailable("refused on purpose")
        await super().finish(closing, durable=durable)


class Unflushed(SqliteDatabase):
    """A database that commits like one that has `synchronous=NORMAL` for good."""

    def begin(self, *, durable: bool) -> None:
        """Begin a transaction that is never flushed."""
        del durable
        super().begin(durable=False)


def weaken(setup: Setup) -> None:
    """Take out what a control is to do without; in this process alone."""
    if not setup.flushes:
        sqlite.SqliteDatabase = Unflushed
    if not setup.ballast:
        reserve.BALLAST = 0


@dataclass
class Life:
    """One server, and the one connection that it serves."""

    stream: SocketStream
    executor: Executor
    journal: SqliteJournal
    connection: Connection = field(default_factory=Connection)
    scopes: dict[str, anyio.CancelScope] = field(default_factory=dict[str, anyio.CancelScope])
    sending: anyio.Lock = field(default_factory=anyio.Lock)

    async def serve(self, incoming: BufferedByteReceiveStream, tasks: TaskGroup) -> None:
        """Answer requests until the other side is gone."""
        while True:
            try:
                line = await incoming.receive_until(b"\n", LONGEST)
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                break
            message: dict[str, Any] = json.loads(line)
            if "cancel" in message:
                scope = self.scopes.get(message["cancel"])
                if scope is not None:
                    scope.cancel()
            else:
                tasks.start_soon(self._answer, message)
        self.connection.lost = True
        tasks.cancel_scope.cancel()

    async def _answer(self, message: dict[str, Any]) -> None:
        request_id = message.pop("id")
        quiet = message.pop("quiet", False)
        scope = self.scopes[request_id] = anyio.CancelScope()
        answer: Answer | None = None
        with scope:
            answer = await self.executor.execute(Request(**message, connection=self.connection))
        cancelled = scope.cancel_called
        del self.scopes[request_id]
        told = {"id": request_id, "cancelled": True}
        if answer is not None and not cancelled:
            told = {"id": request_id, **shown(answer)}
        written = not quiet and await self._send(told)
        if answer is not None:
            arrived = written and not cancelled
            self._deliver(answer, Delivery.DELIVERED if arrived else Delivery.LOST)

    def _deliver(self, answer: Answer, delivery: Delivery) -> None:
        if answer.receipt_id:
            self.journal.deliver(answer.receipt_id, delivery, self.journal.now())

    async def _send(self, message: dict[str, Any]) -> bool:
        async with self.sending:
            try:
                await self.stream.send(json.dumps(message).encode() + b"\n")
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return False
            return True


def shown(answer: Answer) -> dict[str, Any]:
    """An answer as the other side sees it."""
    error = answer.outcome.error
    return {
        "status": answer.outcome.status.value,
        "result": answer.outcome.result,
        "error": None if error is None else error_fields(error),
        "disposition": answer.disposition.value,
        "call_id": answer.call_id,
        "attempt": answer.attempt,
    }


def tools(setup: Setup) -> list[AnyTool]:
    """The tools of a life, as `app.tools` has them, and `note`."""
    workspace, state = Path(setup.workspace), Path(setup.state)
    parsed = [parse_database(f"app=sqlite:///{workspace}/app.db?mode=rw")]
    reserved = dict.fromkeys(parsed[0].files(), "the database")
    roots, locks = Roots((workspace,), reserved=reserved), PathLocks(state / "locks")
    files = [
        Exhausting(roots, locks) if setup.exhausts and each.name == "write_file" else each
        for each in file_tools(roots, locks, None)
    ]
    return [
        Note(workspace.parent / "notes"),
        *shell_tools(roots, {"PATH": os.environ["PATH"]}, state / "jobs", setup.grace),
        *files,
        *database_tools(Databases(parsed)),
    ]


def executor_of(setup: Setup, journal: SqliteJournal) -> Executor:
    """An executor as `app.App` makes it."""
    return Executor(
        Registry(tools(setup)),
        journal,
        roots=[setup.workspace],
        policy=Policy(grace=setup.grace, join_wait=10.0),
        faults=Faults(allowed=True),
        random=Random(),
    )


async def live(connection: socket.socket) -> None:
    """One life."""
    stream = await SocketStream.from_socket(connection)
    await stream.send(json.dumps({"pid": os.getpid()}).encode() + b"\n")
    incoming = BufferedByteReceiveStream(stream)
    setup = Setup(**json.loads(await incoming.receive_until(b"\n", LONGEST)))
    sql_journal.FOLD_AFTER = setup.fold_after
    weaken(setup)
    journal = Refusing(Path(setup.state) / "journal.db", version="test")
    journal.refuses = setup.refuses
    executor = executor_of(setup, journal)
    async with executor, stream, anyio.create_task_group() as tasks:
        if setup.descriptors is not None:
            limit(setup.descriptors)
        await stream.send(json.dumps({"instance": journal.instance}).encode() + b"\n")
        await Life(stream, executor, journal).serve(incoming, tasks)
    journal.close()


def limit(more: int) -> None:
    """Let the process open so many descriptors beyond those that it has."""
    held = max(int(each) for each in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (held + more, held + more))


def warm_up() -> None:
    """Do once what takes long the first time, and leave no thread behind to fork with."""

    async def once(setup: Setup) -> None:
        journal = SqliteJournal(Path(setup.state) / "journal.db", version="test")
        async with executor_of(setup, journal) as executor:
            write = {"path": "warm", "content": "x", "mode": "append"}
            for tool, arguments in (("note", {"line": "warm"}), ("write_file", write)):
                answer = await executor.execute(Request(tool, arguments, f"warm/{tool}"))
                assert answer.outcome.error is None, answer
        journal.close()

    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        workspace = Path(folder) / "workspace"
        workspace.mkdir()
        anyio.run(once, Setup(state=f"{folder}/state", workspace=str(workspace)))
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(10)  # those of anyio end by themselves, a little after their loop
    assert threading.active_count() == 1


def main(path: str) -> None:
    """Fork a child for each connection, until standard input ends: our parent is gone then."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    warm_up()
    gc.collect()
    gc.freeze()  # or each child's first collection would copy all pages
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status = 1
            try:
                anyio.run(live, connection)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
