"""The folder of jobs: beginning them, looking at them, clearing them away."""

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread

from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.shell.attendance import Attendance
from surefoot_tools.shell.command import Command, cannot_start
from surefoot_tools.shell.keeping import Keeping
from surefoot_tools.shell.record import Record, claim

KEPT = 7 * 86400.0
"""Seconds for which a job's absence proves that it never began; as long as the journal keeps
results."""
SWEPT = 8 * 86400.0
"""Seconds after which what nobody came for is cleared away; a day more, for clocks that jump."""
PATIENCE = 10.0
"""Seconds that a keeper may take to begin a command; a start of its own included."""


class Jobs:
    """Jobs below one folder, which servers of one state directory share.

    Args:
        folder: Made when the first job begins.
        grace: Seconds that a command lives on when its server has died.
        environment: The server's own.
    """

    def __init__(self, folder: Path, grace: float, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._grace = grace
        self._keeping = Keeping(folder / "keeper.log", environment)
        self._swept = False

    def record(self, job: str) -> Record:
        """What is on disk about a job."""
        return Record(self._folder / job)

    def claim(self, job: str) -> bool:
        """Make sure that a job never begins; False if it has begun, or was claimed before.

        Raises:
            OSError: the folder cannot be written to, so nothing is sure.
        """
        self._make()
        return claim(self._folder / job, self._folder / f".{uuid4().hex}")

    async def begin(self, job: str, command: Command) -> Attendance:
        """Have a supervisor begin a command.

        Raises:
            ToolError: it has not begun and never will (`applied` is `no`), or nobody knows.
        """
        held: Attendance | None = None
        try:
            self._make()
            if not self._swept:
                self._swept = True
                await anyio.to_thread.run_sync(self.sweep)
            with anyio.fail_after(PATIENCE):
                held = await self._line()
                answer = await held.ask(self._request(job, command))
        except OSError as e:
            if held is not None:
                held.close()
            if isinstance(e, TimeoutError):
                raise self._unanswered(job) from e
            raise cannot_start(e.errno or 0, "keeper") from e
        if answer is not None and "begun" in answer:
            return held
        held.close()
        if answer is None:
            raise self._unanswered(job)
        if "taken" in answer:
            raise ToolError(Code.ABORTED, "another server has made sure that this never begins")
        raise cannot_start(answer["errno"], answer["step"], command.argv[0])

    async def _line(self) -> Attendance:
        """A line to a new supervisor."""
        ours, theirs = socket.socketpair()
        held = Attendance.over(ours)
        try:
            with theirs:
                await self._keeping.hand_over(theirs)
        except BaseException:
            held.close()
            raise
        return held

    def _request(self, job: str, command: Command) -> bytes:
        """The line that `supervisor.supervise` reads."""
        request: dict[str, Any] = {
            "jobs": str(self._folder),
            "job": job,
            "grace": self._grace,
            "argv": list(command.argv),
            "cwd": command.cwd,
            "env": dict(command.env),
            "stdin": command.stdin,
            "limit": command.limit,
            "limited_by": command.limited_by,
        }
        return json.dumps(request).encode() + b"\n"

    def _unanswered(self, job: str) -> ToolError:
        """The error of a command whose supervisor never said that it begins."""
        with suppress(OSError):
            if self.claim(job):
                return ToolError(
                    Code.UNAVAILABLE, "the process that starts commands died before this one began"
                )
        return ToolError(
            Code.UNKNOWN,
            "the command's supervisor died as it began",
            applied=Applied.UNKNOWN,
            origin=Origin.ENVIRONMENT,
        )

    def remove(self, job: str) -> None:
        """Clear a job away, unless its supervisor lives."""
        record = self.record(job)
        if record.there and not record.alive():
            _clear(record.folder)

    def sweep(self, older_than: float = SWEPT) -> None:
        """Clear away what nobody came for in so many seconds."""
        with os.scandir(self._folder) as entries:
            found = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for folder in found:
            with suppress(FileNotFoundError):  # another server sweeps, too
                old = time.time() - folder.stat().st_mtime > older_than
                if old and not Record(folder).alive():
                    _clear(folder)

    def _make(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _clear(folder: Path) -> None:
    """Remove a folder without folders in it."""
    with suppress(OSError):  # another server clears, too; what stays is swept later
        for name in os.listdir(folder):
            os.unlink(folder / name)
        os.rmdir(folder)
