"""Calls that are being carried out, and who waits for them.

A call with an effect runs in a task of its own and not in its request's: several requests may wait
for one run. What ends a run early, besides its own deadline (DESIGN.md, section 3):

- a cancel, when nobody else waits: at once;
- a lost connection: at once without a key; with one after the grace, so that the key can come back;
- the orderly end of the server: what has a key may still end by itself for a while.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import anyio.abc

from surefoot_server.call import Answer, Connection

DRAIN = 5.0
"""Seconds that calls have to end or be killed when the server ends."""
KILL = 2.0
"""Of them, the seconds for killing what did not end by itself, and for recording that."""


class RunStopped(Exception):
    """The run that a request waited for was stopped by somebody else."""


@dataclass(slots=True, eq=False)
class Run:
    """A call that is being carried out, and how many requests wait for it."""

    call_id: str
    name: tuple[str, str] | None
    """Principal and key; None of a call without a key."""
    fingerprint: str | None
    begun: anyio.Event = field(default_factory=anyio.Event)
    """Set once the journal knows the call, or never will."""
    known: bool = False
    """Whether it does."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    done: anyio.Event = field(default_factory=anyio.Event)
    waiters: int = 0
    ended: bool = False
    """Whether it came to its own end; not so when it was cancelled."""
    answer: Answer | None = None
    failure: Exception | None = None

    def outcome(self) -> Answer | None:
        """What it came to; None when the call was changed by others meanwhile.

        Raises:
            RunStopped: it was cancelled.
        """
        if self.failure is not None:
            raise self.failure
        if not self.ended:
            raise RunStopped
        return self.answer


class Runs:
    """The runs of one server; their tasks live in `tasks`.

    Args:
        tasks: Owned by the executor.
        grace: Seconds that a keyed run is kept when its connection is gone.
        elsewhere: Whether a request in another server waits for a call.
    """

    def __init__(
        self,
        tasks: anyio.abc.TaskGroup,
        grace: float,
        elsewhere: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._tasks = tasks
        self._grace = grace
        self._elsewhere = elsewhere
        self._live: dict[str, Run] = {}
        self._named: dict[tuple[str, str], Run] = {}

    def under(self, principal: str, key: str | None) -> Run | None:
        """The run of the call that a key names."""
        return None if key is None else self._named.get((principal, key))

    def of(self, call_id: str) -> Run | None:
        """The run of a call."""
        return self._live.get(call_id)

    def start(self, run: Run, step: Callable[[], Awaitable[Answer | None]]) -> None:
        """Carry out a step of a call in a task of its own."""
        self._live[run.call_id] = run
        if run.name is not None:
            self._named[run.name] = run
        self._tasks.start_soon(self._host, run, step, name=f"call {run.call_id}")

    async def _host(self, run: Run, step: Callable[[], Awaitable[Answer | None]]) -> None:
        try:
            with run.scope:
                run.answer = await step()
                run.ended = True
        except Exception as e:
            run.failure = e
        finally:
            run.known = run.begun.is_set()
            run.begun.set()
            if self._live.get(run.call_id) is run:
                del self._live[run.call_id]
            if run.name is not None and self._named.get(run.name) is run:
                del self._named[run.name]
            run.done.set()

    async def wait(
        self,
        run: Run,
        connection: Connection,
        *,
        patience: float = math.inf,
        note: Callable[[], Awaitable[None]] | None = None,
    ) -> bool:
        """Wait for the end of a run; the last one to go away may take the run with it.

        Args:
            run: What to wait for.
            connection: Of the request that waits.
            patience: Seconds; a caller whose patience ends has not gone away, its run goes on.
            note: Done once the call is known, by who joins; who joins counts from now on: nobody
                else's going away may end the run meanwhile.

        Returns:
            Whether it ended.
        """
        run.waiters += 1
        try:
            with anyio.move_on_after(patience):
                await run.begun.wait()
                if note is not None and not run.done.is_set():
                    await note()
                await run.done.wait()
            return run.done.is_set()
        except anyio.get_cancelled_exc_class():
            if run.waiters == 1:
                await self._leave(run, connection)
            raise
        finally:
            run.waiters -= 1

    async def _leave(self, run: Run, connection: Connection) -> None:
        """The last request that waited is going away."""
        with anyio.CancelScope(shield=True):
            if (connection.lost and run.name is not None) or await self._elsewhere(run.call_id):
                self.keep(run)
                return
            run.scope.cancel()
            # What became of it is recorded before this request is over.
            with anyio.move_on_after(DRAIN):
                await run.done.wait()

    def keep(self, run: Run) -> None:
        """Keep a run that nobody waits for until the grace is over."""
        self._tasks.start_soon(self._end_after_grace, run, name=f"grace of {run.call_id}")

    async def _end_after_grace(self, run: Run) -> None:
        while True:
            with anyio.move_on_after(self._grace):
                await run.done.wait()
            # Whoever joined meanwhile counts as waiting, and decides when going away.
            if run.done.is_set() or run.waiters > 0:
                return
            if not await self._elsewhere(run.call_id):
                run.scope.cancel()
                return

    async def drain(self) -> None:
        """End in order, within `DRAIN` seconds: first by themselves, then by cancelling."""
        with anyio.CancelScope(shield=True):
            for run in list(self._live.values()):
                if run.name is None:
                    run.scope.cancel()
            with anyio.move_on_after(DRAIN - KILL):
                await self._all_done()
            for run in list(self._live.values()):
                run.scope.cancel()
            with anyio.move_on_after(KILL):
                await self._all_done()

    async def _all_done(self) -> None:
        for run in list(self._live.values()):
            await run.done.wait()
