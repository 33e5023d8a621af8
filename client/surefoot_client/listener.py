"""A server process over HTTP: one for all who drive it, started again when it has died.

Above `streamable_http.py`. The server says where it listens by a JSON line on stderr,
`{"event": "listening", "url": URL}`, as `surefoot serve --http` does.
"""

import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
from anyio.abc import Process, TaskGroup

from surefoot_client import process as processes
from surefoot_client.process import GONE, ServerProcess
from surefoot_client.record import Transport
from surefoot_client.streamable_http import Endpoint
from surefoot_client.transport import LineReader, LineTooLong, Streams, Wire

LISTEN = "{listen}"
"""In a server command: `HOST:PORT` to listen on; the port is 0 at first, and then as announced."""
ANY_PORT = "127.0.0.1:0"
STARTING = 60.0
"""Seconds that a server has to announce itself, if nobody who waits for it gives up before."""
_LONGEST_LINE = 1024 * 1024
_CHUNK = 64 * 1024
_POLL = 0.01
_KEEPER = [
    # isolated: the folder of the script is not to be imported from
    *(sys.executable, "-I", "-S"),
    str(Path(__file__).with_name("keeper.py")),
]


class NotListening(ConnectionError):
    """The server did not say where it listens."""


@dataclass(slots=True)
class _Running:
    """One life of the server."""

    process: Process
    url: str | None = None
    """As announced."""


@dataclass(slots=True)
class _Starting:
    """A start under way, which all wait for who want the server."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    failure: OSError | None = None


@dataclass(slots=True)
class Listener:
    """A server process with any number of connections. Made by `listening`; started by `revive`."""

    tasks: TaskGroup
    server: ServerProcess
    """With `LISTEN` in its command."""
    transport: Transport = Transport.HTTP
    outlived: bool = True
    starts: int = 0
    """How often it was started."""
    _running: _Running | None = None
    _starting: _Starting | None = None
    _endpoint: Endpoint = field(default_factory=lambda: Endpoint(""))

    @property
    def name(self) -> str:
        """Its program."""
        return self.server.argv[0]

    @property
    def url(self) -> str:
        """Where it listens, or did at last; empty before its first start."""
        return self._endpoint.url

    @property
    def runs(self) -> bool:
        """Whether its process does, as far as is known."""
        return self._running is not None and self._running.process.returncode is None

    def streams(self, wire: Wire) -> AbstractAsyncContextManager[Streams]:
        """Send to it, wherever it listens at the time."""
        return self._endpoint.streams(wire)

    async def revive(self) -> None:
        """Start it, unless it runs; whoever comes meanwhile waits for the same start.

        The port is the one that it had, so that what others know of it stays true; if that has been
        taken, another. Cancellation leaves the start to those who come later.

        Raises:
            OSError: it cannot be started, or did not announce itself.
        """
        seen = self.starts
        if self._starting is None and await self._stands():
            return
        if self._starting is None and self.starts != seen:
            return  # another has started it while we looked
        if self._starting is None:
            self._starting = _Starting()
            self.tasks.start_soon(self._bring_up, self._starting)
        starting = self._starting
        await starting.done.wait()
        if starting.failure is not None:
            raise starting.failure

    async def end(self) -> None:
        """End it in order, for sure."""
        with anyio.CancelScope(shield=True):
            if self._starting is not None:
                self._starting.scope.cancel()
                await self._starting.done.wait()
            await self._end_running()

    async def _stands(self) -> bool:
        return self.runs and await self._endpoint.answers()

    async def _end_running(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            with anyio.CancelScope(shield=True):
                await processes.end(running.process)

    async def _bring_up(self, starting: _Starting) -> None:
        try:
            with starting.scope:
                await self._end_running()
                known = urlsplit(self._endpoint.url).netloc
                stands = bool(known) and await self._start(known)
                if not stands and not await self._start(ANY_PORT):
                    raise NotListening("it ended, or did not say on stderr where it listens")
        except OSError as error:
            starting.failure = error
        finally:
            self._starting = None
            starting.done.set()

    async def _start(self, address: str) -> bool:
        """Start it there; whether it announced itself. If not, it is ended."""
        argv = [part.replace(LISTEN, address) for part in self.server.argv]
        process = await processes.start(
            replace(self.server, argv=[*_KEEPER, *argv]), stderr_piped=True
        )
        self._running = running = _Running(process)
        self.starts += 1
        self.tasks.start_soon(_listen, running, self.server)
        try:
            with anyio.move_on_after(STARTING):
                # the announcement may come from another task, or never; there is no event for both
                while running.url is None and process.returncode is None:  # noqa: ASYNC110
                    await anyio.sleep(_POLL)
        finally:
            if running.url is None:
                await self._end_running()
        self._endpoint.url = running.url or self._endpoint.url
        return running.url is not None


async def _listen(running: _Running, server: ServerProcess) -> None:
    """Append a server's stderr to its log, and note what it announces."""
    assert running.process.stderr is not None  # noqa: S101 - for the type checker: a pipe
    log = processes.open_log(server)
    reader: LineReader | None = LineReader(_LONGEST_LINE)
    try:
        with suppress(*GONE):
            while True:
                chunk = await running.process.stderr.receive(_CHUNK)
                # a page cache's worth of time; whoever reads a log wants it whole
                os.write(log, chunk)
                try:
                    for line in reader.feed(chunk) if reader is not None else ():
                        running.url = running.url or _announced(line)
                except LineTooLong:
                    reader = None
    finally:
        os.close(log)


def _announced(line: bytes) -> str | None:
    """The URL that a line announces."""
    try:
        said: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    event = cast("dict[str, Any]", said)
    url = event.get("url")
    return url if event.get("event") == "listening" and isinstance(url, str) else None


@asynccontextmanager
async def listening(server: ServerProcess) -> AsyncGenerator[Listener, None]:
    """A server for the length of a block; it is started by the first connection to it.

    Raises:
        Exception: what the block raises, as it raised it.
    """
    raised: Exception | None = None
    async with anyio.create_task_group() as tasks:
        listener = Listener(tasks, server)
        try:
            yield listener
        except Exception as error:
            # kept out of the task group, which would wrap it
            raised = error
        finally:
            await listener.end()
            tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised
