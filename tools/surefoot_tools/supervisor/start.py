"""Starting the command of a supervisor: the one place where something is executed."""

import errno
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

DEFAULTS = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM", "SIGHUP")]
"""Signals that a command gets back: Python ignores the first two, the keeper the others."""


class NotStarted(Exception):
    """The command did not begin.

    Args:
        number: Of the system's error.
        step: `cwd` or `exec`.
    """

    def __init__(self, number: int, step: str) -> None:
        super().__init__(step)
        self.number = number
        self.step = step


def start(request: Mapping[str, Any], streams: Sequence[int], terminal: str | None = None) -> int:
    """Start the command; its process id.

    Not by a fork: posix_spawn(3) copies nothing of us and tells what the exec said. The command has
    a session of its own, or a `kill 0` in it would be for us, too.

    Args:
        request: See `surefoot_tools.shell.jobs.Jobs`: `argv`, `env` and `cwd`.
        streams: Descriptors to be its 0, 1 and 2.
        terminal: The path of the terminal that all three are, which is to be its own: a session
            without one gets the first that it opens.

    Raises:
        NotStarted: it cannot be started.
    """
    actions: list[Any] = [(os.POSIX_SPAWN_DUP2, each, to) for to, each in enumerate(streams)]
    if terminal is not None:
        actions.insert(0, (os.POSIX_SPAWN_OPEN, 0, terminal, os.O_RDWR, 0))
        actions[1:] = [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
    argv, env = request["argv"], request["env"]
    step = "cwd"
    try:
        os.chdir(request["cwd"])
        step = "exec"
        return os.posix_spawn(
            program(argv[0], env), argv, env, file_actions=actions, setsid=True, setsigdef=DEFAULTS
        )
    except (OSError, ValueError) as e:
        raise NotStarted(getattr(e, "errno", errno.EINVAL), step) from e
    finally:
        os.chdir("/")


def program(name: str, env: Mapping[str, str]) -> str:
    """Where a program lies: as execvp(3) finds it, by the PATH that it will have."""
    if "/" in name:
        return name
    places = [os.path.join(folder or ".", name) for folder in os.get_exec_path(env)]
    there = [place for place in places if os.path.exists(place)]
    allowed = [place for place in there if os.access(place, os.X_OK) and not os.path.isdir(place)]
    return (allowed or there or [name])[0]
