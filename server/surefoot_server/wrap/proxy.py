"""The proxy: `tools/call` goes through the door, everything else straight through.

All of it is one middleware of the SDK's server, so that every message stays the JSON that it was:
the SDK keeps ids, cancels and the order of answers apart on both sides, and reads no more of it.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, cast

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel.server import Server
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import MCPError
from mcp.shared.transport_context import TransportContext

from surefoot_server import log
from surefoot_server.call import StoreArguments
from surefoot_server.door import Door
from surefoot_server.executor import Executor
from surefoot_server.faults import Faults
from surefoot_server.foreign import Carrier, carried_by
from surefoot_server.incoming import RequestContext
from surefoot_server.journal.opening import open_journal
from surefoot_server.outgoing import to_result
from surefoot_server.policy import Policy
from surefoot_server.wrap import eras
from surefoot_server.wrap.catalogue import Catalogue
from surefoot_server.wrap.client import ClientSide
from surefoot_server.wrap.target import Target
from surefoot_server.wrap.upstream import Gone, Upstream
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.tool import Context, Effect

_log = log.get("wrap")

ROUNDS = 10
"""Times that a server may ask for input within one request, on behalf of a client that cannot be
asked by an answer."""
ONCE_MORE = frozenset(
    {
        *("tools/list", "prompts/list", "resources/list", "resources/templates/list"),
        *("resources/read", "prompts/get", "completion/complete", "server/discover"),
        *("resources/subscribe", "resources/unsubscribe", "logging/setLevel"),
    }
)
"""Requests without an effect, or that may be made twice: asked again when the server was lost."""
LISTING = 30.0
"""Seconds for the server to list its tools, before it is called without."""
MOST_PAGES = 100
"""Pages of that list; what a server tells beyond is not looked at."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a proxy runs."""

    state: Path
    """The state directory."""
    journal: str | Path
    """A file, or `postgresql://...`."""
    version: str
    """Of surefoot."""
    effects: Mapping[str, Effect] = field(default_factory=dict[str, Effect])
    """Declared by whoever started it, by the tool's name."""
    policy: Policy = field(default_factory=Policy)
    store: StoreArguments = StoreArguments.REDACTED
    """How much of the arguments the journal keeps."""
    allow_faults: bool = False
    """Whether requests may ask for failures; for tests only."""


class Proxy:
    """One client before it, one server behind it; `server` goes to a transport with one client.

    Args:
        target: The server.
        settings: How to run.
    """

    def __init__(self, target: Target, settings: Settings) -> None:
        self._target = target
        self._settings = settings
        self._catalogue = Catalogue(settings.effects)
        self._client = ClientSide()
        self._upstream: Upstream
        self.door = Door()
        """Where calls come in."""
        self.server: Server[Any] = Server(
            "surefoot wrap", version=settings.version, lifespan=self._lifespan
        )
        self.server.middleware[:] = [self.door.account_for_malformed, self._message]

    @asynccontextmanager
    async def _lifespan(self, _server: Server[Any]) -> AsyncGenerator[None]:
        settings = self._settings
        async with AsyncExitStack() as stack:
            journal = open_journal(settings.journal, state=settings.state, version=settings.version)
            stack.push_async_callback(anyio.to_thread.run_sync, journal.close)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            self._upstream = Upstream(
                self._target,
                tasks,
                on_request=self._asked,
                on_notify=self._told,
                begun=self._connected,
            )
            self._upstream.param_headers = self._catalogue.mirrored
            stack.push_async_callback(self._upstream.close)
            executor = await stack.enter_async_context(
                Executor(
                    self._catalogue.registry,
                    journal,
                    roots=["wrap", *self._target.identity],
                    policy=settings.policy,
                    faults=Faults(allowed=settings.allow_faults),
                    random=Random(),  # noqa: S311 - jitter
                    store=settings.store,
                )
            )
            self.door.open(executor)
            yield

    def _connected(self) -> None:
        self._catalogue.stale = True

    async def _message(self, ctx: RequestContext, call_next: CallNext) -> HandlerResult:
        """Answer one message of the client; a middleware."""
        if ctx.request_id is None:
            await self._notification(ctx, call_next)
            return None
        if ctx.method == "ping" and not eras.is_modern(ctx.protocol_version):
            return {}
        try:
            return await self._request(ctx)
        except Gone as e:
            raise MCPError(types.INTERNAL_ERROR, str(e)) from e

    async def _request(self, ctx: RequestContext) -> HandlerResult:
        upstream = self._upstream
        modern = eras.is_modern(ctx.protocol_version)
        if ctx.method == "initialize":
            self._client.meet(ctx, modern=False)
            return await upstream.initialize(ctx.params or {})
        if modern:
            self._client.meet(ctx, modern=True)
            if ctx.method == "server/discover":
                return await upstream.discover(ctx.params)
            await upstream.meet(ctx.params)
        elif not self._client.met:
            known = ctx.method != "server/discover"
            code = types.INVALID_PARAMS if known else types.METHOD_NOT_FOUND
            raise MCPError(code, "this connection begins with initialize")
        match ctx.method:
            case "tools/call":
                return await self._call(ctx)
            case "subscriptions/listen":
                return await self._listen(ctx)
            case method:
                return await self._pass(ctx, method, ctx.params)

    async def _notification(self, ctx: RequestContext, call_next: CallNext) -> None:
        match ctx.method:
            case "notifications/initialized":
                await call_next(ctx)
                await self._upstream.initialized(ctx.params)
            case "notifications/cancelled":
                pass  # the SDK has ended the request, and so our own request of the server
            case method:
                await self._upstream.notify(method, ctx.params)

    async def _pass(
        self, ctx: RequestContext, method: str, params: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Have the server answer a request; one that may be made twice also when it died over it.

        Raises:
            Gone: there is no answer.
            MCPError: the server's answer is an error.
        """
        given = params
        for rounds in range(ROUNDS):
            try:
                result = await self._ask(method, given)
            except Gone as e:
                if not rounds or e.failure.applied is not Applied.NO:
                    raise
                # Of this round alone: the server may have acted before it asked.
                raise Gone(replace(e.failure, applied=Applied.UNKNOWN)) from e
            if result.get("resultType") != eras.INPUT_REQUIRED or self._client.modern:
                if method == "tools/list":
                    self._note(params, result)
                return result
            given = await self._client.input_for(ctx, params, result)
        raise MCPError(types.INTERNAL_ERROR, f"the server asked for input {ROUNDS} times")

    async def _ask(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            return await self._upstream.request(method, params)
        except Gone as e:
            wait = e.failure.wait or 0.0
            if method not in ONCE_MORE or wait > 1.0:
                raise
            await anyio.sleep(wait)
            return await self._upstream.request(method, params)

    def _note(self, params: Mapping[str, Any] | None, result: Mapping[str, Any]) -> None:
        first = "cursor" not in (params or {})
        self._catalogue.learn(_tools(result), whole=first and "nextCursor" not in result)

    async def _know(self, name: str) -> None:
        """Look at the list of tools again, if it may have changed, or the tool is not in it.

        Raises:
            Gone: the server cannot be asked.
            TimeoutError: it does not answer.
        """
        if not self._catalogue.stale and self._catalogue.registry.get(name) is not None:
            return
        await self._upstream.ready()  # which may take longer
        with anyio.fail_after(LISTING):
            found = await self._listed()
        self._catalogue.learn(found, whole=True)

    async def _listed(self) -> list[dict[str, Any]]:
        """All tools that the server lists, on all pages that are not the same again."""
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        params: dict[str, Any] | None = None
        for _ in range(MOST_PAGES):
            result = await self._upstream.request("tools/list", params)
            found += _tools(result)
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str):
                return found
            if cursor in seen:
                break
            seen.add(cursor)
            params = {"cursor": cursor}
        _log.error("the server's list of tools does not end", pages=len(seen), tools=len(found))
        return found

    async def _call(self, ctx: RequestContext) -> dict[str, Any]:
        given = ctx.params or {}
        name, arguments = given.get("name"), given.get("arguments")
        if not isinstance(name, str) or not isinstance(arguments, dict | None):
            raise MCPError(types.INVALID_PARAMS, "tools/call takes a name and an object")
        asked = None if arguments is None else dict(eras.part(given, "arguments"))
        try:
            await self._know(name)
        except Gone:
            self._catalogue.assume(name)
        except TimeoutError:
            _log.error("the server does not list its tools", waited=LISTING)
            self._catalogue.assume(name)
            self._catalogue.stale = False  # or each call would wait as long
        except MCPError as e:
            _log.warning("the server does not list its tools", reason=e.error.message)
        with carried_by(self._carrier(ctx, name)):
            answer = await self.door.call(ctx, name, asked)
        result = to_result(answer)
        return result if self._client.modern else eras.older(result)

    def _carrier(self, ctx: RequestContext, name: str) -> Carrier:
        """Carries a call out by one request to the server; the executor decides about others."""

        async def carry(arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
            params = dict(ctx.params or {})
            if params.get("arguments") is not None:
                params["arguments"] = arguments
            try:
                return await self._pass(ctx, "tools/call", params)
            except Gone as e:
                failure = e.failure
                safe = self._catalogue.effect(name) is Effect.SAFE
                raise ToolError(
                    Code.UNAVAILABLE,
                    failure.message,
                    applied=Applied.NO if safe else failure.applied,
                    origin=Origin.TRANSPORT,
                    retry_after=failure.wait,
                ) from e

        return carry

    async def _listen(self, ctx: RequestContext) -> dict[str, Any]:
        """News of changes, as long as the client listens."""
        assert ctx.request_id is not None  # noqa: S101 - it is a request
        with self._client.listening(ctx):
            if self._upstream.modern:
                return await self._upstream.request(
                    ctx.method, ctx.params, request_id=ctx.request_id
                )
            return await self._client.listen(ctx, self._upstream)

    async def _asked(
        self,
        _context: DispatchContext[TransportContext],
        method: str,
        params: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """Answer a request of the server's: its client does."""
        return {} if method == "ping" else await self._client.ask(method, params)

    async def _told(
        self,
        _context: DispatchContext[TransportContext],
        method: str,
        params: Mapping[str, Any] | None,
    ) -> None:
        """A notification of the server's."""
        if method == "notifications/tools/list_changed":
            self._catalogue.stale = True
        if method != "notifications/cancelled":  # the SDK has ended what it names
            await self._client.tell(method, params, translated=not self._upstream.modern)


def _tools(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools of a list, as far as it is one."""
    found: Any = result.get("tools")
    listed = cast("list[dict[str, Any]]", found if isinstance(found, list) else [])
    return [each for each in listed if isinstance(each, dict)]  # pyright: ignore[reportUnnecessaryIsInstance] - their word
