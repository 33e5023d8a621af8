"""`start_job`: begin a command that goes on by itself, with an input, and a terminal if asked."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.shell.begin import Begins
from surefoot_tools.shell.command import Command, argv_of
from surefoot_tools.shell.ending import failure, lost
from surefoot_tools.shell.run_command import CommandLine, shielded
from surefoot_tools.shell.secrets import without_secrets
from surefoot_tools.tool import (
    Arguments,
    Context,
    Effect,
    Evidence,
    Happened,
    NotBegun,
    Recovery,
    Result,
    Tool,
    Unknown,
)

TERM = "xterm-256color"
"""The terminal that `pyte` plays, and nearly every program knows."""


class StartJobArguments(Arguments):
    """Arguments of `start_job`."""

    command: CommandLine = Field(
        description="A string is run by the shell (bash, else sh); a list is run directly."
    )
    cwd: str = Field(".", description="Where it starts; relative to the root.")
    env: dict[str, str] = Field(
        default_factory=dict, description="Variables added to a small clean environment."
    )
    timeout: float | None = Field(
        None, gt=0, le=2592000, description="Seconds; then it is killed. Null for never."
    )
    pty: bool = Field(
        False,
        description="Give it a terminal: for programs that ask, draw or page (python, psql, vim).",
    )
    rows: int = Field(24, ge=2, le=200, description="Size of the terminal.")
    columns: int = Field(80, ge=10, le=500, description="Size of the terminal.")


class StartJobResult(Result):
    """A job that has begun."""

    job_id: str
    pid: int
    """Of the command."""
    sandbox: Literal["bubblewrap", "landlock", "off"] = "off"
    """How it is confined; `off`: not at all."""
    state: JobState = JobState.RUNNING
    """Where it stands; another than `running` where a call is answered again later."""

    def as_text(self) -> str:
        """What to go on with."""
        if self.state is not JobState.RUNNING:
            return f"job {self.job_id} began and has ended: {self.state}; read_job has its output"
        return (
            f"job {self.job_id} began, pid {self.pid}, sandbox {self.sandbox}: read_job with wait"
            " waits for its output, write_job writes to it, stop_job ends it"
        )


class StartJob(Begins, Tool[StartJobArguments, StartJobResult]):
    """Begins a command that nobody waits for; see `RunCommand` for what recovery finds."""

    name: ClassVar[str] = "start_job"
    title: ClassVar[str] = "Start a job"
    description: ClassVar[str] = (
        "Start a command that goes on by itself, such as a development server, and get its job_id"
        " at once. Read its output with read_job, write to it with write_job, end it with stop_job."
        " With pty it has a real terminal. For what ends soon, run_command is simpler."
    )
    effect: ClassVar[Effect] = Effect.AT_MOST_ONCE
    destructive: ClassVar[bool] = True
    open_world: ClassVar[bool] = True
    Arguments = StartJobArguments
    Result = StartJobResult

    async def prepare(self, arguments: StartJobArguments, context: Context) -> Evidence:
        """See that the working directory is there, and name the job; it leaves no trace yet."""
        return self._name_job(arguments)

    async def run(
        self, arguments: StartJobArguments, evidence: Evidence, context: Context
    ) -> StartJobResult:
        """Begin it, and hold it as long as this server lives."""
        self.jobs.see_room()
        command = self._command(arguments, evidence["cwd"], context)
        job: str = evidence["job"]
        context.held.callback(self._told, job, context)
        held = await shielded(self.jobs.begin(job, command))
        self.jobs.hold(job, held)
        begun = self.jobs.record(job).begun()
        if begun is None:
            return StartJobResult(job_id=job, pid=0)
        return StartJobResult(job_id=job, pid=begun.pid, sandbox=begun.sandbox)

    def job_of(self, result: dict[str, Any]) -> str | None:
        """Each begins one."""
        return result["job_id"]

    async def refresh(self, result: StartJobResult, end: JobEnd | None = None) -> StartJobResult:
        """The same, with where the job stands now."""
        record = self.jobs.record(result.job_id)
        state = record.state()[0] if record.there else result.state if end is None else end.state
        return result.model_copy(update={"state": state})

    async def recover(self, evidence: Evidence) -> Recovery:
        """Look at what its supervisor left; if nothing, make sure that it never begins.

        Raises:
            ToolError: it could not be started.
        """
        job: str = evidence["job"]
        record = self.jobs.record(job)
        absent = self._absent(record, evidence)
        if absent is not None:
            return absent
        if record.claimed:
            return NotBegun()
        ended = record.ended()
        if ended is not None and ended.why == "not_started":
            raise failure(record, ended)
        begun = record.begun()
        if begun is None or begun.pid == 0:
            return Unknown(lost(record))
        self.jobs.hold(job)
        return Happened(StartJobResult(job_id=job, pid=begun.pid, sandbox=begun.sandbox))

    def _command(self, arguments: StartJobArguments, cwd: str, context: Context) -> Command:
        terminal = (arguments.rows, arguments.columns) if arguments.pty else None
        env = {**self._environment, **({"TERM": TERM} if arguments.pty else {}), **arguments.env}
        command = Command(
            argv=argv_of(arguments.command),
            cwd=cwd,
            env=env,
            shown=without_secrets(arguments.command),
            principal=context.principal,
            roots=self._roots.directories,
            limit=arguments.timeout,
            job=True,
            input=not arguments.pty,
            terminal=terminal,
        )
        command.check()
        return command
