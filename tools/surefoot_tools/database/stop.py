"""Work on a connection to a server, stopped in the database when its caller goes away.

Before it: an engine. A statement that is only left alone would go on and hold its locks; so
cancellation and deadline reach the server as a request to cancel, and the answer is waited for, so
that what became of the work is known. The counterpart for threads is `interruption.py`.
"""

import asyncio  # noqa: TID251 -- the drivers run on asyncio alone
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.lowlevel

from surefoot_tools.database.interruption import stopped_error
from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.tool import Context

T = TypeVar("T")

CANCEL_EVERY = 0.5
"""Seconds between two cancel requests: one that comes between two statements stops nothing."""

CANCEL_GRACE = 5.0
"""Seconds that the server may take to stop a statement; then the connection is closed."""


def require_asyncio(kind: str) -> None:
    """The event loop of the drivers runs.

    Raises:
        ToolError: it does not; anyio runs on another one.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError as error:
        raise ToolError(
            Code.UNIMPLEMENTED,
            f"the driver of {kind} runs on the event loop of asyncio alone",
            origin=Origin.SERVER,
            hint="run the server with anyio's backend 'asyncio', its default",
        ) from error


class Stop:
    """Whether the work should stop; shared by it and its caller.

    Args:
        seconds: How long the work may take; `math.inf` for as long as it wants.
    """

    def __init__(self, seconds: float) -> None:
        self.ends = anyio.current_time() + seconds
        """Of anyio's clock."""
        self.cancel: Callable[[], Awaitable[None]] | None = None
        """Asks the server to stop the statement that runs on the connection, if one does. None
        while there is no connection. It raises nothing: a server that cannot be reached is left to
        the grace."""
        self.scope = anyio.CancelScope(shield=True)
        """Of the work."""
        self.certain = True
        """Whether stopping it now leaves nothing behind."""
        self._asked = False
        self._final = False
        self._done = anyio.Event()

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.ends - anyio.current_time())

    @property
    def asked(self) -> bool:
        """Whether the work should stop."""
        return not self._final and (self._asked or self.remaining == 0)

    def check(self) -> None:
        """Before each statement.

        Raises:
            ToolError: the work should stop.
        """
        if self.asked:
            raise self.error()

    def begin_final_step(self) -> None:
        """The step that cannot be stopped half-way (COMMIT) begins; from now on it is let finish.

        Raises:
            ToolError: it must not begin, for the work should stop.
        """
        self.check()
        self._final = True

    def finish(self) -> None:
        """The work is over, one way or another."""
        self._done.set()

    def error(self) -> ToolError:
        """Why the work stopped, and whether anything of it is left."""
        return stopped_error(timed_out=self.remaining == 0, certain=self.certain)

    async def ask(self) -> None:
        """Ask the work to stop, and wait until it has; without effect on a final step."""
        if self._final or self._done.is_set():
            return
        self._asked = True
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(CANCEL_GRACE):
                while not self._done.is_set():
                    await self._request_cancel()
                    with anyio.move_on_after(CANCEL_EVERY):
                        await self._done.wait()
            if not self._done.is_set() and not self._final:
                self.scope.cancel()

    async def _request_cancel(self) -> None:
        if self.cancel is None:
            self.scope.cancel()  # it is still connecting
        else:
            await self.cancel()


async def _ask_when_cancelled(stop: Stop) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        await stop.ask()


async def _run(job: Callable[[Stop], Awaitable[T]], stop: Stop, results: list[T]) -> None:
    try:
        with stop.scope:
            results.append(await job(stop))
    finally:
        stop.finish()


async def run_stoppably(
    job: Callable[[Stop], Awaitable[T]], *, timeout: float, context: Context
) -> T:
    """Run `job` for at most `timeout` seconds and until `context.deadline`.

    A job that ended well in spite of a cancellation gives its result: its effect is there. One that
    did not leaves what became of it in `context.interrupted`.

    Raises:
        ToolError: what the job raised, or DEADLINE_EXCEEDED.
    """
    seconds = min(timeout, context.deadline - anyio.current_time())
    stop = Stop(seconds)
    results: list[T] = []
    failure: ToolError | None = None
    try:
        with anyio.CancelScope(deadline=stop.ends if math.isfinite(seconds) else math.inf):
            async with anyio.create_task_group() as group:
                group.start_soon(_ask_when_cancelled, stop)
                try:
                    await _run(job, stop, results)
                except ToolError as error:
                    failure = error
                group.cancel_scope.cancel()
    except anyio.get_cancelled_exc_class():
        if not results:
            context.interrupted = failure or stop.error()
            raise
    if results:
        return results[0]
    error = failure or stop.error()
    # The job may have been waited for to its end before the caller's cancellation could be seen.
    context.interrupted = error
    await anyio.lowlevel.checkpoint_if_cancelled()
    context.interrupted = None
    raise error
