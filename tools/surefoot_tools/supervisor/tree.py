"""The processes that are ours to end: children, and the orphans that fell to us."""

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from types import FrameType

STUBBORN = 5.0
"""Seconds after which processes that cannot be killed (another user's) are left alone."""
LOOK = 0.05
"""Seconds; the kernel's list of children may miss some while others end, so we look again."""

LINUX = sys.platform == "linux"
_LIBC = ctypes.CDLL(None) if LINUX else None
_PR_SET_CHILD_SUBREAPER = 36


class Tree:
    """The children of this process. One for each process, whose SIGCHLD it takes."""

    def __init__(self) -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.ended: dict[int, int] = {}
        """Exit status of those that ended, negative for the number of a signal, by process id."""
        self.empty = False
        """Whether no child was left at the last look."""
        self.group = 0
        """The process group to kill where orphans do not fall to us."""
        self.alarm, alarm = os.pipe()
        """A descriptor that is readable when a child has ended."""
        os.set_blocking(self.alarm, False)
        os.set_blocking(alarm, False)
        signal.signal(signal.SIGCHLD, _wake)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)

    def reap(self) -> None:
        """Take note of every child that has ended."""
        with suppress(BlockingIOError):
            os.read(self.alarm, 4096)
        self.empty = False
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self.ended[pid] = os.waitstatus_to_exitcode(status)
        self.empty = True

    def kill(self, but: Collection[int] = ()) -> bool:
        """Kill the children; whether there were any.

        Children only, not theirs: the number of a child is not given to another process before we
        have reaped it. What a killed child leaves behind falls to us and is next.
        """
        found = False
        for pid in children() if LINUX else ():
            if pid not in but:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
                found = True
        if not LINUX and self.group:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.group, signal.SIGKILL)
                found = True
        return found

    def end(self) -> bool:
        """Kill until no child is left; whether there was one."""
        found = False
        over = time.monotonic() + STUBBORN
        while True:
            self.reap()
            if self.empty and (LINUX or found):
                return found
            found = self.kill() or found
            if time.monotonic() > over or (self.empty and not found):
                return found
            select.select([self.alarm], [], [], LOOK)


def _wake(_number: int, _frame: FrameType | None) -> None:
    """SIGCHLD has to be handled for the alarm to be written to."""


def children() -> list[int]:
    """Process ids of our children, ended ones included."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as listing:
            return [int(pid) for pid in listing.read().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        numbers = (int(name) for name in os.listdir("/proc") if name.isdigit())
        return [pid for pid in numbers if _parent(pid) == os.getpid()]


def _parent(pid: int) -> int:
    """Field 4 of proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
