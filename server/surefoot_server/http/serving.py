"""Streamable HTTP: the SDK's two eras on one endpoint, behind our own gates.

    Gate (Host, Origin) -> bearer token -> Exchanges (body, access, delivery) -> the SDK

uvicorn carries it, with our `Wire` for its protocol. Plain HTTP: TLS belongs to a proxy before it.
"""

import signal
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from socket import socket
from typing import Any

import anyio
import uvicorn
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from surefoot_server.door import Door
from surefoot_server.http.address import PATH
from surefoot_server.http.bearer import Bearers
from surefoot_server.http.exchanges import LONGEST_BODY, Exchanges
from surefoot_server.http.verifier import Verifier
from surefoot_server.http.wire import Wire

KEEP_ALIVE = 30
"""Seconds that an idle connection is kept."""
MOST_CONNECTIONS = 2048
"""Connections, beyond which requests are answered 503."""
FLUSH = 1
"""Seconds that answers have to leave when the server ends, after their calls have ended."""
SESSION_IDLE = 1800.0
"""Seconds after which an idle session of the 2025 versions is closed."""


@dataclass(frozen=True, slots=True)
class Authority:
    """How callers show who they are."""

    verifiers: tuple[Verifier, ...]
    """The kinds of tokens that are taken."""
    resource: str | None = None
    """URL by which this server is known to its authorization server."""
    issuers: tuple[str, ...] = ()
    """Authorization servers whose tokens are taken."""
    scopes: tuple[str, ...] = ()
    """Scopes there are, for the metadata."""


class Gate:
    """Refuses requests whose `Host` or `Origin` is foreign, whatever they ask for.

    Source: MCP 2026-07-28, Streamable HTTP, 'Security Warning'.
    """

    def __init__(self, inner: ASGIApp, security: TransportSecuritySettings) -> None:
        self._inner = inner
        self._security = TransportSecurityMiddleware(security)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        refusal = None
        if scope["type"] == "http":
            refusal = await self._security.validate_request(Request(scope))
        await (self._inner if refusal is None else refusal)(scope, receive, send)


class HttpApp:
    """An MCP server over HTTP, as an ASGI application; `running` must be entered around its use.

    Args:
        server: Of the SDK.
        door: Where its calls come in.
        security: Which `Host` and `Origin` are taken.
        authority: How callers show who they are; None: all are the one who started the server.
    """

    def __init__(
        self,
        server: Server[Any],
        door: Door,
        security: TransportSecuritySettings,
        authority: Authority | None = None,
    ) -> None:
        self._sessions = StreamableHTTPSessionManager(
            server, session_idle_timeout=SESSION_IDLE, max_request_body_size=LONGEST_BODY
        )
        self.exchanges = Exchanges(self._sessions.asgi_app, door)
        """The requests that are under way."""
        self._asgi = Gate(_routes(self.exchanges, authority), security)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The server's lifespan."""
        async with self._sessions.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await self._asgi(scope, receive, send)


def _routes(endpoint: ASGIApp, authority: Authority | None) -> Starlette:
    if authority is None:
        return Starlette(routes=[Route(PATH, endpoint=endpoint)])
    resource = None if authority.resource is None else AnyHttpUrl(authority.resource)
    metadata = None if resource is None else build_resource_metadata_url(resource)
    routes = [Route(PATH, endpoint=RequireAuthMiddleware(endpoint, [], metadata))]
    if resource is not None:
        routes += create_protected_resource_routes(
            resource_url=resource,
            authorization_servers=[AnyHttpUrl(issuer) for issuer in authority.issuers],
            scopes_supported=list(authority.scopes) or None,
            resource_name="surefoot",
        )
    backend = BearerAuthBackend(Bearers(authority.verifiers))  # which checks the audience by itself
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(AuthenticationMiddleware, backend=backend),
            Middleware(AuthContextMiddleware),
        ],
    )


class _Uvicorn(uvicorn.Server):
    """uvicorn, but for signals and the order of its end."""

    def __init__(
        self, config: uvicorn.Config, app: HttpApp, door: Door, listening: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._app = app
        self._door = door
        self._listening = listening

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Whoever started us listens to signals."""
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Say when requests are answered."""
        await super().startup(sockets)
        self._listening()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Refuse what comes, let calls end, and have their answers written."""
        self._app.exchanges.ending = True
        executor = self._door.current()
        if executor is not None:
            await executor.drain()
        await super().shutdown(sockets)


async def serve(
    app: HttpApp, door: Door, sockets: Sequence[socket], started: Callable[[], None]
) -> None:
    """Serve until a cancellation or `SIGTERM`, then end in order.

    Args:
        app: What to serve.
        door: Where its calls come in.
        sockets: To listen on.
        started: Told once requests are answered.

    Raises:
        JournalUnavailable: the server's own lifespan could not begin.
    """
    config = uvicorn.Config(
        app,
        http=Wire,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=FLUSH,
    )
    async with app.running(), anyio.create_task_group() as tasks:
        server = _Uvicorn(config, app, door, started)

        async def end_on_signal() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    server.should_exit = True

        tasks.start_soon(end_on_signal)
        try:
            await server.serve(sockets=list(sockets))
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await server.shutdown(list(sockets))
            raise
        tasks.cancel_scope.cancel()
