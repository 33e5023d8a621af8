"""Starts the server once, as a host would, to see that it answers."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from surefoot_client.connection import Unreachable, connect
from surefoot_client.transport import ServerProcess

PATIENCE = 90.0
"""Seconds until the list of tools; uvx and pipx may have to fetch the package first."""
INHERITED = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""What hosts hand on to a server of their own environment (as the MCP SDKs do)."""
OURS = ("SUREFOOT_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "UV_CACHE_DIR", "PIPX_HOME")
"""What else this one start gets: where to keep state, and what was fetched before."""
_TOLD = 2_000
"""Characters of its stderr that are told when it does not answer."""


class Silent(Exception):
    """The server did not list its tools."""


async def tools(
    command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]
) -> list[str]:
    """The names of the tools that a command offers.

    Args:
        command: As the host starts it.
        folder: Where it starts it.
        log: A file for its stderr.
        environment: Ours, of which the server gets what a host would hand on.

    Raises:
        Silent: it cannot be started, or does not answer in time.
    """
    handed = {name: environment[name] for name in (*INHERITED, *OURS) if name in environment}
    server = ServerProcess(tuple(command), folder, handed, log)
    try:
        async with connect(server, connect_timeout=PATIENCE) as connection:
            return list(connection.tools)
    except Unreachable as e:
        said = log.read_text(errors="replace").strip() if os.path.exists(log) else ""
        raise Silent(f"{e}\n{said[-_TOLD:]}".strip()) from e
