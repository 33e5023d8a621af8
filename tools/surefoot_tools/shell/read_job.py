"""`read_job`: the output of a job from a cursor on, or its screen; also of commands that ended."""

from typing import ClassVar, Literal

import anyio
from pydantic import Field

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.jobs import JobState
from surefoot_tools.shell.attendance import Attendance
from surefoot_tools.shell.ending import status_of, told_of_touched
from surefoot_tools.shell.job import JOB_ID, OnJob
from surefoot_tools.shell.output import Page, come, page
from surefoot_tools.shell.record import Ended, Record
from surefoot_tools.shell.screen import screen_of
from surefoot_tools.supervisor.orders import LOOK_FOR_WAITING
from surefoot_tools.tool import Arguments, Context, Effect, Evidence, Group, Result, Tool

FIRST_LOOK, LAST_LOOK = 0.002, 0.05
"""Seconds between two looks for output, growing: of what another process writes there is no event
on every system."""
SETTLE, SETTLED = 0.03, 0.3
"""Seconds without more output after which a page is given, and the most that it is held back."""
ASK = 0.5
"""Seconds between two questions whether a job that says nothing waits for input."""
ANSWER = 0.3
"""Seconds that a supervisor may take to say whether its command waits for input."""


class ReadJobArguments(Arguments):
    """Arguments of `read_job`."""

    job_id: str = JOB_ID
    cursor: int = Field(
        0,
        ge=-(2**53),
        le=2**53,
        description="Where to go on: the cursor of the answer before. Below 0: from the end,"
        " such as -4096 for the last 4096 bytes.",
    )
    wait: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Seconds to wait for output beyond the cursor, the end, or a wait for input.",
    )
    max_output: int = Field(16384, ge=256, le=1048576, description="Bytes of a page.")
    screen: bool = Field(
        False, description="Of a job with a terminal: what the screen shows, in place of output."
    )


class ReadJobResult(Result):
    """What a job printed from a cursor on, and where it stands."""

    output: str
    """stdout and stderr in the order in which they came; or the screen."""
    cursor: int
    """Where to go on."""
    state: JobState
    exit_code: int | None
    """Exit status; null while it runs and when a signal ended it."""
    signal: str | None
    rest: int
    """Bytes that came after this page."""
    missing: int
    """Bytes in this page that are no longer kept."""
    replaced: int
    """How many times something was no UTF-8 and is shown as U+FFFD."""
    waiting_for_input: Literal["yes", "no", "unknown"]
    """Whether it waits for nothing but input just now."""
    sandbox: Literal["bubblewrap", "landlock", "off"]
    """How it is confined; `off`: not at all."""
    touched: list[str] = Field(default_factory=list[str])
    """Once it has ended, protected paths that were made or changed while it ran, five at most."""

    def as_text(self) -> str:
        """Status line, then the output."""
        status = str(self.state)
        if self.state is not JobState.RUNNING:
            end = f"signal {self.signal}" if self.signal else f"exit code {self.exit_code}"
            status = end if self.state is JobState.EXITED else f"{self.state}, {end}"
        elif self.waiting_for_input == "yes":
            status += ", waits for input (write_job)"
        parts = [f"{status}; cursor {self.cursor}"]
        if self.touched:
            parts[0] += told_of_touched(self.touched)
        if self.rest:
            parts[0] += f", {self.rest} bytes more came after this: read_job goes on from there"
        if self.missing:
            parts[0] += f"; {self.missing} bytes in between are no longer kept"
        return "\n".join([*parts, self.output] if self.output else parts)


class ReadJob(OnJob, Tool[ReadJobArguments, ReadJobResult]):
    """Reads what a supervisor has written; the job does not notice."""

    name: ClassVar[str] = "read_job"
    title: ClassVar[str] = "Read a job"
    description: ClassVar[str] = (
        "Read what a job has printed from a cursor on, and whether it still runs; with wait, as"
        " soon as there is output or an end. Also has the whole output of commands that ended."
        " screen shows a job with a terminal as a person would see it."
    )
    group: ClassVar[Group] = Group.SHELL
    effect: ClassVar[Effect] = Effect.SAFE
    Arguments = ReadJobArguments
    Result = ReadJobResult

    async def run(
        self, arguments: ReadJobArguments, evidence: Evidence, context: Context
    ) -> ReadJobResult:
        """Wait as long as is asked for, then read."""
        record, begun = self._find(arguments.job_id, context)
        patience = min(arguments.wait, context.deadline - anyio.current_time())
        if arguments.screen and begun.terminal is None:
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"screen: job {arguments.job_id} has no terminal",
                hint="start_job with pty gives it one; without screen this reads its output.",
            )
        state, ended = await _waited(record, arguments.cursor, patience)
        terminal = begun.terminal is not None
        seen = page(record, arguments.cursor, arguments.max_output, ended, terminal=terminal)
        if arguments.screen and begun.terminal is not None:
            end = come(record, ended)
            seen = Page(await screen_of(record, *begun.terminal), end, 0, 0, 0)
        exit_code, name = status_of(ended)
        return ReadJobResult(
            output=seen.text,
            cursor=seen.cursor,
            state=state,
            exit_code=exit_code,
            signal=name,
            rest=seen.rest,
            missing=seen.missing,
            replaced=seen.invalid,
            waiting_for_input=await _waits(record) if state is JobState.RUNNING else "no",
            sandbox=begun.sandbox,
            touched=[] if ended is None else ended.touched,
        )


async def _waited(record: Record, cursor: int, wait: float) -> tuple[JobState, Ended | None]:
    """Wait for output beyond the cursor, the end, or that it waits for us; where it stands then."""
    state, ended = record.state()
    if wait <= 0 or state is not JobState.RUNNING:
        return state, ended
    seen = come(record, None) if cursor < 0 else cursor
    look = FIRST_LOOK
    held = Attendance.adopt(record.folder)
    if held is None:
        return record.state()
    with held:
        with anyio.move_on_after(wait):
            asked = anyio.current_time()
            while come(record, None) <= seen and not held.over:
                await anyio.sleep(look)
                look = min(LAST_LOOK, look * 1.5)
                if anyio.current_time() >= asked + ASK:
                    if await _waits(record) == "yes":
                        break
                    asked = anyio.current_time()
        with anyio.move_on_after(SETTLED):
            while not held.over and come(record, None) > seen:
                seen = come(record, None)
                await anyio.sleep(SETTLE)
    return record.state()


async def _waits(record: Record) -> Literal["yes", "no", "unknown"]:
    """Whether it waits for input, by its supervisor's word."""
    if not (record.folder / "input").exists():
        return "no"
    told = record.folder / "waiting"
    told.unlink(missing_ok=True)
    held = Attendance.adopt(record.folder)
    if held is None:
        return "no"
    with held:
        held.order(LOOK_FOR_WAITING)
        with anyio.move_on_after(ANSWER):
            while not told.exists():  # noqa: ASYNC110 - of another process there is no event
                await anyio.sleep(FIRST_LOOK)
    try:
        said = told.read_text()
    except OSError:
        return "unknown"
    return "yes" if said == "yes" else "no" if said == "no" else "unknown"
