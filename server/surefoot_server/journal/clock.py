"""The journal's clock: the wall clock, but it never goes back.

Retention and doubt compare times that were written with times that are read. A wall clock that is
set back by a day would keep what was written for that day longer, and hide it from doubt as long.
So this one goes on from the latest time seen, at the pace of the monotonic clock, until the wall
has caught up. A wall clock that is set forward is followed: nobody can tell it from time that
passed.
"""

import threading
import time
from collections.abc import Callable


class Clock:
    """Seconds since the epoch.

    Args:
        wall: Seconds since the epoch, as the machine has them.
        monotonic: Seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._latest = 0.0
        self._at = monotonic()
        self._lock = threading.Lock()  # the event loop and the writer both ask

    def __call__(self) -> float:
        """Now; not less than any time before."""
        with self._lock:
            at = self._monotonic()
            self._latest = max(self._wall(), self._latest + max(0.0, at - self._at))
            self._at = at
            return self._latest

    def advance(self, latest: float) -> None:
        """Learn of a time that was written; now is not before it."""
        with self._lock:
            self._latest = max(self._latest, latest)
