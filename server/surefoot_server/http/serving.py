"""Streamable HTTP: the SDK's two eras on one endpoint, behind our own gates.

    Gate (Host, Origin) -> bearer token -> Exchanges (body, access, delivery) -> the SDK

`Carrier` carries it. Plain HTTP: TLS belongs to a proxy before it.
"""

import signal
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from socket import socket
from typing import Any

import anyio
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from surefoot_server.door import Door
from surefoot_server.http.address import PATH
from surefoot_server.http.bearer import Bearers
from surefoot_server.http.carrier import Carrier
from surefoot_server.http.challenge import Decided, ToolScope, exact_url
from surefoot_server.http.exchanges import LONGEST_BODY, Exchanges
from surefoot_server.http.scopes import SCOPES
from surefoot_server.http.verifier import Verifier

MOST_CONNECTIONS = 2048
"""Connections, beyond which requests are answered 503."""
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
    scopes: tuple[str, ...] = SCOPES
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


def _routes(endpoint: ASGIApp, authority: Authority | None) -> ASGIApp:
    if authority is None:
        return Starlette(routes=[Route(PATH, endpoint=endpoint)])
    resource = None if authority.resource is None else exact_url(authority.resource)
    metadata = None if resource is None else build_resource_metadata_url(resource)
    granted = ToolScope(endpoint, authority.scopes, metadata)
    routes = [Route(PATH, endpoint=RequireAuthMiddleware(granted, [], metadata))]
    if resource is not None:
        routes += create_protected_resource_routes(
            resource_url=resource,
            authorization_servers=[exact_url(issuer) for issuer in authority.issuers],
            scopes_supported=list(authority.scopes) or None,
            resource_name="surefoot",
        )
    backend = BearerAuthBackend(Bearers(authority.verifiers))  # which checks the audience by itself
    return Decided(
        Starlette(
            routes=routes,
            middleware=[
                Middleware(AuthenticationMiddleware, backend=backend),
                Middleware(AuthContextMiddleware),
            ],
        )
    )


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

    async def end_calls() -> None:
        """Refuse what comes, and let calls end; their answers are written after it."""
        app.exchanges.ending = True
        executor = door.current()
        if executor is not None:
            await executor.drain()

    async with app.running(), anyio.create_task_group() as tasks:
        carrier = Carrier(app, MOST_CONNECTIONS, started, end_calls)

        async def end_on_signal() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    carrier.should_exit = True

        tasks.start_soon(end_on_signal)
        await carrier.carry(sockets)
        tasks.cancel_scope.cancel()
