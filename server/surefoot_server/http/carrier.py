"""uvicorn as a part of our own program: signals are ours, and so is the order of its end."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from socket import socket

import anyio
import uvicorn
from starlette.types import ASGIApp

from surefoot_server.http.wire import Wire

KEEP_ALIVE = 30
"""Seconds that an idle connection is kept."""
FLUSH = 1
"""Seconds that answers have to leave at the end."""


async def _at_once() -> None:
    """There is nothing to be done before the end."""


class Carrier(uvicorn.Server):
    """Serves an ASGI application on sockets, until it is cancelled or `should_exit` is set.

    Args:
        app: The application.
        most: Connections, beyond which requests are answered 503.
        started: Told once requests are answered.
        before_end: Done first when it ends, while answers can still be written.
    """

    def __init__(
        self,
        app: ASGIApp,
        most: int,
        started: Callable[[], None],
        before_end: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Wire,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=most,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=FLUSH,
            )
        )
        self._started = started
        self._before_end = before_end

    async def carry(self, sockets: Sequence[socket]) -> None:
        """Serve on these sockets, which it closes."""
        try:
            await self.serve(list(sockets))
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self.shutdown(list(sockets))
            raise

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Whoever started us listens to them."""
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Say when requests are answered."""
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Have the answers written that can be had."""
        await self._before_end()
        await super().shutdown(sockets)
