"""Blocking database work in a thread, stopped in the database when its caller goes away.

Before it: an engine. A thread cannot be cancelled, a statement can: cancellation and deadline reach
the database as an interrupt, and the thread is always waited for, so that what became of the work
is known.
"""

import math
import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.tool import Context

T = TypeVar("T")


class Interruptible(Protocol):
    """What can be told, from another thread, to stop what it does."""

    def interrupt(self) -> None:
        """Stop the statement that runs, if one does."""
        ...


class Interruption:
    """Whether work in a thread should stop; shared by that thread and its caller's.

    Args:
        seconds: How long the work may take; `math.inf` for as long as it wants.
    """

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._target: Interruptible | None = None
        self._asked = False
        self._final = False

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._ends - time.monotonic())

    def attach(self, target: Interruptible) -> None:
        """From now on `ask` interrupts this, until `detach`."""
        with self._lock:
            self._target = target

    def detach(self) -> None:
        """Must come before the target is closed: interrupting a closed connection is undefined."""
        with self._lock:
            self._target = None

    def ask(self) -> None:
        """Ask the work to stop; without effect from `begin_final_step` on. From any thread."""
        with self._lock:
            if self._final:
                return
            self._asked = True
            if self._target is not None:
                self._target.interrupt()

    def should_stop(self) -> bool:
        """Whether the work should stop now; cheap, for a progress handler."""
        return not self._final and (self._asked or time.monotonic() >= self._ends)

    def check(self) -> None:
        """Between two statements, where an interrupt finds nothing to stop.

        Raises:
            ToolError: the work should stop.
        """
        if self.should_stop():
            raise self.error()

    def begin_final_step(self) -> None:
        """The step that cannot be stopped half-way (COMMIT) begins; from now on it is let finish.

        Raises:
            ToolError: it must not begin, for the work should stop.
        """
        with self._lock:
            if self._asked or time.monotonic() >= self._ends:
                raise self.error()
            self._final = True

    def error(self) -> ToolError:
        """Why the work stopped: nothing of it is left."""
        return stopped_error(timed_out=time.monotonic() >= self._ends)


def stopped_error(*, timed_out: bool, certain: bool = True) -> ToolError:
    """Why work stopped: out of time, or cancelled.

    Args:
        timed_out: Whether the time was over.
        certain: Whether nothing is left of the work.
    """
    if not certain:
        return ToolError(
            Code.DEADLINE_EXCEEDED if timed_out else Code.CANCELLED,
            "stopped in the middle of a statement that commits by itself; whether it was carried"
            " out is not known",
            applied=Applied.UNKNOWN,
            hint="look at what is there, or repeat the call under the same key",
        )
    if not timed_out:
        return ToolError(
            Code.CANCELLED, "cancelled before the end; nothing was changed", applied=Applied.NO
        )
    return ToolError(
        Code.DEADLINE_EXCEEDED,
        "the time for this call was over before the database was done; nothing was changed",
        applied=Applied.NO,
        hint="narrow the statement (WHERE, LIMIT, an index), or pass a larger `timeout`",
    )


async def _ask_when_cancelled(interruption: Interruption) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        interruption.ask()


async def run_interruptibly(
    job: Callable[[Interruption], T],
    *,
    timeout: float,
    context: Context,
    limiter: anyio.CapacityLimiter,
) -> T:
    """Run `job` in a thread for at most `timeout` seconds and until `context.deadline`.

    A job that ended well in spite of a cancellation gives its result: its effect is there. One that
    did not leaves what became of it in `context.interrupted`.

    Raises:
        ToolError: what the job raised, or DEADLINE_EXCEEDED.
    """
    seconds = min(timeout, context.deadline - anyio.current_time())
    interruption = Interruption(seconds)
    results: list[T] = []
    failures: list[ToolError] = []

    def work() -> None:
        try:
            results.append(job(interruption))
        except ToolError as error:
            failures.append(error)

    deadline = anyio.current_time() + seconds if math.isfinite(seconds) else math.inf
    try:
        with anyio.CancelScope(deadline=deadline):
            async with anyio.create_task_group() as group:
                group.start_soon(_ask_when_cancelled, interruption)
                await anyio.to_thread.run_sync(work, limiter=limiter)
                group.cancel_scope.cancel()
    except anyio.get_cancelled_exc_class():
        if not results:
            context.interrupted = failures[0] if failures else interruption.error()
            raise
    if results:
        return results[0]
    # Without a failure, the time was over while it waited for a thread.
    error = failures[0] if failures else stopped_error(timed_out=True)
    # The job may have been waited for to its end before the caller's cancellation could be seen.
    context.interrupted = error
    await anyio.lowlevel.checkpoint_if_cancelled()
    context.interrupted = None
    raise error
