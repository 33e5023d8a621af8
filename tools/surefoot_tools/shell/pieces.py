"""Reading what a supervisor's `Sink` wrote: a file, and pieces named by their offset.

The supervisor may write and drop pieces meanwhile; nothing here waits for it.
"""

import os
from pathlib import Path


class Pieces:
    """The bytes of one stream, of which the middle may be gone.

    Args:
        path: Of the file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int:
        """Bytes so far, also those that are gone."""
        start, path = self._all()[-1]
        return start + _size(path)

    def read(self, start: int, end: int) -> bytes:
        """The bytes between two offsets, as far as they are kept; a gap among them is skipped."""
        if end <= start:
            return b""
        parts: list[bytes] = []
        for first, path in self._all():
            if first < end:
                try:
                    with path.open("rb") as file:
                        skip = max(0, start - first)
                        file.seek(skip)
                        parts.append(file.read(end - first - skip) if end > first + skip else b"")
                except FileNotFoundError:  # nothing was written, or it was dropped just now
                    continue
        return b"".join(parts)

    def gap(self) -> tuple[int, int]:
        """From where to where bytes are gone; twice the same where none are."""
        files = self._all()
        head = _size(files[0][1])
        return (head, max(head, files[1][0])) if len(files) > 1 else (head, head)

    def covers(self, head: int, since: int, size: int) -> bool:
        """Whether the beginning is there, and all from an offset to the end."""
        files = self._all()
        if _size(files[0][1]) < head:
            return False
        if since >= size:
            return True
        known = [(start, start + _size(path)) for start, path in files[1:]]
        at = since
        for start, end in known:
            if start <= at < end:
                at = end
        return at >= size

    def _all(self) -> list[tuple[int, Path]]:
        """The files, each with the offset of its first byte."""
        prefix = self._path.name + "."
        found = [(0, self._path)]
        try:
            names = os.listdir(self._path.parent)
        except OSError:
            return found
        numbers = (name[len(prefix) :] for name in names if name.startswith(prefix))
        starts = sorted(int(number) for number in numbers if number.isdigit())
        return [*found, *((each, self._path.parent / f"{prefix}{each}") for each in starts)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
