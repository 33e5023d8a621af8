"""Shell servers of others, where somebody has installed them and names their commands.

They speak the protocol of 2025, with a handshake, and may log between the answers; so their client
is one of its own. Nothing of theirs is needed, and without them the rows say so.
"""

import itertools
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from line_client import LineClient
from messages import ANSWER_BOUND, Refused
from paired import Absent, Arm

VERSION = "2025-06-18"
"""Of the protocol: what both of them speak."""
OUTPUT = 20_000_000
"""Bytes of output that a peer may answer with, where it has such a limit."""


class PeerClient:
    """A peer's process and its session; a context manager that starts and ends it.

    Args:
        command: Of the process.
        environment: Of the process, whole.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._lines = LineClient(command, environment, quiet=True)
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        self._lines.__enter__()
        try:
            about = {"name": "bench", "version": "1"}
            self._ask("initialize", protocolVersion=VERSION, capabilities={}, clientInfo=about)
            self._lines.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
            # What it logs and loads after that is not to be in the first call's time.
            self._ask("tools/list")
        except BaseException:
            self._lines.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.__exit__(kind, error, trace)

    def call(self, tool: str, arguments: Mapping[str, Any], count: int = 1) -> float:
        """Call a tool so many times at once.

        Returns:
            Seconds from the first byte sent to the last answer.

        Raises:
            Refused: one of the answers is an error.
        """
        params = {"name": tool, "arguments": arguments}
        return self._exchange(count, "tools/call", params)

    def _ask(self, method: str, **params: Any) -> float:
        return self._exchange(1, method, params)

    def _exchange(self, count: int, method: str, params: Mapping[str, Any]) -> float:
        waiting = set(itertools.islice(self._ids, count))
        requests = [
            json.dumps({"jsonrpc": "2.0", "id": each, "method": method, "params": params}).encode()
            for each in sorted(waiting)
        ]
        began = perf_counter()
        for each in requests:
            self._lines.send(each + b"\n")
        ended = began
        for at, line in self._lines.received(time.monotonic() + ANSWER_BOUND):
            message: dict[str, Any] = json.loads(line)
            if "method" in message or message.get("id") not in waiting:
                continue
            if message.get("result", {"isError": True}).get("isError"):
                raise Refused(line[:400].decode(errors="replace"))
            waiting.remove(message["id"])
            ended = at
            if not waiting:
                return ended - began
        raise Refused(f"no answer to {method} within {ANSWER_BOUND:g} s")


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the peers that the bench knows how to ask."""

    name: str
    settings: dict[str, str]
    """Variables of its environment."""
    tool: str
    arguments: Callable[[str, str], dict[str, Any]]
    """Of that tool, for a command and the folder that it runs in."""
    config: dict[str, Any] | None = None
    """What its file of settings says: `.claude-server-commander/config.json`."""


KINDS = (
    Kind(
        "desktop-commander",
        {"DESKTOP_COMMANDER_DISABLE_TELEMETRY": "1"},
        "start_process",
        lambda command, folder: {
            "command": command,
            "timeout_ms": 30_000,
            "shell": "/bin/bash",
        },
        {"telemetryEnabled": False, "blockedCommands": [], "defaultShell": "/bin/bash"},
    ),
    Kind(
        "mcp-shell-server",
        {
            "ALLOW_COMMANDS": "true,sleep,seq,cat",
            "MCP_SHELL_OUTPUT_LIMIT_BYTES": str(OUTPUT),
        },
        "shell_execute",
        # It takes no line for a shell.
        lambda command, folder: {
            "command": shlex.split(command),
            "directory": folder,
            "timeout": 30,
        },
    ),
)
NAMES = tuple(kind.name for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer that runs, or why it does not."""

    kind: Kind
    client: PeerClient | str
    folder: Path
    """Where its commands run."""

    def arm(self, command: str, count: int = 1) -> Arm | Absent:
        """Have it run a command so many times at once."""
        client = self.client
        if isinstance(client, str):
            return Absent(self.kind.name, client)
        arguments = self.kind.arguments(command, str(self.folder))
        return Arm(self.kind.name, lambda: client.call(self.kind.tool, arguments, count))


def started(stack: ExitStack, commands: Mapping[str, str], home: Path, folder: Path) -> list[Peer]:
    """Start the peers whose commands are named.

    Args:
        stack: Ends them.
        commands: By name; as a shell would split them.
        home: A folder for their files.
        folder: Where their commands run.
    """
    return [Peer(kind, client, folder) for kind, client in _started(stack, commands, home)]


def _started(
    stack: ExitStack, commands: Mapping[str, str], home: Path
) -> Iterator[tuple[Kind, PeerClient | str]]:
    for kind in KINDS:
        if kind.name not in commands:
            yield kind, f"not named: --peer {kind.name}=COMMAND"
            continue
        own = home / kind.name
        settings = own / ".claude-server-commander" / "config.json"
        settings.parent.mkdir(parents=True)
        if kind.config is not None:
            settings.write_text(json.dumps(kind.config))
        path = os.environ.get("PATH", os.defpath)
        environment = {"PATH": path, "HOME": str(own), "SHELL": "/bin/bash", **kind.settings}
        client = PeerClient(shlex.split(commands[kind.name]), environment)
        try:
            yield kind, stack.enter_context(client)
        except (OSError, Refused, ValueError) as e:
            yield kind, f"does not start: {e}"
