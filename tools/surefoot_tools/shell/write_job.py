"""`write_job`: write to the input of a job, or press keys in its terminal."""

import os
from contextlib import suppress
from typing import ClassVar

import anyio
from pydantic import Field

from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.shell.job import JOB_ID, OnJob
from surefoot_tools.shell.keys import keys_alone, typed
from surefoot_tools.shell.record import Record
from surefoot_tools.supervisor.orders import END_INPUT
from surefoot_tools.tool import Arguments, Context, Effect, Evidence, Group, Result, Tool

PATIENCE = 10.0
"""Seconds to wait for a job that does not read."""
BLOCK = 4096
"""Bytes written at once: whole or not at all, pipe(7)."""


class WriteJobArguments(Arguments):
    """Arguments of `write_job`."""

    job_id: str = JOB_ID
    input: str = Field(
        max_length=1048576,
        description="Text; end a line with a newline. In a terminal also keys by name, such as"
        " <enter>, <ctrl-c>, <escape>, <tab>, <up>, <page-down>, <f1>; <lt> is a <.",
    )
    eof: bool = Field(False, description="Nothing more comes: end its input after this.")


class WriteJobResult(Result):
    """What a job was given."""

    bytes: int
    """Bytes that its input took."""

    def as_text(self) -> str:
        """One line."""
        return f"{self.bytes} bytes written; read_job with wait shows what comes of it"


class WriteJob(OnJob, Tool[WriteJobArguments, WriteJobResult]):
    """Writes to the FIFO that a job's supervisor passes on."""

    name: ClassVar[str] = "write_job"
    title: ClassVar[str] = "Write to a job"
    description: ClassVar[str] = (
        "Write to the standard input of a job from start_job, or type into its terminal: text and"
        " keys by name. Then read_job with wait shows what it answers."
    )
    group: ClassVar[Group] = Group.SHELL
    effect: ClassVar[Effect] = Effect.AT_MOST_ONCE
    destructive: ClassVar[bool] = True
    open_world: ClassVar[bool] = True
    secret_arguments: ClassVar[frozenset[str]] = frozenset({"input"})  # a password, for all we know
    Arguments = WriteJobArguments
    Result = WriteJobResult

    async def run(
        self, arguments: WriteJobArguments, evidence: Evidence, context: Context
    ) -> WriteJobResult:
        """Write all of it, or say how much was taken."""
        record, begun = self._find(arguments.job_id, context)
        text = arguments.input
        if begun.terminal is not None:
            text = typed(text)
        elif keys_alone(text):
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"input: {text[:40]} is a key, and job {arguments.job_id} has no terminal",
                hint="stop_job sends it a signal such as INT; start_job with pty gives a terminal.",
            )
        try:
            data = text.encode()
        except UnicodeEncodeError as e:
            raise ToolError(Code.INVALID_ARGUMENT, f"input is no text: {e.reason}") from e
        with self._reach(record) as held:
            done = await _write(record, data, context)
            if arguments.eof:
                held.order(END_INPUT)
        return WriteJobResult(bytes=done)


async def _write(record: Record, data: bytes, context: Context) -> int:
    """Write to the FIFO; how many bytes that were.

    Raises:
        ToolError: the job reads nothing.
    """
    try:
        fifo = os.open(record.folder / "input", os.O_WRONLY | os.O_NONBLOCK)
    except OSError as e:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"the input of job {record.folder.name} is closed",
            hint="Only jobs from start_job take input, until it is ended or they stop reading.",
        ) from e
    done = 0
    try:
        until = min(context.deadline, anyio.current_time() + PATIENCE)
        with anyio.CancelScope(deadline=until) as patience:
            while done < len(data):
                with suppress(BlockingIOError):
                    done += os.write(fifo, data[done : done + BLOCK])
                    continue
                await anyio.wait_writable(fifo)
    except BrokenPipeError as e:
        raise _cut(record, done, "it ended", Origin.TOOL) from e
    finally:
        os.close(fifo)
    if patience.cancelled_caught:
        raise _cut(record, done, f"it read no more in {PATIENCE:.0f} s", Origin.TOOL)
    return done


def _cut(record: Record, done: int, why: str, origin: Origin) -> ToolError:
    return ToolError(
        Code.DEADLINE_EXCEEDED,
        f"job {record.folder.name} took {done} bytes of the input: {why}",
        applied=Applied.YES if done else Applied.NO,
        origin=origin,
    )
