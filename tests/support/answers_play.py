"""Plays the answers model beside real servers: what a rule of the state machine needs to be told.

Before it: `answers_model`, which says what must come; the rules are in `test_answers_model`.
"""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis.stateful import RuleBasedStateMachine
from tests.support.answers_model import ATTEMPTS, Call, Sent, settle
from tests.support.scripted import Plan
from tests.support.site import Sending, Server, Site, a_site, quiet

from surefoot_server import executor
from surefoot_server.call import Answer, Connection
from surefoot_server.journal.states import Delivery, Disposition
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Status
from surefoot_tools.retry import Budget
from surefoot_tools.tool import Effect

T = TypeVar("T")
WATCHED = """
CREATE TABLE moved (before TEXT, after TEXT);
CREATE TRIGGER begun AFTER INSERT ON call BEGIN INSERT INTO moved VALUES (NULL, new.state); END;
CREATE TRIGGER moved AFTER UPDATE OF state ON call WHEN old.state <> new.state
  BEGIN INSERT INTO moved VALUES (old.state, new.state); END;
"""
SAYS = {
    "run": Disposition.RAN,
    "conflict": Disposition.CONFLICT,
    "replay": Disposition.REPLAYED,
    "gone": Disposition.REPLAYED,
    "explain": Disposition.IN_DOUBT,
}


@dataclass(eq=False)
class Waiting:
    """A request that waits for a run."""

    sending: Sending
    call: Call
    sent: Sent
    origin: bool
    """It began the run, or adopted it."""


class Played(RuleBasedStateMachine):
    """Two servers, and the calls that the model knows of."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(executor, "FIRST_POLL", 0.0)
        patch.setattr(executor, "LAST_POLL", 0.0)
        patch.setattr(Budget, "CAPACITY", 1000.0)
        self.portal = self.stack.enter_context(start_blocking_portal())
        self.site: Site = self.stack.enter_context(self.portal.wrap_async_context_manager(a_site()))
        self.portal.call(self.site.memory.database.connection.execute, WATCHED)
        self.up: dict[int, Server] = {}
        self.lives = 0
        self.life: dict[int, int] = {}
        """Which life a server is in; a request belongs to one."""
        self.calls: list[Call] = []
        self.waiting: list[Waiting] = []
        for n in (0, 1):
            self.restart(n)

    def query(self, sql: str, **names: Any) -> list[tuple[Any, ...]]:
        """Rows of the journal, read where the servers are."""
        return self.portal.call(partial(self.site.query, sql, **names))

    def do(self, step: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Take a step in the servers' event loop, and let everything go on that can."""

        async def whole() -> T:
            done = await step(*args)
            await quiet()
            return done

        return self.portal.call(whole)

    def teardown(self) -> None:
        """Kill the servers."""
        self.stack.close()

    # What the model knows.

    @property
    def dead(self) -> set[int]:
        """The lives that are over."""
        return set(range(self.lives)) - set(self.life.values())

    def under(self, key: str) -> Call | None:
        """The call of a key."""
        return next((each for each in self.calls if each.key == key), None)

    def new(self, effect: Effect, label: str, key: str | None, *, repeated: bool = False) -> Call:
        """A call that begins."""
        call = Call(effect, label, key, self.site.at, repeated=repeated)
        self.calls.append(call)
        return call

    def restart(self, n: int) -> None:
        """Start a server; its first round looks into all that dead ones left."""

        async def start() -> Server:
            return await self.site.serve(attempts=ATTEMPTS, grace=float("inf"))

        self.up[n] = self.do(start)
        self.life[n], self.lives = self.lives, self.lives + 1
        self.settle_all(n)

    def settle_all(self, n: int) -> None:
        """A round of housekeeping, as the model sees it."""
        for call in self.calls:
            if call.orphan:
                settle(call)
                call.server = self.life[n] if call.state == "running" else None

    def join(self, n: int, call: Call, key: str | None) -> None:
        """A request for a call that runs."""
        adopts = call.server is None
        if adopts:
            call.server = self.life[n]
        self.wait(n, call, key, origin=False)

    def wait(self, n: int, call: Call, key: str | None, *, origin: bool) -> None:
        """Send a request that is not answered yet."""

        async def start() -> Sending:
            return self.up[n].send(
                call.effect.value, call.label, key=key, connection=Connection(), client=f"c{n}"
            )

        sending = self.do(start)
        assert not sending.done.is_set(), sending
        sent = Sent(self.life[n], "run" if origin else "join")
        call.deliveries.append(sent)
        self.waiting.append(Waiting(sending, call, sent, origin))

    def ask(
        self, n: int, effect: Effect, label: str, delivery: Delivery | None, **more: Any
    ) -> Answer:
        """Send a request that is answered at once."""

        async def call() -> Answer:
            return await self.up[n].call(
                effect.value, label, delivery=delivery, client=f"c{n}", **more
            )

        return self.do(call)

    def tried(self, left: list[Plan], says: str) -> None:
        """As many attempts were made as the model made."""
        assert list(self.site.world.plans) == (left if says == "run" else [])
        self.site.world.plans.clear()

    def note(self, call: Call, n: int, delivery: Delivery | None, says: str) -> None:
        """A request for this call was answered."""
        told = None if delivery is None else delivery.value
        call.deliveries.append(Sent(self.life[n], says, told))

    def check(self, answer: Answer, says: str, call: Call | None) -> None:
        """The answer is the one that the table says."""
        assert answer.disposition is SAYS[says], (answer, says, call)
        error = answer.outcome.error
        if says == "conflict":
            assert error is not None
            assert (error.code, error.origin) == (Code.INVALID_ARGUMENT, Origin.CLIENT)
        elif says == "gone":
            assert error is not None
            assert (error.code, error.applied) == (Code.FAILED_PRECONDITION, Applied.YES)
        else:
            assert call is not None
            self.check_outcome(answer, call)

    def check_outcome(self, answer: Answer, call: Call) -> None:
        """It tells how the call ended."""
        error = answer.outcome.error
        assert answer.outcome.status is Status(call.state), (answer, call)
        assert (None if error is None else error.applied.value) == call.applied, (answer, call)
        if error is None and call.effect is not Effect.SAFE:
            assert answer.outcome.result == {"number": call.number}, (answer, call)

    def running(self) -> list[Call]:
        """The calls that a live server runs."""
        return [each for each in self.calls if each.state == "running" and not each.orphan]

    def answered(self, call: Call) -> None:
        """Whoever waited for a call is told of its end; nobody has read it yet."""
        for each in [each for each in self.waiting if each.call is call]:
            self.waiting.remove(each)
            assert each.sending.answer is not None, (each, call)
            expected = Disposition.RAN if each.origin else Disposition.JOINED
            assert each.sending.answer.disposition is expected
            self.check_outcome(each.sending.answer, call)

    def alone(self, each: Waiting) -> bool:
        """Whether nobody else waits for the run in the server that runs it."""
        mates = [
            other
            for other in self.waiting
            if other.call is each.call
            and other is not each
            and other.sent.server == each.call.server
        ]
        return not mates and each.sent.server == each.call.server
