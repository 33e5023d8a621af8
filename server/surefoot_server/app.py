"""MCP in: requests become `Request`, and the transport says what became of their answers.

The only module of the server with MCP types, beside `stdio` and `outgoing`, which makes answers
into what the wire carries. `App` wires a whole server.
"""

import math
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any, cast

import anyio.to_thread
import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from surefoot_server import log
from surefoot_server.call import (
    Connection,
    KeyMalformed,
    Request,
    StoreArguments,
    check_key,
)
from surefoot_server.config import Config
from surefoot_server.executor import Executor
from surefoot_server.failure_report import FailureReport
from surefoot_server.faults import Faults
from surefoot_server.flow import Answering
from surefoot_server.journal.opening import open_journal
from surefoot_server.journal.records import Journal
from surefoot_server.journal.states import Delivery
from surefoot_server.outgoing import describe, to_result
from surefoot_server.policy import Policy
from surefoot_tools import meta
from surefoot_tools.database import database_tools
from surefoot_tools.database.databases import Databases, parse_database
from surefoot_tools.files import file_tools
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.roots import Roots
from surefoot_tools.registry import AnyTool, Registry
from surefoot_tools.shell import shell_tools
from surefoot_tools.tool import Report, report_nothing

_log = log.get("app")

Params = Mapping[str, Any]
RequestContext = ServerRequestContext[Any, Any]

LARGEST_ATTEMPT = 2**31
"""A number beyond it is no count of sends."""
LIST_TTL_MS = 3_600_000
"""The list of tools does not change while a server lives."""


class App:
    """One MCP server over the tools of a `Config`; `server` goes to any transport of the SDK.

    The journal and the tasks of calls live in the server's lifespan: once a process for stdio, once
    a client for the SDK's in-memory client.

    Raises:
        ValueError: a database or a root of the configuration is not what it should be.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._tools = tools(config)
        self._policy = Policy(
            read_only=config.read_only, grace=config.grace, retention=config.retention
        )
        self._executor: Executor | None = None
        self._journal: Journal | None = None
        self._listed: list[types.Tool] | None = None
        self._connection = Connection()
        self._tracked = False
        self._awaiting: dict[types.RequestId, str] = {}
        self._running: set[types.RequestId] = set()
        self._given_up: set[types.RequestId] = set()
        self.server: Server[Any] = Server(
            "surefoot",
            version=config.version,
            title="surefoot",
            instructions=_instructions(config),
            lifespan=self._lifespan,
            on_list_tools=self._list_tools,
        )
        self.server.add_request_handler("tools/call", types.CallToolRequestParams, self._call_tool)
        # In the place of the SDK's span for OpenTelemetry, whose cost every call would pay and
        # which goes nowhere: surefoot sets up no tracer.
        self.server.middleware[:] = [self._account_for_malformed]

    @asynccontextmanager
    async def _lifespan(self, _server: Server[Any]) -> AsyncGenerator[None]:
        config = self._config
        async with AsyncExitStack() as stack:
            journal = open_journal(config.journal_place, state=config.state, version=config.version)
            stack.push_async_callback(anyio.to_thread.run_sync, journal.close)
            self._journal = journal
            self._executor = await stack.enter_async_context(
                Executor(
                    Registry([*self._tools, FailureReport(journal)]),
                    journal,
                    roots=[str(root) for root in config.roots],
                    policy=self._policy,
                    faults=Faults(allowed=config.allow_faults),
                    random=Random(),  # noqa: S311 - jitter
                    store=StoreArguments(config.store_arguments),
                )
            )
            yield

    def track_deliveries(self) -> None:
        """Expect the transport to tell what becomes of every answer, as a `stdio.Listener`.

        Without it an answer counts as delivered when it is given to the transport.
        """
        self._tracked = True

    def written(self, request_id: types.RequestId) -> None:
        """The transport has fully written the answer to this request."""
        receipt_id = self._awaiting.pop(coerce_request_id(request_id), None)
        if receipt_id is not None:
            self._deliver(receipt_id, Delivery.DELIVERED)

    def cancelled(self, request_id: types.RequestId) -> None:
        """The answer to a request that is not written yet will not be read as one."""
        name = coerce_request_id(request_id)
        receipt_id = self._awaiting.pop(name, None)
        if receipt_id is not None:
            self._deliver(receipt_id, Delivery.LOST)
        elif name in self._running:
            # The SDK stops it, unless it comes to its end before the SDK has heard of the cancel.
            self._given_up.add(name)

    def lost(self) -> None:
        """The connection is gone: nothing that is not written yet will be delivered."""
        self._connection.lost = True
        for receipt_id in self._awaiting.values():
            self._deliver(receipt_id, Delivery.LOST)
        self._awaiting.clear()

    async def refused(self, message: str, answering: Answering) -> None:
        """The transport answers a line by itself that asked for a tool, and was no request."""
        if self._executor is None:
            await answering()
            return
        request = Request(tool="", arguments={}, connection=self._connection)
        answer = await self._executor.refuse_malformed(request, message)
        delivered = await answering()
        self._deliver(answer.receipt_id, Delivery.DELIVERED if delivered else Delivery.LOST)

    def _await_delivery(self, request_id: types.RequestId | None, receipt_id: str) -> None:
        """An answer is on its way to the transport."""
        if not self._tracked or request_id is None:
            self._deliver(receipt_id, Delivery.DELIVERED)
            return
        name = coerce_request_id(request_id)
        if self._connection.lost or name in self._given_up:
            self._deliver(receipt_id, Delivery.LOST)
        elif receipt_id:
            self._awaiting[name] = receipt_id

    def _deliver(self, receipt_id: str, delivery: Delivery) -> None:
        if self._journal is not None and receipt_id:
            self._journal.deliver(receipt_id, delivery, self._journal.now())

    @property
    def executor(self) -> Executor:
        """The executor, while the lifespan lasts."""
        if self._executor is None:
            raise RuntimeError("the server's lifespan has not begun")
        return self._executor

    async def _list_tools(
        self, _context: RequestContext, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        if self._listed is None:  # a schema takes milliseconds to make
            offered = (tool for tool in self.executor.registry if not self._policy.refusal(tool))
            self._listed = [describe(tool) for tool in offered]
        return types.ListToolsResult(tools=self._listed, ttl_ms=LIST_TTL_MS, cache_scope="public")

    async def _call_tool(
        self, context: RequestContext, params: types.CallToolRequestParams
    ) -> dict[str, Any]:
        given = context.params or {}
        try:
            key, deadline = find_key(given), find_deadline(given)
        except (KeyMalformed, DeadlineMalformed) as e:
            request = _request(context, params.name, params.arguments, self._connection)
            answer = await self.executor.refuse_malformed(request, str(e))
        else:
            request = _request(
                context, params.name, params.arguments, self._connection, key, deadline
            )
            answer = await self.executor.execute(request)
        self._await_delivery(context.request_id, answer.receipt_id)
        return to_result(answer)

    async def _account_for_malformed(
        self, ctx: RequestContext, call_next: CallNext
    ) -> HandlerResult:
        """A `tools/call` that the SDK refuses before it reaches us is a request received, too."""
        if ctx.method != "tools/call" or ctx.request_id is None:
            return await call_next(ctx)
        name = coerce_request_id(ctx.request_id)
        self._running.add(name)
        try:
            return await call_next(ctx)
        except (MCPError, ValidationError):
            asked = (ctx.params or {}).get("name")
            tool = asked if isinstance(asked, str) else ""
            answer = await self.executor.refuse_malformed(
                _request(ctx, tool, None, self._connection),
                "the parameters of tools/call are malformed",
            )
            self._await_delivery(ctx.request_id, answer.receipt_id)
            raise
        finally:
            self._running.discard(name)
            self._given_up.discard(name)


def tools(config: Config) -> list[AnyTool]:
    """The tools of a configuration.

    Raises:
        ValueError: a database or a root is not what it should be.
    """
    for place in (config.state, config.journal_path.parent):
        for root in config.roots:
            if place.resolve().is_relative_to(root.resolve()):
                raise ValueError(
                    f"{place} lies inside the root {root}, where tools could change the journal;"
                    " choose SUREFOOT_HOME and --journal outside of every root"
                )
    parsed = [parse_database(text) for text in config.databases]
    databases = Databases(parsed)
    reserved = {
        file: f"a file of the database '{each.name}'" for each in parsed for file in each.files()
    }
    roots = Roots(config.roots, reserved=reserved)
    every: list[AnyTool] = [
        *shell_tools(roots, config.environment, config.state / "jobs", config.grace),
        *file_tools(roots, PathLocks(config.state / "locks"), config.ripgrep),
        *(database_tools(databases) if config.databases else []),
    ]
    return [tool for tool in every if tool.group in config.groups]


def find_key(params: Params) -> str | None:
    """The caller's key, first that is there: parameter, our `_meta` name, the host's tool-use id.

    The parameter is `idempotencyKey` of SEP-3182; the SDK's typed parameters drop it.

    Raises:
        KeyMalformed: a key of ours is malformed. A malformed id of the host is ignored.
    """
    about = _meta(params)
    for key in (params.get("idempotencyKey"), about.get(meta.IDEMPOTENCY_KEY)):
        if key is not None:
            return check_key(key)
    host_id = about.get(meta.CLAUDE_CODE_TOOL_USE)
    if host_id is None:
        return None
    try:
        return check_key(host_id)
    except KeyMalformed as e:
        _log.warning("ignored the host's tool-use id", reason=str(e))
        return None


class DeadlineMalformed(ValueError):
    """A deadline is no point in time."""


def find_deadline(params: Params) -> float:
    """When the caller stops waiting, on anyio's clock; `math.inf` where it does not say.

    Raises:
        DeadlineMalformed: what it says is no number of seconds.
    """
    at = _meta(params).get(meta.DEADLINE)
    if at is None:
        return math.inf
    if not isinstance(at, int | float) or isinstance(at, bool) or not math.isfinite(at):
        raise DeadlineMalformed(
            f"{meta.DEADLINE} is {str(at)[:80]!r}; it is a number of seconds since the epoch"
        )
    return anyio.current_time() + at - time.time()


def _meta(params: Params) -> Params:
    about = params.get("_meta")
    return cast(Params, about) if isinstance(about, Mapping) else {}


def _request(
    context: RequestContext,
    tool: str,
    arguments: dict[str, Any] | None,
    connection: Connection,
    key: str | None = None,
    deadline: float = math.inf,
) -> Request:
    about = _meta(context.params or {})
    fault = about.get(meta.FAULT)
    client = context.session.client_params
    return Request(
        tool=tool,
        arguments=arguments or {},
        client=client.client_info.name if client is not None else None,
        sender_attempt=_sender_attempt(about.get(meta.ATTEMPT)),
        fault=fault if isinstance(fault, str) else None,
        report=_progress(context),
        connection=connection,
        key=key,
        deadline=deadline,
    )


def _sender_attempt(value: object) -> int | None:
    """A sender's count of its sends; anything else is as good as none."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 < value <= LARGEST_ATTEMPT else None


def _progress(context: RequestContext) -> Report:
    """Progress goes only to callers that gave a token; the SDK knows whether they did."""
    if (context.meta or {}).get("progress_token") is None:
        return report_nothing

    async def report(done: float, total: float | None, line: str) -> None:
        await context.session.report_progress(done, total, line)

    return report


def _instructions(config: Config) -> str:
    """What a model should know before its first call."""
    lines = [
        "surefoot runs commands, edits files and uses databases, and accounts for every call.",
        "Paths are relative to the root, or absolute inside it. The file tools cannot leave it.",
        "Commands start in the root but are NOT confined to it (sandbox: off).",
        "A result is an error only if the tool could not do its work: a command that exits with"
        " status 1 has run. Errors say a code, whether the effect was applied (no, yes, unknown),"
        " and mostly a hint. After applied=unknown look at the state before you repeat.",
    ]
    if config.databases:
        parsed = [parse_database(text) for text in config.databases]
        names = [f"{each.name} ({'writable' if each.writable else 'read-only'})" for each in parsed]
        lines.append(f"Databases: {', '.join(names)}.")
    if config.read_only:
        lines.append("This server is read-only: tools with effects are refused.")
    return "\n".join(lines)
