"""`strace` on single threads of a running server: what they ask of the kernel, and where they die.

`strace` counts the `when=` of an injection for each thread and each system call by itself, from the
moment that it attaches. So it attaches to one thread of a server that is up, just before the call:
the n-th `fsync` of that thread is then the n-th of the call. A signal is delivered on entry: with
SIGKILL the system call itself is not carried out any more.
"""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

NEEDED = pytest.mark.skipif(
    shutil.which("strace") is None,
    reason="needs strace to stop the server at a system call: apt-get install strace",
)
CHANGES = (
    *(
        "sendto",
        "sendmsg",
        "write",
        "pwrite64",
        "pwritev",
        "fsync",
        "fdatasync",
        "ftruncate",
        "fallocate",
    ),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "fchmod", "fchmodat", "fchown", "fchownat", "flock"),
)
"""System calls that change what outlives the process, or who may, and those that tell of it."""
BEGINS_AND_ENDS = (
    *("clone", "clone3", "fork", "vfork", "execve", "setsid", "prctl"),
    *("kill", "wait4", "waitid", "exit_group"),
)
"""System calls by which processes begin and end."""
PATIENCE = 5.0
"""Seconds that `strace` has to let go."""
OPENS = ("open", "openat")
"""Those that change something when they make a file. openat2 is only ever asked to look."""
ROLES = ("main", "journal", "worker")
"""The threads of a server that has served calls one at a time, in the order of their birth: a life
of `core`, or a server process."""
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Point:
    """The n-th time that a thread enters a system call, from 1."""

    role: str
    name: str
    n: int

    def __str__(self) -> str:
        return f"{self.role}: {self.name} no. {self.n}"


def threads(pid: int) -> dict[str, int]:
    """The threads of a server by role."""
    tasks = Path(f"/proc/{pid}/task")
    # Not by number: numbers start again from 1 now and then.
    born = {int(task.name): _born(task) for task in tasks.iterdir()}
    return dict(zip(ROLES, sorted(born, key=lambda each: (born[each], each)), strict=True))


def _born(task: Path) -> int:
    """When a thread started, in ticks since boot: field 22 of proc_pid_stat(5)."""
    return int((task / "stat").read_text().rpartition(")")[2].split()[19])


@asynccontextmanager
async def traced(
    target: int, *options: str, output: str = "/dev/null"
) -> AsyncGenerator[None, None]:
    """Trace a thread (or with `-f` its process) for the block, or until it dies."""
    process = await anyio.open_process(
        ["strace", "-o", output, *options, "-p", str(target)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        with anyio.fail_after(10):
            told = await BufferedByteReceiveStream(process.stderr).receive_until(b"\n", 4096)
        assert b"attached" in told, told
        yield
    finally:
        with anyio.CancelScope(shield=True):
            with suppress(ProcessLookupError):
                process.terminate()
            with anyio.move_on_after(PATIENCE):
                await process.wait()
            # Told to end while what it traces is dying, it may wait for that, which waits for it.
            if process.returncode is None:
                process.kill()
            await process.aclose()


def killing(threads: dict[str, int], at: Point) -> AbstractAsyncContextManager[None]:
    """Kill the server where one of its threads enters a system call."""
    return injecting(threads, at, "signal=KILL")


def injecting(threads: dict[str, int], at: Point, what: str) -> AbstractAsyncContextManager[None]:
    """Let something happen where a thread of a server enters a system call, in the block."""
    inject = f"inject={at.name}:{what}:when={at.n}"
    return traced(threads[at.role], "-e", f"trace={at.name}", "-e", inject)


def killing_any(pid: int, at: Point, *more: int) -> AbstractAsyncContextManager[None]:
    """Kill a process where the first of its threads, born or not, enters a call so often.

    Args:
        pid: The process; with it all that it forks.
        at: The call, of whichever thread or process.
        more: Other processes that are watched likewise.
    """
    others = [option for each in more for option in ("-p", str(each))]
    inject = f"inject={at.name}:signal=KILL:when={at.n}"
    return traced(pid, "-f", "-e", f"trace={at.name}", "-e", inject, *others)


def points(
    log: Path, threads: dict[str, int] | None = None, also: Collection[str] = ()
) -> list[Point]:
    """The state-changing points in the log of a traced call, in the order they were reached.

    Args:
        log: Written by `traced` with `-f`.
        threads: By role; None: those of any thread, each point once, for `killing_any`.
        also: Names of system calls that count as well.
    """
    roles = {number: role for role, number in (threads or {}).items()}
    reached: Counter[tuple[str, str]] = Counter()
    found: list[Point] = []
    for number, name, rest in _LINE.findall(log.read_text()):
        role = roles[int(number)] if roles else number
        reached[role, name] += 1
        if name in CHANGES or name in also or (name in OPENS and "O_CREAT" in rest):
            found.append(Point(role if roles else "any", name, reached[role, name]))
    return list(dict.fromkeys(found))
