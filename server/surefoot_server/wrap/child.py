"""A server that is a process of ours: its pipes as the streams that the SDK reads and writes.

Its stderr goes to ours. Its end is ours to bring about: closed input, then SIGTERM, then SIGKILL to
its whole process group. When we are killed its input ends; and on Linux the kernel sends SIGTERM to
the process that we started, though not to what that has started.
"""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import anyio.to_thread
import mcp_types as types
import pydantic_core
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from surefoot_server import log
from surefoot_server.salvage import top_level_id
from surefoot_server.wrap.target import LONGEST_MESSAGE, Failure
from surefoot_tools.errors import Applied

_log = log.get("upstream")

LEAVE, DIE = 1.5, 0.5
"""Seconds that it has to exit after its input was closed, and then after SIGTERM."""
LISTEN = 0.5
"""Seconds that its last words may take to come."""
LONGEST_WORD = 500
"""Characters of its last words that are told."""
_CHUNK = 64 * 1024
_POLL = 0.01
_GONE = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
_TIED = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as e:
        sys.exit(f"{sys.argv[2]}: {e.strerror}")
"""
"""Becomes a command that gets SIGTERM when we are gone, however we went: PR_SET_PDEATHSIG lasts
beyond execve(2)."""


class _Stream:
    """What the SDK asks of either stream; the pipes are closed where the process is ended."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Nothing to release."""


class Reading(_Stream):
    """Its messages, one a line; a line that is none answers the request that it names, if any."""

    def __init__(self, pipe: anyio.abc.ByteReceiveStream) -> None:
        self._pipe = pipe
        self._buffer = bytearray()
        self.over = False
        """Whether there will be no more."""

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises:
            anyio.EndOfStream: there is none.
        """
        while True:
            line = await self._line()
            if not line.strip():
                continue
            try:
                message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                return SessionMessage(message)
            except ValidationError:
                answer = _unreadable(line)
                if answer is not None:
                    return SessionMessage(answer)

    async def _line(self) -> bytes:
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            searched = len(self._buffer)
            if searched > LONGEST_MESSAGE:  # without an end of it the next one cannot be found
                _log.error("the server's message is too long", longest=LONGEST_MESSAGE)
                self.over = True
                raise anyio.EndOfStream
            try:
                self._buffer += await self._pipe.receive(_CHUNK)
            except _GONE:
                self.over = True
                raise anyio.EndOfStream from None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class Writing(_Stream):
    """Writes messages to it, one a line."""

    def __init__(self, pipe: anyio.abc.ByteSendStream, reading: Reading) -> None:
        self._pipe = pipe
        self._reading = reading
        self._turn = anyio.Lock()

    async def send(self, item: SessionMessage) -> None:
        """Write one message, whole: half a line would spoil the next one.

        Raises:
            anyio.BrokenResourceError: nobody reads any more.
        """
        message = item.message.model_dump(by_alias=True, exclude_unset=True)
        async with self._turn:
            with anyio.CancelScope(shield=True):
                try:
                    await self._pipe.send(pydantic_core.to_json(message) + b"\n")
                except _GONE:
                    self._reading.over = True
                    raise anyio.BrokenResourceError from None


def _unreadable(line: bytes) -> types.JSONRPCError | None:
    """The error in the place of an answer that cannot be read, if its id can."""
    request_id, is_json = top_level_id(line)
    _log.warning("the server wrote a line that is no message", size=len(line))
    if request_id is None or b'"method"' in line[:200]:
        return None
    flaw = "no JSON-RPC 2.0 message" if is_json else "not valid JSON in UTF-8"
    error = types.ErrorData(code=types.INTERNAL_ERROR, message=f"the server's answer is {flaw}")
    return types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)


class Child:
    """How to start a server; a `Target` of `upstream`.

    Args:
        command: Program and arguments.
        folder: Where it is started; None: where we are.
    """

    def __init__(self, command: Sequence[str], folder: Path | None = None) -> None:
        self._command = list(command)
        self._folder = folder
        self._reading: Reading | None = None
        self._words = b""
        self._silent = anyio.Event()

    @property
    def name(self) -> str:
        """Its program."""
        return self._command[0]

    @property
    def identity(self) -> list[str]:
        """What makes it the server that it is; part of every fingerprint."""
        # The same words in another folder may serve other files.
        return [*([] if self._folder is None else [str(self._folder)]), "--", *self._command]

    def over(self) -> bool:
        """Whether it is gone, as far as is known."""
        return self._reading is None or self._reading.over

    def failure(self, error: types.ErrorData) -> Failure | None:
        """What an error says, if it comes from its end and not from itself."""
        if error.code == types.CONNECTION_CLOSED and self.over():
            return Failure("it ended", Applied.UNKNOWN, ended=True)
        return None

    async def last_words(self) -> str:
        """The last line of its stderr, once it is gone."""
        with anyio.move_on_after(LISTEN):
            await self._silent.wait()
        lines = self._words.decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1][-LONGEST_WORD:] if said else ""

    @asynccontextmanager
    async def streams(self) -> AsyncGenerator[tuple[Reading, Writing]]:
        """Start it, for the length of a block; it is ended behind it.

        Raises:
            OSError: it cannot be started.
        """
        self._words, self._silent = b"", anyio.Event()
        tie = [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid())]
        tied = tie if sys.platform == "linux" else []
        # Of a session of its own: Ctrl-C is for us, and its whole group can be ended.
        process = await anyio.open_process(
            [*tied, *self._command], cwd=self._folder, start_new_session=True
        )
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - pipes
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, process)
            self._reading = reading = Reading(process.stdout)
            try:
                yield reading, Writing(process.stdin, reading)
            finally:
                reading.over = True
                with anyio.CancelScope(shield=True):
                    await _end(process)
                tasks.cancel_scope.cancel()

    async def _listen(self, process: anyio.abc.Process) -> None:
        """Carry its stderr to ours, and remember the end of it."""
        assert process.stderr is not None  # noqa: S101 - a pipe
        silent = self._silent
        try:
            while True:
                chunk = await process.stderr.receive(_CHUNK)
                self._words = (self._words + chunk)[-2 * _CHUNK :]
                with suppress(OSError):
                    # On a thread: a host that does not read our stderr must not stop us.
                    await anyio.to_thread.run_sync(os.write, 2, chunk, abandon_on_cancel=True)
        except _GONE:
            silent.set()


async def _end(process: anyio.abc.Process) -> None:
    with suppress(*_GONE):
        if process.stdin is not None:
            await process.stdin.aclose()
    for number, patience in ((None, LEAVE), (signal.SIGTERM, DIE), (signal.SIGKILL, DIE)):
        if number is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        with anyio.move_on_after(patience):
            # Not `wait`, which also waits for pipes that a descendant may hold open.
            while process.returncode is None:  # noqa: ASYNC110 - there is no event, see above
                await anyio.sleep(_POLL)
        if process.returncode is not None and number is None:
            break
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # whatever it has left behind in its group
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()  # anyio offers it only within `aclose`, which waits for the pipes
