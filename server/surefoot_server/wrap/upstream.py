"""The connection to the server behind the proxy: begun as its client began, and again when lost.

Requests pass as they are, and none is ever sent twice from here: whoever asks is told what is known
of one that got no answer (`Gone`), and decides.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import anyio.abc
import mcp_types as types
from mcp.shared.dispatcher import CallOptions, OnNotify, OnRequest
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
)
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types.version import LATEST_HANDSHAKE_VERSION

from surefoot_server import log
from surefoot_server.wrap import eras
from surefoot_server.wrap.eras import Message
from surefoot_server.wrap.target import Failure, Target
from surefoot_tools.errors import Applied

_log = log.get("upstream")

GREET = 60.0
"""Seconds from its start to its greeting; some are downloaded first."""
PROBE = 10.0
"""Seconds for the question whether it is of the later era."""
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0
"""Seconds between two starts that both failed; doubled each time."""

ParamHeaders = Callable[[Message], Mapping[str, str]]
"""Headers that mirror arguments of a `tools/call`, of its parameters."""


class Gone(Exception):
    """There is no answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
        """What is known of it."""


class _Link:
    """One connection, from its start to its end."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.begun = False
        self.ended = anyio.Event()
        self.dispatcher: JSONRPCDispatcher[Any]


class Upstream:
    """One server, connected to when something is asked of it.

    Args:
        target: The server.
        tasks: Where its connection lives.
        on_request: Answers what it asks of its client.
        on_notify: Told of its notifications.
        begun: Told of each new connection: what was known of the server may be old.
    """

    def __init__(
        self,
        target: Target,
        tasks: anyio.abc.TaskGroup,
        *,
        on_request: OnRequest,
        on_notify: OnNotify,
        begun: Callable[[], None],
    ) -> None:
        self._target = target
        self._tasks = tasks
        self._on_request = on_request
        self._on_notify = on_notify
        self._begun = begun
        self._turn = anyio.Lock()
        self._link: _Link | None = None
        self._failures = 0
        self._not_before = 0.0
        self._why = ""
        self._hello: dict[str, Any] = {}
        self._envelope: dict[str, Any] = {}
        self._answer: dict[str, Any] = {}
        self._kept: dict[tuple[str, str], dict[str, Any]] = {}
        self._fresh = True
        self.param_headers: ParamHeaders = lambda _params: {}
        """For a server over HTTP."""
        self.modern: bool | None = None
        """Whether it is of the later era; None before it is known."""
        self.client_modern = False
        """Whether its client is."""

    async def initialize(self, params: Message) -> dict[str, Any]:
        """Greet it as a client of the era of handshakes does; its greeting, as it is.

        Raises:
            Gone: it cannot be reached.
            MCPError: it refuses.
        """
        self._hello, self._envelope = dict(params), eras.envelope_for(params)
        await self._standing()
        if self.modern:
            return eras.greeting(self._answer, LATEST_HANDSHAKE_VERSION)
        return self._answer

    async def discover(self, params: Message | None) -> dict[str, Any]:
        """Greet it as a client of the later era does; its greeting, as it is.

        Raises:
            Gone: it cannot be reached.
        """
        await self.meet(params)
        if not self.modern:
            return eras.discovery(self._answer)
        fresh, self._fresh = self._fresh, False
        return self._answer if fresh else await self.request("server/discover", params)

    async def meet(self, params: Message | None) -> None:
        """A request of a client of the later era has come: take what its envelope says.

        Raises:
            Gone: it cannot be reached.
        """
        if not self._envelope:
            self.client_modern = True
            self._envelope = eras.envelope_of(params)
            self._hello = eras.hello_for(self._envelope, LATEST_HANDSHAKE_VERSION)
        if self.modern is None:
            await self._standing()

    async def ready(self) -> None:
        """Connect to it, if it is not connected to.

        Raises:
            Gone: it cannot be reached.
            MCPError: it refuses the first greeting.
        """
        await self._standing()

    async def initialized(self, params: Message | None) -> None:
        """Its client has taken its greeting."""
        if not self.modern:
            await self.notify("notifications/initialized", params)

    async def request(
        self, method: str, params: Message | None, *, request_id: types.RequestId | None = None
    ) -> dict[str, Any]:
        """Ask it something, once, and wait for the answer as it is; a cancel is passed on.

        Args:
            method: Of the request.
            params: Of it, as its client has sent them.
            request_id: For a request whose id is named in what comes of it.

        Raises:
            Gone: there is no answer.
            MCPError: the answer is an error.
        """
        link = await self._standing()
        options: CallOptions = {}
        if request_id is not None:
            options["request_id"] = request_id
        result = await self._ask(link, method, params, options)
        self._keep(method, params or {})
        return self._translated(method, result)

    async def notify(self, method: str, params: Message | None) -> None:
        """Tell it something, if it is there."""
        link = self._link
        if link is not None and not link.ended.is_set():
            version = self._answer.get("protocolVersion")
            headers = {MCP_PROTOCOL_VERSION_HEADER: str(version)} if version else {}
            await link.dispatcher.notify(method, params, {"headers": headers})

    async def close(self) -> None:
        """End the connection, and the server if it is ours."""
        if self._link is not None:
            await self._end(self._link)

    def _translated(self, method: str, result: dict[str, Any]) -> dict[str, Any]:
        if self.modern and not self.client_modern:
            # The proxy asks the client itself, and needs to see that it should.
            asks_back = result.get("resultType") == eras.INPUT_REQUIRED
            return result if asks_back else eras.older(result)
        return eras.newer(method, result) if self.client_modern and not self.modern else result

    def _keep(self, method: str, params: Message) -> None:
        """Remember what a server forgets when it ends, and its client does not say again."""
        uri = str(params.get("uri"))
        if method == "logging/setLevel":
            self._kept[method, ""] = dict(params)
        elif method == "resources/subscribe":
            self._kept[method, uri] = dict(params)
        elif method == "resources/unsubscribe":
            self._kept.pop(("resources/subscribe", uri), None)

    async def _ask(
        self, link: _Link, method: str, params: Message | None, options: CallOptions
    ) -> dict[str, Any]:
        given = params
        if self.modern:
            given = eras.with_envelope(params, self._envelope)
        elif self.client_modern:
            given = eras.without_envelope(params)
        if method != "initialize":
            options["headers"] = self._headers(method, given or {})
        if method in ("initialize", "server/discover"):
            options["cancel_on_abandon"] = False  # the protocol forbids it
        try:
            return await link.dispatcher.send_raw_request(method, given, options)
        except MCPError as e:
            failure = self._target.failure(e.error)
            if failure is None and link.scope.cancel_called:
                failure = Failure("the connection was ended", Applied.UNKNOWN, ended=True)
            if failure is None:
                raise
            if failure.ended:
                await self._end(link)
            raise Gone(await self._told(failure)) from e

    def _headers(self, method: str, params: Message) -> dict[str, str]:
        """What a transport over HTTP repeats of a request."""
        version = eras.part(params, "_meta").get(types.PROTOCOL_VERSION_META_KEY)
        if version is None:
            said = self._answer.get("protocolVersion")
            return {MCP_PROTOCOL_VERSION_HEADER: str(said)} if said else {}
        headers = {MCP_PROTOCOL_VERSION_HEADER: str(version), MCP_METHOD_HEADER: method}
        name = params.get(NAME_BEARING_METHODS.get(method, ""))
        if isinstance(name, str):
            headers[MCP_NAME_HEADER] = encode_header_value(name)
        if method == "tools/call":
            headers.update(self.param_headers(params))
        return headers

    async def _told(self, failure: Failure) -> Failure:
        words = await self._target.last_words()
        said = f"{self._target.name}: {failure.message}" + (f"; it said: {words}" if words else "")
        return Failure(said, failure.applied, failure.wait, ended=failure.ended)

    async def _standing(self) -> _Link:
        """The connection, made anew if it is gone.

        Raises:
            Gone: it cannot be made; nothing was asked.
            MCPError: the server refuses the first greeting.
        """
        async with self._turn:
            link = self._link
            if link is not None and not link.ended.is_set() and not self._target.over():
                return link
            if link is not None:
                await self._end(link)
            wait = self._not_before - anyio.current_time()
            if wait > 0:
                raise Gone(Failure(self._why, Applied.NO, wait))
            return await self._begin()

    async def _begin(self) -> _Link:
        link = _Link()
        try:
            await self._tasks.start(self._hold, link)
            self._link = link
            with anyio.fail_after(GREET):
                await self._greet(link)
        except (OSError, Gone) as e:  # a timeout is an OSError
            await self._end(link)
            raise Gone(await self._failed(e)) from e
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._end(link)
            raise
        self._failures = 0
        self._begun()
        return link

    async def _failed(self, error: OSError | Gone) -> Failure:
        """Note that it could not be begun, and until when it is not tried again."""
        if isinstance(error, Gone):
            said = str(error)
        else:
            late = isinstance(error, TimeoutError)
            why = f"it did not greet within {GREET:g} s" if late else f"{error.strerror or error}"
            said = (await self._told(Failure(why, Applied.NO))).message
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2**self._failures)
        self._failures += 1
        self._not_before = anyio.current_time() + wait
        self._why = f"the server behind this proxy did not start; {said}"
        _log.error("the server did not start", reason=said, times=self._failures)
        return Failure(self._why, Applied.NO, wait)

    async def _hold(self, link: _Link, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Own one connection from its start to its end."""
        link.begun = True
        try:
            with link.scope:
                async with self._target.streams() as (reading, writing):
                    link.dispatcher = JSONRPCDispatcher(reading, writing)
                    async with anyio.create_task_group() as tasks:
                        run = link.dispatcher.run
                        await tasks.start(run, self._on_request, self._on_notify)
                        task_status.started()
        finally:
            link.ended.set()

    async def _end(self, link: _Link) -> None:
        link.scope.cancel()
        if link.begun:
            await link.ended.wait()
        if self._link is link:
            self._link = None

    async def _greet(self, link: _Link) -> None:
        """Begin as the client began; a second time, as it went the first time."""
        known = self.modern
        if known is None:
            await self._find_era(link)
        elif not known:
            self._answer = await self._ask(link, "initialize", self._hello, {})
        if not self.modern and (known is not None or self.client_modern):
            await self.notify("notifications/initialized", None)
        for (method, _), params in list(self._kept.items()):
            await self._ask(link, method, params, {})

    async def _find_era(self, link: _Link) -> None:
        ways: list[Callable[[_Link], Awaitable[bool]]] = [self._say_hello, self._probe]
        if self.client_modern:
            ways.reverse()
        if not await ways[0](link):
            await ways[1](link)

    async def _say_hello(self, link: _Link) -> bool:
        """Whether it takes a handshake; if it does not, but its client has one, what it says."""
        self.modern = False
        try:
            self._answer = await self._ask(link, "initialize", self._hello, {})
        except MCPError as e:
            self.modern = None
            refused = e.code in (types.METHOD_NOT_FOUND, types.UNSUPPORTED_PROTOCOL_VERSION)
            if self.client_modern or not refused:
                raise
            return False
        return True

    async def _probe(self, link: _Link) -> bool:
        """Whether it is of the later era."""
        self.modern = True
        try:
            options: CallOptions = {"timeout": PROBE}
            self._answer = await self._ask(link, "server/discover", None, options)
        except MCPError:
            self.modern = None
            if not self.client_modern:
                raise
            return False
        if any(map(eras.is_modern, self._answer.get("supportedVersions") or [])):
            return True
        self.modern = None
        return False
