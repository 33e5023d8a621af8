"""Effects on one path follow one another, among all servers of one state directory."""

import fcntl
import hashlib
import os
import unicodedata
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.os_errors import translated

STRIPES = 1024
"""Lock files in all; two paths that share one wait for each other without need, no more."""
FIRST_WAIT = 0.001
"""Seconds until the first second look at a lock that another server holds."""
LONGEST_WAIT = 0.05
"""Seconds between two looks, at most."""


def stripe_of(place: str) -> int:
    """The lock of a canonical path; spellings that a file system may take for one share it."""
    name = unicodedata.normalize("NFC", place).casefold()
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:4], "big") % STRIPES


class PathLocks:
    """Locks on paths, held by calls of this process and of others with the same directory.

    In one process callers wait in order, without polling; between processes a `flock(2)` decides,
    which the kernel frees when its holder dies. Several paths are taken in one order everywhere, so
    that no two calls wait for each other.

    Args:
        directory: Where the lock files live; made when it is not there. Not visible to commands.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._turns: dict[int, anyio.Semaphore] = {}

    @asynccontextmanager
    async def hold(self, places: Iterable[str], deadline: float) -> AsyncGenerator[None, None]:
        """Hold the locks of these canonical paths for the block.

        Args:
            places: Canonical paths, in any order, of any number.
            deadline: When to give up, on anyio's clock; `math.inf` for never.

        Raises:
            ToolError: UNAVAILABLE, `applied` no: another call held one past the deadline, or the
                lock file cannot be opened.
        """
        async with AsyncExitStack() as stack:
            with anyio.CancelScope(deadline=deadline) as waiting:
                for stripe in sorted({stripe_of(place) for place in places}):
                    await self._take(stripe, stack)
            if waiting.cancelled_caught:
                raise ToolError(
                    Code.UNAVAILABLE, "another call is changing this path and has not ended"
                )
            yield

    async def _take(self, stripe: int, stack: AsyncExitStack) -> None:
        # A semaphore, not anyio.Lock: what `prepare` takes may be given back by another task.
        turn = self._turns.setdefault(stripe, anyio.Semaphore(1, max_value=1))
        await turn.acquire()
        stack.callback(turn.release)
        descriptor = self._open(stripe)
        stack.callback(os.close, descriptor)
        wait = FIRST_WAIT
        while not _try_lock(descriptor):
            await anyio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)
        # Said aloud, because a child between fork and exec shares the descriptor for a moment.
        stack.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)

    def _open(self, stripe: int) -> int:
        name = f"{stripe:03x}.lock"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(
                self._directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError as error:
            reason = translated(error, name)
            raise ToolError(
                Code.UNAVAILABLE, f"the lock of this path cannot be opened: {reason.message}"
            ) from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ToolError(
            Code.UNAVAILABLE, f"the lock of this path cannot be taken: {error.strerror}"
        ) from error
    return True
