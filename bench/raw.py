"""The raw operations: what the work itself costs in this process, without any server."""

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

PAGE = b"\0" * 4096
"""What one flush writes: a page, as SQLite's WAL does at least."""
LOG_PAGES = 1024
"""Pages of the log that the flushes go round in; it is as long as a WAL before its checkpoint."""


def timed(operation: Callable[[], object]) -> Callable[[], float]:
    """The same operation; returns its seconds."""

    def once() -> float:
        began = perf_counter()
        operation()
        return perf_counter() - began

    return once


def scan(folder: Path) -> list[str]:
    """Names in a folder."""
    with os.scandir(folder) as found:
        return [each.name for each in found]


def write_atomically(path: Path, content: bytes) -> None:
    """Old content or new, also after a power cut: temporary file, fsync, rename, fsync."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def run(argv: Sequence[str]) -> None:
    """Run a command and take what it prints.

    Raises:
        subprocess.CalledProcessError: its exit status is not 0.
    """
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def run_many(argv: Sequence[str], count: int) -> None:
    """Run a command so many times at once."""
    children = [
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    for child in children:
        child.communicate()


def piped(argv: Sequence[str], path: Path) -> None:
    """Run a command and put what it prints into a file: read from a pipe, as much as it holds."""
    with (
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child,
        path.open("wb", buffering=0) as file,
    ):
        assert child.stdout is not None
        while chunk := os.read(child.stdout.fileno(), 262144):
            file.write(chunk)


class Log:
    """A file to flush to: the least that an intent and an outcome on disk can cost.

    It is written over in place, since a WAL that has been through one checkpoint is, too; a file
    that grows would flush its new size as well.

    Args:
        path: The file; made at its full length.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(self._descriptor, PAGE * LOG_PAGES)
        os.fsync(self._descriptor)
        self._page = 0

    def flush(self) -> None:
        """Write one page and wait until the disk has it."""
        os.pwrite(self._descriptor, PAGE, self._page % LOG_PAGES * len(PAGE))
        self._page += 1
        # macOS has no fdatasync; there SQLite uses fsync as well.
        getattr(os, "fdatasync", os.fsync)(self._descriptor)

    def around(self, operation: Callable[[], object]) -> None:
        """Flush, do it, flush: intent, effect, outcome."""
        self.flush()
        operation()
        self.flush()

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
