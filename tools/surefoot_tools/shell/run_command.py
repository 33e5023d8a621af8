"""`run_command`: run a command under a supervisor and wait for its end."""

import os
import time
from collections.abc import Awaitable, Mapping
from typing import Annotated, ClassVar
from uuid import uuid4

import anyio
from pydantic import Field

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files.rooted import Rooted
from surefoot_tools.files.roots import Roots
from surefoot_tools.shell.attendance import Attendance
from surefoot_tools.shell.boot import boot
from surefoot_tools.shell.command import Command, place, shell
from surefoot_tools.shell.ending import RunCommandResult, end_of, interruption, lost
from surefoot_tools.shell.jobs import KEPT, Jobs
from surefoot_tools.shell.record import Record
from surefoot_tools.tool import (
    Arguments,
    Context,
    Effect,
    Evidence,
    Group,
    Happened,
    NotBegun,
    Recovery,
    Running,
    Tool,
    Unknown,
)

PROGRESS_EVERY = 10.0
"""Seconds; hosts give a silent call up after 60 and more."""
STUBBORN = 10.0
"""Seconds that a supervisor may take to kill; more than it allows itself."""

_KEPT = frozenset({"PATH", "HOME", "LANG", "TERM", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ"})


class RunCommandArguments(Arguments):
    """Arguments of `run_command`."""

    command: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)] = (
        Field(description="A string is run by the shell (bash, else sh); a list is run directly.")
    )
    cwd: str = Field(".", description="Where it starts; relative to the root.")
    env: dict[str, str] = Field(
        default_factory=dict, description="Variables added to a small clean environment."
    )
    stdin: str | None = Field(None, description="Its standard input; empty by default.")
    timeout: float = Field(600.0, gt=0, le=86400, description="Seconds; then it is killed.")
    max_output: int = Field(
        16384, ge=256, le=1048576, description="Bytes kept of each stream, half head, half tail."
    )


class RunCommand(Rooted, Tool[RunCommandArguments, RunCommandResult]):
    """Runs a command under a supervisor that outlives the server, and waits for its end.

    The evidence names a job; nothing is on disk until its supervisor begins the command. What is
    there afterwards (see `record`) tells recovery what became of it.

    Args:
        roots: Where commands may start.
        environment: The server's own; only names that load no code are passed on.
        jobs: Where the supervisors leave their records.
    """

    name: ClassVar[str] = "run_command"
    title: ClassVar[str] = "Run a command"
    description: ClassVar[str] = (
        "Run a command and wait for its end. A command that exits with a status other than 0 has"
        " still run: look at exit_code. When it ends, or at its timeout, everything that it started"
        " is killed. It starts inside the root but is not confined to it."
    )
    group: ClassVar[Group] = Group.SHELL
    effect: ClassVar[Effect] = Effect.AT_MOST_ONCE
    destructive: ClassVar[bool] = True
    open_world: ClassVar[bool] = True
    Arguments = RunCommandArguments
    Result = RunCommandResult

    def __init__(self, roots: Roots, environment: Mapping[str, str], jobs: Jobs) -> None:
        self._roots = roots
        self._environment = {
            name: value
            for name, value in environment.items()
            if name in _KEPT or name.startswith("LC_")
        }
        self._jobs = jobs

    async def prepare(self, arguments: RunCommandArguments, context: Context) -> Evidence:
        """See that the working directory is there, and name the job; it leaves no trace yet."""
        return {
            "job": uuid4().hex,
            "cwd": self._directory(arguments.cwd),
            "at": time.time(),
            "boot": boot(),
            "max_output": arguments.max_output,
        }

    async def run(
        self, arguments: RunCommandArguments, evidence: Evidence, context: Context
    ) -> RunCommandResult:
        """Run it to its end, or kill it at its timeout or when the call is cancelled."""
        command = self._command(arguments, evidence["cwd"], context)
        job: str = evidence["job"]
        context.held.callback(self._clear_away, job, context)
        # Some milliseconds; stopped half-way, nobody would know whether it has begun.
        with await shielded(self._jobs.begin(job, command)) as held:
            await self._attend(held, job, context)
        return end_of(self._jobs.record(job), arguments.max_output)

    async def recover(self, evidence: Evidence) -> Recovery:
        """Look at what its supervisor left; if nothing, make sure that it never begins.

        Raises:
            ToolError: it ended, but not as a success; `applied` says whether it ran, and `unknown`
                that nobody can look now.
        """
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(evidence["at"]))
        job: str | None = evidence.get("job")
        if job is None:  # an attempt of version 0.1.0, which had no supervisors
            return Unknown(f"the server died while the command ran; it was to start at {at}")
        record = self._jobs.record(job)
        if not record.there:
            # A power cut may take the folder of a command that ran, and so does clearing up.
            same = evidence["boot"] == boot() != ""
            if not same or time.time() - evidence["at"] > KEPT:
                return Unknown(f"nothing is left that would tell; it was to start at {at}")
            if self._claim(job):
                return NotBegun()
        if record.ended() is None and record.alive():
            begun = record.begun()
            handle = f"pid {begun.pid}" if begun is not None else "a command"

            async def attend(context: Context) -> RunCommandResult:
                return await self._adopt(job, evidence["max_output"], context)

            return Running(handle, attend)
        if record.claimed:
            return NotBegun()
        ended = record.ended()
        if ended is None or not record.complete(ended):
            return Unknown(lost(record))
        return Happened(end_of(record, evidence["max_output"]))

    def _claim(self, job: str) -> bool:
        try:
            return self._jobs.claim(job)
        except OSError as e:
            raise ToolError(
                Code.UNAVAILABLE,
                f"nobody can look at what became of the command: {e.strerror}",
                applied=Applied.UNKNOWN,
            ) from e

    async def _adopt(self, job: str, max_output: int, context: Context) -> RunCommandResult:
        """Wait for the end of a command that another server began."""
        record = self._jobs.record(job)
        context.held.callback(self._clear_away, job, context)
        held = Attendance.adopt(record.folder)
        if held is not None:
            with held:
                await self._attend(held, job, context)
        return end_of(record, max_output)

    async def _attend(self, held: Attendance, job: str, context: Context) -> None:
        """Wait for the end; a cancelled call and a deadline that is over bring it about."""
        record = self._jobs.record(job)
        try:
            with anyio.CancelScope(deadline=context.deadline) as patience:
                async with anyio.create_task_group() as reporters:
                    reporters.start_soon(_report, record, context)
                    await held.wait()
                    reporters.cancel_scope.cancel()
            if patience.cancelled_caught:
                await held.end(deadline=True)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), anyio.move_on_after(STUBBORN):
                await held.end()
            # If it came to its own end before it could be killed, recovery finds that.
            context.interrupted = interruption(record)
            raise

    def _command(self, arguments: RunCommandArguments, cwd: str, context: Context) -> Command:
        """What to run.

        Raises:
            ToolError: it cannot be run, or its time is over before it has begun.
        """
        rest = context.deadline - anyio.current_time()
        if rest <= 0:
            raise ToolError(
                Code.DEADLINE_EXCEEDED, "the caller's deadline was over before the command began"
            )
        line = arguments.command
        command = Command(
            argv=[shell(), "-c", line] if isinstance(line, str) else line,
            cwd=cwd,
            env={**self._environment, **arguments.env},
            stdin=arguments.stdin,
            limit=min(arguments.timeout, rest),
            limited_by="timed_out" if arguments.timeout <= rest else "deadline",
        )
        command.check()
        return command

    def _clear_away(self, job: str, context: Context) -> None:
        """Remove what is left of a job whose outcome is in the journal."""
        if context.recorded:
            self._jobs.remove(job)

    def _directory(self, path: str) -> str:
        """Absolute path of a directory inside the roots."""
        descriptor = self._roots.open_directory(path)
        try:
            return place(descriptor)
        finally:
            os.close(descriptor)


async def shielded(step: Awaitable[Attendance]) -> Attendance:
    """Finish a step even when the call is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):
        return await step
    raise AssertionError("nothing cancels this scope")


async def _report(record: Record, context: Context) -> None:
    elapsed = 0.0
    while True:
        await anyio.sleep(PROGRESS_EVERY)
        elapsed += PROGRESS_EVERY
        line = record.last_line("stdout") or record.last_line("stderr")
        await context.report(elapsed, None, f"running for {elapsed:.0f} s: {line}")
