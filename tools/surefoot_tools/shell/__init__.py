"""The shell tools."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surefoot_tools.files.roots import Roots
from surefoot_tools.sandbox.sandbox import Sandbox
from surefoot_tools.shell.jobs import Jobs
from surefoot_tools.shell.list_jobs import ListJobs
from surefoot_tools.shell.places import Places
from surefoot_tools.shell.read_job import ReadJob
from surefoot_tools.shell.run_command import RunCommand
from surefoot_tools.shell.start_job import StartJob
from surefoot_tools.shell.stop_job import StopJob
from surefoot_tools.shell.write_job import WriteJob
from surefoot_tools.tool import Tool

__all__ = ["shell_tools"]


def shell_tools(
    roots: Roots,
    environment: Mapping[str, str],
    jobs: Path,
    grace: float = 30.0,
    job_grace: float | None = 30.0,
    sandbox: Sandbox | None = None,
) -> list[Tool[Any, Any]]:
    """The shell tools over these roots; commands see the harmless part of `environment`.

    Jobs of servers that are gone are held from here on.

    Args:
        roots: Where commands may start.
        environment: The server's own.
        jobs: Where the records of commands are kept, for all servers of a state directory.
        grace: Seconds that a command lives on when its server has died.
        job_grace: The same for jobs; None for ever.
        sandbox: Confines the commands; by default they are not confined.
    """
    folder = Jobs(jobs, grace, environment, job_grace, sandbox)
    folder.adopt()
    places = Places()
    return [
        RunCommand(roots, environment, folder, places),
        StartJob(roots, environment, folder, places),
        ReadJob(folder),
        WriteJob(folder),
        StopJob(folder),
        ListJobs(folder),
    ]
