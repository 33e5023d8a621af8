"""The test's side of `core`: servers without MCP that are born, spoken to and killed."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import apsw
from anyio.abc import Process, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from tests.support.core import LONGEST, Setup

ROOT = Path(__file__).parents[2]
BOUND = 60.0
"""Seconds for anything a life does."""
GONE = (
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    OSError,
)
"""How a connection fails whose server died."""
Said = dict[str, Any]
"""An answer: see `core.shown`."""


def lay_out(folder: Path) -> Setup:
    """A workspace with a database of a table `counter` with one row 0 and a table `mark`."""
    workspace = folder / "workspace"
    workspace.mkdir(parents=True)
    db = apsw.Connection(str(workspace / "app.db"))
    db.execute("CREATE TABLE counter (n INTEGER); INSERT INTO counter VALUES (0)")
    db.execute("CREATE TABLE mark (label TEXT)")
    db.close()
    return Setup(state=str(folder / "state"), workspace=str(workspace))


@dataclass
class Life:
    """A server that lives."""

    pid: int
    setup: Setup
    stream: SocketStream
    incoming: BufferedByteReceiveStream
    early: dict[str, Said] = field(default_factory=dict[str, Said])
    """Answers that nobody has asked for yet."""
    serial: int = 0
    instance: str = ""
    """Its name in the journal, once it is up."""

    async def up(self) -> None:
        """Let it start, and wait until it serves."""
        await self.write(asdict(self.setup))
        self.instance = (await self.receive())["instance"]

    async def send(
        self, tool: str, arguments: dict[str, Any], key: str | None = None, **more: Any
    ) -> str:
        """Send a request, without waiting; its id. `more`: other fields of `call.Request`."""
        self.serial += 1
        request_id = f"{key}/{self.serial}"
        message = {"id": request_id, "tool": tool, "arguments": arguments, "key": key, **more}
        await self.write(message)
        return request_id

    async def write(self, message: dict[str, Any]) -> None:
        """Send one message."""
        await self.stream.send(json.dumps(message).encode() + b"\n")

    async def receive(self) -> Said:
        """The next answer, whosever it is."""
        with anyio.fail_after(BOUND):
            return json.loads(await self.incoming.receive_until(b"\n", LONGEST))

    async def ask(
        self, tool: str, arguments: dict[str, Any], key: str | None = None, **more: Any
    ) -> Said:
        """Send a request and wait for its answer."""
        return await self.answer(await self.send(tool, arguments, key, **more))

    async def answer(self, request_id: str) -> Said:
        """The answer to one request."""
        while request_id not in self.early:
            said = await self.receive()
            self.early[said["id"]] = said
        return self.early.pop(request_id)

    def kill(self) -> None:
        """Kill it where it stands."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def died(self) -> None:
        """Wait until nothing of it is left: its locks are free then."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            with anyio.fail_after(BOUND):
                await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)

    @property
    def dead(self) -> bool:
        """Whether nothing of it is left."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            return bool(select.select([descriptor], [], [], 0)[0])
        finally:
            os.close(descriptor)


@dataclass
class Forge:
    """A process that gives birth to servers."""

    process: Process
    path: str

    @asynccontextmanager
    async def life(self, setup: Setup, **changes: Any) -> AsyncGenerator[Life]:
        """A server that is up; it ends in order with the block, unless it was killed in it."""
        async with self.birth(setup, **changes) as life:
            await life.up()
            yield life

    @asynccontextmanager
    async def birth(self, setup: Setup, **changes: Any) -> AsyncGenerator[Life]:
        """A server that is about to start; `Life.up` lets it."""
        async with await anyio.connect_unix(self.path) as stream:
            incoming = BufferedByteReceiveStream(stream)
            with anyio.fail_after(BOUND):
                hello = json.loads(await incoming.receive_until(b"\n", LONGEST))
            life = Life(hello["pid"], replace(setup, **changes), stream, incoming)
            try:
                yield life
            except BaseException:
                life.kill()
                raise
        await life.died()


@asynccontextmanager
async def forge() -> AsyncGenerator[Forge]:
    """A process that has imported the server, and forks."""
    with tempfile.TemporaryDirectory(prefix="forge-") as folder:
        path = f"{folder}/s"
        known = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        process = await anyio.open_process(
            [sys.executable, "-m", "tests.support.core", path],
            stdin=subprocess.PIPE,
            stderr=None,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, known))},
        )
        try:
            assert process.stdout is not None
            with anyio.fail_after(BOUND):
                told = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 64)
            assert told == b"ready"
            yield Forge(process, path)
        finally:
            with anyio.CancelScope(shield=True):
                process.kill()
                await process.aclose()


async def until(holds: Callable[[], bool], *, every: float = 0.005) -> None:
    """Wait until something holds that no event tells of: the state of another process.

    Args:
        holds: Whether it does.
        every: Seconds between two looks.
    """
    with anyio.fail_after(BOUND):
        while True:
            if holds():
                return
            await anyio.sleep(every)


@contextmanager
def a_folder(tmp_path: Path) -> Generator[Path]:
    """A folder in memory where there is one: what a `kill -9` keeps does not depend on the disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="lives-", dir=memory) as folder:
        yield Path(folder)
