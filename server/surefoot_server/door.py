"""The door that all three ways in share: `tools/call` to the executor, and its answer back.

`app` is our own server, `extension` an MCP extension that any server mounts, `wrap` a proxy.
"""

from typing import Any
from urllib.parse import quote

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import principal_components
from mcp.server.context import CallNext, HandlerResult
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from surefoot_server.access import Access
from surefoot_server.call import Answer, KeyMalformed, Request
from surefoot_server.consent import Consent
from surefoot_server.exchange import EXCHANGE, Exchange
from surefoot_server.executor import Executor
from surefoot_server.incoming import (
    DeadlineMalformed,
    RequestContext,
    find_deadline,
    find_key,
    read_request,
)
from surefoot_server.journal.states import Disposition
from surefoot_server.outgoing import Passed
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error, Outcome

LEFT = Answer(
    Outcome.failed(
        Error(Code.CANCELLED, Origin.TRANSPORT, Applied.UNKNOWN, "the connection was lost")
    ),
    Disposition.RAN,
    receipt_id="",
)
"""For a caller that went away. Nobody reads it; what became of its request is in the journal."""


class Door:
    """Carries calls to an executor, once there is one."""

    def __init__(self) -> None:
        self._executor: Executor | None = None
        self.exchange = Exchange(self.current)
        """Of the requests that no transport of ours has brought; its access is everything."""

    def open(self, executor: Executor) -> None:
        """From now on calls go to this executor."""
        self._executor = executor

    def close(self) -> None:
        """From now on there is none."""
        self._executor = None

    @property
    def executor(self) -> Executor:
        """The executor.

        Raises:
            RuntimeError: there is none yet: the server's lifespan has not begun.
        """
        if self._executor is None:
            raise RuntimeError("the server's lifespan has not begun")
        return self._executor

    def current(self) -> Executor | None:
        """The executor, if there is one yet."""
        return self._executor

    def exchange_of(self, context: RequestContext) -> Exchange:
        """The exchange that a request came in by: its HTTP request's, or the only one."""
        scope: Any = getattr(context.request, "scope", None)
        found = scope.get(EXCHANGE) if isinstance(scope, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        return found if isinstance(found, Exchange) else self.exchange

    def access_of(self, context: RequestContext) -> Access:
        """Who asks: as our HTTP has found out, or else as the SDK's own authentication has."""
        exchange = self.exchange_of(context)
        token = get_access_token() if exchange is self.exchange else None
        return (
            exchange.access if token is None else Access(_principal(*principal_components(token)))
        )

    async def call(
        self,
        context: RequestContext,
        tool: str,
        arguments: dict[str, Any] | None,
        consent: Consent | None = None,
    ) -> Answer:
        """Answer a `tools/call` that names a tool.

        Args:
            context: Of the request.
            tool: Its name.
            arguments: Of the call.
            consent: How a person behind the caller can be asked.

        Raises:
            NotOurs: the request brings a seal of `consent` that is not for it.
        """
        exchange, access = self.exchange_of(context), self.access_of(context)
        given = context.params or {}
        try:
            key, deadline = find_key(given), find_deadline(given)
        except (KeyMalformed, DeadlineMalformed) as e:
            request = read_request(context, tool, arguments, exchange.connection, access)
            answer = await self.executor.refuse_malformed(request, str(e))
        else:
            request = read_request(
                context,
                tool,
                arguments,
                exchange.connection,
                access,
                key=key,
                deadline=deadline,
                consent=consent,
            )
            answer = await self._execute(exchange, request)
        exchange.answer(context.request_id, answer.receipt_id)
        return answer

    async def _execute(self, exchange: Exchange, request: Request) -> Answer:
        if not exchange.alone:
            return await self.executor.execute(request)
        with exchange.waiting():
            return await self.executor.execute(request)
        return LEFT

    async def account_for_malformed(
        self, ctx: RequestContext, call_next: CallNext
    ) -> HandlerResult:
        """A `tools/call` that the SDK refuses before it reaches us is a request received, too.

        A middleware of the SDK's server.
        """
        if ctx.method != "tools/call" or ctx.request_id is None:
            return await call_next(ctx)
        exchange = self.exchange_of(ctx)
        exchange.begin(ctx.request_id)
        try:
            return await call_next(ctx)
        except Passed:
            raise
        except (MCPError, ValidationError):
            asked = (ctx.params or {}).get("name")
            tool = asked if isinstance(asked, str) else ""
            answer = await self.executor.refuse_malformed(
                read_request(ctx, tool, None, exchange.connection, self.access_of(ctx)),
                "the parameters of tools/call are malformed",
            )
            exchange.answer(ctx.request_id, answer.receipt_id)
            raise
        finally:
            exchange.end(ctx.request_id)


def _principal(client: str, issuer: str | None, subject: str | None) -> str:
    """The name of a token's principal: `ISSUER#SUBJECT`, or what there is of it."""
    if issuer is not None and subject is not None:
        return f"{issuer}#{subject}"
    # Quoted, or two of them could meet under one name.
    parts = [quote(part or "", safe="") for part in (client, issuer, subject)]
    return f"client:{'#'.join(parts)}"
