"""The client before the proxy: what is said to it, and what is asked of it, as it is."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import mcp_types as types
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import LISTEN_STREAM_METHODS, SUBSCRIPTION_ID_META_KEY
from pydantic import RootModel

from surefoot_server.incoming import RequestContext
from surefoot_server.wrap.eras import part
from surefoot_server.wrap.upstream import Gone, Upstream

_Params = dict[str, Any] | None
_KINDS = {
    "toolsListChanged": "notifications/tools/list_changed",
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
_URIS = "resourceSubscriptions"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


class _Request(types.Request[_Params, str]):
    """A request as it is."""


class _Notification(types.Notification[_Params, str]):
    """A notification as it is."""


class _Result(RootModel[dict[str, Any]]):
    """A result as it is."""


@dataclass(eq=False)
class _Stream:
    """A `subscriptions/listen` of the client."""

    request_id: types.RequestId
    session: ServerSession
    kinds: frozenset[str] = frozenset()
    """Methods of the notifications that it asked for, of a server of the earlier era."""
    uris: frozenset[str] = field(default_factory=frozenset[str])
    """Resources, likewise."""

    def wants(self, method: str, params: Mapping[str, Any]) -> bool:
        """Whether it asked for this one."""
        return method in self.kinds or params.get("uri") in self.uris


class ClientSide:
    """One client; there is one in the life of a proxy."""

    def __init__(self) -> None:
        self._session: ServerSession | None = None
        self._streams: dict[str, _Stream] = {}
        self.modern = False
        """Whether it is of the era of 2026-07-28 and later."""

    @property
    def met(self) -> bool:
        """Whether it has greeted."""
        return self._session is not None

    def meet(self, ctx: RequestContext, *, modern: bool) -> None:
        """Its first request has come."""
        if self._session is None:
            self._session, self.modern = ctx.session, modern

    async def ask(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Have it answer a request; a cancel is passed on.

        Raises:
            MCPError: it answers with an error, or there is no way to ask it.
        """
        if self._session is None or self.modern:
            raise MCPError(types.METHOD_NOT_FOUND, "the client cannot be asked", method)
        request = _Request(method=method, params=None if params is None else dict(params))
        sent = cast("types.ServerRequest", request)
        return (await self._session.send_request(sent, _Result)).root

    async def tell(
        self, method: str, params: Mapping[str, Any] | None, *, translated: bool
    ) -> None:
        """Pass a notification on.

        Args:
            method: Of it.
            params: Of it.
            translated: Whether the server is of the era of handshakes.
        """
        if self._session is None:
            return
        if not self.modern:
            await _send(self._session, method, params)
        elif not translated and method in LISTEN_STREAM_METHODS | {_ACKNOWLEDGED}:
            name = part(params, "_meta").get(SUBSCRIPTION_ID_META_KEY)
            stream = self._streams.get(str(name))
            if stream is not None:
                await _send(stream.session, method, params, stream.request_id)
        elif translated and method in LISTEN_STREAM_METHODS:
            for stream in list(self._streams.values()):
                if stream.wants(method, params or {}):
                    await _send_stamped(stream, method, params or {})
        elif not translated or method != "notifications/message":
            # Of the later era a client asks for logs with each request, or gets none.
            await _send(self._session, method, params)

    @contextmanager
    def listening(self, ctx: RequestContext) -> Generator[None]:
        """A block in which the client gets the news that a server names by this request's id."""
        assert ctx.request_id is not None  # noqa: S101 - it is a request
        name = str(ctx.request_id)
        self._streams[name] = _Stream(ctx.request_id, ctx.session)
        try:
            yield
        finally:
            del self._streams[name]

    async def listen(self, ctx: RequestContext, upstream: Upstream) -> dict[str, Any]:
        """News of changes from a server of the era of handshakes, until cancelled."""
        asked = part(ctx.params, "notifications")
        honored = {kind: True for kind in _KINDS if asked.get(kind) is True}
        stream = self._streams[str(ctx.request_id)]
        stream.kinds = frozenset(_KINDS[kind] for kind in honored)
        uris: list[str] = []
        try:
            for uri in cast("list[str]", asked.get(_URIS) or []):
                await upstream.request("resources/subscribe", {"uri": uri})
                uris.append(uri)
            stream.uris = frozenset(uris)
            given = {**honored, _URIS: uris} if uris else honored
            await _send_stamped(stream, _ACKNOWLEDGED, {"notifications": given})
            await anyio.sleep_forever()
        finally:
            stream.uris = frozenset()
            others = {uri for each in self._streams.values() for uri in each.uris}
            with anyio.move_on_after(1, shield=True), suppress(Gone, MCPError):
                for uri in set(uris) - others:
                    await upstream.request("resources/unsubscribe", {"uri": uri})
        raise AssertionError("nothing wakes it")

    async def input_for(
        self, ctx: RequestContext, params: Mapping[str, Any] | None, asked: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Ask the client what a server of the later era asks in its answer; the next round.

        Raises:
            MCPError: the client cannot say.
        """
        answers: dict[str, Any] = {}
        requests = part(asked, "inputRequests")
        for name in requests:
            request = part(requests, name)
            answers[name] = await self.ask(str(request.get("method")), request.get("params"))
        state = {"requestState": asked["requestState"]} if "requestState" in asked else {}
        return {**(params or {}), "inputResponses": answers, **state}


async def _send(
    session: ServerSession,
    method: str,
    params: Mapping[str, Any] | None,
    request_id: types.RequestId | None = None,
) -> None:
    notification = _Notification(method=method, params=None if params is None else dict(params))
    sent = cast("types.ServerNotification", notification)
    await session.send_notification(sent, related_request_id=request_id)


async def _send_stamped(stream: _Stream, method: str, params: Mapping[str, Any]) -> None:
    about = {**part(params, "_meta"), SUBSCRIPTION_ID_META_KEY: stream.request_id}
    await _send(stream.session, method, {**params, "_meta": about}, stream.request_id)
