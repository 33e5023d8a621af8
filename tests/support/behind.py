"""A client that takes results as they are on the wire, of a proxy or of the server behind it."""

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import apsw
import mcp_types as types
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import SessionMessage

from surefoot_server.wrap.child import Child
from surefoot_server.wrap.eras import part
from surefoot_server.wrap.proxy import Proxy, Settings
from surefoot_server.wrap.target import Streams, Target
from surefoot_tools import meta

BARE = Path(__file__).with_name("bare_server.py")
INFO = {"name": "tester", "version": "1"}
CAPABILITIES: dict[str, Any] = {"elicitation": {}, "roots": {}}
ENVELOPE = {
    types.PROTOCOL_VERSION_META_KEY: "2026-07-28",
    types.CLIENT_INFO_META_KEY: INFO,
    types.CLIENT_CAPABILITIES_META_KEY: CAPABILITIES,
}


def told(result: dict[str, Any]) -> dict[str, Any]:
    """What the proxy says of a call."""
    return result["_meta"][meta.CALL]


@dataclass
class Wire:
    """One connection of a client, of either era."""

    modern: bool
    dispatcher: JSONRPCDispatcher[Any]
    greeting: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the server said first."""
    notes: list[tuple[str, dict[str, Any]]] = field(
        default_factory=list[tuple[str, dict[str, Any]]]
    )
    """Notifications, in the order in which they came."""
    noted: anyio.Event = field(default_factory=anyio.Event)
    """Set when one comes; then there is another."""
    asked: list[str] = field(default_factory=list[str])
    """Methods of what the server asked."""
    before_answer: Callable[[], Awaitable[None]] | None = None
    """Waited for before it answers."""

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, **about: Any
    ) -> dict[str, Any]:
        """The result of a request, as it came."""
        given: dict[str, Any] = dict(params or {})
        extra = {**(ENVELOPE if self.modern else {}), **about, **part(given, "_meta")}
        if extra:
            given["_meta"] = extra
        options: CallOptions = {"timeout": 60}
        return await self.dispatcher.send_raw_request(method, given or None, options)

    async def call(
        self, tool: str, key: str | None = None, arguments: Any = None, **about: Any
    ) -> dict[str, Any]:
        """The result of a call, as it came."""
        keyed = {} if key is None else {meta.IDEMPOTENCY_KEY: key}
        given = {"name": tool, "arguments": arguments or {}, "_meta": {**keyed, **about}}
        return await self.request("tools/call", given)

    async def greet(self) -> None:
        """Begin, in the way of the era."""
        if self.modern:
            self.greeting = await self.request("server/discover")
            return
        hello = {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES, "clientInfo": INFO}
        self.greeting = await self.request("initialize", hello)
        await self.dispatcher.notify("notifications/initialized", None)

    async def news(self, method: str, count: int = 1) -> list[dict[str, Any]]:
        """The parameters of the first notifications of a kind, once that many have come."""
        with anyio.fail_after(30):
            while True:
                found = [params for kind, params in self.notes if kind == method]
                if len(found) >= count:
                    return found
                self.noted = anyio.Event()
                await self.noted.wait()

    async def answer(self, _context: Any, method: str, _params: Any) -> dict[str, Any]:
        """Answer what the server asks."""
        self.asked.append(method)
        if self.before_answer is not None:
            await self.before_answer()
        if method == "elicitation/create":
            return {"action": "accept", "content": {"sure": True}, "theirs": 1}
        raise MCPError(types.METHOD_NOT_FOUND, method)

    async def note(self, _context: Any, method: str, params: Any) -> None:
        """Take a notification."""
        self.notes.append((method, dict(params or {})))
        self.noted.set()


@asynccontextmanager
async def connected(streams: Streams, *, modern: bool) -> AsyncGenerator[Wire]:
    """A client over a pair of streams, that has greeted."""
    wire = Wire(modern, JSONRPCDispatcher(*streams))
    async with anyio.create_task_group() as tasks:
        await tasks.start(wire.dispatcher.run, wire.answer, wire.note)
        await wire.greet()
        yield wire
        tasks.cancel_scope.cancel()


@dataclass
class Behind:
    """A bare server, and what stands before it."""

    folder: Path
    era: str = "legacy"

    @property
    def log(self) -> Path:
        """Where it notes what it does."""
        return self.folder / "log"

    @property
    def lines(self) -> list[str]:
        """What it noted."""
        return self.log.read_text().split("\n")[:-1]

    def count(self, line: str) -> int:
        """How often it noted something that begins so."""
        return sum(each.startswith(line) for each in self.lines)

    @property
    def command(self) -> list[str]:
        """How it is started."""
        return [sys.executable, "-I", str(BARE), str(self.log), self.era]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Of the proxy's journal."""
        place = str(self.folder / "state" / "journal.db")
        journal = apsw.Connection(place, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return journal.execute(sql).fetchall()
        finally:
            journal.close()

    @asynccontextmanager
    async def direct(self, *, modern: bool = False) -> AsyncGenerator[Wire]:
        """A client of the server itself."""
        async with (
            Child(self.command).streams() as streams,
            connected(streams, modern=modern) as wire,
        ):
            yield wire

    @asynccontextmanager
    async def wrapped(
        self, *, modern: bool = False, target: Target | None = None, **settings: Any
    ) -> AsyncGenerator[Wire]:
        """A client of a proxy in this process, before the server."""
        state = self.folder / "state"
        given = Settings(state, state / "journal.db", "test", allow_faults=True, **settings)
        proxy = Proxy(target or Child(self.command), given)
        to_proxy, at_proxy = anyio.create_memory_object_stream[SessionMessage | Exception](100)
        to_client, at_client = anyio.create_memory_object_stream[SessionMessage | Exception](100)
        options = proxy.server.create_initialization_options()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(proxy.server.run, at_proxy, to_client, options)
            async with connected((at_client, to_proxy), modern=modern) as wire:
                yield wire
