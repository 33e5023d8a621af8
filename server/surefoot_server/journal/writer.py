"""One thread that writes: it commits in groups what callers ask for while it was committing.

Group commit needs no timer: whatever queued up during one flush goes into the next. One connection
writes and checkpoints, which also keeps clear of the WAL-reset bug of SQLite before 3.51.3.
"""

import asyncio  # noqa: TID251 - a thread wakes its waiters by `call_soon_threadsafe`
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import apsw

from surefoot_server.journal.records import JournalUnavailable

T = TypeVar("T")
Operation = Callable[[apsw.Connection], Any]
_WHOLE_FILE = (
    apsw.BusyError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
)
"""What is not one operation's trouble but the file's."""
LARGEST_GROUP = 256
"""Operations in one transaction at most."""


@dataclass(slots=True)
class _Job:
    operation: Operation
    durable: bool
    done: "asyncio.Future[Any] | None"
    value: Any = None
    error: Exception | None = None

    def resolve(self) -> None:
        if self.done is None or self.done.done():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.value)


class Writer:
    """Runs operations on one SQLite connection in a thread of its own, in the order they came.

    Args:
        connection: Opened by the caller; from now on used by the thread alone.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._synchronous = ""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._thread.start()

    def post(self, operation: Callable[[apsw.Connection], object]) -> None:
        """Queue an operation without waiting for it."""
        self._jobs.put(_Job(operation, durable=False, done=None))

    async def write(self, operation: Callable[[apsw.Connection], T], *, durable: bool) -> T:
        """Run an operation and return its value once it is committed.

        Raises:
            JournalUnavailable: it could not be committed; nothing of it is there.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(operation, durable, done))
        return await done

    def close(self) -> None:
        """Write what is queued, then end the thread and close the connection."""
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _serve(self) -> None:
        ended = False
        while not ended:
            job = self._jobs.get()
            group: list[_Job] = []
            while True:
                if job is None:
                    ended = True
                    break
                group.append(job)
                if len(group) == LARGEST_GROUP:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            if group:
                self._commit(group)
                _wake(group)

    def _commit(self, group: list[_Job]) -> None:
        try:
            # Cannot be changed inside a transaction; NORMAL still survives a kill, not a power cut.
            self._set_synchronous("FULL" if any(job.durable for job in group) else "NORMAL")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for job in group:
                    self._run(job)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        except Exception as e:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for job in group:
                job.error = JournalUnavailable(f"the journal cannot be written: {e}")

    def _run(self, job: _Job) -> None:
        # One failing operation takes its own rows back and not its neighbours'.
        try:
            with self._connection:
                job.value = job.operation(self._connection)
        except _WHOLE_FILE:
            raise
        except Exception as e:
            # A value that SQLite does not take, a constraint: this job's trouble. The thread must
            # not end of it, for everybody waits for the thread.
            job.error = JournalUnavailable(f"the journal refused a row: {e}")

    def _set_synchronous(self, level: str) -> None:
        if level != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous={level}")
            self._synchronous = level


def _wake(group: list[_Job]) -> None:
    waiting: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in group:
        if job.done is not None:
            waiting.setdefault(job.done.get_loop(), []).append(job)
    for loop, jobs in waiting.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, jobs)


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        job.resolve()
