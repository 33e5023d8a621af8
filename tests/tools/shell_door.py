"""`run_command` at its own seam, as the executor calls it; and servers to be killed around it."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.abc
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from surefoot_tools.files.roots import Roots
from surefoot_tools.sandbox.sandbox import Level, Reached, Sandbox
from surefoot_tools.shell import shell_tools
from surefoot_tools.shell.ending import RunCommandResult
from surefoot_tools.shell.run_command import RunCommand, RunCommandArguments
from surefoot_tools.tool import Context, Evidence, Running, Tool

BOUND = 30.0
"""Seconds for anything that another process has to do."""
REPOSITORY = Path(__file__).parents[2]
DAEMONS = {
    "background": "{it} &",
    "setsid": "setsid {it} &",
    "double_fork": "(setsid sh -c '{it} &' &)",
    "empty_environment": "(env -i setsid sh -c '{it} &' &)",
}
"""The ways in which a command leaves a process behind, that an ever simpler kill would miss."""


def new_context(deadline: float = math.inf) -> Context:
    """A context of a call of its own."""
    return Context(call_id=uuid4().hex, effect_key="k", deadline=deadline)


class Door:
    """The tools of one server.

    Args:
        root: Where commands start; made if it is not there.
        jobs: Where their records are.
        grace: Seconds.
        job_grace: Seconds for jobs.
        sandbox: Confines the commands.
        level: What it is to be, if it is not given. Off: most tests are of something else, and
            some of their commands look at what no sandbox shows, such as the state directory.
    """

    def __init__(
        self,
        root: Path,
        jobs: Path,
        grace: float = 30.0,
        job_grace: float | None = 30.0,
        sandbox: Sandbox | None = None,
        level: Level = Level.OFF,
    ) -> None:
        root.mkdir(exist_ok=True)
        self.root, self.jobs, self.grace, self.job_grace = root, jobs, grace, job_grace
        environment = {"PATH": os.environ["PATH"]}
        self.level = level
        self.sandbox = sandbox = sandbox or Sandbox(level, [root], [jobs], environment)
        every = shell_tools(Roots([root]), environment, jobs, grace, job_grace, sandbox)
        self.tools: dict[str, Tool[Any, Any]] = {tool.name: tool for tool in every}
        tool = self.tools["run_command"]
        assert isinstance(tool, RunCommand)
        self.tool = tool

    def arguments(self, **arguments: Any) -> RunCommandArguments:
        """The validated arguments."""
        return RunCommandArguments.model_validate(arguments)

    async def run(self, *, deadline: float = math.inf, **arguments: Any) -> RunCommandResult:
        """Carry out a call, and clear away after it as when its outcome is recorded."""
        context = new_context(deadline)
        async with context.held:
            result, _ = await self.begin(context, **arguments)
            context.recorded = True
            return result

    async def call(self, name: str, principal: str = "local", **arguments: Any) -> Any:
        """Carry out a call of any of the shell tools, and clear away after it."""
        context = new_context()
        context.principal = principal
        tool = self.tools[name]
        async with context.held:
            asked = tool.Arguments.model_validate(arguments)
            evidence = await tool.prepare(asked, context)
            result = await tool.run(asked, evidence, context)
            context.recorded = True
            return result

    async def begin(self, context: Context, **arguments: Any) -> tuple[RunCommandResult, Evidence]:
        """Carry out a call; what it leaves on disk stays while the context holds it."""
        asked = self.arguments(**arguments)
        evidence = await self.tool.prepare(asked, context)
        return await self.tool.run(asked, evidence, context), evidence

    async def attend(self, evidence: Evidence, context: Context | None = None) -> RunCommandResult:
        """Adopt what a dead server began, and wait for its end."""
        found = await self.tool.recover(evidence)
        assert isinstance(found, Running), found
        mine = context or new_context()
        async with mine.held:
            result = await found.attend(mine)
            assert isinstance(result, RunCommandResult)
            return result
        raise AssertionError("nothing here swallows errors")

    def jobs_held(self) -> int:
        """How many running jobs this server holds."""
        return self.tool.jobs.running()

    def ended(self, job: str) -> bool:
        """Whether a job's supervisor has recorded its end."""
        return (self.jobs / job / "status.json").exists()

    async def begun(self, job: str) -> dict[str, int]:
        """What is recorded of a command that has begun: `pid` and `supervisor` among it.

        Not what it says of itself: in a room it has other numbers.
        """
        path = self.jobs / job / "begun.json"

        def found() -> dict[str, int]:
            with suppress(OSError, ValueError):
                return json.loads(path.read_bytes())
            return {"pid": 0}

        await until(lambda: found()["pid"] > 0)
        return found()

    async def only(self) -> dict[str, int]:
        """The same of the one command that there is so far."""
        [job] = {path.parent.name for path in self.jobs.glob("[0-9a-f]*/begun.json")}
        return await self.begun(job)

    @asynccontextmanager
    async def server(
        self, *, deadline: float = math.inf, **arguments: Any
    ) -> AsyncGenerator[tuple[anyio.abc.Process, Evidence]]:
        """A server process on the same state that has just begun a call.

        Args:
            deadline: Seconds from now.
            arguments: Of the call.
        """
        orders = {
            "root": str(self.root),
            "jobs": str(self.jobs),
            "grace": self.grace,
            "job_grace": self.job_grace,
            "level": self.level,
            "deadline": deadline,
            "arguments": arguments,
        }
        # In a file: whoever looks for the command's processes by their arguments finds no server.
        written = self.root.parent / f"orders-{uuid4().hex}"
        written.write_text(json.dumps(orders))
        process = await anyio.open_process(
            [sys.executable, "-m", "tests.tools.shell_server", str(written)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
        )
        assert process.stdout is not None
        try:
            with anyio.fail_after(BOUND):
                first = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 65536)
            yield process, json.loads(first)
        finally:
            await kill(process)

    async def killed_server(self, started: str, **arguments: Any) -> Evidence:
        """The evidence of a call whose server was killed once `started` was there.

        Args:
            started: A file that the command makes; `handed_over` for its becoming a job.
            arguments: Of the call.
        """
        async with self.server(**arguments) as (process, evidence):
            if started == "handed_over":
                begun = self.jobs / evidence["job"] / "begun.json"
                await until(lambda: begun.exists() and b'"handed_over": 1' in begun.read_bytes())
                started = "started"
            await until((self.root / started).exists)
            await kill(process)
        return evidence


LEVELS = [Level.OFF, pytest.param(Level.AUTO, marks=pytest.mark.slow)]
"""What holds of a command holds in a sandbox as well."""


def confined(door: Door) -> Door:
    """The same, unless it can't be what it was asked to be."""
    if door.sandbox.reached is Reached.REFUSED:
        pytest.skip(f"commands cannot be confined here: {door.sandbox.reason}")
    return door


async def kill(process: anyio.abc.Process) -> None:
    """SIGKILL, and reap it."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            process.kill()
        await process.aclose()


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what another process brings about."""
    with anyio.fail_after(BOUND):
        while not holds():  # noqa: ASYNC110 - of another process there is no event
            await anyio.sleep(0.01)


def release(fifo: Path) -> None:
    """Let a command go on that reads from a FIFO."""
    os.close(os.open(fifo, os.O_WRONLY))


def new_marker() -> str:
    """A number of seconds that no other process sleeps: names processes in their arguments."""
    return f"86400.{uuid4().int % 10**12:012d}"


def survivors(marker: str, *, asleep: bool = False) -> list[int]:
    """Processes that still run and have the marker among their arguments.

    Args:
        marker: What to look for.
        asleep: Only those that have become the `sleep` that they are to be.
    """
    found: list[int] = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            line = (process / "cmdline").read_bytes() if process.name.isdigit() else b""
            if marker.encode() in line and (not asleep or line.startswith(b"sleep")):
                found.append(int(process.name))
    return found


def parent(pid: int) -> int:
    """Field 4 of proc_pid_stat(5)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def sigkill(pid: int) -> None:
    """kill -9, to what may have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
