"""What the tools on a job that is there share: its name, and whose it is."""

from pydantic import Field

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.shell.attendance import Attendance
from surefoot_tools.shell.jobs import Jobs
from surefoot_tools.shell.record import Begun, Record
from surefoot_tools.tool import Context

JOB_ID = Field(min_length=1, max_length=64, description="From run_command or start_job.")


class OnJob:
    """A tool on a job that somebody began.

    Args:
        jobs: Where they are.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def _find(self, job: str, context: Context) -> tuple[Record, Begun]:
        """The record of a job of the caller's.

        Raises:
            ToolError: there is none.
        """
        return self._jobs.of(job, context.principal)

    def _reach(self, record: Record) -> Attendance:
        """A hold on a job that runs.

        Raises:
            ToolError: it has ended.
        """
        held = Attendance.adopt(record.folder)
        if held is None:
            state, _ = record.state()
            raise ToolError(
                Code.FAILED_PRECONDITION,
                f"job {record.folder.name} does not run any more: {state}",
                hint="read_job has what it printed.",
            )
        return held
