"""What a server does unasked: settle calls and jobs, and drop what is past its time."""

import itertools
from dataclasses import replace

import anyio

from surefoot_server import log
from surefoot_server.call import Answer
from surefoot_server.execution import Execution
from surefoot_server.journal.records import Entry, Journal, JournalUnavailable
from surefoot_server.policy import Policy
from surefoot_server.runs import Run, Runs
from surefoot_server.work import Unsettled

_log = log.get("housekeeping")

EVERY = 60.0
"""Seconds between two rounds."""
FORGET = 60
"""Rounds between two looks into the users' databases for inbox rows past their time."""


class Housekeeping:
    """Rounds over the journal, the first one at the start of the server.

    Args:
        journal: Where calls are recorded.
        execution: Knows what became of a call.
        runs: A call that is looked into is a run: its key, coming back, joins it.
        scope: Digest of this server's roots; calls of others are left to servers that have theirs.
        policy: How long things are kept.
    """

    def __init__(
        self, journal: Journal, execution: Execution, runs: Runs, scope: str, policy: Policy
    ) -> None:
        self._journal = journal
        self._execution = execution
        self._runs = runs
        self._scope = scope
        self._policy = policy
        self._unsettled: dict[str, Entry] = {}

    async def go_on(self) -> None:
        """Make rounds until cancelled, and wait for the ends of jobs meanwhile."""
        async with anyio.create_task_group() as tasks:
            self._execution.jobs.follow_in(tasks)
            for number in itertools.count(1):
                await self._round(number)
                await anyio.sleep(EVERY)

    async def _round(self, number: int) -> None:
        try:
            await self._execution.pay()
            await self._execution.jobs.settle()
            await self.recover()
            await self.retain()
            if number % FORGET == 0:
                await self.forget()
        except JournalUnavailable as e:
            _log.warning("no housekeeping while the journal is unavailable", reason=str(e))
        except Exception:  # a bug here must not end the server, with every call in it
            _log.exception("bug in the housekeeping")

    async def retain(self) -> int:
        """Drop what is past its time; how many rows of the journal that were."""
        return await self._journal.retain(self._policy.retention, self._journal.now())

    async def forget(self) -> None:
        """Drop what the tools keep elsewhere for calls that the journal has forgotten."""
        await self._execution.forget(self._journal.now() - self._policy.retention.keys)

    async def recover(self) -> None:
        """Look into every call whose server died; what still runs is adopted for the grace."""
        again = list(self._unsettled.values())
        self._unsettled.clear()
        for seen in [*again, *await self._journal.orphans()]:
            if self._is_ours(seen) and self._runs.of(seen.call_id) is None:
                await self._look_into(seen)

    def _is_ours(self, seen: Entry) -> bool:
        return seen.scope == self._scope and self._execution.reaches(seen)

    async def _look_into(self, seen: Entry) -> None:
        name = None if seen.key is None else (seen.principal, seen.key)
        run = Run(seen.call_id, name, seen.fingerprint)
        adopted = anyio.Event()

        async def step() -> Answer | None:
            try:
                return await self._execution.settle(seen, run.begun, adopted)
            except Unsettled as e:
                run.failure = e
                raise
            finally:
                adopted.set()

        self._runs.start(run, step)
        # Waiting for what only takes a look keeps the rounds short of tasks; what runs on, runs on.
        await adopted.wait()
        if isinstance(run.failure, Unsettled):
            self._unsettled[seen.call_id] = replace(seen, owner=self._journal.owner)
        elif not run.done.is_set():
            self._runs.keep(run)
