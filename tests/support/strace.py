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
from collections.abc import AsyncGenerator
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
    *("write", "pwrite64", "pwritev", "fsync", "fdatasync", "ftruncate", "fallocate"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "fchmod", "fchmodat", "fchown", "fchownat", "flock"),
)
"""System calls that change what outlives the process, or who may."""
OPENS = ("open", "openat")
"""Those that change something when they make a file. openat2 is only ever asked to look."""
ROLES = ("main", "journal", "worker")
"""The threads of a server that has served calls one at a time, in the order of their birth."""
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
            await process.aclose()


def killing(threads: dict[str, int], at: Point) -> AbstractAsyncContextManager[None]:
    """Kill the server where one of its threads enters a system call."""
    return injecting(threads, at, "signal=KILL")


def injecting(threads: dict[str, int], at: Point, what: str) -> AbstractAsyncContextManager[None]:
    """Let something happen where a thread of a server enters a system call, in the block."""
    inject = f"inject={at.name}:{what}:when={at.n}"
    return traced(threads[at.role], "-e", f"trace={at.name}", "-e", inject)


def points(log: Path, threads: dict[str, int]) -> list[Point]:
    """The state-changing points in the log of a traced call, in the order they were reached."""
    roles = {number: role for role, number in threads.items()}
    reached: Counter[tuple[str, str]] = Counter()
    found: list[Point] = []
    for number, name, rest in _LINE.findall(log.read_text()):
        role = roles[int(number)]
        reached[role, name] += 1
        if name in CHANGES or (name in OPENS and "O_CREAT" in rest):
            found.append(Point(role, name, reached[role, name]))
    return found
