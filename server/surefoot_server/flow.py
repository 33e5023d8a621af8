"""Flow control of one stdio connection, and its end; both streams of `stdio` share it."""

import asyncio  # noqa: TID251 - the transports that `stdio` has its reason for call this
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
import mcp_types as types

MOST_OPEN = 256
"""Requests without an answer, beyond which nothing is read."""
MOST_BYTES = 8 * 1024 * 1024
"""Bytes of such requests, beyond which nothing is read."""

Answering = Callable[[], Awaitable[bool]]
"""Writes an answer; whether it was fully written."""


class Listener(Protocol):
    """Told by the transport what becomes of answers."""

    def written(self, request_id: types.RequestId) -> None:
        """The answer to this request was fully written to the pipe."""
        ...

    def cancelled(self, request_id: types.RequestId) -> None:
        """The answer to this request is not waited for: told before the SDK is."""
        ...

    def lost(self) -> None:
        """The other side is gone, or about to be left; told before the SDK is, once or more."""
        ...

    async def refused(self, message: str, answering: Answering) -> None:
        """A line that asked for a tool was no request; it is answered with an error by this."""
        ...


class _Closable(Protocol):
    """A transport or a file."""

    def close(self) -> None:
        """Let go of it; once or more."""
        ...


class Flow(asyncio.BaseProtocol):
    """How much is under way, and whether it is over; asyncio tells it of the pipe written to.

    Args:
        incoming: What is read from.
        listener: Told of the end.
    """

    def __init__(self, incoming: asyncio.StreamReader, listener: Listener) -> None:
        self.incoming = incoming
        """What is read from; at its end as soon as `reading` is closed."""
        self.reading: _Closable | None = None
        """What feeds it."""
        self.listener = listener
        """Who is told."""
        self.ended = False
        """Nothing is read any more, and no write waits."""
        self.broken = False
        """Nothing can be written any more."""
        self._open: dict[types.RequestId, int] = {}
        self._bytes = 0
        self._room = anyio.Event()
        self._flushed = anyio.Event()

    def admit(self, request_id: types.RequestId, size: int) -> bool:
        """A request was read; False if its id belongs to one that has no answer yet."""
        if request_id in self._open:
            return False
        self._open[request_id] = size
        self._bytes += size
        return True

    def settle(self, request_id: types.RequestId) -> None:
        """A request has its answer, or will never have one."""
        self._bytes -= self._open.pop(request_id, 0)
        self._room.set()

    async def room(self) -> None:
        """Wait until another request may be read."""
        while not self.ended and (len(self._open) >= MOST_OPEN or self._bytes >= MOST_BYTES):
            self._room = anyio.Event()
            await self._room.wait()

    async def flushed(self, transport: asyncio.WriteTransport) -> bool:
        """Wait until all that was written is in the kernel's hands; False if it will not be."""
        while transport.get_write_buffer_size() and not self.ended and not self.broken:
            self._flushed = anyio.Event()
            await self._flushed.wait()
        return not transport.get_write_buffer_size() and not self.broken

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`; its buffer limit is 0, so that this means written."""
        self._flushed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`: nobody reads what we write."""
        self.broken = True
        self.end()

    def end(self) -> None:
        """It is over."""
        self.listener.lost()
        self.ended = True
        if self.reading is not None:
            self.reading.close()
        self._room.set()
        self._flushed.set()
