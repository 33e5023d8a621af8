"""A stdio transport of our own: starts a server, and carries lines to and from it.

Below `connection.py`. The SDK's `stdio_client` splits its whole buffer again for every chunk, which
is quadratic in the length of a line (50 MB: 19 s; here 0.9 s), and has no bound on a line.
"""

import os
import signal
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import mcp_types as types
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

MAX_LINE = 64 * 1024 * 1024
"""Bytes; a longer line ends the connection."""
EXIT_GRACE = 6.0
"""Seconds that a server has to exit after its stdin closed; surefoot's own takes up to 5."""
TERMINATE_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL to its process group."""
_POLL = 0.01
_CHUNK = 256 * 1024

Incoming = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]


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


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """How to start a server."""

    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    """The whole environment; nothing is inherited beside it."""
    log: Path
    """Where its stderr is appended."""


@dataclass(slots=True)
class Wire:
    """The state of one connection, shared by the transport and whoever calls over it."""

    ended: bool = False
    """It is over: end of file, a cut, a broken pipe, or a line too long."""
    cut_after_next: bool = False
    """Close both pipes right after the next message was written (a fault to be injected)."""


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
    process = await _start(server)
    to_session, from_server = anyio.create_memory_object_stream[Incoming](0)
    from_session, to_server = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, process, to_session, wire, limit)
        tasks.start_soon(_write, process, to_server, to_session, wire)
        try:
            yield from_server, from_session
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
            tasks.cancel_scope.cancel()
            for stream in (to_session, from_server, from_session, to_server):
                stream.close()


_GONE = (
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)
"""How a pipe, or the session at the other end of a stream, says that it is not there any more."""


async def _start(server: ServerProcess) -> Process:
    log = os.open(server.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # its own session: a Ctrl-C in the terminal is for the driver, and the group can be killed
        return await anyio.open_process(
            list(server.argv),
            stderr=log,
            env=server.environment,
            cwd=server.cwd,
            start_new_session=True,
        )
    finally:
        os.close(log)


async def _read(
    process: Process, session: MemoryObjectSendStream[Incoming], wire: Wire, limit: int
) -> None:
    reader = LineReader(limit)
    with session, suppress(*_GONE):
        try:
            while True:
                for line in reader.feed(await _stdout(process).receive(_CHUNK)):
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
    with suppress(*_GONE):
        async with messages:
            async for message in messages:
                if _is_cancel(message):
                    continue
                body = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await _stdin(process).send(body.encode() + b"\n")
                if wire.cut_after_next:
                    _close_pipes(process)
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


def _stdin(process: Process) -> ByteSendStream:
    assert process.stdin is not None  # noqa: S101 - for the type checker: opened with pipes
    return process.stdin


def _stdout(process: Process) -> ByteReceiveStream:
    assert process.stdout is not None  # noqa: S101 - for the type checker: opened with pipes
    return process.stdout


def _close_pipes(process: Process) -> None:
    """Close our ends now. anyio offers it only within `aclose`, which waits for the exit."""
    transport = getattr(process, "_transport", None)
    for descriptor in (0, 1):
        pipe = transport.get_pipe_transport(descriptor) if transport is not None else None
        if pipe is not None:
            pipe.close()


async def _end(process: Process) -> None:
    with suppress(*_GONE):
        await _stdin(process).aclose()
    if not await _exits(process, EXIT_GRACE):
        _signal_group(process, signal.SIGTERM)
        await _exits(process, TERMINATE_GRACE)
    # the server if it is still there, and whatever it left behind in its group
    _signal_group(process, signal.SIGKILL)
    await _exits(process, TERMINATE_GRACE)
    _close_pipes(process)
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()


async def _exits(process: Process, within: float) -> bool:
    """Whether the process has exited after at most `within` seconds.

    Not `process.wait()`: from CPython 3.11 on it also waits for the pipes, which a descendant that
    inherited them may hold open.
    """
    with anyio.move_on_after(within):
        while process.returncode is None:  # noqa: ASYNC110 - there is no event, see above
            await anyio.sleep(_POLL)
    return process.returncode is not None


def _signal_group(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
