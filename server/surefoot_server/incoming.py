"""MCP in: what a `tools/call` says about its caller's key, deadline and attempt. Before `door`."""

import math
import time
from collections.abc import Mapping
from typing import Any, cast

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from surefoot_server import log
from surefoot_server.access import Access
from surefoot_server.call import Connection, KeyMalformed, Request, check_key
from surefoot_server.consent import CONSENT, FORM, Consent, Question, Said
from surefoot_tools import meta
from surefoot_tools.tool import Report, report_nothing

_log = log.get("incoming")

Params = Mapping[str, Any]
RequestContext = ServerRequestContext[Any, Any]

LARGEST_ATTEMPT = 2**31
"""A number beyond it is no count of sends."""


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


def read_request(
    context: RequestContext,
    tool: str,
    arguments: dict[str, Any] | None,
    connection: Connection,
    access: Access,
    *,
    key: str | None = None,
    deadline: float = math.inf,
    consent: Consent | None = None,
) -> Request:
    """A `tools/call` free of MCP's types."""
    about = _meta(context.params or {})
    fault = about.get(meta.FAULT)
    client = context.session.client_params
    return Request(
        tool=tool,
        arguments=arguments or {},
        access=access,
        client=client.client_info.name if client is not None else None,
        sender_attempt=_sender_attempt(about.get(meta.ATTEMPT)),
        fault=fault if isinstance(fault, str) else None,
        report=_progress(context),
        connection=connection,
        key=key,
        repeat=about.get(meta.REPEAT) is True,
        deadline=deadline,
        consent=consent,
    )


_SAID = {"accept": Said.YES, "decline": Said.NO, "cancel": Said.NOTHING}


class Elicitation:
    """Asks by MCP's elicitation; a `consent.Consent`.

    Until 2025-11-25 the server sends `elicitation/create` while the call waits; from 2026-07-28 on
    the result of the call is the question, and the call comes again with the answer.

    Args:
        context: Of the request.
        params: Of the call.
    """

    def __init__(self, context: RequestContext, params: types.CallToolRequestParams) -> None:
        self._context = context
        self.given = False
        """See `Consent`; likewise the others."""
        self.brought = params.request_state
        answer = (params.input_responses or {}).get(CONSENT)
        self.answer = _SAID[answer.action] if isinstance(answer, types.ElicitResult) else None

    async def ask(self, question: Question) -> Said:
        """See `Consent`."""
        session = self._context.session
        able = session.client_capabilities and session.client_capabilities.elicitation
        # One that says nothing of modes has forms: there was nothing else in the beginning.
        if able is None or (able.form is None and able.url is not None):
            return Said.CANNOT_ASK
        if session.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return Said.LATER
        try:
            said = await session.elicit_form(question.text, FORM, self._context.request_id)
        except (MCPError, ValidationError) as e:
            _log.warning("a question was not answered", reason=type(e).__name__)
            return Said.CANNOT_ASK
        return _SAID[said.action]


def _meta(params: Params) -> Params:
    about = params.get("_meta")
    return cast(Params, about) if isinstance(about, Mapping) else {}


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
