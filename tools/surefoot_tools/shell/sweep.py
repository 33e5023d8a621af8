"""Clearing the folder of jobs: what is past its time, and what is too much."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from surefoot_tools.shell.record import TOLD, Record

SWEPT = 8 * 86400.0
"""Seconds after which what nobody came for is cleared away; a day more than `jobs.KEPT`, for clocks
that jump."""
EXPIRED = 86400.0
"""Seconds after its end for which the output of a command can be read."""
QUOTA = 1024 * 1024 * 1024
"""Bytes of output that are kept in all, of commands that have ended."""
MOST = 512
"""Commands that have ended and are kept."""


@dataclass(frozen=True, slots=True)
class _Found:
    folder: Path
    at: float
    size: int
    told: bool


def sweep(jobs: Path, older_than: float = SWEPT) -> None:
    """Clear away, oldest first; never what runs, nor what recovery needs in so many seconds.

    Args:
        jobs: The folder of all of them.
        older_than: Seconds.
    """
    found = _look(jobs)
    now = time.time()
    size = sum(each.size for each in found if each.told)
    count = sum(each.told for each in found)
    for each in sorted(found, key=lambda one: one.at):
        age = now - each.at
        if each.told:
            if age <= EXPIRED and size <= QUOTA and count <= MOST:
                continue
        elif age <= older_than:
            continue
        if Record(each.folder).alive():
            continue
        _clear(each.folder)
        if each.told:
            size -= each.size
            count -= 1


def _look(jobs: Path) -> list[_Found]:
    found: list[_Found] = []
    with suppress(OSError), os.scandir(jobs) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                continue
            with suppress(OSError), os.scandir(entry) as files:  # another server sweeps, too
                sizes = {file.name: file.stat().st_size for file in files}
                at = entry.stat().st_mtime
                found.append(_Found(Path(entry), at, sum(sizes.values()), TOLD in sizes))
    return found


def _clear(folder: Path) -> None:
    """Remove a folder without folders in it."""
    with suppress(OSError):  # another server clears, too; what stays is swept later
        for name in os.listdir(folder):
            os.unlink(folder / name)
        os.rmdir(folder)
