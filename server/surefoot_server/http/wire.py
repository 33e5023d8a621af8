"""The HTTP side of delivery: uvicorn's protocol tells an exchange when its answer was written.

ASGI says neither. A `send` returns once the bytes are given to the transport, which may hold them
for a client that reads nothing, and a client that goes away shows only to whoever calls `receive`,
which the SDK does not do in every mode. The protocol knows both at once, without a task more.
"""

import asyncio  # noqa: TID251 - the type of what uvicorn calls its protocol with
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from surefoot_server.exchange import EXCHANGE, Exchange


class Wire(H11Protocol):
    """One HTTP connection."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._flushing: list[Exchange] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`. From now on 'paused' means 'not fully written'."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)

    def on_response_complete(self) -> None:
        """The last bytes of a response were given to the transport."""
        exchange = self._exchange()
        if exchange is not None:
            # A transport that broke has thrown away what it held, and looks as if all were written.
            if self.transport.get_write_buffer_size() or self.transport.is_closing():
                self._flushing.append(exchange)
            else:
                exchange.all_written()
        super().on_response_complete()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`: all that was given to the transport is in the kernel's hands."""
        if not self.transport.get_write_buffer_size() and not self.transport.is_closing():
            self._all_written()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`: nothing that is not written yet will be.

        Without an error it was closed in order, after all was written.
        """
        if exc is None:
            self._all_written()
        gone, self._flushing = self._flushing, []
        current = self._exchange()
        if current is not None and not self.cycle.response_complete:
            gone.append(current)
        for exchange in gone:
            exchange.lost()
        super().connection_lost(exc)

    def _all_written(self) -> None:
        for exchange in self._flushing:
            exchange.all_written()
        self._flushing.clear()

    def _exchange(self) -> Exchange | None:
        """The exchange of the request that is being answered, if it has come that far."""
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        found = None if cycle is None else cycle.scope.get(EXCHANGE)
        return found if isinstance(found, Exchange) else None
