"""An MCP extension that gives the tools of any `MCPServer` keys, receipts and accounting.

    surefoot = Surefoot("state", effects={"send_mail": Effect.AT_MOST_ONCE})
    server = MCPServer("mail", lifespan=surefoot.lifespan, extensions=[surefoot])

The way of one call: the SDK's `tools/call` -> `Surefoot.intercept_tool_call` -> `door` -> executor
-> `ForeignTool.run` -> the rest of the SDK's chain, which ends at the author's function.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any, TypeVar, cast

import anyio.to_thread
import mcp_types as types
from mcp.server.context import CallNext, HandlerResult
from mcp.server.extension import Extension, ToolBinding
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from surefoot_server import log
from surefoot_server.call import StoreArguments
from surefoot_server.config import Retention
from surefoot_server.door import Door
from surefoot_server.executor import Executor
from surefoot_server.failure_report import FailureReport, FailureReportResult
from surefoot_server.faults import Faults
from surefoot_server.foreign import MOST_KEPT, Carrier, ForeignTool, Recover, carried_by
from surefoot_server.incoming import RequestContext
from surefoot_server.journal.opening import open_journal
from surefoot_server.outgoing import describe, to_result, with_repeat
from surefoot_server.policy import Policy
from surefoot_tools import meta
from surefoot_tools.registry import AnyTool, Registry
from surefoot_tools.tool import Context, Effect

NOT_RUNNING = (
    "surefoot is mounted but not running: MCPServer(lifespan=surefoot.lifespan), or"
    " lifespan=surefoot.around(own_lifespan), opens its journal"
)

L = TypeVar("L")
Lifespan = Callable[[MCPServer[L]], AbstractAsyncContextManager[L]]
"""What an `MCPServer` takes as its lifespan."""


class _Live:
    """One lifespan of a server: its executor, and the tools that it carries out."""

    def __init__(
        self,
        server: MCPServer[Any],
        registry: Registry,
        own: list[AnyTool],
        foreign: Callable[[types.Tool], ForeignTool],
    ) -> None:
        self._server = server
        self._own = own
        self._foreign = foreign
        self.registry = registry

    async def renew(self) -> None:
        """Look at the tools that the server has by now."""
        own = {tool.name for tool in self._own}
        listed = await self._server.list_tools()
        others = [self._foreign(tool) for tool in listed if tool.name not in own]
        self.registry.renew([*self._own, *others])


class Surefoot(Extension):
    """Makes each tool call of one `MCPServer` safe to repeat, and counts it.

    Args:
        state: The state directory; made if it is not there. Never where a tool could write.
        journal: A file, or `postgresql://...`; by default `journal.db` in the state directory.
        effects: What each tool does to the world, by name: `safe`, `idempotent` or `at_most_once`.
            For others the tool's `_meta["dev.surefoot/effect"]`, then its annotations, then
            `at_most_once`.
        recover: By name, what finds out from its effect key whether a call of a dead server has
            happened.
        failure_report: Whether to add the tool `failure_report`.
        store_arguments: How much of the arguments the journal keeps.
        grace: Seconds that a call whose connection or whose server is gone is kept for its key.
        retention: How long results and keys are kept.
        most_kept: Bytes of a result that is kept for its key.
        allow_faults: Whether requests may ask for failures; for tests only.
    """

    identifier = "dev.surefoot/identity"

    def __init__(
        self,
        state: str | Path,
        *,
        journal: str | Path | None = None,
        effects: Mapping[str, Effect | str] | None = None,
        recover: Mapping[str, Recover] | None = None,
        failure_report: bool = False,
        store_arguments: StoreArguments = StoreArguments.REDACTED,
        grace: float = 30.0,
        retention: Retention | None = None,
        most_kept: int = MOST_KEPT,
        allow_faults: bool = False,
    ) -> None:
        self._state = Path(state)
        self._journal = journal if journal is not None else self._state / "journal.db"
        self._effects = dict(effects or {})
        self._recover = dict(recover or {})
        self._reports = failure_report
        self._store = store_arguments
        self._policy = Policy(grace=grace, retention=retention or Retention())
        self._most_kept = most_kept
        self._faults = Faults(allowed=allow_faults)
        self._lives: list[tuple[_Live, Executor]] = []
        self.door = Door()
        """Where calls come in; for surefoot's own HTTP."""

    def settings(self) -> dict[str, Any]:
        """What clients see of it: where a key goes."""
        return {"idempotencyKey": meta.IDEMPOTENCY_KEY}

    def tools(self) -> Sequence[ToolBinding]:
        """`failure_report`, if it is asked for."""
        if not self._reports:
            return ()
        about = {"title": FailureReport.title, "description": FailureReport.description}
        return (ToolBinding(_failure_report, kwargs={"name": FailureReport.name, **about}),)

    @asynccontextmanager
    async def lifespan(self, server: MCPServer[Any]) -> AsyncGenerator[dict[str, Any]]:
        """The lifespan of a server that has none of its own.

        Raises:
            ValueError: an effect is declared for a tool that is not there, or is none.
            JournalUnavailable: the journal cannot be opened.
        """
        async with self._running(server):
            yield {}

    def around(self, own: Lifespan[L]) -> Lifespan[L]:
        """A lifespan that is the author's own, and runs surefoot inside of it.

        Calls have ended, or were ended, before the author's own resources go.
        """

        @asynccontextmanager
        async def both(server: MCPServer[L]) -> AsyncGenerator[L]:
            async with own(server) as context, self._running(server):
                yield context

        return both

    @asynccontextmanager
    async def _running(self, server: MCPServer[Any]) -> AsyncGenerator[None]:
        log.configure_ours()
        async with AsyncExitStack() as stack:
            journal = open_journal(self._journal, state=self._state, version=version("surefoot"))
            stack.push_async_callback(anyio.to_thread.run_sync, journal.close)
            own: list[AnyTool] = [FailureReport(journal)] if self._reports else []
            live = _Live(server, Registry(own), own, self._foreign)
            await live.renew()
            self._check(live.registry)
            executor = await stack.enter_async_context(
                Executor(
                    live.registry,
                    journal,
                    roots=[f"mcp:{server.name}"],  # another server's tools of these names differ
                    policy=self._policy,
                    faults=self._faults,
                    random=Random(),  # noqa: S311 - jitter
                    store=self._store,
                )
            )
            stack.callback(self._leave, server, (live, executor))
            self._enter(server, (live, executor))
            yield

    def _enter(self, server: MCPServer[Any], life: tuple[_Live, Executor]) -> None:
        if not self._lives:
            server.middleware.extend([self.door.account_for_malformed, self._list])
        self._lives.append(life)
        self.door.open(life[1])

    def _leave(self, server: MCPServer[Any], life: tuple[_Live, Executor]) -> None:
        self._lives.remove(life)
        if self._lives:  # the SDK's client in memory begins a lifespan each
            self.door.open(self._lives[-1][1])
            return
        self.door.close()
        for each in (self.door.account_for_malformed, self._list):
            server.middleware.remove(each)

    def _foreign(self, tool: types.Tool) -> ForeignTool:
        name = tool.name
        return ForeignTool.of(
            tool,
            self._effects.get(name),
            recover=self._recover.get(name),
            most_kept=self._most_kept,
        )

    def _check(self, registry: Registry) -> None:
        """Raise for what is declared of a tool that is not there: a name misspelt."""
        unknown = sorted((self._effects.keys() | self._recover.keys()) - set(registry.names()))
        if unknown:
            raise ValueError(
                f"there is no tool {', '.join(map(repr, unknown))} to declare an effect of;"
                f" the tools are: {', '.join(registry.names())}"
            )

    def _live(self) -> _Live:
        if not self._lives:
            raise MCPError(types.INTERNAL_ERROR, NOT_RUNNING)
        return self._lives[-1][0]

    async def intercept_tool_call(
        self, params: types.CallToolRequestParams, ctx: RequestContext, call_next: CallNext
    ) -> HandlerResult:
        """Answer a `tools/call`; the rest of the chain runs as often as its effect allows.

        Raises:
            MCPError: the tool answered so, or the lifespan has not begun.
        """
        live = self._live()
        if live.registry.get(params.name) is None:
            await live.renew()
        with carried_by(_carrier(params, ctx, call_next)):
            answer = await self.door.call(ctx, params.name, params.arguments)
        return to_result(answer)

    async def _list(self, ctx: RequestContext, call_next: CallNext) -> HandlerResult:
        """A middleware: a list of tools says their effects, and offers `repeat`."""
        result = await call_next(ctx)
        if ctx.method != "tools/list" or not isinstance(result, dict):
            return result
        live = self._live()
        await live.renew()
        listed = cast("list[dict[str, Any]]", result.get("tools", []))
        return {
            **result,
            "tools": [_listed(live.registry.get(each["name"]), each) for each in listed],
        }


def lowlevel(server: MCPServer[Any]) -> Server[Any]:
    """What is under a server, for surefoot's own HTTP (`http.serving.HttpApp`).

    The SDK shows it only once it has made an application of its own, which is not used.
    """
    server.streamable_http_app()
    return server.session_manager.app


def _carrier(
    params: types.CallToolRequestParams, ctx: RequestContext, call_next: CallNext
) -> Carrier:
    """Carries a call out by the rest of the SDK's chain."""

    async def carry(arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
        # The SDK invokes its handler with the very object that we were given.
        if params.arguments is not None:
            params.arguments = arguments
        result = await call_next(ctx)
        if isinstance(result, types.ErrorData):
            raise MCPError.from_error_data(result)
        if isinstance(result, BaseModel):
            return result.model_dump(by_alias=True, mode="json", exclude_none=True)
        return dict(result or {})

    return carry


def _listed(tool: AnyTool | None, listed: dict[str, Any]) -> dict[str, Any]:
    """A tool as it is listed, with what surefoot adds."""
    if tool is None:
        return listed
    if not isinstance(tool, ForeignTool):
        return describe(tool).model_dump(by_alias=True, mode="json", exclude_none=True)
    about: dict[str, Any] = {**(listed.get("_meta") or {}), meta.EFFECT: tool.effect.value}
    schema = listed["inputSchema"]
    if tool.effect is not Effect.SAFE and tool.repeat_argument:
        schema = with_repeat(schema)
    return {**listed, "inputSchema": schema, "_meta": about}


async def _failure_report(
    since: str = "24h", tool: str | None = None, limit: int = 20
) -> FailureReportResult:
    """Listed by the SDK as its own; the executor carries it out before the SDK does."""
    raise MCPError(types.INTERNAL_ERROR, NOT_RUNNING)
