"""The hosts that surefoot registers itself with: where their files lie, and what stands in them.

Sources: the hosts' own pages on MCP servers (Claude Desktop, Claude Code, VS Code, Cursor), as of
November 2026. All paths follow `HOME` and, on Linux, `XDG_CONFIG_HOME`, as the hosts do.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from surefoot_cli.install.edit import Entry
from surefoot_cli.install.jsonc import Dialect

WORKSPACE = "${workspaceFolder}"
"""What VS Code and Cursor put the open folder in for."""


class Scope(StrEnum):
    """Whom a registration is for."""

    USER = "user"
    """The user, in every folder."""
    PROJECT = "project"
    """Whoever opens this folder."""


@dataclass(frozen=True, slots=True)
class Host:
    """A program that starts MCP servers."""

    name: str
    """On our command line."""
    title: str
    holder: str
    """The member of its file that holds the entries."""
    dialect: Dialect
    """What its parser takes."""
    typed: bool
    """Whether an entry says that it is `stdio`."""
    user_file: Callable[[Mapping[str, str]], Path]
    """The file of the user scope, by the environment."""
    project_file: str | None
    """The file of the project scope, inside the project; None where the host has none."""
    opened: Mapping[Scope, str]
    """What stands for the folder that the host has open, where a scope knows one."""
    then: str
    """What the user does for the host to read its file again."""

    def file(self, scope: Scope, project: Path, environment: Mapping[str, str]) -> Path | None:
        """The file of a scope; None if the host has no such scope."""
        if scope is Scope.USER:
            return self.user_file(environment)
        return project / self.project_file if self.project_file is not None else None

    def entry(self, command: Sequence[str]) -> Entry:
        """The entry that makes the host start a command."""
        kind = {"type": "stdio"} if self.typed else {}
        return {**kind, "command": command[0], "args": list(command[1:])}


def _programs(environment: Mapping[str, str]) -> Path:
    """Where programs of the hosts' kind (Electron) keep what is the user's."""
    if platform.system() == "Darwin":
        return Path.home() / "Library" / "Application Support"
    # Not by platformdirs, which heeds XDG_CONFIG_HOME on macOS too; the hosts do not.
    named = Path(environment.get("XDG_CONFIG_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".config"


def _desktop(environment: Mapping[str, str]) -> Path:
    return _programs(environment) / "Claude" / "claude_desktop_config.json"


def _code(environment: Mapping[str, str]) -> Path:
    folder = environment.get("CLAUDE_CONFIG_DIR")
    return (Path(folder) if folder else Path.home()) / ".claude.json"


def _vscode(environment: Mapping[str, str]) -> Path:
    return _programs(environment) / "Code" / "User" / "mcp.json"


def _cursor(environment: Mapping[str, str]) -> Path:
    del environment
    return Path.home() / ".cursor" / "mcp.json"


HOSTS = {
    host.name: host
    for host in (
        Host(
            name="claude-desktop",
            title="Claude Desktop",
            holder="mcpServers",
            dialect=Dialect.JSON,
            typed=False,
            user_file=_desktop,
            project_file=None,
            opened={},
            then="quit and start Claude Desktop",
        ),
        Host(
            name="claude-code",
            title="Claude Code",
            holder="mcpServers",
            dialect=Dialect.JSON,
            typed=True,
            user_file=_code,
            project_file=".mcp.json",
            # It starts servers in the folder that it was itself started in.
            opened={Scope.USER: ".", Scope.PROJECT: "."},
            then="start Claude Code anew; `claude mcp list` shows the server",
        ),
        Host(
            name="vscode",
            title="VS Code",
            holder="servers",
            dialect=Dialect.JSONC,
            typed=True,
            user_file=_vscode,
            project_file=".vscode/mcp.json",
            opened={Scope.PROJECT: WORKSPACE},
            then="run 'MCP: List Servers' in VS Code and start it",
        ),
        Host(
            name="cursor",
            title="Cursor",
            holder="mcpServers",
            dialect=Dialect.JSONC,
            typed=True,
            user_file=_cursor,
            project_file=".cursor/mcp.json",
            opened={Scope.PROJECT: WORKSPACE},
            then="switch the server on under Cursor's MCP settings",
        ),
    )
}
"""By name, in the order in which they are listed."""
