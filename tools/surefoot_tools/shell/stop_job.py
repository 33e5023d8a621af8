"""`stop_job`: end a job with all that it started."""

import signal
from typing import ClassVar, Literal

import anyio
from pydantic import Field

from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.jobs import JobState
from surefoot_tools.shell.attendance import Attendance
from surefoot_tools.shell.ending import status_of
from surefoot_tools.shell.job import JOB_ID, OnJob
from surefoot_tools.supervisor.orders import SIGNAL, STOP
from surefoot_tools.tool import Arguments, Context, Effect, Evidence, Group, Result, Tool

STUBBORN = 10.0
"""Seconds that a supervisor may take to kill; more than it allows itself."""


class StopJobArguments(Arguments):
    """Arguments of `stop_job`."""

    job_id: str = JOB_ID
    signal: Literal["TERM", "INT", "HUP", "QUIT", "KILL"] = Field(
        "TERM", description="What it is asked with; after grace it is killed."
    )
    grace: float = Field(5.0, ge=0, le=300, description="Seconds that it may take to end.")


class StopJobResult(Result):
    """How a job ended."""

    state: JobState
    exit_code: int | None
    """Exit status; null when a signal ended it."""
    signal: str | None

    def as_text(self) -> str:
        """One line."""
        end = f"signal {self.signal}" if self.signal else f"exit code {self.exit_code}"
        return f"{self.state}, {end}"


class StopJob(OnJob, Tool[StopJobArguments, StopJobResult]):
    """Has a supervisor signal its command, then end it; one that has ended stays as it is."""

    name: ClassVar[str] = "stop_job"
    title: ClassVar[str] = "Stop a job"
    description: ClassVar[str] = (
        "End a job with all that it started: by a signal, and after grace by killing it. A job that"
        " has ended stays as it is. Its output can still be read with read_job."
    )
    group: ClassVar[Group] = Group.SHELL
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    destructive: ClassVar[bool] = True
    repeatable: ClassVar[bool] = True
    Arguments = StopJobArguments
    Result = StopJobResult

    async def run(
        self, arguments: StopJobArguments, evidence: Evidence, context: Context
    ) -> StopJobResult:
        """Signal it, wait, kill it; what is left when nothing of it is."""
        record, _ = self._find(arguments.job_id, context)
        held = Attendance.adopt(record.folder)
        if held is not None:
            with held:
                await _stop(held, arguments)
        state, ended = record.state()
        exit_code, name = status_of(ended)
        return StopJobResult(state=state, exit_code=exit_code, signal=name)


async def _stop(held: Attendance, arguments: StopJobArguments) -> None:
    """Wait until it has ended.

    Raises:
        ToolError: it does not.
    """
    number = signal.Signals[f"SIG{arguments.signal}"]
    if number is not signal.SIGKILL and arguments.grace > 0:
        held.order(SIGNAL + bytes([number]))
        with anyio.move_on_after(arguments.grace):
            await held.wait()
            return
    # Ordered by now: whoever asked may go away.
    held.order(STOP)
    with anyio.move_on_after(STUBBORN):
        await held.wait()
        return
    raise ToolError(
        Code.UNAVAILABLE,
        "the job's supervisor does not end it; it was told to",
        applied=Applied.UNKNOWN,
        origin=Origin.ENVIRONMENT,
        retry_after=5.0,
    )
