"""What a caller is told whose token is good but grants nothing, or cannot be judged now.

ASGI middleware; `Decided` before the SDK's authentication, `ToolScope` behind it.
"""

import json
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from surefoot_server import log
from surefoot_server.http.bearer import Granted
from surefoot_server.http.verifier import Undecided
from surefoot_tools.tool import Group

_log = log.get("bearer")

RETRY_AFTER = 10
"""Seconds after which a client may come back when the issuer did not answer."""
_URL = TypeAdapter(AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True))


class Decided:
    """Answers 503 where a token's worth cannot be told; at 401 a client would throw it away.

    Args:
        inner: The authentication, which calls `Verifier.verify` before anything is answered.
    """

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            await self._inner(scope, receive, send)
        except Undecided as e:
            _log.info("a token could not be judged", error=str(e))
            said = "the authorization server does not answer"
            answer = JSONResponse(
                {"error": "temporarily_unavailable", "error_description": said},
                503,
                {"Retry-After": str(RETRY_AFTER)},
            )
            await answer(scope, receive, send)


class ToolScope:
    """Refuses tokens that grant no tool with 403 `insufficient_scope` (RFC 6750, 3.1).

    Args:
        inner: What comes behind it.
        scopes: Those that the server knows; one of them is enough.
        metadata: URL of the resource's metadata.
    """

    def __init__(
        self, inner: ASGIApp, scopes: tuple[str, ...], metadata: AnyHttpUrl | None = None
    ) -> None:
        self._inner = inner
        named = " ".join(scopes)
        said = f"the token grants no tool; it needs at least one of these scopes: {named}"
        self._body = json.dumps({"error": "insufficient_scope", "error_description": said})
        parts = ['error="insufficient_scope"', f'scope="{named}"', f'error_description="{said}"']
        if metadata is not None:
            parts.append(f'resource_metadata="{metadata}"')
        self._challenge = f"Bearer {', '.join(parts)}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        user: Any = scope.get("user")
        token = user.access_token if isinstance(user, AuthenticatedUser) else None
        if isinstance(token, Granted) and token.access.groups - {Group.ACCOUNTING}:
            await self._inner(scope, receive, send)
            return
        headers = {"WWW-Authenticate": self._challenge}
        await Response(self._body, 403, headers, "application/json")(scope, receive, send)


def exact_url(text: str) -> AnyHttpUrl:
    """A URL as it was written: pydantic alone adds a slash, and issuers are compared by letter.

    Raises:
        ValueError: it is none.
    """
    return _URL.validate_python(text)
