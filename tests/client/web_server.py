"""An MCP server over HTTP in this process, whose door does to a call what its tool's name says."""

import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.client.foreign_server import make

Act = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
"""What is done to a call: its message, and ASGI's two ends."""


@dataclass
class Door:
    """An ASGI application before the server."""

    inner: ASGIApp
    acts: dict[str, Act] = field(default_factory=dict[str, Act])
    """By tool, in the place of the server."""
    legacy: bool = False
    """Whether it looks like a server that knows nothing of the 2026 version."""
    token: str | None = None
    """Bearer token that is asked for."""
    seen: list[str] = field(default_factory=list[str])
    """JSON-RPC methods, and tools, in the order in which they came; `-` for what is no POST."""
    authorized: list[str | None] = field(default_factory=list[str | None])
    """The `authorization` header of each."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        body = b""
        while (part := await receive()).get("type") == "http.request":
            body += part["body"]
            if not part.get("more_body"):
                break
        message: dict[str, Any] = json.loads(body) if body else {}
        tool = message.get("params", {}).get("name")
        self.seen.append(tool or message.get("method") or "-")
        given = dict(scope["headers"]).get(b"authorization")
        self.authorized.append(given.decode() if given is not None else None)
        if self.token is not None and given != f"Bearer {self.token}".encode():
            await answer(send, 401, {"www-authenticate": "Bearer"})
        elif self.legacy and message.get("method") == "server/discover":
            await answer(send, 400)
        elif tool in self.acts:
            await self.acts[tool](message, receive, send)
        else:
            await self.inner(scope, again(body, receive), send)


def again(body: bytes, receive: Receive) -> Receive:
    """The request once more, for an application that has not seen it."""
    given = False

    async def first_the_body() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return first_the_body


async def answer(
    send: Send, status: int, headers: dict[str, str] | None = None, body: bytes = b""
) -> None:
    """A whole response."""
    given = {"content-length": str(len(body)), **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def turns_away(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Act:
    """An act that answers so."""

    async def act(_message: dict[str, Any], _receive: Receive, send: Send) -> None:
        await answer(send, status, headers, body)

    return act


def says(body: str, kind: str = "application/json", status: int = 200) -> Act:
    """An act that answers with this content; `ID` in it stands for the request's id."""

    async def act(message: dict[str, Any], _receive: Receive, send: Send) -> None:
        filled = body.replace("ID", json.dumps(message["id"])).encode()
        await answer(send, status, {"content-type": kind}, filled)

    return act


async def breaks_off(_message: dict[str, Any], _receive: Receive, send: Send) -> None:
    """Begin a stream of events with an event that could be resumed, and die."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    event = (
        b'id: 1\nretry: 1\nevent: message\ndata: {"jsonrpc":"2.0","method":"notifications/x"}\n\n'
    )
    await send({"type": "http.response.body", "body": event, "more_body": True})
    raise ConnectionAbortedError("on purpose")


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """None: the process is that of the tests."""
        yield


@asynccontextmanager
async def serving(door: Door, port: int = 0) -> AsyncGenerator[str, None]:
    """Serve on loopback for the length of a block; the URL."""
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        door, log_config=None, lifespan="on", timeout_graceful_shutdown=0, ws="none"
    )
    server = _Uvicorn(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_serve, server, listening)
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await anyio.sleep(0.001)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        finally:
            server.should_exit = True


async def _serve(server: _Uvicorn, listening: socket.socket) -> None:
    with listening:
        await server.serve([listening])


def a_door() -> Door:
    """Before a server of its own."""
    return Door(make().streamable_http_app())
