"""The way over Streamable HTTP: each message is a request of its own, sent once.

Below `connection.py`, beside `transport.stdio`. The SDK's own transport lets a network error out
into the task group of its client, which then is of no use any more; it follows redirects, opens
streams again by itself, and reads a JSON body of any length. Here every failure belongs to one
request, which ends with an error whose `data` says why: a `LostReason`, or a `Refusal`. No peer can
send such a thing: what comes from it is JSON.
"""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from pydantic import ValidationError

from surefoot_client.process import GONE
from surefoot_client.record import LostReason, Transport
from surefoot_client.refusal import Refusal, refusal
from surefoot_client.transport import Incoming, Streams, Wire

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes; as long as a line over stdio may be."""
CONNECT = 5.0
"""Seconds until the TCP connection stands."""
SILENCE = 120.0
"""Seconds without a byte from the server; its answers take 45 at most, and streams are pinged."""
WRITE = 30.0
"""Seconds that the kernel may take none of our bytes."""
FAREWELL = 2.0
"""Seconds for the end of a session of the 2025 versions, which is a courtesy."""
MOST_CONNECTIONS = 64
"""Requests at the same time on one connection of the driver; one more waits `CONNECT`."""
VERSION, SESSION = "mcp-protocol-version", "mcp-session-id"
"""Headers."""


@dataclass(slots=True)
class Endpoint:
    """A server that is there, started by somebody else."""

    url: str
    token: str | None = field(default=None, repr=False)
    """Bearer token; it is sent to `url`, and nowhere else does it go."""
    token_from: str = "SUREFOOT_TOKEN"  # noqa: S105 - a name
    """The variable in which whoever runs us puts it, for messages."""
    longest: int = MAX_ANSWER
    """Bytes of one message; a longer one is not read."""
    transport: Transport = Transport.HTTP
    outlived: bool = True

    @property
    def name(self) -> str:
        """Its URL."""
        return self.url

    def streams(self, wire: Wire) -> AbstractAsyncContextManager[Streams]:
        """Send to it; it is not asked anything before."""
        return http(self, wire)

    async def answers(self) -> bool:
        """Whether somebody takes connections there."""
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            with anyio.fail_after(CONNECT):
                stream = await anyio.connect_tcp(parts.hostname or "", port)
        except OSError:  # a timeout is one
            return False
        await stream.aclose()
        return True

    async def revive(self) -> None:
        """See whether it is there; to start it again is not ours to do.

        Raises:
            ConnectionError: it is not.
        """
        if not await self.answers():
            raise ConnectionRefusedError(f"nothing listens at {self.url}")


@asynccontextmanager
async def http(endpoint: Endpoint, wire: Wire) -> AsyncGenerator[Streams, None]:
    """Yield the stream pair that an `mcp.Client` takes; nothing is sent before it sends."""
    to_session, from_server = anyio.create_memory_object_stream[Incoming](0)
    from_session, to_server = anyio.create_memory_object_stream[SessionMessage](0)
    async with (
        httpx2.AsyncClient(
            # neither proxies nor netrc of the environment, which is read in one place
            trust_env=False,
            follow_redirects=False,
            # there is nothing to verify without TLS, and loading the roots takes a while
            verify=endpoint.url.startswith("https:"),
            timeout=httpx2.Timeout(connect=CONNECT, read=SILENCE, write=WRITE, pool=CONNECT),
            limits=httpx2.Limits(max_connections=MOST_CONNECTIONS),
        ) as client,
        anyio.create_task_group() as tasks,
    ):
        posting = _Posting(endpoint, wire, client, to_session)
        tasks.start_soon(posting.run, to_server)
        try:
            yield from_server, from_session
        finally:
            with anyio.move_on_after(FAREWELL, shield=True):
                await posting.farewell()
            tasks.cancel_scope.cancel()
            for stream in (to_session, from_server, from_session, to_server):
                stream.close()


class _Cut(Exception):
    """The fault that was asked for: the connection is closed under a request just written."""


class _TooLong(ValueError):
    """A message beyond the bound."""


@dataclass(slots=True)
class _Posting:
    """What one client sends, and what comes back."""

    endpoint: Endpoint
    wire: Wire
    client: httpx2.AsyncClient
    session: MemoryObjectSendStream[Incoming]
    under_way: dict[types.RequestId, anyio.CancelScope] = field(
        default_factory=dict[types.RequestId, anyio.CancelScope]
    )
    standing: dict[str, str] = field(default_factory=dict[str, str])
    """Headers of every message since the handshake: the session of the 2025 versions, and the
    version for messages that bear none."""

    async def run(self, messages: MemoryObjectReceiveStream[SessionMessage]) -> None:
        """Send until the session ends; each request in a task of its own."""
        async with anyio.create_task_group() as tasks, messages:
            async for message in messages:
                sent = message.message
                headers = self._headers(message)
                if isinstance(sent, types.JSONRPCRequest):
                    cut, self.wire.cut_after_next = self.wire.cut_after_next, False
                    scope = self.under_way[sent.id] = anyio.CancelScope()
                    tasks.start_soon(self._ask, sent, headers, cut, scope)
                elif not self._gives_up(sent):
                    await self._tell(sent, headers)

    def _gives_up(self, sent: types.JSONRPCMessage) -> bool:
        """Whether this is the SDK's courtesy cancel of a request; then its stream is closed.

        On the 2026 wire that is how to give up. The message itself is withheld from older servers
        too: the driver comes back under the same key to what still runs.
        """
        if not isinstance(sent, types.JSONRPCNotification):
            return False
        if sent.method != "notifications/cancelled":
            return False
        scope = self.under_way.get((sent.params or {}).get("requestId", ""))
        if scope is not None:
            scope.cancel()
        return True

    def _headers(self, message: SessionMessage) -> dict[str, str]:
        sent, about = message.message, message.metadata
        if isinstance(sent, types.JSONRPCRequest) and sent.method == "initialize":
            self.standing.clear()
        stamped = (about.headers or {}) if isinstance(about, ClientMessageMetadata) else {}
        stamped = {name.lower(): value for name, value in stamped.items()}
        if VERSION in stamped:
            self.standing[VERSION] = stamped[VERSION]
        return {**self.standing, **stamped}

    async def _ask(
        self,
        request: types.JSONRPCRequest,
        headers: dict[str, str],
        cut: bool,
        scope: anyio.CancelScope,
    ) -> None:
        """Send a request once, and hand the session what ends it."""
        try:
            with scope:
                await self._hand(await self._exchange(request, headers, cut))
        finally:
            if self.under_way.get(request.id) is scope:
                del self.under_way[request.id]

    async def _hand(self, message: types.JSONRPCMessage) -> None:
        with suppress(*GONE):  # then nobody waits for it any more
            await self.session.send(SessionMessage(message))

    async def _exchange(
        self, request: types.JSONRPCRequest, headers: dict[str, str], cut: bool
    ) -> types.JSONRPCResponse | types.JSONRPCError:
        url = self.endpoint.url
        try:
            async with self._post(request, headers, cut) as response:
                return await self._ended(request, response)
        except _Cut:
            return _lost(request, LostReason.CLOSED, "the connection was cut on purpose")
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            self.wire.ended = True
            return _lost(request, LostReason.UNREACHABLE, f"cannot connect to {url}: {_say(error)}")
        except httpx2.TimeoutException as error:
            return _lost(request, LostReason.TIMEOUT, f"{url}: {_say(error)}")
        except (httpx2.DecodingError, httpx2.SSEError, ValidationError, _TooLong) as error:
            said = f"{url}: what came is no answer: {_say(error)}"
            return _lost(request, LostReason.UNREADABLE, said)
        except httpx2.TransportError as error:
            self.wire.ended = True
            return _lost(request, LostReason.CLOSED, f"{url}: {_say(error)}")

    def _post(
        self, message: types.JSONRPCMessage, headers: dict[str, str], cut: bool = False
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        async def trace(event: str, _info: dict[str, Any]) -> None:
            if event == "http11.send_request_body.complete":
                raise _Cut

        return self.client.stream(
            "POST",
            self.endpoint.url,
            content=message.model_dump_json(by_alias=True, exclude_unset=True),
            headers={
                "accept": "application/json, text/event-stream",
                # a small compressed body may be a large one, against the bound
                "accept-encoding": "identity",
                "content-type": "application/json",
                **headers,
                **self._authorization(),
            },
            extensions={"trace": trace} if cut else {},
        )

    def _authorization(self) -> dict[str, str]:
        token = self.endpoint.token
        return {} if token is None else {"authorization": f"Bearer {token}"}

    async def _tell(self, message: types.JSONRPCMessage, headers: dict[str, str]) -> None:
        """Send what has no answer; a failure shows at the next request."""
        with suppress(httpx2.TransportError):
            async with self._post(message, headers):
                pass

    async def _ended(
        self, request: types.JSONRPCRequest, response: httpx2.Response
    ) -> types.JSONRPCResponse | types.JSONRPCError:
        """The answer to a request, or what the response says instead of one."""
        if response.status_code != 200:
            return await self._turned_away(request, response)
        kind = _kind(response)
        if kind == "text/event-stream":
            return await self._streamed(request, response)
        if kind != "application/json":
            said = f"200 with content of type {kind or 'none'}"
            return _lost(request, LostReason.UNREADABLE, said)
        message = _parse(await self._body(response))
        ended = _answers(request, message)
        if ended is None:
            return _lost(request, LostReason.UNREADABLE, "the answer is to another request")
        if request.method == "initialize" and SESSION in response.headers:
            self.standing[SESSION] = response.headers[SESSION]
        return ended

    async def _streamed(
        self, request: types.JSONRPCRequest, response: httpx2.Response
    ) -> types.JSONRPCResponse | types.JSONRPCError:
        if request.method == "initialize" and SESSION in response.headers:
            self.standing[SESSION] = response.headers[SESSION]
        async for event in httpx2.EventSource(response, max_event_size=self.endpoint.longest):
            if event.event != "message" or not event.data:
                continue
            message = _parse(event.data)
            ended = _answers(request, message)
            if ended is not None:
                return ended
            await self._hand(message)
        self.wire.ended = True
        return _lost(request, LostReason.CLOSED, "the stream ended before the answer")

    async def _body(self, response: httpx2.Response) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _TooLong("a compressed body, which was not asked for")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self.endpoint.longest:
                raise _TooLong(f"a body over {self.endpoint.longest} bytes, which is the bound")
        return bytes(body)

    async def _turned_away(
        self, request: types.JSONRPCRequest, response: httpx2.Response
    ) -> types.JSONRPCResponse | types.JSONRPCError:
        """What a response says whose status is not 200; it may be an error of MCP all the same."""
        error: types.JSONRPCResponse | types.JSONRPCError | None = None
        if _kind(response) == "application/json":
            with suppress(ValidationError):
                error = _answers(request, _parse(await self._body(response)))
        of_mcp = isinstance(error, types.JSONRPCError)
        refused = refusal(response.status_code, response.headers)
        if of_mcp and error.error.code == types.METHOD_NOT_FOUND:
            refused = None
        if response.status_code == 404 and refused is not None and SESSION in self.standing:
            self.wire.ended = True
            said = "the server does not know the session any more"
            return _lost(request, LostReason.UNREACHABLE, said)
        if refused is not None:
            return _refused(request, refused, self._reason(response, error))
        if of_mcp:
            return error
        return _lost(request, LostReason.UNREADABLE, self._reason(response, None))

    def _reason(
        self,
        response: httpx2.Response,
        error: types.JSONRPCResponse | types.JSONRPCError | None,
    ) -> str:
        """A status in words, with what the server says, and what would be right."""
        said = f"HTTP {response.status_code} {response.reason_phrase}".strip()
        if isinstance(error, types.JSONRPCError) and error.error.message:
            said += f": {error.error.message[:500]}"
        if response.next_request is not None:
            to = response.next_request.url.copy_with(userinfo=b"", query=None, fragment=None)
            return (
                f"{said}: redirected to {to}, which is not followed; name that URL if it is right"
            )
        if response.status_code == 401:
            sent = "none was set in" if self.endpoint.token is None else "it was taken from"
            return f"{said}; the bearer token: {sent} {self.endpoint.token_from}"
        return said

    async def farewell(self) -> None:
        """End the session, if the server made one."""
        if SESSION in self.standing:
            with suppress(httpx2.TransportError):
                headers = {**self.standing, **self._authorization()}
                async with self.client.stream("DELETE", self.endpoint.url, headers=headers):
                    pass


def _kind(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _parse(body: bytes | str) -> types.JSONRPCMessage:
    return types.jsonrpc_message_adapter.validate_json(body, by_name=False)


def _answers(
    request: types.JSONRPCRequest, message: types.JSONRPCMessage
) -> types.JSONRPCResponse | types.JSONRPCError | None:
    """The message if it ends this request; an error without an id does."""
    if isinstance(message, types.JSONRPCError) and message.id in (request.id, None):
        return types.JSONRPCError(jsonrpc="2.0", id=request.id, error=message.error)
    if isinstance(message, types.JSONRPCResponse) and message.id == request.id:
        return message
    return None


def _lost(request: types.JSONRPCRequest, reason: LostReason, said: str) -> types.JSONRPCError:
    error = types.ErrorData(code=types.CONNECTION_CLOSED, message=said, data=reason)
    return types.JSONRPCError(jsonrpc="2.0", id=request.id, error=error)


def _refused(request: types.JSONRPCRequest, refused: Refusal, said: str) -> types.JSONRPCError:
    error = types.ErrorData(code=types.INVALID_REQUEST, message=said, data=refused)
    return types.JSONRPCError(jsonrpc="2.0", id=request.id, error=error)


def _say(error: Exception) -> str:
    """An error in words; some of the network's have none."""
    return str(error).partition("\n")[0] or type(error).__name__
