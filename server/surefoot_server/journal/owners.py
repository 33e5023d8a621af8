"""Who is alive: each server process holds a lock on a file of its own until it ends.

A lock needs no clock: a paused owner is still an owner, and the kernel frees the lock of a dead
one. A lease would do neither.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def is_held(path: Path) -> bool:
    """Whether the process whose lock file this is still runs."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


class Owner:
    """This server process as an owner of calls; alive as long as the process holds its lock.

    Args:
        directory: Where the lock files of all servers of one state directory lie.
        instance: This process's own name, unique for ever.
    """

    def __init__(self, directory: Path, instance: str) -> None:
        self.instance = instance
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = self._lock()

    def _lock(self) -> int:
        """Make and lock the file; once more if another process cleared it away meanwhile."""
        path = self._path(self.instance)
        while True:
            # Not inheritable, or a command left behind would keep its dead server 'alive'.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            os.close(descriptor)

    def _path(self, instance: str) -> Path:
        return self._directory / f"{instance}.lock"

    def alive(self, instance: str) -> bool:
        """Whether that server process still runs."""
        if instance == self.instance:
            return True
        return is_held(self._path(instance))

    def clear(self, path: Path) -> None:
        """Remove the lock file of a process that died; removed under its lock, see `_lock`."""
        if path.stem == self.instance:
            return
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                with suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Stop being alive; the file goes, so that ended servers leave nothing behind."""
        with suppress(FileNotFoundError):
            self._path(self.instance).unlink()
        os.close(self._descriptor)
