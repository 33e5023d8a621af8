"""`run_command`: run a command and wait for its end."""

import os
import signal
import time
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import anyio
from pydantic import Field

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files.roots import Roots
from surefoot_tools.shell.process import ChildProcess, place, shell
from surefoot_tools.tool import (
    Arguments,
    Context,
    Effect,
    Evidence,
    Group,
    Recovery,
    Result,
    Tool,
    Unknown,
)

PROGRESS_EVERY = 10.0
"""Seconds; hosts give a silent call up after 60 and more."""
ERROR_OUTPUT = 3000
"""Characters of each stream in the error of a command that was ended."""

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


class RunCommandResult(Result):
    """How a command ended and what it printed."""

    state: Literal["exited"]
    exit_code: int | None
    """Exit status; null when a signal ended it."""
    signal: str | None
    """Name of the signal that ended it, such as SIGKILL."""
    stdout: str
    stderr: str
    stdout_bytes: int
    """Bytes written to stdout in all, also those left out."""
    stderr_bytes: int
    truncated: bool
    """Whether anything of either stream was left out."""
    duration: float
    """Seconds."""
    background_killed: bool
    """Whether it left processes in the background, which were killed when it ended."""
    sandbox: Literal["off"]
    """How the command was confined; `off`: not at all."""

    def as_text(self) -> str:
        """Status line, then both streams."""
        end = f"signal {self.signal}" if self.signal else f"exit code {self.exit_code}"
        parts = [f"{end}, {self.duration:.2f} s, sandbox {self.sandbox}"]
        if self.background_killed:
            parts[0] += "; what it left running in the background was killed"
        if self.truncated:
            sizes = f"{self.stdout_bytes} bytes of stdout, {self.stderr_bytes} of stderr"
            parts[0] += f"; shortened: it wrote {sizes} (a larger max_output shows more)"
        for name, stream in (("stdout", self.stdout), ("stderr", self.stderr)):
            if stream:
                parts.append(f"--- {name}\n{stream.rstrip()}")
        return "\n".join(parts)


class RunCommand(Tool[RunCommandArguments, RunCommandResult]):
    """Runs a command in a process group of its own and waits for its end.

    Args:
        roots: Where commands may start.
        environment: The server's own; only names that load no code are passed on.
    """

    name: ClassVar[str] = "run_command"
    title: ClassVar[str] = "Run a command"
    description: ClassVar[str] = (
        "Run a command and wait for its end. A command that exits with a status other than 0 has"
        " still run: look at exit_code. When it ends, or at its timeout, what it started in its"
        " process group is killed. It starts inside the root but is not confined to it."
    )
    group: ClassVar[Group] = Group.SHELL
    effect: ClassVar[Effect] = Effect.AT_MOST_ONCE
    destructive: ClassVar[bool] = True
    open_world: ClassVar[bool] = True
    Arguments = RunCommandArguments
    Result = RunCommandResult

    def __init__(self, roots: Roots, environment: Mapping[str, str]) -> None:
        self._roots = roots
        self._environment = {
            name: value
            for name, value in environment.items()
            if name in _KEPT or name.startswith("LC_")
        }

    async def prepare(self, arguments: RunCommandArguments, context: Context) -> Evidence:
        """See that the working directory is there; a command leaves no other trace before."""
        return {"cwd": self._directory(arguments.cwd), "at": time.time()}

    async def run(
        self, arguments: RunCommandArguments, evidence: Evidence, context: Context
    ) -> RunCommandResult:
        """Run it to its end, or kill it at its timeout or when the call is cancelled."""
        command = arguments.command
        argv = [shell(), "-c", command] if isinstance(command, str) else command
        began = anyio.current_time()
        child = ChildProcess(
            argv,
            cwd=evidence["cwd"],
            environment={**self._environment, **arguments.env},
            stdin=arguments.stdin,
            max_output=arguments.max_output,
        )
        status: int | None = None
        left = False
        try:
            with anyio.move_on_after(arguments.timeout):
                status = await self._watch(child, context)
        except anyio.get_cancelled_exc_class():
            context.interrupted = ToolError(
                Code.CANCELLED,
                f"cancelled while the command ran; it was killed\n{_seen(child)}",
                applied=Applied.YES,
            )
            raise
        finally:
            left = await child.end()
        if status is None:
            raise ToolError(
                Code.DEADLINE_EXCEEDED,
                f"killed with its process group after {arguments.timeout:g} s\n{_seen(child)}",
                applied=Applied.YES,
                hint="Look at what it already did before you run it again with a longer timeout.",
            )
        return RunCommandResult(
            state="exited",
            exit_code=status if status >= 0 else None,
            signal=_signal_name(-status) if status < 0 else None,
            stdout=child.stdout.text(),
            stderr=child.stderr.text(),
            stdout_bytes=child.stdout.size,
            stderr_bytes=child.stderr.size,
            truncated=child.stdout.truncated or child.stderr.truncated,
            background_killed=left,
            duration=round(anyio.current_time() - began, 4),
            sandbox="off",
        )

    async def recover(self, evidence: Evidence) -> Recovery:
        """A command leaves nothing behind that would tell."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(evidence["at"]))
        return Unknown(f"the server died while the command ran; it was about to start at {at}")

    def _directory(self, path: str) -> str:
        """Absolute path of a directory inside the roots."""
        descriptor = self._roots.open_directory(path)
        try:
            return place(descriptor)
        finally:
            os.close(descriptor)

    @staticmethod
    async def _watch(child: ChildProcess, context: Context) -> int:
        """Wait for the end of the command, reporting progress meanwhile."""
        status = 0
        async with anyio.create_task_group() as reporters:
            reporters.start_soon(_report, child, context)
            status = await child.pump()
            reporters.cancel_scope.cancel()
        return status


async def _report(child: ChildProcess, context: Context) -> None:
    elapsed = 0.0
    while True:
        await anyio.sleep(PROGRESS_EVERY)
        elapsed += PROGRESS_EVERY
        line = child.stdout.last_line() or child.stderr.last_line()
        await context.report(elapsed, None, f"running for {elapsed:.0f} s: {line}")


def _signal_name(number: int) -> str:
    """SIGTERM and its like; real-time signals have no names of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def _seen(child: ChildProcess) -> str:
    """What it printed so far, short enough for an error."""
    parts: list[str] = []
    for name, stream in (("stdout", child.stdout), ("stderr", child.stderr)):
        text = stream.text().strip()
        if text:
            parts.append(f"--- {name}, {stream.size} bytes\n{text[-ERROR_OUTPUT:]}")
    return "\n".join(parts) or "it printed nothing"
