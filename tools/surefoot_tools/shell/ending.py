"""How a command ended, from its record: as the result of `run_command`, or as its error."""

import signal
import time
from typing import Literal

from pydantic import Field

from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.jobs import JobState
from surefoot_tools.shell.command import cannot_start
from surefoot_tools.shell.output import both, in_order, runs
from surefoot_tools.shell.record import Ended, Record
from surefoot_tools.shell.shown import shown
from surefoot_tools.tool import Result

ERROR_OUTPUT = 3000
"""Bytes of each stream in the error of a command that was ended."""


class RunCommandResult(Result):
    """How a command ended and what it printed, or that it goes on as a job."""

    state: JobState
    """`exited`; or `running`: it goes on as a job, and `read_job` tells how it ends."""
    exit_code: int | None
    """Exit status; null when a signal ended it."""
    signal: str | None
    """Name of the signal that ended it, such as SIGKILL."""
    stdout: str
    stderr: str
    stdout_bytes: int
    """Bytes written to stdout in all, also those left out."""
    stderr_bytes: int
    truncated: bool
    """Whether anything of either stream was left out; `read_job` has it."""
    replaced: int = 0
    """How many times something was no UTF-8 and is shown as U+FFFD."""
    order: list[int] = Field(default_factory=list[int])
    """Where both streams have something: lines of stdout that came, then of stderr, then of stdout,
    and so on. Empty where that changes too often."""
    duration: float
    """Seconds."""
    background_killed: bool
    """Whether it left processes in the background, which were killed when it ended."""
    job_id: str
    """Names it for `read_job`, which has its whole output for a day."""
    sandbox: Literal["bubblewrap", "landlock", "off"]
    """How the command was confined; `off`: not at all."""
    touched: list[str] = Field(default_factory=list[str])
    """Protected paths, five at most, that came into being while it ran; with landlock also those
    that were changed. Other programs run or trust what is there."""

    def as_text(self) -> str:
        """Status line, then both streams in the order in which they came."""
        parts = [f"{self._end()}, {self.duration:.2f} s, sandbox {self.sandbox}"]
        if self.background_killed:
            parts[0] += "; what it left running in the background was killed"
        if self.touched:
            parts[0] += told_of_touched(self.touched)
        if self.truncated:
            sizes = f"{self.stdout_bytes} bytes of stdout, {self.stderr_bytes} of stderr"
            parts[0] += (
                f"; shortened: it wrote {sizes} (a larger max_output shows more, read_job with"
                f" job_id {self.job_id} all)"
            )
        if self.replaced:
            parts[0] += f"; {self.replaced} times no UTF-8, shown as U+FFFD"
        told = in_order(self.stdout, self.stderr, self.order)
        return "\n".join([*parts, told] if told else parts)

    def _end(self) -> str:
        if self.state is JobState.RUNNING:
            return (
                f"still running, as job {self.job_id}: read_job with wait waits for more of it,"
                " stop_job ends it"
            )
        end = f"signal {self.signal}" if self.signal else f"exit code {self.exit_code}"
        return end if self.state is JobState.EXITED else f"{self.state}: {end}"


def told_of(record: Record, state: JobState, ended: Ended | None, limit: int) -> RunCommandResult:
    """What a record says, as a result.

    Args:
        record: Of the command.
        state: Where it stands.
        ended: How it ended, if that is known.
        limit: Bytes kept of each stream.
    """
    stdout, stderr = both(record, limit, ended)
    exit_code, name = status_of(ended)
    begun = record.begun()
    duration = ended.duration if ended is not None else 0.0
    return RunCommandResult(
        state=state,
        exit_code=exit_code,
        signal=name,
        stdout=stdout.text,
        stderr=stderr.text,
        stdout_bytes=stdout.size,
        stderr_bytes=stderr.size,
        truncated=stdout.truncated or stderr.truncated,
        replaced=stdout.invalid + stderr.invalid,
        order=runs(record, stdout, stderr),
        duration=round(
            duration if begun is None or ended is not None else max(0.0, time.time() - begun.began),
            4,
        ),
        background_killed=ended is not None and ended.background_killed,
        job_id=record.folder.name,
        sandbox="off" if begun is None else begun.sandbox,
        touched=[] if ended is None else ended.touched,
    )


def end_of(record: Record, max_output: int) -> RunCommandResult:
    """The result of a command whose supervisor is gone.

    Args:
        record: Of the command.
        max_output: Bytes kept of each stream.

    Raises:
        ToolError: it was ended before its end, did not begin, or nobody knows.
    """
    ended = record.ended()
    if ended is None:
        raise ToolError(
            Code.UNKNOWN, lost(record), applied=Applied.UNKNOWN, origin=Origin.ENVIRONMENT
        )
    if ended.why != "exited":
        raise failure(record, ended)
    return told_of(record, JobState.EXITED, ended, max_output)


def status_of(ended: Ended | None) -> tuple[int | None, str | None]:
    """Exit status, or the name of the signal that ended it."""
    if ended is None or ended.status is None:
        return None, None
    status = ended.status
    return (status, None) if status >= 0 else (None, signal_name(-status))


def interruption(record: Record) -> ToolError | None:
    """The error of a command that was ended; None if it came to its own end, or nobody knows."""
    ended = record.ended()
    return None if ended is None or ended.why == "exited" else failure(record, ended)


def lost(record: Record) -> str:
    """All that is known of a command whose supervisor did not live to record its end."""
    begun = record.begun()
    who = "its supervisor died"
    if begun is not None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun.began))
        who = f"it began at {at} as pid {begun.pid}, then its supervisor died"
    return (
        f"nobody recorded how the command ended: {who};"
        f" what it had started was killed as far as it could be found\n{_seen(record, None)}"
    )


def failure(record: Record, ended: Ended) -> ToolError:
    """The error of a command that did not come to its own end."""
    if ended.why == "not_started":
        return cannot_start(ended.errno, ended.step)
    code, origin, message = _ENDS[ended.why]
    text = message.format(limit=f"{ended.limit or 0:g}", grace=f"{ended.grace or 0:g}")
    if ended.survivors:
        text += f"; processes {ended.survivors} could not be killed"
    if ended.touched:
        text += told_of_touched(ended.touched)
    hint = "Look at what it already did before you run it again"
    if ended.why == "timed_out":
        hint += " with a longer timeout"
    return ToolError(
        code,
        f"{text}\n{_seen(record, ended)}",
        applied=Applied.YES,
        origin=origin,
        hint=None if ended.why == "killed" else f"{hint}.",
    )


_ENDS: dict[str, tuple[Code, Origin, str]] = {
    "timed_out": (
        Code.DEADLINE_EXCEEDED,
        Origin.TOOL,
        "killed with all that it had started after {limit} s",
    ),
    "deadline": (
        Code.DEADLINE_EXCEEDED,
        Origin.CLIENT,
        "killed with all that it had started: the caller's deadline was over",
    ),
    "killed": (Code.CANCELLED, Origin.CLIENT, "cancelled while the command ran; it was killed"),
    "stopped": (Code.CANCELLED, Origin.CLIENT, "stopped by stop_job while the command ran"),
    "abandoned": (
        Code.CANCELLED,
        Origin.SERVER,
        "killed with all that it had started: its server died, and none came for it in {grace} s",
    ),
}


def told_of_touched(paths: list[str]) -> str:
    """That protected paths came into being or were changed."""
    named = ", ".join(shown(path) for path in paths)
    return f"; while it ran, protected paths were made or changed: {named}"


def signal_name(number: int) -> str:
    """SIGTERM and its like; real-time signals have no names of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def _seen(record: Record, ended: Ended | None) -> str:
    """What it printed so far, short enough for an error; and where the rest is."""
    parts: list[str] = []
    for name, stream in zip(("stdout", "stderr"), both(record, ERROR_OUTPUT, ended), strict=True):
        text = stream.text.strip()
        if text:
            parts.append(f"--- {name}, {stream.size} bytes\n{text[-ERROR_OUTPUT:]}")
            if stream.truncated:
                parts.append(f"(all of it: read_job with job_id {record.folder.name})")
    return "\n".join(parts) or "it printed nothing"
