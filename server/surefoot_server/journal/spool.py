"""What need not wait for a commit: safe calls and deliveries, in the kernel's hands at once.

A safe call is to survive `kill -9` and need not survive a power cut. A line appended to a file does
that for some microseconds, a commit costs a hundred times as much. The lines are folded into the
journal with the next commit, or after a moment; those of a server that died, by whoever opens the
journal next. Folding the same line twice changes nothing.
"""

import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot_server.journal.rows import to_json

MOST = 100_000
"""Lines that wait in memory while the journal cannot be written; what comes then is not kept."""
Line = dict[str, Any]
"""One line: `kind` (begin, finish, delivery), and the columns."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Lines that are being folded, and where the files stood when they were taken."""

    lines: list[Line]
    writes: tuple[int, int]


class Spool:
    """Two files that take turns: one is written while what was in the other is folded.

    Args:
        stem: Path of the files without their last suffix.

    Raises:
        OSError: they cannot be made.
    """

    def __init__(self, stem: Path) -> None:
        self._paths = [stem.with_name(f"{stem.name}.{n}.spool") for n in (0, 1)]
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._files = [os.open(path, flags, 0o600) for path in self._paths]
        self._writes = [0, 0]
        self._clean = [True, True]
        self._torn = [False, False]
        self._closed = False
        self._active = 0
        self._lines: list[Line] = []
        self._lock = threading.Lock()

    def append(self, line: Line) -> int:
        """Add a line; how many wait to be folded.

        A disk that takes no more is no reason to fail: the line is still folded from memory.
        """
        data = to_json(line).encode() + b"\n"
        with self._lock:
            if not self._closed:  # its descriptors may be somebody else's by now
                self._write(data)
            self._writes[self._active] += 1
            self._clean[self._active] = False
            if len(self._lines) < MOST:
                self._lines.append(line)
            return len(self._lines)

    def _write(self, data: bytes) -> None:
        n = self._active
        # What a full disk cut off must not spoil the line after it.
        whole = b"\n" + data if self._torn[n] else data
        with suppress(OSError):
            self._torn[n] = os.write(self._files[n], whole) < len(whole)

    def take(self) -> Taken:
        """The lines that wait, to be folded in a transaction that `done` or `put_back` ends."""
        with self._lock:
            taken = Taken(self._lines, (self._writes[0], self._writes[1]))
            self._lines = []
            if self._clean[1 - self._active]:
                self._active = 1 - self._active
            return taken

    def done(self, taken: Taken) -> None:
        """They are committed: a file that has no newer line is emptied."""
        with self._lock:
            for n in (0, 1):
                if self._writes[n] == taken.writes[n] and not self._clean[n]:
                    os.ftruncate(self._files[n], 0)
                    self._clean[n] = True
                    self._torn[n] = False

    def put_back(self, taken: Taken) -> None:
        """They could not be committed."""
        with self._lock:
            self._lines = taken.lines + self._lines

    def close(self) -> None:
        """Close the files, and remove them; what could not be folded stays for the next server."""
        with self._lock:
            self._closed = True
            for path, file, clean in zip(self._paths, self._files, self._clean, strict=True):
                os.close(file)
                if clean:
                    path.unlink(missing_ok=True)


def left_behind(directory: Path) -> dict[str, list[Path]]:
    """The spool files in a directory, by the name of their instance."""
    found: dict[str, list[Path]] = {}
    for path in sorted(directory.glob("*.spool")):
        found.setdefault(path.name.split(".")[0], []).append(path)
    return found


def read(path: Path) -> list[Line]:
    """The lines of a file whose server died; a last one that was cut is none."""
    found: list[Line] = []
    with suppress(FileNotFoundError):
        for text in path.read_bytes().splitlines():
            with suppress(ValueError):
                found.append(json.loads(text))
    return found
