"""What is held in reserve, so that an outcome can be recorded when disk or table is full.

An effect that happened must not lose its record because the disk filled up meanwhile: a file of
ballast is removed, which makes room for the record. And a process that has no descriptor left can
still look what became of an effect, because some were kept aside.
"""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

BALLAST = 128 * 1024
"""Bytes: many outcomes' worth of pages in the journal."""
SPARE = 16
"""Descriptors."""


class Ballast:
    """A file that only takes up room.

    Args:
        stem: Its path without the suffix.
    """

    def __init__(self, stem: Path) -> None:
        self._path = stem.with_name(f"{stem.name}.ballast")
        self.take()

    def take(self) -> None:
        """Take up the room, if there is any."""
        try:
            with open(self._path, "wb", opener=_private, buffering=0) as file:
                file.write(b"\0" * BALLAST)
                os.fsync(file.fileno())
        except OSError:
            # With no room for it there is nothing to hold in reserve; the next commit tries again.
            self._path.unlink(missing_ok=True)

    def release(self) -> bool:
        """Give the room up; whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


class Spare:
    """Descriptors kept aside for when the table is full."""

    def __init__(self) -> None:
        self._held: list[int] = []
        self._hold()

    def _hold(self) -> None:
        with suppress(OSError):
            while len(self._held) < SPARE:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def close(self) -> None:
        """Give them all up."""
        while self._held:
            os.close(self._held.pop())

    @contextmanager
    def released(self) -> Generator[None, None, None]:
        """Let the block use them; what is free afterwards is held again."""
        self.close()
        try:
            yield
        finally:
            self._hold()


def is_table_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that no descriptor is left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__ or error.__context__
    return False
