"""Jobs: effects that go on after the call that began them; the seam to who accounts for them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class JobState(StrEnum):
    """Where a job stands. All but the first are its end."""

    RUNNING = "running"
    EXITED = "exited"
    """It came to its own end."""
    TIMED_OUT = "timed_out"
    """Its own timeout, or the deadline of whoever waited for it, was over."""
    STOPPED = "stopped"
    """Somebody ended it, or nobody came for it."""
    LOST = "lost"
    """Its supervisor died, so nobody recorded its end."""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended."""

    state: JobState
    """Any but `running`."""
    exit_code: int | None = None
    """None when a signal ended it, or nobody knows."""
    signal: str | None = None
    at: float | None = None
    """Seconds since the epoch; None: nobody recorded it."""


class JobRecords(Protocol):
    """What is left on disk of the jobs of one place."""

    @property
    def place(self) -> str:
        """Names the place: only servers that have it can look. Empty: it cannot be told now."""
        ...

    def end_of(self, job: str) -> JobEnd | None:
        """How a job of this place ended; None while it runs, or if nobody can look now."""
        ...

    async def wait(self, job: str) -> None:
        """Wait until a job has ended; it does not live longer for that.

        Raises:
            OSError: nobody can look now.
        """
        ...
