"""Opens a journal by its place: a file, or the URL of a database."""

from pathlib import Path

from surefoot_server.journal.clock import Clock
from surefoot_server.journal.sql_journal import SqlJournal
from surefoot_server.journal.sqlite import SqliteJournal


def open_journal(
    place: str | Path, *, state: Path, version: str, clock: Clock | None = None
) -> SqlJournal:
    """The journal at a place.

    Args:
        place: A file.
        state: The state directory.
        version: Of surefoot, for the record.
        clock: Seconds since the epoch.

    Raises:
        JournalUnavailable: it cannot be opened.
    """
    del state
    return SqliteJournal(Path(place), version=version, clock=clock)
