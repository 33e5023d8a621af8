"""`/healthz`, `/readyz` and `/metrics` on a port of their own, beside a server on any transport.

Without tokens: it tells numbers, and is bound to loopback unless somebody says otherwise.
"""

from collections.abc import Callable, Sequence
from socket import socket

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from surefoot_server.http.address import Address
from surefoot_server.http.carrier import Carrier
from surefoot_server.http.serving import Gate
from surefoot_server.journal.records import Journal, JournalUnavailable
from surefoot_server.observe.metrics import Exposition, Gauge, exposition
from surefoot_server.observe.tally import Tally

PATIENCE = 2.0
"""Seconds that the journal may take to answer a probe."""
EVERY = 5.0
"""Seconds between looks at the journal while nobody asks, so that no scrape has much to read."""
MOST_CONNECTIONS = 32
"""Connections, beyond which a probe is answered 503."""


class Observation:
    """What can be asked.

    Args:
        journal: Of this server.
        tools: Names of the tools on offer.
        version: Of surefoot.
        gauges: Further numbers of this process.
        ending: Whether the server takes nothing more: it lives, but is not ready.

    Raises:
        MetricsMissing: the extra `metrics` is not installed.
    """

    def __init__(
        self,
        journal: Journal,
        tools: Sequence[str],
        version: str,
        gauges: Sequence[Gauge] = (),
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tally = Tally(journal, tools)
        self._page: Exposition = exposition(self._tally, gauges, version)
        self._ending = ending

    def asgi(self, address: Address, hosts: Sequence[str] = ()) -> ASGIApp:
        """The ASGI application, as reached at an address and by further names."""
        routes = [
            Route("/healthz", self._live),
            Route("/readyz", self._ready),
            Route("/metrics", self._metrics),
        ]
        return Gate(Starlette(routes=routes), address.security(hosts))

    async def follow(self) -> None:
        """Keep the totals near the present, until cancelled."""
        while True:
            await self._trouble()
            await anyio.sleep(EVERY)

    async def _live(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _request: Request) -> Response:
        trouble = "the server is ending" if self._ending() else await self._trouble()
        return PlainTextResponse(f"{trouble or 'ok'}\n", 503 if trouble else 200)

    async def _metrics(self, request: Request) -> Response:
        trouble = await self._trouble()
        if trouble:
            return PlainTextResponse(f"{trouble}\n", 503)
        body, content_type = self._page(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def _trouble(self) -> str:
        """Why the journal does not work, in one line; empty if it does.

        The look goes the way of every write: through the queue to the writer, which takes the
        database's write lock and writes there what safe calls have left waiting. It adds nothing.
        """
        try:
            with anyio.fail_after(PATIENCE):
                await self._tally.follow()
        except TimeoutError:
            return f"the journal did not answer within {PATIENCE:g} s"
        except JournalUnavailable:
            return "the journal cannot be written"  # the log says why; its path is nobody's here
        return ""


async def serve_observation(
    observation: Observation,
    address: Address,
    listening: socket,
    *,
    hosts: Sequence[str] = (),
    started: Callable[[], None] = lambda: None,
) -> None:
    """Answer probes until cancelled.

    Args:
        observation: What can be asked.
        address: Where it listens.
        listening: The socket, as `Address.bind` made it.
        hosts: Further names by which it may be spoken to.
        started: Told once requests are answered.
    """
    carrier = Carrier(observation.asgi(address, hosts), MOST_CONNECTIONS, started)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(observation.follow)
        await carrier.carry([listening])
        tasks.cancel_scope.cancel()
