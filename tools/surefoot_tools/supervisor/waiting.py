"""Whether a command waits for input: what its processes are blocked in, by /proc.

Only who stands above a process may look at that (ptrace(2), 'Ptrace access mode checking'), so the
supervisor does. Where the kernel does not tell, the answer is that nobody knows.
"""

import os
import stat
import struct
from collections.abc import Iterator
from typing import Any

YES, NO, UNKNOWN = "yes", "no", "unknown"

_NUMBERS = {
    "x86_64": {0: "read", 19: "read", 7: "poll", 271: "poll", 23: "select", 270: "select"},
    "aarch64": {63: "read", 65: "read", 73: "poll", 72: "select"},
}
"""System calls that wait for descriptors, by machine; others have no words for it here."""
_CALLS = _NUMBERS.get(os.uname().machine, {})
_POLLFD = struct.Struct("<ihh")
_MOST = 64
"""Descriptors that one call waits for at most, of those that wait for input alone."""
_TTY = os.makedev(5, 0)
"""/dev/tty: whatever terminal a process has."""


def waits(input_end: int, pids: list[int], foreground: int | None) -> str:
    """Whether one of the processes waits for nothing but input: yes, no or unknown.

    Args:
        input_end: Our end of the terminal or the pipe.
        pids: The processes of the command.
        foreground: The process group that may read from the terminal; None if it is a pipe.
    """
    if not _CALLS:
        return UNKNOWN
    ours = os.fstat(input_end)
    seen = hidden = False
    for pid in pids:
        try:
            group, terminal = _group(pid)
            if foreground is not None and group != foreground:
                continue
            seen = True
            watched = list(_watched(pid))
            if watched and all(_is(pid, each, ours, terminal, foreground) for each in watched):
                return YES
        except (OSError, ValueError, struct.error):
            hidden = True
    return UNKNOWN if hidden or not seen else NO


def _group(pid: int) -> tuple[int, int]:
    """Process group and terminal: fields 5 and 7 of proc_pid_stat(5)."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[2]), int(fields[4])


def _watched(pid: int) -> Iterator[int]:
    """The descriptors that a process is blocked on, by the system call that it is in."""
    with open(f"/proc/{pid}/syscall") as file:
        words = file.read().split()
    call = _CALLS.get(int(words[0])) if words[0] != "running" else None
    if call is None:
        return
    first, second = int(words[1], 16), int(words[2], 16)
    if call == "read":
        yield first
    elif call == "select" and first <= _MOST and second:
        bits = int.from_bytes(_memory(pid, second, 8), "little")
        yield from (each for each in range(first) if bits >> each & 1)
    elif call == "poll" and 0 < second <= _MOST:
        listed = _memory(pid, first, second * _POLLFD.size)
        yield from (each for each, _, _ in _POLLFD.iter_unpack(listed) if each >= 0)


def _memory(pid: int, address: int, size: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        return os.pread(file.fileno(), size, address)


def _is(pid: int, descriptor: int, ours: Any, terminal: int, foreground: int | None) -> bool:
    """Whether a descriptor of a process is where the command's input comes from."""
    theirs = os.stat(f"/proc/{pid}/fd/{descriptor}")
    if foreground is None:
        return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
    return stat.S_ISCHR(theirs.st_mode) and theirs.st_rdev in (_TTY, _terminal(terminal))


def _terminal(number: int) -> int:
    """The device that proc_pid_stat(5) tells of in its own way."""
    return os.makedev(number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)


def descendants(of: int) -> list[int]:
    """The processes below one, as far as the kernel lists them."""
    found: list[int] = []
    waiting = [of]
    while waiting and len(found) < 512:
        pid = waiting.pop()
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as listing:
                    below = [int(each) for each in listing.read().split()]
                found += below
                waiting += below
        except OSError:
            continue
    return found
