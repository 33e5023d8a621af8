"""A connection to the server under measurement: one call in, an `Answer` or a `Lost` out.

Above `transport.py` and `streamable_http.py`, below `send.py`. It sets every timeout, tells a dead
connection from a slow one, starts the server again when asked, and never repeats a call by itself.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import anyio
import mcp_types as types
from anyio.abc import TaskGroup, TaskStatus
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from surefoot_client.record import LostReason, Transport
from surefoot_client.refusal import Refusal
from surefoot_client.transport import ServerProcess, Stdio, Target, Wire
from surefoot_tools import meta
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.tool import Effect

CONNECT_TIMEOUT = 15.0
"""Seconds from starting a server to its list of tools."""
CALL_TIMEOUT = 60.0
"""Seconds for one send; surefoot's own server answers within 45 and says what still runs."""


MODERN = frozenset(MODERN_PROTOCOL_VERSIONS)
"""Versions without sessions."""


class Unreachable(Exception):
    """No server could be started, or it did not get as far as its list of tools."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    is_error: bool
    structured: dict[str, Any] | None
    text: str
    """The text content, joined by newlines."""
    error: dict[str, Any] | None
    """`{code, origin, applied, message, ...}` on an error; made up from a JSON-RPC error, None for
    the error of a foreign server's tool."""
    protocol_error: int | None
    """JSON-RPC error code, when the request itself was refused."""
    call_id: str | None
    disposition: str | None
    server_attempt: int | None
    replayed: bool
    latency: float
    """Seconds."""
    http_status: int | None = None
    """Of the HTTP response that turned the request away before it came to MCP."""


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer; whether the effect happened is not known."""

    reason: LostReason
    latency: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class OnSend:
    """What is to go wrong with one send on purpose."""

    server_fault: str | None = None
    """For the server, in `_meta`: `kill:POINT` or `delay:SECONDS`."""
    cut: bool = False
    """Cut the connection right after the request was written."""
    drop: bool = False
    """Throw the answer away."""


@dataclass(slots=True)
class _Link:
    """One client of a server."""

    client: Client
    wire: Wire


class Connection:
    """One server at a time, started again by `respawn`. Made by `connect`.

    Calls may be made from several tasks at once; `respawn` only while no call is under way.
    """

    def __init__(self, tasks: TaskGroup, target: Target, call_timeout: float) -> None:
        self._tasks = tasks
        self._target = target
        self._call_timeout = call_timeout
        self._link: _Link | None = None
        self._closing = anyio.Event()
        self._closed = anyio.Event()
        self.tools: Mapping[str, types.Tool] = {}
        """What the server offers, by name, in its order; as of the first start."""
        self.server_name: str | None = None
        """Name and version that the server gave itself."""
        self.protocol: str | None = None
        self.keyed = False
        """Whether the server has shown that it knows keys."""

    @property
    def alive(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._link is not None and not self._link.wire.ended

    async def start(self, timeout: float) -> None:
        """Start the server, if it is ours and does not run; shake hands, list its tools.

        Raises:
            Unreachable: it did not come that far within `timeout` seconds.
        """
        self._closing, self._closed = anyio.Event(), anyio.Event()
        program = self._target.name
        try:
            with anyio.fail_after(timeout):
                await self._target.revive()
                self._link = await self._tasks.start(self._serve)
        except TimeoutError:
            raise Unreachable(
                f"the server {program!r} did not list its tools within {timeout:g} s"
            ) from None
        except (OSError, MCPError, ValidationError, RuntimeError, ExceptionGroup) as error:
            how = "did not start" if self._target.transport is Transport.STDIO else "is not there"
            raise Unreachable(f"the server {program!r} {how}: {_first(error)}") from error

    async def stop(self) -> None:
        """End the server, if there is one."""
        if self._link is not None:
            self._link = None
            self._closing.set()
            await self._closed.wait()

    async def respawn(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """End what is left of the connection and start it again, the server too if it is ours.

        A client of a 2026 version has no session to lose: it stays when its server comes back.

        Raises:
            Unreachable: as `start`.
        """
        link = self._link
        if link is not None and self._target.outlived and self.protocol in MODERN:
            try:
                with anyio.fail_after(timeout):
                    await self._target.revive()
            except OSError as error:  # a timeout is one
                raise Unreachable(f"the server {self._target.name!r}: {error}") from error
            link.wire.ended = False
            return
        await self.stop()
        await self.start(timeout)

    async def _serve(self, *, task_status: TaskStatus[_Link]) -> None:
        """Own one client from its start to its end: its cancel scopes belong to one task."""
        wire = Wire()
        try:
            async with Client(self._target.streams(wire), cache=None) as client:
                if not self.tools:
                    self.tools = await _list_tools(client)
                info = client.server_info
                if info is not None:
                    self.server_name = f"{info.name} {info.version}"
                    self.keyed = self.keyed or info.name == "surefoot"
                self.protocol = client.protocol_version
                task_status.started(_Link(client, wire))
                await self._closing.wait()
        finally:
            self._closed.set()

    def effect_of(self, tool: str) -> Effect:
        """What repeating a send of `tool` amounts to, for `retry.decide`.

        A server that knows keys makes every send idempotent. Of another, only its annotations say
        anything, and what they don't say can't be repeated.
        """
        if self.keyed:
            return Effect.IDEMPOTENT
        if self.reads_only(tool):
            return Effect.SAFE
        offered = self.tools.get(tool)
        hints = offered.annotations if offered is not None else None
        if hints is not None and hints.idempotent_hint:
            return Effect.IDEMPOTENT
        return Effect.AT_MOST_ONCE

    def reads_only(self, tool: str) -> bool:
        """Whether the server declares that the tool changes nothing."""
        offered = self.tools.get(tool)
        hints = offered.annotations if offered is not None else None
        return hints is not None and bool(hints.read_only_hint)

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        key: str,
        attempt: int,
        on_send: OnSend | None = None,
    ) -> Answer | Lost:
        """Send one request once, and wait for its answer, or for the reason why none comes.

        Cancellation leaves what the server does to the server.
        """
        asked = on_send if on_send is not None else OnSend()
        link, began = self._link, time.monotonic()
        if link is None or link.wire.ended:
            return Lost(LostReason.UNREACHABLE, 0.0)
        if asked.cut:
            link.wire.cut_after_next = True
        ended = await self._exchange(link, _request(tool, arguments, key, attempt, asked))
        latency = time.monotonic() - began
        if isinstance(ended, LostReason):
            return Lost(ended, latency)
        answer = _answer(ended, latency)
        self.keyed = self.keyed or answer.disposition is not None
        return Lost(LostReason.DROPPED, latency) if asked.drop else answer

    async def _exchange(
        self, link: _Link, request: types.CallToolRequest
    ) -> types.CallToolResult | MCPError | LostReason:
        try:
            with anyio.move_on_after(self._call_timeout):
                # not Client.call_tool: that lists the tools again for a tool it does not know, and
                # goes on by itself when the server asks for input
                return await link.client.session.send_request(request, types.CallToolResult)
            return LostReason.TIMEOUT
        except MCPError as error:
            if isinstance(error.error.data, LostReason):
                return error.error.data
            # the SDK makes this code up for a dead connection, and a peer may send it too
            closed = error.code == types.CONNECTION_CLOSED and link.wire.ended
            return LostReason.CLOSED if closed else error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return LostReason.CLOSED
        except ValidationError:
            return LostReason.UNREADABLE


@asynccontextmanager
async def connect(
    server: ServerProcess | Target,
    *,
    connect_timeout: float = CONNECT_TIMEOUT,
    call_timeout: float = CALL_TIMEOUT,
) -> AsyncGenerator[Connection, None]:
    """Connect to a server for the length of a block; start it before, if it is a process.

    Raises:
        Unreachable: it did not start; or what the block raises, as it raised it.
    """
    raised: Exception | None = None
    async with anyio.create_task_group() as tasks:
        target = Stdio(server) if isinstance(server, ServerProcess) else server
        connection = Connection(tasks, target, call_timeout)
        try:
            await connection.start(connect_timeout)
            yield connection
        except Exception as error:
            # kept out of the task group, which would wrap it
            raised = error
        finally:
            with anyio.CancelScope(shield=True):
                await connection.stop()
    if raised is not None:
        raise raised


def _first(error: Exception) -> Exception:
    """The first error within the groups that the SDK's task groups wrap around it."""
    if not isinstance(error, ExceptionGroup):
        return error
    group = cast("ExceptionGroup[Exception]", error)
    return _first(group.exceptions[0])


async def _list_tools(client: Client) -> dict[str, types.Tool]:
    """Every page of the server's tools."""
    tools: dict[str, types.Tool] = {}
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools.update((tool.name, tool) for tool in page.tools)
        cursor = page.next_cursor
        if not cursor:
            return tools


def _request(
    tool: str, arguments: dict[str, Any], key: str, attempt: int, on_send: OnSend
) -> types.CallToolRequest:
    extra: dict[str, Any] = {meta.IDEMPOTENCY_KEY: key, meta.ATTEMPT: attempt}
    if on_send.server_fault is not None:
        extra[meta.FAULT] = on_send.server_fault
    return types.CallToolRequest.model_validate(
        {
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments, "_meta": extra},
        }
    )


def _answer(result: types.CallToolResult | MCPError, latency: float) -> Answer:
    if isinstance(result, MCPError):
        refusal: Any = result.error.data
        return Answer(
            is_error=True,
            structured=None,
            text=result.message,
            error=_protocol_error(result),
            protocol_error=result.code,
            call_id=None,
            disposition=None,
            server_attempt=None,
            replayed=False,
            latency=latency,
            http_status=refusal.status if isinstance(refusal, Refusal) else None,
        )
    extra: dict[str, Any] = dict(result.meta or {})
    call: dict[str, Any] = extra.get(meta.CALL) or {}
    structured: Any = result.structured_content
    whole = cast("dict[str, Any]", structured) if isinstance(structured, dict) else None
    return Answer(
        is_error=bool(result.is_error),
        structured=whole,
        text="\n".join(
            block.text for block in result.content if isinstance(block, types.TextContent)
        ),
        error=extra.get(meta.ERROR) if result.is_error else None,
        protocol_error=None,
        call_id=call.get("call_id"),
        disposition=call.get("disposition"),
        server_attempt=call.get("attempt"),
        replayed=bool(extra.get(meta.REPLAYED)),
        latency=latency,
    )


def _protocol_error(error: MCPError) -> dict[str, Any]:
    """A refused request in our own words; refused before anything ran, save for -32603."""
    if isinstance(error.error.data, Refusal):
        meaning = error.error.data.meaning
        return {
            "code": meaning.code.value,
            "origin": meaning.origin.value,
            "applied": meaning.applied.value,
            "message": error.message,
            "retry_after": error.error.data.retry_after,
        }
    codes = {
        types.INVALID_PARAMS: Code.INVALID_ARGUMENT,
        types.METHOD_NOT_FOUND: Code.UNIMPLEMENTED,
        types.INTERNAL_ERROR: Code.INTERNAL,
    }
    code = codes.get(error.code, Code.UNKNOWN)
    refused = code in (Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED)
    return {
        "code": code.value,
        "origin": (Origin.CLIENT if refused else Origin.SERVER).value,
        "applied": (Applied.NO if refused else Applied.UNKNOWN).value,
        "message": error.message,
    }
