"""A command to be run, and what an error at its start means."""

import errno
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot_tools.errors import Code, Origin, ToolError

ERRORS: dict[int, tuple[Code, Origin]] = {
    errno.ENOENT: (Code.NOT_FOUND, Origin.MODEL),
    errno.ENOTDIR: (Code.NOT_FOUND, Origin.MODEL),
    errno.EACCES: (Code.PERMISSION_DENIED, Origin.ENVIRONMENT),
    errno.EPERM: (Code.PERMISSION_DENIED, Origin.ENVIRONMENT),
    errno.ENOEXEC: (Code.FAILED_PRECONDITION, Origin.MODEL),
    errno.E2BIG: (Code.INVALID_ARGUMENT, Origin.MODEL),
    errno.ENOSPC: (Code.RESOURCE_EXHAUSTED, Origin.ENVIRONMENT),
    errno.EDQUOT: (Code.RESOURCE_EXHAUSTED, Origin.ENVIRONMENT),
    # These pass by themselves, and nothing has begun.
    errno.EAGAIN: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
    errno.ENOMEM: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
    errno.EMFILE: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
    errno.ENFILE: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
    errno.ETXTBSY: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
    errno.ETOOMANYREFS: (Code.UNAVAILABLE, Origin.ENVIRONMENT),
}
"""What an error before the command began means, by errno."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a supervisor is asked to run."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str]
    """All of its environment."""
    shown: str
    """The command as people see it in a list: without the secrets that are known for such."""
    principal: str
    """Whose it is."""
    roots: Sequence[Path] = ()
    """What it may write to where it is confined; none are all of the server's."""
    stdin: str | None = None
    limit: float | None = None
    """Seconds from its beginning to when it is killed; None for never."""
    rest: float | None = None
    """Seconds until whoever waits for it waits no more, and it is killed unless it is a job."""
    job: bool = False
    """Whether nobody waits for it."""
    input: bool = False
    """Whether more input may come."""
    terminal: tuple[int, int] | None = None
    """Rows and columns of the terminal that it gets."""

    def request(self) -> dict[str, Any]:
        """As the supervisor reads it."""
        return {
            "argv": list(self.argv),
            "cwd": self.cwd,
            "env": dict(self.env),
            "stdin": self.stdin,
            "limit": self.limit,
            "rest": self.rest,
            "handed_over": self.job,
            "input": self.input,
            "terminal": self.terminal,
            "about": {
                "principal": self.principal,
                "command": self.shown,
                "cwd": self.cwd,
                "terminal": self.terminal,
            },
        }

    def check(self) -> None:
        """See that the system can take it.

        Raises:
            ToolError: it cannot be started; nothing has begun.
        """
        try:
            for text in (*self.argv, self.cwd, *self.env, *self.env.values()):
                if b"\0" in os.fsencode(text):
                    raise ValueError("embedded null byte")
            for name in self.env:
                if not name or "=" in name:
                    raise ValueError(f"illegal environment variable name {name!r}")
            if self.stdin is not None:
                self.stdin.encode()
        except ValueError as e:
            raise ToolError(Code.INVALID_ARGUMENT, f"command cannot be started: {e}") from e


def cannot_start(number: int, step: str, program: str = "the command") -> ToolError:
    """The error of a command that provably did not begin.

    Args:
        number: Of the system's error.
        step: What could not be done: `exec`, `cwd`, or something that comes before.
        program: Its name, where it is known.
    """
    code, origin = ERRORS.get(number, (Code.INTERNAL, Origin.ENVIRONMENT))
    hint = None
    if code is Code.NOT_FOUND and step == "exec":
        hint = "Check the name, or give the command as a string to have the shell run it."
    if step == "sandbox":
        code, hint = Code.FAILED_PRECONDITION, "`surefoot doctor` tells what the sandbox lacks."
    what = {"sandbox": "a sandbox", "exec": repr(program), "cwd": "in the working directory"}.get(
        step, "a supervisor"
    )
    return ToolError(code, f"cannot start {what}: {os.strerror(number)}", origin=origin, hint=hint)


def shell() -> str:
    """The shell that runs a command given as a string: bash where there is one, else sh."""
    return shutil.which("bash") or "/bin/sh"


def argv_of(line: str | list[str]) -> list[str]:
    """A string is run by the shell, a list directly."""
    return [shell(), "-c", line] if isinstance(line, str) else line


def place(descriptor: int) -> str:
    """Absolute path of an open directory."""
    if sys.platform == "darwin":
        import fcntl

        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, b"\0" * 1024).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{descriptor}")
