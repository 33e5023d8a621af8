"""Processes of servers: how one is started, and how it is ended for sure.

Below `transport.py` (over stdio) and `listener.py` (over HTTP).
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

EXIT_GRACE = 6.0
"""Seconds that a server has to exit after its stdin closed; surefoot's own takes up to 5."""
TERMINATE_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL to its process group."""
_POLL = 0.01

GONE = (
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
)
"""How a pipe, or the session at the other end of a stream, says that it is not there any more."""


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """How to start a server."""

    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    """The whole environment; nothing is inherited beside it."""
    log: Path
    """Where its stderr is appended."""


async def start(server: ServerProcess, *, stderr_piped: bool = False) -> Process:
    """Start a server with pipes to its stdin and from its stdout.

    Args:
        server: What to start.
        stderr_piped: Whether its stderr is read by us, too, and not its log.

    Raises:
        OSError: it cannot be started.
    """
    log = open_log(server)
    try:
        # its own session: a Ctrl-C in the terminal is for the driver, and the group can be killed
        return await anyio.open_process(
            list(server.argv),
            stderr=subprocess.PIPE if stderr_piped else log,
            env=server.environment,
            cwd=server.cwd,
            start_new_session=True,
        )
    finally:
        os.close(log)


def open_log(server: ServerProcess) -> int:
    """A descriptor that appends to the log of a server.

    Raises:
        OSError: it cannot be written.
    """
    return os.open(server.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def stdin(process: Process) -> ByteSendStream:
    """Its stdin, which is a pipe."""
    assert process.stdin is not None  # noqa: S101 - for the type checker: opened with pipes
    return process.stdin


def stdout(process: Process) -> ByteReceiveStream:
    """Its stdout, which is a pipe."""
    assert process.stdout is not None  # noqa: S101 - for the type checker: opened with pipes
    return process.stdout


def close_pipes(process: Process) -> None:
    """Close our ends now. anyio offers it only within `aclose`, which waits for the exit."""
    transport = getattr(process, "_transport", None)
    for descriptor in (0, 1, 2):
        pipe = transport.get_pipe_transport(descriptor) if transport is not None else None
        if pipe is not None:
            pipe.close()


async def end(process: Process) -> None:
    """Close its stdin, then SIGTERM, then SIGKILL to its group; each wait is bounded."""
    with suppress(*GONE):
        await stdin(process).aclose()
    if not await exits(process, EXIT_GRACE):
        _signal_group(process, signal.SIGTERM)
        await exits(process, TERMINATE_GRACE)
    # the server if it is still there, and whatever it left behind in its group
    _signal_group(process, signal.SIGKILL)
    await exits(process, TERMINATE_GRACE)
    close_pipes(process)
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()


async def exits(process: Process, within: float) -> bool:
    """Whether the process has exited after at most `within` seconds.

    Not `process.wait()`: from CPython 3.11 on it also waits for the pipes, which a descendant that
    inherited them may hold open.
    """
    with anyio.move_on_after(within):
        while process.returncode is None:  # noqa: ASYNC110 - there is no event, see above
            await anyio.sleep(_POLL)
    return process.returncode is not None


def _signal_group(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
