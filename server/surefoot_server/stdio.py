"""Our own stdio framing under the SDK's dispatcher: a JSON-RPC message a line, asyncio pipes.

Why not the SDK's `stdio_server`: it hops to a thread three times a message (half of its cost),
drops what it cannot parse without an answer, takes lines of any length, and does not tell when an
answer was written. POSIX only: asyncio has no pipe transports on Windows.

**What bounds the memory.** A line has at most `LONGEST_LINE` bytes. While `flow.MOST_OPEN` requests
are without a fully written answer, or `flow.MOST_BYTES` of them, nothing more is read: the pipe
fills and the client waits. Waiting and not refusing, because a client that sends a thousand calls
at once means all of them, and because a refusal is one more answer for a client that reads none. A
cancel comes through as long as there is room, and so does the end of the input; the end of the
output is noticed at any time. Progress that would have to wait for the client is dropped.

**How a connection ends.** Whichever side notices first (end of the input, the output's reader gone,
`MessageReader.end` by a signal), the listener is told, nothing more is read, and no write waits for
the client any more.
"""

import asyncio  # noqa: TID251 - pipe transports without a thread hop a message exist only here
import errno
import os
import stat
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import anyio
import mcp_types as types
import pydantic_core
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from pydantic import ValidationError

from surefoot_server import log
from surefoot_server.flow import Flow, Listener
from surefoot_server.salvage import top_level_id
from surefoot_server.strict import Ambiguous, read

_log = log.get("stdio")

LONGEST_LINE = 4 * 1024 * 1024
"""Bytes of one message; a longer one is answered with an error and skipped."""
READ_CHUNK = 65536
PARSE_ERROR = -32700
INVALID_REQUEST = -32600


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


class MessageWriter(_Borrowed):
    """The stream that the SDK writes messages to; its listener is told of each answer written."""

    def __init__(self, flow: Flow, transport: asyncio.WriteTransport) -> None:
        self._flow = flow
        self._transport = transport
        # One line at a time: what is flushed is then this line, and not what came after it.
        self._turn = anyio.Lock(fast_acquire=True)

    async def send(self, item: SessionMessage) -> None:
        """Write one message as one line; an answer settles its request, written or not.

        Raises:
            anyio.BrokenResourceError: the other side is gone.
        """
        message = item.message
        if isinstance(message, types.JSONRPCResponse):
            await self._answer(message.id, lambda: _result_line(message))
        elif isinstance(message, types.JSONRPCError) and message.id is not None:
            await self._answer(message.id, lambda: _line(message))
        elif not (_is_progress(message) and self._transport.get_write_buffer_size()):
            await self._write(_line(message))

    async def _answer(self, request_id: types.RequestId, encode: Callable[[], bytes]) -> None:
        try:
            try:
                line = encode()
            except ValueError:
                # The SDK answers with an error instead, which is not the answer that is recorded.
                self._flow.listener.cancelled(request_id)
                raise
            await self._write(line)
            self._flow.listener.written(request_id)
        finally:
            self._flow.settle(coerce_request_id(request_id))

    async def refuse(self, request_id: types.RequestId | None, code: int, text: str) -> bool:
        """Answer a line that is no request; without an id JSON-RPC asks for null.

        Returns:
            Whether the answer was fully written.
        """
        error = {"code": code, "message": text}
        body = {"jsonrpc": "2.0", "id": request_id, "error": error}
        try:
            await self._write(pydantic_core.to_json(body) + b"\n")
        except anyio.BrokenResourceError:
            return False
        return True

    async def _write(self, line: bytes) -> None:
        async with self._turn:
            if self._flow.broken or not await self._flow.flushed(self._transport):
                raise anyio.BrokenResourceError
            self._transport.write(line)
            if not await self._flow.flushed(self._transport):
                raise anyio.BrokenResourceError


def _result_line(message: types.JSONRPCResponse) -> bytes:
    # A third of what `model_dump_json` takes; the result is plain JSON by now.
    body = {"jsonrpc": "2.0", "id": message.id, "result": message.result}
    return pydantic_core.to_json(body) + b"\n"


def _line(message: types.JSONRPCMessage) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"


def _flaw(line: bytes) -> str | None:
    """Why a call has more than one meaning."""
    try:
        read(line)
    except Ambiguous as e:
        return str(e)
    return None


def _is_progress(message: types.JSONRPCMessage) -> bool:
    progress = "notifications/progress"
    return isinstance(message, types.JSONRPCNotification) and message.method == progress


class MessageReader(_Borrowed):
    """The stream of messages that the SDK reads; answers by itself what is no request.

    Args:
        flow: Of the connection.
        writer: Writes those answers.
    """

    def __init__(self, flow: Flow, writer: MessageWriter) -> None:
        self._flow = flow
        self._writer = writer
        self._listener = flow.listener
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False

    def end(self) -> None:
        """End the connection in order, as if the client had closed its side."""
        self._flow.end()

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises:
            anyio.EndOfStream: the connection is over.
        """
        while True:
            await self._flow.room()
            line = await self._line()
            if not line.strip():
                continue
            try:
                message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
            except ValidationError:
                await self._refuse_line(line)
                continue
            if isinstance(message, types.JSONRPCRequest):
                request_id = coerce_request_id(message.id)
                text = _flaw(line) if message.method == "tools/call" else None
                if text is not None:
                    await self._refuse(line, message.id, INVALID_REQUEST, text)
                elif self._flow.admit(request_id, len(line)):
                    return SessionMessage(message, self._unanswered(request_id))
                else:
                    text = "the id is still in use"
                    await self._refuse(line, message.id, INVALID_REQUEST, text)
            elif not isinstance(message, types.JSONRPCNotification):
                return SessionMessage(message)
            elif message.method.startswith("notifications/") or b'"id"' not in line:
                self._notice_cancel(message)
                return SessionMessage(message)
            else:
                text = "the id of a request is a text or a whole number"
                await self._refuse(line, None, INVALID_REQUEST, text)

    def _unanswered(self, request_id: types.RequestId) -> ServerMessageMetadata:
        """Told by the SDK when a request that was cancelled is over."""

        async def settle() -> None:
            self._flow.settle(request_id)

        return ServerMessageMetadata(on_request_unanswered=settle)

    def _notice_cancel(self, message: types.JSONRPCNotification) -> None:
        if message.method == "notifications/cancelled":
            request_id = (message.params or {}).get("requestId")
            if isinstance(request_id, str | int):
                self._listener.cancelled(request_id)

    async def _refuse_line(self, line: bytes) -> None:
        request_id, is_json = top_level_id(line)
        code = INVALID_REQUEST if is_json else PARSE_ERROR
        text = "not a JSON-RPC 2.0 message" if is_json else "not valid JSON in UTF-8"
        await self._refuse(line, request_id, code, text)

    async def _refuse(
        self, line: bytes, request_id: types.RequestId | None, code: int, text: str
    ) -> None:
        _log.info("refused a line", size=len(line), code=code)
        if b'"tools/call"' in line:
            await self._listener.refused(text, lambda: self._writer.refuse(request_id, code, text))
        else:
            await self._writer.refuse(request_id, code, text)

    async def _line(self) -> bytes:
        """The next line; over-long ones are refused and skipped in constant memory."""
        while True:
            if self._flow.ended:
                raise anyio.EndOfStream
            end = self._buffer.find(b"\n", self._searched)
            size = len(self._buffer) if end < 0 else end
            if size > LONGEST_LINE and not self._skipping:
                self._skipping = True
                await self._too_long(bytes(self._buffer[:LONGEST_LINE]))
                continue
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                if not self._skipping:
                    return line
                self._skipping = False
                continue
            if self._skipping:
                self._buffer.clear()
            self._searched = len(self._buffer)
            data = await self._flow.incoming.read(READ_CHUNK)
            if data:
                self._buffer += data
            else:
                self._flow.end()

    async def _too_long(self, head: bytes) -> None:
        request_id, _ = top_level_id(head)
        text = f"the message is longer than {LONGEST_LINE} bytes"
        await self._refuse(head, request_id, INVALID_REQUEST, text)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


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
    flow = Flow(incoming, listener)
    source = os.fdopen(descriptors[0], "rb", buffering=0)
    target = os.fdopen(descriptors[1], "wb", buffering=0)
    if not _pollable(descriptors[1]) and not stat.S_ISCHR(os.fstat(descriptors[1]).st_mode):
        raise OSError(errno.EINVAL, "MCP needs a pipe, a socket or a terminal as standard output")
    if _pollable(descriptors[0]):
        flow.reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(incoming), source
        )
    else:
        # A file or the null device: never a wait, and nothing that epoll would take.
        incoming.feed_data(source.read())
        incoming.feed_eof()
        flow.reading = source
    outgoing, _ = await loop.connect_write_pipe(lambda: flow, target)
    outgoing.set_write_buffer_limits(high=0)
    writer = MessageWriter(flow, outgoing)
    try:
        yield MessageReader(flow, writer), writer
    finally:
        flow.reading.close()
        if not flow.broken:  # or it is closed already, and would stumble over that
            outgoing.abort()  # and not `close`, which would wait for a client that does not read


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
