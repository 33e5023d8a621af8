"""Bytes on disk as far as a quota goes: the beginning, and a window on the end that moves.

The beginning is a file of the sink's name. What comes after it goes to pieces, files of that name
with the offset of their first byte, of which the newest are kept. So whoever reads while we write
needs no lock: sizes of files say how much has come, and a piece is whole or gone.
"""

import os
from collections import deque
from contextlib import suppress

LAST = 512 * 1024
"""Bytes of the end that are kept in memory when the disk is full."""


class Sink:
    """A file that only grows at its end and loses its middle.

    Args:
        head: Bytes kept of the beginning.
        piece: Bytes in a piece.
        pieces: Pieces kept, the one that is written to included.
    """

    path = ""
    """The file; nothing is made before there is something to keep."""

    def __init__(self, head: int, piece: int, pieces: int) -> None:
        self.size = 0
        """Bytes taken in all."""
        self.head = 0
        """Bytes in the file of the beginning."""
        self._room = head
        self._piece = piece
        self._keep = pieces
        self._names: deque[tuple[int, str]] = deque()
        self._file: int | None = None
        self._full = False
        self._last: deque[bytes] = deque()
        self._last_size = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        done = 0
        while done < len(data) and not self._full:
            if self._room == 0:
                self._turn_over()
            part = data if done == 0 and len(data) <= self._room else data[done:][: self._room]
            done += self._store(part)
        if done < len(data):
            self._remember(data[done:])

    def _store(self, part: bytes) -> int:
        """Append to the open file; how many bytes it took."""
        try:
            if self._file is None:
                name = self.path if not self._names else self._names[-1][1]
                self._file = create(name)
            done = os.write(self._file, part)
        except OSError:  # a full disk: the command goes on, and its end is kept in memory
            self._full = True
            return 0
        self._room -= done
        self.size += done
        if not self._names:
            self.head += done
        return done

    def _turn_over(self) -> None:
        """Begin another piece, and drop the oldest beyond what is kept."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._names.append((self.size, f"{self.path}.{self.size}"))
        self._room = self._piece
        if len(self._names) > self._keep:
            with suppress(OSError):
                os.unlink(self._names.popleft()[1])

    def _remember(self, data: bytes) -> None:
        self.size += len(data)
        self._last.append(data)
        self._last_size += len(data)
        while self._last_size - len(self._last[0]) >= LAST:
            self._last_size -= len(self._last.popleft())

    def close(self) -> dict[str, int]:
        """Tell what is where; what is only in memory may have room on the disk by now."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        since = self._names[0][0] if self._names else self.size
        last = b"".join(self._last)
        if last:
            since = self.size
            with suppress(OSError):
                file = create(f"{self.path}.{self.size - len(last)}")
                if os.write(file, last) == len(last):
                    since = self.size - len(last)
                os.close(file)
        return {"size": self.size, "head": self.head, "since": since}


def create(path: str) -> int:
    """A new file that nobody else can read."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
