"""Each POST as an exchange of its own: its body, its caller's access, and what it is told.

ASGI middleware between authentication and the SDK's Streamable HTTP.
"""

import json
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp_types import RequestId
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from surefoot_server import log
from surefoot_server.access import EVERYTHING, Access
from surefoot_server.door import Door
from surefoot_server.exchange import EXCHANGE, Exchange
from surefoot_server.http.bearer import Granted
from surefoot_server.salvage import top_level_id
from surefoot_server.strict import Ambiguous, read

_log = log.get("http")

LONGEST_BODY = 4 * 1024 * 1024
"""Bytes of one request."""
BODY_TIME = 30.0
"""Seconds that a client has to send one."""
MOST_BYTES = 64 * 1024 * 1024
"""Bytes of requests without an answer, beyond which further ones are refused."""
RETRY_AFTER = 1
"""Seconds after which a client that was refused for lack of room may come back."""
REFUSED = 400
"""The HTTP status from which on a request was refused."""
UNAVAILABLE = 503
"""The HTTP status of what may be sent again."""
INVALID_REQUEST = -32600
NOTHING = Access("", frozenset(), frozenset(), ())
"""The access of a token that says none."""


class Refusal(Exception):
    """A request is not taken.

    Args:
        status: Of HTTP.
        message: What is wrong, and what to do.
        request_id: Of the request, as far as it can be read.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        request_id: RequestId | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self._request_id = request_id

    async def answer(self, send: Send) -> None:
        """Send it, as a JSON-RPC error."""
        error = {"code": INVALID_REQUEST, "message": str(self)}
        body = json.dumps({"jsonrpc": "2.0", "id": self._request_id, "error": error}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        if self.status == UNAVAILABLE:
            headers.append((b"retry-after", str(RETRY_AFTER).encode()))
        start = {"type": "http.response.start", "status": self.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": body})


class Exchanges:
    """Gives each POST an `Exchange` and a bounded body.

    Args:
        inner: The SDK's Streamable HTTP.
        door: Where its calls come in.
    """

    def __init__(self, inner: ASGIApp, door: Door) -> None:
        self._inner = inner
        self._door = door
        self._open: dict[tuple[str, str, RequestId], Exchange] = {}
        self.held = 0
        """Bytes of requests that have no answer yet."""
        self.ending = False
        """No further request is taken."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._inner(scope, receive, send)
            return
        body = _Body(self)
        try:
            await body.read(receive)
            exchange = Exchange(self._door.current, _access(scope), tracked=True, alone=True)
            scope[EXCHANGE] = exchange
            told = _Told(exchange, send, asks_for_tool=b'"tools/call"' in body.whole)
            send = told.send
            with self._following(scope, exchange, body.whole):
                await self._inner(scope, body.replay(receive), send)
        except Refusal as refusal:
            _log.info("refused a request", status=refusal.status, reason=str(refusal))
            await refusal.answer(send)
        finally:
            self.held -= len(body.whole)

    @contextmanager
    def _following(self, scope: Scope, exchange: Exchange, body: bytearray) -> Generator[None]:
        """A block in which a request of a 2025 session can be cancelled, and its id is its own.

        Raises:
            Refusal: the message has two meanings, or its id is one of a request without an answer.
        """
        try:
            message = read(body)
        except Ambiguous as e:
            raise Refusal(400, str(e), request_id=top_level_id(bytes(body))[0]) from e
        session = Headers(scope=scope).get("mcp-session-id")
        if session is None:
            yield
            return
        owner = (exchange.access.principal, session)
        if message.get("method") == "notifications/cancelled":
            # Told before the SDK is, as over stdio.
            given: Any = message.get("params")
            name = given.get("requestId") if isinstance(given, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            if isinstance(name, str | int) and (*owner, name) in self._open:
                self._open[*owner, name].cancelled(name)
        request_id = message.get("id")
        if message.get("method") != "tools/call" or not isinstance(request_id, str | int):
            yield
            return
        # The SDK would mix up the answers of two requests under one id.
        place = (*owner, request_id)
        if place in self._open:
            raise Refusal(400, "the id is still in use", request_id=request_id)
        self._open[place] = exchange

        def free() -> None:
            if self._open.get(place) is exchange:
                del self._open[place]

        exchange.over = free
        try:
            yield
        finally:
            free()

    def admit(self) -> None:
        """Let a request in, or more of it.

        Raises:
            Refusal: there is no room, or the server is ending.
        """
        if self.ending:
            raise Refusal(UNAVAILABLE, "the server is ending; send it again to its successor")
        if self.held >= MOST_BYTES:
            raise Refusal(UNAVAILABLE, "too many requests are under way; send it again")


class _Body:
    """The body of one request."""

    def __init__(self, exchanges: Exchanges) -> None:
        self._exchanges = exchanges
        self._parts = bytearray()
        self._gone = False

    @property
    def whole(self) -> bytearray:
        """What has been read of it."""
        return self._parts

    async def read(self, receive: Receive) -> None:
        """Read it whole.

        Raises:
            Refusal: it is too long, or too slow, or there is no room.
        """
        self._exchanges.admit()
        with anyio.move_on_after(BODY_TIME) as limit:
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    self._gone = True
                    return
                self._take(message.get("body", b""))
                more = message.get("more_body", False)
        if limit.cancelled_caught:
            raise Refusal(408, f"the request did not come whole within {BODY_TIME:g} s")

    def _take(self, part: bytes) -> None:
        if len(self._parts) + len(part) > LONGEST_BODY:
            raise Refusal(413, f"a request has at most {LONGEST_BODY} bytes; ask for less at once")
        self._exchanges.admit()
        self._parts += part
        self._exchanges.held += len(part)

    def replay(self, receive: Receive) -> Receive:
        """The `receive` of an application that is to read it again."""
        first: deque[Message] = deque()
        if not self._gone:
            first.append({"type": "http.request", "body": bytes(self._parts), "more_body": False})

        async def again() -> Message:
            return first.popleft() if first else await receive()

        return again


class _Told:
    """What a request is told; a refusal of a call that got no further has its receipt, too."""

    def __init__(self, exchange: Exchange, send: Send, *, asks_for_tool: bool) -> None:
        self._exchange = exchange
        self._send = send
        self._asks_for_tool = asks_for_tool

    async def send(self, message: Message) -> None:
        """See ASGI."""
        refused = message["type"] == "http.response.start" and message["status"] >= REFUSED
        if refused and self._asks_for_tool and not self._exchange.accounted:
            await self._exchange.refuse(f"refused with HTTP status {message['status']}")
        await self._send(message)


def _access(scope: Scope) -> Access:
    """What the caller may use: as its token says, or everything where none is asked for."""
    user = scope.get("user")
    if not isinstance(user, AuthenticatedUser):
        return EVERYTHING
    granted = user.access_token
    return granted.access if isinstance(granted, Granted) else NOTHING
