"""Waiting for what another process does, which nobody can be told of."""

from collections.abc import Awaitable, Callable

import anyio

PAUSE = 0.01
"""Seconds between looks."""


async def until(claim: Callable[[], bool], bound: float = 20) -> None:
    """Wait until something is so.

    Args:
        claim: Looks.
        bound: Seconds; more than it could ever take.

    Raises:
        TimeoutError: it never was.
    """
    with anyio.fail_after(bound):
        for _ in iter(claim, True):
            await anyio.sleep(PAUSE)


async def until_asked(claim: Callable[[], Awaitable[bool]], bound: float = 20) -> None:
    """The same for what has to be asked for."""
    with anyio.fail_after(bound):
        for _ in iter(int, 1):
            if await claim():
                return
            await anyio.sleep(PAUSE)
