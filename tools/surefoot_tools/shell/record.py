"""The record of a command, as its supervisor leaves it in the job's folder.

begun.json    before the command begins
stdout stderr as they come, up to a quota; beyond it the newest pieces, named by their offset
turns         in which order they came
attend ended  FIFOs that show who is there
input         a FIFO, where there is somebody to write to
waiting       whether it waits for input, as it was found when somebody asked
status.json   when nothing of the command is left
told          when its outcome is in the journal: from then on only readers need the folder
claimed       alone in a folder of recovery, which made sure that the command never begins
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from surefoot_tools.jobs import JobState
from surefoot_tools.shell.attendance import Attendance
from surefoot_tools.shell.pieces import Pieces

CLAIMED = "claimed"
TOLD = "told"


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
    handed_over: bool = False
    """Whether it is a job: nobody waits for its end."""
    principal: str = "local"
    """Whose it is."""
    command: str = ""
    """Without the secrets that are known for such."""
    cwd: str = ""
    sandbox: Literal["bubblewrap", "landlock", "off"] = "off"
    """How it is confined."""
    terminal: tuple[int, int] | None = None
    """Rows and columns of its terminal, if it has one."""


class Kept(_Line):
    """How much of a stream is where, in bytes."""

    size: int
    """Written by the command in all."""
    head: int
    """In the file: the beginning."""
    since: int
    """From where on the pieces have all, up to the end."""


class Ended(_Line):
    """How a command ended."""

    why: Literal["exited", "timed_out", "deadline", "killed", "abandoned", "stopped", "not_started"]
    status: int | None
    """Exit status, negative for the number of a signal."""
    limit: float | None
    """Seconds; None for none."""
    grace: float | None
    ended: float
    """Seconds since the epoch."""
    duration: float = 0.0
    background_killed: bool = False
    touched: list[str] = []
    """Protected paths that came into being while it ran, or were changed where nothing keeps
    commands from that."""
    survivors: list[int] = []
    """Process ids of what could not be killed."""
    stdout: Kept
    stderr: Kept
    errno: int = 0
    step: Literal["", "prepare", "sandbox", "cwd", "exec"] = ""

    @property
    def state(self) -> JobState:
        """The same, as it is told."""
        match self.why:
            case "exited" | "not_started":
                return JobState.EXITED
            case "timed_out" | "deadline":
                return JobState.TIMED_OUT
            case "killed" | "abandoned" | "stopped":
                return JobState.STOPPED


class Record:
    """Reads one job's folder.

    Args:
        folder: It need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stdout = Pieces(folder / "stdout")
        self.stderr = Pieces(folder / "stderr")

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

    def state(self) -> tuple[JobState, Ended | None]:
        """Where it stands, and how it ended if it did."""
        ended = self.ended()
        if ended is None and not self.alive():
            ended = self.ended()  # it may have ended between the two looks
            if ended is None:
                return JobState.LOST, None
        return (JobState.RUNNING, None) if ended is None else (ended.state, ended)

    def complete(self, ended: Ended) -> bool:
        """Whether the output is all there, as after a power cut it may not be."""
        return self.stdout.covers(ended.stdout.head, ended.stdout.since, ended.stdout.size) and (
            self.stderr.covers(ended.stderr.head, ended.stderr.since, ended.stderr.size)
        )

    def last_line(self) -> str:
        """The last line so far that is not blank, for progress; at most 200 characters."""
        for stream in (self.stdout, self.stderr):
            size = stream.size()
            lines = stream.read(max(0, size - 800), size).decode("utf-8", "replace").split("\n")
            for line in reversed(lines):
                if line.strip():
                    return line.strip()[-400:]
        return ""


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
