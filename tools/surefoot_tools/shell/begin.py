"""What the tools that begin a command share: a name for it, and what its absence means."""

import os
import time
from collections.abc import Mapping
from typing import ClassVar, Protocol
from uuid import uuid4

from surefoot_tools.commandline.probes import is_probe
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.files.rooted import Rooted
from surefoot_tools.files.roots import Roots
from surefoot_tools.shell.boot import boot
from surefoot_tools.shell.command import place
from surefoot_tools.shell.environment import clean, refuse_code
from surefoot_tools.shell.jobs import KEPT, Jobs
from surefoot_tools.shell.places import Places
from surefoot_tools.shell.record import Record
from surefoot_tools.tool import Context, Evidence, Group, NotBegun, Recovery, Unknown

PROBE = "probe"
"""The name in the evidence that says of a command that it is known to only read."""


class _Arguments(Protocol):
    """Arguments that name a command."""

    @property
    def command(self) -> str | list[str]: ...
    @property
    def cwd(self) -> str: ...
    @property
    def env(self) -> dict[str, str]: ...


class Begins(Rooted):
    """A tool that begins a command.

    Args:
        roots: Where commands may start.
        environment: The server's own; only names that load no code are passed on.
        jobs: Where the supervisors leave their records.
        places: For commands that somebody waits for.
    """

    group: ClassVar[Group] = Group.SHELL

    def __init__(
        self, roots: Roots, environment: Mapping[str, str], jobs: Jobs, places: Places
    ) -> None:
        self._roots = roots
        self._environment = clean(environment)
        self.jobs = jobs
        """Where the records are."""
        self._places = places

    def job_records(self) -> Jobs:
        """See `Tool.job_records`."""
        return self.jobs

    def command(self, arguments: _Arguments) -> str | list[str]:
        """See `Tool.command`."""
        return arguments.command

    def _name_job(self, arguments: _Arguments) -> Evidence:
        """The evidence: which job it will be, where it will start, and whether it only reads.

        Raises:
            ToolError: it cannot start there, or with such an environment.
        """
        refuse_code(arguments.env)
        named: Evidence = {
            "job": uuid4().hex[:16],
            "cwd": self._directory(arguments.cwd),
            "at": time.time(),
            "boot": boot(),
        }
        # A variable may make a program that reads do more.
        if not arguments.env and is_probe(arguments.command):
            named[PROBE] = True
        return named

    def _absent(self, record: Record, evidence: Evidence) -> Recovery | None:
        """What it means that a job has no folder, after making sure of it; None if it has one.

        Raises:
            ToolError: nobody can look now.
        """
        if record.there:
            return None
        # A power cut may take the folder of a command that ran, and so does clearing up.
        same = evidence["boot"] == boot() != ""
        if not same or time.time() - evidence["at"] > KEPT:
            return Unknown(
                f"nothing is left that would tell; it was to start at {self._at(evidence)}"
            )
        try:
            return NotBegun() if self.jobs.claim(record.folder.name) else None
        except OSError as e:
            raise ToolError(
                Code.UNAVAILABLE,
                f"nobody can look at what became of the command: {e.strerror}",
                applied=Applied.UNKNOWN,
            ) from e

    @staticmethod
    def _at(evidence: Evidence) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(evidence["at"]))

    def _told(self, job: str, context: Context) -> None:
        """Once the outcome is in the journal, recovery needs the job no more."""
        if context.recorded:
            self.jobs.told(job)

    def _directory(self, path: str) -> str:
        """Absolute path of a directory inside the roots."""
        descriptor = self._roots.open_directory(path)
        try:
            return place(descriptor)
        finally:
            os.close(descriptor)
