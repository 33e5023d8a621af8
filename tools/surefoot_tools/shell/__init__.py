"""The shell tools."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surefoot_tools.files.roots import Roots
from surefoot_tools.shell.jobs import Jobs
from surefoot_tools.shell.run_command import RunCommand
from surefoot_tools.tool import Tool

__all__ = ["shell_tools"]


def shell_tools(
    roots: Roots, environment: Mapping[str, str], jobs: Path, grace: float = 30.0
) -> list[Tool[Any, Any]]:
    """The shell tools over these roots; commands see the harmless part of `environment`.

    Args:
        roots: Where commands may start.
        environment: The server's own.
        jobs: Where the records of commands are kept, for all servers of a state directory.
        grace: Seconds that a command lives on when its server has died.
    """
    return [RunCommand(roots, environment, Jobs(jobs, grace, environment))]
