"""One thread that writes: it commits in groups what callers ask for while it was committing.

Group commit needs no timer: whatever queued up during one flush goes into the next. One connection
writes and checkpoints, which also keeps clear of the WAL-reset bug of SQLite before 3.51.3.
"""

import asyncio  # noqa: TID251 - a thread wakes its waiters by `call_soon_threadsafe`
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from surefoot_server.journal.chain import Chain, Store
from surefoot_server.journal.records import JournalUnavailable
from surefoot_server.journal.spool import Line, Spool, Taken

T = TypeVar("T")
Operation = Callable[[Store], Any]
LARGEST_GROUP = 256
"""Operations in one transaction at most."""


class Database(Store, Protocol):
    """A connection that one thread writes with; see `SqliteDatabase` and `PostgresDatabase`."""

    def begin(self, *, durable: bool) -> None:
        """Begin a transaction that no other writer shares; flushed at its commit if `durable`."""
        ...

    def commit(self) -> None:
        """Commit it; when this returns, it is committed."""
        ...

    def rollback(self) -> None:
        """Take it back, if there is one."""
        ...

    def step(self, operation: Callable[[Store], T]) -> T:
        """Run one operation so that its failure takes back its own rows alone."""
        ...

    def is_lost(self, error: Exception) -> bool:
        """Whether an error is the whole database's trouble and not that of one operation."""
        ...

    def make_room(self) -> bool:
        """Give up what is held in reserve, so that an outcome can be written; False if none is."""
        ...

    def restore_reserve(self) -> None:
        """Hold something in reserve again, if there is room."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


@dataclass(slots=True)
class _Job:
    operation: Operation
    durable: bool
    vital: bool
    """It ends something that has happened: what is held in reserve is for it."""
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


class _OneRefused(Exception):
    """An operation failed that has no savepoint of its own."""


Step = Callable[[Operation], Any]
"""Runs one operation."""


class Groups:
    """Commits groups of operations on one database; `Writer` feeds it from a thread.

    Args:
        database: Used by one thread at a time.
        chain: Of this instance; sealed in each transaction.
        spool: Folded into each transaction; None where there is none.
        fold: Folds its lines.
        first: Runs at the head of each transaction, for what must be known before anything is
            written; None where nothing must.
    """

    def __init__(
        self,
        database: Database,
        chain: Chain,
        spool: Spool | None,
        fold: Callable[[Store, list[Line]], None],
        first: Callable[[Store], None] | None = None,
    ) -> None:
        self._database = database
        self._chain = chain
        self._spool = spool
        self._fold = fold
        self._first = first

    def commit(self, group: list[_Job]) -> None:
        """Commit a group; each job then has its value or its error."""
        taken = self._spool.take() if self._spool is not None else None
        try:
            self._try(group, taken)
        except Exception as e:  # the thread must not end of it, for everybody waits for the thread
            vital = [job for job in group if job.vital]
            if vital and self._database.make_room():
                self._refuse([job for job in group if not job.vital], e)
                self._commit_vital(vital)
            else:
                self._refuse(group, e)
            if taken is not None and self._spool is not None:
                self._spool.put_back(taken)
        else:
            if taken is not None and self._spool is not None:
                self._spool.done(taken)

    def _commit_vital(self, group: list[_Job]) -> None:
        try:
            self._try(group, None)
        except Exception as e:
            self._refuse(group, e)
        else:
            self._database.restore_reserve()

    def _try(self, group: list[_Job], taken: Taken | None) -> None:
        """Commit a group; a savepoint for each operation only where one of them is refused.

        Savepoints take a third of the writer's time, and nearly no operation is refused. What was
        begun without them is rolled back whole and done again with them.
        """
        try:
            self._transact(group, taken, self._plainly)
        except _OneRefused:
            self._transact(group, taken, self._database.step)

    def _plainly(self, operation: Callable[[Store], T]) -> T:
        try:
            return operation(self._database)
        except Exception as e:
            if self._database.is_lost(e):
                raise
            raise _OneRefused from e

    def _transact(self, group: list[_Job], taken: Taken | None, step: Step) -> None:
        for job in group:
            job.error = None
        self._database.begin(durable=any(job.durable for job in group))
        before = self._chain.mark()  # not earlier: `begin` may find that it stands elsewhere
        try:
            if self._first is not None:
                self._first(self._database)
            if taken is not None:
                self._fold_all(taken.lines, step)
            for job in group:
                self._run(job, step)
            if self._chain.mark() != before:
                self._chain.seal(self._database)
            self._database.commit()
        except BaseException:
            self._database.rollback()
            self._chain.reset(before)
            raise

    def _fold_all(self, lines: list[Line], step: Step) -> None:
        if lines and not self._folded(lines, step):
            # One that no column takes must not hold up the others for ever.
            for line in lines:
                self._folded([line], step)

    def _folded(self, lines: list[Line], step: Step) -> bool:
        mark = self._chain.mark()
        try:
            step(lambda store: self._fold(store, lines))
        except _OneRefused:
            raise
        except Exception as e:
            if self._database.is_lost(e):
                raise
            self._chain.reset(mark)
            return False
        return True

    def _run(self, job: _Job, step: Step) -> None:
        mark = self._chain.mark()
        try:
            job.value = step(job.operation)
        except _OneRefused:
            raise
        except JournalUnavailable as e:
            self._chain.reset(mark)
            job.error = e
        except Exception as e:
            if self._database.is_lost(e):
                raise
            # A value that no column takes, a constraint: this job's trouble.
            self._chain.reset(mark)
            job.error = JournalUnavailable(f"the journal refused a row: {e}")

    @staticmethod
    def _refuse(group: list[_Job], error: Exception) -> None:
        for job in group:
            job.error = JournalUnavailable(f"the journal cannot be written: {error}")


class Writer:
    """Runs operations on one database in a thread of its own, in the order they came.

    Args:
        database: Opened by the caller; from now on used by the thread alone.
        groups: Commits them.
    """

    def __init__(self, database: Database, groups: Groups) -> None:
        self._database = database
        self._groups = groups
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="journal", daemon=True)
        self._thread.start()

    def post(self, operation: Callable[[Store], object]) -> None:
        """Queue an operation without waiting for it."""
        self._jobs.put(_Job(operation, durable=False, vital=False, done=None))

    async def write(
        self, operation: Callable[[Store], T], *, durable: bool, vital: bool = False
    ) -> T:
        """Run an operation and return its value once it is committed.

        Raises:
            JournalUnavailable: it could not be committed; nothing of it is there.
        """
        if self._closed:  # nobody would ever answer
            raise JournalUnavailable("the journal is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(operation, durable, vital, done))
        return await done

    def close(self) -> None:
        """Write what is queued, then end the thread and close the connection."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self._database.close()

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
                self._groups.commit(group)
                _wake(group)


class Inline:
    """The same without a thread: for a journal in memory, where nothing can block.

    Args:
        database: Used by whoever calls.
        groups: Commits one operation at a time.
    """

    def __init__(self, database: Database, groups: Groups) -> None:
        self._database = database
        self._groups = groups

    def post(self, operation: Callable[[Store], object]) -> None:
        """Run an operation."""
        self._groups.commit([_Job(operation, durable=False, vital=False, done=None)])

    async def write(
        self, operation: Callable[[Store], T], *, durable: bool, vital: bool = False
    ) -> T:
        """Run an operation and return its value.

        Raises:
            JournalUnavailable: it could not be committed.
        """
        job = _Job(operation, durable, vital, None)
        self._groups.commit([job])
        if job.error is not None:
            raise job.error
        return job.value

    def close(self) -> None:
        """Nothing is queued."""


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
