"""A whole server: the tools of a configuration, their executor, and MCP's requests to both.

The modules with MCP types are this one and the two other doors (`extension`, `wrap`), and what they
share: `door`, `incoming` before it and `outgoing` behind it, `exchange` beside it.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from surefoot_server import telemetry
from surefoot_server.access import EVERYTHING
from surefoot_server.call import StoreArguments
from surefoot_server.config import Config
from surefoot_server.consent import NotOurs
from surefoot_server.door import Door
from surefoot_server.executor import Executor
from surefoot_server.failure_report import FailureReport
from surefoot_server.faults import Faults
from surefoot_server.incoming import Elicitation, RequestContext
from surefoot_server.journal.opening import open_journal
from surefoot_server.journal.records import Journal
from surefoot_server.outgoing import describe, to_result
from surefoot_server.policy import Policy
from surefoot_tools.database import database_tools
from surefoot_tools.database.databases import Databases, parse_database
from surefoot_tools.files import file_tools
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.roots import Roots
from surefoot_tools.registry import AnyTool, Registry
from surefoot_tools.sandbox.sandbox import Sandbox
from surefoot_tools.shell import shell_tools

Beside = Callable[[Journal, Executor], Coroutine[Any, Any, None]]
"""Runs until it is cancelled."""
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
        sandbox = sandbox_of(config)
        self._tools = tools(config, sandbox)
        self._policy = Policy(
            read_only=config.read_only,
            grace=config.grace,
            retention=config.retention,
            commands=config.commands,
        )
        self._described: dict[str, types.Tool] = {}
        self.door = Door()
        """Where calls come in; its `exchange` listens to a transport with one connection."""
        self.server: Server[Any] = Server(
            "surefoot",
            version=config.version,
            title="surefoot",
            instructions=_instructions(config, sandbox),
            lifespan=self._lifespan,
            on_list_tools=self._list_tools,
            get_tool_input_schema=self._input_schema,
            cache_hints={"server/discover": CacheHint(ttl_ms=LIST_TTL_MS, scope="public")},
        )
        self.server.add_request_handler("tools/call", types.CallToolRequestParams, self._call_tool)
        self.telemetry = telemetry.setup(config.environment)
        """Spans for OpenTelemetry, if the environment asks for them."""
        self.beside: Beside | None = None
        """What runs beside the server, as long as its journal is open."""
        # In the place of the SDK's own span, whose cost every call would pay unasked.
        self.server.middleware[:] = [self.door.account_for_malformed]
        if self.telemetry is not None:
            self.server.middleware.insert(0, self.telemetry)

    @asynccontextmanager
    async def _lifespan(self, _server: Server[Any]) -> AsyncGenerator[None]:
        config = self._config
        async with AsyncExitStack() as stack:
            journal = open_journal(config.journal_place, state=config.state, version=config.version)
            stack.push_async_callback(anyio.to_thread.run_sync, journal.close)
            executor = await stack.enter_async_context(
                Executor(
                    Registry([*self._tools, FailureReport(journal)]),
                    journal,
                    roots=[*map(str, config.roots), *_named(config)],
                    policy=self._policy,
                    faults=Faults(allowed=config.allow_faults),
                    random=Random(),  # noqa: S311 - jitter
                    store=StoreArguments(config.store_arguments),
                )
            )
            self.door.open(executor)
            if self.telemetry is not None:
                stack.push_async_callback(anyio.to_thread.run_sync, self.telemetry.close)
            async with anyio.create_task_group() as tasks:
                if self.beside is not None:
                    tasks.start_soon(self.beside, journal, executor)
                yield
                tasks.cancel_scope.cancel()

    async def _list_tools(
        self, context: RequestContext, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        if params is not None and params.cursor is not None:
            raise MCPError(types.INVALID_PARAMS, "there is one page of tools, and no cursor")
        access = self.door.exchange_of(context).access
        listed = [
            self._describe(tool)
            for tool in self.door.executor.registry
            if not self._policy.refusal(tool) and not access.refusal(tool)
        ]
        scope = "public" if access == EVERYTHING else "private"
        return types.ListToolsResult(tools=listed, ttl_ms=LIST_TTL_MS, cache_scope=scope)

    def _input_schema(self, name: str) -> dict[str, Any] | None:
        """For the SDK, which over HTTP would list every tool before each call."""
        tool = self.door.executor.registry.get(name)
        return None if tool is None else self._describe(tool).input_schema

    def _describe(self, tool: AnyTool) -> types.Tool:
        found = self._described.get(tool.name)
        if found is None:  # a schema takes milliseconds to make
            found = self._described[tool.name] = describe(tool)
        return found

    async def _call_tool(
        self, context: RequestContext, params: types.CallToolRequestParams
    ) -> dict[str, Any]:
        consent = Elicitation(context, params)
        # The SDK's types cannot tell null from nothing; null answers no question.
        answered = "inputResponses" in (context.params or {})
        if answered and (params.input_responses is None or consent.brought is None):
            raise MCPError(types.INVALID_PARAMS, "inputResponses without a requestState")
        try:
            answer = await self.door.call(context, params.name, params.arguments, consent)
        except NotOurs as e:
            text = "requestState answers no question of this server about this call"
            raise MCPError(types.INVALID_PARAMS, text) from e
        return to_result(answer)


def sandbox_of(config: Config) -> Sandbox:
    """What confines the commands of a configuration."""
    return Sandbox(
        config.sandbox,
        config.roots,
        [config.state, config.journal_path.parent],
        config.environment,
        network=config.network,
        read_only=config.read_only_roots,
    )


def tools(config: Config, sandbox: Sandbox | None = None) -> list[AnyTool]:
    """The tools of a configuration.

    Args:
        config: Of the server.
        sandbox: Confines the commands; by default one of its own.

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
    parsed = [parse_database(text, config.environment) for text in config.databases]
    databases = Databases(parsed)
    reserved = {
        file: f"a file of the database '{each.name}'" for each in parsed for file in each.files()
    }
    roots = Roots(
        config.roots,
        reserved=reserved,
        names=config.root_names,
        read_only=config.read_only_roots,
    )
    every: list[AnyTool] = [
        *shell_tools(
            roots,
            config.environment,
            config.state / "jobs",
            config.grace,
            config.job_grace,
            sandbox or sandbox_of(config),
        ),
        *file_tools(roots, PathLocks(config.state / "locks"), config.ripgrep),
        *(database_tools(databases) if config.databases else []),
    ]
    return [tool for tool in every if tool.group in config.groups]


def _named(config: Config) -> list[str]:
    """The roots with names, as what a path means depends on them."""
    return [f"{name}={path}" for name, path in config.root_names.items()]


def _instructions(config: Config, sandbox: Sandbox) -> str:
    """What a model should know before its first call."""
    lines = [
        "surefoot runs commands, edits files and uses databases, and accounts for every call.",
        "Paths are relative to the root, or absolute inside it. The file tools cannot leave it.",
        *(
            f"Paths that begin with {name}/ lie in {path}."
            for name, path in config.root_names.items()
        ),
        *(f"Nothing is changed in {path}." for path in config.read_only_roots),
        sandbox.describe(),
        "A result is an error only if the tool could not do its work: a command that exits with"
        " status 1 has run. Errors say a code, whether the effect was applied (no, yes, unknown),"
        " and mostly a hint. After applied=unknown look at the state before you repeat.",
    ]
    if config.databases:
        parsed = [parse_database(text, config.environment) for text in config.databases]
        names = [f"{each.name} ({'writable' if each.writable else 'read-only'})" for each in parsed]
        lines.append(f"Databases: {', '.join(names)}.")
    if config.commands is not None:
        lines.append(
            "Rules of this server refuse some commands, or have a person asked first; an error says"
            " why. They look at programs and arguments: name both plainly."
        )
    if config.read_only:
        lines.append("This server is read-only: tools with effects are refused.")
    return "\n".join(lines)
