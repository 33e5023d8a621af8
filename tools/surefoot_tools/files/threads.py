"""Blocking file work, away from the event loop and bounded."""

from collections.abc import Callable
from typing import TypeVar

import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import RunVar

THREADS = 8
"""File operations at a time; more only queue up at the disk."""

T = TypeVar("T")

_limiter: RunVar[anyio.CapacityLimiter] = RunVar("surefoot_files_limiter")


def limiter() -> anyio.CapacityLimiter:
    """The file tools' own limiter, one for each event loop."""
    try:
        return _limiter.get()
    except LookupError:
        made = anyio.CapacityLimiter(THREADS)
        _limiter.set(made)
        return made


async def in_thread(function: Callable[[], T]) -> T:
    """Call `function` in a worker thread; a cancelled caller waits until it has returned."""
    return await anyio.to_thread.run_sync(function, limiter=limiter())


def stop_if_cancelled() -> None:
    """In a thread of `in_thread`: end here when the caller was cancelled."""
    anyio.from_thread.check_cancelled()
