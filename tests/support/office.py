"""A server that is not ours, with the extension mounted, and what its tools did."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import apsw
import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError

from surefoot_server.extension import Surefoot
from surefoot_server.foreign import effect_key
from surefoot_tools import meta

READ_ONLY = types.ToolAnnotations(read_only_hint=True)
REPEATABLE = types.ToolAnnotations(idempotent_hint=True)
PNG = types.ImageContent(type="image", data="iVBORw0KGgo=", mime_type="image/png")


@dataclass
class Office:
    """A server of somebody else, and what its tools did."""

    state: Path
    sent: list[str] = field(default_factory=list[str])
    keys: list[str] = field(default_factory=list[str])
    begun: anyio.Event = field(default_factory=anyio.Event)
    gate: anyio.Event = field(default_factory=anyio.Event)
    stopped: anyio.Event = field(default_factory=anyio.Event)

    def server(self, surefoot: Surefoot | None = None, **more: Any) -> MCPServer[Any]:
        """It, with the extension mounted."""
        surefoot = surefoot or Surefoot(self.state)
        given: dict[str, Any] = {"lifespan": surefoot.lifespan, "extensions": [surefoot], **more}
        server: MCPServer[Any] = MCPServer("office", log_level="ERROR", **given)
        for tool in (self.send, self.fail, self.ask, self.refuse, self.wait, self.count):
            server.add_tool(tool)
        server.add_tool(self.again)
        server.add_tool(self.look, annotations=READ_ONLY)
        server.add_tool(self.put, annotations=REPEATABLE)
        return server

    async def send(self, to: str) -> types.CallToolResult:
        """Sends, and says so in every kind of way."""
        self.sent.append(to)
        self.keys.append(effect_key())
        said = types.TextContent(type="text", text=f"sent to {to}")
        return types.CallToolResult(
            content=[said, PNG], structured_content={"to": to}, _meta={"office/number": 7}
        )

    async def fail(self, applied: str | None = None, wait: float | None = None) -> Any:
        """Fails after it may have sent."""
        self.sent.append("fail")
        about = {"applied": applied, "code": "UNAVAILABLE", "retry_after": wait}
        return types.CallToolResult(
            content=[types.TextContent(type="text", text="the line is dead"), PNG],
            structured_content={"why": "dead"},
            is_error=True,
            _meta=None if applied is None else {meta.ERROR: about},
        )

    async def ask(self, ctx: Context) -> str | types.InputRequiredResult:
        """Asks before it sends."""
        if ctx.input_responses is None or ctx.request_state != "asked":
            form = {"type": "object", "properties": {"sure": {"type": "boolean"}}}
            params = types.ElicitRequestFormParams(message="Sure?", requested_schema=form)
            asked: types.InputRequests = {"sure": types.ElicitRequest(params=params)}
            return types.InputRequiredResult(input_requests=asked, request_state="asked")
        self.sent.append("ask")
        return "sent"

    async def refuse(self, code: int) -> str:
        """Answers with a protocol error."""
        self.sent.append("refuse")
        raise MCPError(code, "not like this", {"needs": "more"})

    async def wait(self, ctx: Context) -> str:
        """Tells its progress, and waits."""
        self.sent.append("wait")
        await ctx.report_progress(1, 2, "half")
        self.begun.set()
        try:
            await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            self.stopped.set()
            raise
        return "done"

    def count(self, much: int) -> str:
        """A large answer, of a tool that runs on a thread."""
        self.sent.append("count")
        return "x" * much

    async def again(self, repeat: bool = False) -> str:
        """Has an argument of the name of ours."""
        self.sent.append(f"again {repeat}")
        return str(repeat)

    async def look(self) -> int:
        """Only looks."""
        self.sent.append("look")
        return len(self.sent)

    async def put(self, on: bool) -> str:
        """May be done twice."""
        self.sent.append("put")
        if not on:
            raise ToolError("off")
        return "on"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Of its journal, also while a server writes it."""
        place = str(self.state / "journal.db")
        journal = apsw.Connection(place, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return journal.execute(sql).fetchall()
        finally:
            journal.close()


def said(result: types.CallToolResult) -> dict[str, Any]:
    """What the tool said: a result without what surefoot, or the SDK, adds to its `_meta`."""
    whole = result.model_dump(by_alias=True, mode="json", exclude_none=True)
    theirs = {name: value for name, value in (result.meta or {}).items() if "office/" in name}
    return {**whole, "_meta": theirs}


def error(result: types.CallToolResult) -> dict[str, Any]:
    """The error in its `_meta`."""
    assert result.is_error
    return (result.meta or {})[meta.ERROR]
