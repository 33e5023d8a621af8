"""The record of a command, as its supervisor leaves it in the job's folder.

begun.json    before the command begins
stdout stderr as they come, up to a quota; what is kept of the end beyond that in *.tail
attend ended  FIFOs that show who is there
status.json   when nothing of the command is left
claimed       alone in a folder of recovery, which made sure that the command never begins
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from surefoot_tools.shell.attendance import Attendance
from surefoot_tools.shell.output import HeadTail

CLAIMED = "claimed"


class _Line(BaseModel):
    """What both files share: immutable, and open to fields of later versions."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Begun(_Line):
    """That a command began, or was about to."""

    pid: int
    """Of the command."""
    supervisor: int
    began: float
    """Seconds since the epoch."""


class Kept(_Line):
    """How much of a stream is where, in bytes."""

    size: int
    """Written by the command in all."""
    kept: int
    """In the file: the beginning."""
    tail: int
    """In the `.tail` file: the end of what does not fit."""


class Ended(_Line):
    """How a command ended."""

    why: Literal["exited", "timed_out", "deadline", "killed", "abandoned", "not_started"]
    status: int | None
    """Exit status, negative for the number of a signal."""
    limit: float
    grace: float
    ended: float
    """Seconds since the epoch."""
    duration: float = 0.0
    background_killed: bool = False
    survivors: list[int] = []
    """Process ids of what could not be killed."""
    stdout: Kept
    stderr: Kept
    errno: int = 0
    step: Literal["", "prepare", "cwd", "exec"] = ""


class Record:
    """Reads one job's folder.

    Args:
        folder: It need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def there(self) -> bool:
        """Whether the job was begun or claimed."""
        return self.folder.is_dir()

    @property
    def claimed(self) -> bool:
        """Whether recovery made sure that it never begins."""
        return (self.folder / CLAIMED).exists()

    def begun(self) -> Begun | None:
        """That it began; None if that is not there to be read."""
        try:
            return Begun.model_validate_json((self.folder / "begun.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def ended(self) -> Ended | None:
        """How it ended; None if it did not, or a power cut took it."""
        try:
            return Ended.model_validate_json((self.folder / "status.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def alive(self) -> bool:
        """Whether its supervisor lives. Looking starts the grace anew."""
        held = Attendance.adopt(self.folder)
        if held is not None:
            held.close()
        return held is not None

    def complete(self, ended: Ended) -> bool:
        """Whether the output is all there, as after a power cut it may not be."""
        parts = ((name, getattr(ended, name)) for name in ("stdout", "stderr"))
        return all(self._size(name) >= kept.kept for name, kept in parts)

    def output(
        self, name: Literal["stdout", "stderr"], limit: int, ended: Ended | None
    ) -> HeadTail:
        """The first and the last bytes of a stream, as far as it has come."""
        seen = HeadTail(limit)
        if ended is None:
            size = kept = self._size(name)
            tail = 0
        else:
            stream: Kept = getattr(ended, name)
            size, kept, tail = stream.size, stream.kept, stream.tail
        if size <= limit and not tail:
            seen.feed(self._read(name, 0, kept))
            return seen
        head = self._read(name, 0, limit - limit // 2)
        last = self._read(name + ".tail", max(0, tail - limit // 2), tail) if tail else b""
        if len(last) < limit // 2 and kept + tail == size:
            last = self._read(name, max(len(head), kept - (limit // 2 - len(last))), kept) + last
        seen.feed(head)
        seen.feed(last)
        seen.size = size
        return seen

    def last_line(self, name: Literal["stdout", "stderr"]) -> str:
        """The last line so far that is not blank, for progress; at most 200 characters."""
        size = self._size(name)
        lines = self._read(name, size - 400, size).decode("utf-8", "replace").split("\n")
        return next((line.strip()[-200:] for line in reversed(lines) if line.strip()), "")

    def _size(self, name: str) -> int:
        try:
            return (self.folder / name).stat().st_size
        except OSError:
            return 0

    def _read(self, name: str, start: int, end: int) -> bytes:
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(max(0, start))
                return file.read(max(0, end - max(0, start)))
        except FileNotFoundError:  # a stream that nothing was written to
            return b""


def claim(folder: Path, draft: Path) -> bool:
    """Take a job's place so that it never begins; False if it has begun, or is taken.

    Args:
        folder: The job's.
        draft: A name beside it that nobody else uses.
    """
    draft.mkdir(mode=0o700)
    (draft / CLAIMED).touch(0o600)
    try:
        os.rename(draft, folder)
    except OSError:
        (draft / CLAIMED).unlink()
        draft.rmdir()
        return False
    return True
