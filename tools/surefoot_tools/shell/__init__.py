"""The shell tools."""

from collections.abc import Mapping
from typing import Any

from surefoot_tools.files.roots import Roots
from surefoot_tools.shell.run_command import RunCommand
from surefoot_tools.tool import Tool

__all__ = ["shell_tools"]


def shell_tools(roots: Roots, environment: Mapping[str, str]) -> list[Tool[Any, Any]]:
    """The shell tools over these roots; commands see the harmless part of `environment`."""
    return [RunCommand(roots, environment)]
