"""`run_command`: run a command under a supervisor; wait for its end, or hand it over as a job."""

from collections.abc import Awaitable
from typing import Annotated, Any, ClassVar

import anyio
from pydantic import Field

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.shell.attendance import Attendance
from surefoot_tools.shell.begin import Begins
from surefoot_tools.shell.command import Command, argv_of
from surefoot_tools.shell.ending import RunCommandResult, end_of, interruption, lost, told_of
from surefoot_tools.shell.places import JOBS
from surefoot_tools.shell.record import Record
from surefoot_tools.shell.secrets import without_secrets
from surefoot_tools.shell.shown import shown
from surefoot_tools.supervisor.orders import DEADLINE
from surefoot_tools.tool import (
    Arguments,
    Context,
    Effect,
    Evidence,
    Happened,
    NotBegun,
    Recovery,
    Running,
    Tool,
    Unknown,
    report_nothing,
)

PROGRESS_EVERY = 10.0
"""Seconds; hosts give a silent call up after 60 and more."""
STUBBORN = 10.0
"""Seconds that a supervisor may take to kill; more than it allows itself."""
CommandLine = Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]
"""What is run."""


class RunCommandArguments(Arguments):
    """Arguments of `run_command`."""

    command: CommandLine = Field(
        description="A string is run by the shell (bash, else sh); a list is run directly."
    )
    cwd: str = Field(".", description="Where it starts; relative to the root.")
    env: dict[str, str] = Field(
        default_factory=dict, description="Variables added to a small clean environment."
    )
    stdin: str | None = Field(None, description="Its standard input; empty by default.")
    timeout: float = Field(600.0, gt=0, le=86400, description="Seconds; then it is killed.")
    wait: float = Field(
        45.0, ge=0, le=86400, description="Seconds; what runs longer goes on as a job."
    )
    max_output: int = Field(
        16384, ge=256, le=1048576, description="Bytes kept of each stream, half head, half tail."
    )


class RunCommand(Begins, Tool[RunCommandArguments, RunCommandResult]):
    """Runs a command under a supervisor that outlives the server, and waits for its end.

    The evidence names a job; nothing is on disk until its supervisor begins the command. What is
    there afterwards (see `record`) tells recovery what became of it.
    """

    name: ClassVar[str] = "run_command"
    title: ClassVar[str] = "Run a command"
    description: ClassVar[str] = (
        "Run a command and wait for its end. A command that exits with a status other than 0 has"
        " still run: look at exit_code. One that runs longer than wait goes on as a job: go on with"
        " read_job and stop_job. When it ends, or at its timeout, everything that it started is"
        " killed; for a server or a terminal use start_job. It starts inside the root; its result"
        " says how it was confined (sandbox)."
    )
    effect: ClassVar[Effect] = Effect.AT_MOST_ONCE
    destructive: ClassVar[bool] = True
    open_world: ClassVar[bool] = True
    Arguments = RunCommandArguments
    Result = RunCommandResult

    async def prepare(self, arguments: RunCommandArguments, context: Context) -> Evidence:
        """See that the working directory is there, and name the job; it leaves no trace yet."""
        named = self._name_job(arguments)
        return {**named, "max_output": arguments.max_output, "wait": arguments.wait}

    async def run(
        self, arguments: RunCommandArguments, evidence: Evidence, context: Context
    ) -> RunCommandResult:
        """Run it to its end, or kill it at its timeout or when the call is cancelled."""
        now = anyio.current_time()
        over = now + arguments.wait
        self.jobs.see_room(2 * JOBS)
        async with self._places.one(min(over, context.deadline) - now):
            command = self._command(arguments, evidence["cwd"], context)
            job: str = evidence["job"]
            context.held.callback(self._told, job, context)
            # Some milliseconds; stopped half-way, nobody would know whether it has begun.
            with await shielded(self.jobs.begin(job, command)) as held:
                return await self._attend(held, job, over, arguments.max_output, context)

    async def recover(self, evidence: Evidence) -> Recovery:
        """Look at what its supervisor left; if nothing, make sure that it never begins.

        Raises:
            ToolError: it ended, but not as a success; `applied` says whether it ran, and `unknown`
                that nobody can look now.
        """
        job: str | None = evidence.get("job")
        if job is None:  # an attempt of version 0.1.0, which had no supervisors
            return Unknown(
                f"the server died while the command ran; it was to start at {self._at(evidence)}"
            )
        record = self.jobs.record(job)
        absent = self._absent(record, evidence)
        if absent is not None:
            return absent
        begun = record.begun()
        if begun is not None and begun.handed_over:
            self.jobs.hold(job)
            state, ended = record.state()
            return Happened(told_of(record, state, ended, evidence["max_output"]))
        if record.ended() is None and record.alive():
            handle = f"pid {begun.pid}" if begun is not None else "a command"

            async def attend(context: Context) -> RunCommandResult:
                return await self._adopt(job, evidence, context)

            return Running(handle, attend)
        if record.claimed:
            return NotBegun()
        ended = record.ended()
        if ended is None or not record.complete(ended):
            return Unknown(lost(record))
        return Happened(end_of(record, evidence["max_output"]))

    def job_of(self, result: dict[str, Any]) -> str | None:
        """One that was handed over; of any other command the result says how it ended."""
        return result["job_id"] if result["state"] == JobState.RUNNING else None

    async def refresh(
        self, result: RunCommandResult, end: JobEnd | None = None
    ) -> RunCommandResult:
        """An answer 'running' as it would be given now; without its output where that is gone."""
        record = self.jobs.record(result.job_id)
        if result.state is not JobState.RUNNING:
            return result
        if not record.there:
            if end is None:
                return result
            told = {"state": end.state, "exit_code": end.exit_code, "signal": end.signal}
            return result.model_copy(update=told)
        state, ended = record.state()
        kept = max(16384, len(result.stdout), len(result.stderr))
        return told_of(record, state, ended, kept)

    async def _adopt(self, job: str, evidence: Evidence, context: Context) -> RunCommandResult:
        """Wait for the end of a command that another server began."""
        record = self.jobs.record(job)
        context.held.callback(self._told, job, context)
        held = Attendance.adopt(record.folder)
        if held is None:
            return end_of(record, evidence["max_output"])
        over = anyio.current_time() + evidence.get("wait", 45.0)
        with held:
            return await self._attend(held, job, over, evidence["max_output"], context)

    async def _attend(
        self, held: Attendance, job: str, over: float, max_output: int, context: Context
    ) -> RunCommandResult:
        """Wait for the end; a cancelled call and a deadline that is over bring it about.

        Args:
            held: Of its supervisor.
            job: Which it is.
            over: When it is handed over as a job.
            max_output: Bytes kept of each stream.
            context: Of the call.
        """
        record = self.jobs.record(job)
        try:
            with anyio.CancelScope(deadline=min(over, context.deadline)) as patience:
                await _wait(held, record, context)
            if patience.cancelled_caught:
                if over <= context.deadline:
                    await self.jobs.hand_over(job, held.moved())
                    state, ended = record.state()
                    return told_of(record, state, ended, max_output)
                await held.end(DEADLINE)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), anyio.move_on_after(STUBBORN):
                await held.end()
            # If it came to its own end before it could be killed, recovery finds that.
            context.interrupted = interruption(record)
            raise
        return end_of(record, max_output)

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
        command = Command(
            argv=argv_of(arguments.command),
            cwd=cwd,
            env={**self._environment, **arguments.env},
            shown=without_secrets(arguments.command),
            principal=context.principal,
            roots=self._roots.directories,
            stdin=arguments.stdin,
            limit=arguments.timeout,
            rest=rest if rest < 86400 else None,
        )
        command.check()
        return command


async def shielded(step: Awaitable[Attendance]) -> Attendance:
    """Finish a step even when the call is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):
        return await step
    raise AssertionError("nothing cancels this scope")


async def _wait(held: Attendance, record: Record, context: Context) -> None:
    """Wait for the end, and report until then to whoever asked for it."""
    if context.report is report_nothing:
        return await held.wait()
    async with anyio.create_task_group() as reporters:
        reporters.start_soon(_report, record, context)
        await held.wait()
        reporters.cancel_scope.cancel()
    return None


async def _report(record: Record, context: Context) -> None:
    elapsed = 0.0
    while True:
        await anyio.sleep(PROGRESS_EVERY)
        elapsed += PROGRESS_EVERY
        line = shown(record.last_line())[:200]
        await context.report(elapsed, None, f"running for {elapsed:.0f} s: {line}")
