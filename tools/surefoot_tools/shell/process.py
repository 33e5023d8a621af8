"""One child process in a group of its own: start it, read it, wait for it, end its whole group."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio
import anyio.to_thread

from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.shell.output import CHUNK, HeadTail

LINGER = 0.5
"""Seconds that output may still arrive after the command itself ended."""

_SPAWN_ERRORS: dict[int, tuple[Code, Origin]] = {
    errno.ENOENT: (Code.NOT_FOUND, Origin.MODEL),
    errno.ENOTDIR: (Code.NOT_FOUND, Origin.MODEL),
    errno.EACCES: (Code.PERMISSION_DENIED, Origin.ENVIRONMENT),
    errno.EPERM: (Code.PERMISSION_DENIED, Origin.ENVIRONMENT),
    errno.ENOEXEC: (Code.FAILED_PRECONDITION, Origin.MODEL),
    errno.E2BIG: (Code.INVALID_ARGUMENT, Origin.MODEL),
    # These pass by themselves, and nothing has begun.
    errno.EAGAIN: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
    errno.ENOMEM: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
    errno.EMFILE: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
    errno.ENFILE: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
    errno.ETXTBSY: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
}


def shell() -> str:
    """The shell that runs a command given as a string: bash where there is one, else sh."""
    return shutil.which("bash") or "/bin/sh"


def place(descriptor: int) -> str:
    """Absolute path of an open directory."""
    if sys.platform == "darwin":
        import fcntl

        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, b"\0" * 1024).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{descriptor}")


class ChildProcess:
    """A running command. Its output goes to `stdout` and `stderr` while `pump` runs.

    Started with `subprocess.Popen` on the event loop's thread: about 1 ms, and the parent-death
    signals of later issues follow the thread that spawned. asyncio's own child watcher is not used
    since its `wait` also waits for the end of the pipes, which a background child may hold.

    Raises:
        ToolError: it cannot be started; nothing has begun.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        environment: Mapping[str, str],
        stdin: str | None,
        max_output: int,
    ) -> None:
        self.stdout = HeadTail(max_output)
        self.stderr = HeadTail(max_output)
        with tempfile.TemporaryFile() if stdin is not None else open(os.devnull, "rb") as source:
            if stdin is not None:
                # A file and not a pipe: the command may read it or not, nobody has to feed it.
                source.write(stdin.encode())
                source.seek(0)
            try:
                self._popen = subprocess.Popen(  # noqa: S603 - running commands is its purpose
                    list(argv),
                    cwd=cwd,
                    env=dict(environment),
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except (OSError, ValueError) as e:
                raise _spawn_error(e, argv[0]) from e

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group."""
        return self._popen.pid

    async def pump(self) -> int:
        """Read both streams and wait for the end.

        Returns:
            The exit status, negative for the number of a signal.
        """
        status = 0
        async with anyio.create_task_group() as readers:
            assert self._popen.stdout is not None  # noqa: S101 - both were asked for as pipes
            assert self._popen.stderr is not None  # noqa: S101
            readers.start_soon(_read, self._popen.stdout.fileno(), self.stdout)
            readers.start_soon(_read, self._popen.stderr.fileno(), self.stderr)
            status = await self._wait()
            # What it left in the background may hold the pipes: read what is there, then go.
            readers.cancel_scope.deadline = anyio.current_time() + LINGER
        return status

    async def _wait(self) -> int:
        if hasattr(os, "pidfd_open"):
            with suppress(ProcessLookupError):
                descriptor = os.pidfd_open(self._popen.pid)
                try:
                    await anyio.wait_readable(descriptor)
                finally:
                    os.close(descriptor)
            return self._popen.wait()
        return await anyio.to_thread.run_sync(self._popen.wait, abandon_on_cancel=True)

    async def end(self) -> bool:
        """Kill whatever is left of the process group, reap the leader, close the pipes.

        Returns:
            Whether there was anything left to kill.
        """
        left = False
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
            left = True
        with anyio.CancelScope(shield=True):
            if self._popen.returncode is None:
                await self._wait()
        for stream in (self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()
        return left


async def _read(descriptor: int, into: HeadTail) -> None:
    os.set_blocking(descriptor, False)
    while True:
        await anyio.wait_readable(descriptor)
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            continue
        if not data:
            return
        into.feed(data)


def _spawn_error(error: OSError | ValueError, program: str) -> ToolError:
    if isinstance(error, ValueError):
        return ToolError(Code.INVALID_ARGUMENT, f"command cannot be started: {error}")
    code, origin = _SPAWN_ERRORS.get(error.errno or 0, (Code.INTERNAL, Origin.ENVIRONMENT))
    hint = None
    if code is Code.NOT_FOUND:
        hint = "Check the name, or give the command as a string to have the shell run it."
    reason = os.strerror(error.errno or 0)
    return ToolError(code, f"cannot start {program!r}: {reason}", origin=origin, hint=hint)
