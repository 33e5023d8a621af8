"""The rows of jobs: begun with the end of the call that leaves one behind, ended once.

Part of `execution` and of `housekeeping`. How a job ended is on disk; see `surefoot_tools.jobs`.
Every server that has the place looks there, and the journal takes what it is told first.
"""

from dataclasses import replace

import anyio.abc

from surefoot_server import log
from surefoot_server.containment import contained
from surefoot_server.journal.records import Job, Journal, JournalUnavailable
from surefoot_tools.jobs import JobEnd, JobRecords
from surefoot_tools.outcome import Outcome
from surefoot_tools.registry import AnyTool, Registry
from surefoot_tools.tool import Result

_log = log.get("jobs")


class JobRows:
    """The rows of the jobs that one server can look at.

    Args:
        journal: Where they are.
        registry: The tools that may leave jobs behind.
    """

    def __init__(self, journal: Journal, registry: Registry) -> None:
        self._journal = journal
        self._registry = registry
        self._followed: set[str] = set()
        self._tasks: anyio.abc.TaskGroup | None = None

    def follow_in(self, tasks: anyio.abc.TaskGroup) -> None:
        """From now on wait there for the end of each job, so that it is recorded at once."""
        self._tasks = tasks

    def left_by(
        self, tool: AnyTool, call_id: str, principal: str, outcome: Outcome, at: float
    ) -> Job | None:
        """The job that a call leaves behind, to be recorded with its end; None for most."""
        records = tool.job_records()
        if records is None or outcome.result is None or outcome.error is not None:
            return None
        name = tool.job_of(outcome.result)
        return None if name is None else Job(name, call_id, principal, tool.name, records.place, at)

    def begun(self, job: Job | None) -> None:
        """The row of a job is committed, so its end can be."""
        records = None if job is None else self._places().get(job.place)
        if job is not None and records is not None:
            self._follow(records, job)

    async def settle(self) -> None:
        """Record how jobs ended of which no end is recorded, and wait for those that run.

        Raises:
            JournalUnavailable: it cannot be read or written.
        """
        running = await self._journal.running_jobs()
        here = self._places() if running else {}
        for job in running:
            records = here.get(job.place)
            if records is not None and not await self._look(records, job):
                self._follow(records, job)

    async def refreshed(self, tool: AnyTool, result: Result, job: str) -> Result:
        """A stored result that names a job, as it would be given now."""
        try:
            end = await self._journal.job_end(job)
            return await contained(tool.refresh(result, end))
        except Exception:  # what is stored is true of the moment when it was
            _log.exception("a stored result could not be refreshed", tool=tool.name)
            return result

    def _places(self) -> dict[str, JobRecords]:
        found = [each.job_records() for each in self._registry]
        return {each.place: each for each in found if each is not None and each.place}

    async def _look(self, records: JobRecords, job: Job) -> bool:
        """Record how a job ended; False if it did not, as far as can be told now."""
        end = records.end_of(job.job_id)
        if end is None:
            return False
        await self._journal.end_job(job.job_id, _after(job, end))
        return True

    def _follow(self, records: JobRecords, job: Job) -> None:
        if self._tasks is not None and job.job_id not in self._followed:
            self._followed.add(job.job_id)
            self._tasks.start_soon(self._wait, records, job, name=f"job {job.job_id}")

    async def _wait(self, records: JobRecords, job: Job) -> None:
        """Wait for the end of a job; what goes wrong is left to the next round."""
        try:
            await records.wait(job.job_id)
            await self._look(records, job)
        except (OSError, JournalUnavailable) as e:
            _log.warning("the end of a job is not recorded yet", job=job.job_id, reason=str(e))
        except Exception:  # a bug here must not end the housekeeping, and the server with it
            _log.exception("bug in following a job", job=job.job_id)
        finally:
            self._followed.discard(job.job_id)


def _after(job: Job, end: JobEnd) -> JobEnd:
    """It may have ended while its call did, on another clock: never before it began."""
    return end if end.at is None else replace(end, at=max(end.at, job.at))
