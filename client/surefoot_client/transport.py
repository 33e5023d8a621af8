"""How a server is reached: what a `Connection` asks of any way, and the way over stdio.

Below `connection.py`; the other way is `streamable_http.py`. The SDK's `stdio_client` splits its
whole buffer again for every chunk, which is quadratic in the length of a line (50 MB: 19 s; here
0.9 s), and has no bound on a line.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import anyio
import mcp_types as types
from anyio.abc import Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from surefoot_client import process as processes
from surefoot_client.process import GONE, ServerProcess
from surefoot_client.record import Transport

__all__ = [
    "Incoming",
    "LineReader",
    "LineTooLong",
    "ServerProcess",
    "Stdio",
    "Streams",
    "Target",
    "Wire",
    "stdio",
]

MAX_LINE = 64 * 1024 * 1024
"""Bytes; a longer line ends the connection."""
_CHUNK = 256 * 1024

Incoming = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]


@dataclass(slots=True)
class Wire:
    """The state of one connection, shared by the transport and whoever calls over it."""

    ended: bool = False
    """It is over: end of file, a cut, a broken pipe, or a line too long; over HTTP: the server was
    not there."""
    cut_after_next: bool = False
    """Cut it right after the next message was written (a fault to be injected)."""


class Target(Protocol):
    """A server, as a connection sees it."""

    @property
    def transport(self) -> Transport:
        """How it is reached."""
        ...

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def outlived(self) -> bool:
        """Whether a client that needs no session may stay when the server is started again."""
        ...

    def streams(self, wire: Wire) -> AbstractAsyncContextManager[Streams]:
        """The stream pair that an `mcp.Client` takes."""
        ...

    async def revive(self) -> None:
        """See to it that the server can be reached, as far as that is ours to do.

        Raises:
            OSError: it cannot.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stdio:
    """A server of this connection alone, which `streams` starts and ends."""

    server: ServerProcess
    transport: Transport = Transport.STDIO
    outlived: bool = False

    @property
    def name(self) -> str:
        """Its program."""
        return self.server.argv[0]

    def streams(self, wire: Wire) -> AbstractAsyncContextManager[Streams]:
        """Start it."""
        return stdio(self.server, wire)

    async def revive(self) -> None:
        """Nothing: each pair of streams has a process of its own."""


class LineTooLong(ValueError):
    """The server sent a line beyond the bound."""


class LineReader:
    """Cuts a stream of bytes into lines, in time linear in the bytes.

    Args:
        limit: Longest line in bytes, without its newline.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that `chunk` completes, without their newlines.

        Raises:
            LineTooLong: a line is, or is going to be, longer than the limit.
        """
        self._buffer += chunk
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            if end > self._limit:
                raise LineTooLong(f"a line of {end} bytes; the bound is {self._limit}")
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            yield line
        self._searched = len(self._buffer)
        if self._searched > self._limit:
            raise LineTooLong(f"a line over {self._limit} bytes, which is the bound")


@asynccontextmanager
async def stdio(
    server: ServerProcess, wire: Wire, limit: int = MAX_LINE
) -> AsyncGenerator[Streams, None]:
    """Start a server and yield the stream pair that an `mcp.Client` takes.

    On leaving, the server is ended: end of file, then SIGTERM, then SIGKILL to its process group,
    each wait bounded.

    Raises:
        OSError: the server cannot be started.
    """
    process = await processes.start(server)
    to_session, from_server = anyio.create_memory_object_stream[Incoming](0)
    from_session, to_server = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, process, to_session, wire, limit)
        tasks.start_soon(_write, process, to_server, to_session, wire)
        try:
            yield from_server, from_session
        finally:
            with anyio.CancelScope(shield=True):
                await processes.end(process)
            tasks.cancel_scope.cancel()
            for stream in (to_session, from_server, from_session, to_server):
                stream.close()


async def _read(
    process: Process, session: MemoryObjectSendStream[Incoming], wire: Wire, limit: int
) -> None:
    reader = LineReader(limit)
    with session, suppress(*GONE):
        try:
            while True:
                for line in reader.feed(await processes.stdout(process).receive(_CHUNK)):
                    if line.strip():
                        await session.send(_parse(line))
        except LineTooLong as error:
            await session.send(error)
        finally:
            wire.ended = True


async def _write(
    process: Process,
    messages: MemoryObjectReceiveStream[SessionMessage],
    session: MemoryObjectSendStream[Incoming],
    wire: Wire,
) -> None:
    with suppress(*GONE):
        async with messages:
            async for message in messages:
                if _is_cancel(message):
                    continue
                body = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await processes.stdin(process).send(body.encode() + b"\n")
                if wire.cut_after_next:
                    processes.close_pipes(process)
                    break
    # the server may live on without reading; a request must not wait for it for ever
    wire.ended = True
    session.close()


def _parse(line: bytes) -> Incoming:
    """A message, or the reason why the line is none: a foreign server may print to its stdout."""
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError as error:
        return error


def _is_cancel(message: SessionMessage) -> bool:
    """Whether this is the SDK's courtesy cancel of a request that it gave up.

    It is withheld: the driver comes back under the same key to what still runs, and a cancel would
    stop that. What must stop, stops with the server.
    """
    sent = message.message
    return isinstance(sent, types.JSONRPCNotification) and sent.method == "notifications/cancelled"
