"""Where records go: an append-only file, shared by the trials of one process.

Above `record.py` (what a record is); written to by `run.py`, `trial.py` and `send.py`.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import cast

from surefoot_client.record import Observer, OfTrial, Record


class RecordLog:
    """Appends records, one `write` each, so that a kill leaves whole lines and one torn at most.

    A record is in the kernel's page cache when `write` returns: it survives the death of this
    process, not a power cut. Safe to share between the trials of one process.

    Args:
        path: Created if missing. A torn last line, whose act never began or whose answer counts
            as lost, is cut off.
        observer: Called with each record after it was written.
    """

    def __init__(self, path: Path, observer: Observer | None = None) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._observer = observer
        _cut_torn_line(self._descriptor)

    def __enter__(self) -> "RecordLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, record: Record) -> None:
        """Append one record.

        Raises:
            OSError: it could not be written whole; nothing may be sent that it would announce.
        """
        line = record.model_dump_json().encode() + b"\n"
        written = os.write(self._descriptor, line)
        if written != len(line):
            raise OSError(f"the log took {written} of {len(line)} bytes: is the disk full?")
        if self._observer is not None:
            self._observer(record)

    def close(self) -> None:
        """Flush to disk and close."""
        os.fsync(self._descriptor)
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class DriverLog:
    """What one of several drivers of a trial writes to: the log of the run, under its number."""

    log: RecordLog
    driver: int

    def write(self, record: OfTrial) -> None:
        """As `RecordLog.write`."""
        self.log.write(cast("Record", record.model_copy(update={"driver": self.driver})))


def _cut_torn_line(descriptor: int) -> None:
    """Truncate the file after its last newline."""
    end = os.fstat(descriptor).st_size
    position = end
    block = 64 * 1024
    while position > 0:
        start = max(0, position - block)
        found = os.pread(descriptor, position - start, start).rfind(b"\n")
        if found >= 0:
            position = start + found + 1
            break
        position = start
    if position < end:
        os.ftruncate(descriptor, position)
