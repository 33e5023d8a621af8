"""A server at a URL: the SDK's transport, over an HTTP that tells what became of each request.

The SDK's transport ends whole when a request fails on the network. Here such a request is answered
by a JSON-RPC error of our own, with a mark that no server knows. Nothing is ever sent twice.
"""

import hashlib
import json
import math
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import anyio
import httpx2
import mcp_types as types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER

from surefoot_server import log
from surefoot_server.wrap.target import LONGEST_MESSAGE, Failure, Streams
from surefoot_tools.errors import Applied

_log = log.get("upstream")

CONNECT = 10.0
"""Seconds to reach it; how long it takes to answer is for whoever waits."""
LEAVE = 1.5
"""Seconds for the server to end a session."""
LONGEST_REFUSAL = 64 * 1024
"""Bytes of a refusal that are read."""
REFUSAL = 5.0
"""Seconds for them to come."""
LONGEST_WAIT = 86_400
"""Seconds that a refusal may ask for; more is not passed on."""
MOVED = frozenset({307, 308})
"""Redirects by which a request was not carried out where it was sent. After a POST the others may
stand for its answer. Source: RFC 9110, section 15.4."""
SESSION = "mcp-session-id"
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a POST carries."""

    request_id: str | int | None
    """None of a notification, or an answer."""


class _Contained(httpx2.AsyncByteStream):
    """A body that ends where its connection does, or beyond so many bytes."""

    def __init__(self, stream: httpx2.AsyncByteStream, most: float) -> None:
        self._stream = stream
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._stream:
                size += len(chunk)
                if size > self._most:
                    _log.error("the server's message is too long", longest=self._most)
                    return
                yield chunk
        except httpx2.TransportError as e:
            _log.warning("an answer broke off", reason=_say(e))

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._stream.aclose()


class _Contain(httpx2.AsyncBaseTransport):
    """Answers by itself what the network, or a server without JSON-RPC, did not answer."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, mark: str) -> None:
        self._inner = inner
        self._mark = mark
        self.session: dict[str, str] = {}
        """The headers that name the session, if the server has one."""

    async def aclose(self) -> None:
        """Close its connections."""
        await self._inner.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, once."""
        if request.method != "POST":
            return await self._inner.handle_async_request(request)
        asked = _asked(request.content)
        if SESSION in request.headers:
            named = (SESSION, MCP_PROTOCOL_VERSION_HEADER)
            self.session = {
                each: request.headers[each] for each in named if each in request.headers
            }
        try:
            response = await self._inner.handle_async_request(request)
        except _NEVER_SENT as e:
            return self._answer(asked, f"it cannot be reached: {_say(e)}", Applied.NO)
        except httpx2.TransportError as e:
            return self._answer(asked, f"the connection was lost: {_say(e)}", Applied.UNKNOWN)
        if response.status_code >= 400:
            return await self._refused(request, asked, response)
        if response.status_code >= 300:
            return await self._elsewhere(request, asked, response)
        stream = cast("httpx2.AsyncByteStream", response.stream)
        # A stream of events may be as long as it likes; the SDK measures each of them.
        events = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_Contained(stream, math.inf if events else LONGEST_MESSAGE),
            extensions=response.extensions,
        )

    async def _refused(
        self, request: httpx2.Request, asked: _Asked, response: httpx2.Response
    ) -> httpx2.Response:
        status = response.status_code
        body = await _body(response)
        said = _status(response)
        if status == 404 and SESSION in request.headers:
            self.session = {}
            return self._answer(asked, "its session is over", Applied.NO, ended=True)
        if _is_error(body):
            kept = {"content-type": "application/json"}
            return httpx2.Response(status, headers=kept, content=body)
        # Who refuses a request has not carried it out; a failure behind a gateway may be anything.
        applied = Applied.NO if status < 500 else Applied.UNKNOWN
        return self._answer(asked, said, applied, wait=_wait(response))

    async def _elsewhere(
        self, request: httpx2.Request, asked: _Asked, response: httpx2.Response
    ) -> httpx2.Response:
        """Answer for a redirect. The SDK would send the request again, within the same origin."""
        await response.aclose()
        said = _status(response)
        try:
            place = request.url.join(response.headers["location"])
        except (KeyError, httpx2.InvalidURL):
            pass
        else:
            said += f", to {_shown(place)}, which is not followed: if that is right, name that URL"
        applied = Applied.NO if response.status_code in MOVED else Applied.UNKNOWN
        return self._answer(asked, said, applied)

    def _answer(
        self,
        asked: _Asked,
        said: str,
        applied: Applied,
        *,
        ended: bool = False,
        wait: float | None = None,
    ) -> httpx2.Response:
        if asked.request_id is None:
            _log.warning("a notification was not taken", reason=said)
            return httpx2.Response(202)
        data = {"mark": self._mark, "applied": applied.value, "ended": ended, "wait": wait}
        error = {"code": types.CONNECTION_CLOSED, "message": said, "data": data}
        body = {"jsonrpc": "2.0", "id": asked.request_id, "error": error}
        return httpx2.Response(200, json=body)


class Remote:
    """A server at a URL; a `Target` of `upstream`.

    Args:
        url: Where.
        headers: Of every request, such as a bearer token of ours. Nothing that a client sends ever
            becomes one, but for the headers that MCP makes of a request itself.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = dict(headers)
        self._mark = secrets.token_hex(16)

    @property
    def name(self) -> str:
        """Where it is, without what its URL may hold of secrets."""
        return _shown(httpx2.URL(self._url))

    @property
    def identity(self) -> list[str]:
        """What makes it the server that it is; part of every fingerprint."""
        url = httpx2.URL(self._url)
        if not url.query and not url.userinfo:
            return [self.name]
        apart = [part.decode(errors="replace") for part in (url.userinfo, url.query)]
        return [self.name, hashlib.sha256(json.dumps(apart).encode()).hexdigest()]

    def over(self) -> bool:
        """Never known before it is asked."""
        return False

    async def last_words(self) -> str:
        """It has none."""
        return ""

    def failure(self, error: types.ErrorData) -> Failure | None:
        """What an error says, if it is one of ours and not the server's."""
        data: Any = error.data
        if isinstance(data, dict):
            told = cast("dict[str, Any]", data)
            if told.get("mark") == self._mark:
                applied = Applied(told["applied"])
                return Failure(error.message, applied, told["wait"], ended=told["ended"])
        broke_off = error.message.startswith(("SSE stream", "Failed to parse"))
        if broke_off and error.code in (types.CONNECTION_CLOSED, types.PARSE_ERROR):
            return Failure("its answer broke off", Applied.UNKNOWN)
        return None

    def streams(self) -> AbstractAsyncContextManager[Streams]:
        """Connect to it, for the length of a block; a session that it has made is ended behind."""
        return self._streams()

    @asynccontextmanager
    async def _streams(self) -> AsyncGenerator[Streams]:
        transport = _Contain(httpx2.AsyncHTTPTransport(), self._mark)
        waits = httpx2.Timeout(CONNECT, read=None)
        async with (
            httpx2.AsyncClient(transport=transport, headers=self._headers, timeout=waits) as client,
            streamable_http_client(
                self._url,
                http_client=client,
                terminate_on_close=False,  # it would not, when it is cancelled
                max_sse_event_size=LONGEST_MESSAGE,
            ) as streams,
        ):
            reading, writing = streams
            try:
                yield reading, writing
            finally:
                if transport.session:
                    await self._leave(client, transport.session)

    async def _leave(self, client: httpx2.AsyncClient, session: Mapping[str, str]) -> None:
        """End a session, as far as the server lets us."""
        with anyio.move_on_after(LEAVE, shield=True):
            try:
                async with client.stream("DELETE", self._url, headers=session):
                    pass
            except httpx2.TransportError as e:
                _log.info("a session was not ended", reason=_say(e))


def _asked(body: bytes) -> _Asked:
    message: Any = json.loads(body)
    return _Asked(message.get("id") if "method" in message else None)


async def _body(response: httpx2.Response) -> bytes:
    """The text of a refusal, as far as it comes in time; nothing of one that is longer."""
    body = b""
    try:
        with anyio.move_on_after(REFUSAL):
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LONGEST_REFUSAL:
                    return b""
    except (httpx2.TransportError, httpx2.DecodingError):
        return b""
    finally:
        await response.aclose()
    return body


def _status(response: httpx2.Response) -> str:
    return f"HTTP {response.status_code} {response.reason_phrase}".strip()


def _wait(response: httpx2.Response) -> float | None:
    """What it says of a later time, in seconds. Source: RFC 9110, section 10.2.3."""
    said = response.headers.get("retry-after", "")
    if not (said.isascii() and said.isdigit() and len(said) < 10):
        return None
    return min(float(said), LONGEST_WAIT)


def _shown(url: httpx2.URL) -> str:
    """A URL without what it may hold of secrets."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def _is_error(body: bytes) -> bool:
    try:
        message = types.jsonrpc_message_adapter.validate_json(body, by_name=False)
    except ValueError:
        return False
    return isinstance(message, types.JSONRPCError)


def _say(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
