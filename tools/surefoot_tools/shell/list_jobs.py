"""`list_jobs`: the jobs that are there."""

import time
from typing import ClassVar

from pydantic import BaseModel

from surefoot_tools.jobs import JobState
from surefoot_tools.shell.ending import status_of
from surefoot_tools.shell.job import OnJob
from surefoot_tools.shell.output import come
from surefoot_tools.shell.record import Begun, Record
from surefoot_tools.tool import Arguments, Context, Effect, Evidence, Group, Result, Tool

MOST = 100
"""Jobs that are listed, newest first."""


class ListJobsArguments(Arguments):
    """`list_jobs` has none."""


class Job(BaseModel):
    """One job."""

    job_id: str
    state: JobState
    command: str
    """Without the secrets that are known for such."""
    pid: int
    age: float
    """Seconds since it began."""
    bytes: int
    """Bytes that it printed."""
    exit_code: int | None


class ListJobsResult(Result):
    """The jobs, newest first."""

    jobs: list[Job]

    def as_text(self) -> str:
        """A line for each."""
        lines = [
            f"{job.job_id} {job.state}"
            + (f" ({job.exit_code})" if job.exit_code is not None else "")
            + f", {_span(job.age)} old, {job.bytes} bytes: {job.command}"
            for job in self.jobs
        ]
        return "\n".join(lines) or "no jobs"


class ListJobs(OnJob, Tool[ListJobsArguments, ListJobsResult]):
    """Lists what `start_job` began, and what `run_command` handed over."""

    name: ClassVar[str] = "list_jobs"
    title: ClassVar[str] = "List jobs"
    description: ClassVar[str] = (
        "List jobs with state, age and command: those of start_job, and commands that outlived"
        " run_command's wait. Ended ones stay for a day at most."
    )
    group: ClassVar[Group] = Group.SHELL
    effect: ClassVar[Effect] = Effect.SAFE
    Arguments = ListJobsArguments
    Result = ListJobsResult

    async def run(
        self, arguments: ListJobsArguments, evidence: Evidence, context: Context
    ) -> ListJobsResult:
        """Look into each one's folder."""
        jobs = self._jobs.all_of(context.principal)[:MOST]
        return ListJobsResult(jobs=[_job(*each) for each in jobs])


def _job(name: str, record: Record, begun: Begun) -> Job:
    state, ended = record.state()
    return Job(
        job_id=name,
        state=state,
        command=begun.command,
        pid=begun.pid,
        age=round(time.time() - begun.began, 1),
        bytes=come(record, ended),
        exit_code=status_of(ended)[0],
    )


def _span(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"
