"""The server's end of its keeper, the process that forks a supervisor for each command."""

import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.to_thread

import surefoot_tools

_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]);"
    " from surefoot_tools.supervisor.keeper import main; main()"
)
_FOR_PYTHON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""What an interpreter may need to start; nothing else of the server's environment is shown."""


class Keeping:
    """Hands lines over to a keeper; starts one where there is none, or none any more.

    When this object goes, so does the channel: the keeper takes no more work and ends after the
    last command.

    Args:
        log: Where the keeper's own failures are written to.
        environment: The server's own.
    """

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._environment = {name: environment[name] for name in _FOR_PYTHON if name in environment}
        self._channel: socket.socket | None = None
        self._one_at_a_time = anyio.Lock()
        self._forget = lambda: None

    async def hand_over(self, line: socket.socket) -> None:
        """Give the keeper the supervisor's end of a line.

        Raises:
            OSError: no keeper can be started; nothing has begun.
        """
        async with self._one_at_a_time:
            for _ in range(2):
                if self._channel is None:
                    self._channel = await self._start()
                if await self._send(self._channel, line):
                    return
                self._forget()  # somebody has killed it
                self._channel = None
        raise ConnectionResetError("the keeper does not stay")

    @staticmethod
    async def _send(channel: socket.socket, line: socket.socket) -> bool:
        while True:
            try:
                socket.send_fds(channel, [b"l"], [line.fileno()])
            except BlockingIOError:
                await anyio.wait_writable(channel)
            except (BrokenPipeError, ConnectionResetError):
                return False
            else:
                return True

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        # Also when nobody says goodbye: an unclosed socket is a warning.
        self._forget = weakref.finalize(self, ours.close)
        ours.setblocking(False)
        try:
            with theirs:
                first = self._launch(theirs.fileno())
        except OSError:
            self._forget()
            raise
        # It forks the keeper and ends.
        await anyio.to_thread.run_sync(first.wait)
        return ours

    def _launch(self, channel: int) -> "subprocess.Popen[bytes]":
        above = Path(surefoot_tools.__file__).parents[1]
        options = ("-I", "-S", "-X", "utf8", "-c", _PROGRAM)
        with os.fdopen(os.open(self._log, _APPEND, 0o600), "wb") as log:
            return subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, *options, str(above), str(channel)],
                pass_fds=[channel],
                cwd="/",
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )


_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
