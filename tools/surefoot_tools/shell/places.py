"""How many commands run at once: the next ones queue, and those beyond the queue are refused."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from surefoot_tools.errors import Code, Origin, ToolError

AT_ONCE = 32
"""Commands that calls wait for at once; more than one model asks for in a turn."""
QUEUE = 96
"""Commands that wait for a place."""
JOBS = 64
"""Jobs that run at once; each costs a process of some megabytes besides its own."""


class Places:
    """Places for commands that somebody waits for.

    Args:
        at_once: How many there are.
        queue: How many may wait for one.
    """

    def __init__(self, at_once: int = AT_ONCE, queue: int = QUEUE) -> None:
        self._at_once = at_once
        self._queue = queue
        self._free = anyio.Semaphore(at_once)

    @asynccontextmanager
    async def one(self, wait: float) -> AsyncGenerator[None]:
        """Hold a place.

        Args:
            wait: Seconds to queue for it at most.

        Raises:
            ToolError: the queue is full, or did not move in time; nothing has begun.
        """
        await self._take(wait)
        try:
            yield
        finally:
            self._free.release()

    async def _take(self, wait: float) -> None:
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            hint = "Wait for some of them to end, or start long ones with start_job."
            if self._free.statistics().tasks_waiting >= self._queue:
                raise no_place(
                    f"{self._at_once} commands run and {self._queue} wait", hint
                ) from None
            with anyio.move_on_after(wait) as patience:
                await self._free.acquire()
            if patience.cancelled_caught:
                raise no_place(
                    f"{self._at_once} commands run, and none ended in {wait:.0f} s", hint
                ) from None


def no_place(why: str, hint: str) -> ToolError:
    """The error of a command that has not begun because too many run."""
    return ToolError(
        Code.RESOURCE_EXHAUSTED,
        f"no place for another command: {why}",
        origin=Origin.SERVER,
        hint=hint,
    )
