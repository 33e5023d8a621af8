"""One output stream of a command, on disk as far as the quota goes."""

import os
from collections import deque
from contextlib import suppress

QUOTA = 64 * 1024 * 1024
"""Bytes kept on disk from the beginning of a stream."""
TAIL = 512 * 1024
"""Bytes kept of its end, beyond the quota."""
CHUNK = 65536
"""Bytes read at once."""
CAPACITY = 1024 * 1024
"""The most that a pipe holds without privilege: pipe(7), /proc/sys/fs/pipe-max-size."""


class Stream:
    """Reads a pipe; its beginning goes to a file, which is made when there is something to keep."""

    path = ""
    """The file."""

    def __init__(self) -> None:
        self.source, self.sink = os.pipe()
        os.set_blocking(self.source, False)
        self._file: int | None = None
        self._quota = QUOTA
        self._kept = 0
        self._size = 0
        self._tail: deque[bytes] = deque()
        self._tail_size = 0

    def take(self) -> bool | None:
        """Take what has arrived: True if something has, None if nothing, False at the end."""
        try:
            data = os.read(self.source, CHUNK)
        except BlockingIOError:
            return None
        if not data:
            return False
        self._size += len(data)
        rest = data[self._store(data[: self._quota - self._kept]) :]
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
            while self._tail_size - len(self._tail[0]) >= TAIL:
                self._tail_size -= len(self._tail.popleft())
        return True

    def _store(self, data: bytes) -> int:
        """Append to the file; how many bytes it took."""
        done = 0
        try:
            if data and self._file is None:
                self._file = create(self.path)
            while self._file is not None and done < len(data):
                done += os.write(self._file, data[done:])
        except OSError:  # a full disk: the command goes on, and its end is kept in memory
            self._quota = self._kept + done
        self._kept += done
        return done

    def close(self) -> dict[str, int]:
        """Take what the pipe still holds, write the tail to a `.tail`, and tell what is where."""
        for _ in range(CAPACITY // CHUNK + 1):
            if not self.take():
                break
        tail = b"".join(self._tail)[-TAIL:]
        stored = 0
        if tail:
            with suppress(OSError):
                stored = os.write(create(f"{self.path}.tail"), tail)
        return {"size": self._size, "kept": self._kept, "tail": stored}


def create(path: str) -> int:
    """A new file that nobody else can read."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
