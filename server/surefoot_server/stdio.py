"""Our own stdio framing under the SDK's dispatcher: a JSON-RPC message a line, asyncio pipes.

Why not the SDK's `stdio_server`: it hops to a thread three times a message (half of its cost),
drops what it cannot parse without an answer, takes lines of any length, and does not tell when an
answer was written. POSIX only: asyncio has no pipe transports on Windows.
"""

import asyncio  # noqa: TID251 - pipe transports without a thread hop a message exist only here
import errno
import os
import re
import stat
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Protocol, Self

import anyio
import mcp_types as types
import pydantic_core
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from surefoot_server import log

_log = log.get("stdio")

LONGEST_LINE = 4 * 1024 * 1024
"""Bytes of one message; a longer one is answered with an error and skipped."""
READ_CHUNK = 65536
PARSE_ERROR = -32700
INVALID_REQUEST = -32600


class Listener(Protocol):
    """Told by the transport what becomes of answers."""

    def written(self, request_id: types.RequestId) -> None:
        """The answer to this request was fully written to the pipe."""
        ...

    def cancelled(self, request_id: types.RequestId) -> None:
        """The client cancelled this request; told before the SDK is."""
        ...

    def lost(self) -> None:
        """The other side is gone; told before the SDK is."""
        ...

    async def refused(self, message: str) -> None:
        """A line that asked for a tool was no request, and was answered with an error."""
        ...


class _Borrowed:
    """A stream of the SDK's form whose pipe belongs to `stdio`: closing it releases nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Nothing to release: the pipe belongs to `stdio`."""


class MessageReader(_Borrowed):
    """The stream of messages that the SDK reads; answers by itself what is no message.

    Args:
        pipe: Where the lines come from.
        refuse: Writes an error for a line that is no message: id (or None), code, text.
        listener: Told of cancels and of the end.
    """

    def __init__(
        self,
        pipe: asyncio.StreamReader,
        refuse: Callable[[types.RequestId | None, int, str], Awaitable[None]],
        listener: Listener,
    ) -> None:
        self._pipe = pipe
        self._refuse = refuse
        self._listener = listener
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises:
            anyio.EndOfStream: the other side closed its end.
        """
        while True:
            line = await self._line()
            if not line.strip():
                continue
            try:
                message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValidationError:
                await self._refuse_line(line)
                continue
            if isinstance(message, types.JSONRPCNotification):
                self._notice_cancel(message)
            return SessionMessage(message)

    def _notice_cancel(self, message: types.JSONRPCNotification) -> None:
        if message.method == "notifications/cancelled":
            request_id = (message.params or {}).get("requestId")
            if isinstance(request_id, str | int):
                self._listener.cancelled(request_id)

    async def _refuse_line(self, line: bytes) -> None:
        request_id, is_json = top_level_id(line)
        code = INVALID_REQUEST if is_json else PARSE_ERROR
        text = "not a JSON-RPC 2.0 message" if is_json else "not valid JSON in UTF-8"
        _log.info("refused a line", size=len(line), code=code)
        if request_id is not None and b'"tools/call"' in line:
            await self._listener.refused(text)
        await self._refuse(request_id, code, text)

    async def _line(self) -> bytes:
        """The next line; over-long ones are refused and skipped in constant memory."""
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                if not self._skipping:
                    return line
                self._skipping = False
                continue
            self._searched = len(self._buffer)
            if self._skipping:
                self._buffer.clear()
                self._searched = 0
            elif len(self._buffer) > LONGEST_LINE:
                await self._too_long()
            data = await self._pipe.read(READ_CHUNK)
            if not data:
                self._listener.lost()
                raise anyio.EndOfStream
            self._buffer += data

    async def _too_long(self) -> None:
        request_id, _ = top_level_id(bytes(self._buffer))
        self._skipping = True
        self._buffer.clear()
        self._searched = 0
        await self._refuse(
            request_id, INVALID_REQUEST, f"the message is longer than {LONGEST_LINE} bytes"
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class MessageWriter(_Borrowed):
    """The stream that the SDK writes messages to.

    Args:
        pipe: Where the lines go; its buffer limit is 0, so that `drain` means written.
        listener: Told of each answer once it is written, and when no more can be.
    """

    def __init__(self, pipe: asyncio.StreamWriter, listener: Listener) -> None:
        self._pipe = pipe
        self._listener = listener

    async def send(self, item: SessionMessage) -> None:
        """Write one message as one line.

        Raises:
            anyio.BrokenResourceError: the other side is gone.
        """
        message = item.message
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
        await self._write(text.encode() + b"\n")
        if isinstance(message, types.JSONRPCResponse):
            self._listener.written(message.id)

    async def refuse(self, request_id: types.RequestId | None, code: int, text: str) -> None:
        """Answer a line that is no message; without an id JSON-RPC asks for null."""
        error = {"code": code, "message": text}
        body = {"jsonrpc": "2.0", "id": request_id, "error": error}
        await self._write(pydantic_core.to_json(body) + b"\n")

    async def _write(self, line: bytes) -> None:
        try:
            self._pipe.write(line)
            await self._pipe.drain()
        except (ConnectionError, RuntimeError) as e:
            self._listener.lost()
            raise anyio.BrokenResourceError from e


@asynccontextmanager
async def stdio(
    descriptors: tuple[int, int], listener: Listener
) -> AsyncGenerator[tuple[MessageReader, MessageWriter]]:
    """Serve over two file descriptors that `divert` has set aside.

    Args:
        descriptors: To read from and to write to.
        listener: Told what becomes of answers.

    Raises:
        OSError: the one to write to is neither pipe, socket nor terminal.
    """
    loop = asyncio.get_running_loop()
    incoming = asyncio.StreamReader(limit=READ_CHUNK)
    source = os.fdopen(descriptors[0], "rb", buffering=0)
    target = os.fdopen(descriptors[1], "wb", buffering=0)
    if not _pollable(descriptors[1]) and not stat.S_ISCHR(os.fstat(descriptors[1]).st_mode):
        raise OSError(errno.EINVAL, "MCP needs a pipe, a socket or a terminal as standard output")
    if _pollable(descriptors[0]):
        closing, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(incoming), source
        )
    else:
        # A file or the null device: never a wait, and nothing that epoll would take.
        incoming.feed_data(source.read())
        incoming.feed_eof()
        closing = source
    write_transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop), target
    )
    write_transport.set_write_buffer_limits(high=0)
    writer = MessageWriter(asyncio.StreamWriter(write_transport, protocol, None, loop), listener)
    try:
        yield MessageReader(incoming, writer.refuse, listener), writer
    finally:
        closing.close()
        write_transport.close()


def _pollable(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


def divert() -> tuple[int, int]:
    """Set the wire aside before anything can print: fd 0 becomes empty, fd 1 stderr.

    Returns:
        The descriptors that carry MCP from now on.
    """
    sys.stdout.flush()
    wire = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return wire


_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_ID = re.compile(rb'\s*:\s*(-?\d{1,18}(?![\d.eE])|"(?:[^"\\]|\\.)*")')


def top_level_id(line: bytes) -> tuple[types.RequestId | None, bool]:
    """The id of a line that is no message, so that it can be answered; None if not readable.

    Only the top level counts: `arguments` may hold an `id` of their own.

    Returns:
        The id, and whether the line is JSON all the same.
    """
    depth = 0
    for token in _TOKEN.finditer(line):
        first = token.group()[:1]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
        elif depth == 1 and token.group() == b'"id"':
            value = _ID.match(line, token.end())
            if value is not None:
                return _as_id(value.group(1)), _is_json(line)
    return None, _is_json(line)


def _as_id(text: bytes) -> types.RequestId | None:
    value = _parse(text)
    return value if isinstance(value, str | int) else None


def _is_json(line: bytes) -> bool:
    return _parse(line) is not _NOT_JSON


_NOT_JSON = object()


def _parse(text: bytes) -> Any:
    try:
        return pydantic_core.from_json(text)
    except ValueError:
        return _NOT_JSON
