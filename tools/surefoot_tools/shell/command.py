"""A command to be run, and what an error at its start means."""

import errno
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

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
    stdin: str | None
    limit: float
    """Seconds from its beginning to when it is killed."""
    limited_by: Literal["timed_out", "deadline"]
    """What it ends of when it is: its own timeout, or the deadline of whoever asked."""

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
    what = {"exec": repr(program), "cwd": "in the working directory"}.get(step, "a supervisor")
    return ToolError(code, f"cannot start {what}: {os.strerror(number)}", origin=origin, hint=hint)


def shell() -> str:
    """The shell that runs a command given as a string: bash where there is one, else sh."""
    return shutil.which("bash") or "/bin/sh"


def place(descriptor: int) -> str:
    """Absolute path of an open directory."""
    if sys.platform == "darwin":
        import fcntl

        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, b"\0" * 1024).rstrip(b"\0").decode()
    return os.readlink(f"/proc/self/fd/{descriptor}")
