"""How a command ended, from its record: as the result of `run_command`, or as its error."""

import signal
import time
from typing import Literal

from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.shell.command import cannot_start
from surefoot_tools.shell.record import Ended, Record
from surefoot_tools.tool import Result

ERROR_OUTPUT = 3000
"""Characters of each stream in the error of a command that was ended."""


class RunCommandResult(Result):
    """How a command ended and what it printed."""

    state: Literal["exited"]
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
    """Whether anything of either stream was left out."""
    duration: float
    """Seconds."""
    background_killed: bool
    """Whether it left processes in the background, which were killed when it ended."""
    sandbox: Literal["off"]
    """How the command was confined; `off`: not at all."""

    def as_text(self) -> str:
        """Status line, then both streams."""
        end = f"signal {self.signal}" if self.signal else f"exit code {self.exit_code}"
        parts = [f"{end}, {self.duration:.2f} s, sandbox {self.sandbox}"]
        if self.background_killed:
            parts[0] += "; what it left running in the background was killed"
        if self.truncated:
            sizes = f"{self.stdout_bytes} bytes of stdout, {self.stderr_bytes} of stderr"
            parts[0] += f"; shortened: it wrote {sizes} (a larger max_output shows more)"
        for name, stream in (("stdout", self.stdout), ("stderr", self.stderr)):
            if stream:
                parts.append(f"--- {name}\n{stream.rstrip()}")
        return "\n".join(parts)


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
        raise _failure(record, ended)
    stdout = record.output("stdout", max_output, ended)
    stderr = record.output("stderr", max_output, ended)
    status = ended.status or 0
    return RunCommandResult(
        state="exited",
        exit_code=status if status >= 0 else None,
        signal=_signal_name(-status) if status < 0 else None,
        stdout=stdout.text(),
        stderr=stderr.text(),
        stdout_bytes=stdout.size,
        stderr_bytes=stderr.size,
        truncated=stdout.truncated or stderr.truncated,
        background_killed=ended.background_killed,
        duration=round(ended.duration, 4),
        sandbox="off",
    )


def interruption(record: Record) -> ToolError | None:
    """The error of a command that was ended; None if it came to its own end, or nobody knows."""
    ended = record.ended()
    return None if ended is None or ended.why == "exited" else _failure(record, ended)


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


def _failure(record: Record, ended: Ended) -> ToolError:
    """The error of a command that did not come to its own end."""
    if ended.why == "not_started":
        return cannot_start(ended.errno, ended.step)
    code, origin, message = _ENDS[ended.why]
    text = message.format(limit=f"{ended.limit:g}", grace=f"{ended.grace:g}")
    if ended.survivors:
        text += f"; processes {ended.survivors} could not be killed"
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
    "abandoned": (
        Code.CANCELLED,
        Origin.SERVER,
        "killed with all that it had started: its server died, and none came for it in {grace} s",
    ),
}


def _signal_name(number: int) -> str:
    """SIGTERM and its like; real-time signals have no names of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def _seen(record: Record, ended: Ended | None) -> str:
    """What it printed so far, short enough for an error."""
    parts: list[str] = []
    for name in ("stdout", "stderr"):
        stream = record.output(name, 8 * ERROR_OUTPUT, ended)
        text = stream.text().strip()
        if text:
            parts.append(f"--- {name}, {stream.size} bytes\n{text[-ERROR_OUTPUT:]}")
    return "\n".join(parts) or "it printed nothing"
