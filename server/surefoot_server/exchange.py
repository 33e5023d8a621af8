"""What becomes of answers on the wire, between a transport and the journal.

One `Exchange` is a connection as long as it lasts: over stdio the whole process, over HTTP one
request. A transport that tells of each answer written makes delivery exact; without one an answer
counts as delivered when it is given to the transport.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio
import mcp_types as types
from mcp.shared.dispatcher import coerce_request_id

from surefoot_server.access import EVERYTHING, Access
from surefoot_server.call import Connection, Request
from surefoot_server.executor import Executor
from surefoot_server.flow import Answering
from surefoot_server.journal.states import Delivery

EXCHANGE = "dev.surefoot.exchange"
"""Where an ASGI scope carries the `Exchange` of its request."""


class Exchange:
    """Answers on their way; a `flow.Listener`.

    Args:
        executor: The executor, or None while there is none yet.
        access: What its caller may use.
        tracked: Whether a transport tells what becomes of every answer.
        alone: Whether its requests go when it is lost; where there is one connection for the whole
            process, the SDK sees to that.
    """

    def __init__(
        self,
        executor: Callable[[], Executor | None],
        access: Access = EVERYTHING,
        *,
        tracked: bool = False,
        alone: bool = False,
    ) -> None:
        self._executor = executor
        self.access = access
        """What its caller may use."""
        self.tracked = tracked
        """Whether a transport tells what becomes of every answer."""
        self.connection = Connection()
        """Of the requests that come in by it."""
        self.accounted = False
        """Whether a request has come this far and has its receipt."""
        self.over: Callable[[], None] = lambda: None
        """Told when every answer is fully written, or never will be."""
        self.alone = alone
        """Whether its requests go when it is lost."""
        self._scopes: set[anyio.CancelScope] = set()
        self._awaiting: dict[types.RequestId, str] = {}
        self._running: set[types.RequestId] = set()
        self._given_up: set[types.RequestId] = set()

    @contextmanager
    def waiting(self) -> Generator[anyio.CancelScope]:
        """A block in which a request waits for its answer; cancelled when there is nobody to tell.

        The SDK does not cancel in every mode: not for a JSON response, nor in the 2025 versions.
        """
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            if self.connection.lost:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.discard(scope)

    def begin(self, request_id: types.RequestId) -> None:
        """A `tools/call` has come in."""
        self._running.add(coerce_request_id(request_id))

    def end(self, request_id: types.RequestId) -> None:
        """It is answered as far as we are concerned, or never will be."""
        name = coerce_request_id(request_id)
        self._running.discard(name)
        self._given_up.discard(name)

    def answer(self, request_id: types.RequestId | None, receipt_id: str) -> None:
        """An answer is on its way to the transport."""
        self.accounted = True
        if not self.tracked or request_id is None:
            self._deliver(receipt_id, Delivery.DELIVERED)
            return
        name = coerce_request_id(request_id)
        if self.connection.lost or name in self._given_up:
            self._deliver(receipt_id, Delivery.LOST)
        elif receipt_id:
            self._awaiting[name] = receipt_id

    def written(self, request_id: types.RequestId) -> None:
        """The transport has fully written the answer to this request."""
        receipt_id = self._awaiting.pop(coerce_request_id(request_id), None)
        if receipt_id is not None:
            self._deliver(receipt_id, Delivery.DELIVERED)

    def all_written(self) -> None:
        """The transport has fully written every answer that it was given."""
        for request_id in list(self._awaiting):
            self.written(request_id)
        self.over()

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
        self.connection.lost = True
        for receipt_id in self._awaiting.values():
            self._deliver(receipt_id, Delivery.LOST)
        self._awaiting.clear()
        self.over()
        for scope in list(self._scopes):
            scope.cancel()

    async def refuse(self, message: str) -> None:
        """The transport is about to refuse what asked for a tool, before it came to us."""
        executor = self._executor()
        if executor is not None:
            answer = await executor.refuse_malformed(self._nameless(), message)
            self.answer("", answer.receipt_id)

    def _nameless(self) -> Request:
        return Request(tool="", arguments={}, access=self.access, connection=self.connection)

    async def refused(self, message: str, answering: Answering) -> None:
        """The transport answers what asked for a tool by itself, since it was no request."""
        executor = self._executor()
        if executor is None:
            await answering()
            return
        answer = await executor.refuse_malformed(self._nameless(), message)
        delivered = await answering()
        self._deliver(answer.receipt_id, Delivery.DELIVERED if delivered else Delivery.LOST)

    def _deliver(self, receipt_id: str, delivery: Delivery) -> None:
        executor = self._executor()
        if executor is not None:
            executor.deliver(receipt_id, delivery)
